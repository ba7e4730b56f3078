//! A2: writers race for the same runs; each reads a run, takes its lock where the mode has one, and moves the
//! run on, ends it at its last step or begins it anew. Connections are killed, locks deleted and
//! writers paused meanwhile; the whole history is kept and checked.
//!
//! Kinds of operations: `operation`, a whole turn, with its lock and its pause; `read`, `transition`,
//! `create` and `complete`, single statements, whether won or lost. A turn that finds the run locked ends there.
//!
//! With several generators each has runs, writers and tables of its own. The instants of two generators
//! cannot be compared, and to the server a connection is a connection, whichever machine it comes from: so
//! nothing is lost by it, and each history can be checked in full by the one clock that it was written by.

mod faults;
mod journal;
mod lease;
mod writer;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use bakeoff_crds::rng::SplitMix64;
use bakeoff_crds::schedule::factor;
use bakeoff_crds::spec::{CasRace, GuardMode};
use tokio_postgres::Client;

use self::faults::Faults;
use self::journal::{Journal, compressed};
use self::lease::Place;
use self::writer::{Racer, Rules};
use super::{Context, Gate, Meter, Part, WorkloadError};
use crate::arrivals::Plan;
use crate::checker::cas_history::{self, Span};
use crate::clock::{self, SECOND};
use crate::drive::drive;
use crate::pg::{Connector, failure};
use crate::record::Recorder;
use crate::s3::{Failure, FailureClass};

const OPERATION: &str = "operation";
const READ: &str = "read";
const TRANSITION: &str = "transition";
const CREATE: &str = "create";
const COMPLETE: &str = "complete";

/// How long the server is waited for at the end, to read the runs back.
const READ_BACK: u64 = 60 * SECOND;
/// How long the last connections may take to go.
const TO_REST: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_millis(50);
/// Any number, the same for all generators: two that make the schema at once would collide.
const SCHEMA_LOCK: i64 = 0x6261_6b65;

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

/// Waits for an answer, but not for ever.
async fn patiently<T>(
    patience: Duration,
    answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(patience, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(failure(&error)),
        Err(_) => Err(Failure::new(FailureClass::Timeout, "timed out")),
    }
}

async fn tables(client: &Client, rules: &Rules) -> Result<(), Failure> {
    let rows = &rules.rows;
    let sql = format!(
        "BEGIN; SELECT pg_advisory_xact_lock({SCHEMA_LOCK}); CREATE SCHEMA IF NOT EXISTS bakeoff; COMMIT; \
         DROP TABLE IF EXISTS {rows}; \
         CREATE TABLE {rows} (run_id bigint PRIMARY KEY, incarnation bigint NOT NULL, seq bigint NOT NULL, \
         value bigint NOT NULL) WITH (fillfactor = 50)"
    );
    client
        .batch_execute(&sql)
        .await
        .map_err(|error| failure(&error))?;
    rules.leases.prepare(client).await
}

/// Ends what the writers left behind on the server, and waits until it is gone: a statement that was given
/// up here may be under way there.
async fn to_rest(client: &Client, tally: &Tally) -> Result<(), Failure> {
    let processes: Vec<i32> = tally.processes.borrow().iter().copied().collect();
    let end = tokio::time::Instant::now() + TO_REST;
    loop {
        let left = client
            .query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                 WHERE pid = ANY($1) AND pid <> pg_backend_pid() AND application_name = 'bakeoff'",
                &[&processes],
            )
            .await
            .map_err(|error| failure(&error))?;
        if left.is_empty() || tokio::time::Instant::now() >= end {
            return Ok(());
        }
        tokio::time::sleep(TICK).await;
    }
}

async fn try_read_back(
    connector: &Connector,
    rules: &Rules,
    tally: &Tally,
    journal: &RefCell<Journal>,
) -> Result<(), Failure> {
    let client = connector.connect().await?;
    to_rest(&client, tally).await?;
    let patience = connector.timeout();
    let read = patiently(patience, client.prepare(&writer::read_sql(&rules.rows))).await?;
    let reader = journal.borrow_mut().writer();
    for &run in &rules.runs {
        let number = i64::try_from(run).unwrap_or(i64::MAX);
        let invoke = clock::now();
        let answer = patiently(patience, client.query_opt(&read, &[&number])).await?;
        let span = Span {
            invoke,
            complete: clock::now(),
        };
        let row = writer::row(answer)?;
        journal.borrow_mut().read(reader, run, row, span, true);
    }
    Ok(())
}

/// Reads every run once all writers have come to rest. A server that is away is waited for; one that
/// stays away leaves the runs unread, and what was acknowledged unchecked.
async fn read_back(
    connector: &Connector,
    rules: &Rules,
    tally: &Tally,
    journal: &RefCell<Journal>,
) {
    let patience = clock::now() + READ_BACK;
    while let Err(failure) = try_read_back(connector, rules, tally, journal).await {
        if clock::now() >= patience {
            tracing::warn!(%failure, "the runs could not be read back");
            return;
        }
        tokio::time::sleep(TICK).await;
    }
}

