//! The Experiment API, the result schema and the trial schedule.
//!
//! Data and pure rules only: this crate has no client, no runtime, no clock and no I/O, so that the
//! operator, the load generator and the analysis agree on every word of it.

pub mod capacity;
pub mod conditions;
pub mod conformance;
pub mod durability;
pub mod ending;
pub mod experiment_schedule;
pub mod figure;
pub mod identity;
pub mod names;
pub mod quantity;
pub mod reference;
pub mod result;
pub mod rng;
pub mod run;
pub mod schedule;
pub mod spec;
pub mod status;
pub mod upkeep;

pub use ending::EndReason;
pub use experiment_schedule::{
    ExperimentSchedule, ExperimentScheduleSpec, ExperimentScheduleStatus,
};
pub use spec::{Experiment, ExperimentSpec};
pub use status::ExperimentStatus;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::CustomResourceExt;

/// Every custom resource definition of the project, as the cluster is to see it.
#[must_use]
pub fn all_crds() -> Vec<CustomResourceDefinition> {
    let mut crds = vec![Experiment::crd(), ExperimentSchedule::crd()];
    for version in crds.iter_mut().flat_map(|crd| &mut crd.spec.versions) {
        if let Some(schema) = version
            .schema
            .as_mut()
            .and_then(|schema| schema.open_api_v3_schema.as_mut())
        {
            unwrap_lines(schema);
        }
    }
    crds
}

/// Joins the lines of each description: `kubectl explain` breaks lines itself.
fn unwrap_lines(schema: &mut JSONSchemaProps) {
    if let Some(text) = &mut schema.description {
        let paragraphs: Vec<String> = text
            .split("\n\n")
            .map(|paragraph| paragraph.replace('\n', " "))
            .collect();
        *text = paragraphs.join("\n\n");
    }
    for property in schema
        .properties
        .iter_mut()
        .flat_map(|properties| properties.values_mut())
    {
        unwrap_lines(property);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(item)) = &mut schema.items {
        unwrap_lines(item);
    }
}
