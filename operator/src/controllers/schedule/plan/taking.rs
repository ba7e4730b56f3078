//! What the runs that are there mean for what is remembered: lost writes of the status are made up for here.

use super::draft::Draft;
use crate::runs::{Run, RunEnd};
use bakeoff_crds::EndReason;
use bakeoff_crds::conditions::{LAST_RUN_SUCCEEDED, Truth, reasons};
use bakeoff_crds::experiment_schedule::{ActiveRun, EndedRun, SkipReason, TOLD_RUNS, Trigger};
use bakeoff_crds::notify::Occasion;

impl Draft<'_> {
    /// Takes every run in once: as begun when it is first seen, as ended when it is seen to have ended.
    pub(super) fn take_in_runs(&mut self) {
        let mut runs: Vec<&Run> = self.observed.runs.iter().collect();
        runs.sort_by(|a, b| (a.scheduled_for, &a.name).cmp(&(b.scheduled_for, &b.name)));
        self.forget_the_removed();
        for run in &runs {
            if self.is_recorded(run) {
                continue;
            }
            if !self
                .status
                .active
                .iter()
                .any(|active| active.uid == run.uid)
            {
                self.begun(run);
            }
            match &run.end {
                Some(end) => self.ended(run, end),
                None => self.goes_on(run),
            }
        }
        let kept = |ended: &EndedRun| runs.iter().any(|run| run.name == ended.name);
        let mut told = 0;
        self.status.runs.retain(|ended| {
            told += 1;
            told <= TOLD_RUNS || kept(ended)
        });
    }

    fn begun(&mut self, run: &Run) {
        self.status.counts.started += 1;
        if run.trigger == Trigger::Cron {
            let status = &mut self.status;
            status.last_schedule_time = status.last_schedule_time.max(Some(run.scheduled_for));
            status.last_tick_time = status.last_tick_time.max(Some(run.scheduled_for));
        }
        if run.trigger == Trigger::Confirmation {
            self.status.counts.confirmations += 1;
        }
        if run.trigger == Trigger::Change && run.template.is_some() {
            self.status.template_hash.clone_from(&run.template);
        }
        self.status.active.push(ActiveRun {
            name: run.name.clone(),
            uid: run.uid.clone(),
            trigger: run.trigger,
            scheduled_for: run.scheduled_for,
            state: run.state.clone(),
        });
        let message = format!("{} was made, due at {}", run.name, run.scheduled_for);
        self.tell(false, reasons::RUN_STARTED, &message);
        self.remember();
    }

    fn goes_on(&mut self, run: &Run) {
        let active = self.status.active.iter_mut();
        for active in active.filter(|active| active.uid == run.uid) {
            active.state.clone_from(&run.state);
        }
    }

    fn ended(&mut self, run: &Run, end: &RunEnd) {
        let waited = self
            .status
            .active
            .iter()
            .find(|active| active.uid == run.uid);
        let state = waited.map_or_else(String::new, |active| active.state.clone());
        self.status.active.retain(|active| active.uid != run.uid);
        self.record(EndedRun {
            name: run.name.clone(),
            trigger: run.trigger,
            scheduled_for: run.scheduled_for,
            end: end.reason.clone(),
            decision: end.decision.as_ref().map(|decision| decision.outcome),
            objectives_met: end.objectives_met,
            verdict: end.regression.as_ref().map(|regression| regression.state),
        });
        if end.report.is_some() {
            self.status.last_report.clone_from(&end.report);
        }
        let late = !run.begun && end.at >= self.deadline(run.scheduled_for);
        if end.reason == EndReason::Cancelled && late && run.trigger != Trigger::Manual {
            let message = format!(
                "{} did not start within {} s of {}: it was {state} until then",
                run.name, self.spec.starting_deadline_seconds, run.scheduled_for
            );
            self.skip(run.scheduled_for, SkipReason::Missed, &message);
            return;
        }
        let succeeded = end.reason.succeeded();
        let cancelled = end.reason == EndReason::Cancelled;
        if succeeded {
            self.status.counts.succeeded += 1;
            self.status.consecutive_failures = 0;
            self.status.last_successful_time = self.status.last_successful_time.max(Some(end.at));
        } else if !cancelled {
            self.status.counts.failed += 1;
            self.status.consecutive_failures += 1;
        }
        if let Some(regression) = &end.regression {
            self.regression_is(run, regression);
        }
        let message = format!("{}: {}", run.name, end.message);
        self.condition(
            LAST_RUN_SUCCEEDED,
            Truth::from(succeeded),
            end.reason.as_str(),
            &message,
        );
        let told = format!("{} ended as {}: {}", run.name, end.reason, end.message);
        self.tell(!succeeded && !cancelled, reasons::RUN_FINISHED, &told);
        if !succeeded && !cancelled {
            self.notify(Occasion::Failed, &told);
        }
    }

    /// Runs that were under way and are there no more: somebody has removed them.
    fn forget_the_removed(&mut self) {
        let there = |uid: &str| self.observed.runs.iter().any(|run| run.uid == uid);
        let (there, removed) = std::mem::take(&mut self.status.active)
            .into_iter()
            .partition(|active| there(&active.uid));
        self.status.active = there;
        let removed: Vec<ActiveRun> = removed;
        for run in removed {
            let message = format!("{} was removed before it had ended", run.name);
            self.tell(false, reasons::RUN_FINISHED, &message);
            self.record(EndedRun {
                name: run.name,
                trigger: run.trigger,
                scheduled_for: run.scheduled_for,
                end: EndReason::Cancelled,
                decision: None,
                objectives_met: None,
                verdict: None,
            });
        }
    }

    fn record(&mut self, ended: EndedRun) {
        self.status.runs.insert(0, ended);
        self.remember();
    }
}
