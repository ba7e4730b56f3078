//! How operations arrive.

use crate::spec::cel;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How operations arrive. Exactly one of `closed`, `open` and `capacity` is set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.closed), has(self.open), has(self.capacity)].filter(x, x).size() == 1").message("load sets exactly one of closed, open and capacity"))]
pub struct Load {
    /// Each of a fixed number of clients sends its next operation when the last one has ended.
    /// Finds throughput. Its latencies say nothing about a given rate: latency counts from the send, and
    /// a server that stalls is asked less while it stalls (coordinated omission).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<ClosedLoad>,
    /// Operations are due at planned instants whether or not earlier ones have ended; latency counts
    /// from the plan. Finds latency at a rate, free of coordinated omission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<OpenLoad>,
    /// Before the first block the highest rate that each backend sustains is searched; then all of them are
    /// measured at the same rates, shares of the weakest one's. Finds latency below saturation
    /// without knowing the rates beforehand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<CapacityLoad>,
}

/// Planned arrivals at shares of what the weakest backend sustains. A search ramps the rate up by
/// short steps until the objective breaks, then narrows it down; its result is kept with the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.start <= self.maxRatePerSecond").message("load.capacity.start must not exceed maxRatePerSecond"))]
pub struct CapacityLoad {
    /// Operations per second, of all generators together, of the first step. 1 to 200000, default 50.
    #[serde(default = "default_start")]
    #[schemars(range(min = 1, max = 200_000))]
    pub start: i32,
    /// By how many per cent each step of the ramp exceeds the one before. 5 to 400, default 50.
    #[serde(default = "default_growth")]
    #[schemars(range(min = 5, max = 400))]
    pub growth_percent: i32,
    /// Seconds of the window of each step, after one second of warm-up. 1 to 600, default 3.
    #[serde(default = "default_step")]
    #[schemars(range(min = 1, max = 600))]
    pub step_seconds: i32,
    /// The objective: 99 of 100 planned operations end well within so many milliseconds, at most one
    /// in a thousand fails and at most one in a thousand is never started. 1 to 60000, default 100.
    #[serde(default = "default_objective")]
    #[schemars(range(min = 1, max = 60_000))]
    pub p99_milliseconds: i32,
    /// Operations per second beyond which the search does not go. 1 to 200000, default 20000.
    #[serde(default = "default_max_rate")]
    #[schemars(range(min = 1, max = 200_000))]
    pub max_rate_per_second: i32,
    /// Factor: shares of the weakest backend's capacity at which all are measured, per cent, each level
    /// 1 to 100. Default 25, 50, 75, 90.
    #[serde(default = "default_percents")]
    #[schemars(length(min = 1, max = 16), inner(range(min = 1, max = 100)))]
    #[x_kube(validation = cel::levels_differ("percentOfWeakest"))]
    pub percent_of_weakest: Vec<i32>,
    /// The distances between arrivals: `Poisson` (default, independent users) or `Constant`.
    #[serde(default)]
    pub arrivals: Arrivals,
    /// Operations in flight in one generator beyond which due operations wait. 1 to 4096, default 256.
    #[serde(default = "default_in_flight")]
    #[schemars(range(min = 1, max = 4_096))]
    pub max_in_flight: i32,
}

fn default_start() -> i32 {
    50
}
fn default_growth() -> i32 {
    50
}
fn default_step() -> i32 {
    3
}
fn default_objective() -> i32 {
    100
}
fn default_max_rate() -> i32 {
    20_000
}
fn default_percents() -> Vec<i32> {
    vec![25, 50, 75, 90]
}

/// A fixed number of clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClosedLoad {
    /// Factor: clients in all generators together, each level 1 to 4096.
    #[schemars(length(min = 1, max = 16), inner(range(min = 1, max = 4_096)))]
    #[x_kube(validation = cel::levels_differ("concurrency"))]
    pub concurrency: Vec<i32>,
}

/// Planned arrivals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct OpenLoad {
    /// Factor: operations planned per second by all generators together, each level 1 to 200000.
    #[schemars(length(min = 1, max = 16), inner(range(min = 1, max = 200_000)))]
    #[x_kube(validation = cel::levels_differ("ratePerSecond"))]
    pub rate_per_second: Vec<i32>,
    /// The distances between arrivals: `Poisson` (default, independent users) or `Constant`.
    #[serde(default)]
    pub arrivals: Arrivals,
    /// Operations in flight in one generator beyond which due operations wait; what still waits when
    /// the drain ends counts as never started. 1 to 4096, default 256.
    #[serde(default = "default_in_flight")]
    #[schemars(range(min = 1, max = 4_096))]
    pub max_in_flight: i32,
}

fn default_in_flight() -> i32 {
    256
}

/// The distances between planned arrivals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Arrivals {
    /// Exponentially distributed distances: independent users. Shows queueing.
    #[default]
    Poisson,
    /// Equal distances.
    Constant,
}

/// A count of the spec, which is at least 1.
pub(super) fn number(number: i32) -> usize {
    usize::try_from(number).unwrap_or(1)
}
