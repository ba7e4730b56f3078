//! The `ExperimentPlan` resource: experiments in phases, of which the later ones run only on evidence from the earlier.

mod report;
mod rules;
mod status;

pub use report::{PLAN_REPORT_SCHEMA, PlanReport, ReportedPhase};
pub use status::{
    ExperimentPlanStatus, MAX_STATUS_BYTES, PhaseOutcome, PhaseState, PhaseStatus,
    PlanReportStatus, PlanState, StepStatus,
};

use crate::experiment_schedule::ExperimentTemplate;
use crate::notify::Notify;
use crate::spec::rules::names_are_unique;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Runs experiments phase by phase. Each phase answers a question; whether it is run at all may depend on the outcomes of
/// earlier ones. That a phase ends in NoGo is a result and no failure.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "bakeoff.dev",
    version = "v1alpha1",
    kind = "ExperimentPlan",
    plural = "experimentplans",
    shortname = "expplan",
    category = "bakeoff",
    namespaced,
    status = "ExperimentPlanStatus",
    derive = "PartialEq",
    doc = "Runs experiments phase by phase. Each phase answers a question; whether it is run at all may depend on the outcomes of earlier ones. That a phase ends in NoGo is a result and no failure.",
    validation = Rule::new("size(self.metadata.name) <= 22").message("metadata.name must have at most 22 characters, because the names of the runs are built from it"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state", description = "Where the plan stands"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase", description = "The phase that is looked at now"),
    printcolumn(name = "Progress", type_ = "string", json_path = ".status.progress", description = "Phases done of phases planned"),
    printcolumn(name = "Outcome", type_ = "string", json_path = ".status.outcome", description = "The outcome of the last phase that ran"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Report", type_ = "string", json_path = ".status.report.url", description = "The report of the plan", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Succeeded\")].message", description = "What happens now, or what went wrong", priority = 1)
)]
#[x_kube(validation = rules::conditions_name_what_there_is())]
#[x_kube(validation = rules::decisions_name_a_phase())]
#[serde(rename_all = "camelCase")]
pub struct ExperimentPlanSpec {
    /// The phases, 1 to 16, in the order in which they run: one at a time.
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(validation = names_are_unique("phase"))]
    pub phases: Vec<Phase>,

    /// What people have decided: whether a phase is run, and how it is taken. Up to 32; none is taken back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = rules::decisions_stay())]
    pub decisions: Vec<PlanDecision>,

    /// Begins no further experiment; one that is under way goes on. Default false.
    #[serde(default)]
    pub suspend: bool,

    /// Ends the plan for good: an experiment under way is cancelled, what was measured is kept. Default false.
    #[serde(default)]
    #[x_kube(validation = Rule::new("!oldSelf || self").message("a cancelled plan stays cancelled: create another ExperimentPlan to run it again"))]
    pub cancel: bool,

    /// Seconds from the start of the first phase after which the plan is ended. 60 and up. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 60, max = 315_360_000))]
    pub active_deadline_seconds: Option<i64>,

    /// Whom the plan tells of what happens, up to 4.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    #[x_kube(validation = names_are_unique("receiver"))]
    pub notify: Vec<Notify>,
}

/// One question, and the experiments that answer it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Phase {
    /// Its name, at most 12 characters, unique in the plan.
    #[schemars(
        length(min = 1, max = 12),
        regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,
    /// What it is to answer; stands in the report and in `kubectl describe`.
    #[schemars(length(min = 3, max = 300))]
    pub question: String,
    /// What must hold of earlier phases for this one to be run, up to 8 conditions, all of them. Empty: it is always run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub when: Vec<When>,
    /// What is done where a condition neither holds nor fails, because what it looks at is Inconclusive or Failed: `Wait`
    /// (default) for a person's decision, `Run` or `Skip`.
    #[serde(default)]
    pub undecided: Undecided,
    /// The experiments, 1 to 8.
    #[schemars(length(min = 1, max = 8))]
    #[x_kube(validation = names_are_unique("experiment"))]
    pub experiments: Vec<Step>,
    /// `Serial` (default): one after the other; `Parallel`: all at once, and on the same nodes the queue puts them in order.
    #[serde(default)]
    pub order: Order,
    /// How often an experiment that failed is run again. One that ended in NoGo has not failed. 0 to 3, default 1.
    #[serde(default = "default_retries")]
    #[schemars(range(min = 0, max = 3))]
    pub retries: i32,
    /// Whether a person confirms the outcome before the plan goes on: `Never` (default), `OnInconclusive` or `Always`.
    #[serde(default)]
    pub approval: Approval,
    /// The outcomes of this phase that end the plan. Default: `Failed`.
    #[serde(default = "default_stop_on")]
    #[schemars(length(max = 5))]
    pub stop_on: Vec<PhaseOutcome>,
}

/// An experiment of a phase: made from a template, or one that is there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.template) != has(self.ref)").message("an experiment of a phase has either a template or a ref"))]
pub struct Step {
    /// Its name, at most 12 characters, unique in the phase.
    #[schemars(
        length(min = 1, max = 12),
        regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,
    /// What it is made from. All templates are tried before the plan starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<ExperimentTemplate>,
    /// An Experiment of the namespace that somebody else has made; it is read and never changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#ref: Option<ExperimentRef>,
}

/// An Experiment of the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExperimentRef {
    /// The name of the Experiment.
    #[schemars(length(min = 1, max = 52))]
    pub name: String,
}

/// A condition on the outcome of something earlier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct When {
    /// A phase that comes before this one.
    #[schemars(length(min = 1, max = 12))]
    pub phase: String,
    /// An experiment of that phase. Empty: the phase as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 12))]
    pub experiment: Option<String>,
    /// It holds when the outcome is one of these. A phase that was skipped counts for nothing unless `Skipped` is listed.
    #[schemars(length(min = 1, max = 5))]
    pub outcome: Vec<PhaseOutcome>,
}

/// What is done where a condition is undecided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Undecided {
    /// A person decides.
    #[default]
    Wait,
    /// The phase is run.
    Run,
    /// The phase is skipped.
    Skip,
}

/// In which order the experiments of a phase are begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Order {
    /// One after the other.
    #[default]
    Serial,
    /// All at once.
    Parallel,
}

/// Whether a person confirms an outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Approval {
    /// Nobody.
    #[default]
    Never,
    /// Where the data do not carry a decision.
    OnInconclusive,
    /// In any case.
    Always,
}

/// What a person has decided about a phase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanDecision {
    /// The phase.
    #[schemars(length(min = 1, max = 12))]
    pub phase: String,
    /// `Run` or `Skip` decide whether it is run; `Go` or `NoGo` how its outcome is taken.
    pub action: DecisionAction,
    /// Why it was decided so.
    #[schemars(length(min = 3, max = 500))]
    pub reason: String,
    /// Who decided.
    #[schemars(length(min = 1, max = 100))]
    pub by: String,
}

/// What is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DecisionAction {
    /// The phase is run whatever its conditions say.
    Run,
    /// The phase is not run.
    Skip,
    /// The outcome is taken as Go.
    Go,
    /// The outcome is taken as NoGo.
    NoGo,
}

impl DecisionAction {
    /// The word in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Run => "Run",
            Self::Skip => "Skip",
            Self::Go => "Go",
            Self::NoGo => "NoGo",
        }
    }
}

fn default_retries() -> i32 {
    1
}

fn default_stop_on() -> Vec<PhaseOutcome> {
    vec![PhaseOutcome::Failed]
}
