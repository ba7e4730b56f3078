//! Before the start: checked, suspended or queued. (Pure.)

use super::Draft;
use super::draft::Cleared;
use crate::action::{Action, Plan};
use bakeoff_crds::conditions::reasons;
use bakeoff_crds::status::{ProgressStatus, TrialCounts};
use bakeoff_crds::{EndReason, ExperimentStatus};
use bakeoff_rules::queue::Pool;
use bakeoff_rules::validate::{self, Validated};

/// Secrets and classes are not watched, so a missing one is looked for again.
const SECRET_RETRY_SECONDS: i64 = 15;

/// How long a queued experiment sleeps at most.
const QUEUE_SECONDS: i64 = 15;

pub fn start(mut draft: Draft<'_>, valid: &Validated) -> Plan<ExperimentStatus> {
    let spec = &valid.remains.spec;
    if spec.cancel {
        // One that was suspended has begun, and what it measured is reported.
        let message = match draft.status.progress {
            None => "cancelled before it started",
            Some(_) => "cancelled while nothing of it ran",
        };
        return draft.begin_ending(EndReason::Cancelled, message);
    }
    if spec.suspend {
        match draft.clear() {
            Cleared::Yes => draft.waits(
                reasons::SUSPENDED,
                "suspended; set spec.suspend to false to go on",
            ),
            Cleared::Left(left) => {
                let message = format!("removing {left}");
                draft.stage(reasons::SUSPENDING, &message);
                draft.wake_after(5);
            }
        }
        return draft.done();
    }
    // Children of before a suspension: they would be taken for those of now.
    if let Cleared::Left(left) = draft.clear() {
        draft.wake_after(5);
        let held = draft.held();
        if !held.is_empty() {
            let message = format!("cannot start before these are gone: {}", held.join(", "));
            return draft.refuse(reasons::LEFT_BEHIND, &message);
        }
        let message = format!("waits until what was there before is removed: {left}");
        draft.stage(reasons::PENDING, &message);
        return draft.done();
    }
    if let Err(refusal) = validate::surroundings(valid, draft.observed.surroundings()) {
        draft.wake_after(SECRET_RETRY_SECONDS);
        return draft.refuse(refusal.reason(), &refusal.to_string());
    }
    if let Pool::Taken { by, ahead } = &draft.observed.pool {
        let message = format!(
            "waits for {by}: two measured experiments on one node pool would falsify each other; {ahead} ahead in the queue"
        );
        draft.waits(reasons::QUEUED, &message);
        // It is woken when the pool is given up; this is for wakings that a restart has lost.
        draft.wake_after(QUEUE_SECONDS);
        return draft.done();
    }
    if valid.remains.has_external() && !draft.has_finalizer() {
        draft.stage(reasons::PENDING, "about to start");
        draft.act(Action::Finalizer(true));
        return draft.done();
    }
    draft.status.start_time = Some(draft.now());
    if draft.status.progress.is_none() {
        draft.status.progress = Some(ProgressStatus {
            display: format!("0/{}", valid.trials),
            trials: TrialCounts {
                planned: valid.trials,
                ..Default::default()
            },
            ..Default::default()
        });
    }
    draft.stage(
        reasons::STARTED,
        &format!(
            "{} trials on {} backends",
            valid.trials,
            valid.backends.len()
        ),
    );
    draft.remember()
}
