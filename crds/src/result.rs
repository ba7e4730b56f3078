//! What one trial yields: the schema of the raw data in the results store.
//!
//! Everything here merges by addition: counts add up, histograms add up, nothing is a mean. The
//! schema carries its own version; readers refuse a version that they do not know.

mod state;
mod usage;
mod verdict;

pub use state::{StateLine, StateMark, StateSeries};
pub use usage::{BackendUsage, GeneratorUsage, PodUsage};
pub use verdict::{Finding, FindingCode, InvalidCode, InvalidReason, Verdict};

use crate::figure::{Counter, Figure};
use crate::schedule::Trial;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version that [`TrialRecord::schema_version`] carries.
pub const TRIAL_SCHEMA: &str = "trial.bakeoff.dev/v1";

/// Smallest latency that a histogram tells apart, in microseconds.
pub const HISTOGRAM_LOW_MICROS: u64 = 1;
/// Largest latency that a histogram holds, in microseconds (one hour); larger ones are counted as overflow.
pub const HISTOGRAM_HIGH_MICROS: u64 = 3_600_000_000;
/// Significant decimal digits of a histogram.
pub const HISTOGRAM_DIGITS: u8 = 3;

/// An HDR histogram of microseconds: base64 of the public V2 + deflate encoding.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EncodedHistogram(pub String);

/// One attempt at one trial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrialRecord {
    /// [`TRIAL_SCHEMA`].
    pub schema_version: String,
    /// What was planned.
    pub trial: Trial,
    /// The attempt at this trial, from 1. Attempts are never merged.
    pub attempt: i32,
    /// When preparation began, by the clock of generator 0.
    pub started_at: Timestamp,
    /// When the drain had ended.
    pub ended_at: Timestamp,
    /// The measured window.
    pub window: Window,
    /// Whether the figures may be used.
    pub verdict: Verdict,
    /// What the backend did not do: flags of a trial that is valid all the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// How much work was planned and done in the window.
    pub load: LoadCounts,
    /// Latencies by kind of operation, of operations planned in the window.
    pub operations: BTreeMap<String, OperationRecord>,
    /// Counts of the workload, for example `pages`, `keys`, `puts`, `snapshots`.
    #[serde(default, deserialize_with = "Counter::known")]
    pub counters: BTreeMap<Counter, i64>,
    /// What was checked for correctness.
    #[serde(default)]
    pub checks: Vec<CheckRecord>,
    /// One point per second of the window.
    #[serde(default)]
    pub series: Vec<SecondPoint>,
    /// Whether the window was steady; absent where it was too short to tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steadiness: Option<Steadiness>,
    /// The same cell against a server that answers at once: the generator's own share of the
    /// figures. Absent where no such server can play the backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Baseline>,
    /// What each generator used, by index.
    #[serde(default)]
    pub generators: Vec<GeneratorUsage>,
    /// What the backend used; absent where it cannot be observed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<BackendUsage>,
    /// Figures of the backend's state over the window, for example `hotPercent`; which there are is
    /// the workload's. Absent where nothing could be asked.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "Figure::known"
    )]
    pub figures: BTreeMap<Figure, f64>,
    /// How the backend's state went over the window, thinned for charts; the samples themselves are in
    /// `samples.jsonl`. Absent where nothing could be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<StateSeries>,
    /// What held back the removal of dead rows for half of the window or thirty seconds, where anything did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub horizon: Option<HorizonHeld>,
    /// Further files of this attempt, relative to its folder.
    #[serde(default)]
    pub files: Vec<String>,
}

/// What kept dead rows from being removed: VACUUM leaves what the oldest snapshot may still see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HorizonHeld {
    /// What it is.
    pub kind: HorizonHolder,
    /// Its name, in the server's words.
    pub name: String,
    /// Transactions that had begun since then, at most.
    pub age: i64,
}

/// What may hold back the removal of dead rows, beside the generators themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HorizonHolder {
    /// A replication slot.
    ReplicationSlot,
    /// A standby that tells of its own queries (`hot_standby_feedback`).
    Standby,
    /// A transaction that was prepared and neither committed nor rolled back.
    PreparedTransaction,
    /// A transaction of another session.
    Session,
}

impl HorizonHolder {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::ReplicationSlot,
        Self::Standby,
        Self::PreparedTransaction,
        Self::Session,
    ];

    /// The name in raw data.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReplicationSlot => "ReplicationSlot",
            Self::Standby => "Standby",
            Self::PreparedTransaction => "PreparedTransaction",
            Self::Session => "Session",
        }
    }

    /// In words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::ReplicationSlot => "the replication slot",
            Self::Standby => "the standby",
            Self::PreparedTransaction => "the prepared transaction",
            Self::Session => "another session,",
        }
    }
}

impl std::fmt::Display for HorizonHeld {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} {} ({} transactions)",
            self.kind.words(),
            self.name,
            self.age
        )
    }
}

