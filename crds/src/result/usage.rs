//! What generators and backends use during a trial.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a generator used during the window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GeneratorUsage {
    /// The index of the generator.
    pub index: i32,
    /// The node it ran on; empty outside a cluster.
    #[serde(default)]
    pub node: String,
    /// CPU time, microseconds.
    pub cpu_micros: i64,
    /// For how long the thread that carries the load was ready to run and had no processor,
    /// microseconds, as the kernel's scheduler counts it; 0 where it does not say. Unlike
    /// throttling it also sees busy neighbours, in closed loads too.
    #[serde(default)]
    pub run_queue_micros: i64,
    /// CFS periods in which it was throttled.
    pub throttled_periods: i64,
    /// Time for which it was throttled, microseconds.
    pub throttled_micros: i64,
    /// Microseconds between the agreed and the actual start of the trial.
    pub start_skew_micros: i64,
    /// By how much the clock of generator 0 was ahead of this one's, microseconds; 0 for itself.
    #[serde(default)]
    pub clock_ahead_micros: i64,
    /// By how much that may be wrong: half the round trip of the exchange, microseconds.
    #[serde(default)]
    pub clock_error_micros: i64,
    /// The 99th percentile of how late the pacer was, microseconds; 0 in a closed load.
    #[serde(default)]
    pub pacer_lateness_p99_micros: i64,
    /// Largest resident memory seen, bytes.
    #[serde(default)]
    pub resident_bytes: i64,
}

/// What a backend used between the start and the end of the trial.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendUsage {
    /// When its process started, of several the last one, seconds since the epoch; a change voids the trial.
    pub process_start_seconds: f64,
    /// CPU time of all its pods, microseconds.
    pub cpu_micros: i64,
    /// Resident memory of all its pods at the end, bytes.
    pub resident_bytes: i64,
    /// The same of each pod by its name, of a backend of several.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pods: BTreeMap<String, PodUsage>,
}

/// What a pod of a backend used between the start and the end of the trial.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodUsage {
    /// CPU time, microseconds.
    pub cpu_micros: i64,
    /// Resident memory at the end, bytes.
    pub resident_bytes: i64,
}
