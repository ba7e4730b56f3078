//! Condition types and reasons, and how a new condition meets the old one.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The summary of bounded work: Unknown while it goes on, True when it ran to its end.
pub const SUCCEEDED: &str = "Succeeded";
/// Whether the figures pass the objectives.
pub const OBJECTIVES_MET: &str = "ObjectivesMet";
/// Whether the nodes are equal as far as checked.
pub const EQUALISED: &str = "Equalised";
/// Whether a schedule can run: it can be read, and its template would be taken.
pub const ACCEPTED: &str = "Accepted";
/// Whether the last run of a schedule went to its end.
pub const LAST_RUN_SUCCEEDED: &str = "LastRunSucceeded";
/// Whether the history of a schedule got worse.
pub const REGRESSED: &str = "Regressed";
/// Whether a plan waits for a person's decision.
pub const WAITING: &str = "Waiting";
/// Whether a template of a plan was changed after its phase had begun.
pub const DRIFTED: &str = "Drifted";
/// kstatus: work is going on.
pub const RECONCILING: &str = "Reconciling";
/// kstatus: work cannot go on.
pub const STALLED: &str = "Stalled";

/// The reasons of the conditions, and of the events that tell of them. How an experiment ended is
/// [`crate::ending::EndReason`]; what is refused or keeps a pod from running has words of its own.
pub mod reasons {
    /// Not to start, or stopped, until `spec.suspend` is taken back.
    pub const SUSPENDED: &str = "Suspended";
    /// On its way to that.
    pub const SUSPENDING: &str = "Suspending";
    /// Another experiment measures on the same nodes.
    pub const QUEUED: &str = "Queued";
    /// About to start.
    pub const PENDING: &str = "Pending";
    /// The pool is its own.
    pub const STARTED: &str = "Started";
    /// Looks at the nodes.
    pub const CALIBRATING: &str = "Calibrating";
    /// Backends are made and do not answer yet.
    pub const PROVISIONING: &str = "Provisioning";
    /// Generators measure.
    pub const RUNNING: &str = "Running";
    /// It is known how it ends.
    pub const ENDING: &str = "Ending";
    /// Generators finish what they are writing.
    pub const STOPPING: &str = "Stopping";
    /// The report is written.
    pub const REPORTING: &str = "Reporting";
    /// What was written to systems outside the cluster is removed.
    pub const CLEANING_UP: &str = "CleaningUp";
    /// Children are removed.
    pub const TEARING_DOWN: &str = "TearingDown";
    /// No difference was found between the nodes.
    pub const NODES_EQUAL: &str = "NodesEqual";
    /// The nodes differ.
    pub const NODES_DIFFER: &str = "NodesDiffer";
    /// There are no objectives.
    pub const NO_OBJECTIVES: &str = "NoObjectives";
    /// All objectives are met.
    pub const ALL_MET: &str = "AllMet";
    /// Some objective is not met.
    pub const NOT_MET: &str = "NotMet";
    /// Event: the rule has concluded.
    pub const DECIDED: &str = "Decided";
    /// Event: another generator goes on where the last one ended.
    pub const GENERATOR_RESTARTED: &str = "GeneratorRestarted";
    /// Event: something outside the cluster may be left.
    pub const CLEANUP_FAILED: &str = "CleanupFailed";
    /// Event: a server is killed, as a trial asks for.
    pub const FAULT: &str = "Fault";
    /// What the experiment needs was refused by the API server.
    pub const CHILD_REFUSED: &str = "ChildRefused";
    /// Something that was removed will not go.
    pub const LEFT_BEHIND: &str = "LeftBehind";
    /// Event: this version of the operator does not understand the object.
    pub const UNREADABLE: &str = "Unreadable";
    /// A schedule runs.
    pub const SCHEDULED: &str = "Scheduled";
    /// A schedule begins no more runs until its spec changes: too many failed in a row.
    pub const FAILURES_STOPPED: &str = "FailuresStopped";
    /// All templates would be taken.
    pub const TEMPLATES_TAKEN: &str = "TemplatesTaken";
    /// A condition of a phase looks at one that does not come before it.
    pub const INVALID_WHEN: &str = "InvalidWhen";
    /// Event: a run is worse than all before it.
    pub const REGRESSION_SUSPECTED: &str = "RegressionSuspected";
    /// Further runs confirm that it got worse.
    pub const REGRESSION_CONFIRMED: &str = "RegressionConfirmed";
    /// Event: a phase has begun.
    pub const PHASE_STARTED: &str = "PhaseStarted";
    /// Event: a phase is not run.
    pub const PHASE_SKIPPED: &str = "PhaseSkipped";
    /// Event: a phase has its outcome.
    pub const PHASE_DECIDED: &str = "PhaseDecided";
    /// Event: a person has to decide.
    pub const APPROVAL_NEEDED: &str = "ApprovalNeeded";
    /// Nobody has to decide anything.
    pub const NOTHING_TO_DECIDE: &str = "NothingToDecide";
    /// Templates were changed after their phase had begun.
    pub const TEMPLATE_CHANGED: &str = "TemplateChanged";
    /// Templates are as they were.
    pub const UNCHANGED: &str = "Unchanged";
    /// A phase failed, and that ends its plan.
    pub const PHASE_FAILED: &str = "PhaseFailed";
    /// The template would be refused.
    pub const INVALID_TEMPLATE: &str = "InvalidTemplate";
    /// Event: a run has begun.
    pub const RUN_STARTED: &str = "RunStarted";
    /// Event: a run has ended.
    pub const RUN_FINISHED: &str = "RunFinished";
    /// Event: a tick began no run.
    pub const RUN_SKIPPED: &str = "RunSkipped";
    /// Event: a run did not start in time.
    pub const RUN_MISSED: &str = "RunMissed";
    /// Event: somebody who was to be told could not be told.
    pub const NOTIFICATION_FAILED: &str = "NotificationFailed";
    /// Event: the API server refuses to make a run.
    pub const RUN_REFUSED: &str = "RunRefused";
}

