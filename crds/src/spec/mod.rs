//! The `Experiment` resource: what a user asks for.
//!
//! Doc comments are the user's `kubectl explain`: purpose, unit, default and range of each field.
//! What can be refused at admission is refused here, by schema or by CEL, with a message that says
//! how to mend it.

mod backend;
mod cas_race;
mod load;
mod postgres;
mod retention;
mod soak;
mod workload;

pub use backend::{
    Backend, BackendKind, BackendSpec, MinioBackend, PostgresBackend, PostgresUrlBackend,
    S3Backend, SeaweedfsBackend, SecretKeyRef, SecretRef, SettingValue,
};
pub use cas_race::{CasRace, GuardMode, RaceFaults, RaceLock, RedisLock, TableLock};
pub use load::{Arrivals, CapacityLoad, ClosedLoad, Load, OpenLoad};
pub use postgres::{HeadRow, SECONDS_PER_MONTH};
pub use retention::{Retention, RetentionCleanup, RetentionMethod};
pub use soak::{AutovacuumProfile, MOST_SEGMENT_SECONDS, SnapshotHeld, Soak};
pub use workload::{
    Batching, ColdRead, Consistency, KeyShape, PriceList, ReadMode, SmallObjectPut, Workload,
    WorkloadKind, WorkloadSpec,
};

use crate::quantity::Quantity;
use crate::status::ExperimentStatus;
use kube::core::Rule;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The largest number of trials that one experiment may ask for.
pub const MAX_TRIALS: i64 = 5_000;

/// The seed of an experiment that names none.
pub const DEFAULT_SEED: i64 = 1;

fn rule_started_is_frozen() -> Rule {
    // Equality of a whole optional field needs both presence and value: a rule on the field itself
    // is not evaluated when the field appears or goes.
    const FROZEN: [(&str, bool); 13] = [
        ("resultClass", false),
        ("environment", true),
        ("seed", false),
        ("backends", false),
        ("equipment", false),
        ("workloads", false),
        ("trials", false),
        ("generators", false),
        ("validity", false),
        ("objectives", true),
        ("decision", true),
        ("results", false),
        ("limits", false),
    ];
    let same = FROZEN.map(|(field, optional)| {
        if optional {
            format!(
                "has(self.spec.{field}) == has(oldSelf.spec.{field}) && (!has(self.spec.{field}) || self.spec.{field} == oldSelf.spec.{field})"
            )
        } else {
            format!("self.spec.{field} == oldSelf.spec.{field}")
        }
    });
    Rule::new(format!(
        "!has(oldSelf.status) || (!has(oldSelf.status.startTime) && !has(oldSelf.status.progress)) || ({})",
        same.join(" && ")
    ))
    .message(
        "the experiment has started, so its spec is fixed; only suspend, cancel, activeDeadlineSeconds and ttlSecondsAfterFinished may change: create another Experiment for other parameters",
    )
}

fn rule_trial_budget() -> Rule {
    let cells = "self.workloads.map(w, \
        has(w.smallObjectPut) ? w.smallObjectPut.objectSize.size() * (has(w.smallObjectPut.load.closed) ? w.smallObjectPut.load.closed.concurrency.size() : has(w.smallObjectPut.load.open) ? w.smallObjectPut.load.open.ratePerSecond.size() : has(w.smallObjectPut.load.capacity) ? w.smallObjectPut.load.capacity.percentOfWeakest.size() : 1) : \
        has(w.coldRead) ? w.coldRead.objectsPerRun.size() * w.coldRead.modes.size() : \
        has(w.batching) ? w.batching.snapshotsPerObject.size() * w.batching.arrivalsPerSecond.size() : \
        has(w.headRow) ? w.headRow.activeRuns.size() * w.headRow.fillfactor.size() * (has(w.headRow.runsPerMonth) ? w.headRow.runsPerMonth.size() : !has(w.headRow.load) ? 1 : has(w.headRow.load.closed) ? w.headRow.load.closed.concurrency.size() : has(w.headRow.load.open) ? w.headRow.load.open.ratePerSecond.size() : 1) : \
        has(w.casRace) ? w.casRace.modes.size() : \
        has(w.soak) ? w.soak.fillfactor.size() * w.soak.autovacuum.size() * w.soak.snapshots.size() : \
        has(w.retention) ? w.retention.methods.size() * w.retention.activeRuns.size() * (has(w.retention.load.open) ? w.retention.load.open.ratePerSecond.size() : 1) : 1).sum()";
    Rule::new(format!("{cells} * self.backends.size() * self.trials.blocks <= {MAX_TRIALS}"))
        .message(format!("cells x backends x blocks exceeds {MAX_TRIALS} trials: use fewer factor levels, backends or blocks, or split the experiment").as_str())
}

