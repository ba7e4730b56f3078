//! What was measured in a run, before anything is concluded from it: what objectives and decision rules read.
//!
//! `summary.json` is the one file that other programs are invited to read, so its schema carries a
//! version and can be published (`schemars`). Latencies are integer microseconds, rates are per
//! second, ratios are plain numbers with 1 as "no difference"; figures that came out of a
//! logarithm are rounded to six digits.

mod beside;
mod build;
mod cells;
mod circumstances;
mod compared;
mod conformance;
mod cost;
mod ending;
mod error;
mod looks;
mod outside;
mod raw;

pub use beside::{
    CapacitySummary, CheckSummary, EnvironmentSummary, ExcludedTrial, FlaggedTrial,
    GeneratorSummary,
};
pub use build::measure;
pub use compared::{Censored, Comparison, Estimate, Finding};
pub(crate) use compared::{estimate, judge, pairs};
pub use conformance::ConformanceSummary;
pub use ending::RunEnding;
pub use error::SummaryError;
pub(crate) use looks::{complete_blocks, looks};
pub use raw::{Cause, Interrupted, RunData};

use std::collections::BTreeMap;

use bakeoff_crds::durability::Durability;
use bakeoff_crds::figure::{Counter, Figure};
use bakeoff_crds::quantity::Quantity;
use bakeoff_crds::result::{HorizonHeld, StateSeries};
use bakeoff_crds::schedule::Cell;
use bakeoff_crds::spec::{BackendKind, Member, Resources, ResultClass, WorkloadKind};
use bakeoff_crds::status::TrialCounts;
use bakeoff_crds::upkeep::Upkeep;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::metric::Metric;
use crate::stats::tail;

/// The version that [`Summary::schema_version`] carries.
pub const SUMMARY_SCHEMA: &str = "summary.bakeoff.dev/v1";

/// Everything that was measured in one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Measured {
    /// [`SUMMARY_SCHEMA`].
    pub schema_version: String,
    /// `namespace/name/uid` of the experiment.
    pub experiment: String,
    /// Whether the figures may only be compared with each other, or stand for themselves.
    pub result_class: ResultClass,
    /// The seed of the schedule, the load and the resampling.
    pub seed: i64,
    /// When the generators first started, RFC 3339.
    pub started_at: String,
    /// How the run ended; `Running` when it has not. Only `Completed` measured all it meant to.
    pub ending: RunEnding,
    /// Trials, by outcome.
    pub trials: TrialCounts,
    /// The two-sided error rate of every comparison and of the decision: 0.05, or the share of it
    /// that was set aside for the look at which the run ended. Intervals have the confidence
    /// `1 - level`.
    pub level: f64,
    /// The looks that were planned, where the run might stop early.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub looks: Vec<LookSummary>,
    /// The systems under test, in the order of the spec.
    pub backends: Vec<BackendSummary>,
    /// The measured work, in the order of the spec.
    pub workloads: Vec<WorkloadSummary>,
    /// Attempts whose latencies and rates are used nowhere, with their reasons.
    pub excluded: Vec<ExcludedTrial>,
    /// Trials that count and speak against their backend: it failed or was overloaded.
    #[serde(default)]
    pub flagged: Vec<FlaggedTrial>,
    /// How far the load generator can be trusted, by backend, over the valid trials.
    pub generators: Vec<GeneratorSummary>,
    /// The machines.
    pub environment: EnvironmentSummary,
    /// The highest rate that each backend sustained, where a load is a share of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capacities: Vec<CapacitySummary>,
    /// What of S3 each store keeps, as a preflight found it; absent in runs without one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conformance: Vec<ConformanceSummary>,
}

/// A look at the data that was planned before the run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LookSummary {
    /// Complete blocks at which it is taken.
    pub blocks: i32,
    /// Its share of the error rate.
    pub level: f64,
    /// Whether the run ended at it.
    pub ended_here: bool,
}

