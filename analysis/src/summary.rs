//! The summary of a run: what was measured, and what follows from it.
//!
//! `summary.json` is the one file that other programs are invited to read.

use bakeoff_crds::spec::ExperimentSpec;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::decision::{self, DecisionRecord};
use crate::measured::{self, Measured, RunData, SummaryError};
use crate::objective;

/// Everything that one run says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// What was measured.
    #[serde(flatten)]
    pub measured: Measured,
    /// Each objective of the spec.
    pub objectives: Vec<ObjectiveResult>,
    /// What the rule concluded, where one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<DecisionRecord>,
}

/// One objective of the spec.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectiveResult {
    /// The name in the spec.
    pub name: String,
    /// The expression.
    pub expression: String,
    /// Whether it holds. A missing metric is not satisfied.
    pub met: bool,
    /// The figures it read, or what is missing.
    pub detail: String,
}

/// Summarises a run, evaluates its objectives and applies its decision rule.
///
/// Of each trial the first valid attempt counts; no two attempts are ever merged. The order of the
/// records does not matter.
///
/// # Errors
/// When a record has an unknown schema, belongs to another run, occurs twice or holds a histogram
/// that cannot be added: a summary that left it out would be wrong in silence.
pub fn summarise(data: &RunData<'_>) -> Result<Summary, SummaryError> {
    let spec = &data.manifest.plan.spec;
    let measured = measured::measure(data)?;
    Ok(Summary {
        objectives: objectives(spec, &measured),
        decision: spec
            .decision
            .as_ref()
            .map(|decision| decision::decide(decision, spec, &measured)),
        measured,
    })
}

fn objectives(spec: &ExperimentSpec, measured: &Measured) -> Vec<ObjectiveResult> {
    let judged = spec.objectives.iter().map(|objective| {
        let (met, detail) = objective::judge(&objective.expression, spec, measured);
        ObjectiveResult {
            name: objective.name.clone(),
            expression: objective.expression.clone(),
            met,
            detail,
        }
    });
    judged.collect()
}

/// The JSON Schema of `summary.json`, as it is published.
#[must_use]
pub fn json_schema() -> serde_json::Value {
    schemars::schema_for!(Summary).to_value()
}

#[cfg(test)]
mod tests;
