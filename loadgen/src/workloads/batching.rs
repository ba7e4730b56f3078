//! B2: snapshots arrive at a rate and are collected into one object before it is written.
//!
//! Kinds of operations, for each snapshot: `append` (from its arrival to the acknowledgement of the
//! object that holds it; the planned one) and `buffer` (from its arrival until its object was
//! sent; its send lag is how late the generator took the snapshot); for each object: `put`. Counters: `puts`, `snapshots`.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use bakeoff_crds::figure::Counter;
use bakeoff_crds::schedule::factor;
use bakeoff_crds::spec::{Arrivals, Batching};
use bytes::{BufMut as _, Bytes, BytesMut};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::body::{self, Bodies};
use super::trial::{Ready, finished};
use super::{Context, Gate, Part, Working, Workload, WorkloadError, memory};
use crate::drivers::s3::Connection;
use crate::failure::{Failure, FailureClass};
use crate::instrument::arrivals::{Instants, Offsets};
use crate::instrument::cgroup;
use crate::instrument::clock;
use crate::instrument::drive::{Counts, planned_in_window, wait_for};
use crate::instrument::meter::Meter;
use crate::instrument::pacer::{self, Due, Handoff, RealTime};
use crate::instrument::record::{Operation, Recorder, Sample};

const APPEND: Operation = Operation::Append;
const BUFFER: Operation = Operation::Buffer;
const PUT: Operation = Operation::Put;

/// Objects being written at the same time in one generator; full buffers beyond them wait.
const WRITERS: usize = 64;

/// A snapshot: when it was due, and when the generator came round to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Arrival {
    planned: u64,
    taken: u64,
}

/// What a snapshot takes that waits, at most: alone in its buffer, with that and what an allocation takes.
const EACH_WAITING: usize = size_of::<Arrival>() + size_of::<Vec<Arrival>>() + 16;

/// Refuses objects of so many snapshots where the memory does not hold as many of them as are written at once when the store is slow:
/// with fewer writers the generator would be measured and not the store. (Pure.)
fn fits(capacity: usize, size: usize, limit: Option<i64>) -> Result<(), WorkloadError> {
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    // The objects, and the buffers that they are made of.
    let objects = count(size + size_of::<Arrival>()).saturating_mul(count(capacity * WRITERS));
    let besides = count(pacer::MAX_WAITING * EACH_WAITING) + Bodies::held(size);
    memory::within(
        objects.saturating_add(besides),
        limit,
        &format!("{WRITERS} objects of {capacity} snapshots of {size} bytes while it writes them"),
        "take fewer snapshotsPerObject or a smaller snapshotSize",
    )
}

/// Full buffers on their way to the writers.
#[derive(Debug)]
struct Outbox {
    full: RefCell<VecDeque<Vec<Arrival>>>,
    /// Snapshots in them.
    waiting: Cell<usize>,
    /// How many may wait. The pacer's line is bounded, but the collector empties it at once: what a store that is too slow
    /// leaves behind gathers here.
    most: usize,
    /// Snapshots of the window that found no room.
    dropped: Cell<u64>,
    counted_from: u64,
    ready: Notify,
    closed: Cell<bool>,
}

impl Outbox {
    /// An empty one with room for `most` snapshots; of those that find none, what arrived from `counted_from` on counts.
    fn new(most: usize, counted_from: u64) -> Self {
        Self {
            full: RefCell::default(),
            waiting: Cell::new(0),
            most,
            dropped: Cell::new(0),
            counted_from,
            ready: Notify::new(),
            closed: Cell::new(false),
        }
    }

    /// Takes a full buffer, unless there is no room: its snapshots are never begun then.
    fn push(&self, mut full: Vec<Arrival>) {
        let waiting = self.waiting.get() + full.len();
        if waiting > self.most {
            let counted = full
                .iter()
                .filter(|arrival| arrival.planned >= self.counted_from);
            self.dropped
                .set(self.dropped.get() + counted.count() as u64);
            return;
        }
        self.waiting.set(waiting);
        // One that left by its age has room for many more, and a great number may wait.
        full.shrink_to_fit();
        self.full.borrow_mut().push_back(full);
        self.ready.notify_one();
    }

