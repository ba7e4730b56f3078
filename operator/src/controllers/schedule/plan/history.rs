//! Which ended runs are removed.

use super::draft::Draft;
use crate::runs::{Run, RunAction};
use bakeoff_crds::experiment_schedule::Trigger;

impl Draft<'_> {
    /// Removes ended runs beyond the limits, the oldest first. One that the status has not caught up with stays: it is the
    /// only thing that knows of its tick.
    pub(super) fn remove_history(&mut self) {
        let limit = |limit: i32| usize::try_from(limit).unwrap_or_default();
        let (mut succeeded, mut failed) = (
            limit(self.spec.successful_history_limit),
            limit(self.spec.failed_history_limit),
        );
        let mut ended: Vec<&Run> = self.observed.runs.iter().collect();
        ended.sort_by(|a, b| (b.scheduled_for, &b.name).cmp(&(a.scheduled_for, &a.name)));
        for run in ended {
            let Some(end) = &run.end else { continue };
            let left = if end.reason.succeeded() {
                &mut succeeded
            } else {
                &mut failed
            };
            if let Some(fewer) = left.checked_sub(1) {
                *left = fewer;
                continue;
            }
            let caught_up = run.trigger != Trigger::Cron || run.scheduled_for <= self.last_tick();
            if self.is_recorded(run) && caught_up {
                self.actions.push(RunAction::Delete {
                    name: run.name.clone(),
                    uid: run.uid.clone(),
                });
            }
        }
    }
}
