//! The workloads: each prepares, waits for the common start, runs warm-up and window, drains and
//! answers its part. One file a kind, joined by an exhaustive match.

pub mod batching;
pub mod body;
pub mod cas_race;
pub mod cold_read;
pub mod consistency;
mod context;
mod error;
mod fault;
mod gate;
pub mod head_row;
mod memory;
mod mover;
mod part;
pub mod replay;
pub mod retention;
mod rows;
pub mod server_loss;
pub mod small_object_put;
pub mod soak;
pub mod sustain;
mod trial;

use std::future::Future;
use std::pin::Pin;

use bakeoff_crds::schedule::Trial;
use bakeoff_crds::spec::{ExperimentSpec, Ground, WorkloadSpec};

pub use self::context::Context;
pub use self::error::WorkloadError;
pub use self::fault::{FaultDesk, FaultSeen};
pub use self::gate::{Alone, Gate, Opening};
pub use self::part::{Conclusion, Part, RawFile, Share};
use crate::drivers::driver::Needs;
use crate::instrument::clock_offset::ClockOffset;

/// What a workload is about.
type Working<'a, T> = Pin<Box<dyn Future<Output = Result<T, WorkloadError>> + 'a>>;

/// All that the rest of the generator asks of a workload; each has it in a file of its own.
trait Workload {
    /// Runs this generator's part of a trial.
    fn run<'a>(&'a self, context: &'a Context<'_>, gate: &'a dyn Gate) -> Working<'a, Part>;

    /// Checks what all generators did in a trial, where they have a history in common.
    fn conclude<'a>(
        &'a self,
        _context: &'a Context<'_>,
        _shares: Vec<Share>,
    ) -> Working<'a, Conclusion> {
        Box::pin(async { Ok(Conclusion::default()) })
    }

    /// Whether it works on tables of a Postgres server that are looked at closely, vacuumed and observed.
    fn looks_at_tables(&self) -> bool {
        false
    }

    /// Whether it can run against the null server of its ground. Not where it reads back what it wrote or acts on the
    /// server's own state, which a server that keeps nothing cannot answer.
    fn runs_on_null(&self) -> bool {
        false
    }
}

/// The one place that knows every workload.
fn of(spec: WorkloadSpec<'_>) -> &dyn Workload {
    match spec {
        WorkloadSpec::SmallObjectPut(spec) => spec,
        WorkloadSpec::ColdRead(spec) => spec,
        WorkloadSpec::Consistency(spec) => spec,
        WorkloadSpec::Batching(spec) => spec,
        WorkloadSpec::HeadRow(spec) => spec,
        WorkloadSpec::CasRace(spec) => spec,
        WorkloadSpec::Retention(spec) => spec,
        WorkloadSpec::Soak(spec) => spec,
        WorkloadSpec::Replay(spec) => spec,
        WorkloadSpec::Sustain(spec) => spec,
        WorkloadSpec::ServerLoss(spec) => spec,
    }
}

/// The workload of a trial.
fn named<'a>(spec: &'a ExperimentSpec, trial: &Trial) -> Result<&'a dyn Workload, WorkloadError> {
    let mut workloads = spec.workloads.iter();
    workloads
        .find(|workload| workload.name == trial.workload)
        .and_then(|workload| workload.member())
        .map(of)
        .ok_or_else(|| WorkloadError::Spec(format!("no workload is called {}", trial.workload)))
}

/// Runs this generator's part of a trial. To be called on [`crate::instrument::runtime::local`].
///
/// # Errors
/// When the trial cannot be run at all; what the backend answers is data.
pub async fn run(context: &Context<'_>, gate: &dyn Gate) -> Result<Part, WorkloadError> {
    named(context.spec, context.trial)?.run(context, gate).await
}

/// What another generator contributes to a history that all have in common, from the file that it kept.
///
/// # Errors
/// When it is no such file.
pub fn share(history: &[u8], clock: ClockOffset) -> std::io::Result<Share> {
    let events = cas_race::journal::read(history)?;
    Ok(Share { events, clock })
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
    let workload = named(context.spec, context.trial)?;
    workload.conclude(context, shares).await
}

/// What the workloads of an experiment need of a Postgres server; they run one after the other.
#[must_use]
pub fn needs(spec: &ExperimentSpec, generators: usize) -> Needs {
    let members = spec.workloads.iter().filter_map(|one| one.member());
    let each = members.map(|member| Needs {
        connections: member.connections(generators),
        tables: of(member).looks_at_tables(),
    });
    each.fold(Needs::default(), Needs::either)
}

/// What the null server speaks that a trial can run against, if it can.
#[must_use]
pub fn null(spec: &ExperimentSpec, trial: &Trial) -> Option<Ground> {
    let runs = named(spec, trial).ok()?.runs_on_null();
    runs.then_some(trial.kind.traits().ground)
}

#[cfg(test)]
mod omission;
