//! What one trial yields: the schema of the raw data in the results store.
//!
//! Everything here merges by addition: counts add up, histograms add up, nothing is a mean. The
//! schema carries its own version; readers refuse a version that they do not know.

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

/// How a backend's state went over a window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StateSeries {
    /// The instants of the points, seconds since the window opened.
    pub at_seconds: Vec<f64>,
    /// The values at these instants, by name, for example `deadRows`.
    #[schemars(with = "BTreeMap<String, Vec<f64>>")]
    pub lines: BTreeMap<StateLine, Vec<f64>>,
    /// Instants at which something happened, by name, for example `autovacuum`; seconds since the window
    /// opened.
    #[schemars(with = "BTreeMap<String, Vec<f64>>")]
    pub marks: BTreeMap<StateMark, Vec<f64>>,
}

impl StateSeries {
    /// The value of a line at a point; 0 where it has none.
    #[must_use]
    pub fn value(&self, line: StateLine, index: usize) -> f64 {
        let line = self.lines.get(&line);
        line.and_then(|line| line.get(index))
            .copied()
            .unwrap_or(0.0)
    }

    /// When something happened; empty where that is not known.
    #[must_use]
    pub fn marks(&self, mark: StateMark) -> &[f64] {
        self.marks.get(&mark).map_or(&[], Vec::as_slice)
    }
}

/// What of a backend's state has a value at each instant. In the order of raw data, which is that of the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StateLine {
    /// Row versions that nobody needs any more.
    DeadRows,
    /// The size of the indexes.
    IndexBytes,
    /// The size of the table without its indexes.
    TableBytes,
}

/// What happens in a backend at an instant. In the order of raw data, which is that of the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StateMark {
    /// An autovacuum ended.
    Autovacuum,
    /// A checkpoint began.
    Checkpoint,
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

/// Whether the figures of a trial may be used. Invalid is not slow: it says nothing at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// The figures may be used.
    Valid,
    /// The figures may not be used, for these reasons.
    Invalid(Vec<InvalidReason>),
}

impl Verdict {
    /// Whether the figures may be used.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        matches!(self, Self::Valid)
    }
}

/// One reason why a trial is invalid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InvalidReason {
    /// The bound that was broken.
    pub code: InvalidCode,
    /// The figure and the bound, for people.
    pub detail: String,
}

/// The bounds that a trial can break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum InvalidCode {
    /// The backend's process restarted between the start and the end of the trial.
    BackendRestarted,
    /// The backend stopped answering, so that nothing was measured.
    BackendUnavailable,
    /// The backend refuses the credentials that it took when the trial began.
    CredentialsRefused,
    /// The generator was throttled by its CPU limit.
    GeneratorThrottled,
    /// The generator sent too late.
    SendLag,
    /// The generator used a whole core, so that it was the bottleneck.
    GeneratorSaturated,
    /// The generator sent operations before they were due.
    SentEarly,
    /// The pacer lost or added planned operations.
    PlanNotKept,
    /// A generator did not deliver its part.
    GeneratorMissing,
    /// No operation was due in the window, so nothing was measured.
    NoOperations,
    /// Preparation failed.
    PreparationFailed,
}

impl InvalidCode {
    /// The code as it stands in the raw data.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BackendRestarted => "BackendRestarted",
            Self::BackendUnavailable => "BackendUnavailable",
            Self::CredentialsRefused => "CredentialsRefused",
            Self::GeneratorThrottled => "GeneratorThrottled",
            Self::SendLag => "SendLag",
            Self::GeneratorSaturated => "GeneratorSaturated",
            Self::SentEarly => "SentEarly",
            Self::PlanNotKept => "PlanNotKept",
            Self::GeneratorMissing => "GeneratorMissing",
            Self::NoOperations => "NoOperations",
            Self::PreparationFailed => "PreparationFailed",
        }
    }
}

/// What a trial says against its backend. Such a trial is kept and never repeated: to leave it out would
/// favour a backend that fails. Failed, unfinished and never started operations took at least as long as
/// they were waited for, so a quantile q of the response is exact only while their share of `planned` is
/// below 1 - q, and a lower bound beyond.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What was found.
    pub code: FindingCode,
    /// The figure and the bound, for people.
    pub detail: String,
}

/// What a trial can say against its backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum FindingCode {
    /// More operations failed than the spec allows.
    Failing,
    /// Fewer operations of an open load were started and ended in time than the spec asks for: the rate is
    /// beyond what the backend sustains with the connections it was given.
    Overloaded,
    /// Events of a replay that is faster than its recording waited for those before them of their own run: the compression is
    /// too strong for what a run does to be spread over time as it was.
    TimingDistorted,
}

impl FindingCode {
    /// The code as it stands in the raw data.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failing => "Failing",
            Self::Overloaded => "Overloaded",
            Self::TimingDistorted => "TimingDistorted",
        }
    }
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