fn rule_equal_equipment() -> Rule {
    // Field by field: to CEL the two places are different types, which cannot be compared as a whole.
    let equal = ["resources.cpu", "resources.memory", "storage.size"]
        .map(|field| format!("b.equipment.{field} == self.equipment.{field}"))
        .join(" && ");
    let optional = ["storage.storageClassName", "nodeSelector"]
        .map(|field| {
            format!(
                "has(b.equipment.{field}) == has(self.equipment.{field}) && (!has(b.equipment.{field}) || b.equipment.{field} == self.equipment.{field})"
            )
        })
        .join(" && ");
    Rule::new(format!("self.backends.all(b, !has(b.equipment) || ({equal} && {optional}))"))
        .message("unequal equipment: a backend's equipment must equal spec.equipment, else the comparison would measure the hardware; remove backends[].equipment or make it equal")
}

/// Runs one storage experiment: provisions the backends on equal equipment, measures the workloads
/// in randomised interleaved blocks, decides by a stated rule, writes a one-page report and tears
/// everything down. The Experiment itself stays.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "bakeoff.dev",
    version = "v1alpha1",
    kind = "Experiment",
    plural = "experiments",
    shortname = "exp",
    category = "bakeoff",
    namespaced,
    status = "ExperimentStatus",
    derive = "PartialEq",
    doc = "Runs one storage experiment: provisions the backends on equal equipment, measures the workloads in randomised interleaved blocks, decides by a stated rule, writes a one-page report and tears everything down. The Experiment itself stays.",
    validation = rule_started_is_frozen(),
    validation = Rule::new("size(self.metadata.name) <= 52").message("metadata.name must have at most 52 characters, because the names of children are built from it"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.conditions[?(@.type==\"Succeeded\")].reason", description = "Where the run stands"),
    printcolumn(name = "Progress", type_ = "string", json_path = ".status.progress.display", description = "Trials done of trials planned"),
    printcolumn(name = "Decision", type_ = "string", json_path = ".status.decision.outcome", description = "What the rule concludes: Go, NoGo or Inconclusive"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Class", type_ = "string", json_path = ".spec.resultClass", description = "Relative or Absolute", priority = 1),
    printcolumn(name = "Current", type_ = "string", json_path = ".status.progress.current", description = "The trial that runs now", priority = 1),
    printcolumn(name = "Estimated-End", type_ = "string", json_path = ".status.progress.estimatedEndTime", description = "When the last trial is expected to end", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Succeeded\")].message", description = "What happens now, or what went wrong", priority = 1)
)]
#[x_kube(validation = rule_trial_budget())]
#[x_kube(validation = Rule::new("self.resultClass != 'Absolute' || has(self.environment)").message("resultClass Absolute needs spec.environment: say what hardware, region and durability make the figures production-representative, or use resultClass Relative"))]
#[x_kube(validation = rule_equal_equipment())]
#[x_kube(validation = Rule::new("self.workloads.all(w, has(w.headRow) || has(w.casRace) || has(w.retention) || has(w.soak)) ? self.backends.all(b, has(b.postgres) || has(b.postgresUrl)) : self.workloads.all(w, !has(w.headRow) && !has(w.casRace) && !has(w.retention) && !has(w.soak)) && self.backends.all(b, !has(b.postgres) && !has(b.postgresUrl))").message("every workload must fit every backend: headRow, casRace, retention and soak need postgres backends (postgres, postgresUrl), the others need S3 (minio, seaweedfs, s3); split the experiment"))]
#[x_kube(validation = Rule::new("self.workloads.all(w, !has(w.casRace) || w.casRace.writers >= self.generators.replicas)").message("casRace needs at least one writer for each generator: raise writers, or lower generators.replicas"))]
#[x_kube(validation = Rule::new("self.workloads.all(w, !has(w.casRace) || self.trials.warmupSeconds + self.trials.windowSeconds <= 600)").message("casRace keeps its whole history in memory: warmupSeconds and windowSeconds together may be 600 at most; take more blocks instead"))]
#[x_kube(validation = Rule::new("self.workloads.all(a, !has(a.casRace) || !has(a.casRace.lock) || !has(a.casRace.lock.redis) || self.workloads.all(b, !has(b.casRace) || !has(b.casRace.lock) || !has(b.casRace.lock.redis) || a.casRace.lock.redis.version == b.casRace.lock.redis.version))").message("all races share one Redis server: name the same casRace.lock.redis.version in each, or split the experiment"))]
#[x_kube(validation = Rule::new("self.generators.replicas == 1 || self.workloads.all(w, !has(w.retention))").message("retention takes one generator: its phases are told apart by the process that acts; set generators.replicas to 1"))]
#[x_kube(validation = Rule::new("self.workloads.all(w, !has(w.soak)) || (self.workloads.size() == 1 && self.backends.size() == 1 && self.generators.replicas == 1)").message("a soak stands alone: its table lives on from segment to segment, so give it an experiment of its own with one backend and generators.replicas 1"))]
#[x_kube(validation = Rule::new("self.workloads.all(w, !has(w.soak)) || (self.trials.windowSeconds <= 3600 && !has(self.trials.earlyStop))").message("a segment of a soak takes at most 3600 windowSeconds, because it is held in memory until it ends, and trials.earlyStop does not apply: take more blocks, each goes on where the last one ended"))]
#[x_kube(validation = Rule::new("self.workloads.all(w, !has(w.soak) || w.soak.autovacuum.all(p, !has(p.server) || p.server.all(name, self.backends.all(b, has(b.postgres) && (!has(b.postgres.settings) || !(name in b.postgres.settings))))))").message("an autovacuum profile of a soak sets a server setting that backends[].postgres.settings fixes, or that belongs to a server which is not the experiment's own: name it in one of the two places, or in the profile's table"))]
#[x_kube(validation = Rule::new("!has(self.trials.earlyStop) || has(self.decision)").message("trials.earlyStop needs spec.decision: without a question there is nothing to settle early"))]
#[x_kube(validation = Rule::new("!has(self.decision) || !has(self.decision.incumbent) || self.backends.exists(b, b.name == self.decision.incumbent)").message("decision.incumbent must name one of spec.backends"))]
#[x_kube(validation = Rule::new("!has(self.decision) || !has(self.decision.challenger) || self.backends.exists(b, b.name == self.decision.challenger)").message("decision.challenger must name one of spec.backends"))]
#[serde(rename_all = "camelCase")]
pub struct ExperimentSpec {
    /// Whether the figures may be compared only with each other (`Relative`, the default: valid in
    /// containers on modest hardware) or stand for themselves (`Absolute`: needs
    /// production-representative hardware, stated in `environment`). Printed on every page, chart and table.
    #[serde(default)]
    pub result_class: ResultClass,

    /// What makes the figures production-representative. Required for `Absolute`, otherwise optional.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvironmentStatement>,

    /// Seeds the order of the trials, the keys, the bodies, the arrivals and the resampling: the same
    /// spec and seed give the same schedule. Default 1.
    #[serde(default = "default_seed")]
    #[schemars(range(min = 0))]
    pub seed: i64,

    /// The systems under test, 1 to 6. Two or more are compared with each other.
    #[schemars(length(min = 1, max = 6))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, a.name == b.name))").message("backend names must be unique"))]
    pub backends: Vec<Backend>,

    /// What every provisioned backend gets: the same for all, equal by construction.
    #[serde(default)]
    pub equipment: Equipment,

    /// The measured work, 1 to 8 entries. Each factor lists its levels; every combination is a cell.
    #[schemars(length(min = 1, max = 8))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, a.name == b.name))").message("workload names must be unique"))]
    pub workloads: Vec<Workload>,

    /// How often and for how long each cell is measured.
    #[serde(default)]
    pub trials: Trials,

    /// The pods that generate the load.
    #[serde(default)]
    pub generators: Generators,

    /// The bounds beyond which a trial is called invalid (not slow), and how often it is repeated.
    #[serde(default)]
    pub validity: Validity,

    /// Conditions that the summary must meet, up to 32. A missing metric is not satisfied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, a.name == b.name))").message("objective names must be unique"))]
    pub objectives: Vec<Objective>,

    /// The rule of the experiment plan that turns the summary into Go, NoGo or Inconclusive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,

    /// Where raw data, summaries and reports are kept. Empty: the chart's own results store.
    #[serde(default)]
    pub results: Results,

    /// How long single steps may take.
    #[serde(default)]
    pub limits: Limits,

    /// Pauses the experiment: before it starts it stays queued; while it runs, the generators are
    /// stopped, the backends removed, and finished trials kept. Default false. May change at any time.
    #[serde(default)]
    pub suspend: bool,

    /// Ends the experiment for good and tears it down; what was measured is kept and reported.
    /// Default false. May change at any time, but not back to false.
    #[serde(default)]
    #[x_kube(validation = Rule::new("!oldSelf || self").message("a cancelled experiment stays cancelled: create another Experiment to run it again"))]
    pub cancel: bool,

    /// Seconds from the start after which the experiment is ended and torn down, 30 and up.
    /// Default: none. May change at any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 30, max = 31_536_000))]
    pub active_deadline_seconds: Option<i64>,

    /// Seconds after its end at which the Experiment is deleted; its results stay in the results
    /// store. Default: never. Leave it out where a GitOps tool would apply the Experiment again.
    /// May change at any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 31_536_000))]
    pub ttl_seconds_after_finished: Option<i64>,
}

impl ExperimentSpec {
    /// The Redis server that keeps the locks of races, where a workload asks for one.
    #[must_use]
    pub fn redis_lock(&self) -> Option<&RedisLock> {
        let races = self.workloads.iter().filter_map(|w| w.cas_race.as_ref());
        races.filter_map(CasRace::redis_lock).next()
    }
}

fn default_seed() -> i64 {
    DEFAULT_SEED
}

/// What the figures of an experiment may be compared with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ResultClass {
    /// Valid as shape, correctness and comparison; not as absolute figures.
    #[default]
    Relative,
    /// Valid as absolute figures of the stated environment.
    Absolute,
}

