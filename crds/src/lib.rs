//! The Experiment API, the result schema and the trial schedule.
//!
//! Data and pure rules only: this crate has no client, no runtime, no clock and no I/O, so that the
//! operator, the load generator and the analysis agree on every word of it.

pub mod capacity;
mod cell;
pub mod conditions;
pub mod conformance;
pub mod durability;
pub mod ending;
pub mod experiment_plan;
pub mod experiment_schedule;
pub mod figure;
pub mod history;
pub mod identity;
pub mod names;
pub mod notify;
pub mod quantity;
pub mod reference;
mod regression;
pub mod result;
pub mod rng;
pub mod run;
pub mod schedule;
pub mod spec;
pub mod status;
pub mod upkeep;

pub use ending::EndReason;
pub use experiment_plan::{ExperimentPlan, ExperimentPlanSpec, ExperimentPlanStatus};
pub use experiment_schedule::{
    ExperimentSchedule, ExperimentScheduleSpec, ExperimentScheduleStatus,
};
pub use spec::{Experiment, ExperimentSpec};
pub use status::ExperimentStatus;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::CustomResourceExt;

/// Every custom resource definition of the project, as the cluster is to see it.
#[must_use]
pub fn all_crds() -> Vec<CustomResourceDefinition> {
    let mut crds = vec![
        Experiment::crd(),
        ExperimentPlan::crd(),
        ExperimentSchedule::crd(),
    ];
    for schema in crds.iter_mut().filter_map(root) {
        compact(schema);
        unread(schema);
        if let Some(template) = at(schema, &["spec", "phases", "experiments", "template"]) {
            without_rules(template);
            in_short(template);
        }
        if let Some(template) = at(schema, &["spec", "template"]) {
            in_short(template);
        }
    }
    crds
}

/// Gives what nobody has looked at yet a status that says so: without one, tools that follow kstatus take it for done.
fn unread(schema: &mut JSONSchemaProps) {
    if let Some(status) = at(schema, &["status"]) {
        status.default = Some(JSON(serde_json::json!({"observedGeneration": -1})));
    }
}

fn root(crd: &mut CustomResourceDefinition) -> Option<&mut JSONSchemaProps> {
    let version = crd.spec.versions.first_mut()?;
    version.schema.as_mut()?.open_api_v3_schema.as_mut()
}

/// The schema of a field, through lists.
fn at<'a>(schema: &'a mut JSONSchemaProps, path: &[&str]) -> Option<&'a mut JSONSchemaProps> {
    let Some((field, rest)) = path.split_first() else {
        return Some(schema);
    };
    let field = schema.properties.as_mut()?.get_mut(*field)?;
    if field.items.is_none() {
        return at(field, rest);
    }
    match &mut field.items {
        Some(JSONSchemaPropsOrArray::Schema(item)) => at(item, rest),
        _ => None,
    }
}

/// Takes the CEL rules of a schema away, and those of all that is in it. Within a list within a list they would cost more than the
/// API server allows; the operator has it try each template as an Experiment instead, before a plan begins.
fn without_rules(schema: &mut JSONSchemaProps) {
    schema.x_kubernetes_validations = None;
    let properties = schema.properties.iter_mut();
    properties
        .flat_map(|all| all.values_mut())
        .for_each(without_rules);
    if let Some(JSONSchemaPropsOrArray::Schema(item)) = &mut schema.items {
        without_rules(item);
    }
}

/// Explains the fields of an Experiment that is made of a template by the first sentence of what `kubectl explain experiment.spec` says,
/// to which it refers: with all of it in three definitions two would be too large to apply.
fn in_short(template: &mut JSONSchemaProps) {
    fn first_sentences(schema: &mut JSONSchemaProps) {
        if let Some(text) = &mut schema.description
            && let Some(end) = text.find(". ").filter(|end| *end >= 9)
        {
            text.truncate(end + 1);
        }
        let properties = schema.properties.iter_mut();
        properties
            .flat_map(|all| all.values_mut())
            .for_each(first_sentences);
        if let Some(JSONSchemaPropsOrArray::Schema(item)) = &mut schema.items {
            first_sentences(item);
        }
    }
    let Some(spec) = at(template, &["spec"]) else {
        return;
    };
    first_sentences(spec);
    let text = spec.description.get_or_insert_default();
    text.push_str(" `kubectl explain experiment.spec` says more of each field.");
}

/// Leaves out what says nothing: definitions have to stay small. The lines of each description are joined, for `kubectl explain` breaks
/// lines itself; of a number that has bounds its width follows from these.
fn compact(schema: &mut JSONSchemaProps) {
    if schema.minimum.is_some() && schema.maximum.is_some() {
        schema.format = None;
    }
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
        compact(property);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(item)) = &mut schema.items {
        compact(item);
    }
}
