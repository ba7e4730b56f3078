//! The status of a schedule. Unlike an Experiment's it is memory as well: which ticks have had their answer stands here
//! and in the runs themselves, of which either is repaired from the other.

use crate::ending::EndReason;
use crate::notify::Notice;
use crate::regression::{RegressionState, RegressionStatus};
use crate::status::DecisionOutcome;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The largest status, in bytes of JSON.
pub const MAX_STATUS_BYTES: usize = 32_768;
/// How many ended runs are told of at least, whether or not their Experiments are kept.
pub const TOLD_RUNS: usize = 10;

/// Where a schedule stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExperimentScheduleStatus {
    /// The generation of the spec that this status is about; -1 until it was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Accepted`: the schedule can run. `LastRunSucceeded`: the last run went to its end. `Regressed`: the history got worse. `Reconciling` and `Stalled` follow
    /// kstatus; a run under way changes neither.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Up to when every tick has had its answer: started, skipped or missed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub last_tick_time: Option<jiff::Timestamp>,
    /// The schedule and the zone that `lastTickTime` is about. When they change nothing is caught up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticking: Option<String>,
    /// Whether it was suspended when last looked at. When it is resumed nothing is caught up.
    #[serde(default)]
    pub suspended: bool,
    /// The template for which a change was last answered, as a hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_hash: Option<String>,
    /// The generation of the spec that `templateHash` was last compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_generation: Option<i64>,
    /// The tick of the last run by the clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub last_schedule_time: Option<jiff::Timestamp>,
    /// When the next run is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub next_schedule_time: Option<jiff::Timestamp>,
    /// When a run last went to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub last_successful_time: Option<jiff::Timestamp>,
    /// The runs under way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub active: Vec<ActiveRun>,
    /// The name of the run under way, or how many there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_display: Option<String>,
    /// What became of ticks and runs since the schedule was made.
    #[serde(default)]
    pub counts: RunCounts,
    /// Runs that failed since one last went to its end or the spec changed.
    #[serde(default)]
    pub consecutive_failures: i32,
    /// The last tick that began no run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_skip: Option<Skipped>,
    /// Runs that have ended, the newest first: the last ten, and all whose Experiments are kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<EndedRun>,
    /// What the last run says of the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regression: Option<RegressionStatus>,
    /// The report of the last run that wrote one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_report: Option<String>,
    /// Messages that have still to be sent, the oldest first; at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<Notice>,
    /// How many messages there were.
    #[serde(default)]
    pub notices_made: i64,
}

/// What begins a run.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Trigger {
    /// The clock.
    #[default]
    Cron,
    /// A change of the template.
    Change,
    /// A person.
    Manual,
    /// A run before it, that is to be confirmed.
    Confirmation,
}

impl Trigger {
    /// All of them.
    const ALL: [Self; 4] = [Self::Cron, Self::Change, Self::Manual, Self::Confirmation];

    /// What a word of the API means; none where it is no such word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|trigger| trigger.as_str() == word)
    }

    /// The word in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cron => "Cron",
            Self::Change => "Change",
            Self::Manual => "Manual",
            Self::Confirmation => "Confirmation",
        }
    }
}

/// A run under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActiveRun {
    /// The name of the Experiment.
    pub name: String,
    /// The uid of the Experiment.
    pub uid: String,
    /// What began it.
    pub trigger: Trigger,
    /// When it was due.
    #[schemars(with = "Time")]
    pub scheduled_for: jiff::Timestamp,
    /// Where it stands, in the word of its condition `Succeeded`.
    pub state: String,
}

/// A run that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndedRun {
    /// The name of the Experiment.
    pub name: String,
    /// What began it.
    pub trigger: Trigger,
    /// When it was due.
    #[schemars(with = "Time")]
    pub scheduled_for: jiff::Timestamp,
    /// How it ended.
    pub end: EndReason,
    /// What its rule concludes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<DecisionOutcome>,
    /// Whether its objectives were met; absent where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objectives_met: Option<bool>,
    /// What it says of the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<RegressionState>,
}

/// What became of ticks and runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunCounts {
    /// Runs that were begun.
    pub started: i64,
    /// Runs that went to their end.
    pub succeeded: i64,
    /// Runs that did not, and that nobody cancelled.
    pub failed: i64,
    /// Runs that were begun to confirm another.
    #[serde(default)]
    pub confirmations: i64,
    /// Ticks that began none, for a reason in the spec or in another run.
    pub skipped: i64,
    /// Ticks whose run did not start in time.
    pub missed: i64,
}

/// A tick that began no run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Skipped {
    /// When it was due.
    #[schemars(with = "Time")]
    pub time: jiff::Timestamp,
    /// Why it began none.
    pub reason: SkipReason,
}

/// Why a tick began no run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SkipReason {
    /// The schedule was suspended.
    Suspended,
    /// Another run was under way.
    Active,
    /// Too many runs had failed in a row.
    Failures,
    /// An Experiment of the run's name, which is not the schedule's, was there.
    NameTaken,
    /// It did not start within `startingDeadlineSeconds`.
    Missed,
}

impl SkipReason {
    /// The word in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Suspended => "Suspended",
            Self::Active => "Active",
            Self::Failures => "Failures",
            Self::NameTaken => "NameTaken",
            Self::Missed => "Missed",
        }
    }
}
