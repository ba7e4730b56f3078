//! Tests of the driver: what stalls, is lost, late or away must show.

use super::*;
use crate::instrument::record::{Recorded, Sample, decode};
use crate::run::assemble::PartRecord;
use crate::run::judge::{Circumstances, judge};
use crate::testing::local;
use crate::workloads::Part;
use bakeoff_crds::result::{InvalidCode, Verdict};
use bakeoff_crds::spec::{Arrivals, Validity};

/// A server that answers at once but stalls as a whole, once.
struct Stalling {
    recorder: Rc<RefCell<Recorder>>,
    stall: (u64, u64),
    connects: Rc<Cell<usize>>,
}

impl Worker for Stalling {
    fn prepare(&mut self) {}
    async fn connect(&mut self) {
        self.connects.set(self.connects.get() + 1);
    }
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
        self.recorder
            .borrow_mut()
            .success(Operation::Operation, sample);
        true
    }
}

fn recorder(timing: &Timing, open: bool) -> Rc<RefCell<Recorder>> {
    let (start, end) = (timing.window_start, timing.window_end);
    let recorder = Recorder::new(
        start,
        end,
        0,
        open,
        &[Operation::Operation],
        std::sync::Arc::default(),
    );
    Rc::new(RefCell::new(recorder.unwrap()))
}

fn recorded(recorder: Rc<RefCell<Recorder>>) -> Recorded {
    let spare = Recorder::new(0, 0, 0, false, &[], std::sync::Arc::default()).unwrap();
    recorder.replace(spare).finish().unwrap()
}

/// One second at 1,000/s. The server stalls from `stall_at` after the start for 100 ms.
fn run(workers: usize, open: bool, stall_at: u64) -> (Counts, Recorded, usize) {
    local(async {
        let start = clock::now() + 5_000_000;
        let timing = Timing {
            start,
            window_start: start,
            window_end: start + SECOND,
            drain_end: start + 60 * SECOND,
        };
        let recorder = recorder(&timing, open);
        let stall = (start + stall_at, start + stall_at + 100_000_000);
        let connects = Rc::new(Cell::new(0));
        let all = (0..workers)
            .map(|_| Stalling {
                recorder: recorder.clone(),
                stall,
                connects: connects.clone(),
            })
            .collect();
        let pace = if open {
            Pace::Open {
                rate: 1_000.0,
                arrivals: Arrivals::Constant,
                max_in_flight: workers,
            }
        } else {
            Pace::Closed { clients: workers }
        };
        let counts = driven(pace, timing, all, &recorder).await;
        (counts, recorded(recorder), connects.get())
    })
}

/// The guard against coordinated omission: with one worker a clock that starts at the send
/// sees one slow operation in a thousand, the true response time of a tenth of them is bad.
#[test]
fn a_stall_shows_in_the_response_time_though_one_worker_serves() {
    let (counts, recorded, _) = run(1, true, SECOND / 4);
    assert_eq!(
        (counts.expected, counts.completed),
        (1_000, 1_000),
        "{counts:?}"
    );
    let op = &recorded.operations["operation"];
    let response = decode(&op.response).unwrap().value_at_quantile(0.95);
    assert!(response > 40_000, "p95 of the response is {response} µs");
    // A clock that starts at the send sees the one that met the stall. A busy machine may hold up a few more, never as many
    // as were due meanwhile.
    let slow = |encoded| decode(encoded).unwrap().count_between(20_000, u64::MAX);
    let (response, service) = (slow(&op.response), slow(&op.service));
    assert!(
        response >= 75 && service * 5 < response,
        "{response} of the responses and {service} of the services are slow"
    );
    // What stood behind the stall waited for the one slot: no fault of the generator.
    assert!(op.queued >= 90, "{}", op.queued);
    let lag = decode(&op.generator_lag).unwrap();
    assert_eq!(i64::try_from(lag.len()).unwrap() + op.queued, 1_000);
}

