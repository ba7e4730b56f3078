//! Drives workers through warm-up, window and drain, in a closed or an open loop.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use crate::arrivals::{Instants, Plan};
use crate::clock::{self, SECOND};
use crate::pacer::{self, Due, Handoff};
use crate::record::Recorder;
use crate::s3::{Failure, FailureClass};

/// A backend that is away must not turn a closed loop into a storm of connects.
const AWAY_PAUSE: Duration = Duration::from_millis(50);

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
    /// Operations of the window that the plan holds, counted from the plan itself; 0 in a closed load. A
    /// pacer that loses or adds some is found by it.
    pub expected: u64,
    /// The 99th percentile of how late the pacer was, microseconds; 0 in a closed load.
    pub pacer_lateness: u64,
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
    /// Builds the next key and body, which is no part of what is measured. Off the clock.
    fn prepare(&mut self);

    /// Opens the connection unless it is open. A failure shows again, and is recorded, when the next
    /// operation is due.
    fn connect(&mut self) -> impl Future<Output = ()>;

    /// Carries out one operation, which opens the connection first where it is gone. Answers whether the
    /// backend could be reached.
    fn operate(&mut self, due: Due) -> impl Future<Output = bool>;
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

    clock::sleep_until(timing.window_end).await;
    // What was due in the window and waits behind a stall is served until the drain ends.
    while clock::now() < timing.drain_end && tasks.iter().any(|task| !task.is_finished()) {
        clock::sleep_until(timing.drain_end.min(clock::now() + 5_000_000)).await;
    }
    let now = clock::now();
    if let Some(handoff) = &handoff {
        handoff.close();
    }
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
    let expected = match plan {
        Plan::Closed { .. } => 0,
        Plan::Open { rate, arrivals, .. } => {
            planned_in_window(Instants::new(rate, arrivals, seed, label), timing)
        }
    };
    Ok(Counts {
        completed,
        failed,
        unfinished,
        not_started: handoff.as_ref().map_or(0, Handoff::never_started),
        expected,
        pacer_lateness: handoff.as_ref().map_or(0, Handoff::lateness_p99),
    })
}

/// How many instants of a plan lie in the window.
pub fn planned_in_window(instants: Instants, timing: Timing) -> u64 {
    instants
        .map(|offset| timing.start.saturating_add(offset))
        .take_while(|&at| at < timing.window_end)
        .filter(|&at| at >= timing.window_start)
        .count() as u64
}

async fn closed<W: Worker>(mut worker: W, timing: Timing, under_way: Rc<[Cell<u64>]>, slot: usize) {
    worker.connect().await;
    clock::sleep_until(timing.start).await;
    loop {
        worker.prepare();
        let planned = clock::now();
        if planned >= timing.window_end {
            break;
        }
        under_way[slot].set(planned);
        // A connection that the backend closed is opened again within the operation: its client waits
        // for that as for anything else.
        let due = Due {
            planned,
            queued: false,
        };
        let reached = worker.operate(due).await;
        under_way[slot].set(0);
        if !reached {
            tokio::time::sleep(AWAY_PAUSE).await;
        }
    }
}

async fn open<W: Worker>(mut worker: W, handoff: Handoff, under_way: Rc<[Cell<u64>]>, slot: usize) {
    loop {
        worker.prepare();
        // Ahead of the next operation, as a pool of connections does; what is due meanwhile waits, and
        // its response counts from its plan.
        worker.connect().await;
        let Some(due) = handoff.next().await else {
            break;
        };
        under_way[slot].set(due.planned);
        worker.operate(due).await;
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
        fn prepare(&mut self) {}
        async fn connect(&mut self) {}
        async fn operate(&mut self, due: Due) -> bool {
            let planned = due.planned;
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
                queued: due.queued,
            };
            self.recorder.borrow_mut().success("op", sample);
            true
        }
    }

    fn run(workers: usize, open: bool) -> (Counts, crate::record::Recorded) {
        run_with_stall(workers, open, SECOND / 4, 100_000_000)
    }

    fn run_with_stall(
        workers: usize,
        open: bool,
        at: u64,
        length: u64,
    ) -> (Counts, crate::record::Recorded) {
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
            let stall = (start + at, start + at + length);
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

    /// What waits behind a stall at the end of the window was offered in the window and is served.
    #[test]
    fn a_stall_at_the_end_of_the_window_is_drained_and_not_dropped() {
        let (counts, recorded) = run_with_stall(1, true, SECOND - 150_000_000, 250_000_000);
        assert_eq!(
            (counts.not_started, counts.unfinished),
            (0, 0),
            "{counts:?}"
        );
        assert_eq!((counts.planned(), counts.expected), (1_000, 1_000));
        let response = decode(&recorded.operations["op"].response).unwrap();
        assert!(response.max() > 200_000, "{}", response.max());
        // One worker: what waited for it is the backend's doing and not the generator's lag.
        let op = &recorded.operations["op"];
        assert!(op.queued > 100, "{}", op.queued);
        let all = decode(&op.send_lag).unwrap().max();
        let own = decode(&op.generator_lag).unwrap().max();
        assert!(all > 100_000 && own < all, "{own} of {all} µs");
    }

    struct Never;
    impl Worker for Never {
        fn prepare(&mut self) {}
        async fn connect(&mut self) {}
        async fn operate(&mut self, _due: Due) -> bool {
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
                (
                    counts.completed,
                    counts.failed,
                    counts.unfinished,
                    counts.not_started
                ),
                (0, 0, 3, 7)
            );
            assert_eq!(counts.expected, counts.planned());
        });
    }
}
