//! Experiments that another resource has made: what it sees of them, and what it does to them. (Pure, but for `context` and `maker`.)

pub mod build;
mod context;
mod maker;

pub use context::Context;
pub use maker::{Maker, REFUSED_SECONDS};

pub use crate::act::Answer;
use crate::action::Action;
use crate::stored::Stored;
use bakeoff_crds::conditions::{self, OBJECTIVES_MET, SUCCEEDED, reasons};
use bakeoff_crds::experiment_schedule::Trigger;
use bakeoff_crds::history::RegressionStatus;
use bakeoff_crds::status::DecisionStatus;
use bakeoff_crds::{EndReason, Experiment, names};
use jiff::Timestamp;
use kube::ResourceExt;
use std::collections::BTreeMap;

/// What its owner sees of an experiment.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// What began it.
    pub trigger: Trigger,
    /// When it was due.
    pub scheduled_for: Timestamp,
    /// The template that it was made from, as a hash.
    pub template: Option<String>,
    /// Where it stands, in the word of its condition `Succeeded`.
    pub state: String,
    /// Whether it has left the queue.
    pub begun: bool,
    /// Whether it was told to end.
    pub cancelled: bool,
    /// How it ended, once it is torn down.
    pub end: Option<RunEnd>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct RunEnd {
    /// Why.
    pub reason: EndReason,
    /// In words.
    pub message: String,
    /// When.
    pub at: Timestamp,
    /// What its rule concludes.
    pub decision: Option<DecisionStatus>,
    /// Whether its objectives were met; none where it has none.
    pub objectives_met: Option<bool>,
    /// What it says of the history that it belongs to.
    pub regression: Option<RegressionStatus>,
    /// Its report.
    pub report: Option<String>,
}

impl Run {
    /// What is seen of an experiment as it is stored.
    #[must_use]
    pub fn of(stored: &Stored<Experiment>) -> Self {
        let annotation = |key: &str| stored.annotations().get(key);
        let made = stored.creation_timestamp().map(|time| time.0);
        let due = annotation(names::ANNOTATION_SCHEDULED_FOR).and_then(|at| at.parse().ok());
        let trigger = annotation(names::ANNOTATION_TRIGGER)
            .and_then(|word| Trigger::from_word(word))
            .unwrap_or(Trigger::Manual);
        let experiment = match stored {
            Stored::Read(experiment) => Some(experiment),
            Stored::Unreadable(_) => None,
        };
        let status = experiment.and_then(|experiment| experiment.status.as_ref());
        let condition = status.and_then(|status| conditions::get(&status.conditions, SUCCEEDED));
        let state = match (experiment, condition) {
            (None, _) => reasons::UNREADABLE,
            (Some(_), None) => reasons::PENDING,
            (Some(_), Some(condition)) => &condition.reason,
        };
        Self {
            name: stored.name_any(),
            uid: stored.uid().unwrap_or_default(),
            trigger,
            scheduled_for: due.or(made).unwrap_or_default(),
            template: annotation(names::ANNOTATION_TEMPLATE).cloned(),
            state: state.to_owned(),
            // A suspension takes the start away, and not that it had begun.
            begun: status
                .is_some_and(|status| status.start_time.is_some() || status.progress.is_some()),
            cancelled: experiment.is_some_and(|experiment| experiment.spec.cancel),
            end: experiment.and_then(|experiment| end(experiment)),
        }
    }
}

fn end(experiment: &Experiment) -> Option<RunEnd> {
    let status = experiment.status.as_ref()?;
    let at = status.completion_time?;
    let condition = conditions::get(&status.conditions, SUCCEEDED)?;
    let objectives = conditions::get(&status.conditions, OBJECTIVES_MET);
    let objectives = objectives.filter(|_| !status.objectives.is_empty());
    let results = status.results.as_ref();
    Some(RunEnd {
        reason: EndReason::from(condition.reason.as_str()),
        message: condition.message.clone(),
        at,
        decision: status.decision.clone(),
        regression: status.regression.clone(),
        objectives_met: objectives.map(|condition| condition.status == "True"),
        report: results.map(|results| format!("{}/{}", results.url, results.report)),
    })
}

/// What is done to the runs of an owner.
#[derive(Clone, Debug)]
pub enum RunAction {
    /// Make it, unless it is there.
    Create(Box<Experiment>),
    /// Tell the one of this name and uid to end.
    Cancel {
        /// Its name.
        name: String,
        /// Its uid.
        uid: String,
    },
    /// Remove the one of this name and uid; its results stay.
    Delete {
        /// Its name.
        name: String,
        /// Its uid.
        uid: String,
    },
    /// Something about the errands of the owner.
    Errand(Action),
}

/// What is known of the runs that are not seen yet, by name.
pub type Answers = BTreeMap<String, Answer>;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A suspension takes the start away: what was measured until then has begun all the same, and has not missed its time.
    #[test]
    fn what_was_suspended_in_the_middle_has_begun() {
        let begun = |status: serde_json::Value| {
            let experiment = serde_json::from_value(json!({
                "apiVersion": "bakeoff.dev/v1alpha1", "kind": "Experiment", "metadata": {"name": "nightly-1", "uid": "1"},
                "spec": {"backends": [], "workloads": []}, "status": status,
            }));
            Run::of(&Stored::Read(Box::new(experiment.unwrap()))).begun
        };
        let progress = json!({"display": "3/9", "trials": {"planned": 9, "done": 3}});
        assert!(!begun(json!({})));
        assert!(begun(
            json!({"startTime": "2026-03-01T00:00:00Z", "progress": progress})
        ));
        assert!(begun(json!({"progress": progress})));
    }
}
