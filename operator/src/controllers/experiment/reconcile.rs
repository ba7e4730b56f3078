//! One pass over one experiment, from what is stored to what is done. (I/O.)

use super::Watched;
use super::context::Context;
use super::dereference::dereference;
use super::plan::plan;
use crate::act::{Acted, Written};
use crate::action::Plan;
use crate::error::Error;
use crate::metrics::{Metrics, Reason};
use crate::stored::Stored;
use bakeoff_crds::conditions::{self, STALLED, SUCCEEDED, reasons};
use bakeoff_crds::identity::Identity;
use bakeoff_crds::{Experiment, ExperimentStatus};
use bakeoff_rules::validate::{self, Remains};
use kube::ResourceExt;
use kube::api::DynamicObject;
use kube::runtime::controller::Action;
use kube::runtime::reflector::{ObjectRef, Store};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What was refused is tried again after this time.
const REFUSED: Duration = Duration::from_secs(3);

/// Sees to one experiment.
///
/// # Errors
/// Something could not be read or written; it is tried again.
pub async fn reconcile(stored: Arc<Watched>, ctx: Arc<Context>) -> Result<Action, Error> {
    let begun = Instant::now();
    ctx.parents.wake(&stored);
    let experiment = match &*stored {
        Stored::Read(experiment) => experiment,
        Stored::Unreadable(object) => {
            return Ok(ctx.troubles.unreadable(&stored, object, &ctx.writer).await);
        }
    };
    let remains = Remains::of(experiment).ok_or(Error::Incomplete)?;
    let id = remains.id.clone();
    let observed = dereference(experiment, &remains, &ctx).await?;
    let known = validate::check(remains, ctx.settings.offer());
    let plan = plan(experiment, &known, &ctx.settings, &observed);
    let wait = act(experiment, &id, plan, &ctx).await?;
    if experiment.metadata.deletion_timestamp.is_some() && experiment.finalizers().is_empty() {
        ctx.forget(&id.uid);
    }
    ctx.troubles.over(&id.uid);
    ctx.metrics.reconciles.inc();
    ctx.metrics.duration.observe(begun.elapsed().as_secs_f64());
    Ok(wait.map_or_else(Action::await_change, Action::requeue))
}

/// Does what the plan asks for; returns when to look again at the latest.
async fn act(
    experiment: &Experiment,
    id: &Identity,
    plan: Plan<ExperimentStatus>,
    ctx: &Context,
) -> Result<Option<Duration>, Error> {
    let mut wait = plan.wait(jiff::Timestamp::now());
    if let Written::In(left) = write_status(experiment, id, &plan, ctx).await? {
        wait = Some(wait.map_or(left, |wait| wait.min(left)));
    }
    // What is told of the transition need not wait for what follows from it.
    let ((), acted) = tokio::join!(
        ctx.writer.tell(experiment, &plan.events),
        ctx.writer.act(experiment, id, plan.actions)
    );
    Ok(match acted? {
        Acted::All => wait,
        Acted::More => Some(Duration::ZERO),
        Acted::Refused => {
            let reason = "refused".to_owned();
            ctx.metrics.errors.get_or_create(&Reason { reason }).inc();
            Some(wait.map_or(REFUSED, |wait| wait.min(REFUSED)))
        }
    })
}

/// Writes the status; a start needs its seat in the pool, which an ending gives back.
async fn write_status(
    experiment: &Experiment,
    id: &Identity,
    plan: &Plan<ExperimentStatus>,
    ctx: &Context,
) -> Result<Written, Error> {
    let before = experiment.status.clone().unwrap_or_default();
    let after = &plan.status;
    let starts = after.start_time.is_some() && before.start_time.is_none();
    let seat = starts.then(|| ctx.seat(experiment, &id.uid)).transpose()?;
    let written = ctx
        .writer
        .write_status(experiment, id, after, plan.is_urgent())
        .await;
    // Where no answer came the start may stand all the same.
    if let Some(seat) = seat
        && !matches!(&written, Err(error) if error.is_refusal())
    {
        seat.keep();
    }
    let written = written?;
    // Also of one that is being deleted, whose status says no more and whose namespace may take no events.
    if written == Written::Now || experiment.metadata.deletion_timestamp.is_some() {
        let lost = [reasons::LEFT_BEHIND, reasons::CLEANUP_FAILED];
        for note in plan
            .events
            .iter()
            .filter(|note| lost.contains(&&*note.reason))
        {
            tracing::warn!(experiment = %id.name, namespace = %id.namespace, message = note.message, "left behind");
            ctx.metrics.left_behind.inc();
        }
    }
    if written == Written::Now {
        let ended = after.completion_time.is_some() && before.completion_time.is_none();
        let suspended = after.start_time.is_none() && before.start_time.is_some();
        if ended {
            ctx.metrics.ended(after);
        }
        // What is left after that is removed beside the next one.
        let measured = |status: &ExperimentStatus| {
            let ending = status.ending.as_ref();
            ending.is_some_and(|ending| ending.cleaned_up_time.is_some())
        };
        // A seat that was kept because nobody knew whether a start had been written: it had not.
        let stalled = conditions::holds(&after.conditions, STALLED);
        let refused =
            stalled && after.start_time.is_none() && ctx.seats.admitted().contains(&id.uid);
        if ended || suspended || refused || measured(after) && !measured(&before) {
            ctx.forget(&id.uid);
        }
    }
    Ok(written)
}

/// One that a wake named and that is not there any more: the last children of a deleted experiment woke it, and its pool
/// may be free now.
pub fn gone(ctx: &Context, one: &ObjectRef<DynamicObject>) {
    ctx.parents
        .wake_all(one.namespace.as_deref().unwrap_or_default());
    ctx.forget_deleted();
}

/// Waits longer after each failure in a row; a lost race is tried again at once.
pub fn on_error(stored: Arc<Watched>, error: &Error, ctx: Arc<Context>) -> Action {
    ctx.troubles.after(&*stored, error, &ctx.metrics)
}

/// Sets the metrics that are looked up: how many experiments stand where.
pub fn look_up(experiments: &Store<Watched>, metrics: &Metrics) {
    let experiments = experiments.state();
    metrics.standing(experiments.iter().map(|stored| {
        let status = stored.read()?.status.as_ref();
        let condition = status.and_then(|status| conditions::get(&status.conditions, SUCCEEDED));
        Some(condition.map_or(reasons::PENDING, |condition| condition.reason.as_str()))
    }));
}
