//! The clients that insert and move runs while retention goes on.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bakeoff_crds::spec::RetentionMethod;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Statement};

use super::lives::{Lives, Step};
use super::table::instant;
use crate::drivers::postgres::{Connector, failure};
use crate::failure::{Failure, FailureClass};
use crate::instrument::clock;
use crate::instrument::drive::Worker;
use crate::instrument::pacer::Due;
use crate::instrument::record::{Recorder, Sample};
use crate::workloads::rows::{self, Missed};

/// Any operation: what the load plans.
pub(super) const OPERATION: &str = "operation";
pub(super) const INSERT: &str = "insert";
pub(super) const TRANSITION: &str = "transition";
/// Inserts by when they were due: before retention began, while it went on, and later.
pub(super) const PHASES: [&str; 3] = ["insertBefore", "insertDuring", "insertAfter"];

const INSERT_SQL: &str = "INSERT INTO bakeoff.runs (run_id, seq, state, created_at, updated_at, payload) \
    VALUES ($1, 0, 0, $2, now(), $3)";

/// Only `seq` guards. Where the table is partitioned the address of a run is `created_at` and `run_id`:
/// without the first every partition would be asked.
fn transition_sql(method: RetentionMethod) -> &'static str {
    match method {
        RetentionMethod::DropPartition => {
            "UPDATE bakeoff.runs SET seq = seq + 1, state = $4, updated_at = now(), payload = $5 \
             WHERE created_at = $1 AND run_id = $2 AND seq = $3"
        }
        RetentionMethod::BulkDelete => {
            "UPDATE bakeoff.runs SET seq = seq + 1, state = $3, updated_at = now(), payload = $4 \
             WHERE run_id = $1 AND seq = $2"
        }
    }
}

/// When retention goes on, on the monotonic clock. The end is not known while it does.
#[derive(Debug)]
pub(super) struct Phases {
    pub start: u64,
    /// The end of the action, or 0.
    pub end: Cell<u64>,
    /// How long the middle phase is at least.
    pub least: u64,
}

impl Phases {
    /// The phase of an insert that was due at this instant and has ended by now. By the plan, so that a
    /// stall does not choose its own members.
    pub fn of(&self, planned: u64) -> &'static str {
        let [before, during, after] = PHASES;
        let end = self.end.get();
        if planned < self.start {
            before
        } else if end == 0 || planned < end.max(self.start + self.least) {
            during
        } else {
            after
        }
    }
}

struct Statements {
    client: Client,
    insert: Statement,
    transition: Statement,
}

pub(super) struct Mover {
    pub connector: Connector,
    pub method: RetentionMethod,
    pub lives: Lives,
    pub payload: Vec<u8>,
    pub phases: Rc<Phases>,
    pub recorder: Rc<RefCell<Recorder>>,
    pub missed: Rc<RefCell<Missed>>,
    open: Option<Statements>,
    step: Option<Step>,
}

impl Mover {
    pub fn new(
        connector: Connector,
        method: RetentionMethod,
        lives: Lives,
        state_bytes: usize,
        phases: Rc<Phases>,
        recorder: Rc<RefCell<Recorder>>,
        missed: Rc<RefCell<Missed>>,
    ) -> Self {
        Self {
            connector,
            method,
            lives,
            payload: vec![7; state_bytes],
            phases,
            recorder,
            missed,
            open: None,
            step: None,
        }
    }

    /// Opens the connection unless it is open.
    async fn ready(&mut self) -> Result<(), Failure> {
        if self
            .open
            .as_ref()
            .is_some_and(|open| !open.client.is_closed())
        {
            return Ok(());
        }
        self.open = None;
        let client = self.connector.connect().await?;
        let prepare = async |sql: &str, types: &[Type]| {
            client
                .prepare_typed(sql, types)
                .await
                .map_err(|error| failure(&error))
        };
        let insert = prepare(INSERT_SQL, &[Type::INT8, Type::TIMESTAMPTZ, Type::BYTEA]).await?;
        let mut types = vec![Type::INT8, Type::INT4, Type::INT2, Type::BYTEA];
        if self.method == RetentionMethod::DropPartition {
            types.insert(0, Type::TIMESTAMPTZ);
        }
        let transition = prepare(transition_sql(self.method), &types).await?;
        self.open = Some(Statements {
            client,
            insert,
            transition,
        });
        Ok(())
    }

