//! Drives workers through warm-up, window and drain, in a closed or an open loop.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;

use crate::arrivals::{Instants, Plan};
use crate::clock::{self, SECOND};
use crate::pacer::{self, Handoff};
use crate::record::Recorder;
use crate::s3::{Failure, FailureClass};

/// How long the line stays open after the window, so that what was due in its last instant and is
/// on its way to a worker is not called never started.
const HANDOFF_GRACE: u64 = 20_000_000;

/// The instants of a trial, on the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// When load begins: the start of the warm-up.
    pub start: u64,
    /// When the window opens.
    pub window_start: u64,
    /// When the window closes.
    pub window_end: u64,
    /// When operations of the window that are still under way are given up.
    pub drain_end: u64,
}

impl Timing {
    /// The timing of a trial that starts at `start`.
    #[must_use]
    pub fn new(start: u64, trials: &bakeoff_crds::spec::Trials) -> Self {
        let seconds = |seconds: i32| u64::try_from(seconds).unwrap_or(0) * SECOND;
        let window_start = start + seconds(trials.warmup_seconds);
        let window_end = window_start + seconds(trials.window_seconds);
        Self {
            start,
            window_start,
            window_end,
            drain_end: window_end + seconds(trials.drain_seconds),
        }
    }
}

/// Operations of the window, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Ended well.
    pub completed: u64,
    /// Ended in an error or a timeout.
    pub failed: u64,
    /// Had not ended when the drain did.
    pub unfinished: u64,
    /// Due but never sent.
    pub not_started: u64,
}

impl Counts {
    /// All of them.
    #[must_use]
    pub fn planned(&self) -> u64 {
        self.completed + self.failed + self.unfinished + self.not_started
    }
}

/// A client with its connection. It records its own operations.
pub trait Worker: 'static {
    /// Does everything that can be done before the next operation is due: opens the connection,
    /// builds the next key and body. Off the clock.
    fn prepare(&mut self) -> impl Future<Output = ()>;

    /// Carries out one operation. Answers whether the backend could be reached.
    fn operate(&mut self, planned: u64) -> impl Future<Output = bool>;
}

/// Runs the workers until the drain ends or all have finished. `kind` is the kind of operation
/// that the load plans. To be called inside a `LocalSet`.
///
/// # Errors
/// When the pacing thread cannot be started.
pub async fn drive<W: Worker>(
    plan: Plan,
    timing: Timing,
    seed: u64,
    label: &str,
    workers: Vec<W>,
    recorder: &Rc<RefCell<Recorder>>,
    kind: &'static str,
) -> std::io::Result<Counts> {
    let under_way: Rc<[Cell<u64>]> = workers.iter().map(|_| Cell::new(0)).collect();
    let handoff = match plan {
        Plan::Closed { .. } => None,
        Plan::Open { rate, arrivals, .. } => {
            let handoff = Handoff::new(timing.window_start);
            let instants = Instants::new(rate, arrivals, seed, label);
            pacer::start(handoff.clone(), instants, timing.start, timing.window_end)?;
            Some(handoff)
        }
    };
    let tasks: Vec<_> = workers
        .into_iter()
        .enumerate()
        .map(|(slot, worker)| {
            let under_way = Rc::clone(&under_way);
            match handoff.clone() {
                None => tokio::task::spawn_local(closed(worker, timing, under_way, slot)),
                Some(handoff) => tokio::task::spawn_local(open(worker, handoff, under_way, slot)),
            }
        })
        .collect();

    clock::sleep_until(timing.window_end + HANDOFF_GRACE).await;
    if let Some(handoff) = &handoff {
        handoff.close();
    }
    while clock::now() < timing.drain_end && tasks.iter().any(|task| !task.is_finished()) {
        clock::sleep_until(timing.drain_end.min(clock::now() + 5_000_000)).await;
    }
    let now = clock::now();
    for task in &tasks {
        task.abort();
    }
    let mut recorder = recorder.borrow_mut();
    let (completed, failed) = recorder.ended(kind);
    let mut unfinished = 0;
    for planned in under_way.iter().map(Cell::get) {
        if !recorder.in_window(planned) {
            continue;
        }
        unfinished += 1;
        // Right-censored: it took at least this long.
        recorder.failure(
            kind,
            planned,
            planned,
            now,
            &Failure::new(FailureClass::Censored, "unfinished"),
        );
    }
    let not_started = handoff.map_or(0, |handoff| handoff.never_started());
    Ok(Counts {
        completed,
        failed,
        unfinished,
        not_started,
    })
}

