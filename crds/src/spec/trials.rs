//! How often is measured, by how many generators, and what makes a trial valid.

use super::Resources;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// How often and for how long each cell is measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.earlyStop) || self.earlyStop.minBlocks < self.blocks").message("trials.earlyStop.minBlocks must be below trials.blocks, which is the most that are run"))]
pub struct Trials {
    /// Rounds in which each backend runs each cell once, in seeded random order; the unit of
    /// comparison. 1 to 100, default 6: with fewer than 6 no two-sided test can reach 5 %. With
    /// `earlyStop` it is the most that are run.
    #[serde(default = "default_blocks")]
    #[schemars(range(min = 1, max = 100))]
    pub blocks: i32,
    /// Seconds of load before the window that are not measured. 0 to 3600, default 5.
    #[serde(default = "default_warmup")]
    #[schemars(range(min = 0, max = 3_600))]
    pub warmup_seconds: i32,
    /// Seconds of the measured window. 1 to 86400, default 20.
    #[serde(default = "default_window")]
    #[schemars(range(min = 1, max = 86_400))]
    pub window_seconds: i32,
    /// Seconds that operations of the window may take to finish after it; later ones are counted
    /// as unfinished. 0 to 600, default 5.
    #[serde(default = "default_drain")]
    #[schemars(range(min = 0, max = 600))]
    pub drain_seconds: i32,
    /// Ends the measurement before the last block once the decision is settled. Default: never.
    /// Needs `decision`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub early_stop: Option<EarlyStop>,
}

/// When a run may end before its last block: at looks that are fixed beforehand and share the 5 %
/// error rate between them, so that looking early does not raise it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct EarlyStop {
    /// Complete blocks before the first look. 6 to 99, and below `blocks`. A look so early that
    /// the test could not reach its share of the error rate is left out.
    #[schemars(range(min = 6, max = 99))]
    pub min_blocks: i32,
    /// Looks, the one after the last block included, evenly spaced. 2 to 10, default 3. More looks
    /// may stop a run earlier and make each of them stricter.
    #[serde(default = "default_looks")]
    #[schemars(range(min = 2, max = 10))]
    pub looks: i32,
}

fn default_looks() -> i32 {
    3
}

fn default_blocks() -> i32 {
    6
}
fn default_warmup() -> i32 {
    5
}
fn default_window() -> i32 {
    20
}
fn default_drain() -> i32 {
    5
}

impl Default for Trials {
    fn default() -> Self {
        Self {
            blocks: default_blocks(),
            warmup_seconds: default_warmup(),
            window_seconds: default_window(),
            drain_seconds: default_drain(),
            early_stop: None,
        }
    }
}

/// The pods that generate the load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Generators {
    /// Pods that share the load of every trial, started together. 1 to 32, default 1.
    #[serde(default = "default_replicas")]
    #[schemars(range(min = 1, max = 32))]
    pub replicas: i32,
    /// CPU and memory of each. Default one core and 512Mi.
    #[serde(default = "Resources::generator_default")]
    pub resources: Resources,
    /// Generator pods that may fail before the experiment does; a new one resumes at the first
    /// unfinished trial. 0 to 20, default 3.
    #[serde(default = "default_backoff")]
    #[schemars(range(min = 0, max = 20))]
    pub backoff_limit: i32,
}

fn default_replicas() -> i32 {
    1
}
fn default_backoff() -> i32 {
    3
}

impl Default for Generators {
    fn default() -> Self {
        Self {
            replicas: default_replicas(),
            resources: Resources::generator_default(),
            backoff_limit: default_backoff(),
        }
    }
}

/// The bounds beyond which a trial is invalid. An invalid trial is kept, shown with its reason, and
/// repeated within a budget; it never enters a figure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Validity {
    /// The least share of planned operations that must be started and ended in time, in thousandths: below it the
    /// trial is flagged `Overloaded`. It stays in the statistics, because the backend is the cause, with
    /// latencies that are lower bounds. 0 to 1000, default 990. Open loop only.
    #[serde(default = "default_started")]
    #[schemars(range(min = 0, max = 1_000))]
    pub min_started_per_mille: i32,
    /// The largest p99 of the generator's own lag in microseconds: from plan to send where a connection was
    /// free, and of its pacer. Beyond it the trial is invalid. 1 to 10000000, default 5000. Open loop only.
    #[serde(default = "default_lag")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_send_lag_p99_microseconds: i32,
    /// The largest share of the window that a generator may have been throttled by its CPU limit, in
    /// thousandths. 0 to 1000, default 50.
    #[serde(default = "default_throttled")]
    #[schemars(range(min = 0, max = 1_000))]
    pub max_throttled_per_mille: i32,
    /// The largest share of a core that a generator may use in the window, in thousandths: each runs on one
    /// thread, and beyond this it measures itself. 1 to 1000, default 900.
    #[serde(default = "default_generator_cpu")]
    #[schemars(range(min = 1, max = 1_000))]
    pub max_generator_cpu_per_mille: i32,
    /// The largest share of operations that may fail, in thousandths: beyond it the trial is flagged
    /// `Failing`. It stays in the statistics, because the backend is the cause. 0 to 1000, default 10.
    #[serde(default = "default_failed")]
    #[schemars(range(min = 0, max = 1_000))]
    pub max_failed_per_mille: i32,
    /// How many invalid trials the whole experiment may repeat. 0 to 1000, default 20.
    #[serde(default = "default_repeats")]
    #[schemars(range(min = 0, max = 1_000))]
    pub repeat_budget: i32,
}

fn default_started() -> i32 {
    990
}
fn default_lag() -> i32 {
    5_000
}
fn default_throttled() -> i32 {
    50
}
fn default_generator_cpu() -> i32 {
    900
}
fn default_failed() -> i32 {
    10
}
fn default_repeats() -> i32 {
    20
}

impl Default for Validity {
    fn default() -> Self {
        Self {
            min_started_per_mille: default_started(),
            max_send_lag_p99_microseconds: default_lag(),
            max_throttled_per_mille: default_throttled(),
            max_generator_cpu_per_mille: default_generator_cpu(),
            max_failed_per_mille: default_failed(),
            repeat_budget: default_repeats(),
        }
    }
}
