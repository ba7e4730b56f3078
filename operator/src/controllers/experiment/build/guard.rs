//! Who may reach an experiment's pods, and what keeps them from being evicted. (Pure.)

use super::{Role, labels, metadata, selector};
use crate::settings::Settings;
use bakeoff_crds::names;
use bakeoff_rules::validate::Remains;
use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
    NetworkPolicySpec,
};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
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

fn policy(
    of: &Remains,
    name: &str,
    role: Role,
    ingress: Vec<NetworkPolicyIngressRule>,
) -> NetworkPolicy {
    NetworkPolicy {
        metadata: metadata(of, of.child(name), role),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(matching(selector(of, role))),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(ingress),
            egress: None,
        }),
    }
}

/// Backends answer only the experiment's own pods.
#[must_use]
pub fn backend_policy(of: &Remains) -> NetworkPolicy {
    let rule = NetworkPolicyIngressRule {
        from: Some(vec![own_pods(of)]),
        ports: None,
    };
    policy(of, "backends", Role::Backend, vec![rule])
}

/// Generators answer each other, and the operator's questions for progress.
#[must_use]
pub fn generator_policy(of: &Remains, settings: &Settings) -> NetworkPolicy {
    let namespace = BTreeMap::from([(
        "kubernetes.io/metadata.name".to_owned(),
        settings.namespace.clone(),
    )]);
    let operator = NetworkPolicyPeer {
        namespace_selector: Some(matching(namespace)),
        ..Default::default()
    };
    let port = NetworkPolicyPort {
        port: Some(IntOrString::Int(names::GENERATOR_PORT)),
        protocol: Some("TCP".to_owned()),
        end_port: None,
    };
    let rule = NetworkPolicyIngressRule {
        from: Some(vec![own_pods(of), operator]),
        ports: Some(vec![port]),
    };
    policy(of, "generators", Role::Generator, vec![rule])
}

/// No pod of a running experiment is evicted: as many must stay as there are.
#[must_use]
pub fn disruption_budget(of: &Remains) -> PodDisruptionBudget {
    let backends = i32::try_from(of.servers().len()).unwrap_or(i32::MAX);
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