impl std::fmt::Display for ResultClass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Relative => "Relative",
            Self::Absolute => "Absolute",
        })
    }
}

/// States what makes absolute figures representative of production. Printed in the report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentStatement {
    /// The machines, as a reviewer would ask: instance type, CPU, memory, disks.
    #[schemars(length(min = 3, max = 500))]
    pub hardware: String,
    /// The region or site, and whether generators and backends share it.
    #[schemars(length(min = 1, max = 200))]
    pub region: String,
    /// What an acknowledged write means here, for example `fsync before ack, one copy`.
    #[schemars(length(min = 3, max = 500))]
    pub durability: String,
}

/// What every provisioned backend gets. Requests equal limits, so the pods are of class Guaranteed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Equipment {
    /// CPU and memory of a backend pod. Default one core and 2Gi.
    #[serde(default = "Resources::backend_default")]
    pub resources: Resources,
    /// The data volume of a backend.
    #[serde(default)]
    pub storage: Storage,
    /// The node pool: backends and generators run only on nodes with all of these labels. Empty: any node.
    /// One experiment at a time measures on a pool.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[x_kube(validation = Rule::new("self.size() <= 8").message("nodeSelector may have at most 8 labels"))]
    pub node_selector: BTreeMap<String, String>,
}

impl Default for Equipment {
    fn default() -> Self {
        Self {
            resources: Resources::backend_default(),
            storage: Storage::default(),
            node_selector: BTreeMap::new(),
        }
    }
}