    fn pop(&self) -> Option<Vec<Arrival>> {
        let full = self.full.borrow_mut().pop_front()?;
        self.waiting
            .set(self.waiting.get().saturating_sub(full.len()));
        Some(full)
    }

    fn close(&self) {
        self.closed.set(true);
        self.ready.notify_waiters();
    }
}

/// Collects arrivals into buffers: a pure step, so that its rule is tested without a clock.
#[derive(Debug)]
struct Collector {
    capacity: usize,
    max_age: u64,
    buffer: Vec<Arrival>,
    deadline: u64,
}

impl Collector {
    fn new(capacity: usize, max_age: u64) -> Self {
        Self {
            capacity,
            max_age,
            buffer: Vec::with_capacity(capacity),
            deadline: u64::MAX,
        }
    }

    /// Adds a snapshot; answers the buffer when that filled it.
    fn add(&mut self, arrival: Arrival) -> Option<Vec<Arrival>> {
        if self.buffer.is_empty() {
            // The age counts from the arrival, not from when this process came round to it.
            self.deadline = arrival.planned.saturating_add(self.max_age);
        }
        self.buffer.push(arrival);
        (self.buffer.len() >= self.capacity).then(|| self.take())
    }

    /// Answers the buffer when it is too old.
    fn expire(&mut self, now: u64) -> Option<Vec<Arrival>> {
        (!self.buffer.is_empty() && now >= self.deadline).then(|| self.take())
    }

    fn take(&mut self) -> Vec<Arrival> {
        self.deadline = u64::MAX;
        std::mem::replace(&mut self.buffer, Vec::with_capacity(self.capacity))
    }
}

async fn collect(handoff: Handoff, mut collector: Collector, outbox: Rc<Outbox>) {
    loop {
        let arrival = if collector.deadline == u64::MAX {
            handoff.next().await
        } else {
            tokio::select! {
                biased;
                arrival = handoff.next() => arrival,
                () = clock::sleep_until(collector.deadline) => {
                    if let Some(full) = collector.expire(clock::now()) {
                        outbox.push(full);
                    }
                    continue;
                }
            }
        };
        let Some(Due { planned, .. }) = arrival else {
            break;
        };
        if let Some(full) = collector.add(Arrival {
            planned,
            taken: clock::now(),
        }) {
            outbox.push(full);
        }
    }
    // What is left keeps its deadline, as in production.
    if !collector.buffer.is_empty() {
        clock::sleep_until(collector.deadline).await;
        outbox.push(collector.take());
    }
    outbox.close();
}

struct Writer {
    connection: Connection,
    recorder: Rc<RefCell<Recorder>>,
    bodies: Rc<Bodies>,
    base: Rc<str>,
    worker: usize,
    sequence: u64,
    /// Snapshots, of all its objects.
    made: u64,
}

impl Writer {
    async fn write(&mut self, outbox: Rc<Outbox>) {
        loop {
            let _ = self.connection.ready().await;
            match outbox.pop() {
                Some(snapshots) => self.put(&snapshots).await,
                None if outbox.closed.get() => return,
                None => outbox.ready.notified().await,
            }
        }
    }

    async fn put(&mut self, snapshots: &[Arrival]) {
        self.sequence += 1;
        let key = format!("{}{:04}-{:010}", self.base, self.worker, self.sequence);
        let path = self.connection.target().object_path(&key);
        let body = self.object(snapshots.len());
        let bytes = body.len() as u64;
        let sent = clock::now();
        let result = self.connection.put(&path, body.into()).await;
        let ended = clock::now();
        // The object belongs where its first snapshot does.
        let Some(&Arrival { planned: first, .. }) = snapshots.first() else {
            return;
        };
        let mut recorder = self.recorder.borrow_mut();
        match result {
            Ok(_) => {
                recorder.success(
                    PUT,
                    Sample {
                        member: first,
                        planned: sent,
                        sent,
                        ended,
                        bytes,
                        queued: false,
                    },
                );
                recorder.count(Counter::Puts, first, 1);
                let each = bytes / snapshots.len() as u64;
                for &Arrival { planned, taken } in snapshots {
                    let buffered = Sample {
                        member: planned,
                        planned,
                        sent: taken,
                        ended: sent,
                        bytes: 0,
                        queued: false,
                    };
                    recorder.success(BUFFER, buffered);
                    recorder.success(
                        APPEND,
                        Sample {
                            member: planned,
                            planned,
                            sent,
                            ended,
                            bytes: each,
                            queued: false,
                        },
                    );
                    recorder.count(Counter::Snapshots, planned, 1);
                }
            }
            Err(failure) => {
                recorder.failure(PUT, first, sent, ended, &failure);
                for &Arrival { planned, .. } in snapshots {
                    recorder.failure(APPEND, planned, planned, ended, &failure);
                }
            }
        }
    }

