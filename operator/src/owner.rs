//! Resources that have children of the operator's making. (Pure.)

use bakeoff_crds::identity::Identity;
use bakeoff_crds::{Experiment, names};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Resource;

/// A resource that has children of the operator's making. They carry its name and its uid in labels, by which they are
/// found and it is woken.
pub trait Owner: Resource<DynamicType = (), Scope = NamespaceResourceScope> {
    /// The label of a child with the name of its owner.
    const NAME: &'static str;
    /// The label of a child with the uid of its owner.
    const UID: &'static str;
}

impl Owner for Experiment {
    const NAME: &'static str = names::LABEL_EXPERIMENT;
    const UID: &'static str = names::LABEL_EXPERIMENT_UID;
}

/// What a child says of its owner.
#[must_use]
pub fn reference<K: Owner>(id: &Identity) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: id.name.clone(),
        uid: id.uid.to_string(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}