/// CPU and memory, used as request and as limit alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("isQuantity(self.cpu) && quantity(self.cpu).compareTo(quantity('50m')) >= 0 && quantity(self.cpu).compareTo(quantity('256')) <= 0").message("cpu must be between 50m and 256 cores"))]
#[x_kube(validation = Rule::new("isQuantity(self.memory) && quantity(self.memory).compareTo(quantity('32Mi')) >= 0 && quantity(self.memory).compareTo(quantity('4Ti')) <= 0").message("memory must be between 32Mi and 4Ti"))]
pub struct Resources {
    /// Cores, from `50m` to `256`. Whole cores let the static CPU manager pin them.
    pub cpu: Quantity,
    /// Bytes, from `32Mi` to `4Ti`.
    pub memory: Quantity,
}

impl Resources {
    /// One core and 2Gi.
    #[must_use]
    pub fn backend_default() -> Self {
        Self {
            cpu: "1".into(),
            memory: "2Gi".into(),
        }
    }

    /// One core and 512Mi.
    #[must_use]
    pub fn generator_default() -> Self {
        Self {
            cpu: "1".into(),
            memory: "512Mi".into(),
        }
    }
}

/// The data volume of a backend; it is deleted with the backend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("isQuantity(self.size) && quantity(self.size).compareTo(quantity('64Mi')) >= 0 && quantity(self.size).compareTo(quantity('64Ti')) <= 0").message("storage size must be between 64Mi and 64Ti"))]
pub struct Storage {
    /// Bytes, from `64Mi` to `64Ti`. Default 10Gi.
    #[serde(default = "default_storage_size")]
    pub size: Quantity,
    /// The StorageClass. Default: the cluster's default class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub storage_class_name: Option<String>,
}