    fn object(&mut self, snapshots: usize) -> Bytes {
        // At once: one that grows is held twice while it is copied.
        let mut object = BytesMut::with_capacity(snapshots * self.bodies.size());
        for _ in 0..snapshots {
            object.put(self.bodies.body(body::number(self.worker, self.made)));
            self.made += 1;
        }
        object.freeze()
    }
}

impl Workload for Batching {
    fn run<'a>(&'a self, context: &'a Context<'_>, gate: &'a dyn Gate) -> Working<'a, Part> {
        Box::pin(run(context, self, gate))
    }

    fn runs_on_null(&self) -> bool {
        true
    }
}

/// Runs the trial.
///
/// # Errors
/// When the trial does not fit the spec, or recording or pacing fails.
async fn run(
    context: &Context<'_>,
    spec: &Batching,
    gate: &dyn Gate,
) -> Result<Part, WorkloadError> {
    let dialer = context.access.s3()?;
    let capacity = usize::try_from(context.level(factor::SNAPSHOTS_PER_OBJECT)?)
        .unwrap_or(1)
        .max(1);
    let rate = context.level(factor::ARRIVALS_PER_SECOND)? as f64 / context.generators as f64;
    let size = usize::try_from(spec.snapshot_size.units()?).unwrap_or(1);
    fits(capacity, size, cgroup::limits().1)?;
    let bodies = Rc::new(context.bodies(size));
    let base: Rc<str> = format!("{}g{}/", context.attempt_prefix(), context.generator).into();
    let max_age = u64::try_from(spec.max_buffer_milliseconds).unwrap_or(0) * 1_000_000;

    let ready = Ready::at(context, gate, true, &[APPEND, BUFFER, PUT]).await?;
    let (timing, recorder) = (ready.timing, Rc::clone(&ready.recorder));
    let handoff = Handoff::new(timing.window_start);
    let instants = Instants::new(
        rate,
        Arrivals::Poisson,
        context.seed(),
        &context.label("arrivals"),
    );
    let planned = planned_in_window(instants.clone(), timing);
    let _real_time = RealTime::begin();
    let offsets = Offsets::Drawn(instants);
    pacer::start(handoff.clone(), offsets, timing.start, timing.window_end)?;
    let start_skew = ready.late();

    let outbox = Rc::new(Outbox::new(pacer::MAX_WAITING, timing.window_start));
    let mut tasks = JoinSet::new();
    tasks.spawn_local(collect(
        handoff.clone(),
        Collector::new(capacity, max_age),
        Rc::clone(&outbox),
    ));
    for worker in 0..WRITERS {
        let mut writer = Writer {
            connection: dialer.connection(),
            recorder: Rc::clone(&recorder),
            bodies: Rc::clone(&bodies),
            base: Rc::clone(&base),
            worker,
            sequence: 0,
            made: 0,
        };
        let outbox = Rc::clone(&outbox);
        tasks.spawn_local(async move { writer.write(outbox).await });
    }
    let usage = Meter::over(timing.window_start, timing.window_end).await;
    wait_for(&mut tasks, timing.drain_end).await;
    handoff.close();
    tasks.abort_all();
    let now = clock::now();
    let not_started = handoff.never_started() + outbox.dropped.get();
    let (completed, failed) = recorder.borrow().ended(APPEND);
    let unfinished = planned.saturating_sub(completed + failed + not_started);
    for _ in 0..unfinished.min(1_000_000) {
        // Their own arrivals are in tasks that are gone; the window's end is a safe lower bound.
        let at = timing.window_end - 1;
        let censored = Failure::new(FailureClass::Censored, "unfinished");
        recorder
            .borrow_mut()
            .failure(APPEND, at, at, now, &censored);
    }
    Ok(Part {
        counts: Counts {
            completed,
            failed,
            unfinished,
            not_started,
            orphaned: 0,
            expected: planned,
            pacer_lateness: handoff.lateness_p99(),
        },
        offered_per_second: rate,
        window: ready.window(),
        recorded: finished(ready.recorder)?,
        // An append is sent when its object is, which buffering delays by design: the lag of the
        // generator itself is that with which it took the snapshot.
        planned_kind: BUFFER.as_str(),
        open_loop: true,
        start_skew,
        usage,
        ..Part::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_that_the_memory_does_not_hold_are_refused() {
        let within = |mib: i64| Some(mib << 20);
        assert!(fits(50, 4_096, within(512)).is_ok(), "the defaults");
        assert!(fits(10_000, 4_096, None).is_ok());
        assert!(
            fits(1, 4_096, within(128)).is_ok(),
            "as small as generators get"
        );
        let refused = fits(10_000, 4_096, within(512)).unwrap_err();
        assert_eq!(refused.reason(), "SpecInvalid");
        let said = refused.to_string();
        for part in [
            "64 objects of 10000 snapshots of 4096 bytes",
            "generators.resources.memory at least",
            "snapshotsPerObject",
            "snapshotSize",
        ] {
            assert!(said.contains(part), "{said}");
        }
        // What is asked for does.
        let asked = said.split("at least ").nth(1).unwrap();
        let asked: i64 = asked.split("Mi").next().unwrap().parse().unwrap();
        assert!(fits(10_000, 4_096, within(asked)).is_ok());
        assert!(fits(10_000, 4_096, within(asked - 1)).is_err());
    }

    #[test]
    fn a_buffer_that_waits_takes_no_more_than_its_snapshots() {
        let mut collector = Collector::new(10_000, 100);
        let outbox = Outbox::new(10, 0);
        let arrival = Arrival {
            planned: 1,
            taken: 1,
        };
        assert_eq!(collector.add(arrival), None);
        outbox.push(collector.expire(1_000).unwrap());
        assert!(outbox.pop().unwrap().capacity() < 100);
    }

    #[test]
    fn what_finds_no_room_is_never_begun_and_counts_where_it_is_of_the_window() {
        let at = |planned| Arrival {
            planned,
            taken: planned,
        };
        let outbox = Outbox::new(3, 100);
        outbox.push(vec![at(98), at(99)]);
        outbox.push(vec![at(99), at(100)]);
        assert_eq!((outbox.dropped.get(), outbox.waiting.get()), (1, 2));
        outbox.push(vec![at(101)]);
        assert_eq!(outbox.pop(), Some(vec![at(98), at(99)]));
        outbox.push(vec![at(102), at(103)]);
        assert_eq!((outbox.dropped.get(), outbox.waiting.get()), (1, 3));
        assert_eq!(outbox.pop(), Some(vec![at(101)]));
        assert_eq!(outbox.pop(), Some(vec![at(102), at(103)]));
        assert_eq!((outbox.pop(), outbox.waiting.get()), (None, 0));
    }

    #[test]
    fn a_buffer_goes_when_full_or_too_old() {
        let mut collector = Collector::new(3, 100);
        let at = |planned| Arrival {
            planned,
            taken: planned,
        };
        assert_eq!(collector.add(at(1)), None);
        assert_eq!(collector.add(at(2)), None);
        assert_eq!(collector.add(at(3)), Some(vec![at(1), at(2), at(3)]));
        assert_eq!(collector.expire(1_000), None);
        assert_eq!(collector.add(at(10)), None);
        assert_eq!(collector.expire(109), None);
        assert_eq!(collector.expire(110), Some(vec![at(10)]));
    }
}