async fn closed<W: Worker>(mut worker: W, timing: Timing, under_way: Rc<[Cell<u64>]>, slot: usize) {
    worker.prepare().await;
    clock::sleep_until(timing.start).await;
    loop {
        worker.prepare().await;
        let planned = clock::now();
        if planned >= timing.window_end {
            break;
        }
        under_way[slot].set(planned);
        let reached = worker.operate(planned).await;
        under_way[slot].set(0);
        if !reached {
            // A backend that is away must not turn the loop into a storm of connects.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
}

async fn open<W: Worker>(mut worker: W, handoff: Handoff, under_way: Rc<[Cell<u64>]>, slot: usize) {
    loop {
        worker.prepare().await;
        let Some(planned) = handoff.next().await else {
            break;
        };
        under_way[slot].set(planned);
        worker.operate(planned).await;
        under_way[slot].set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Sample, decode};
    use bakeoff_crds::spec::Arrivals;

    /// A server that answers at once but stalls as a whole for 100 ms, once.
    struct Stalling {
        recorder: Rc<RefCell<Recorder>>,
        stall: (u64, u64),
    }

    impl Worker for Stalling {
        async fn prepare(&mut self) {}
        async fn operate(&mut self, planned: u64) -> bool {
            let sent = clock::now();
            if sent >= self.stall.0 && sent < self.stall.1 {
                clock::sleep_until(self.stall.1).await;
            }
            let sample = Sample {
                member: planned,
                planned,
                sent,
                ended: clock::now(),
                bytes: 0,
            };
            self.recorder.borrow_mut().success("op", sample);
            true
        }
    }

    fn run(workers: usize, open: bool) -> (Counts, crate::record::Recorded) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, async {
            let start = clock::now() + 5_000_000;
            let window_end = start + SECOND;
            let timing = Timing {
                start,
                window_start: start,
                window_end,
                drain_end: window_end + SECOND / 2,
            };
            let recorder = Recorder::new(
                start,
                window_end,
                0,
                open,
                &["op"],
                std::sync::Arc::default(),
            )
            .unwrap();
            let recorder = Rc::new(RefCell::new(recorder));
            let stall = (start + SECOND / 4, start + SECOND / 4 + 100_000_000);
            let all = (0..workers)
                .map(|_| Stalling {
                    recorder: recorder.clone(),
                    stall,
                })
                .collect();
            let plan = if open {
                Plan::Open {
                    rate: 1_000.0,
                    arrivals: Arrivals::Constant,
                    max_in_flight: workers,
                }
            } else {
                Plan::Closed { clients: workers }
            };
            let counts = drive(plan, timing, 1, "t", all, &recorder, "op")
                .await
                .unwrap();
            tokio::task::yield_now().await;
            let recorder = Rc::try_unwrap(recorder).unwrap().into_inner();
            (counts, recorder.finish().unwrap())
        })
    }

    /// The guard against coordinated omission: with one worker a clock that starts at the send
    /// sees one slow operation in a thousand, the true response time of a tenth of them is bad.
    #[test]
    fn a_stall_shows_in_the_response_time_though_one_worker_serves() {
        let (counts, recorded) = run(1, true);
        assert_eq!(counts.planned(), 1_000, "{counts:?}");
        let op = &recorded.operations["op"];
        let response = decode(&op.response).unwrap().value_at_quantile(0.95);
        let service = decode(&op.service).unwrap().value_at_quantile(0.95);
        assert!(response > 40_000, "p95 of the response is {response} µs");
        assert!(service < 20_000, "p95 of the service is {service} µs");
    }

    struct Never;
    impl Worker for Never {
        async fn prepare(&mut self) {}
        async fn operate(&mut self, _planned: u64) -> bool {
            std::future::pending().await
        }
    }

    #[test]
    fn unfinished_and_never_started_operations_are_counted() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, async {
            let start = clock::now();
            let window_end = start + SECOND / 10;
            let timing = Timing {
                start,
                window_start: start,
                window_end,
                drain_end: window_end + SECOND / 10,
            };
            let recorder = Recorder::new(
                start,
                window_end,
                0,
                true,
                &["op"],
                std::sync::Arc::default(),
            )
            .unwrap();
            let recorder = Rc::new(RefCell::new(recorder));
            let plan = Plan::Open {
                rate: 100.0,
                arrivals: Arrivals::Constant,
                max_in_flight: 3,
            };
            let counts = drive(
                plan,
                timing,
                1,
                "t",
                vec![Never, Never, Never],
                &recorder,
                "op",
            )
            .await
            .unwrap();
            assert_eq!(
                counts,
                Counts {
                    completed: 0,
                    failed: 0,
                    unfinished: 3,
                    not_started: 7
                }
            );
        });
    }
}
