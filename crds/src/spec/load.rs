//! How operations arrive.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How operations arrive. Exactly one of `closed` and `open` is set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.closed), has(self.open)].filter(x, x).size() == 1").message("load sets exactly one of closed and open"))]
pub struct Load {
    /// Each of a fixed number of clients sends its next operation when the last one has ended.
    /// Finds throughput; its latencies say nothing about a given rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<ClosedLoad>,
    /// Operations are due at planned instants whether or not earlier ones have ended; latency counts
    /// from the plan. Finds latency at a rate, free of coordinated omission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<OpenLoad>,
}

/// A fixed number of clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClosedLoad {
    /// Factor: clients in all generators together, each level 1 to 4096.
    #[schemars(length(min = 1, max = 16), inner(range(min = 1, max = 4_096)))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, a == b))").message("concurrency lists a level twice"))]
    pub concurrency: Vec<i32>,
}

/// Planned arrivals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct OpenLoad {
    /// Factor: operations planned per second by all generators together, each level 1 to 200000.
    #[schemars(length(min = 1, max = 16), inner(range(min = 1, max = 200_000)))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, a == b))").message("ratePerSecond lists a level twice"))]
    pub rate_per_second: Vec<i32>,
    /// The distances between arrivals: `Poisson` (default, independent users) or `Constant`.
    #[serde(default)]
    pub arrivals: Arrivals,
    /// Operations in flight in one generator beyond which due operations are not started but counted
    /// as never started. 1 to 4096, default 256.
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