/// A system under test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackendSummary {
    /// The name in the spec.
    pub name: String,
    /// What it is.
    pub kind: BackendKind,
    /// Whether the experiment provisioned it; an external one is a baseline for behaviour only.
    pub provisioned: bool,
    /// The version in the spec; empty for an external one.
    pub version: String,
    /// The image that was asked for.
    pub image: String,
    /// The image that ran, by digest.
    pub image_id: String,
    /// Its size as its node reports it, bytes; unknown where no node lists it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_bytes: Option<i64>,
    /// What "acknowledged" means there.
    pub durability: Durability,
    /// The licence and who maintains it, as far as anybody stated it.
    #[serde(default, skip_serializing_if = "Upkeep::is_empty")]
    pub upkeep: Upkeep,
    /// Pods that it ran in; unknown of an external one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_count: Option<i32>,
    /// The pods of one that has several, and what each of them got and used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pods: Vec<PodSummary>,
    /// Bytes that it stores for each byte of an object, where there are several copies or shards of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_stored_per_byte: Option<f64>,
    /// The nodes it ran on.
    pub node: String,
    /// Seconds from the creation of its pod until it answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_to_ready_seconds: Option<i64>,
    /// Largest resident memory at the end of a trial, bytes; unknown where it cannot be observed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resident_bytes: Option<i64>,
    /// CPU time over all valid trials, microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_micros: Option<i64>,
    /// CPU time for each completed operation, microseconds, over the valid trials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_micros_per_operation: Option<f64>,
    /// The same by the name of the workload: what an operation is differs between them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cpu_micros_per_operation_of: BTreeMap<String, f64>,
    /// Restarts of its containers over the whole run.
    pub restarts: i32,
    /// Settings that differ from the server's defaults, and the command line.
    pub settings: BTreeMap<String, String>,
    /// Warnings that stand beside every figure of it.
    pub caveats: Vec<String>,
    /// What kept dead rows from being removed in valid trials, the oldest of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub horizon: Option<HorizonHeld>,
}

/// A pod of a backend that has several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodSummary {
    /// Its name.
    pub name: String,
    /// What it is to the backend.
    pub member: Member,
    /// Its share of CPU and memory.
    pub resources: Resources,
    /// Its share of the storage; absent where it keeps nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Quantity>,
    /// The node it ran on before the first trial.
    pub node: String,
    /// CPU time over all valid trials, microseconds; unknown where it cannot be observed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_micros: Option<i64>,
    /// Largest resident memory at the end of a trial, bytes; unknown where it cannot be observed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resident_bytes: Option<i64>,
    /// Restarts of its container over the whole run.
    pub restarts: i32,
}

/// One entry of the spec's workloads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadSummary {
    /// The name in the spec.
    pub name: String,
    /// What it is.
    pub kind: WorkloadKind,
    /// Whether latencies count from a planned instant (open load) or from the send (closed).
    pub open_load: bool,
    /// Where a race keeps its locks: `Redis` with the version of the spec, or `a table of the backend`; absent
    /// where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locks_in: Option<String>,
    /// Its cells, in the order of the schedule.
    pub cells: Vec<CellSummary>,
    /// Correctness checks by backend and name, summed over the trials; negative controls are left out.
    pub checks: Vec<CheckSummary>,
}

/// One combination of factor levels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CellSummary {
    /// Its position in the workload, from 0.
    pub index: i32,
    /// The factor levels.
    pub levels: Cell,
    /// `concurrency=8 objectSize=4Ki`; empty when the workload has no factor.
    pub label: String,
    /// What was measured on each backend, in the order of the spec.
    pub backends: Vec<CellBackend>,
    /// The backends compared in pairs, later in the spec against earlier.
    pub comparisons: Vec<Comparison>,
}

