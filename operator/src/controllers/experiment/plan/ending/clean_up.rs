//! Removes what was written to systems that stay. (Pure.)

use super::{after, plan_after_the_run};
use crate::controllers::experiment::build::{jobs, run_plan};
use crate::controllers::experiment::plan::Draft;
use crate::controllers::experiment::plan::job::JobStep;
use crate::controllers::experiment::plan::preparing::{first_trouble, provide_for_jobs};
use crate::parts::objects::Role;
use bakeoff_crds::conditions::reasons;
use bakeoff_crds::names;
use bakeoff_crds::spec::External;
use bakeoff_crds::status::ProgressStatus;
use bakeoff_rules::validate::{Known, Remains};
use kube::ResourceExt;

/// What is said where it was not seen to: whoever reads it has to look there.
pub(super) fn may_be_left(of: &Remains) -> String {
    let prefix = run_plan::external_prefix(of);
    let externals = of.externals();
    let places: Vec<String> = externals
        .iter()
        .map(|(name, external)| match external {
            External::S3(s3) => format!(
                "objects under s3://{}/{prefix}/ at {}",
                s3.bucket, s3.endpoint
            ),
            External::Postgres(_) => format!("the schema bakeoff in the database of {name}"),
        })
        .collect();
    format!("{} may be left", places.join(", "))
}

/// How far it is.
pub(super) enum CleanUp {
    /// It works.
    Waiting,
    /// Nothing is left.
    Done,
    /// Something may be left, and why.
    GaveUp(String),
}

/// Removes test objects from external buckets and schemas from external databases.
pub(super) fn clean_up(draft: &mut Draft<'_>, known: &Known) -> CleanUp {
    if !draft.remains.has_external() || draft.status.progress.is_none() {
        return CleanUp::Done;
    }
    let annotations = draft.experiment.annotations();
    if annotations
        .get(names::ANNOTATION_SKIP_CLEANUP)
        .is_some_and(|value| value == "true")
    {
        return CleanUp::GaveUp(format!(
            "objects in external buckets and schemas in external databases were left, as {} asks",
            names::ANNOTATION_SKIP_CLEANUP
        ));
    }
    let name = jobs::cleanup_name(draft.remains);
    let seconds = draft.remains.spec.limits.cleanup_seconds;
    match draft.job(&name, Some(seconds)) {
        JobStep::Absent => {
            let Some(plan) = plan_after_the_run(draft, known, 0) else {
                return without_a_plan(draft);
            };
            let map = run_plan::config_map(draft.remains, &name, Role::Cleanup, &plan, None);
            provide_for_jobs(draft);
            draft.ensure(map);
            draft.ensure(jobs::cleanup(draft.remains, draft.settings));
            // A Job that cannot be made has no age of its own.
            let ending = draft.status.ending.as_ref();
            let began = ending.and_then(|ending| ending.reported_time);
            let deadline = after(draft, began, seconds);
            if let Some(refusal) = draft.refusal_after(deadline) {
                return CleanUp::GaveUp(format!("{}: {refusal}", may_be_left(draft.remains)));
            }
        }
        JobStep::Active | JobStep::Unheard => {}
        JobStep::Overdue => {
            let cause = first_trouble(draft).map(|trouble| format!("; {}", trouble.message));
            let cause = cause.unwrap_or_default();
            let why = format!(
                "{}: limits.cleanupSeconds have passed{cause}",
                may_be_left(draft.remains)
            );
            return CleanUp::GaveUp(why);
        }
        JobStep::Succeeded => return CleanUp::Done,
        JobStep::Failed(cause) => {
            return CleanUp::GaveUp(format!("{}: {cause}", may_be_left(draft.remains)));
        }
    }
    draft.stage(
        reasons::CLEANING_UP,
        "removes test objects from external buckets and schemas from external databases",
    );
    CleanUp::Waiting
}

/// Of an experiment that is refused and whose generators were never given a plan, nothing was written.
fn without_a_plan(draft: &Draft<'_>) -> CleanUp {
    let progress = draft.status.progress.as_ref();
    let wrote = progress.is_some_and(ProgressStatus::may_have_measured);
    if wrote {
        let why = "the spec is refused, and the plan of the run is gone";
        return CleanUp::GaveUp(format!("{}: {why}", may_be_left(draft.remains)));
    }
    CleanUp::Done
}
