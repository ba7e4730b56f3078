//! What every child says of itself and asks for, whoever its owner is. (Pure.)

use crate::owner::{self, Owner};
use crate::settings::Settings;
use bakeoff_crds::identity::Identity;
use bakeoff_crds::names;
use bakeoff_crds::spec::Resources;
use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, ResourceRequirements, Secret, Volume};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::collections::BTreeMap;

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
    /// Tells somebody of what happened.
    Notice,
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
            Self::Notice => "notice",
        }
    }
}

/// The labels of a child of an owner of the kind `K`.
#[must_use]
pub fn labels_of<K: Owner>(id: &Identity, role: Role) -> BTreeMap<String, String> {
    let pairs = [
        ("app.kubernetes.io/name", "bakeoff"),
        ("app.kubernetes.io/component", role.as_str()),
        ("app.kubernetes.io/part-of", "bakeoff"),
        ("app.kubernetes.io/managed-by", names::FIELD_MANAGER),
        (K::NAME, &id.name),
        (K::UID, id.uid.as_str()),
        (names::LABEL_ROLE, role.as_str()),
    ];
    pairs
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// The metadata of a child of an owner of the kind `K`.
#[must_use]
pub fn metadata_of<K: Owner>(id: &Identity, name: String, role: Role) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(id.namespace.to_string()),
        labels: Some(labels_of::<K>(id, role)),
        owner_references: Some(vec![owner::reference::<K>(id)]),
        ..Default::default()
    }
}

/// A Secret of an owner of the kind `K` that has nothing in it yet.
#[must_use]
pub fn secret_of<K: Owner>(id: &Identity, name: String, role: Role) -> Secret {
    Secret {
        metadata: metadata_of::<K>(id, name, role),
        type_: Some("Opaque".to_owned()),
        ..Default::default()
    }
}

/// What a container may write beside its volume: logs, and what it keeps in `/tmp`. Stated, because a namespace may have a
/// default for those that do not say, and a container beyond it is evicted in the middle of a trial.
const SCRATCH: &str = "2Gi";
/// What is set aside for that on the node.
const SCRATCH_SET_ASIDE: &str = "256Mi";

/// Requests equal to limits: class Guaranteed, to which scratch space does not count.
#[must_use]
pub fn guaranteed(resources: &Resources) -> ResourceRequirements {
    let amounts = |scratch: &str| {
        BTreeMap::from([
            ("cpu".to_owned(), Quantity(resources.cpu.0.clone())),
            ("memory".to_owned(), Quantity(resources.memory.0.clone())),
            ("ephemeral-storage".to_owned(), Quantity(scratch.to_owned())),
        ])
    };
    ResourceRequirements {
        limits: Some(amounts(SCRATCH)),
        requests: Some(amounts(SCRATCH_SET_ASIDE)),
        claims: None,
    }
}

/// The folder `/tmp` of a pod.
#[must_use]
pub fn scratch() -> Volume {
    Volume {
        name: "tmp".to_owned(),
        empty_dir: Some(EmptyDirVolumeSource {
            size_limit: Some(Quantity(SCRATCH.to_owned())),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// The pull policy of all images.
#[must_use]
pub fn pull_policy(settings: &Settings) -> Option<String> {
    Some(settings.pull_policy.clone())
}
