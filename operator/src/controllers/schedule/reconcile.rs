//! One pass over one schedule, from what is stored to what is done. (I/O.)

use super::plan::{Observed, plan};
use super::{Context, Watched, build};
use crate::error::Error;
use crate::stored::Stored;
use bakeoff_crds::ExperimentSchedule;
use bakeoff_crds::identity::Identity;
use jiff::Timestamp;
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
            let writer = &ctx.maker.writer;
            return Ok(ctx.troubles.unreadable(&stored, object, writer).await);
        }
    };
    let id = Identity::of(&schedule.metadata).ok_or(Error::Incomplete)?;
    let maker = &ctx.maker;
    let runs = maker.runs::<ExperimentSchedule>(&id);
    let refused = if schedule.metadata.deletion_timestamp.is_none() {
        let template = build::tried(&id, &schedule.spec);
        maker.refused::<ExperimentSchedule>(&id, &template).await?
    } else {
        None
    };
    let observed = Observed {
        now: Timestamp::now(),
        answers: maker.answers(&id, &runs),
        errands: maker.errands::<ExperimentSchedule>(&id),
        runs,
        refused,
    };
    let plan = plan(schedule, &id, &observed, maker.settings());
    ctx.carry_out(schedule, &id, plan).await
}

/// Waits longer after each failure in a row; a lost race is tried again at once.
pub fn on_error(stored: Arc<Watched>, error: &Error, ctx: Arc<Context>) -> Action {
    ctx.troubles.after(&*stored, error, &ctx.metrics)
}
