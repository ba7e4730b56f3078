//! The workloads: each prepares, waits for the common start, runs warm-up and window, drains and
//! answers its part. One file a kind, joined by an exhaustive match.

pub mod batching;
pub mod body;
pub mod cas_race;
pub mod cold_read;
pub mod consistency;
mod context;
mod error;
mod gate;
pub mod head_row;
mod memory;
mod part;
pub mod retention;
mod rows;
pub mod small_object_put;
pub mod soak;

use std::sync::Arc;

use bakeoff_crds::spec::WorkloadSpec;

pub use self::context::Context;
pub use self::error::WorkloadError;
pub use self::gate::{Alone, Gate, Opening};
pub use self::part::{Conclusion, Part, Share};
use crate::instrument::record::Recorded;

fn member<'a>(context: &Context<'a>) -> Result<WorkloadSpec<'a>, WorkloadError> {
    let mut workloads = context.spec.workloads.iter();
    workloads
        .find(|workload| workload.name == context.trial.workload)
        .and_then(|workload| workload.member())
        .ok_or_else(|| {
            WorkloadError::Spec(format!("no workload is called {}", context.trial.workload))
        })
}

/// Runs this generator's part of a trial. To be called on [`crate::instrument::runtime::local`].
///
/// # Errors
/// When the trial cannot be run at all; what the backend answers is data.
pub async fn run(context: &Context<'_>, gate: &dyn Gate) -> Result<Part, WorkloadError> {
    match member(context)? {
        WorkloadSpec::SmallObjectPut(spec) => small_object_put::run(context, spec, gate).await,
        WorkloadSpec::ColdRead(spec) => cold_read::run(context, spec, gate).await,
        WorkloadSpec::Consistency(spec) => consistency::run(context, spec, gate).await,
        WorkloadSpec::Batching(spec) => batching::run(context, spec, gate).await,
        WorkloadSpec::HeadRow(spec) => head_row::run(context, spec, gate).await,
        WorkloadSpec::CasRace(spec) => cas_race::run(context, spec, gate).await,
        WorkloadSpec::Retention(spec) => retention::run(context, spec, gate).await,
        WorkloadSpec::Soak(spec) => soak::run(context, spec, gate).await,
    }
}

/// Checks what all generators did in a trial, in the order of their indices; for generator 0, once the workers of
/// all of them have come to rest. Nothing where the workload has no history in common.
///
/// # Errors
/// When the trial does not fit the spec or the history cannot be compressed.
pub async fn conclude(
    context: &Context<'_>,
    shares: Vec<Share>,
) -> Result<Conclusion, WorkloadError> {
    match member(context)? {
        WorkloadSpec::CasRace(spec) => cas_race::conclude(context, spec, shares).await,
        _ => Ok(Conclusion::default()),
    }
}

/// Takes the recorder back from the workers. Aborted tasks drop theirs only at their next turn,
/// so a share may be left: then what it holds is taken in its place.
fn finished(
    recorder: std::rc::Rc<std::cell::RefCell<crate::instrument::record::Recorder>>,
) -> Result<Recorded, WorkloadError> {
    let recorder = match std::rc::Rc::try_unwrap(recorder) {
        Ok(cell) => cell.into_inner(),
        Err(shared) => {
            let spare =
                crate::instrument::record::Recorder::new(0, 0, 0, false, &[], Arc::default())?;
            shared.replace(spare)
        }
    };
    Ok(recorder.finish()?)
}

#[cfg(test)]
mod omission;
