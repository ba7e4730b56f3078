//! The plan of a replay, read ahead on a thread of its own: nothing on the measured path reads a file.

use std::collections::VecDeque;
use std::fs::File;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use bakeoff_trace::plan::{OpenRun, Plan, Planned};
use bakeoff_trace::{Error, Kind};
use futures::Stream;
use futures::stream;

use super::desk::Event;
use super::ids::{Ids, owner};
use crate::failure::{Failure, FailureClass};

/// Events that are handed over at once.
const BATCH: usize = 1_024;
/// Batches that are read ahead: some 130 000 events, and 4 MiB.
const AHEAD: usize = 128;

/// Bytes of a state where the recording does not know.
const DEFAULT_BYTES: u16 = 200;
/// Bytes of a state at most: a row has to fit a page, and runs are not toasted.
const MOST_BYTES: u16 = 2_000;

/// What a generator does of a plan, and as what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    pub ids: Ids,
    /// The stretch of the plan, in nanoseconds since its start.
    pub from: u64,
    pub to: u64,
    pub generator: usize,
    pub generators: usize,
    /// Bytes of a state, where they are not those of the recording.
    pub state_bytes: Option<u16>,
}

/// A sequence number as the table holds it.
fn column(seq: u32) -> Result<i32, Error> {
    i32::try_from(seq).map_err(|_| {
        Error::Options(format!(
            "a run has reached the sequence number {seq}, more than the table holds: take a shorter recording"
        ))
    })
}

impl Share {
    /// Whether an event is done by this generator.
    pub fn has(&self, planned: &Planned) -> bool {
        owner(planned.copy, planned.run, self.generators) == self.generator
    }

    /// Bytes of a state of which this is recorded.
    pub fn bytes(&self, recorded: Option<u32>) -> u16 {
        let recorded = recorded.map(|bytes| u16::try_from(bytes).unwrap_or(u16::MAX));
        let bytes = self.state_bytes.or(recorded).unwrap_or(DEFAULT_BYTES);
        bytes.min(MOST_BYTES)
    }

    fn event(&self, planned: &Planned) -> Result<Event, Error> {
        Ok(Event {
            at: planned.at_nanos - self.from,
            id: self.ids.of(planned.copy, planned.run, planned.lap),
            seq: column(planned.seq)?,
            kind: planned.kind,
            bytes: self.bytes(planned.value),
        })
    }

    /// The row of a run that is open: its number, and how far it is.
    pub fn row(&self, run: &OpenRun) -> Result<(i64, i32), Error> {
        Ok((self.ids.of(run.copy, run.run, run.lap), column(run.seq)?))
    }
}

/// Events that the pacer has come to and that no worker has taken, with the index of the first.
#[derive(Debug, Default)]
pub(super) struct Arrived {
    events: VecDeque<Event>,
    first: u64,
}

/// The same, shared by the pacer and the workers, which are on one thread.
#[derive(Clone, Debug, Default)]
pub(super) struct Arrivals(Arc<Mutex<Arrived>>);

impl Arrivals {
    fn push(&self, event: Event) {
        // The guarded code cannot panic half-way, so a poisoned line is still whole.
        let mut arrived = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        arrived.events.push_back(event);
    }

    /// The event of an index, which `skipped` hears of those before that were not taken: the pacer found no room for them.
    pub fn take(&self, index: u64, mut skipped: impl FnMut(Event)) -> Option<Event> {
        let mut arrived = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while arrived.first <= index {
            let event = arrived.events.pop_front()?;
            let at = arrived.first;
            arrived.first += 1;
            if at == index {
                return Some(event);
            }
            skipped(event);
        }
        None
    }
}

/// The instants of the events of a generator, as the pacer asks for them. Each that it comes to is among the arrivals then.
struct Timetable {
    batches: Receiver<Vec<Event>>,
    batch: std::vec::IntoIter<Event>,
    arrivals: Arrivals,
}

impl Iterator for Timetable {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        loop {
            if let Some(event) = self.batch.next() {
                self.arrivals.push(event);
                return Some(event.at);
            }
            // Only a reader that is slower than the plan makes this wait, and that shows as lag of the generator.
            self.batch = self.batches.recv().ok()?.into_iter();
        }
    }
}

