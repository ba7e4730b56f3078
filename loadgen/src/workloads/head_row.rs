//! A0: the life of runs in one head table: INSERT, compare-and-swap UPDATEs, DELETE.
//!
//! Every worker owns its runs, so each statement must touch exactly one row; one that does not is a
//! violation. Which run moves next is drawn from the worker's open runs; a run whose transitions are
//! used up is completed and the next operation creates its successor, so the mix follows from the
//! number of transitions and the number of open runs stays.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::SystemTime;

use bakeoff_crds::result::CheckRecord;
use bakeoff_crds::rng::SplitMix64;
use bakeoff_crds::schedule::factor;
use bakeoff_crds::spec::{Arrivals, HeadRow};
use futures::pin_mut;
use tokio_postgres::Client;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{ToSql, Type};

use super::{Context, Gate, Meter, Part, WorkloadError};
use crate::arrivals::Plan;
use crate::clock;
use crate::drive::{Worker, drive};
use crate::pacer::Due;
use crate::pg::observe::{self, Observer};
use crate::pg::wire::{Value, Wire};
use crate::pg::{Connector, failure, series};
use crate::record::{Recorder, Sample};
use crate::s3::{Failure, FailureClass};

/// Any operation: what the load plans.
const OPERATION: &str = "operation";
const CREATE: &str = "create";
const TRANSITION: &str = "transition";
const COMPLETE: &str = "complete";

/// A statement that did not touch exactly the one row that its worker owns.
pub const ROWS_MISSED: &str = "rowsMissed";

const CREATE_SQL: &str = "INSERT INTO bakeoff.runs (run_id, seq, state, created_at, updated_at, payload) \
    VALUES ($1, 0, 0, now(), now(), $2)";
/// Only `seq` guards: that no other writer moved the run meanwhile. No index holds a column that changes.
const TRANSITION_SQL: &str = "UPDATE bakeoff.runs SET seq = seq + 1, state = $3, updated_at = now(), payload = $4 \
    WHERE run_id = $1 AND seq = $2";
const COMPLETE_SQL: &str = "DELETE FROM bakeoff.runs WHERE run_id = $1 AND seq = $2";

/// An open run of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    id: i64,
    seq: i32,
    /// Transitions until it is completed.
    left: i32,
}

/// Which runs there are at the start and who owns which: a pure function of the seed, so that every
/// generator knows its share without asking.
#[derive(Clone, Copy, Debug)]
struct Population {
    seed: u64,
    active: u64,
    sleeper_percent: u64,
    transitions: (i32, i32),
}

impl Population {
    fn draw(&self, id: u64) -> SplitMix64 {
        SplitMix64::new(self.seed ^ id.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    fn length(&self, rng: &mut SplitMix64) -> i32 {
        let (low, high) = self.transitions;
        let span = u64::try_from(high - low + 1).unwrap_or(1);
        low + i32::try_from(rng.below(span)).unwrap_or(0)
    }

    fn sleeps(&self, id: u64) -> bool {
        self.draw(id).below(100) < self.sleeper_percent
    }

    /// The run with this number as it is loaded: somewhere between its creation and its completion.
    fn run(&self, id: u64) -> Run {
        let mut rng = self.draw(id);
        let _ = rng.below(100);
        let length = self.length(&mut rng);
        let seq = i32::try_from(rng.below(u64::try_from(length + 1).unwrap_or(1))).unwrap_or(0);
        Run {
            id: i64::try_from(id).unwrap_or(i64::MAX),
            seq,
            left: length - seq,
        }
    }

    /// The runs that worker `slot` of `slots` moves.
    fn share(&self, slot: u64, slots: u64) -> Vec<Run> {
        (slot..self.active)
            .step_by(usize::try_from(slots).unwrap_or(1).max(1))
            .filter(|&id| !self.sleeps(id))
            .map(|id| self.run(id))
            .collect()
    }
}

/// What a worker does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Create(Run),
    Transition(usize),
    Complete(usize),
}

impl Step {
    fn kind(self) -> &'static str {
        match self {
            Self::Create(_) => CREATE,
            Self::Transition(_) => TRANSITION,
            Self::Complete(_) => COMPLETE,
        }
    }
}

