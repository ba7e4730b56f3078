//! What the runs of a plan look like. (Pure.)

use crate::runs::build;
use bakeoff_crds::experiment_plan::{Phase, Step};
use bakeoff_crds::identity::Identity;
use bakeoff_crds::{Experiment, ExperimentPlan, names};
use kube::ResourceExt;

/// The name of an attempt at an experiment: the same whoever works it out, and whenever.
#[must_use]
pub fn name(plan: &str, phase: &str, step: &str, attempt: i32) -> String {
    if attempt > 1 {
        format!("{plan}-{phase}-{step}-{attempt}")
    } else {
        format!("{plan}-{phase}-{step}")
    }
}

/// An attempt at an experiment; none where it is somebody else's.
#[must_use]
pub fn run(id: &Identity, phase: &Phase, step: &Step, attempt: i32) -> Option<Experiment> {
    let template = step.template.as_ref()?;
    let name = name(&id.name, &phase.name, &step.name, attempt);
    let mut run = build::run::<ExperimentPlan>(id, template, &name);
    let labels = run.labels_mut();
    labels.insert(names::LABEL_PLAN.to_owned(), id.name.clone());
    labels.insert(names::LABEL_PHASE.to_owned(), phase.name.clone());
    Some(run)
}
