//! B1: puts small objects of incompressible bytes, each under a new key, across many prefixes.

use std::cell::RefCell;
use std::rc::Rc;

use bakeoff_crds::figure::Counter;
use bakeoff_crds::rng::SplitMix64;
use bakeoff_crds::schedule::factor;
use bakeoff_crds::spec::SmallObjectPut;
use bytes::Buf as _;

use super::body::{self, Bodies};
use super::trial::{Load, Ready, measure};
use super::{Context, Gate, Part, Working, Workload, WorkloadError};
use crate::drivers::s3::dialer::Dialer;
use crate::drivers::s3::{Connection, Payload};
use crate::failure::{Failure, FailureClass};
use crate::instrument::arrivals::Pace;
use crate::instrument::clock;
use crate::instrument::drive::Worker;
use crate::instrument::pacer::Due;
use crate::instrument::record::{Operation, Recorder, Sample};

const PUT: Operation = Operation::Put;

/// Who is told how each PUT ended, beside the recorder.
pub(super) trait Witness: 'static {
    /// It was acknowledged: the object at this path bears this number.
    fn acknowledged(&self, path: String, number: u64, sample: Sample);

    /// It was not.
    fn failed(&self, planned: u64, ended: u64, failure: &Failure);
}

/// Nobody is told.
#[derive(Clone, Copy, Debug)]
struct Nobody;

impl Witness for Nobody {
    fn acknowledged(&self, _path: String, _number: u64, _sample: Sample) {}

    fn failed(&self, _planned: u64, _ended: u64, _failure: &Failure) {}
}

pub(super) struct Putter<T> {
    connection: Connection,
    recorder: Rc<RefCell<Recorder>>,
    bodies: Rc<Bodies>,
    rng: SplitMix64,
    base: Rc<str>,
    prefixes: u64,
    worker: usize,
    sequence: u64,
    next: Option<Next>,
    witness: T,
}

/// An object that is to be put.
struct Next {
    path: String,
    number: u64,
    body: Payload,
}

impl<T: Witness> Worker for Putter<T> {
    /// Else the connections that happen to be in use would choose the server, and a quick one leave the others idle.
    fn takes_turns(&self) -> bool {
        self.connection.is_one_of_several_servers()
    }

    fn prepare(&mut self) {
        if self.next.is_none() {
            let prefix = self.rng.below(self.prefixes);
            let key = format!(
                "{}{prefix:06}/{:04}-{:010}",
                self.base, self.worker, self.sequence
            );
            // Worker and sequence together make the number unique in this generator.
            let number = body::number(self.worker, self.sequence);
            self.sequence += 1;
            self.next = Some(Next {
                path: self.connection.target().object_path(&key),
                number,
                body: self.bodies.body(number),
            });
        }
    }

    async fn connect(&mut self) {
        let _ = self.connection.ready().await;
    }

    async fn operate(&mut self, due: Due) -> bool {
        let planned = due.planned;
        let Some(Next { path, number, body }) = self.next.take() else {
            return true;
        };
        let bytes = body.remaining() as u64;
        let sent = clock::now();
        let result = self.connection.put(&path, body).await;
        let ended = clock::now();
        let mut recorder = self.recorder.borrow_mut();
        match result {
            Ok(_) => {
                let sample = Sample {
                    member: planned,
                    planned,
                    sent,
                    ended,
                    bytes,
                    queued: due.queued,
                };
                recorder.count(Counter::Puts, planned, 1);
                recorder.success(PUT, sample);
                self.witness.acknowledged(path, number, sample);
                true
            }
            Err(failure) => {
                recorder.failure(PUT, planned, planned, ended, &failure);
                self.witness.failed(planned, ended, &failure);
                failure.class != FailureClass::Connect
            }
        }
    }
}

impl Workload for SmallObjectPut {
    fn run<'a>(&'a self, context: &'a Context<'_>, gate: &'a dyn Gate) -> Working<'a, Part> {
        Box::pin(run(context, self, gate))
    }

    fn runs_on_null(&self) -> bool {
        true
    }
}

/// What the workers of a trial put, and where.
pub(super) struct Putters<'a> {
    pub context: &'a Context<'a>,
    pub dialer: &'a Dialer,
    pub bodies: Rc<Bodies>,
    pub prefixes: i32,
    /// How many clients the generators before this one have.
    pub place: usize,
}

