//! The `Experiment` resource: what a user asks for.
//!
//! Doc comments are the user's `kubectl explain`: purpose, unit, default and range of each field.
//! What can be refused at admission is refused here, by schema or by CEL, with a message that says
//! how to mend it.

mod backend;
mod cel;
mod decision;
mod equipment;
mod fault;
mod ground;
mod load;
mod pods;
pub(crate) mod rules;
mod series;
mod sessions;
mod trials;
mod version;
mod workload;

pub use backend::*;
pub use decision::{Decision, DecisionRule, Objective};
pub use equipment::{Equipment, Resources, Storage};
pub use fault::{Fault, FaultTarget};
pub use ground::Ground;
pub use load::{Arrivals, CapacityLoad, ClosedLoad, Load, OpenLoad};
pub use pods::{
    IdentityMode, Marks, PodIdentity, SecretName, TaintEffect, Toleration, TolerationOperator,
};
pub use series::{Regression, RegressionMetric, Series};
pub use sessions::bytes_of;
pub use trials::{EarlyStop, Generators, Trials, Validity};
pub use version::Version;
pub use workload::*;

use crate::status::ExperimentStatus;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The largest number of trials that one experiment may ask for.
pub const MAX_TRIALS: i64 = 5_000;

/// The seed of an experiment that names none.
pub const DEFAULT_SEED: i64 = 1;

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
    validation = rules::started_is_frozen(),
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
#[x_kube(validation = rules::trials_stay_within_the_limit())]
#[x_kube(validation = rules::absolute_states_its_environment())]
#[x_kube(validation = rules::equipment_is_equal())]
#[x_kube(validation = rules::equipment_of_all_stands_in_one_place())]
#[x_kube(validation = rules::workloads_fit_backends())]
#[x_kube(validation = rules::races_have_a_writer_for_each_generator())]
#[x_kube(validation = rules::races_are_short())]
#[x_kube(validation = rules::races_share_one_lock_server())]
#[x_kube(validation = rules::retention_has_one_generator())]
#[x_kube(validation = rules::faults_have_a_server_to_take())]
#[x_kube(validation = rules::faults_have_one_generator_and_time())]
#[x_kube(validation = rules::faults_are_short())]
#[x_kube(validation = rules::faults_leave_ports_free())]
#[x_kube(validation = rules::a_soak_stands_alone())]
#[x_kube(validation = rules::segments_fit_in_memory())]
#[x_kube(validation = rules::a_search_by_holds_stands_alone())]
#[x_kube(validation = rules::autovacuum_is_set_in_one_place())]
#[x_kube(validation = rules::early_stop_has_a_question())]
#[x_kube(validation = rules::decision_names_a_backend("incumbent"))]
#[x_kube(validation = rules::decision_names_a_backend("challenger"))]
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
    #[x_kube(validation = rules::names_are_unique("backend"))]
    pub backends: Vec<Backend>,

    /// What every provisioned backend gets: the same for all, equal by construction.
    #[serde(default)]
    pub equipment: Equipment,

    /// The measured work, 1 to 8 entries. Each factor lists its levels; every combination is a cell.
    #[schemars(length(min = 1, max = 8))]
    #[x_kube(validation = rules::names_are_unique("workload"))]
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
    #[x_kube(validation = rules::names_are_unique("objective"))]
    pub objectives: Vec<Objective>,

    /// The rule of the experiment plan that turns the summary into Go, NoGo or Inconclusive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,

    /// The history of runs that this one belongs to. A schedule states it for the runs that it makes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series: Option<Series>,

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
    /// The workloads in which a server is killed on purpose.
    pub fn server_losses(&self) -> impl Iterator<Item = &Workload> {
        let workloads = self.workloads.iter();
        workloads.filter(|workload| workload.server_loss.is_some())
    }

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
    /// Seconds for every generator of an attempt to run, its image pulled and its volumes mounted. 10 to 86400, default 300.
    #[serde(default = "default_provision")]
    #[schemars(range(min = 10, max = 86_400))]
    pub start_seconds: i32,
    /// Seconds for the generators to stop; afterwards the experiment goes on without them and says which did not. 10 to
    /// 86400, default 120.
    #[serde(default = "default_stop")]
    #[schemars(range(min = 10, max = 86_400))]
    pub stop_seconds: i32,
    /// Seconds for merging, deciding and writing the report. 10 to 86400, default 300.
    #[serde(default = "default_provision")]
    #[schemars(range(min = 10, max = 86_400))]
    pub report_seconds: i32,
    /// Seconds for removing test objects from external buckets; afterwards the experiment ends
    /// all the same and says what was left. 10 to 86400, default 300.
    #[serde(default = "default_provision")]
    #[schemars(range(min = 10, max = 86_400))]
    pub cleanup_seconds: i32,
    /// Seconds for what was provisioned to be removed; afterwards the experiment ends all the same, goes on removing and says
    /// what is left. 10 to 86400, default 300.
    #[serde(default = "default_provision")]
    #[schemars(range(min = 10, max = 86_400))]
    pub tear_down_seconds: i32,
}

fn default_provision() -> i32 {
    300
}

fn default_stop() -> i32 {
    120
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            provision_seconds: 300,
            start_seconds: 300,
            stop_seconds: 120,
            report_seconds: 300,
            cleanup_seconds: 300,
            tear_down_seconds: 300,
        }
    }
}
