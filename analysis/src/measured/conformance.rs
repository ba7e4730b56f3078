//! What of S3 the stores keep, as the preflight found it.

use bakeoff_crds::conformance::{Answer, CheckAnswer, ConformanceRecord, Weight};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::BackendSummary;

/// What of S3 one store keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConformanceSummary {
    /// The backend.
    pub backend: String,
    /// Each check, with what was seen where it is not kept.
    pub checks: Vec<CheckAnswer>,
}

impl ConformanceSummary {
    /// The checks that weigh so much and that the store was seen not to keep.
    pub fn broken(&self, weight: Weight) -> impl Iterator<Item = &CheckAnswer> {
        self.of(weight).filter(|one| one.is_broken())
    }

    /// The checks that weigh so much.
    pub fn of(&self, weight: Weight) -> impl Iterator<Item = &CheckAnswer> {
        self.checks
            .iter()
            .filter(move |one| one.check.weight() == weight)
    }
}

/// What was found of each backend, in the order of the spec.
pub(super) fn conformance(
    backends: &[&str],
    found: &[ConformanceRecord],
) -> Vec<ConformanceSummary> {
    let of = |name: &&str| {
        let record = found.iter().find(|record| record.backend == *name)?;
        Some(ConformanceSummary {
            backend: record.backend.clone(),
            checks: record.checks.clone(),
        })
    };
    backends.iter().filter_map(of).collect()
}

impl BackendSummary {
    /// The same with what its users have to know of how it differs from S3: that stands beside every figure of it.
    pub(super) fn with(mut self, found: Option<&ConformanceSummary>) -> Self {
        let Some(found) = found else {
            return self;
        };
        for weight in [Weight::Needed, Weight::Named] {
            for one in found.of(weight).filter(|one| one.answer != Answer::Kept) {
                self.caveats.push(match one.answer {
                    Answer::Unknown => format!(
                        "whether it does as S3 is not known ({}): {}",
                        one.check.name(),
                        one.seen
                    ),
                    _ => format!("not as S3 ({}): {}", one.check.name(), one.text()),
                });
            }
        }
        self
    }
}
