//! Why raw data cannot be summarised.

use bakeoff_crds::result::TRIAL_SCHEMA;

use crate::merge::MergeError;

/// Why raw data cannot be summarised.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SummaryError {
    /// A record of a schema that this version does not read.
    #[error("trial {trial} has the schema {found:?}, but this version reads {TRIAL_SCHEMA:?}")]
    Schema {
        /// The id of the trial.
        trial: String,
        /// The schema it carries.
        found: String,
    },
    /// A record that the schedule of the manifest does not hold: data of another run.
    #[error("trial {0} is not in the schedule of the manifest: it belongs to another spec or seed")]
    ForeignTrial(String),
    /// Two records of one attempt.
    #[error("trial {trial} has two records of attempt {attempt}")]
    Duplicate {
        /// The id of the trial.
        trial: String,
        /// The attempt.
        attempt: i32,
    },
    /// A histogram cannot be read or added.
    #[error("trial {trial}, operation {operation}: {source}")]
    Histogram {
        /// The id of the trial.
        trial: String,
        /// The operation.
        operation: String,
        /// What is wrong with it.
        source: MergeError,
    },
}

impl SummaryError {
    /// A short word for conditions, events and metric labels.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Schema { .. } => "TrialSchemaUnknown",
            Self::ForeignTrial(_) => "ForeignTrial",
            Self::Duplicate { .. } => "DuplicateTrial",
            Self::Histogram { source, .. } => source.reason(),
        }
    }
}
