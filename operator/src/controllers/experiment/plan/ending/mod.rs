//! From the ending to a cluster as clean as it was found. (Pure.)
//!
//! Every ending takes the same steps: stop the generators, report what was measured, remove objects from
//! external buckets, remove the children. Each step is remembered before the next begins.

mod clean_up;
mod report;

use super::Draft;
use super::draft::{Cleared, MOST_MESSAGE};
use crate::action::{Action, Plan};
use crate::children::Kind;
use crate::controllers::experiment::build::{jobs, run_plan};
use crate::controllers::experiment::plan::preparing::{environment, provide_for_jobs};
use crate::parts::pods::{JobState, job_state};
use bakeoff_crds::conditions::{self, reasons};
use bakeoff_crds::run::RunPlan;
use bakeoff_crds::status::EndingStatus;
use bakeoff_crds::{EndReason, ExperimentStatus};
use bakeoff_rules::validate::Known;
use clean_up::{CleanUp, clean_up};
use jiff::{SignedDuration, Timestamp};

/// Takes the next step of the ending.
pub fn end(mut draft: Draft<'_>, known: &Known) -> Plan<ExperimentStatus> {
    let Some(ending) = draft.status.ending.clone() else {
        return draft.done();
    };
    // A generator on a node that is lost never says that it has stopped, and measures no more.
    let stop_by = after(
        &draft,
        ending.start_time,
        draft.remains.spec.limits.stop_seconds,
    );
    if stop_generators(&mut draft) && draft.now() < stop_by {
        draft.wake_at(stop_by);
        draft.stage(
            reasons::STOPPING,
            "stops the generators; they finish what they are writing",
        );
        return draft.done();
    }
    if ending.reported_time.is_none() {
        return report::report(draft, known, ending);
    }
    if ending.cleaned_up_time.is_none() {
        return match clean_up(&mut draft, known) {
            CleanUp::Waiting => draft.done(),
            CleanUp::Done => step_done(draft, |ending, now| ending.cleaned_up_time = Some(now)),
            CleanUp::GaveUp(why) => {
                draft.note(true, reasons::CLEANUP_FAILED, &why);
                step_done(draft, |ending, now| {
                    ending.cleaned_up_time = Some(now);
                    ending.message = format!("{}; {why}", ending.message);
                })
            }
        };
    }
    tear_down(draft, &ending)
}

/// So many seconds after a step began; if nobody wrote down when that was, it has just begun.
fn after(draft: &Draft<'_>, began: Option<Timestamp>, seconds: i32) -> Timestamp {
    began.unwrap_or(draft.now()) + SignedDuration::from_secs(i64::from(seconds))
}

fn step_done(
    mut draft: Draft<'_>,
    change: impl FnOnce(&mut EndingStatus, Timestamp),
) -> Plan<ExperimentStatus> {
    let now = draft.now();
    if let Some(ending) = &mut draft.status.ending {
        change(ending, now);
        ending.message = conditions::shorten(&ending.message, MOST_MESSAGE);
    }
    draft.remember()
}

/// Deletes generator Jobs that still work; whether any pod of them is left.
pub fn stop_generators(draft: &mut Draft<'_>) -> bool {
    let mut stopping = false;
    for attempt in 0..=draft.remains.spec.generators.backoff_limit {
        let name = jobs::run_name(draft.remains, attempt);
        stopping |= draft.is_coming(Kind::Job, &name);
        if let Some(job) = draft.observed.children.job(&name)
            && job_state(Some(job)) == JobState::Active
        {
            stopping = true;
            if job.metadata.deletion_timestamp.is_none() {
                draft.act(Action::Delete(Kind::Job, name.clone()));
            }
        }
        stopping |= draft.observed.children.pods_of_job(&name).any(|pod| {
            let phase = pod
                .status
                .as_ref()
                .and_then(|status| status.phase.as_deref());
            !matches!(phase, Some("Succeeded" | "Failed"))
        });
    }
    stopping
}

/// The plan by which a Job after the run works: made anew, or the one that the generators had where the experiment could
/// not be planned any more.
fn plan_after_the_run(draft: &Draft<'_>, known: &Known, attempt: i32) -> Option<RunPlan> {
    match known {
        Known::Valid(valid) => {
            let environment = environment(draft);
            let (settings, observed) = (draft.settings, draft.observed);
            Some(run_plan::run_plan(
                valid,
                settings,
                observed,
                environment,
                attempt,
            ))
        }
        Known::Refused(remains, _) => {
            let written = run_plan::written(remains, &draft.observed.children)?;
            Some(RunPlan { attempt, ..written })
        }
    }
}

