//! A connection that moves its runs, one statement at a time.

use std::cell::RefCell;
use std::rc::Rc;

use tokio_postgres::types::Type;

use super::lives::{Lives, Step};
use crate::drivers::postgres::Connector;
use crate::drivers::postgres::wire::{Value, Wire};
use crate::failure::{Failure, FailureClass};
use crate::instrument::clock;
use crate::instrument::drive::Worker;
use crate::instrument::pacer::Due;
use crate::instrument::record::{Recorder, Sample};
use crate::workloads::rows::{self, Missed};

/// Any operation: what the load plans.
pub(in crate::workloads) const OPERATION: &str = "operation";
pub(in crate::workloads) const CREATE: &str = "create";
pub(in crate::workloads) const TRANSITION: &str = "transition";
pub(in crate::workloads) const COMPLETE: &str = "complete";

const CREATE_SQL: &str = "INSERT INTO bakeoff.runs (run_id, seq, state, created_at, updated_at, payload) \
    VALUES ($1, 0, 0, now(), now(), $2)";
/// Only `seq` guards: that no other writer moved the run meanwhile. No index holds a column that changes.
const TRANSITION_SQL: &str = "UPDATE bakeoff.runs SET seq = seq + 1, state = $3, updated_at = now(), payload = $4 \
    WHERE run_id = $1 AND seq = $2";
const COMPLETE_SQL: &str = "DELETE FROM bakeoff.runs WHERE run_id = $1 AND seq = $2";

pub(in crate::workloads) struct Mover {
    connector: Connector,
    open: Option<Wire>,
    lives: Lives,
    step: Option<Step>,
    payload: Vec<u8>,
    recorder: Rc<RefCell<Recorder>>,
    missed: Rc<RefCell<Missed>>,
}

impl Mover {
    /// One that is not yet connected; `state_bytes` is the size of the state that it writes.
    pub fn new(
        connector: Connector,
        lives: Lives,
        state_bytes: usize,
        recorder: &Rc<RefCell<Recorder>>,
        missed: &Rc<RefCell<Missed>>,
    ) -> Self {
        Self {
            connector,
            open: None,
            lives,
            step: None,
            payload: vec![7; state_bytes],
            recorder: Rc::clone(recorder),
            missed: Rc::clone(missed),
        }
    }

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
        let Some(open) = &mut self.open else {
            return Err(Failure::new(FailureClass::Connect, "no connection"));
        };
        let run = match step {
            Step::Create(run) => run,
            Step::Transition(position) | Step::Complete(position) => self.lives.run(position),
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
            rows::freshen(&mut self.payload, &mut self.lives.rng);
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
        let open = self.ready().await;
        // What was never sent had no effect: the run stays in this worker's hands.
        let went_out = open.is_ok();
        let result = match open {
            Ok(()) => self.execute(step).await,
            Err(failure) => Err(failure),
        };
        let ended = clock::now();
        let kind = step.kind();
        let well = matches!(result, Ok(1));
        let mut recorder = self.recorder.borrow_mut();
        let reached = match result {
            Ok(rows) => {
                self.missed.borrow_mut().note(kind, rows, &step);
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
        if went_out {
            self.lives.done(step, well);
        } else {
            self.step = Some(step);
        }
        reached
    }
}
