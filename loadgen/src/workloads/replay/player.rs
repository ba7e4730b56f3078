//! A client of a replay: sends what is due and what its desk gives it next.

use std::cell::RefCell;
use std::rc::Rc;

use bakeoff_crds::figure::Counter;
use bakeoff_crds::rng::SplitMix64;
use bakeoff_trace::Kind;
use tokio_postgres::types::Type;

use super::desk::{Desk, Outcome, Task};
use super::source::Arrivals;
use crate::drivers::postgres::wire::{Value, Wire};
use crate::drivers::postgres::{Connector, within};
use crate::failure::{Failure, FailureClass};
use crate::instrument::clock;
use crate::instrument::drive::Worker;
use crate::instrument::pacer::Due;
use crate::instrument::record::{Operation, Recorder, Sample};
use crate::workloads::head_row::lives::{COMPLETE, CREATE, TRANSITION};
use crate::workloads::head_row::statements;
use crate::workloads::mover::{OPERATION, reached};
use crate::workloads::rows::{self, Missed};

const PUT_IN: &str = "putIn";
/// A run as it was when the recording began.
const PUT_IN_SQL: &str = "INSERT INTO bakeoff.runs (run_id, seq, state, created_at, updated_at, payload) \
    VALUES ($1, $2, 0, now(), now(), $3)";

/// What all clients of a generator have in common.
#[derive(Clone)]
pub(super) struct Shared {
    pub desk: Rc<RefCell<Desk>>,
    pub arrivals: Arrivals,
    pub recorder: Rc<RefCell<Recorder>>,
    pub missed: Rc<RefCell<Missed>>,
}

/// A client, and its connection.
pub(super) struct Player {
    connector: Connector,
    open: Option<Wire>,
    shared: Shared,
    /// What comes after what was just ended.
    next: Option<Task>,
    payload: Vec<u8>,
    rng: SplitMix64,
}

fn operation(kind: Kind) -> Operation {
    match kind {
        Kind::Created | Kind::Open => CREATE,
        Kind::Transition => TRANSITION,
        Kind::Done => COMPLETE,
    }
}

impl Player {
    /// One that is not yet connected.
    pub fn new(connector: Connector, shared: Shared, rng: SplitMix64) -> Self {
        Self {
            connector,
            open: None,
            shared,
            next: None,
            payload: Vec::new(),
            rng,
        }
    }

    async fn ready(&mut self) -> Result<(), Failure> {
        if self.open.as_mut().is_some_and(|open| !open.is_closed()) {
            return Ok(());
        }
        self.open = None;
        let mut open = statements::opened(&self.connector).await?;
        let types = [Type::INT8, Type::INT4, Type::BYTEA];
        let prepared = open.prepare(PUT_IN, PUT_IN_SQL, &types);
        within(self.connector.timeout(), prepared).await?;
        self.open = Some(open);
        Ok(())
    }

    async fn execute(&mut self, task: Task) -> Result<u64, Failure> {
        let Some(open) = &mut self.open else {
            return Err(Failure::new(FailureClass::Connect, "no connection"));
        };
        let event = task.event;
        let bytes = usize::from(event.bytes);
        if self.payload.len() < bytes {
            self.payload.resize(bytes, 7);
        }
        let payload = Value::Bytes(self.payload.get(..bytes).unwrap_or_default());
        let id = Value::Int8(event.id);
        // How far the row is before this event.
        let seq = Value::Int4(event.seq.saturating_sub(1).saturating_sub(task.behind));
        let state = Value::Int2(i16::try_from(event.seq.rem_euclid(8)).unwrap_or(0));
        let kind = operation(event.kind).as_str();
        let (name, values): (&str, &[Value<'_>]) = match event.kind {
            Kind::Created => (kind, &[id, payload]),
            Kind::Open => (PUT_IN, &[id, Value::Int4(event.seq), payload]),
            Kind::Transition => (kind, &[id, seq, state, payload]),
            Kind::Done => (kind, &[id, seq]),
        };
        match tokio::time::timeout(self.connector.timeout(), open.execute(name, values)).await {
            Ok(result) => result,
            Err(_) => Err(Failure::new(FailureClass::Timeout, "timed out")),
        }
    }

    /// Takes what is due from the arrivals; nothing where it waits for its run, or will never be sent.
    fn take(&mut self, due: Due) -> Option<Task> {
        let mut desk = self.shared.desk.borrow_mut();
        let event = self
            .shared
            .arrivals
            .take(due.index, |skipped| desk.lost(skipped))?;
        desk.due(event, due.planned)
    }

    fn record(&self, task: Task, sent: u64, queued: bool, result: &Result<u64, Failure>) {
        let ended = clock::now();
        let planned = task.planned;
        let kind = operation(task.event.kind);
        let mut recorder = self.shared.recorder.borrow_mut();
        match result {
            Ok(rows) => {
                self.shared.missed.borrow_mut().note(kind, *rows, &task);
                let sample = Sample {
                    member: planned,
                    planned,
                    sent,
                    ended,
                    bytes: 0,
                    queued,
                };
                recorder.success(OPERATION, sample);
                recorder.success(kind, sample);
                if task.event.kind == Kind::Open {
                    recorder.count(Counter::PutIn, planned, 1);
                }
            }
            Err(failure) => {
                recorder.failure(OPERATION, planned, planned, ended, failure);
                recorder.failure(kind, planned, planned, ended, failure);
            }
        }
    }
}

/// What a failure of a statement that went out says of its run.
fn outcome(failure: &Failure) -> Outcome {
    match failure.class {
        FailureClass::Throttled
        | FailureClass::Server
        | FailureClass::NotFound
        | FailureClass::Client => Outcome::NotDone,
        FailureClass::Timeout
        | FailureClass::Transport
        | FailureClass::Connect
        | FailureClass::Malformed
        | FailureClass::Censored => Outcome::Unknown,
    }
}

impl Worker for Player {
    fn prepare(&mut self) {
        rows::freshen(&mut self.payload, &mut self.rng);
    }

    async fn connect(&mut self) {
        let _ = self.ready().await;
    }

    async fn operate(&mut self, due: Due) -> bool {
        let task = match self.next.take() {
            Some(task) => task,
            None => match self.take(due) {
                Some(task) => task,
                None => return true,
            },
        };
        let sent = clock::now();
        let open = self.ready().await;
        let went_out = open.is_ok();
        let result = match open {
            Ok(()) => self.execute(task).await,
            Err(failure) => Err(failure),
        };
        self.record(task, sent, due.queued, &result);
        let (outcome, reached) = match &result {
            Ok(1) => (Outcome::Done, true),
            Ok(_) => (Outcome::Unknown, true),
            Err(failure) => {
                if matches!(
                    failure.class,
                    FailureClass::Timeout | FailureClass::Transport | FailureClass::Malformed
                ) {
                    // A late answer would be taken for that of the next statement's caller.
                    self.open = None;
                }
                let outcome = if went_out {
                    outcome(failure)
                } else {
                    Outcome::NotDone
                };
                (outcome, reached(went_out, failure))
            }
        };
        self.next = self.shared.desk.borrow_mut().ended(task, outcome);
        reached
    }

    fn follow(&mut self) -> Option<Due> {
        let planned = self.next.as_ref()?.planned;
        // It waited for its run, which is the server's doing.
        Some(Due {
            planned,
            queued: true,
            index: 0,
        })
    }
}
