//! What stands beside the figures: checks, attempts that count for nothing, generators, machines.

use bakeoff_crds::capacity::CapacityLimit;
use bakeoff_crds::schedule::Cell;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One correctness check on one backend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckSummary {
    /// The backend.
    pub backend: String,
    /// The check.
    pub name: String,
    /// Facts that were checked in valid trials.
    pub checked: i64,
    /// Facts that were violated, also in attempts whose latencies count for nothing: an object that
    /// is lost is lost, whatever the generator did meanwhile.
    pub violations: i64,
    /// Those of them that were seen in such an attempt.
    #[serde(default)]
    pub violations_excluded: i64,
    /// Violations in attempts during which the backend restarted or went away. They are not counted
    /// above, because that may explain them, and not forgotten: they leave the question open.
    #[serde(default)]
    pub violations_unsettled: i64,
    /// Facts that an unknown outcome left open.
    pub uncertain: i64,
    /// Up to ten violations in words.
    pub examples: Vec<String>,
}

impl CheckSummary {
    /// Facts of which is known whether they hold.
    #[must_use]
    pub fn decided(&self) -> i64 {
        (self.checked - self.uncertain).max(0)
    }

    /// Whether there were facts and not one of them is known to hold or not to: nothing was read, so that nothing was clean.
    #[must_use]
    pub fn is_undecided(&self) -> bool {
        self.checked > 0 && self.decided() == 0 && self.violations == 0
    }
}

/// What a search for a backend's capacity found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CapacitySummary {
    /// The name of the workload.
    pub workload: String,
    /// The factor levels without the share of capacity.
    pub levels: Cell,
    /// The backend.
    pub backend: String,
    /// The highest rate that met the objective of the search, operations per second; 0 when none did.
    pub sustained_per_second: f64,
    /// What ended the search.
    pub limit: CapacityLimit,
    /// Steps that were tried.
    pub steps: i32,
}

/// An attempt whose figures are used nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExcludedTrial {
    /// The id of the trial.
    pub trial: String,
    /// The attempt, from 1.
    pub attempt: i32,
    /// The trial in words.
    pub describe: String,
    /// The backend.
    pub backend: String,
    /// Why: the codes of the broken bounds, or `Interrupted`.
    pub codes: Vec<String>,
    /// The figures and the bounds in words.
    pub details: Vec<String>,
    /// Correctness violations that were seen in it. They count all the same: see [`CheckSummary`].
    pub violations: i64,
    /// Whether a later attempt at the same trial was valid.
    pub made_good: bool,
}

/// A trial that counts and in which the backend failed or was overloaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FlaggedTrial {
    /// The id of the trial.
    pub trial: String,
    /// The trial in words.
    pub describe: String,
    /// The backend.
    pub backend: String,
    /// What was found: `Failing`, `Overloaded`, `TimingDistorted`.
    pub codes: Vec<String>,
    /// The figures and the bounds in words.
    pub details: Vec<String>,
}

/// How far the load generator can be trusted on one backend: the worst over its valid trials.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GeneratorSummary {
    /// The backend.
    pub backend: String,
    /// Valid trials.
    pub trials: i32,
    /// Smallest share of planned operations that were started, thousandths; open loads only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_per_mille: Option<f64>,
    /// Median of the send lag over all operations of open loads, microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_lag_p50_micros: Option<i64>,
    /// 99th percentile of the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_lag_p99_micros: Option<i64>,
    /// 99th percentile of the lag of operations that a connection was free for when they were due,
    /// microseconds: what the generator itself was late by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generator_lag_p99_micros: Option<i64>,
    /// Operations that waited for a connection, because the backend kept all of them busy; open
    /// loads only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued: Option<i64>,
    /// Largest 99th percentile of how late a pacer was, microseconds; open loads only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pacer_lateness_p99_micros: Option<i64>,
    /// Largest share of a core that a generator used in a window; 1 is one core.
    pub cpu_cores: f64,
    /// Largest share of a window for which a generator was throttled, thousandths.
    pub throttled_per_mille: f64,
    /// Largest distance between the agreed and the actual start, microseconds.
    pub start_skew_micros: i64,
    /// Largest resident memory, bytes.
    pub resident_bytes: i64,
}

/// The machines, as far as a summary needs them; the manifest has all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentSummary {
    /// Nodes of the pool.
    pub nodes: i32,
    /// Distinct machines among them, by boot id.
    pub machines: i32,
    /// What could not be equalised; empty: equal as far as checked.
    pub inequalities: Vec<String>,
    /// The version of Kubernetes.
    pub kubernetes_version: String,
    /// The version of Bakeoff.
    pub bakeoff_version: String,
    /// The version of the generator.
    pub generator_version: String,
}