fn default_storage_size() -> Quantity {
    "10Gi".into()
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            size: default_storage_size(),
            storage_class_name: None,
        }
    }
}

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

/// A condition that the summary must meet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Objective {
    /// A name for conditions, events and the report.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,
    /// A CEL expression over the summary that yields a boolean, for example
    /// `consistency.listMisses == 0` or `backends.minio.put.p99 < 50000` (latencies in microseconds).
    #[schemars(length(min = 1, max = 1_024))]
    pub expression: String,
}

/// The rule that turns the summary into a decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.incumbent) || !has(self.challenger) || self.incumbent != self.challenger").message("decision.incumbent and decision.challenger must differ"))]
pub struct Decision {
    /// The built-in rule.
    pub rule: DecisionRule,
    /// The backend that stays unless another is clearly better. Default: the first `minio` backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 30))]
    pub incumbent: Option<String>,
    /// The backend that may replace it. Default: the first `seaweedfs` backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 30))]
    pub challenger: Option<String>,
    /// How much better counts as clearly better, in per cent. 0 to 1000, default 10.
    #[serde(default = "default_margin")]
    #[schemars(range(min = 0, max = 1_000))]
    pub margin_percent: i32,
    /// The time in milliseconds that the rule calls tolerable, where it asks for one: a latency
    /// (`BatchingTolerable`, `ColdReadCap`), detaching and dropping a partition (`DropOrDelete`). 1 to 3600000, default 1000.
    #[serde(default = "default_bound")]
    #[schemars(range(min = 1, max = 3_600_000))]
    pub bound_milliseconds: i32,
}

fn default_margin() -> i32 {
    10
}
fn default_bound() -> i32 {
    1_000
}

/// The built-in decision rules, one for each question of the experiment plan.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum DecisionRule {
    /// Experiment C: does the challenger become the recommended backend for small objects?
    SmallObjectBackend,
    /// Experiment B2: is the latency that batching adds tolerable?
    BatchingTolerable,
    /// Experiment B3: up to how many objects per run is a cold read fast enough?
    ColdReadCap,
    /// Experiment A0: does one plain head table hold, so that no partitioning is needed?
    SimpleSchema,
    /// Experiment A2: is the compare-and-swap a backstop that holds when the lock does not?
    CasIsBackstop,
    /// Experiment A1: do old runs leave by dropping a partition, or does a bulk delete do?
    DropOrDelete,
    /// Soak: do dead rows and index size plateau, so that the simple schema holds for good?
    SoakPlateau,
}

impl DecisionRule {
    /// The name as it stands in a spec.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SmallObjectBackend => "SmallObjectBackend",
            Self::BatchingTolerable => "BatchingTolerable",
            Self::ColdReadCap => "ColdReadCap",
            Self::SimpleSchema => "SimpleSchema",
            Self::CasIsBackstop => "CasIsBackstop",
            Self::DropOrDelete => "DropOrDelete",
            Self::SoakPlateau => "SoakPlateau",
        }
    }
}

/// Where raw data, summaries and reports are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Results {
    /// A bucket of yours. Empty: the chart's own results store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Backend>,
}

/// How long single steps may take before the experiment fails with the reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Seconds for the backends to be provisioned and to answer, images pulled. 10 to 86400, default 300.
    #[serde(default = "default_provision")]
    #[schemars(range(min = 10, max = 86_400))]
    pub provision_seconds: i32,
    /// Seconds for merging, deciding and writing the report. 10 to 86400, default 300.
    #[serde(default = "default_provision")]
    #[schemars(range(min = 10, max = 86_400))]
    pub report_seconds: i32,
    /// Seconds for removing test objects from external buckets; afterwards the experiment ends
    /// all the same and says what was left. 10 to 86400, default 300.
    #[serde(default = "default_provision")]
    #[schemars(range(min = 10, max = 86_400))]
    pub cleanup_seconds: i32,
}

fn default_provision() -> i32 {
    300
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            provision_seconds: 300,
            report_seconds: 300,
            cleanup_seconds: 300,
        }
    }
}