/// The open runs of one worker and what comes next. (Pure.)
#[derive(Debug)]
struct Lives {
    population: Population,
    rng: SplitMix64,
    runs: Vec<Run>,
    /// How many runs are to be created before others move again.
    owed: usize,
    next_id: i64,
    stride: i64,
}

impl Lives {
    fn next(&mut self) -> Step {
        if self.owed > 0 || self.runs.is_empty() {
            let left = self.population.length(&mut self.rng);
            let id = self.next_id;
            self.next_id += self.stride;
            return Step::Create(Run { id, seq: 0, left });
        }
        let position = usize::try_from(self.rng.below(self.runs.len() as u64)).unwrap_or(0);
        if self.runs[position].left > 0 {
            Step::Transition(position)
        } else {
            Step::Complete(position)
        }
    }

    /// Takes note of a step. One whose outcome is not known, or that failed, takes its run out of the
    /// worker's hands: what became of it is uncertain for ever. A successor is owed, so that as many move.
    fn done(&mut self, step: Step, well: bool) {
        match step {
            Step::Create(run) => {
                self.owed = self.owed.saturating_sub(1);
                if well {
                    self.runs.push(run);
                } else {
                    self.owed += 1;
                }
            }
            Step::Transition(position) if well => {
                let run = &mut self.runs[position];
                run.seq += 1;
                run.left -= 1;
            }
            Step::Transition(position) | Step::Complete(position) => {
                self.runs.swap_remove(position);
                self.owed += 1;
            }
        }
    }
}

/// Missed rows of all workers, with examples.
#[derive(Debug, Default)]
struct Missed {
    checked: i64,
    violations: i64,
    examples: Vec<String>,
}

struct Mover {
    connector: Connector,
    open: Option<Wire>,
    lives: Lives,
    step: Option<Step>,
    payload: Vec<u8>,
    recorder: Rc<RefCell<Recorder>>,
    missed: Rc<RefCell<Missed>>,
}

impl Mover {
    /// Opens the connection unless it is open.
    async fn ready(&mut self) -> Result<(), Failure> {
        if self.open.as_mut().is_some_and(|open| !open.is_closed()) {
            return Ok(());
        }
        self.open = None;
        let mut open = self.connector.wire().await?;
        open.prepare(CREATE, CREATE_SQL, &[Type::INT8, Type::BYTEA])
            .await?;
        let types = [Type::INT8, Type::INT4, Type::INT2, Type::BYTEA];
        open.prepare(TRANSITION, TRANSITION_SQL, &types).await?;
        open.prepare(COMPLETE, COMPLETE_SQL, &[Type::INT8, Type::INT4])
            .await?;
        self.open = Some(open);
        Ok(())
    }

    async fn execute(&mut self, step: Step) -> Result<u64, Failure> {
        self.ready().await?;
        let Some(open) = &mut self.open else {
            return Err(Failure::new(FailureClass::Connect, "no connection"));
        };
        let run = match step {
            Step::Create(run) => run,
            Step::Transition(position) | Step::Complete(position) => self.lives.runs[position],
        };
        let state = i16::try_from(run.left.rem_euclid(8)).unwrap_or(0);
        let (id, seq) = (Value::Int8(run.id), Value::Int4(run.seq));
        let payload = Value::Bytes(&self.payload);
        let values: &[Value<'_>] = match step {
            Step::Create(_) => &[id, payload],
            Step::Transition(_) => &[id, seq, Value::Int2(state), payload],
            Step::Complete(_) => &[id, seq],
        };
        match tokio::time::timeout(self.connector.timeout(), open.execute(step.kind(), values))
            .await
        {
            Ok(result) => result,
            Err(_) => Err(Failure::new(FailureClass::Timeout, "timed out")),
        }
    }
}

