//! Runs of one experiment as a history, and what in it counts as a regression.

use super::rules;
use crate::figure::Better;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// The history that an experiment is a run of. A schedule fills it in; whoever makes Experiments by other means states it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Series {
    /// The name of the history, in the namespace: lower-case letters, digits, dashes and dots, at most 52 characters.
    #[schemars(
        length(min = 1, max = 52),
        regex(pattern = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
    )]
    pub name: String,
    /// The run of this history that this one repeats, to confirm what it showed. It is kept beside the history, not in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 52))]
    pub confirms: Option<String>,
    /// How many runs a year are looked at: the false alarms of a year are shared among them. 1 to 527040 (each minute), default
    /// 365.
    #[serde(default = "default_looks")]
    #[schemars(range(min = 1, max = 527_040))]
    pub looks_per_year: i32,
    /// What counts as a regression. Empty: the history is kept and nothing is concluded from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regression: Option<Regression>,
}

/// What counts as a regression against earlier runs. The verdict is an exact rank test; at most `falseAlarmsPerYear` are
/// expected, whatever the noise, as long as nothing but chance tells the runs apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Regression {
    /// The figures that are watched, 1 to 8: each shares in the false alarms, so watch what you would act on.
    #[schemars(length(min = 1, max = 8))]
    #[x_kube(validation = rules::names_are_unique("metric"))]
    pub metrics: Vec<RegressionMetric>,
    /// How many comparable runs a new one is compared with, the newest. 5 to 60, default 20: more make it harder to be worse
    /// than all of them.
    #[serde(default = "default_baseline")]
    #[schemars(range(min = 5, max = 60))]
    pub baseline_runs: i32,
    /// How many further runs have to confirm what one showed. 0 to 5, default 3.
    #[serde(default = "default_confirmations")]
    #[schemars(range(min = 0, max = 5))]
    pub confirm_runs: i32,
    /// False alarms that are expected in a year at most, all metrics together. 1 to 52, default 1.
    #[serde(default = "default_alarms")]
    #[schemars(range(min = 1, max = 52))]
    pub false_alarms_per_year: i32,
    /// Runs that began before are left out: what came after is the accepted level. State it to accept a change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>")]
    pub since: Option<jiff::Timestamp>,
}

/// A figure that is watched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.minChangePercent) != has(self.minChange)").message("a metric states either minChangePercent or, for a figure near zero, minChange"))]
pub struct RegressionMetric {
    /// Its name, at most 30 characters.
    #[schemars(length(min = 1, max = 30))]
    pub name: String,
    /// The figure: a number in the words of objectives, for example `head.operation.p99`.
    #[schemars(length(min = 1, max = 300))]
    pub expression: String,
    /// Which way is better.
    pub better: Better,
    /// The smallest change of the median that matters, per cent of it. 1 to 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000))]
    pub min_change_percent: Option<i32>,
    /// The same in the figure's own unit, for figures that may be near zero.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub min_change: Option<f64>,
}

fn default_looks() -> i32 {
    365
}

fn default_baseline() -> i32 {
    20
}

fn default_confirmations() -> i32 {
    3
}

fn default_alarms() -> i32 {
    1
}