/// What was due in the window is served though the window is over: nothing that stood behind a
/// stall at its end may vanish.
#[test]
fn a_stall_at_the_end_of_the_window_loses_nothing() {
    let (counts, recorded, _) = run(1, true, SECOND - 100_000_000);
    assert_eq!(
        (counts.expected, counts.completed, counts.not_started),
        (1_000, 1_000, 0),
        "{counts:?}"
    );
    let response = decode(&recorded.operations["operation"].response).unwrap();
    let p95 = response.value_at_quantile(0.95);
    assert!(p95 > 40_000, "p95 of the response is {p95} µs");
}

#[test]
fn a_closed_loop_accounts_for_what_it_sent() {
    let (counts, recorded, connects) = run(4, false, SECOND / 4);
    assert!(counts.expected > 100, "{counts:?}");
    assert_eq!(counts.expected, counts.planned());
    // Once for each client before load begins: a connection that breaks later is opened again
    // within the next operation, on its clock.
    assert_eq!(connects, 4);
    let op = &recorded.operations["operation"];
    assert_eq!(op.response, op.service);
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
    local(async {
        let start = clock::now();
        let window_end = start + SECOND / 10;
        let timing = Timing {
            start,
            window_start: start,
            window_end,
            drain_end: window_end + 3 * SECOND,
        };
        let recorder = recorder(&timing, true);
        let pace = Pace::Open {
            rate: 100.0,
            arrivals: Arrivals::Constant,
            max_in_flight: 3,
        };
        let workers = vec![Never, Never, Never];
        let counts = driven(pace, timing, workers, &recorder).await;
        assert_eq!(
            (counts.expected, counts.unfinished, counts.not_started),
            (10, 3, 7)
        );
        assert_eq!(counts.planned(), 10);
        // Censored at the end of the drain: they took at least that long.
        let censored = &recorded(recorder).operations["operation"].failures["censored"];
        let least = decode(&censored.response).unwrap().min();
        assert!(censored.count == 3 && least >= 150_000, "{least} µs");
    });
}

/// What came of a load that these workers carried.
async fn driven<W: Worker>(
    pace: Pace,
    timing: Timing,
    workers: Vec<W>,
    recorder: &Rc<RefCell<Recorder>>,
) -> Counts {
    let kind = Operation::Operation;
    let counts = drive(pace, timing, 1, "t", workers, recorder, kind).await;
    counts.unwrap()
}

struct Instant(Rc<RefCell<Recorder>>);
impl Worker for Instant {
    fn prepare(&mut self) {}
    async fn connect(&mut self) {}
    async fn operate(&mut self, due: Due) -> bool {
        let now = clock::now();
        let sample = Sample {
            member: due.planned,
            planned: due.planned,
            sent: now,
            ended: now,
            bytes: 0,
            queued: due.queued,
        };
        self.0.borrow_mut().success(Operation::Operation, sample);
        true
    }
}

/// What the verdict says of a load at 1,000/s whose instants this pacer hands over, when lags of so many microseconds are
/// borne with and what is due is waited for for so many seconds.
fn judged(pacer: Pacer, lag: i32, drain: u64) -> Vec<InvalidCode> {
    local(async {
        let start = clock::now() + SECOND / 2;
        let window_end = start + SECOND / 5;
        let timing = Timing {
            start,
            window_start: start,
            window_end,
            drain_end: window_end + drain * SECOND,
        };
        let recorder = recorder(&timing, true);
        let instants = Instants::new(1_000.0, Arrivals::Constant, 1, "t");
        let workers = (0..500).map(|_| Instant(recorder.clone())).collect();
        let mut counts = drive_paced(
            Some(Offsets::Drawn(instants.clone())),
            pacer,
            timing,
            workers,
            &recorder,
            Operation::Operation,
        )
        .await
        .unwrap();
        counts.expected = planned_in_window(instants, timing);
        let part = Part {
            counts,
            recorded: recorded(recorder),
            window: (timing.window_start, timing.window_end),
            planned_kind: Operation::Operation.as_str(),
            open_loop: true,
            ..Part::default()
        };
        let bounds = Validity {
            max_send_lag_p99_microseconds: lag,
            ..Validity::default()
        };
        let whole = PartRecord::new(&part, 0, "", Default::default());
        let circumstances = Circumstances {
            generators: vec![whole.usage.clone()],
            ..Circumstances::default()
        };
        match judge(&whole, circumstances, &bounds).unwrap().verdict {
            Verdict::Valid => vec![],
            Verdict::Invalid(reasons) => reasons.into_iter().map(|reason| reason.code).collect(),
        }
    })
}

