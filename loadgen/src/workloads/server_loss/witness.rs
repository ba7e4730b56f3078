//! What is kept of every PUT of a window in which a server is lost. (Pure.)

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use crate::failure::Failure;
use crate::instrument::record::{Operation, Sample};
use crate::workloads::small_object_put::Witness;

/// So many acknowledged objects are read again: half of them the last before the fault, half the first after it.
pub(super) const MOST_KEPT: usize = 100_000;

/// An acknowledged object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    /// Its path.
    pub path: String,
    /// The number in its body.
    pub number: u64,
    /// When it was acknowledged.
    pub ended: u64,
}

/// How a PUT ended.
#[derive(Clone, Debug)]
pub(super) enum Ended {
    /// It was acknowledged.
    Well(Sample),
    /// It was not.
    Badly {
        planned: u64,
        ended: u64,
        failure: Failure,
    },
}

impl Ended {
    /// When it was due.
    pub fn planned(&self) -> u64 {
        match self {
            Self::Well(sample) => sample.planned,
            Self::Badly { planned, .. } => *planned,
        }
    }
}

/// What all workers saw.
#[derive(Debug, Default)]
pub(super) struct Witnessed {
    pub ended: Vec<Ended>,
    /// The last that were acknowledged when the fault was heard of, and the first from then on: when it was made is heard some
    /// seconds later.
    kept: VecDeque<Kept>,
    /// How many more are kept, once the fault was heard of.
    room: Option<usize>,
}

impl Witnessed {
    /// Takes note that the fault was made: from now on nothing pushes out what was acknowledged around it.
    pub fn hear(&mut self) {
        self.room.get_or_insert(MOST_KEPT);
    }

    fn keep(&mut self, kept: Kept) {
        match &mut self.room {
            Some(0) => return,
            Some(room) => *room -= 1,
            None if self.kept.len() == MOST_KEPT => drop(self.kept.pop_front()),
            None => {}
        }
        self.kept.push_back(kept);
    }

    /// What was acknowledged around the fault, the nearest to it first: should the time to read it be short, what is most at
    /// risk was read.
    pub fn around(&mut self, made: u64) -> Vec<Kept> {
        let kept = std::mem::take(&mut self.kept).into_iter();
        let (mut before, mut after): (Vec<_>, Vec<_>) = kept.partition(|one| one.ended < made);
        // Where one side has fewer than its half, the other has more.
        after.truncate(MOST_KEPT - before.len().min(MOST_KEPT / 2));
        before.drain(..before.len().saturating_sub(MOST_KEPT - after.len()));
        before.append(&mut after);
        before.sort_by_key(|one| one.ended.abs_diff(made));
        before
    }
}

impl Witness for Rc<RefCell<Witnessed>> {
    fn acknowledged(&self, path: String, number: u64, sample: Sample) {
        let mut all = self.borrow_mut();
        all.ended.push(Ended::Well(sample));
        all.keep(Kept {
            path,
            number,
            ended: sample.ended,
        });
    }

    fn failed(&self, planned: u64, ended: u64, failure: &Failure) {
        let failure = failure.clone();
        self.borrow_mut().ended.push(Ended::Badly {
            planned,
            ended,
            failure,
        });
    }
}

/// When a server was killed, and when all were back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Phases {
    pub made: u64,
    pub mended: u64,
}

impl Phases {
    /// The kinds of operations, by phase.
    pub const KINDS: [Operation; 3] = [
        Operation::PutBefore,
        Operation::PutDuring,
        Operation::PutAfter,
    ];

    /// The phase of a PUT that was due at this instant. By the plan, so that a stall does not choose its own members.
    pub fn of(self, planned: u64) -> Operation {
        let [before, during, after] = Self::KINDS;
        if planned < self.made {
            before
        } else if planned < self.mended {
            during
        } else {
            after
        }
    }
}
