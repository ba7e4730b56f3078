//! Who may reach an experiment's pods, and what keeps them from being evicted. (Pure.)

use super::{labels, metadata, selector};
use crate::parts::objects::Role;
use crate::settings::Settings;
use bakeoff_crds::names;
use bakeoff_rules::validate::Remains;
use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
    NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::collections::BTreeMap;

fn matching(labels: BTreeMap<String, String>) -> LabelSelector {
    LabelSelector {
        match_labels: Some(labels),
        match_expressions: None,
    }
}

fn own_pods(of: &Remains) -> NetworkPolicyPeer {
    let uid = BTreeMap::from([(
        names::LABEL_EXPERIMENT_UID.to_owned(),
        of.id.uid.to_string(),
    )]);
    NetworkPolicyPeer {
        pod_selector: Some(matching(uid)),
        ..Default::default()
    }
}

fn namespace(name: &str) -> NetworkPolicyPeer {
    let label = ("kubernetes.io/metadata.name".to_owned(), name.to_owned());
    NetworkPolicyPeer {
        namespace_selector: Some(matching(BTreeMap::from([label]))),
        ..Default::default()
    }
}

/// Where name servers listen. A policy is asked for the port of the pod behind the Service, and that is another one on vcluster,
/// OpenShift and Gardener.
const DNS_PORTS: [i32; 4] = [53, 1053, 5353, 8053];

fn port(number: i32, protocol: &str) -> NetworkPolicyPort {
    NetworkPolicyPort {
        port: Some(IntOrString::Int(number)),
        protocol: Some(protocol.to_owned()),
        end_port: None,
    }
}

fn policy(of: &Remains, name: &str, role: Role, spec: NetworkPolicySpec) -> NetworkPolicy {
    NetworkPolicy {
        metadata: metadata(of, of.child(name), role),
        spec: Some(spec),
    }
}

/// Backends answer only the experiment's own pods, and ask nobody else: but for the name server, where the pods of a server find each
/// other by name. Where that is, clusters differ in, and so it is any.
#[must_use]
pub fn backend_policy(of: &Remains) -> NetworkPolicy {
    let ingress = NetworkPolicyIngressRule {
        from: Some(vec![own_pods(of)]),
        ports: None,
    };
    let mut egress = vec![NetworkPolicyEgressRule {
        to: Some(vec![own_pods(of)]),
        ports: None,
    }];
    if of.has_servers_of_several_pods() {
        egress.push(NetworkPolicyEgressRule {
            to: None,
            ports: Some(
                DNS_PORTS
                    .into_iter()
                    .flat_map(|number| ["UDP", "TCP"].map(|protocol| port(number, protocol)))
                    .collect(),
            ),
        });
    }
    let spec = NetworkPolicySpec {
        pod_selector: Some(matching(selector(of, Role::Backend))),
        policy_types: Some(["Ingress", "Egress"].map(str::to_owned).to_vec()),
        ingress: Some(vec![ingress]),
        egress: Some(egress),
    };
    policy(of, "backends", Role::Backend, spec)
}

/// What measures, reports and cleans up reaches backends and stores wherever they are, also in a namespace that lets
/// nothing out by default: their addresses are names, which a policy cannot hold.
#[must_use]
pub fn egress_policy(of: &Remains) -> NetworkPolicy {
    let roles = [Role::Generator, Role::Report, Role::Cleanup];
    let uid = (
        names::LABEL_EXPERIMENT_UID.to_owned(),
        of.id.uid.to_string(),
    );
    let pods = LabelSelector {
        match_labels: Some(BTreeMap::from([uid])),
        match_expressions: Some(vec![LabelSelectorRequirement {
            key: names::LABEL_ROLE.to_owned(),
            operator: "In".to_owned(),
            values: Some(roles.map(|role| role.as_str().to_owned()).to_vec()),
        }]),
    };
    let spec = NetworkPolicySpec {
        pod_selector: Some(pods),
        policy_types: Some(vec!["Egress".to_owned()]),
        ingress: None,
        egress: Some(vec![NetworkPolicyEgressRule::default()]),
    };
    policy(of, "egress", Role::Generator, spec)
}

/// Generators answer each other, the operator's questions for progress, and what scrapes metrics.
#[must_use]
pub fn generator_policy(of: &Remains, settings: &Settings) -> NetworkPolicy {
    let mut from = vec![own_pods(of), namespace(&settings.namespace)];
    let monitoring = &settings.pods.monitoring_namespace;
    if !monitoring.is_empty() {
        from.push(namespace(monitoring));
    }
    let ingress = NetworkPolicyIngressRule {
        from: Some(from),
        ports: Some(vec![port(names::GENERATOR_PORT, "TCP")]),
    };
    let spec = NetworkPolicySpec {
        pod_selector: Some(matching(selector(of, Role::Generator))),
        policy_types: Some(vec!["Ingress".to_owned()]),
        ingress: Some(vec![ingress]),
        egress: None,
    };
    policy(of, "generators", Role::Generator, spec)
}

/// No pod of a running experiment is evicted: as many must stay as there are.
#[must_use]
pub fn disruption_budget(of: &Remains) -> PodDisruptionBudget {
    let backends = of.server_pods();
    let uid = BTreeMap::from([(
        names::LABEL_EXPERIMENT_UID.to_owned(),
        of.id.uid.to_string(),
    )]);
    let mut metadata = metadata(of, of.child("pods"), Role::Generator);
    metadata.labels = Some(labels(of, Role::Generator));
    PodDisruptionBudget {
        metadata,
        spec: Some(PodDisruptionBudgetSpec {
            min_available: Some(IntOrString::Int(
                backends.saturating_add(of.spec.generators.replicas),
            )),
            selector: Some(matching(uid)),
            ..Default::default()
        }),
        status: None,
    }
}