fn hand_over(
    handoff: Handoff,
    instants: Offsets,
    (start, end): (u64, u64),
    each: fn(usize, u64, &Handoff),
) -> std::io::Result<()> {
    std::thread::Builder::new()
        .spawn(move || {
            let due = instants.map(|offset| start + offset);
            for (index, planned) in due.take_while(|&planned| planned < end).enumerate() {
                each(index, planned, &handoff);
            }
            handoff.end();
        })
        .map(drop)
}

fn wait(until: u64) {
    while clock::now() < until {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

#[test]
fn a_broken_pacer_voids_the_trial() {
    // Beyond what a busy machine holds up; only the pacer that is late on purpose is measured by less.
    const LAG: i32 = 50_000_000;
    const DRAIN: u64 = 60;
    assert_eq!(judged(pacer::start, LAG, DRAIN), []);
    let dropping: Pacer = |handoff, instants, start, end| {
        hand_over(
            handoff,
            instants,
            (start, end),
            |index, planned, handoff| {
                wait(planned);
                if index % 10 != 0 {
                    handoff.offer(planned, clock::now());
                }
            },
        )
    };
    assert_eq!(judged(dropping, LAG, DRAIN), [InvalidCode::PlanNotKept]);
    let doubling: Pacer = |handoff, instants, start, end| {
        hand_over(handoff, instants, (start, end), |_, planned, handoff| {
            wait(planned);
            handoff.offer(planned, clock::now());
            handoff.offer(planned, clock::now());
        })
    };
    assert_eq!(judged(doubling, LAG, DRAIN), [InvalidCode::PlanNotKept]);
    let early: Pacer = |handoff, instants, start, end| {
        hand_over(handoff, instants, (start, end), |_, planned, handoff| {
            handoff.offer(planned, clock::now());
        })
    };
    assert_eq!(judged(early, LAG, DRAIN), [InvalidCode::SentEarly]);
    let late: Pacer = |handoff, instants, start, end| {
        hand_over(handoff, instants, (start, end), |_, planned, handoff| {
            wait(planned + SECOND + SECOND / 2);
            handoff.offer(planned, clock::now());
        })
    };
    // Both the operations' lag and the pacer's own say so.
    assert_eq!(
        judged(late, 1_000_000, DRAIN),
        [InvalidCode::SendLag, InvalidCode::SendLag]
    );
    let dead: Pacer = |_, _, _, _| Ok(());
    assert_eq!(
        judged(dead, LAG, 1),
        [InvalidCode::NoOperations, InvalidCode::PlanNotKept]
    );
}

/// Counts what it has to do.
struct Turning(Rc<Cell<u32>>);
impl Worker for Turning {
    fn takes_turns(&self) -> bool {
        true
    }
    fn prepare(&mut self) {}
    async fn connect(&mut self) {}
    async fn operate(&mut self, _due: Due) -> bool {
        self.0.set(self.0.get() + 1);
        true
    }
}

/// Each worker has its part of a load that one of them could carry.
#[test]
fn those_who_take_turns_have_all_as_much_to_do() {
    local(async {
        let start = clock::now() + SECOND / 10;
        let window_end = start + SECOND / 2;
        let timing = Timing {
            start,
            window_start: start,
            window_end,
            drain_end: window_end + 60 * SECOND,
        };
        let pace = Pace::Open {
            rate: 400.0,
            arrivals: Arrivals::Constant,
            max_in_flight: 8,
        };
        let had: Vec<Rc<Cell<u32>>> = (0..8).map(|_| Rc::default()).collect();
        let workers = had.iter().map(|one| Turning(Rc::clone(one)));
        let (workers, recorder) = (workers.collect(), recorder(&timing, true));
        driven(pace, timing, workers, &recorder).await;
        let had: Vec<u32> = had.iter().map(|one| one.get()).collect();
        // A thread that is held up has several due at once, and who is awake takes them.
        assert!(
            had.iter().sum::<u32>() == 200 && had.iter().all(|&n| n > 0),
            "{had:?}"
        );
    });
}
