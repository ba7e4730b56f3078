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

/// Whether the server was there, though an operation failed. One that takes no connection is away whatever it says
/// with it, that it has no room for more or does not know the user: what never went out did not reach it, and a client
/// that asked again at once would meet it with a storm of connects.
pub(super) fn reached(went_out: bool, failure: &Failure) -> bool {
    went_out && failure.class != FailureClass::Connect
}

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

/// Of the workers of an open load those that have something to move, and one in any case: `maxInFlight` is a bound, and who has no
/// run would create one that the population does not have. (Pure.)
pub(super) fn busy<L>(mut lives: Vec<L>, has_runs: impl Fn(&L) -> bool) -> Vec<L> {
    match lives.iter().position(&has_runs) {
        Some(_) => lives.retain(has_runs),
        None => lives.truncate(1),
    }
    lives
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
    /// Its runs are moved by nobody else.
    fn takes_turns(&self) -> bool {
        true
    }

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
                reached(went_out, &failure)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drivers::postgres::Connector;
    use crate::instrument::arrivals::Pace;
    use crate::instrument::clock::SECOND;
    use crate::instrument::drive::{Counts, Timing, drive};
    use crate::testing::{TIMEOUT, anybody, local};
    use crate::workloads::head_row::lives::{COMPLETE, CREATE, Lives, Population, TRANSITION};
    use crate::workloads::head_row::statements::{Mover, Statements as OfHeads};
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    /// What a server says that has no room for another connection.
    fn full() -> Vec<u8> {
        let fields = b"SFATAL\0VFATAL\0C53300\0Msorry, too many clients already\0\0";
        let length = u32::try_from(fields.len() + 4).unwrap();
        let mut message = vec![b'E'];
        message.extend_from_slice(&length.to_be_bytes());
        message.extend_from_slice(fields);
        message
    }

    /// A closed load of two clients for half a second on a server that refuses every connection.
    fn refused() -> Counts {
        local(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let endpoint = format!("postgres://{}", listener.local_addr().unwrap());
            tokio::spawn(async move {
                while let Ok((mut socket, _)) = listener.accept().await {
                    let _ = socket.read(&mut [0; 1_024]).await;
                    let _ = socket.write_all(&full()).await;
                }
            });
            let connector = Connector::new(&endpoint, "null", &anybody(), TIMEOUT).unwrap();
            // What is made ready before it takes no time of the window.
            let start = clock::now() + 2 * SECOND;
            let timing = Timing {
                start,
                window_start: start,
                window_end: start + SECOND / 2,
                drain_end: start + 60 * SECOND,
            };
            let kinds = [OPERATION, CREATE, TRANSITION, COMPLETE];
            let recorder =
                Recorder::new(start, timing.window_end, 0, false, &kinds, Arc::default());
            let recorder = Rc::new(RefCell::new(recorder.unwrap()));
            let missed = Rc::new(RefCell::new(Missed::default()));
            let population = Population {
                seed: 1,
                active: 2,
                sleeper_percent: 0,
                transitions: (1, 2),
            };
            let workers = (0..2).map(|worker| {
                let lives = Lives {
                    population,
                    rng: SplitMix64::new(worker),
                    runs: population.share(worker, 2),
                    owed: 0,
                    next_id: 2,
                    stride: 2,
                };
                let statements = OfHeads::new(connector.clone(), lives);
                Mover::new(statements, 10, &recorder, &missed)
            });
            let pace = Pace::Closed { clients: 2 };
            drive(
                pace,
                timing,
                1,
                "t",
                workers.collect(),
                &recorder,
                OPERATION,
            )
            .await
            .unwrap()
        })
    }

    #[test]
    fn a_server_that_has_no_room_meets_no_storm_of_connects() {
        let counts = refused();
        assert_eq!(counts.expected, counts.failed);
        // One every 50 ms for each of two clients.
        assert!((1..=20).contains(&counts.failed), "{counts:?}");
    }

    #[test]
    fn what_never_went_out_did_not_reach_the_server() {
        let throttled = Failure::new(FailureClass::Throttled, "too many clients");
        assert!(!reached(false, &throttled));
        assert!(reached(true, &throttled));
        assert!(!reached(true, &Failure::new(FailureClass::Connect, "gone")));
    }
}
