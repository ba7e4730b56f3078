//! Builders of every object that the operator makes. (Pure and infallible.)
//!
//! Names are deterministic and keyed by the experiment's uid, so that applying twice is harmless.

pub mod backend;
#[cfg(test)]
mod connections;
pub mod guard;
#[cfg(test)]
mod ipv6;
pub mod jobs;
pub mod profile;
pub mod run_plan;
pub mod server_names;
pub mod server_pod;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod topologies;

use crate::parts::objects::{Role, labels_of, metadata_of, secret_of};
use bakeoff_crds::Experiment;
use bakeoff_crds::names;
use bakeoff_rules::validate::Remains;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::collections::BTreeMap;

/// The labels of a child of an experiment.
#[must_use]
pub fn labels(of: &Remains, role: Role) -> BTreeMap<String, String> {
    labels_of::<Experiment>(&of.id, role)
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

/// The metadata of a child of an experiment.
#[must_use]
pub fn metadata(of: &Remains, name: String, role: Role) -> ObjectMeta {
    metadata_of::<Experiment>(&of.id, name, role)
}

/// A Secret of an experiment that has nothing in it yet.
#[must_use]
pub fn secret(of: &Remains, name: String, role: Role) -> Secret {
    secret_of::<Experiment>(&of.id, name, role)
}
