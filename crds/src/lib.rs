//! The Experiment API, the result schema and the trial schedule.
//!
//! Data and pure rules only: this crate has no client, no runtime, no clock and no I/O, so that the
//! operator, the load generator and the analysis agree on every word of it.

pub mod conditions;
pub mod names;
pub mod quantity;
pub mod reference;
pub mod result;
pub mod rng;
pub mod run;
pub mod schedule;
pub mod spec;
pub mod status;

pub use spec::{Experiment, ExperimentSpec};
pub use status::ExperimentStatus;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

/// Every custom resource definition of the project, as the cluster is to see it.
#[must_use]
pub fn all_crds() -> Vec<CustomResourceDefinition> {
    vec![Experiment::crd()]
}
