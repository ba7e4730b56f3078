//! The statements of the clients that insert and move runs while retention goes on.

use std::cell::Cell;
use std::rc::Rc;

use bakeoff_crds::rng::SplitMix64;
use bakeoff_crds::spec::RetentionMethod;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Statement};

use super::lives::{Lives, Move};
use super::table::instant;
use crate::drivers::postgres::{Connector, Patient, patiently};
use crate::failure::{Failure, FailureClass};
use crate::instrument::clock;
use crate::instrument::record::Operation;
use crate::workloads::mover::{self, RunMover};

pub(super) const INSERT: Operation = Operation::Insert;
pub(super) const TRANSITION: Operation = Operation::Transition;
/// Inserts by when they were due: before retention began, while it went on, and later.
pub(super) const PHASES: [Operation; 3] = [
    Operation::InsertBefore,
    Operation::InsertDuring,
    Operation::InsertAfter,
];

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
    pub fn of(&self, planned: u64) -> Operation {
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

struct Open {
    client: Client,
    insert: Statement,
    transition: Statement,
}

/// The runs of a client, and its connection.
pub(super) struct Statements {
    connector: Connector,
    method: RetentionMethod,
    lives: Lives,
    phases: Rc<Phases>,
    open: Option<Open>,
}

/// Inserts and moves runs while retention goes on.
pub(super) type Mover = RunMover<Statements>;

impl Statements {
    /// Those of a client that is not yet connected.
    pub fn new(
        connector: Connector,
        method: RetentionMethod,
        lives: Lives,
        phases: Rc<Phases>,
    ) -> Self {
        Self {
            connector,
            method,
            lives,
            phases,
            open: None,
        }
    }
}

impl mover::Statements for Statements {
    type Move = Move;

    fn next(&mut self) -> Move {
        self.lives.next()
    }

    fn rng(&mut self) -> &mut SplitMix64 {
        &mut self.lives.rng
    }

    fn sending(&self, next: Move) -> Move {
        match next {
            Move::Insert(run) => {
                let created = i64::try_from(clock::wall() / 1_000).unwrap_or(i64::MAX);
                Move::Insert(super::lives::RunRow { created, ..run })
            }
            Move::Transition(_) => next,
        }
    }

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
        let asking = Patient::new(&client, self.connector.timeout());
        let types = [Type::INT8, Type::TIMESTAMPTZ, Type::BYTEA];
        let insert = asking.prepare_typed(INSERT_SQL, &types).await?;
        let mut types = vec![Type::INT8, Type::INT4, Type::INT2, Type::BYTEA];
        if self.method == RetentionMethod::DropPartition {
            types.insert(0, Type::TIMESTAMPTZ);
        }
        let sql = transition_sql(self.method);
        let transition = asking.prepare_typed(sql, &types).await?;
        self.open = Some(Open {
            client,
            insert,
            transition,
        });
        Ok(())
    }

    async fn execute(&mut self, next: Move, payload: &[u8]) -> Result<u64, Failure> {
        let Some(open) = &self.open else {
            return Err(Failure::new(FailureClass::Connect, "no connection"));
        };
        let run = match next {
            Move::Insert(run) => run,
            Move::Transition(position) => self.lives.runs[position],
        };
        let created = instant(run.created);
        let moved = super::lives::RunRow {
            left: run.left - 1,
            ..run
        };
        let state = moved.state();
        let (statement, parameters): (_, &[&(dyn ToSql + Sync)]) = match (next, self.method) {
            (Move::Insert(_), _) => (&open.insert, &[&run.id, &created, &payload]),
            (Move::Transition(_), RetentionMethod::DropPartition) => (
                &open.transition,
                &[&created, &run.id, &run.seq, &state, &payload],
            ),
            (Move::Transition(_), RetentionMethod::BulkDelete) => {
                (&open.transition, &[&run.id, &run.seq, &state, &payload])
            }
        };
        let asked = open.client.execute(statement, parameters);
        patiently(self.connector.timeout(), asked).await
    }

    fn close(&mut self) {
        self.open = None;
    }

    fn kinds(&self, next: Move, planned: u64) -> (Operation, Option<Operation>) {
        match next {
            Move::Insert(_) => (INSERT, Some(self.phases.of(planned))),
            Move::Transition(_) => (TRANSITION, None),
        }
    }

    fn done(&mut self, next: Move, well: bool) {
        self.lives.done(next, well);
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
        assert_eq!(phases.of(99), Operation::InsertBefore);
        assert_eq!(phases.of(100), Operation::InsertDuring);
        assert_eq!(
            phases.of(900),
            Operation::InsertDuring,
            "the end is not known yet"
        );
        phases.end.set(110);
        assert_eq!(
            (phases.of(149), phases.of(150)),
            (Operation::InsertDuring, Operation::InsertAfter)
        );
        phases.end.set(300);
        assert_eq!(
            (phases.of(299), phases.of(300)),
            (Operation::InsertDuring, Operation::InsertAfter)
        );
    }
}
