//! B1: puts small objects of incompressible bytes, each under a new key, across many prefixes.

use std::cell::RefCell;
use std::rc::Rc;

use bakeoff_crds::rng::SplitMix64;
use bakeoff_crds::schedule::factor;
use bakeoff_crds::spec::SmallObjectPut;
use bytes::Bytes;

use super::body::Bodies;
use super::{Context, Gate, Meter, Part, WorkloadError};
use crate::arrivals::Plan;
use crate::clock;
use crate::drive::{Worker, drive};
use crate::pacer::Due;
use crate::record::{Recorder, Sample};
use crate::s3::{Connection, FailureClass};

const PUT: &str = "put";

struct Putter {
    connection: Connection,
    recorder: Rc<RefCell<Recorder>>,
    bodies: Rc<Bodies>,
    rng: SplitMix64,
    base: Rc<str>,
    prefixes: u64,
    worker: usize,
    sequence: u64,
    next: Option<(String, Bytes)>,
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
        let bytes = body.len() as u64;
        let sent = clock::now();
        let result = self.connection.put(&path, body).await;
        let ended = clock::now();
        let mut recorder = self.recorder.borrow_mut();
        match result {
            Ok(_) => {
                recorder.count("puts", planned, 1);
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

/// Runs the trial.
///
/// # Errors
/// When the trial does not fit the spec, or recording or pacing fails.
pub async fn run(
    context: &Context<'_>,
    spec: &SmallObjectPut,
    gate: &dyn Gate,
) -> Result<Part, WorkloadError> {
    let dialer = context.access.s3()?;
    let plan = super::plan(context, &spec.load)?;
    let text = context.trial.cell.get(factor::OBJECT_SIZE);
    let size = bakeoff_crds::quantity::Quantity::from(text.map_or("", String::as_str)).units()?;
    let bodies = Rc::new(Bodies::new(
        usize::try_from(size).unwrap_or(0),
        context.seed(),
    ));
    let base: Rc<str> = format!("{}g{}/", context.attempt_prefix(), context.generator).into();
    let open_loop = matches!(plan, Plan::Open { .. });

    let start = gate.open().await?;
    let timing = context.timing(start);
    let wall = clock::wall() + timing.window_start.saturating_sub(clock::now());
    let recorder = Recorder::new(
        timing.window_start,
        timing.window_end,
        wall,
        open_loop,
        &[PUT],
        context.live.clone(),
    )?;
    let recorder = Rc::new(RefCell::new(recorder));
    let workers = (0..plan.workers())
        .map(|worker| Putter {
            connection: dialer.connection(),
            recorder: Rc::clone(&recorder),
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
        })
        .collect();
    let start_skew = clock::now().saturating_sub(start);
    let label = context.label("arrivals");
    let load = drive(
        plan,
        timing,
        context.seed(),
        &label,
        workers,
        &recorder,
        PUT,
    );
    let (counts, usage) = tokio::join!(load, Meter::over(timing.window_start, timing.window_end));
    let offered_per_second = match plan {
        Plan::Open { rate, .. } => rate,
        Plan::Closed { .. } => 0.0,
    };
    Ok(Part {
        counts: counts?,
        offered_per_second,
        recorded: super::finished(recorder)?,
        window: (timing.window_start, timing.window_end),
        planned_kind: PUT,
        open_loop,
        start_skew,
        usage,
        ..Part::default()
    })
}
