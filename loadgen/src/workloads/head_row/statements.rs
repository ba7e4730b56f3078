//! The statements of the life of runs, on the wire.

use bakeoff_crds::rng::SplitMix64;
use tokio_postgres::types::Type;

use super::lives::{COMPLETE, CREATE, Lives, Move, TRANSITION};
use crate::drivers::postgres::wire::{Value, Wire};
use crate::drivers::postgres::{Connector, within};
use crate::failure::{Failure, FailureClass};
use crate::instrument::record::Operation;
use crate::workloads::mover::{self, RunMover};

const CREATE_SQL: &str = "INSERT INTO bakeoff.runs (run_id, seq, state, created_at, updated_at, payload) \
    VALUES ($1, 0, 0, now(), now(), $2)";
/// Only `seq` guards: that no other writer moved the run meanwhile. No index holds a column that changes.
const TRANSITION_SQL: &str = "UPDATE bakeoff.runs SET seq = seq + 1, state = $3, updated_at = now(), payload = $4 \
    WHERE run_id = $1 AND seq = $2";
const COMPLETE_SQL: &str = "DELETE FROM bakeoff.runs WHERE run_id = $1 AND seq = $2";

/// The runs of a client, and its connection.
pub(in crate::workloads) struct Statements {
    connector: Connector,
    open: Option<Wire>,
    lives: Lives,
}

/// Moves runs through their lives.
pub(in crate::workloads) type Mover = RunMover<Statements>;

impl Statements {
    /// Those of a client that is not yet connected.
    pub fn new(connector: Connector, lives: Lives) -> Self {
        Self {
            connector,
            open: None,
            lives,
        }
    }
}

/// A connection with the three statements prepared, each under the name of its kind.
pub(in crate::workloads) async fn opened(connector: &Connector) -> Result<Wire, Failure> {
    let mut open = connector.wire().await?;
    let statements: [(Operation, &str, &[Type]); 3] = [
        (CREATE, CREATE_SQL, &[Type::INT8, Type::BYTEA]),
        (
            TRANSITION,
            TRANSITION_SQL,
            &[Type::INT8, Type::INT4, Type::INT2, Type::BYTEA],
        ),
        (COMPLETE, COMPLETE_SQL, &[Type::INT8, Type::INT4]),
    ];
    for (kind, sql, types) in statements {
        within(connector.timeout(), open.prepare(kind.as_str(), sql, types)).await?;
    }
    Ok(open)
}

impl mover::Statements for Statements {
    type Move = Move;

    fn next(&mut self) -> Move {
        self.lives.next()
    }

    fn rng(&mut self) -> &mut SplitMix64 {
        &mut self.lives.rng
    }

    async fn ready(&mut self) -> Result<(), Failure> {
        if self.open.as_mut().is_some_and(|open| !open.is_closed()) {
            return Ok(());
        }
        self.open = None;
        self.open = Some(opened(&self.connector).await?);
        Ok(())
    }

    async fn execute(&mut self, next: Move, payload: &[u8]) -> Result<u64, Failure> {
        let Some(open) = &mut self.open else {
            return Err(Failure::new(FailureClass::Connect, "no connection"));
        };
        let run = match next {
            Move::Create(run) => run,
            Move::Transition(position) | Move::Complete(position) => self.lives.run(position),
        };
        let state = i16::try_from(run.left.rem_euclid(8)).unwrap_or(0);
        let (id, seq) = (Value::Int8(run.id), Value::Int4(run.seq));
        let payload = Value::Bytes(payload);
        let values: &[Value<'_>] = match next {
            Move::Create(_) => &[id, payload],
            Move::Transition(_) => &[id, seq, Value::Int2(state), payload],
            Move::Complete(_) => &[id, seq],
        };
        match tokio::time::timeout(
            self.connector.timeout(),
            open.execute(next.kind().as_str(), values),
        )
        .await
        {
            Ok(result) => result,
            Err(_) => Err(Failure::new(FailureClass::Timeout, "timed out")),
        }
    }

    fn close(&mut self) {
        self.open = None;
    }

    fn kinds(&self, next: Move, _planned: u64) -> (Operation, Option<Operation>) {
        (next.kind(), None)
    }

    fn done(&mut self, next: Move, well: bool) {
        self.lives.done(next, well);
    }
}
