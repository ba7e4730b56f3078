//! Drives workers through warm-up, window and drain, in a closed or an open loop.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::failure::{Failure, FailureClass};
use crate::instrument::arrivals::{Instants, Offsets, Pace};
use crate::instrument::clock::{self, SECOND};
use crate::instrument::pacer::{self, Due, Handoff, RealTime};
use crate::instrument::record::{Operation, Recorder};

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
    /// Not sent because what they follow failed, where operations follow each other.
    pub orphaned: u64,
    /// Operations of the window, counted apart from what became of them: in an open load from the plan
    /// itself, in a closed one as they are sent. A pacer or worker that loses or adds some is found by
    /// it.
    pub expected: u64,
    /// The 99th percentile of how late the pacer was, microseconds; 0 in a closed load.
    pub pacer_lateness: u64,
}

impl Counts {
    /// All of them.
    #[must_use]
    pub fn planned(&self) -> u64 {
        self.completed + self.failed + self.unfinished + self.not_started + self.orphaned
    }
}

/// A client with its connection. It records its own operations.
pub trait Worker: 'static {
    /// Whether each has something of its own that the load is to reach as often as that of the others, as rows or a server: they
    /// take turns then. Else as few are used as keep up, as in a pool of connections.
    fn takes_turns(&self) -> bool {
        false
    }

    /// Builds the next key and body, which is no part of what is measured. Off the clock.
    fn prepare(&mut self);

    /// Opens the connection unless it is open. A failure shows again, and is recorded, when the next
    /// operation is due.
    fn connect(&mut self) -> impl Future<Output = ()>;

    /// Carries out one operation, which opens the connection first where it is gone. Answers whether the
    /// backend could be reached.
    fn operate(&mut self, due: Due) -> impl Future<Output = bool>;

    /// What it does next, before it takes what else is due: an operation that waited for the one that it has just ended.
    fn follow(&mut self) -> Option<Due> {
        None
    }
}

/// Starts what hands over the planned instants: [`pacer::start`], but for tests of broken ones.
type Pacer = fn(Handoff, Offsets, u64, u64) -> std::io::Result<()>;

/// Runs the workers until the drain ends or all have finished. `kind` is the kind of operation
/// that the load plans. To be called on [`crate::instrument::runtime::local`].
///
/// # Errors
/// When the pacer cannot be started.
pub async fn drive<W: Worker>(
    pace: Pace,
    timing: Timing,
    seed: u64,
    label: &str,
    workers: Vec<W>,
    recorder: &Rc<RefCell<Recorder>>,
    kind: Operation,
) -> std::io::Result<Counts> {
    let instants = match pace {
        Pace::Closed { .. } => None,
        Pace::Open { rate, arrivals, .. } => Some(Instants::new(rate, arrivals, seed, label)),
    };
    let offsets = instants.clone().map(Offsets::Drawn);
    let mut counts = drive_paced(offsets, pacer::start, timing, workers, recorder, kind).await?;
    if let Some(instants) = instants {
        counts.expected = planned_in_window(instants, timing);
    }
    Ok(counts)
}

/// Runs the workers on instants that are planned one by one. What was expected of the window is left for the caller to count,
/// who knows the plan.
///
/// # Errors
/// When the pacer cannot be started.
pub async fn drive_planned<W: Worker>(
    offsets: Box<dyn Iterator<Item = u64> + Send>,
    timing: Timing,
    workers: Vec<W>,
    recorder: &Rc<RefCell<Recorder>>,
    kind: Operation,
) -> std::io::Result<Counts> {
    let offsets = Some(Offsets::Given(offsets));
    drive_paced(offsets, pacer::start, timing, workers, recorder, kind).await
}

async fn drive_paced<W: Worker>(
    offsets: Option<Offsets>,
    pacer: Pacer,
    timing: Timing,
    workers: Vec<W>,
    recorder: &Rc<RefCell<Recorder>>,
    kind: Operation,
) -> std::io::Result<Counts> {
    let under_way: Rc<[Cell<u64>]> = workers.iter().map(|_| Cell::new(0)).collect();
    let sent = Rc::new(Cell::new(0));
    let _real_time = offsets.is_some().then(RealTime::begin);
    let handoff = match offsets {
        None => None,
        Some(offsets) => {
            let mut handoff = Handoff::new(timing.window_start);
            if workers.iter().any(W::takes_turns) {
                handoff = handoff.in_turn();
            }
            pacer(handoff.clone(), offsets, timing.start, timing.window_end)?;
            Some(handoff)
        }
    };
    // A run that is stopped drops them, and they end.
    let mut tasks = JoinSet::new();
    for (slot, worker) in workers.into_iter().enumerate() {
        let under_way = Rc::clone(&under_way);
        match handoff.clone() {
            None => {
                let sent = Rc::clone(&sent);
                tasks.spawn_local(closed(worker, timing, under_way, slot, sent));
            }
            Some(handoff) => {
                tasks.spawn_local(open(worker, handoff, under_way, slot));
            }
        }
    }

    clock::sleep_until(timing.window_end).await;
    // What was due in the window and waits behind a stall is served until the drain ends.
    wait_for(&mut tasks, timing.drain_end).await;
    let now = clock::now();
    if let Some(handoff) = &handoff {
        handoff.close();
    }
    tasks.abort_all();
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
    Ok(Counts {
        completed,
        failed,
        unfinished,
        not_started: handoff.as_ref().map_or(0, Handoff::never_started),
        orphaned: 0,
        expected: sent.get(),
        pacer_lateness: handoff.as_ref().map_or(0, Handoff::lateness_p99),
    })
}

/// Waits until all tasks have ended, and no longer than until an instant of the monotonic clock.
pub(crate) async fn wait_for(tasks: &mut JoinSet<()>, end: u64) {
    tokio::select! {
        () = async { while tasks.join_next().await.is_some() {} } => {}
        () = clock::sleep_until(end) => {}
    }
}

/// How many instants of a plan lie in the window.
pub fn planned_in_window(instants: Instants, timing: Timing) -> u64 {
    instants
        .map(|offset| timing.start.saturating_add(offset))
        .take_while(|&at| at < timing.window_end)
        .filter(|&at| at >= timing.window_start)
        .count() as u64
}

async fn closed<W: Worker>(
    mut worker: W,
    timing: Timing,
    under_way: Rc<[Cell<u64>]>,
    slot: usize,
    sent: Rc<Cell<u64>>,
) {
    worker.connect().await;
    clock::sleep_until(timing.start).await;
    loop {
        worker.prepare();
        let planned = clock::now();
        if planned >= timing.window_end {
            break;
        }
        sent.set(sent.get() + u64::from(planned >= timing.window_start));
        under_way[slot].set(planned);
        // A connection that the backend closed is opened again within the operation: its client waits
        // for that as for anything else.
        let due = Due {
            planned,
            queued: false,
            index: 0,
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
        let mut next = handoff.next().await;
        if next.is_none() {
            break;
        }
        while let Some(due) = next {
            under_way[slot].set(due.planned);
            worker.operate(due).await;
            under_way[slot].set(0);
            next = worker.follow();
        }
    }
}

#[cfg(test)]
mod tests;
