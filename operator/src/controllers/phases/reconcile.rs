//! One pass over one plan, from what is stored to what is done. (I/O.)

use super::plan::{Observed, plan};
use super::{Context, Watched};
use crate::error::Error;
use crate::stored::Stored;
use bakeoff_crds::ExperimentPlan;
use bakeoff_crds::experiment_plan::Step;
use bakeoff_crds::identity::Identity;
use jiff::Timestamp;
use kube::runtime::controller::Action;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Sees to one plan.
///
/// # Errors
/// Something could not be read or written; it is tried again.
pub async fn reconcile(stored: Arc<Watched>, ctx: Arc<Context>) -> Result<Action, Error> {
    let owner = match &*stored {
        Stored::Read(owner) => owner,
        Stored::Unreadable(object) => {
            let writer = &ctx.maker.writer;
            return Ok(ctx.troubles.unreadable(&stored, object, writer).await);
        }
    };
    let id = Identity::of(&owner.metadata).ok_or(Error::Incomplete)?;
    let observed = observe(owner, &id, &ctx).await?;
    let plan = plan(owner, &id, &observed, ctx.maker.settings());
    ctx.carry_out(owner, &id, plan).await
}

/// Everything that a decision about this plan needs. Templates are tried until the plan has begun.
async fn observe(owner: &ExperimentPlan, id: &Identity, ctx: &Context) -> Result<Observed, Error> {
    let maker = &ctx.maker;
    let runs = maker.runs::<ExperimentPlan>(id);
    let steps = |phase: &bakeoff_crds::experiment_plan::Phase| phase.experiments.clone();
    let named = owner
        .spec
        .phases
        .iter()
        .flat_map(steps)
        .filter_map(|step: Step| step.r#ref);
    let named = named.filter_map(|named| maker.named(&id.namespace, &named.name));
    let named = named
        .map(|run| (run.name.clone(), run))
        .collect::<BTreeMap<_, _>>();
    let mut refused = Vec::new();
    let status = owner.status.as_ref();
    let begun = status.is_some_and(|status| status.start_time.is_some());
    if !begun && owner.metadata.deletion_timestamp.is_none() {
        for phase in &owner.spec.phases {
            for step in &phase.experiments {
                let Some(template) = &step.template else {
                    continue;
                };
                if let Some(why) = maker.refused::<ExperimentPlan>(id, template).await? {
                    refused.push(format!("{}/{}: {why}", phase.name, step.name));
                }
            }
        }
    }
    Ok(Observed {
        now: Timestamp::now(),
        answers: maker.answers(id, &runs),
        errands: maker.errands::<ExperimentPlan>(id),
        runs,
        named,
        refused,
    })
}

/// Waits longer after each failure in a row; a lost race is tried again at once.
pub fn on_error(stored: Arc<Watched>, error: &Error, ctx: Arc<Context>) -> Action {
    ctx.troubles.after(&*stored, error, &ctx.metrics)
}