/// The thread that reads a plan.
pub(super) type Reader = JoinHandle<(Plan<File>, Result<(), Error>)>;

/// A plan that is being read.
pub(super) struct Reading {
    /// When its events are due.
    pub offsets: Box<dyn Iterator<Item = u64> + Send>,
    /// The events that were come to.
    pub arrivals: Arrivals,
    /// What [`ended`] waits for.
    pub thread: Reader,
}

impl Reading {
    /// Begins to read, and comes back when as much as may be is read ahead, or all of it.
    ///
    /// # Errors
    /// There is no further thread.
    pub fn begin(mut plan: Plan<File>, share: Share) -> std::io::Result<Self> {
        let (sender, batches) = sync_channel(AHEAD);
        let (ready, is_ready) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("plan".to_owned())
            .spawn(move || {
                let read = read(&mut plan, &share, &sender, &ready);
                (plan, read)
            })?;
        // An error is told when the thread is joined.
        let _ = is_ready.recv();
        let arrivals = Arrivals::default();
        let timetable = Timetable {
            batches,
            batch: Vec::new().into_iter(),
            arrivals: arrivals.clone(),
        };
        Ok(Self {
            offsets: Box::new(timetable),
            arrivals,
            thread,
        })
    }
}

/// Gives a plan back that was read.
///
/// # Errors
/// The recording could not be read to the end.
pub(super) fn ended(reader: Reader) -> Result<Plan<File>, Error> {
    let (plan, read) = reader
        .join()
        .map_err(|_| Error::Options("the plan could not be read".to_owned()))?;
    read.map(|()| plan)
}

fn read(
    plan: &mut Plan<File>,
    share: &Share,
    sender: &SyncSender<Vec<Event>>,
    ready: &SyncSender<()>,
) -> Result<(), Error> {
    let mut batch = Vec::with_capacity(BATCH);
    let mut sent = 0;
    for planned in plan.window(share.from, share.to)? {
        let planned = planned?;
        if !share.has(&planned) {
            continue;
        }
        batch.push(share.event(&planned)?);
        if batch.len() == BATCH {
            let full = std::mem::replace(&mut batch, Vec::with_capacity(BATCH));
            sent += 1;
            if sent == AHEAD {
                let _ = ready.try_send(());
            }
            // Nobody listens any more: the trial is over.
            if sender.send(full).is_err() {
                return Ok(());
            }
        }
    }
    let _ = sender.send(batch);
    Ok(())
}

/// The rows of the runs that are open where a stretch begins, read on a thread of its own; at most so many.
///
/// # Errors
/// There is no further thread.
#[allow(clippy::type_complexity)] // the rows, and the plan when they are read
pub(super) fn open_rows(
    mut plan: Plan<File>,
    share: Share,
    most: u64,
) -> std::io::Result<(
    impl Stream<Item = Result<(i64, i32), Failure>>,
    JoinHandle<Plan<File>>,
)> {
    let (sender, rows) = tokio::sync::mpsc::channel::<Vec<Result<(i64, i32), Failure>>>(AHEAD);
    let thread = std::thread::Builder::new()
        .name("plan".to_owned())
        .spawn(move || {
            let most = usize::try_from(most).unwrap_or(usize::MAX);
            let runs = plan.initial(share.from).take(most);
            let mut rows = runs.map(|run| {
                run.and_then(|run| share.row(&run))
                    .map_err(|error| Failure::new(FailureClass::Client, error.to_string()))
            });
            loop {
                let batch: Vec<_> = rows.by_ref().take(BATCH).collect();
                if batch.is_empty() || sender.blocking_send(batch).is_err() {
                    break;
                }
            }
            drop(rows);
            plan
        })?;
    let batches = stream::unfold(rows, |mut rows| async move {
        let batch = rows.recv().await?;
        Some((stream::iter(batch), rows))
    });
    Ok((futures::StreamExt::flatten(batches), thread))
}

/// How a kind changes the number of open runs.
pub(super) fn opens(kind: Kind) -> i64 {
    match kind {
        Kind::Created | Kind::Open => 1,
        Kind::Transition => 0,
        Kind::Done => -1,
    }
}