/// One cell on one backend: the sum over its valid trials.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CellBackend {
    /// The backend.
    pub backend: String,
    /// Valid trials behind the figures; 0: nothing is known.
    pub blocks: i32,
    /// Length of their windows together, seconds.
    pub window_seconds: f64,
    /// Operations, by outcome, and rates.
    pub load: LoadSummary,
    /// Latencies and rates, by kind of operation.
    pub operations: BTreeMap<String, OperationSummary>,
    /// Named counts, summed.
    pub counters: BTreeMap<Counter, i64>,
    /// Correctness checks of a race, summed over the attempts at this cell: what its cells are to find
    /// differs, because controls have to fail.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<CheckSummary>,
    /// Figures of the backend's state over a window, by name; never summed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub figures: BTreeMap<Figure, FigureSummary>,
    /// How the backend's state went in one block: series of several blocks are not added or averaged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<StateOfBlock>,
    /// Completed operations in each second of the window: the sum over blocks, divided by their number.
    pub completed_by_second: Vec<f64>,
    /// Operations that a plan holds for each second, where they are planned one by one; likewise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub planned_by_second: Vec<f64>,
    /// Whether the rate drifted over the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
}

/// How a backend's state went over the window of its first valid block, or over all segments of a soak.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StateOfBlock {
    /// The block, from 0.
    pub block: i32,
    /// Lines and marks over the window; those of a soak go on over all segments.
    pub series: StateSeries,
}

/// A figure that each trial states of its whole window, such as the share of HOT updates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FigureSummary {
    /// The mean over the blocks.
    pub value: f64,
    /// Lower end of its interval (Student's t over the blocks, 95 % at the usual level); absent below two blocks, and of a soak.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    /// Upper end of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
    /// The figure of each valid block.
    pub blocks: Vec<FigurePoint>,
}

/// A figure of one block.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FigurePoint {
    /// The block, from 0.
    pub block: i32,
    /// The figure.
    pub value: f64,
}

/// Drift of the rate over the window: a steady trial has none.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Drift {
    /// Theil-Sen slope over the window, as a share of its median rate: -0.1 lost a tenth.
    pub share: f64,
    /// Lower end of its 95 % interval.
    pub low: f64,
    /// Upper end of its 95 % interval.
    pub high: f64,
}

/// How much work was planned and done, summed over valid trials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LoadSummary {
    /// Operations due in the windows.
    pub planned: i64,
    /// Ended well.
    pub completed: i64,
    /// Ended in an error or a timeout.
    pub failed: i64,
    /// Not ended when the drain was over: their latency is at least that long.
    pub unfinished: i64,
    /// Due but never sent.
    pub not_started: i64,
    /// Planned per second of window; 0 in a closed load.
    pub offered_per_second: f64,
    /// Completed per second of window.
    pub achieved_per_second: f64,
}

/// One kind of operation in one cell on one backend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OperationSummary {
    /// Completed operations.
    pub count: i64,
    /// Completed per second of window.
    pub per_second: f64,
    /// Payload bytes per second of window.
    pub bytes_per_second: f64,
    /// From the planned instant to the end; in a closed load from the send.
    pub response: Percentiles,
    /// From the send to the end.
    pub service: Percentiles,
    /// From the planned instant to the send.
    pub send_lag: Percentiles,
    /// Latencies beyond one hour.
    pub overflow: i64,
    /// Failures, by class; operations that did not finish stand under `censored`.
    pub failures: BTreeMap<String, i64>,
    /// One message for each class of failure.
    pub failure_examples: BTreeMap<String, String>,
    /// The response latency along the percentiles.
    pub spectrum: Vec<SpectrumPoint>,
    /// The figures of each valid block, from which comparisons are made.
    pub blocks: Vec<BlockFigure>,
}

impl OperationSummary {
    /// Whether any operation has a latency. Where none has, the percentiles are 0 for want of anything, and would be taken for
    /// the fastest of all.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        self.count > self.overflow
    }
}

