//! What is kept of each run for the runs after it: one small object in the results store, written once.

use crate::ending::EndReason;
use crate::identity::Identity;
use crate::spec::{Regression, ResultClass};
use crate::status::DecisionOutcome;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub use crate::regression::{RegressionState, RegressionStatus};

/// The version that [`RunRecord::schema_version`] carries.
pub const RUN_RECORD_SCHEMA: &str = "catalogue.bakeoff.dev/v1";
/// How many facts a record keeps at most, and how long each may be.
pub const MOST_FACTS: usize = 64;
/// The longest fact, bytes.
pub const MOST_FACT: usize = 120;

/// A run, as later runs see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunRecord {
    /// [`RUN_RECORD_SCHEMA`].
    pub schema_version: String,
    /// Whose run it is.
    pub experiment: Identity,
    /// The history that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series: Option<String>,
    /// The run of that history that it repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirms: Option<String>,
    /// When its generators started.
    pub started_at: Timestamp,
    /// How it ended; absent of one outside a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<EndReason>,
    /// What its figures may be compared with.
    pub class: ResultClass,
    /// What its rule concludes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<DecisionOutcome>,
    /// Whether its objectives were met; absent where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objectives_met: Option<bool>,
    /// A hash of what was asked of the backends and with which equipment, versions and settings left out: runs of one design
    /// may be compared.
    pub design: String,
    /// What may be blamed for a change: versions, settings, kernels, nodes, by name.
    #[serde(default)]
    pub facts: BTreeMap<String, String>,
    /// How fast its machines are, by name: the figures of the calibration.
    #[serde(default)]
    pub machine: BTreeMap<String, f64>,
    /// What counts as a regression, as the run states it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regression: Option<Regression>,
    /// The watched figures, by expression. One that is missing was not measured.
    #[serde(default)]
    pub values: BTreeMap<String, f64>,
    /// What was concluded when it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<RegressionStatus>,
    /// Its results, in the bucket.
    pub results: String,
}