impl Worker for Mover {
    fn prepare(&mut self) {
        if self.step.is_none() {
            self.step = Some(self.lives.next());
            // Fresh bytes, so that no page compresses better than another; the text of the state changes.
            let word = self.lives.rng.next_u64().to_le_bytes();
            for (byte, new) in self.payload.iter_mut().zip(word.iter().cycle()) {
                *byte = byte.wrapping_mul(31) ^ new;
            }
        }
    }

    async fn connect(&mut self) {
        let _ = self.ready().await;
    }

    async fn operate(&mut self, due: Due) -> bool {
        let planned = due.planned;
        let Some(step) = self.step.take() else {
            return true;
        };
        let sent = clock::now();
        let result = self.execute(step).await;
        let ended = clock::now();
        let kind = step.kind();
        let well = matches!(result, Ok(1));
        let mut recorder = self.recorder.borrow_mut();
        let reached = match result {
            Ok(rows) => {
                let mut missed = self.missed.borrow_mut();
                missed.checked += 1;
                if rows != 1 {
                    missed.violations += 1;
                    if missed.examples.len() < 10 {
                        missed
                            .examples
                            .push(format!("{kind} touched {rows} rows: {step:?}"));
                    }
                }
                let sample = Sample {
                    member: planned,
                    planned,
                    sent,
                    ended,
                    bytes: 0,
                    queued: due.queued,
                };
                recorder.success(OPERATION, sample);
                recorder.success(kind, sample);
                true
            }
            Err(failure) => {
                recorder.failure(OPERATION, planned, planned, ended, &failure);
                recorder.failure(kind, planned, planned, ended, &failure);
                if matches!(
                    failure.class,
                    FailureClass::Timeout | FailureClass::Transport | FailureClass::Malformed
                ) {
                    // A late answer would be taken for that of the next statement's caller.
                    self.open = None;
                }
                failure.class != FailureClass::Connect
            }
        };
        drop(recorder);
        self.lives.done(step, well);
        reached
    }
}

