//! Who does which event when: order is kept within each run, and runs are bound to no worker. (Pure.)
//!
//! An event that is due goes to any idle worker, unless its run has a statement in flight: then it waits in that run's line, and
//! whoever ends the statement takes the next of the line. What cannot be done any more, because the run that it moves is not
//! there or nobody knows how far it is, is orphaned: counted and never sent.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

use bakeoff_trace::Kind;

/// Events that may wait in the lines of runs, all together; beyond that they count as never started, as those beyond the line
/// of the pacer do.
const MOST_WAITING: usize = 1 << 20;

/// An event of this generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Event {
    /// Nanoseconds from the start of the load.
    pub at: u64,
    /// The number of its run.
    pub id: i64,
    /// The sequence number that the run has afterwards.
    pub seq: i32,
    /// What is done.
    pub kind: Kind,
    /// Bytes of the state.
    pub bytes: u16,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Task {
    pub event: Event,
    /// When it was planned, on the monotonic clock.
    pub planned: u64,
    /// By how many failed steps the run is behind what the recording says.
    pub behind: i32,
}

/// What became of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Done, as one row.
    Done,
    /// Certainly not done: never sent, or refused by the server.
    NotDone,
    /// Nobody knows, or the row was not what it should be.
    Unknown,
}

/// What is wrong with a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// It is so many steps behind.
    Behind(i32),
    /// It is not there, or nobody knows how far it is.
    Lost,
}

/// Events of the window by what happened to them here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Never sent, because of what happened to their run.
    pub orphaned: u64,
    /// Waited for the statement before them of their run.
    pub waited: u64,
    /// Found no room to wait.
    pub refused: u64,
}

/// Runs that have a statement in flight, with those that wait for it, and runs in trouble.
#[derive(Debug)]
pub(super) struct Desk {
    /// Events of earlier instants are not counted.
    counted_from: u64,
    lines: HashMap<i64, VecDeque<Task>>,
    troubled: HashMap<i64, Trouble>,
    waiting: usize,
    most_waiting: usize,
    tally: Tally,
}

impl Desk {
    /// One that nothing was brought to; what is planned before the start of the window is not counted.
    pub fn new(counted_from: u64) -> Self {
        Self {
            counted_from,
            lines: HashMap::new(),
            troubled: HashMap::new(),
            waiting: 0,
            most_waiting: MOST_WAITING,
            tally: Tally::default(),
        }
    }

    fn counts(&self, planned: u64) -> u64 {
        u64::from(planned >= self.counted_from)
    }

    /// Takes an event that is due. What comes back is to be sent now; otherwise it waits, or never will be sent.
    pub fn due(&mut self, event: Event, planned: u64) -> Option<Task> {
        let task = Task {
            event,
            planned,
            behind: 0,
        };
        match self.lines.entry(event.id) {
            Entry::Occupied(mut line) if self.waiting < self.most_waiting => {
                line.get_mut().push_back(task);
                self.waiting += 1;
                self.tally.waited += self.counts(planned);
                None
            }
            Entry::Occupied(_) => {
                self.tally.refused += self.counts(planned);
                self.lost(event);
                None
            }
            Entry::Vacant(_) => {
                let task = self.sendable(task)?;
                self.lines.insert(event.id, VecDeque::new());
                Some(task)
            }
        }
    }

    /// An event that nobody will ever do, and that is counted elsewhere: what its run does later has lost its ground.
    pub fn lost(&mut self, event: Event) {
        if event.kind != Kind::Done {
            self.troubled.insert(event.id, Trouble::Lost);
        }
    }

    /// The task as it can be sent, unless its run is lost.
    fn sendable(&mut self, task: Task) -> Option<Task> {
        let id = task.event.id;
        match self.troubled.get(&id).copied() {
            None => Some(task),
            Some(Trouble::Behind(behind)) => Some(Task { behind, ..task }),
            Some(Trouble::Lost) => {
                self.tally.orphaned += self.counts(task.planned);
                if task.event.kind == Kind::Done {
                    self.troubled.remove(&id);
                }
                None
            }
        }
    }

    /// Notes what became of a statement. What comes back is the next of that run, to be sent now by whom this one ended.
    pub fn ended(&mut self, task: Task, outcome: Outcome) -> Option<Task> {
        let event = task.event;
        let more = match (event.kind, outcome) {
            // Nothing comes after it.
            (Kind::Done, _) => None,
            (_, Outcome::Done) => self.troubled.get(&event.id).copied(),
            // Without its creation there is nothing to move.
            (Kind::Created | Kind::Open, _) | (_, Outcome::Unknown) => Some(Trouble::Lost),
            (Kind::Transition, Outcome::NotDone) => match self.troubled.get(&event.id) {
                Some(Trouble::Lost) => Some(Trouble::Lost),
                Some(Trouble::Behind(behind)) => Some(Trouble::Behind(behind.saturating_add(1))),
                None => Some(Trouble::Behind(1)),
            },
        };
        match more {
            Some(trouble) => self.troubled.insert(event.id, trouble),
            None => self.troubled.remove(&event.id),
        };
        while let Some(next) = self.lines.get_mut(&event.id).and_then(VecDeque::pop_front) {
            self.waiting -= 1;
            if let Some(next) = self.sendable(next) {
                return Some(next);
            }
        }
        self.lines.remove(&event.id);
        None
    }

    /// What happened so far to events of the window.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Events of the window that still wait for their run.
    pub fn left(&self) -> u64 {
        let waiting = self.lines.values().flatten();
        waiting.map(|task| self.counts(task.planned)).sum()
    }
}

#[cfg(test)]
mod tests;
