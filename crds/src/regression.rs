//! What a run says of its history: whether it got worse.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    /// The change that would probably have been seen: three standard deviations of the baseline and no less than the change that matters, per cent of its median.
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
