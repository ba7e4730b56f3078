//! Who may reach an experiment's pods, and what keeps them from being evicted. (Pure.)

use super::{Role, labels, metadata, selector};
use crate::settings::Settings;
use bakeoff_crds::names;
use bakeoff_rules::validate::Validated;
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

fn own_pods(valid: &Validated) -> NetworkPolicyPeer {
    let uid = BTreeMap::from([(names::LABEL_EXPERIMENT_UID.to_owned(), valid.id.uid.clone())]);
    NetworkPolicyPeer {
        pod_selector: Some(matching(uid)),
        ..Default::default()
    }
}

fn policy(
    valid: &Validated,
    name: &str,
    role: Role,
    ingress: Vec<NetworkPolicyIngressRule>,
) -> NetworkPolicy {
    NetworkPolicy {
        metadata: metadata(valid, valid.child(name), role),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(matching(selector(valid, role))),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(ingress),
            egress: None,
        }),
    }
}

/// Backends answer only the experiment's own pods.
#[must_use]
pub fn backend_policy(valid: &Validated) -> NetworkPolicy {
    let rule = NetworkPolicyIngressRule {
        from: Some(vec![own_pods(valid)]),
        ports: None,
    };
    policy(valid, "backends", Role::Backend, vec![rule])
}

/// Generators answer each other, and the operator's questions for progress.
#[must_use]
pub fn generator_policy(valid: &Validated, settings: &Settings) -> NetworkPolicy {
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
        from: Some(vec![own_pods(valid), operator]),
        ports: Some(vec![port]),
    };
    policy(valid, "generators", Role::Generator, vec![rule])
}

/// No pod of a running experiment is evicted: as many must stay as there are.
#[must_use]
pub fn disruption_budget(valid: &Validated) -> PodDisruptionBudget {
    let backends = i32::try_from(valid.provisioned().count()).unwrap_or(i32::MAX);
    let uid = BTreeMap::from([(names::LABEL_EXPERIMENT_UID.to_owned(), valid.id.uid.clone())]);
    let mut metadata = metadata(valid, valid.child("pods"), Role::Generator);
    metadata.labels = Some(labels(valid, Role::Generator));
    PodDisruptionBudget {
        metadata,
        spec: Some(PodDisruptionBudgetSpec {
            min_available: Some(IntOrString::Int(
                backends.saturating_add(valid.spec.generators.replicas),
            )),
            selector: Some(matching(uid)),
            ..Default::default()
        }),
        status: None,
    }
}
