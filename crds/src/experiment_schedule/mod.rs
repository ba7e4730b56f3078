//! The `ExperimentSchedule` resource: an experiment that is run again and again.

mod rules;
mod status;

pub use status::{
    ActiveRun, EndedRun, ExperimentScheduleStatus, MAX_STATUS_BYTES, RunCounts, SkipReason,
    Skipped, TOLD_RUNS, Trigger,
};

use crate::ExperimentSpec;
use crate::notify::Notify;
use crate::spec::rules::names_are_unique;
use crate::spec::{Marks, Regression};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How many runs may be under way at once with `concurrencyPolicy: Allow`.
pub const MOST_ACTIVE: usize = 10;

/// Runs an experiment by the clock, or whenever its template changes. Each run is an Experiment of its own, owned by the
/// schedule; results stay in the results store when it is removed.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "bakeoff.dev",
    version = "v1alpha1",
    kind = "ExperimentSchedule",
    plural = "experimentschedules",
    shortname = "expsched",
    category = "bakeoff",
    namespaced,
    status = "ExperimentScheduleStatus",
    derive = "PartialEq",
    doc = "Runs an experiment by the clock, or whenever its template changes. Each run is an Experiment of its own, owned by the schedule; results stay in the results store when it is removed.",
    validation = Rule::new("size(self.metadata.name) <= 36").message("metadata.name must have at most 36 characters, because the names of the runs are built from it"),
    printcolumn(name = "Schedule", type_ = "string", json_path = ".spec.schedule", description = "When it runs"),
    printcolumn(name = "Suspend", type_ = "boolean", json_path = ".spec.suspend", description = "Whether no run is begun"),
    printcolumn(name = "Active", type_ = "string", json_path = ".status.activeDisplay", description = "The run under way, or how many there are"),
    printcolumn(name = "Last", type_ = "date", json_path = ".status.lastScheduleTime", description = "The tick of the last run by the clock"),
    printcolumn(name = "Next", type_ = "string", json_path = ".status.nextScheduleTime", description = "When the next run is due"),
    printcolumn(name = "Last-Run", type_ = "string", json_path = ".status.conditions[?(@.type==\"LastRunSucceeded\")].reason", description = "How the last run ended"),
    printcolumn(name = "Verdict", type_ = "string", json_path = ".status.regression.state", description = "What the last run says of the history"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Time-Zone", type_ = "string", json_path = ".spec.timeZone", description = "The zone of the schedule", priority = 1),
    printcolumn(name = "Report", type_ = "string", json_path = ".status.lastReport", description = "The report of the last run that wrote one", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Accepted\")].message", description = "What happens now, or what is wrong", priority = 1)
)]
#[x_kube(validation = rules::something_begins_a_run())]
#[x_kube(validation = rules::confirmations_run_alone())]
#[serde(rename_all = "camelCase")]
pub struct ExperimentScheduleSpec {
    /// When runs are due: five fields (minute, hour, day of the month, month, day of the week) as in cron, or `@yearly`,
    /// `@monthly`, `@weekly`, `@daily`, `@hourly`. Also `L`, `W` and `#`. A fixed time that a zone leaves out when clocks go
    /// forward runs at the first instant after it; one that comes twice runs once. Empty: only by `runOnChange`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 6, max = 100))]
    #[x_kube(validation = rules::five_fields())]
    #[x_kube(validation = rules::no_zone_in_the_schedule())]
    pub schedule: Option<String>,

    /// The zone of the schedule, by its IANA name, for example `Europe/Berlin`. Default `Etc/UTC`.
    #[serde(default = "default_time_zone")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: String,

    /// Runs once at the start and once more whenever `template` changes. While another run is under way it waits for that
    /// to end (`Forbid`), or ends it (`Replace`). Default false.
    #[serde(default)]
    pub run_on_change: bool,

    /// What a run that is due does about one that is under way: `Forbid` (default) is skipped for good, `Replace` cancels it
    /// and waits for its end, `Allow` runs beside it, up to 10; on the same nodes they measure one after the other in any case.
    #[serde(default)]
    pub concurrency_policy: ConcurrencyPolicy,

    /// Seconds from the time that a run is due within which it has to leave the queue. Afterwards it is missed; one that still
    /// waits is cancelled. 10 to 604800, default 3600.
    #[serde(default = "default_deadline")]
    #[schemars(range(min = 10, max = 604_800))]
    pub starting_deadline_seconds: i64,

    /// Begins no run, and catches none up when it is taken back. A run under way goes on. Default false.
    #[serde(default)]
    pub suspend: bool,

    /// How many Experiments that ran to their end are kept. Results stay in the store. 0 to 30, default 5.
    #[serde(default = "default_successful")]
    #[schemars(range(min = 0, max = 30))]
    pub successful_history_limit: i32,

    /// How many Experiments that failed or were cancelled are kept. 0 to 30, default 3.
    #[serde(default = "default_failed")]
    #[schemars(range(min = 0, max = 30))]
    pub failed_history_limit: i32,

    /// After so many failures in a row no run is begun until the spec changes. 0: never. 0 to 100, default 5.
    #[serde(default = "default_failures")]
    #[schemars(range(min = 0, max = 100))]
    pub max_consecutive_failures: i32,

    /// What is run. A change is about future runs only.
    pub template: ExperimentTemplate,

    /// What in the history of the runs counts as a regression. Empty: the history is kept, and nothing is concluded from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regression: Option<Regression>,

    /// Whom the schedule tells of what happens, up to 4.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    #[x_kube(validation = names_are_unique("receiver"))]
    pub notify: Vec<Notify>,
}

impl ExperimentScheduleSpec {
    /// Whether no run is begun any more after so many failures in a row.
    #[must_use]
    pub fn stops_after(&self, failures: i32) -> bool {
        let most = self.max_consecutive_failures;
        most > 0 && failures >= most
    }
}

/// What a run that is due does about one that is under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConcurrencyPolicy {
    /// It is skipped for good.
    #[default]
    Forbid,
    /// It takes its place.
    Replace,
    /// It runs beside it.
    Allow,
}

/// What an Experiment is made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExperimentTemplate {
    /// Labels and annotations of each run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<TemplateMetadata>,
    /// The specification of each run.
    #[x_kube(validation = rules::runs_are_not_ended_by_the_template())]
    #[x_kube(validation = rules::history_limits_remove_runs())]
    #[x_kube(validation = rules::the_schedule_states_the_series())]
    pub spec: ExperimentSpec,
}

/// Labels and annotations of what is made from a template.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TemplateMetadata {
    /// Labels, up to 32. Those by which GitOps tools find what they prune may not be among them.
    #[serde(default, skip_serializing_if = "Marks::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    #[x_kube(validation = rules::not_of_a_gitops_tool())]
    pub labels: Marks,
    /// Annotations, up to 32. Those of GitOps tools may not be among them.
    #[serde(default, skip_serializing_if = "Marks::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    #[x_kube(validation = rules::not_of_a_gitops_tool())]
    pub annotations: Marks,
}

fn default_time_zone() -> String {
    "Etc/UTC".to_owned()
}

fn default_deadline() -> i64 {
    3_600
}

fn default_successful() -> i32 {
    5
}

fn default_failed() -> i32 {
    3
}

fn default_failures() -> i32 {
    5
}