    async fn execute(&mut self, step: Step) -> Result<u64, Failure> {
        let Some(open) = &self.open else {
            return Err(Failure::new(FailureClass::Connect, "no connection"));
        };
        let run = match step {
            Step::Insert(run) => run,
            Step::Transition(position) => self.lives.runs[position],
        };
        let created = instant(run.created);
        let next = super::lives::Run {
            left: run.left - 1,
            ..run
        };
        let state = next.state();
        let (statement, parameters): (_, &[&(dyn ToSql + Sync)]) = match (step, self.method) {
            (Step::Insert(_), _) => (&open.insert, &[&run.id, &created, &self.payload]),
            (Step::Transition(_), RetentionMethod::DropPartition) => (
                &open.transition,
                &[&created, &run.id, &run.seq, &state, &self.payload],
            ),
            (Step::Transition(_), RetentionMethod::BulkDelete) => (
                &open.transition,
                &[&run.id, &run.seq, &state, &self.payload],
            ),
        };
        match tokio::time::timeout(
            self.connector.timeout(),
            open.client.execute(statement, parameters),
        )
        .await
        {
            Ok(Ok(rows)) => Ok(rows),
            Ok(Err(error)) => Err(failure(&error)),
            Err(_) => Err(Failure::new(FailureClass::Timeout, "timed out")),
        }
    }
}

impl Worker for Mover {
    fn prepare(&mut self) {
        if self.step.is_none() {
            self.step = Some(self.lives.next());
            rows::freshen(&mut self.payload, &mut self.lives.rng);
        }
    }

    async fn connect(&mut self) {
        let _ = self.ready().await;
    }

    async fn operate(&mut self, due: Due) -> bool {
        let planned = due.planned;
        let Some(mut step) = self.step.take() else {
            return true;
        };
        if let Step::Insert(run) = &mut step {
            run.created = i64::try_from(clock::wall() / 1_000).unwrap_or(i64::MAX);
        }
        let sent = clock::now();
        let open = self.ready().await;
        // What was never sent had no effect: the run stays in this worker's hands.
        let went_out = open.is_ok();
        let result = match open {
            Ok(()) => self.execute(step).await,
            Err(failure) => Err(failure),
        };
        let ended = clock::now();
        let kinds: &[&'static str] = match step {
            Step::Insert(_) => &[OPERATION, INSERT, self.phases.of(planned)],
            Step::Transition(_) => &[OPERATION, TRANSITION],
        };
        let well = matches!(result, Ok(1));
        let mut recorder = self.recorder.borrow_mut();
        let reached = match result {
            Ok(rows) => {
                self.missed.borrow_mut().note(kinds[1], rows, &step);
                for kind in kinds {
                    recorder.success(
                        kind,
                        Sample {
                            member: planned,
                            planned,
                            sent,
                            ended,
                            bytes: 0,
                            queued: due.queued,
                        },
                    );
                }
                true
            }
            Err(failure) => {
                for kind in kinds {
                    recorder.failure(kind, planned, planned, ended, &failure);
                }
                if matches!(
                    failure.class,
                    FailureClass::Timeout | FailureClass::Transport
                ) {
                    // A late answer would be taken for that of the next statement's caller.
                    self.open = None;
                }
                failure.class != FailureClass::Connect
            }
        };
        drop(recorder);
        if went_out {
            self.lives.done(step, well);
        } else {
            self.step = Some(step);
        }
        reached
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_insert_belongs_to_the_phase_in_which_it_was_due() {
        let phases = Phases {
            start: 100,
            end: Cell::new(0),
            least: 50,
        };
        assert_eq!(phases.of(99), "insertBefore");
        assert_eq!(phases.of(100), "insertDuring");
        assert_eq!(phases.of(900), "insertDuring", "the end is not known yet");
        phases.end.set(110);
        assert_eq!(
            (phases.of(149), phases.of(150)),
            ("insertDuring", "insertAfter")
        );
        phases.end.set(300);
        assert_eq!(
            (phases.of(299), phases.of(300)),
            ("insertDuring", "insertAfter")
        );
    }
}