/// The measured window, by the clock of generator 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Window {
    /// When it opened.
    pub start: Timestamp,
    /// When it closed.
    pub end: Timestamp,
    /// Its length by the monotonic clock, in microseconds.
    pub micros: i64,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde asks for it
fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// How much work was planned and done in the window. Each operation is in exactly one of
/// `completed`, `failed`, `unfinished`, `not_started` and `orphaned`; their sum is `planned`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadCounts {
    /// Operations due in the window; in a closed load those that were sent.
    pub planned: i64,
    /// Operations that ended well.
    pub completed: i64,
    /// Operations that ended in an error or a timeout.
    pub failed: i64,
    /// Operations that had not ended when the drain did (right-censored).
    pub unfinished: i64,
    /// Operations that were due but not sent until the drain ended, because too many were in flight.
    pub not_started: i64,
    /// Operations of a replay that were not sent, because an earlier one of their run failed or its outcome is not known.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub orphaned: i64,
    /// Operations that were sent before they were due; more than none voids the trial.
    #[serde(default)]
    pub early: i64,
    /// Planned operations per second; 0 in a closed load, which plans none.
    pub offered_per_second: f64,
    /// Completed operations per second of the window.
    pub achieved_per_second: f64,
}

/// Latencies of one kind of operation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OperationRecord {
    /// From the planned instant to the end. In a closed load the plan is the send.
    pub response: EncodedHistogram,
    /// From the send to the end.
    pub service: EncodedHistogram,
    /// From the planned instant to the send. Empty in a closed load.
    pub send_lag: EncodedHistogram,
    /// The same, of those operations that a connection was free for when they were due: what the generator
    /// itself was late by. It judges the generator. Empty in a closed load.
    #[serde(default)]
    pub generator_lag: EncodedHistogram,
    /// Operations that waited for a free connection, because the backend kept all of them busy.
    #[serde(default)]
    pub queued: i64,
    /// Completed operations.
    pub count: i64,
    /// Payload bytes of completed operations.
    pub bytes: i64,
    /// Latencies beyond the range of the histogram, in all three.
    #[serde(default)]
    pub overflow: i64,
    /// Failures by class, for example `timeout`, `throttled`, `serverError`.
    #[serde(default)]
    pub failures: BTreeMap<String, FailureRecord>,
}

/// Operations that failed in one way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailureRecord {
    /// How many.
    pub count: i64,
    /// From the planned instant to the failure; a timeout counts as at least its limit.
    pub response: EncodedHistogram,
    /// One message, as an example.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub example: String,
}

/// One correctness check over one trial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckRecord {
    /// The name, for example `listMisses`.
    pub name: String,
    /// How many facts were checked.
    pub checked: i64,
    /// How many of them were violated.
    pub violations: i64,
    /// How many could not be decided, because an operation's outcome is unknown.
    #[serde(default)]
    pub uncertain: i64,
    /// Up to ten violations in words.
    #[serde(default)]
    pub examples: Vec<String>,
}

/// One second of a window, by planned instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecondPoint {
    /// Seconds since the window opened.
    pub second: i32,
    /// Operations that a plan holds for it, where they are planned one by one: a replay.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub planned: i64,
    /// Completed operations.
    pub completed: i64,
    /// Failed operations.
    pub failed: i64,
    /// Median response, microseconds; 0 without operations.
    pub p50_micros: i64,
    /// 99th percentile of the response, microseconds; 0 without operations.
    pub p99_micros: i64,
}

/// Whether the load had settled before the window and nothing drifted within it. Figures and a
/// verdict of their own: a window that is not steady is a result too, and voids nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Steadiness {
    /// Seconds of the window.
    pub seconds: i32,
    /// Completed operations per second.
    pub throughput: SeriesDrift,
    /// The p99 of the response of each second.
    pub p99: SeriesDrift,
    /// Whether neither series drifts.
    pub steady: bool,
}

/// How one series of a window changes within it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SeriesDrift {
    /// Median of the second half over that of the first; 1 is no change.
    pub halves: f64,
    /// Change over the whole window by the Theil-Sen slope, as a share of the median; 0 is none.
    pub change: f64,
    /// Lower end of its 95 % interval.
    pub change_low: f64,
    /// Upper end of its 95 % interval.
    pub change_high: f64,
    /// Whether the halves differ by more than the tolerance and the interval excludes zero.
    pub drifts: bool,
}

/// What the generator measures where the backend costs nothing: one short run of the cell against
/// a null server on loopback, on a thread of its own in the generator's process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Baseline {
    /// Operations that it rests on.
    pub operations: i64,
    /// Completed operations per second.
    pub per_second: f64,
    /// Median of the response, microseconds.
    pub response_p50_micros: i64,
    /// 99th percentile of the same.
    pub response_p99_micros: i64,
    /// 99th percentile of the generator's own lag, microseconds; 0 in a closed load.
    pub generator_lag_p99_micros: i64,
    /// CPU time of the generator's thread for each operation, microseconds, without the server's.
    pub cpu_micros_per_operation: f64,
}
