//! How a plan ends.

use super::draft::Draft;
use super::report::End;
use crate::runs::{Answer, RunAction};
use bakeoff_crds::EndReason;
use bakeoff_crds::conditions::{RECONCILING, STALLED, SUCCEEDED, Truth, reasons};
use bakeoff_crds::experiment_plan::{Phase, PhaseOutcome, PhaseState, PlanState};
use bakeoff_crds::notify::Occasion;
use jiff::SignedDuration;

/// One that ends is looked at again after this time, seconds, if nothing is heard.
const AGAIN: i64 = 30;

/// How a plan is over.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Over {
    /// Before its time, for this reason.
    Ended(EndReason),
    /// A phase failed, and none comes after that.
    PhaseFailed,
    /// A phase came to what the plan stops at.
    Stopped,
    /// All phases have an outcome.
    Completed,
}

impl Over {
    fn state(&self) -> PlanState {
        match self {
            Self::Ended(_) => PlanState::Cancelled,
            Self::PhaseFailed | Self::Stopped => PlanState::Stopped,
            Self::Completed => PlanState::Completed,
        }
    }

    /// Whether it went as planned.
    fn truth(&self) -> Truth {
        match self {
            Self::Ended(_) | Self::PhaseFailed => Truth::False,
            Self::Stopped | Self::Completed => Truth::True,
        }
    }

    fn reason(&self) -> &str {
        match self {
            Self::Ended(reason) => reason.as_str(),
            Self::PhaseFailed => reasons::PHASE_FAILED,
            Self::Stopped | Self::Completed => self.state().as_str(),
        }
    }
}

impl Draft<'_> {
    /// Why it is to end before its time, if it is.
    pub(super) fn why_it_ends(&mut self) -> Option<(EndReason, String)> {
        if self.spec.cancel {
            return Some((EndReason::Cancelled, "it was cancelled".to_owned()));
        }
        let (seconds, start) = (self.spec.active_deadline_seconds?, self.status.start_time?);
        let deadline = start
            .saturating_add(SignedDuration::from_secs(seconds))
            .ok()?;
        if self.now < deadline {
            self.wake_by(deadline);
            return None;
        }
        let message =
            format!("activeDeadlineSeconds ({seconds}) have passed since its first phase began");
        Some((EndReason::DeadlineExceeded, message))
    }

    /// Cancels what is under way; it has ended when that has.
    pub(super) fn end(&mut self, reason: &EndReason, message: &str) {
        // Those that were made a moment ago and are not seen yet come to be cancelled as well.
        let answers = self.observed.answers.iter();
        let made = answers.filter(|(_, answer)| **answer == Answer::Made);
        let mut left: Vec<String> = made.map(|(name, _)| name.clone()).collect();
        for run in self.observed.runs.iter().filter(|run| run.end.is_none()) {
            left.push(run.name.clone());
            if !run.cancelled {
                self.actions.push(RunAction::Cancel {
                    name: run.name.clone(),
                    uid: run.uid.clone(),
                });
            }
        }
        if left.is_empty() {
            for phase in &mut self.status.phases {
                if phase.state != PhaseState::Done {
                    self.remember = true;
                    phase.state = PhaseState::Done;
                    phase.outcome = Some(PhaseOutcome::Failed);
                    phase.reason = Some(format!("the plan was ended before: {message}"));
                    phase.completion_time = Some(self.now);
                }
            }
            self.over(&Over::Ended(reason.clone()), message);
        } else {
            let waits = format!("{message}; {} has still to end", left.join(", "));
            self.stands(PlanState::Ending, &waits);
            self.wake_in(AGAIN);
        }
    }

    /// The outcome of a phase ends it. That a phase came to what it was to find out is no failure.
    pub(super) fn stop(&mut self, phase: &Phase, outcome: PhaseOutcome) {
        let message = format!(
            "{} is {}, which ends the plan (stopOn)",
            phase.name,
            outcome.as_str()
        );
        if outcome == PhaseOutcome::Failed {
            self.over(&Over::PhaseFailed, &message);
        } else {
            self.over(&Over::Stopped, &message);
        }
    }

    pub(super) fn complete(&mut self) {
        let phases = &self.status.phases;
        let skipped = phases
            .iter()
            .filter(|phase| phase.outcome == Some(PhaseOutcome::Skipped));
        let skipped = skipped.count();
        let message = format!(
            "{} phases were run and {skipped} skipped",
            phases.len() - skipped
        );
        self.over(&Over::Completed, &message);
    }

    fn over(&mut self, over: &Over, message: &str) {
        let (state, truth, reason) = (over.state(), over.truth(), over.reason());
        if !self.is_reported(Some(End { state, message })) {
            return;
        }
        self.status.state = state;
        self.status.phase = None;
        self.status.completion_time = Some(self.now);
        self.condition(SUCCEEDED, truth, reason, message);
        self.condition(RECONCILING, Truth::False, reason, message);
        let wanted = *over == Over::Ended(EndReason::Cancelled);
        let stalled = Truth::from(truth == Truth::False && !wanted);
        self.condition(STALLED, stalled, reason, message);
        self.tell(
            truth == Truth::False && state != PlanState::Cancelled,
            reason,
            message,
        );
        if *over == Over::PhaseFailed {
            self.notify(Occasion::Failed, message);
        }
        self.notify(Occasion::Ended, message);
        self.remember();
    }
}
