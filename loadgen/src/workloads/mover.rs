//! A client that owns runs of one table and moves one of them at each turn, whatever its statements are.

use std::cell::RefCell;
use std::rc::Rc;

use bakeoff_crds::rng::SplitMix64;

use super::rows::{self, Missed};
use crate::failure::{Failure, FailureClass};
use crate::instrument::clock;
use crate::instrument::drive::Worker;
use crate::instrument::pacer::Due;
use crate::instrument::record::{Operation, Recorder, Sample};

/// Any operation: what the load plans.
pub(super) const OPERATION: Operation = Operation::Operation;

/// The runs of one client and the statements that move them.
pub(super) trait Statements: 'static {
    /// What is to be done next.
    type Move: Copy + std::fmt::Debug;

    /// What comes next.
    fn next(&mut self) -> Self::Move;

    /// Where fresh bytes come from.
    fn rng(&mut self) -> &mut SplitMix64;

    /// The move as it is sent now.
    fn sending(&self, next: Self::Move) -> Self::Move {
        next
    }

    /// Opens the connection and prepares the statements, unless it is open.
    async fn ready(&mut self) -> Result<(), Failure>;

    /// Sends a move with these bytes; answers how many rows it touched.
    async fn execute(&mut self, next: Self::Move, payload: &[u8]) -> Result<u64, Failure>;

    /// Leaves the connection.
    fn close(&mut self);

    /// The kind of a move, and the one under which it is recorded once more where there is one, by when it was due.
    fn kinds(&self, next: Self::Move, planned: u64) -> (Operation, Option<Operation>);

    /// Takes note of what became of a move.
    fn done(&mut self, next: Self::Move, well: bool);
}

/// A client.
pub(super) struct RunMover<S: Statements> {
    statements: S,
    next: Option<S::Move>,
    payload: Vec<u8>,
    recorder: Rc<RefCell<Recorder>>,
    missed: Rc<RefCell<Missed>>,
}

impl<S: Statements> RunMover<S> {
    /// One that is not yet connected; `state_bytes` is the size of the state that it writes.
    pub fn new(
        statements: S,
        state_bytes: usize,
        recorder: &Rc<RefCell<Recorder>>,
        missed: &Rc<RefCell<Missed>>,
    ) -> Self {
        Self {
            statements,
            next: None,
            payload: vec![7; state_bytes],
            recorder: Rc::clone(recorder),
            missed: Rc::clone(missed),
        }
    }
}

impl<S: Statements> Worker for RunMover<S> {
    fn prepare(&mut self) {
        if self.next.is_none() {
            self.next = Some(self.statements.next());
            rows::freshen(&mut self.payload, self.statements.rng());
        }
    }

    async fn connect(&mut self) {
        let _ = self.statements.ready().await;
    }

    async fn operate(&mut self, due: Due) -> bool {
        let planned = due.planned;
        let Some(next) = self.next.take() else {
            return true;
        };
        let next = self.statements.sending(next);
        let sent = clock::now();
        let open = self.statements.ready().await;
        // What was never sent had no effect: the run stays in this client's hands.
        let went_out = open.is_ok();
        let result = match open {
            Ok(()) => self.statements.execute(next, &self.payload).await,
            Err(failure) => Err(failure),
        };
        let ended = clock::now();
        let (kind, more) = self.statements.kinds(next, planned);
        let kinds = [Some(OPERATION), Some(kind), more];
        let well = matches!(result, Ok(1));
        let mut recorder = self.recorder.borrow_mut();
        let reached = match result {
            Ok(rows) => {
                self.missed.borrow_mut().note(kind, rows, &next);
                let sample = Sample {
                    member: planned,
                    planned,
                    sent,
                    ended,
                    bytes: 0,
                    queued: due.queued,
                };
                for kind in kinds.into_iter().flatten() {
                    recorder.success(kind, sample);
                }
                true
            }
            Err(failure) => {
                for kind in kinds.into_iter().flatten() {
                    recorder.failure(kind, planned, planned, ended, &failure);
                }
                if matches!(
                    failure.class,
                    FailureClass::Timeout | FailureClass::Transport | FailureClass::Malformed
                ) {
                    // A late answer would be taken for that of the next statement's caller.
                    self.statements.close();
                }
                failure.class != FailureClass::Connect
            }
        };
        drop(recorder);
        if went_out {
            self.statements.done(next, well);
        } else {
            self.next = Some(next);
        }
        reached
    }
}