impl Putters<'_> {
    /// So many workers.
    pub fn workers<T: Witness + Clone>(
        &self,
        count: usize,
        ready: &Ready,
        witness: &T,
    ) -> Vec<Putter<T>> {
        let context = self.context;
        let base: Rc<str> = format!("{}g{}/", context.attempt_prefix(), context.generator).into();
        self.dialer.begin_at(self.place);
        let workers = (0..count).map(|worker| Putter {
            connection: self.dialer.connection(),
            recorder: Rc::clone(&ready.recorder),
            bodies: Rc::clone(&self.bodies),
            rng: SplitMix64::stream(
                context.seed(),
                &format!("{}/{worker}", context.label("keys")),
            ),
            base: Rc::clone(&base),
            prefixes: u64::try_from(self.prefixes).unwrap_or(1).max(1),
            worker,
            sequence: 0,
            next: None,
            witness: witness.clone(),
        });
        workers.collect()
    }
}

/// Runs the trial.
///
/// # Errors
/// When the trial does not fit the spec, or recording or pacing fails.
async fn run(
    context: &Context<'_>,
    spec: &SmallObjectPut,
    gate: &dyn Gate,
) -> Result<Part, WorkloadError> {
    let dialer = context.access.s3()?;
    dialer.count_servers().await;
    let pace = context.pace(&spec.load)?;
    let text = context.trial.cell.get(factor::OBJECT_SIZE);
    let size = bakeoff_crds::quantity::Quantity::from(text.map_or("", String::as_str)).units()?;
    let size = usize::try_from(size).unwrap_or(0);
    let place = match pace {
        Pace::Closed { .. } => {
            let all = usize::try_from(context.level(factor::CONCURRENCY)?);
            context.before(all.unwrap_or(usize::MAX))
        }
        Pace::Open { max_in_flight, .. } => context.generator * max_in_flight,
    };
    let load = Load {
        pace,
        kinds: &[PUT],
    };
    let prepare = |ready: &Ready| {
        let putters = Putters {
            context,
            dialer,
            bodies: Rc::new(context.bodies(size)),
            prefixes: spec.prefixes,
            place,
        };
        let workers = putters.workers(pace.workers(), ready, &Nobody);
        (workers, std::future::ready(()))
    };
    let (part, ()) = measure(context, gate, load, prepare).await?;
    Ok(part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::Credentials;
    use crate::drivers::s3::Target;
    use crate::instrument::clock::SECOND;
    use crate::instrument::drive::drive;
    use crate::instrument::drive::{Counts, Timing};
    use crate::instrument::record::Recorded;
    use crate::workloads::trial::finished;
    use std::sync::Arc;

    /// Load on a port where nobody listens.
    fn refused(pace: Pace) -> (Counts, Recorded) {
        // Nobody else is given it meanwhile.
        let taken = tokio::net::TcpSocket::new_v4().unwrap();
        taken.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let endpoint = format!("http://{}", taken.local_addr().unwrap());
        let credentials = Credentials {
            user: "a".into(),
            secret: "b".into(),
            session_token: None,
            authorities: None,
        };
        let target = Target::new(&endpoint, "r", "b", true, credentials).unwrap();
        let dialer =
            Dialer::new(Arc::new(target), std::time::Duration::from_secs(5), false).unwrap();
        crate::testing::local(async {
            let start = clock::now();
            let timing = Timing {
                start,
                window_start: start,
                window_end: start + SECOND / 2,
                drain_end: start + 60 * SECOND,
            };
            let open = matches!(pace, Pace::Open { .. });
            let recorder =
                Recorder::new(start, timing.window_end, 0, open, &[PUT], Arc::default()).unwrap();
            let recorder = Rc::new(RefCell::new(recorder));
            let workers = (0..pace.workers())
                .map(|worker| Putter {
                    connection: dialer.connection(),
                    recorder: Rc::clone(&recorder),
                    bodies: Rc::new(Bodies::new(10, 1, "t")),
                    rng: SplitMix64::new(1),
                    base: "".into(),
                    prefixes: 1,
                    worker,
                    sequence: 0,
                    next: None,
                    witness: Nobody,
                })
                .collect();
            let counts = drive(pace, timing, 1, "t", workers, &recorder, PUT)
                .await
                .unwrap();
            (counts, finished(recorder).unwrap())
        })
    }

    #[test]
    fn an_operation_that_cannot_connect_is_a_failure_and_never_lost() {
        let (counts, recorded) = refused(Pace::Open {
            rate: 200.0,
            arrivals: bakeoff_crds::spec::Arrivals::Constant,
            max_in_flight: 4,
        });
        assert_eq!((counts.expected, counts.failed), (100, 100), "{counts:?}");
        assert_eq!(
            recorded.operations[PUT.as_str()].failures["connect"].count,
            100
        );
    }

    #[test]
    fn a_backend_that_is_away_meets_no_storm_of_connects() {
        let (counts, recorded) = refused(Pace::Closed { clients: 2 });
        assert_eq!(counts.expected, counts.failed);
        // One every 50 ms for each of two clients.
        assert!((1..=20).contains(&counts.failed), "{counts:?}");
        assert!(
            recorded.operations[PUT.as_str()]
                .failures
                .contains_key("connect")
        );
    }
}
