//! What is kept of each run for the runs after it: one small object in the results store, written once.

use crate::ending::EndReason;
use crate::identity::Identity;
use crate::spec::{Regression, ResultClass};
use crate::status::DecisionOutcome;
use jiff::Timestamp;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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

/// What a run says of the history that it belongs to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegressionStatus {
    /// What is concluded.
    pub state: RegressionState,
    /// Why, in words.
    pub message: String,
    /// The metric that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// The median of the baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<f64>,
    /// The median of this run and those that confirm it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<f64>,
    /// The probability of such a rank or a worse one by chance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p: Option<f64>,
    /// What it has to stay within: the false alarms of a year, shared among metrics and looks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f64>,
    /// Comparable runs that it rests on.
    #[serde(default)]
    pub baseline_runs: i32,
    /// How many are needed before an alarm is possible.
    #[serde(default)]
    pub needed_runs: i32,
    /// The change that would probably have been seen: three standard deviations of the baseline, per cent of its median.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub would_see_percent: Option<f64>,
    /// The first run from which on all are worse by what matters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_run: Option<String>,
    /// What differs from the last run of the baseline.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differs: Vec<String>,
}

/// What a run says of its history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RegressionState {
    /// There are too few comparable runs.
    #[default]
    Baselining,
    /// It is among those before it.
    NoRegression,
    /// It is worse than all of them; further runs have to confirm that.
    Suspect,
    /// It got worse, and further runs confirm it; or it has not recovered since.
    Regressed,
    /// It is again as it was before it got worse.
    Recovered,
    /// It did not go to its end, a figure is missing, or the machine is another one.
    NotComparable,
    /// Each run depends on the one before it, so that the test does not hold.
    Autocorrelated,
}

impl RegressionState {
    /// The word in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Baselining => "Baselining",
            Self::NoRegression => "NoRegression",
            Self::Suspect => "Suspect",
            Self::Regressed => "Regressed",
            Self::Recovered => "Recovered",
            Self::NotComparable => "NotComparable",
            Self::Autocorrelated => "Autocorrelated",
        }
    }
}
