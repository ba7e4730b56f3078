//! A2: writers race for the same runs; each reads a run, takes its lock where the mode has one, and moves the
//! run on, ends it at its last step or begins it anew. Connections are killed, locks deleted and
//! writers paused meanwhile; the whole history is kept and checked.
//!
//! Kinds of operations: `operation`, a whole turn, with its lock and its pause; `read`, `transition`,
//! `create` and `complete`, single statements, whether won or lost. A turn that finds the run locked ends there.
//!
//! With several generators the writers of all of them race for the same runs, in tables that generator 0 makes.
//! Each keeps its own history; generator 0 checks them as one once every writer has come to rest (`whole`).

mod faults;
pub(crate) mod journal;
mod lease;
mod whole;
mod writer;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use bakeoff_crds::figure::Counter;
use bakeoff_crds::rng::SplitMix64;
use bakeoff_crds::schedule::factor;
use bakeoff_crds::spec::{CasRace, GuardMode};

use self::faults::Faults;
use self::journal::{Journal, compressed};
use self::lease::Place;
use self::writer::{Racer, Rules};
use super::rows::make_way;
use super::trial::{Load, Ready, measure};
use super::{Conclusion, Context, Gate, Part, RawFile, Share, Working, Workload, WorkloadError};
use crate::drivers::postgres::{Patient, patiently};
use crate::failure::Failure;
use crate::instrument::arrivals::Pace;
use crate::instrument::clock;
use crate::instrument::record::Operation;
use crate::store::layout;

const OPERATION: Operation = Operation::Operation;
const READ: Operation = Operation::Read;
const TRANSITION: Operation = Operation::Transition;
const CREATE: Operation = Operation::Create;
const COMPLETE: Operation = Operation::Complete;

/// What was done to the writers, and by them.
#[derive(Debug, Default)]
struct Tally {
    paused: Cell<u64>,
    /// Locks that were gone when their holder let them go.
    expired: Cell<u64>,
    killed: Cell<u64>,
    deleted: Cell<u64>,
    /// Every process of the server that a writer was ever connected to.
    processes: RefCell<BTreeSet<i32>>,
}

async fn tables(client: Patient<'_>, rules: &Rules) -> Result<(), Failure> {
    let rows = &rules.rows;
    let sql = format!(
        "CREATE SCHEMA IF NOT EXISTS bakeoff; \
         DO $$ DECLARE old text; BEGIN FOR old IN SELECT tablename FROM pg_tables \
         WHERE schemaname = 'bakeoff' AND tablename LIKE 'race\\_%' \
         LOOP EXECUTE format('DROP TABLE bakeoff.%I', old); END LOOP; END $$; \
         CREATE TABLE {rows} (run_id bigint PRIMARY KEY, incarnation bigint NOT NULL, seq bigint NOT NULL, \
         value bigint NOT NULL) WITH (fillfactor = 50)"
    );
    make_way(client).await?;
    client.at_length().batch_execute(&sql).await?;
    rules.leases.prepare(client).await
}

/// A name for the tables of this attempt. A writer of another one that is still about, on another machine, must
/// not find them.
fn tag(context: &Context<'_>) -> String {
    let own = format!("{}/{}", context.trial.id, context.attempt);
    format!(
        "{:016x}",
        SplitMix64::stream(context.seed(), &own).next_u64()
    )
}

/// The table of the rows of this attempt.
fn rows(context: &Context<'_>) -> String {
    format!("bakeoff.race_{}", tag(context))
}

/// Where the leases of this attempt are kept.
fn leases(context: &Context<'_>, spec: &CasRace) -> Result<Place, WorkloadError> {
    if spec.redis_lock().is_none() {
        return Ok(Place::Table(format!("bakeoff.race_lock_{}", tag(context))));
    }
    let server = context.lock.cloned().ok_or_else(|| {
        WorkloadError::Spec(
            "casRace.lock.redis needs a Redis server: without a cluster name one with --lock redis://host:port"
                .into(),
        )
    })?;
    let prefix = format!("bakeoff:{}:{}:", context.trial.id, context.attempt);
    Ok(Place::Redis { server, prefix })
}

/// The runs that are raced for, by all generators.
fn runs(spec: &CasRace) -> std::ops::Range<u64> {
    0..positive(spec.runs)
}

