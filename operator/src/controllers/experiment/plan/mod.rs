//! From what is observed to what is to be done. (Pure, total, no clock: the instant is an input.)
//!
//! Decisions come from the spec, the live children and a few facts that must outlive the children and
//! are therefore written to the status before anything depends on them: the start, the ending and how
//! far the ending is. Everything else in the status is output.

mod action;
mod before;
mod draft;
mod ending;
mod preparing;
mod running;

pub use action::{Action, Child, Credentials, Note, Plan, pass};
use draft::Draft;

use crate::controllers::experiment::facts::Observed;
use crate::settings::Settings;
use bakeoff_crds::Experiment;
use bakeoff_rules::validate;

/// What is to be done about this experiment now.
#[must_use]
pub fn plan(experiment: &Experiment, settings: &Settings, observed: &Observed) -> Plan {
    let draft = Draft::new(experiment, settings, observed);
    if draft.status.completion_time.is_some() {
        return ending::finished(draft);
    }
    let deleting = experiment.metadata.deletion_timestamp.is_some();
    match validate::spec(experiment, settings.offer()) {
        Ok(valid) if deleting => ending::deleting(draft, Some(&valid)),
        Err(_) if deleting => ending::deleting(draft, validate::salvage(experiment).as_ref()),
        Ok(valid) if draft.status.ending.is_some() => ending::end(draft, Some(&valid)),
        Err(_) if draft.status.ending.is_some() => {
            ending::end(draft, validate::salvage(experiment).as_ref())
        }
        Err(refusal) if draft.status.start_time.is_some() => {
            // The installation changed under a running experiment, for example its catalogue.
            draft.begin_ending(refusal.reason().into(), &refusal.to_string())
        }
        Err(refusal) => draft.refuse(refusal.reason(), &refusal.to_string()),
        Ok(valid) if draft.status.start_time.is_none() => before::start(draft, &valid),
        Ok(valid) => running::run(draft, &valid),
    }
}

#[cfg(test)]
mod tests;
