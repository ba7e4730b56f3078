//! What the report of a plan is made of: the operator writes it for the Job that reads the results and draws the page.

use super::{PhaseStatus, PlanDecision, PlanState, Undecided, When};
use crate::identity::Identity;
use crate::run::StoreTarget;
use serde::{Deserialize, Serialize};

/// The schema of [`PlanReport`].
pub const PLAN_REPORT_SCHEMA: &str = "plan-report.bakeoff.dev/v1";

/// What the report of a plan is made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanReport {
    /// [`PLAN_REPORT_SCHEMA`].
    pub schema_version: String,
    /// Which plan.
    pub plan: Identity,
    /// When its first phase began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<jiff::Timestamp>,
    /// Where it stands.
    pub state: PlanState,
    /// The same in words.
    pub message: String,
    /// Every phase, in the order of the plan.
    pub phases: Vec<ReportedPhase>,
    /// What people have decided.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decisions: Vec<PlanDecision>,
    /// Where the report goes, and where the results of its experiments are sought.
    pub results: StoreTarget,
}

/// A phase, as it was asked for and as it went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReportedPhase {
    /// Its name.
    pub name: String,
    /// What it is to answer.
    pub question: String,
    /// What must hold for it to be run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub when: Vec<When>,
    /// What is done where that cannot be told.
    #[serde(default)]
    pub undecided: Undecided,
    /// How it went; nothing where it was not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<PhaseStatus>,
}

impl PlanReport {
    /// The folder of a plan's report in the results store: `plans/<namespace>/<name>/<uid>`.
    #[must_use]
    pub fn folder(plan: &Identity) -> String {
        format!("plans/{}", plan.prefix())
    }
}
