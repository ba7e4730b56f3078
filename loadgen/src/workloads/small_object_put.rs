//! B1: puts small objects of incompressible bytes, each under a new key, across many prefixes.

use std::cell::RefCell;
use std::rc::Rc;

use bakeoff_crds::figure::Counter;
use bakeoff_crds::rng::SplitMix64;
use bakeoff_crds::schedule::factor;
use bakeoff_crds::spec::SmallObjectPut;
use bytes::Buf as _;

use super::body::Bodies;
use super::trial::{Load, Ready, measure};
use super::{Context, Gate, Null, Part, Working, Workload, WorkloadError};
use crate::drivers::s3::{Connection, Payload};
use crate::failure::FailureClass;
use crate::instrument::clock;
use crate::instrument::drive::Worker;
use crate::instrument::pacer::Due;
use crate::instrument::record::{Operation, Recorder, Sample};

const PUT: Operation = Operation::Put;

struct Putter {
    connection: Connection,
    recorder: Rc<RefCell<Recorder>>,
    bodies: Rc<Bodies>,
    rng: SplitMix64,
    base: Rc<str>,
    prefixes: u64,
    worker: usize,
    sequence: u64,
    next: Option<(String, Payload)>,
}

impl Worker for Putter {
    fn prepare(&mut self) {
        if self.next.is_none() {
            let prefix = self.rng.below(self.prefixes);
            let key = format!(
                "{}{prefix:06}/{:04}-{:010}",
                self.base, self.worker, self.sequence
            );
            // Worker and sequence together make the number unique in this generator.
            let number = ((self.worker as u64) << 40) | self.sequence;
            self.sequence += 1;
            self.next = Some((
                self.connection.target().object_path(&key),
                self.bodies.body(number),
            ));
        }
    }

    async fn connect(&mut self) {
        let _ = self.connection.ready().await;
    }

    async fn operate(&mut self, due: Due) -> bool {
        let planned = due.planned;
        let Some((path, body)) = self.next.take() else {
            return true;
        };
        let bytes = body.remaining() as u64;
        let sent = clock::now();
        let result = self.connection.put(&path, body).await;
        let ended = clock::now();
        let mut recorder = self.recorder.borrow_mut();
        match result {
            Ok(_) => {
                recorder.count(Counter::Puts, planned, 1);
                recorder.success(
                    PUT,
                    Sample {
                        member: planned,
                        planned,
                        sent,
                        ended,
                        bytes,
                        queued: due.queued,
                    },
                );
                true
            }
            Err(failure) => {
                recorder.failure(PUT, planned, planned, ended, &failure);
                failure.class != FailureClass::Connect
            }
        }
    }
}

impl Workload for SmallObjectPut {
    fn run<'a>(&'a self, context: &'a Context<'_>, gate: &'a dyn Gate) -> Working<'a, Part> {
        Box::pin(run(context, self, gate))
    }

    fn null(&self) -> Option<Null> {
        Some(Null::S3)
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
    let plan = context.plan(&spec.load)?;
    let text = context.trial.cell.get(factor::OBJECT_SIZE);
    let size = bakeoff_crds::quantity::Quantity::from(text.map_or("", String::as_str)).units()?;
    let bodies = Rc::new(Bodies::new(
        usize::try_from(size).unwrap_or(0),
        context.seed(),
    ));
    let base: Rc<str> = format!("{}g{}/", context.attempt_prefix(), context.generator).into();
    let workers = plan.workers();
    let load = Load {
        plan,
        kinds: &[PUT],
    };
    let prepare = |ready: &Ready| {
        let workers = (0..workers).map(|worker| Putter {
            connection: dialer.connection(),
            recorder: Rc::clone(&ready.recorder),
            bodies: Rc::clone(&bodies),
            rng: SplitMix64::stream(
                context.seed(),
                &format!("{}/{worker}", context.label("keys")),
            ),
            base: Rc::clone(&base),
            prefixes: u64::try_from(spec.prefixes).unwrap_or(1).max(1),
            worker,
            sequence: 0,
            next: None,
        });
        (workers.collect(), std::future::ready(()))
    };
    let (part, ()) = measure(context, gate, load, prepare).await?;
    Ok(part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::Credentials;
    use crate::drivers::s3::Target;
    use crate::drivers::s3::conn::Dialer;
    use crate::instrument::arrivals::Plan;
    use crate::instrument::clock::SECOND;
    use crate::instrument::drive::drive;
    use crate::instrument::drive::{Counts, Timing};
    use crate::instrument::record::Recorded;
    use crate::workloads::trial::finished;
    use std::sync::Arc;

    /// Load on a port where nobody listens.
    fn refused(plan: Plan) -> (Counts, Recorded) {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", free.local_addr().unwrap());
        drop(free);
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
            let open = matches!(plan, Plan::Open { .. });
            let recorder =
                Recorder::new(start, timing.window_end, 0, open, &[PUT], Arc::default()).unwrap();
            let recorder = Rc::new(RefCell::new(recorder));
            let workers = (0..plan.workers())
                .map(|worker| Putter {
                    connection: dialer.connection(),
                    recorder: Rc::clone(&recorder),
                    bodies: Rc::new(Bodies::new(10, 1)),
                    rng: SplitMix64::new(1),
                    base: "".into(),
                    prefixes: 1,
                    worker,
                    sequence: 0,
                    next: None,
                })
                .collect();
            let counts = drive(plan, timing, 1, "t", workers, &recorder, PUT)
                .await
                .unwrap();
            (counts, finished(recorder).unwrap())
        })
    }

    #[test]
    fn an_operation_that_cannot_connect_is_a_failure_and_never_lost() {
        let (counts, recorded) = refused(Plan::Open {
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
        let (counts, recorded) = refused(Plan::Closed { clients: 2 });
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