/// Percentiles of a merged histogram over the planned operations, microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Percentiles {
    /// Median.
    pub p50: i64,
    /// 90th percentile.
    pub p90: i64,
    /// 99th percentile.
    pub p99: i64,
    /// 99.9th percentile; absent below 10 000 operations, where fewer than ten lie beyond it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p999: Option<i64>,
    /// Largest.
    pub max: i64,
    /// Lower end of the 95 % rank interval of p99, over the planned operations.
    pub p99_low: i64,
    /// Upper end of it; where it lies among operations without an answer the largest that was seen, which it is not below.
    pub p99_high: i64,
    /// Share of the planned operations that failed, did not finish or were never started, 0 to 1.
    /// They count as slower than all others: a percentile above `1 - missing` is unknown, and what
    /// stands here is a bound that it is not below.
    #[serde(default)]
    pub missing: f64,
}

impl Percentiles {
    /// Whether a percentile (0 to 1) is known, and not merely bounded from below.
    #[must_use]
    pub fn knows(&self, quantile: f64) -> bool {
        tail::is_known(quantile, self.missing)
    }
}

/// A point of the latency spectrum.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SpectrumPoint {
    /// Share of operations at or below, 0 to 1.
    pub quantile: f64,
    /// Their latency, microseconds.
    pub micros: i64,
}

/// What one valid trial says of one kind of operation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BlockFigure {
    /// The block, from 0.
    pub block: i32,
    /// Completed per second of window.
    pub per_second: f64,
    /// Median response over the planned operations, microseconds.
    pub p50: i64,
    /// 99th percentile of the same, microseconds.
    pub p99: i64,
    /// Share of the planned operations without a latency, 0 to 1; see [`Percentiles::missing`].
    #[serde(default)]
    pub missing: f64,
}

impl BlockFigure {
    /// Whether the block tells a figure, and not merely that it is no better than what stands there:
    /// a percentile into which operations without a latency reach is unknown, and a rate of 0 has
    /// no logarithm.
    #[must_use]
    pub fn knows(&self, metric: Metric) -> bool {
        match metric {
            Metric::PerSecond => self.missing < 1.0,
            Metric::P50 => tail::is_known(0.5, self.missing),
            Metric::P99 => tail::is_known(0.99, self.missing),
        }
    }

    /// A figure of the block.
    #[must_use]
    pub fn of(&self, metric: Metric) -> f64 {
        match metric {
            Metric::PerSecond => self.per_second,
            Metric::P50 => self.p50 as f64,
            Metric::P99 => self.p99 as f64,
        }
    }
}

impl Measured {
    /// The backend of that name.
    #[must_use]
    pub fn backend(&self, name: &str) -> Option<&BackendSummary> {
        self.backends.iter().find(|backend| backend.name == name)
    }

    /// What of S3 a backend keeps, where it was asked.
    #[must_use]
    pub fn conformance_of(&self, backend: &str) -> Option<&ConformanceSummary> {
        self.conformance.iter().find(|of| of.backend == backend)
    }

    /// All checks of all workloads.
    pub fn checks(&self) -> impl Iterator<Item = &CheckSummary> {
        self.workloads.iter().flat_map(|workload| &workload.checks)
    }

    /// Workloads of one kind.
    pub fn of_kind(&self, kind: WorkloadKind) -> impl Iterator<Item = &WorkloadSummary> {
        self.workloads
            .iter()
            .filter(move |workload| workload.kind == kind)
    }

    /// Violations of all checks, by backend, also those in excluded attempts but not the unsettled
    /// ones; every backend is named, also with 0.
    #[must_use]
    pub fn violations(&self) -> BTreeMap<String, i64> {
        let mut sums: BTreeMap<String, i64> = self
            .backends
            .iter()
            .map(|backend| (backend.name.clone(), 0))
            .collect();
        for check in self.checks() {
            *sums.entry(check.backend.clone()).or_default() += check.violations;
        }
        sums
    }
}

impl CellSummary {
    /// What was measured on a backend.
    #[must_use]
    pub fn on(&self, backend: &str) -> Option<&CellBackend> {
        self.backends.iter().find(|entry| entry.backend == backend)
    }
}
