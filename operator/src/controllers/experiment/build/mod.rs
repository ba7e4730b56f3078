//! Builders of every object that the operator makes. (Pure and infallible.)
//!
//! Names are deterministic and keyed by the experiment's uid, so that applying twice is harmless.

pub mod backend;
pub mod guard;
pub mod jobs;
pub mod profile;
pub mod run_plan;
#[cfg(test)]
mod tests;

use crate::owner;
use crate::settings::Settings;
use bakeoff_crds::Experiment;
use bakeoff_crds::names;
use bakeoff_crds::spec::Resources;
use bakeoff_rules::validate::Remains;
use k8s_openapi::api::core::v1::{
    Capabilities, PodSecurityContext, ResourceRequirements, SeccompProfile, Secret, SecurityContext,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::collections::BTreeMap;

/// The user that every pod runs as.
pub const USER: i64 = 65_532;

/// What a child is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A system under test.
    Backend,
    /// A load generator.
    Generator,
    /// A look at a node.
    Calibration,
    /// Merges, decides, writes the report.
    Report,
    /// Removes test objects from external buckets.
    Cleanup,
}

impl Role {
    /// The label value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Backend => "backend",
            Self::Generator => "generator",
            Self::Calibration => "calibration",
            Self::Report => "report",
            Self::Cleanup => "cleanup",
        }
    }
}

/// The labels of a child.
#[must_use]
pub fn labels(of: &Remains, role: Role) -> BTreeMap<String, String> {
    let pairs = [
        ("app.kubernetes.io/name", "bakeoff"),
        ("app.kubernetes.io/component", role.as_str()),
        ("app.kubernetes.io/part-of", "bakeoff"),
        ("app.kubernetes.io/managed-by", names::FIELD_MANAGER),
        (names::LABEL_EXPERIMENT, &of.id.name),
        (names::LABEL_EXPERIMENT_UID, of.id.uid.as_str()),
        (names::LABEL_ROLE, role.as_str()),
    ];
    pairs
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// The labels that select all pods of a role.
#[must_use]
pub fn selector(of: &Remains, role: Role) -> BTreeMap<String, String> {
    BTreeMap::from([
        (
            names::LABEL_EXPERIMENT_UID.to_owned(),
            of.id.uid.to_string(),
        ),
        (names::LABEL_ROLE.to_owned(), role.as_str().to_owned()),
    ])
}

/// The metadata of a child.
#[must_use]
pub fn metadata(of: &Remains, name: String, role: Role) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(of.id.namespace.to_string()),
        labels: Some(labels(of, role)),
        owner_references: Some(vec![owner::reference::<Experiment>(&of.id)]),
        ..Default::default()
    }
}

/// A Secret that has nothing in it yet.
#[must_use]
pub fn secret(of: &Remains, name: String, role: Role) -> Secret {
    Secret {
        metadata: metadata(of, name, role),
        type_: Some("Opaque".to_owned()),
        ..Default::default()
    }
}

/// Requests equal to limits: class Guaranteed.
#[must_use]
pub fn guaranteed(resources: &Resources) -> ResourceRequirements {
    let amounts = BTreeMap::from([
        ("cpu".to_owned(), Quantity(resources.cpu.0.clone())),
        ("memory".to_owned(), Quantity(resources.memory.0.clone())),
    ]);
    ResourceRequirements {
        limits: Some(amounts.clone()),
        requests: Some(amounts),
        claims: None,
    }
}

/// The pod half of the *restricted* Pod Security Standard.
#[must_use]
pub fn pod_security(user: i64) -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(user),
        run_as_group: Some(user),
        fs_group: Some(user),
        fs_group_change_policy: Some("OnRootMismatch".to_owned()),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            localhost_profile: None,
        }),
        ..Default::default()
    }
}

/// The container half of the *restricted* Pod Security Standard, and a read-only root.
#[must_use]
pub fn container_security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities {
            drop: Some(vec!["ALL".to_owned()]),
            add: None,
        }),
        ..Default::default()
    }
}

/// Annotations that keep autoscalers from moving a measuring pod.
#[must_use]
pub fn undisturbed() -> BTreeMap<String, String> {
    BTreeMap::from([
        (
            "cluster-autoscaler.kubernetes.io/safe-to-evict".to_owned(),
            "false".to_owned(),
        ),
        ("karpenter.sh/do-not-disrupt".to_owned(), "true".to_owned()),
    ])
}

/// The node selector of the pool, or `None` for any node.
#[must_use]
pub fn node_selector(of: &Remains) -> Option<BTreeMap<String, String>> {
    let selector = &of.spec.equipment.node_selector;
    (!selector.is_empty()).then(|| selector.clone())
}

/// The pull policy of all images.
#[must_use]
pub fn pull_policy(settings: &Settings) -> Option<String> {
    Some(settings.pull_policy.clone())
}
