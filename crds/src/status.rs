//! The status of an Experiment: output for people and programs, never memory, always small.

use crate::ending::EndReason;
use crate::regression::RegressionStatus;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The longest list of headline figures that a status carries.
pub const MAX_HEADLINE: usize = 64;
/// The largest status, in bytes of JSON.
pub const MAX_STATUS_BYTES: usize = 65_536;

/// Where an Experiment stands. Bounded, whatever the experiment: raw data, summaries and the report
/// are in the results store.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExperimentStatus {
    /// The generation of the spec that this status is about; -1 until it was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Succeeded`: it ran to its end. `ObjectivesMet`: the figures pass. `Equalised`: the nodes are equal as
    /// far as checked. `Reconciling` and `Stalled` follow kstatus.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// When the experiment left the queue. From then on the spec is fixed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>")]
    pub start_time: Option<jiff::Timestamp>,
    /// How and why the experiment ends. Written before anything is reported or torn down, so that
    /// an operator that is restarted in between goes on in the same way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<EndingStatus>,
    /// When the experiment had ended, torn down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>")]
    pub completion_time: Option<jiff::Timestamp>,
    /// How far the trials are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<ProgressStatus>,
    /// The fault that was made last. Written before it is made, so that an operator that is restarted in between kills no second server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<FaultStatus>,
    /// The backends, as they were provisioned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backends: Vec<BackendStatus>,
    /// What the rule concludes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<DecisionStatus>,
    /// Each objective of the spec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objectives: Vec<ObjectiveStatus>,
    /// What it says of the history that it belongs to (`spec.series`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regression: Option<RegressionStatus>,
    /// The most important figures, at most 64; all are in the results store.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headline: Vec<HeadlineRow>,
    /// Where the results are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub results: Option<ResultsStatus>,
}

/// How and why an experiment ends, and how far its ending is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndingStatus {
    /// `Completed`, `Cancelled`, `DeadlineExceeded`, or the reason of the failure.
    pub reason: EndReason,
    /// In words, with the mend where there is one.
    pub message: String,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>")]
    pub start_time: Option<jiff::Timestamp>,
    /// When the report was written, or given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>")]
    pub reported_time: Option<jiff::Timestamp>,
    /// When test objects outside the cluster were removed, or given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>")]
    pub cleaned_up_time: Option<jiff::Timestamp>,
}

/// A server that is killed on purpose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct FaultStatus {
    /// The trial and the attempt at it: `TRIAL/ATTEMPT`.
    pub id: String,
    /// The backend that loses a server.
    pub backend: String,
    /// The name of the pod that is killed.
    pub pod: String,
    /// Which one of that name: the one that takes its place is spared.
    pub pod_uid: String,
    /// When it was gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime>")]
    pub made_time: Option<jiff::Timestamp>,
    /// When all pods of the backend were ready again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime>")]
    pub mended_time: Option<jiff::Timestamp>,
}

/// How far the trials are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProgressStatus {
    /// `37/144`: trials done of trials planned.
    pub display: String,
    /// Trials, by outcome.
    #[serde(default)]
    pub trials: TrialCounts,
    /// The trial that runs now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// When the last trial is expected to end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>")]
    pub estimated_end_time: Option<jiff::Timestamp>,
    /// When a generator first ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>")]
    pub generators_start_time: Option<jiff::Timestamp>,
    /// When one of them first told the operator how far they are. Absent for as long as none can be reached: the counts of
    /// trials are then those of the report alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>")]
    pub first_answer_time: Option<jiff::Timestamp>,
    /// When the first measured operation was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>")]
    pub first_operation_time: Option<jiff::Timestamp>,
}

impl ProgressStatus {
    /// Whether generators run or ran of which nothing was ever heard.
    #[must_use]
    pub fn is_unheard(&self) -> bool {
        self.generators_start_time.is_some() && self.first_answer_time.is_none()
    }

    /// Whether something may have been measured and written: what is known of it, or that nothing is.
    #[must_use]
    pub fn may_have_measured(&self) -> bool {
        self.trials.done > 0 || self.first_operation_time.is_some() || self.is_unheard()
    }
}

/// Trials, by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrialCounts {
    /// Trials of the schedule.
    pub planned: i32,
    /// Trials whose outcome is durable, valid or not.
    pub done: i32,
    /// Attempts that were invalid, with a reason in the report.
    #[serde(default)]
    pub invalid: i32,
    /// Attempts that repeated an invalid one.
    #[serde(default)]
    pub repeated: i32,
    /// Attempts that a lost generator left unfinished; they count for nothing.
    #[serde(default)]
    pub interrupted: i32,
}

/// A backend, as it was provisioned.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackendStatus {
    /// The name in the spec.
    pub name: String,
    /// The version in the spec; empty for an external one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// The image of the catalogue.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub image: String,
    /// The image that ran, by digest.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub image_id: String,
    /// The node it ran on.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub node: String,
    /// Seconds from the creation of its pod until it was ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_to_ready_seconds: Option<i64>,
}

/// What a decision concludes.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum DecisionOutcome {
    /// The data carry the change.
    Go,
    /// The data speak against the change.
    NoGo,
    /// The data do not carry a decision; the reason says what would settle it.
    Inconclusive,
}

impl DecisionOutcome {
    /// The outcome as it stands in the status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Go => "Go",
            Self::NoGo => "NoGo",
            Self::Inconclusive => "Inconclusive",
        }
    }
}

/// What the rule concluded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DecisionStatus {
    /// The rule that decided.
    pub rule: String,
    /// Go, NoGo or Inconclusive.
    pub outcome: DecisionOutcome,
    /// Why, with the figures that decided.
    pub reason: String,
    /// What it changes in the design.
    pub consequence: String,
}

/// Whether an objective is met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectiveStatus {
    /// The name in the spec.
    pub name: String,
    /// Whether the expression holds; a missing metric does not.
    pub met: bool,
    /// The figure, or what is missing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// The figures of one cell on one backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeadlineRow {
    /// `put objectSize=4Ki concurrency=8`
    pub cell: String,
    /// The backend.
    pub backend: String,
    /// The operation.
    pub operation: String,
    /// Completed operations per second, rounded to three digits.
    pub per_second: String,
    /// Median response, microseconds.
    pub p50_microseconds: i64,
    /// 99th percentile of the response, microseconds.
    pub p99_microseconds: i64,
    /// Valid blocks behind the figures.
    pub blocks: i32,
}

/// Where the results are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResultsStatus {
    /// `s3://bucket/prefix`.
    pub url: String,
    /// The report, relative to the url.
    pub report: String,
    /// SHA-256 of `index.json`, which lists every file with its own: results are complete once it is there.
    pub index_sha256: String,
}
