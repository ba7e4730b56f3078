//! From what is observed to what is to be done. (Pure, total, no clock: the instant is an input.)
//!
//! Decisions come from the spec, the live children and a few facts that must outlive the children and
//! are therefore written to the status before anything depends on them: the start, the ending and how
//! far the ending is. Everything else in the status is output.

mod before;
mod draft;
mod ending;
mod faults;
mod job;
mod preparing;
mod running;

use super::facts::Observed;
use crate::action::Plan;
use crate::settings::Settings;
use bakeoff_crds::{Experiment, ExperimentStatus};
use bakeoff_rules::validate::Known;
use draft::Draft;
pub use faults::heard;

/// What is to be done about this experiment now.
#[must_use]
pub fn plan(
    experiment: &Experiment,
    known: &Known,
    settings: &Settings,
    observed: &Observed,
) -> Plan<ExperimentStatus> {
    let draft = Draft::new(experiment, known.remains(), settings, observed);
    let status = &draft.status;
    let (started, ends) = (status.start_time.is_some(), status.ending.is_some());
    if status.completion_time.is_some() {
        return ending::finished(draft);
    }
    if experiment.metadata.deletion_timestamp.is_some() {
        return ending::deleting(draft, known);
    }
    match known {
        _ if ends => ending::end(draft, known),
        // The installation changed under a running experiment, for example its catalogue.
        Known::Refused(_, refusal) if started => {
            draft.begin_ending(refusal.reason().into(), &refusal.to_string())
        }
        Known::Refused(_, refusal) => draft.refuse(refusal.reason(), &refusal.to_string()),
        Known::Valid(valid) if started => running::run(draft, valid),
        Known::Valid(valid) => before::start(draft, valid),
    }
}

#[cfg(test)]
mod tests;
