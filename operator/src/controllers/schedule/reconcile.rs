//! One pass over one schedule, from what is stored to what is done. (I/O.)

use super::plan::{Observed, plan};
use super::{Context, Watched};
use crate::act::Written;
use crate::action::Note;
use crate::error::Error;
use crate::runs::{Answer, RunAction};
use crate::stored::Stored;
use bakeoff_crds::ExperimentSchedule;
use bakeoff_crds::conditions::reasons;
use bakeoff_crds::identity::Identity;
use jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::controller::Action;
use std::sync::Arc;

/// Sees to one schedule.
///
/// # Errors
/// Something could not be read or written; it is tried again.
pub async fn reconcile(stored: Arc<Watched>, ctx: Arc<Context>) -> Result<Action, Error> {
    let schedule = match &*stored {
        Stored::Read(schedule) => schedule,
        Stored::Unreadable(object) => {
            return Ok(ctx.troubles.unreadable(&stored, object, &ctx.writer).await);
        }
    };
    let id = Identity::of(&schedule.metadata).ok_or(Error::Incomplete)?;
    let runs = ctx.runs(&id);
    let refused = if schedule.metadata.deletion_timestamp.is_none() {
        ctx.refused(&id, &schedule.spec.template).await?
    } else {
        None
    };
    let observed = Observed {
        now: Timestamp::now(),
        answers: ctx.answers(&id, &runs),
        runs,
        refused,
    };
    let plan = plan(schedule, &id, &observed);
    let mut wait = plan.wait(Timestamp::now());
    // What is begun and removed follows from what the status says: nothing is done before it stands.
    let written = ctx
        .writer
        .write_status(&**schedule, &id, &plan.status, plan.is_urgent())
        .await?;
    if let Written::In(left) = written {
        wait = Some(wait.map_or(left, |wait| wait.min(left)));
    }
    ctx.writer.tell(&**schedule, &plan.events).await;
    for action in plan.actions {
        act(schedule, &id, action, &ctx).await?;
    }
    ctx.troubles.over(&id.uid);
    Ok(wait.map_or_else(Action::await_change, Action::requeue))
}

async fn act(
    schedule: &ExperimentSchedule,
    id: &Identity,
    action: RunAction,
    ctx: &Context,
) -> Result<(), Error> {
    let RunAction::Create(run) = action else {
        return ctx.writer.change_run(id, &action).await;
    };
    let name = run.name_any();
    let answer = ctx
        .writer
        .create_run::<ExperimentSchedule>(id, &run)
        .await?;
    let news = ctx.answered(&id.uid, name.clone(), answer.clone());
    if let (true, Answer::Refused(why)) = (news, answer) {
        let message = format!("{name} cannot be made and is tried again: {why}");
        let note = Note::new(true, reasons::RUN_REFUSED, &message);
        ctx.writer.tell(schedule, &[note]).await;
    }
    Ok(())
}

/// One that a wake named and that is not there any more.
pub fn gone(ctx: &Context) {
    ctx.forget_deleted();
}

/// Waits longer after each failure in a row; a lost race is tried again at once.
pub fn on_error(stored: Arc<Watched>, error: &Error, ctx: Arc<Context>) -> Action {
    ctx.troubles.after(&*stored, error, &ctx.metrics)
}