fn positive(number: i32) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn rules(context: &Context<'_>, spec: &CasRace) -> Result<Rules, WorkloadError> {
    let mode = context.trial.cell.get(factor::MODE);
    let mode = GuardMode::ALL
        .into_iter()
        .find(|known| mode.is_some_and(|mode| mode == known.as_str()))
        .ok_or_else(|| WorkloadError::Spec(format!("trial {} names no mode", context.trial.id)))?;
    Ok(Rules {
        mode,
        last: positive(spec.transitions_per_run),
        runs: runs(spec).collect(),
        pause: Duration::from_millis(positive(spec.faults.pause_writer_milliseconds)),
        lease_milliseconds: spec.lease_milliseconds,
        rows: rows(context),
        leases: leases(context, spec)?,
    })
}

impl Workload for CasRace {
    fn run<'a>(&'a self, context: &'a Context<'_>, gate: &'a dyn Gate) -> Working<'a, Part> {
        Box::pin(run(context, self, gate))
    }

    fn conclude<'a>(
        &'a self,
        context: &'a Context<'_>,
        shares: Vec<Share>,
    ) -> Working<'a, Conclusion> {
        Box::pin(whole::conclude(context, self, shares))
    }
}

/// Runs the trial.
///
/// # Errors
/// When the trial does not fit the spec, the tables cannot be made, or recording fails.
async fn run(
    context: &Context<'_>,
    spec: &CasRace,
    gate: &dyn Gate,
) -> Result<Part, WorkloadError> {
    let rules = Rc::new(rules(context, spec)?);
    let connector = context.access.postgres()?;
    let writers = context.share(usize::try_from(spec.writers).unwrap_or(1));
    // The load begins for all of them only once this one is prepared.
    if context.generator == 0 {
        let client = connector.connect().await?;
        tables(Patient::of(&client), &rules).await?;
    }

    let index = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let journal = Journal::new(index(context.generator), index(context.generators));
    let journal = Rc::new(RefCell::new(journal));
    let tally = Rc::new(Tally::default());
    let rng = |who: &str| SplitMix64::stream(context.seed(), &context.label(who));
    let processes: Vec<Rc<Cell<i32>>> = (0..writers).map(|_| Rc::default()).collect();
    let share = |per_minute: i32| f64::from(per_minute) / context.generators as f64;
    let faults = Faults {
        connector: connector.clone(),
        rng: rng("faults"),
        kills: share(spec.faults.kill_connections_per_minute),
        deletions: if matches!(rules.mode, GuardMode::Guarded | GuardMode::LockOnly) {
            share(spec.faults.delete_locks_per_minute)
        } else {
            0.0
        },
        leases: rules.leases.clone(),
        runs: rules.runs.clone(),
        processes: processes.clone(),
        tally: Rc::clone(&tally),
    };
    let load = Load {
        pace: Pace::Closed { clients: writers },
        kinds: &[OPERATION, TRANSITION, CREATE, COMPLETE, READ],
    };
    let prepare = |ready: &Ready| {
        let start = ready.timing.start;
        let racer = |(slot, process): (usize, &Rc<Cell<i32>>)| {
            Racer::new(
                connector.clone(),
                Rc::clone(&rules),
                rng(&format!("racer{slot}")),
                Rc::clone(&journal),
                Rc::clone(&ready.recorder),
                Rc::clone(&tally),
                Rc::clone(process),
                start,
            )
        };
        let workers = processes.iter().enumerate().map(racer).collect();
        (workers, faults.inflict(start, ready.timing.window_end))
    };
    let (mut part, ()) = measure(context, gate, load, prepare).await?;
    whole::come_to_rest(connector, &tally).await;
    let events = journal.replace(Journal::new(0, 1)).close(clock::now());
    for (counter, count) in [
        (Counter::LocksExpired, tally.expired.get()),
        (Counter::ConnectionsKilled, tally.killed.get()),
        (Counter::LocksDeleted, tally.deleted.get()),
        (Counter::WritersPaused, tally.paused.get()),
    ] {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        part.recorded.counters.insert(counter, count);
    }
    // Generator 0 has its own at hand, and what it checks is kept by it.
    if context.generator != 0 {
        part.artefacts.push(RawFile {
            name: layout::HISTORY,
            of_each: true,
            bytes: compressed(&events)?,
        });
    }
    part.shared_history = Some(events);
    Ok(part)
}