/// Makes the table anew and loads the population by binary COPY.
async fn load(
    client: &Client,
    population: &Population,
    fillfactor: u64,
    state_bytes: usize,
) -> Result<(), Failure> {
    let sql = format!(
        "CREATE SCHEMA IF NOT EXISTS bakeoff; CREATE EXTENSION IF NOT EXISTS pgstattuple; \
         DROP TABLE IF EXISTS bakeoff.runs; \
         CREATE TABLE bakeoff.runs (run_id bigint PRIMARY KEY, seq integer NOT NULL, state smallint NOT NULL, \
         created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL, payload bytea NOT NULL) \
         WITH (fillfactor = {fillfactor}); \
         ALTER TABLE bakeoff.runs ALTER COLUMN payload SET STORAGE PLAIN"
    );
    let fail = |error: tokio_postgres::Error| failure(&error);
    client.batch_execute(&sql).await.map_err(fail)?;
    let sink = client
        .copy_in(
            "COPY bakeoff.runs (run_id, seq, state, created_at, updated_at, payload) FROM STDIN (FORMAT binary)",
        )
        .await
        .map_err(fail)?;
    let types = [
        Type::INT8,
        Type::INT4,
        Type::INT2,
        Type::TIMESTAMPTZ,
        Type::TIMESTAMPTZ,
        Type::BYTEA,
    ];
    let writer = BinaryCopyInWriter::new(sink, &types);
    pin_mut!(writer);
    let now = SystemTime::now();
    let mut payload = vec![0_u8; state_bytes];
    let mut rng = SplitMix64::new(population.seed);
    for id in 0..population.active {
        let run = population.run(id);
        for chunk in payload.chunks_mut(8) {
            let word = rng.next_u64().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
        let state = i16::try_from(run.left.rem_euclid(8)).unwrap_or(0);
        let row: [&(dyn ToSql + Sync); 6] = [&run.id, &run.seq, &state, &now, &now, &payload];
        writer.as_mut().write(&row).await.map_err(fail)?;
    }
    writer.finish().await.map_err(fail)?;
    // Hint bits, visibility map and statistics as they are in a table that has lived, and nothing of the
    // load left for the checkpointer to write in the window.
    client
        .batch_execute("VACUUM (ANALYZE, FREEZE) bakeoff.runs")
        .await
        .map_err(fail)?;
    client.batch_execute("CHECKPOINT").await.map_err(fail)
}

/// The load of this generator, and the most workers that any generator has.
fn arrivals(context: &Context<'_>, spec: &HeadRow) -> Result<(Plan, usize), WorkloadError> {
    if let Some(load) = &spec.load {
        let plan = super::plan(context, load)?;
        let most = match plan {
            Plan::Closed { .. } => {
                let clients = usize::try_from(context.level(factor::CONCURRENCY)?);
                clients.unwrap_or(usize::MAX).div_ceil(context.generators)
            }
            Plan::Open { max_in_flight, .. } => max_in_flight,
        };
        return Ok((plan, most));
    }
    let rate = spec.rate(context.level(factor::RUNS_PER_MONTH)?) / context.generators as f64;
    let connections = usize::try_from(spec.connections).unwrap_or(1);
    let plan = Plan::Open {
        rate,
        arrivals: Arrivals::Poisson,
        max_in_flight: context.share(connections).max(1),
    };
    Ok((plan, connections.div_ceil(context.generators)))
}

/// Runs the trial.
///
/// # Errors
/// When the trial does not fit the spec, the table cannot be loaded, or recording or pacing fails.
pub async fn run(
    context: &Context<'_>,
    spec: &HeadRow,
    gate: &dyn Gate,
) -> Result<Part, WorkloadError> {
    let (plan, most) = arrivals(context, spec)?;
    let connector = context.access.postgres()?;
    let fillfactor = context.level(factor::FILLFACTOR)?;
    let population = Population {
        seed: context.seed(),
        active: context.level(factor::ACTIVE_RUNS)?,
        sleeper_percent: u64::try_from(spec.sleeper_percent).unwrap_or(0),
        transitions: (spec.min_transitions, spec.max_transitions),
    };
    let state_bytes = usize::try_from(spec.state_bytes).unwrap_or(0);
    let leads = context.generator == 0;
    let observer = if leads {
        let client = connector.connect().await?;
        load(&client, &population, fillfactor, state_bytes).await?;
        Some(Observer::new(client).await?)
    } else {
        None
    };

    let open_loop = matches!(plan, Plan::Open { .. });
    // The same number on every generator, so that no run has two owners.
    let slots = (most.max(1) * context.generators) as u64;
    let missed = Rc::new(RefCell::new(Missed::default()));
    let prepared: Vec<Lives> = (0..plan.workers() as u64)
        .map(|worker| {
            let slot = worker * context.generators as u64 + context.generator as u64;
            Lives {
                population,
                rng: SplitMix64::stream(
                    context.seed(),
                    &format!("{}/{worker}", context.label("lives")),
                ),
                runs: population.share(slot, slots),
                owed: 0,
                next_id: i64::try_from(population.active + slot).unwrap_or(i64::MAX),
                stride: i64::try_from(slots).unwrap_or(1),
            }
        })
        .collect();

    let start = gate.open().await?;
    let timing = context.timing(start);
    let wall = clock::wall() + timing.window_start.saturating_sub(clock::now());
    let recorder = Recorder::new(
        timing.window_start,
        timing.window_end,
        wall,
        open_loop,
        &[OPERATION, CREATE, TRANSITION, COMPLETE],
        context.live.clone(),
    )?;
    let recorder = Rc::new(RefCell::new(recorder));
    let workers = prepared
        .into_iter()
        .map(|lives| Mover {
            connector: connector.clone(),
            open: None,
            lives,
            step: None,
            payload: vec![7; state_bytes],
            recorder: Rc::clone(&recorder),
            missed: Rc::clone(&missed),
        })
        .collect();
    let start_skew = clock::now().saturating_sub(start);
    let label = context.label("arrivals");
    let watching = async {
        match &observer {
            Some(observer) => observer.watch(timing.window_start, timing.window_end).await,
            None => Vec::new(),
        }
    };
    let (counts, usage, samples) = tokio::join!(
        drive(
            plan,
            timing,
            context.seed(),
            &label,
            workers,
            &recorder,
            OPERATION
        ),
        Meter::over(timing.window_start, timing.window_end),
        watching
    );
    let figures = match &observer {
        Some(observer) => {
            let after = observer.inspect().await?;
            observe::figures(&samples, &after, fillfactor, population.active)
        }
        None => Default::default(),
    };
    let offered_per_second = match plan {
        Plan::Open { rate, .. } => rate,
        Plan::Closed { .. } => 0.0,
    };
    let missed = std::mem::take(&mut *missed.borrow_mut());
    Ok(Part {
        counts: counts?,
        offered_per_second,
        recorded: super::finished(recorder)?,
        checks: vec![CheckRecord {
            name: ROWS_MISSED.to_owned(),
            checked: missed.checked,
            violations: missed.violations,
            uncertain: 0,
            examples: missed.examples,
        }],
        window: (timing.window_start, timing.window_end),
        planned_kind: OPERATION,
        open_loop,
        start_skew,
        usage,
        figures,
        state: series::series(&samples),
        samples,
        ..Part::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const POPULATION: Population = Population {
        seed: 7,
        active: 10_000,
        sleeper_percent: 10,
        transitions: (5, 20),
    };

    #[test]
    fn shares_are_disjoint_and_leave_out_the_sleepers() {
        let shares: Vec<Vec<Run>> = (0..5).map(|slot| POPULATION.share(slot, 5)).collect();
        let ids: BTreeSet<i64> = shares.iter().flatten().map(|run| run.id).collect();
        assert_eq!(ids.len(), shares.iter().map(Vec::len).sum::<usize>());
        assert!((8_800..9_200).contains(&ids.len()), "{}", ids.len());
        let all = shares.iter().flatten();
        assert!(
            all.clone()
                .all(|run| run.left >= 0 && (5..=20).contains(&(run.seq + run.left)))
        );
        assert!(all.clone().any(|run| run.seq > 0));
    }

    #[test]
    fn the_mix_holds_the_number_of_runs_and_follows_the_transitions() {
        let mut lives = Lives {
            population: POPULATION,
            rng: SplitMix64::new(1),
            runs: POPULATION.share(0, 16),
            owed: 0,
            next_id: 10_000,
            stride: 16,
        };
        let open = lives.runs.len();
        let mut counts = [0_u32; 3];
        let mut created = BTreeSet::new();
        for _ in 0..200_000 {
            let step = lives.next();
            match step {
                Step::Create(run) => {
                    assert!(created.insert(run.id));
                    counts[0] += 1;
                }
                Step::Transition(_) => counts[1] += 1,
                Step::Complete(_) => counts[2] += 1,
            }
            lives.done(step, true);
            assert!(lives.runs.len() + 1 >= open && lives.runs.len() <= open);
        }
        assert!(counts[0].abs_diff(counts[2]) <= 1, "{counts:?}");
        // Runs of 5 to 20 transitions: 12.5 for each creation.
        let each = f64::from(counts[1]) / f64::from(counts[0]);
        assert!((each - 12.5).abs() < 0.6, "{each}");
    }

    #[test]
    fn a_step_that_failed_takes_its_run_out_and_owes_another() {
        let mut lives = Lives {
            population: POPULATION,
            rng: SplitMix64::new(1),
            runs: vec![Run {
                id: 1,
                seq: 0,
                left: 3,
            }],
            owed: 0,
            next_id: 2,
            stride: 1,
        };
        let step = lives.next();
        assert_eq!(step, Step::Transition(0));
        lives.done(step, false);
        let Step::Create(run) = lives.next() else {
            panic!("a successor is owed")
        };
        assert_eq!(run.id, 2);
        lives.done(Step::Create(run), false);
        assert!(matches!(lives.next(), Step::Create(run) if run.id == 3));
    }
}
