//! The status of a plan. What later phases depend on stands here before anything is done about it.

use crate::notify::Notice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The largest status, in bytes of JSON.
pub const MAX_STATUS_BYTES: usize = 65_536;

/// Where a plan stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExperimentPlanStatus {
    /// The generation of the spec that this status is about; -1 until it was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Accepted`: it can run. `Succeeded`: it went to its end. `Waiting`: a person has to decide something. `Drifted`: a
    /// template was changed after its phase began. `Reconciling` and `Stalled` follow kstatus.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Where it stands.
    #[serde(default)]
    pub state: PlanState,
    /// The phase that is looked at now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// `2/4`: phases done of phases planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
    /// The outcome of the last phase that ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<PhaseOutcome>,
    /// When its first phase began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub start_time: Option<jiff::Timestamp>,
    /// When it had ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub completion_time: Option<jiff::Timestamp>,
    /// Each phase that was looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<PhaseStatus>,
    /// Its report, as far as it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<PlanReportStatus>,
    /// Messages that have still to be sent, the oldest first; at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<Notice>,
    /// How many messages there were.
    #[serde(default)]
    pub notices_made: i64,
}

/// The report of a plan, which is written again after each phase.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanReportStatus {
    /// Where it is; nothing until it was written once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// How many phases had their outcome when it was last seen to.
    pub phases: i32,
    /// Whether the plan had come to its end by then.
    #[serde(default)]
    pub whole: bool,
    /// Why it was not written the last time; nothing where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// Where a plan stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PlanState {
    /// Nothing was begun.
    #[default]
    Pending,
    /// A phase runs.
    Running,
    /// A person has to decide something.
    Waiting,
    /// The report is written.
    Reporting,
    /// No further experiment is begun.
    Suspended,
    /// What is under way is ended.
    Ending,
    /// Every phase was run or skipped.
    Completed,
    /// The outcome of a phase has ended it (`stopOn`).
    Stopped,
    /// Somebody has ended it, or its deadline.
    Cancelled,
}

impl PlanState {
    /// The word in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Waiting => "Waiting",
            Self::Reporting => "Reporting",
            Self::Suspended => "Suspended",
            Self::Ending => "Ending",
            Self::Completed => "Completed",
            Self::Stopped => "Stopped",
            Self::Cancelled => "Cancelled",
        }
    }
}

/// What a phase or an experiment came to.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum PhaseOutcome {
    /// The data carry the change; or it was measured, and nothing was to be decided.
    Go,
    /// The data speak against the change, or an objective is not met.
    NoGo,
    /// The data do not carry a decision.
    Inconclusive,
    /// It did not go to its end.
    Failed,
    /// It was not run.
    Skipped,
}

impl PhaseOutcome {
    /// The word in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Go => "Go",
            Self::NoGo => "NoGo",
            Self::Inconclusive => "Inconclusive",
            Self::Failed => "Failed",
            Self::Skipped => "Skipped",
        }
    }
}

/// Where a phase stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PhaseState {
    /// A person decides whether it is run.
    #[default]
    Waiting,
    /// Its experiments run.
    Running,
    /// A person decides how its outcome is taken.
    AwaitingApproval,
    /// It has its outcome.
    Done,
}

/// A phase that was looked at.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PhaseStatus {
    /// The name in the spec.
    pub name: String,
    /// Where it stands.
    pub state: PhaseState,
    /// What it came to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<PhaseOutcome>,
    /// Why: which condition skipped it, what a rule concludes, who decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The templates that it began with, as a hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub templates: Option<String>,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub start_time: Option<jiff::Timestamp>,
    /// When it had its outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub completion_time: Option<jiff::Timestamp>,
    /// Its experiments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub experiments: Vec<StepStatus>,
}

/// An experiment of a phase.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepStatus {
    /// Its name in the plan.
    pub name: String,
    /// The Experiment of its last attempt.
    pub experiment: String,
    /// Its uid, once it was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Which attempt it is, from 1.
    pub attempt: i32,
    /// What it came to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<PhaseOutcome>,
    /// Why, in the words of its rule or of its ending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What it changes in the design, by its rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consequence: Option<String>,
    /// Its report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<String>,
}
