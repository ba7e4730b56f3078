//! What is kept of every PUT of a window in which a server is lost. (Pure.)

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use crate::failure::Failure;
use crate::instrument::record::{Operation, Sample};
use crate::workloads::small_object_put::Witness;

/// So many acknowledged objects are read again, the latest.
const MOST_KEPT: usize = 100_000;

/// An acknowledged object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    /// Its path.
    pub path: String,
    /// The number in its body.
    pub number: u64,
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
    pub kept: VecDeque<Kept>,
}

impl Witness for Rc<RefCell<Witnessed>> {
    fn acknowledged(&self, path: String, number: u64, sample: Sample) {
        let mut all = self.borrow_mut();
        all.ended.push(Ended::Well(sample));
        if all.kept.len() == MOST_KEPT {
            all.kept.pop_front();
        }
        all.kept.push_back(Kept { path, number });
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
