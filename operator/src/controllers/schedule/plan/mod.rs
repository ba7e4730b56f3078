//! Which ticks have their answer, and what follows. (Pure, total, no clock: the instant is an input.)
//!
//! Every tick gets one answer: a run was started, or the tick was skipped or missed. An answer that is a run stands in the
//! run itself (its annotation) before it stands in the status, any other in the status alone; the status is written before
//! anything else is done. So a run is never made twice, and whatever was lost is repaired from what is there.

mod draft;
mod history;
mod regression;
mod taking;
mod tick;

use crate::action::Plan;
use crate::errands::Seen;
use crate::runs::{Answers, Run, RunAction};
use crate::settings::Settings;
use bakeoff_crds::experiment_schedule::{ExperimentSchedule, ExperimentScheduleStatus};
use bakeoff_crds::identity::Identity;
use draft::Draft;
use jiff::Timestamp;

/// What there is of a schedule in the cluster.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The instant of the look.
    pub now: Timestamp,
    /// Its runs.
    pub runs: Vec<Run>,
    /// What was last said of those that were asked for and are not among them.
    pub answers: Answers,
    /// Why its template would be refused, if it would.
    pub refused: Option<String>,
    /// What there is of its errands.
    pub errands: Seen,
}

/// What is to be done about this schedule now.
#[must_use]
pub fn plan(
    schedule: &ExperimentSchedule,
    id: &Identity,
    observed: &Observed,
    settings: &Settings,
) -> Plan<ExperimentScheduleStatus, RunAction> {
    let mut draft = Draft::new(schedule, id, observed);
    draft.take_in_runs();
    if schedule.metadata.deletion_timestamp.is_none() {
        let cron = draft.accept();
        draft.confirm();
        draft.answer_ticks(cron.as_ref());
        draft.answer_change();
        draft.end_what_waits_too_long();
        draft.remove_history();
        draft.look_ahead(cron.as_ref());
        draft.send_notices(settings);
    }
    draft.done()
}

#[cfg(test)]
mod tests;
