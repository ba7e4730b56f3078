//! Which phase has its outcome, and which is run next. (Pure, total, no clock: the instant is an input.)
//!
//! The phases are gone through in their order, each time from the first: what has its outcome stands in the status and is
//! left as it is, the first one without is worked on. The status is written before anything else is done, so that what a
//! phase was run for, or skipped for, cannot change under it.

mod conditions;
mod draft;
mod ending;
mod gate;
mod phase;
mod report;

use crate::action::Plan;
use crate::errands::Seen;
use crate::runs::{Answers, Run, RunAction};
use crate::settings::Settings;
use bakeoff_crds::experiment_plan::{ExperimentPlan, ExperimentPlanStatus};
use bakeoff_crds::identity::Identity;
use draft::Draft;
use jiff::Timestamp;
use std::collections::BTreeMap;

/// What there is of a plan in the cluster.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The instant of the look.
    pub now: Timestamp,
    /// The experiments that it has made.
    pub runs: Vec<Run>,
    /// Experiments that it names and others have made.
    pub named: BTreeMap<String, Run>,
    /// What was last said of those that were asked for and are not among its own.
    pub answers: Answers,
    /// Which templates would be refused, and why.
    pub refused: Vec<String>,
    /// What there is of its errands.
    pub errands: Seen,
}

/// What is to be done about this plan now.
#[must_use]
pub fn plan(
    plan: &ExperimentPlan,
    id: &Identity,
    observed: &Observed,
    settings: &Settings,
) -> Plan<ExperimentPlanStatus, RunAction> {
    let mut draft = Draft::new(plan, id, observed, settings);
    if plan.metadata.deletion_timestamp.is_some() {
        return draft.done();
    }
    draft.send_notices();
    if draft.status.completion_time.is_some() {
        if draft.status.notices.is_empty() {
            draft.clear_errands();
        }
        return draft.done();
    }
    if let Some((reason, message)) = draft.why_it_ends() {
        draft.end(&reason, &message);
    } else if draft.accept() {
        draft.advance();
    }
    draft.side_conditions();
    draft.done()
}

#[cfg(test)]
mod tests;