/// Where the leases of this attempt are kept.
fn leases(context: &Context<'_>, spec: &CasRace) -> Result<Place, WorkloadError> {
    if spec.redis_lock().is_none() {
        return Ok(Place::Table(format!(
            "bakeoff.race_lock_{}",
            context.generator
        )));
    }
    let server = context.lock.cloned().ok_or_else(|| {
        WorkloadError::Spec(
            "casRace.lock.redis needs a Redis server: without a cluster name one with --lock redis://host:port"
                .into(),
        )
    })?;
    let prefix = format!(
        "bakeoff:{}:{}:{}:",
        context.trial.id, context.attempt, context.generator
    );
    Ok(Place::Redis { server, prefix })
}

fn rules(context: &Context<'_>, spec: &CasRace) -> Result<Rules, WorkloadError> {
    let mode = context.trial.cell.get(factor::MODE);
    let mode = GuardMode::ALL
        .into_iter()
        .find(|known| mode.is_some_and(|mode| mode == known.as_str()))
        .ok_or_else(|| WorkloadError::Spec(format!("trial {} names no mode", context.trial.id)))?;
    let positive = |number: i32| u64::try_from(number).unwrap_or(0);
    let runs: Vec<u64> = (context.generator as u64..positive(spec.runs))
        .step_by(context.generators.max(1))
        .collect();
    if runs.is_empty() {
        return Err(WorkloadError::Spec(
            "there are more generators than runs".into(),
        ));
    }
    Ok(Rules {
        mode,
        last: positive(spec.transitions_per_run),
        runs,
        pause: Duration::from_millis(positive(spec.faults.pause_writer_milliseconds)),
        lease_milliseconds: spec.lease_milliseconds,
        rows: format!("bakeoff.race_{}", context.generator),
        leases: leases(context, spec)?,
    })
}

/// Runs the trial.
///
/// # Errors
/// When the trial does not fit the spec, the tables cannot be made, or recording fails.
pub async fn run(
    context: &Context<'_>,
    spec: &CasRace,
    gate: &dyn Gate,
) -> Result<Part, WorkloadError> {
    let rules = Rc::new(rules(context, spec)?);
    let connector = context.access.postgres()?;
    let writers = context.share(usize::try_from(spec.writers).unwrap_or(1));
    tables(&connector.connect().await?, &rules).await?;

    let start = gate.open().await?;
    let timing = context.timing(start);
    let wall = clock::wall() + timing.window_start.saturating_sub(clock::now());
    let recorder = Recorder::new(
        timing.window_start,
        timing.window_end,
        wall,
        false,
        &[OPERATION, TRANSITION, CREATE, COMPLETE, READ],
        context.live.clone(),
    )?;
    let recorder = Rc::new(RefCell::new(recorder));
    let journal = Rc::new(RefCell::new(Journal::default()));
    let tally = Rc::new(Tally::default());
    let rng = |who: &str| SplitMix64::stream(context.seed(), &context.label(who));
    let processes: Vec<Rc<Cell<i32>>> = (0..writers).map(|_| Rc::default()).collect();
    let workers = processes
        .iter()
        .enumerate()
        .map(|(slot, process)| {
            Racer::new(
                connector.clone(),
                Rc::clone(&rules),
                rng(&format!("racer{slot}")),
                Rc::clone(&journal),
                Rc::clone(&recorder),
                Rc::clone(&tally),
                Rc::clone(process),
                start,
            )
        })
        .collect();
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
        processes,
        tally: Rc::clone(&tally),
    };
    let start_skew = clock::now().saturating_sub(start);
    let label = context.label("arrivals");
    let (counts, usage, ()) = tokio::join!(
        drive(
            Plan::Closed { clients: writers },
            timing,
            context.seed(),
            &label,
            workers,
            &recorder,
            OPERATION
        ),
        Meter::over(timing.window_start, timing.window_end),
        faults.inflict(start, timing.window_end)
    );
    let counts = counts?;
    read_back(connector, &rules, &tally, &journal).await;
    let events = std::mem::take(&mut *journal.borrow_mut()).close(clock::now());
    let report = cas_history::check(&events);
    let mut recorded = super::finished(recorder)?;
    for (name, count) in [
        ("contendedSteps", report.contended_steps),
        ("locksExpired", tally.expired.get()),
        ("steps", report.steps),
        ("lostRaces", report.lost_races),
        ("unknownOutcomes", report.unknown_outcomes),
        ("connectionsKilled", tally.killed.get()),
        ("locksDeleted", tally.deleted.get()),
        ("writersPaused", tally.paused.get()),
    ] {
        recorded
            .counters
            .insert(name.to_owned(), i64::try_from(count).unwrap_or(i64::MAX));
    }
    Ok(Part {
        counts,
        recorded,
        checks: report.checks,
        history: compressed(&events)?,
        window: (timing.window_start, timing.window_end),
        planned_kind: OPERATION,
        start_skew,
        usage,
        ..Part::default()
    })
}
