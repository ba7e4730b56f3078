//! What the runs say of the history, and the runs that confirm it.

use super::draft::Draft;
use crate::controllers::schedule::build::Cause;
use crate::runs::Run;
use bakeoff_crds::conditions::{REGRESSED, Truth, reasons};
use bakeoff_crds::experiment_schedule::Trigger;
use bakeoff_crds::history::{RegressionState, RegressionStatus};
use bakeoff_crds::notify::Occasion;

impl Draft<'_> {
    /// Takes in what a run says of the history; what is news is told.
    pub(super) fn regression_is(&mut self, run: &Run, found: &RegressionStatus) {
        let before = self.status.regression.as_ref().map(|before| before.state);
        let (truth, reason) = match found.state {
            RegressionState::Regressed => (Truth::True, reasons::REGRESSION_CONFIRMED),
            RegressionState::Baselining
            | RegressionState::NoRegression
            | RegressionState::Recovered => (Truth::False, found.state.as_str()),
            RegressionState::Suspect
            | RegressionState::NotComparable
            | RegressionState::Autocorrelated => (Truth::Unknown, found.state.as_str()),
        };
        let message = format!("{}: {}", run.name, found.message);
        if before != Some(found.state) {
            match found.state {
                RegressionState::Regressed => {
                    self.tell(true, reason, &message);
                    self.notify(Occasion::Regressed, &message);
                }
                RegressionState::Suspect => {
                    self.tell(false, reasons::REGRESSION_SUSPECTED, &message)
                }
                RegressionState::Recovered => {
                    self.tell(false, reason, &message);
                    self.notify(Occasion::Recovered, &message);
                }
                _ => {}
            }
        }
        // What was told to have got worse stays so until it has recovered.
        let stands = before == Some(RegressionState::Regressed)
            && !matches!(
                found.state,
                RegressionState::Regressed | RegressionState::Recovered
            );
        if !stands {
            self.condition(REGRESSED, truth, reason, &message);
            self.status.regression = Some(found.clone());
        }
    }

    /// Begins the next run that confirms the last one, where that is suspected. They run one after the other, and before
    /// whatever is due.
    pub(super) fn confirm(&mut self) {
        let Some(regression) = &self.spec.regression else {
            return;
        };
        let mut regular = self
            .status
            .runs
            .iter()
            .filter(|run| run.trigger != Trigger::Confirmation);
        let suspected = regular
            .next()
            .filter(|run| run.verdict == Some(RegressionState::Suspect));
        let Some(suspected) = suspected.map(|run| run.name.clone()) else {
            return;
        };
        if self.spec.suspend || self.is_stopped() || self.active() > 0 {
            return;
        }
        let next = (1..=regression.confirm_runs).find_map(|number| {
            let cause = Cause::Confirmation(suspected.clone(), number, self.now);
            let name = cause.name(&self.id.name);
            let made = self.status.runs.iter().any(|run| run.name == name);
            (!made).then_some((cause, name))
        });
        if let Some((cause, name)) = next {
            let answer = self.observed.answers.get(&name).cloned();
            let _ = self.begin_run(&cause, answer.as_ref());
        }
    }
}