/// The status of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not.
    False,
    /// It cannot be told yet.
    Unknown,
}

impl Truth {
    /// The word that stands in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// The longest message that the API accepts is 32768; a person reads far less.
const MAX_MESSAGE: usize = 1_024;

/// Sets a condition, keeping the time of the last transition unless the status changes.
pub fn set(
    conditions: &mut Vec<Condition>,
    type_: &str,
    truth: Truth,
    reason: &str,
    message: &str,
    generation: Option<i64>,
    now: Timestamp,
) {
    let message = shorten(message, MAX_MESSAGE);
    if let Some(old) = conditions
        .iter_mut()
        .find(|condition| condition.type_ == type_)
    {
        if old.status != truth.as_str() {
            old.status = truth.as_str().to_owned();
            old.last_transition_time = Time(now);
        }
        old.reason = reason.to_owned();
        old.message = message;
        old.observed_generation = generation;
    } else {
        conditions.push(Condition {
            type_: type_.to_owned(),
            status: truth.as_str().to_owned(),
            reason: reason.to_owned(),
            message,
            observed_generation: generation,
            last_transition_time: Time(now),
        });
    }
}

/// The condition of this type.
#[must_use]
pub fn get<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Whether a condition is there and True.
#[must_use]
pub fn holds(conditions: &[Condition], type_: &str) -> bool {
    get(conditions, type_).is_some_and(|condition| condition.status == "True")
}

/// Cuts a text at a character border and marks the cut.
#[must_use]
pub fn shorten(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let mut end = limit.saturating_sub('…'.len_utf8());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transition_time_moves_only_with_the_status() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut conditions = Vec::new();
        set(
            &mut conditions,
            SUCCEEDED,
            Truth::Unknown,
            "Queued",
            "waits",
            Some(1),
            at(1),
        );
        set(
            &mut conditions,
            SUCCEEDED,
            Truth::Unknown,
            "Running",
            "runs",
            Some(1),
            at(2),
        );
        assert_eq!(conditions[0].last_transition_time, Time(at(1)));
        assert_eq!(conditions[0].reason, "Running");
        set(
            &mut conditions,
            SUCCEEDED,
            Truth::True,
            "Completed",
            "done",
            Some(1),
            at(3),
        );
        assert_eq!(conditions[0].last_transition_time, Time(at(3)));
        assert_eq!(conditions.len(), 1);
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let text = "ä".repeat(600);
        let short = shorten(&text, 1_000);
        assert!(short.len() <= 1_000 && short.ends_with('…'));
        assert_eq!(shorten("short", 10), "short");
    }
}
