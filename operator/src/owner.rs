//! Resources that have children of the operator's making. (Pure.)

use bakeoff_crds::identity::Identity;
use bakeoff_crds::{Experiment, ExperimentPlan, ExperimentSchedule, names};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, ResourceExt};

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

impl Owner for ExperimentSchedule {
    const NAME: &'static str = names::LABEL_SCHEDULE;
    const UID: &'static str = names::LABEL_SCHEDULE_UID;
}

impl Owner for ExperimentPlan {
    const NAME: &'static str = names::LABEL_PLAN;
    const UID: &'static str = names::LABEL_PLAN_UID;
}

/// Whether it carries our finalizer.
#[must_use]
pub fn has_finalizer(object: &impl ResourceExt) -> bool {
    let finalizers = object.finalizers();
    finalizers.iter().any(|name| name == names::FINALIZER)
}

/// What a child says of its owner.
#[must_use]
pub fn reference<K>(id: &Identity) -> OwnerReference
where
    K: Resource<DynamicType = ()>,
{
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: id.name.clone(),
        uid: id.uid.to_string(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// The owner of the kind `K` that an object says it was made by, its name and uid.
#[must_use]
pub fn controller<K>(of: &ObjectMeta) -> Option<(&str, &str)>
where
    K: Resource<DynamicType = ()>,
{
    let mut owners = of.owner_references.iter().flatten();
    let owner = owners.find(|owner| {
        owner.controller == Some(true)
            && owner.kind == K::kind(&())
            && owner.api_version == K::api_version(&())
    })?;
    Some((&owner.name, &owner.uid))
}
