//! The figures of an operation that are compared.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A figure of an operation that each block states and that is compared.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Metric {
    /// Completed operations per second; more is better.
    PerSecond,
    /// Median response; less is better.
    P50,
    /// 99th percentile of the response; less is better.
    P99,
}

impl Metric {
    /// All of them, in the order of tables.
    pub const ALL: [Self; 3] = [Self::PerSecond, Self::P50, Self::P99];

    /// The name for people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PerSecond => "throughput",
            Self::P50 => "p50",
            Self::P99 => "p99",
        }
    }

    /// Whether a ratio above 1 speaks for the subject.
    #[must_use]
    pub fn more_is_better(self) -> bool {
        matches!(self, Self::PerSecond)
    }
}