fn tear_down(mut draft: Draft<'_>, ending: &EndingStatus) -> Plan<ExperimentStatus> {
    let limit = draft.remains.spec.limits.tear_down_seconds;
    let clear_by = after(&draft, ending.cleaned_up_time, limit);
    let mut kept = None;
    if let Cleared::Left(left) = draft.clear() {
        if draft.now() < clear_by {
            let message = format!("removing {left}");
            draft.stage(reasons::TEARING_DOWN, &message);
            draft.wake_after(5);
            return draft.done();
        }
        let held = draft.held();
        let what = if held.is_empty() {
            left
        } else {
            held.join(", ")
        };
        let refused = draft
            .refusal()
            .map_or_else(String::new, |why| format!(" ({why})"));
        kept = Some(format!(
            "left behind after {limit} s (limits.tearDownSeconds): {what}{refused}"
        ));
        // What is refused must not keep the rest from being done.
        draft.withdraw();
    }
    if draft.has_finalizer() {
        draft.act(Action::Finalizer(false));
        draft.stage(reasons::TEARING_DOWN, "removing the finalizer");
        return draft.done();
    }
    draft.status.completion_time = Some(draft.now());
    let succeeded = ending.reason.succeeded();
    let mut message = ending.message.clone();
    if let (true, Some(decision)) = (succeeded, &draft.status.decision) {
        message = format!(
            "{message}; {} is {}",
            decision.rule,
            decision.outcome.as_str()
        );
    }
    // The verdict stands: what is left is a matter of the cluster, and goes on being removed.
    if let Some(kept) = kept {
        draft.note(true, reasons::LEFT_BEHIND, &kept);
        message = format!("{message}; {kept}");
    }
    draft.ended(&ending.reason, &message);
    draft.remember()
}

/// After the end: nothing but the time to live, and what a crash may have left.
pub fn finished(mut draft: Draft<'_>) -> Plan<ExperimentStatus> {
    if let Cleared::Left(_) = draft.clear() {
        draft.wake_after(60);
    }
    if draft.has_finalizer() {
        draft.act(Action::Finalizer(false));
    }
    let ttl = draft.experiment.spec.ttl_seconds_after_finished;
    if let (Some(ttl), Some(completed)) = (ttl, draft.status.completion_time) {
        let due = completed + SignedDuration::from_secs(ttl);
        if draft.now() < due {
            draft.wake_at(due);
        } else if draft.experiment.metadata.deletion_timestamp.is_none() {
            draft.act(Action::DeleteOwner);
        }
    }
    draft.done()
}

/// The experiment is being deleted: owner references take the children, this takes what is outside.
pub fn deleting(mut draft: Draft<'_>, known: &Known) -> Plan<ExperimentStatus> {
    if !draft.has_finalizer() {
        return draft.done();
    }
    let metadata = &draft.experiment.metadata;
    let deleted = metadata.deletion_timestamp.as_ref();
    let deleted = deleted.map_or(draft.now(), |time| time.0);
    let patience = i64::from(draft.remains.spec.limits.cleanup_seconds);
    let overdue = draft.now() >= deleted + SignedDuration::from_secs(patience);
    let ending = draft.status.ending.as_ref();
    let already = ending.is_some_and(|ending| ending.cleaned_up_time.is_some());
    if already {
        // A look that comes late shows this as well, so that nothing is made once more.
        draft.remove_disowned(overdue);
        draft.act(Action::Finalizer(false));
        return draft.done();
    }
    let step = if overdue {
        CleanUp::GaveUp(format!(
            "{}: limits.cleanupSeconds have passed since the deletion",
            clean_up::may_be_left(draft.remains)
        ))
    } else if stop_generators(&mut draft) {
        CleanUp::Waiting
    } else {
        clean_up(&mut draft, known)
    };
    let message = match step {
        CleanUp::Waiting => {
            // What it had may have been taken away with the deletion.
            provide_for_jobs(&mut draft);
            draft.disown();
            draft.wake_after(5);
            return draft.done();
        }
        CleanUp::Done => "deleted".to_owned(),
        CleanUp::GaveUp(why) => {
            draft.note(true, reasons::CLEANUP_FAILED, &why);
            why
        }
    };
    let now = draft.now();
    let ending = draft.status.ending.get_or_insert_with(|| EndingStatus {
        reason: EndReason::Cancelled,
        message: conditions::shorten(&message, MOST_MESSAGE),
        start_time: Some(now),
        reported_time: Some(now),
        cleaned_up_time: None,
    });
    ending.cleaned_up_time = Some(now);
    draft.remember()
}
