//! What is sorted.

use super::What;
use crate::format::Kind;
use crate::sort::{Record, take};

/// [`What`] as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Code(u8);

impl From<What> for Code {
    fn from(what: What) -> Self {
        Self(match what {
            What::Created => 0,
            What::Transition => 1,
            What::Done => 2,
            What::Unknown { ends: false } => 3,
            What::Unknown { ends: true } => 4,
            What::There => 5,
            What::Over => 6,
        })
    }
}

impl From<Code> for What {
    fn from(code: Code) -> Self {
        match code.0 {
            0 => Self::Created,
            1 => Self::Transition,
            2 => Self::Done,
            5 => Self::There,
            6 => Self::Over,
            code => Self::Unknown { ends: code == 4 },
        }
    }
}

/// An event, by its run. The order of the fields is that of the sort; the sequence decides it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ByRun {
    pub(super) run: u128,
    pub(super) order: u64,
    /// The place in the input, from 1.
    pub(super) sequence: u64,
    pub(super) at: i64,
    pub(super) line: u64,
    pub(super) value: Option<u32>,
    pub(super) what: Code,
}

/// An event, by its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ByTime {
    pub(super) at_micros: u64,
    /// The place in the input; of a run that is open at the start 0; never less than that of the event of the run before it at
    /// the same time.
    pub(super) sequence: u64,
    /// Counts up over all events of all runs, so that the order within a run holds whatever comes before.
    pub(super) index: u64,
    pub(super) run: u32,
    pub(super) kind: Kind,
    pub(super) value: Option<u32>,
}

fn write_value(value: Option<u32>, bytes: &mut Vec<u8>) {
    bytes.push(u8::from(value.is_some()));
    bytes.extend(value.unwrap_or(0).to_le_bytes());
}

fn read_value(bytes: &mut &[u8]) -> Option<u32> {
    let [some] = take(bytes);
    let value = u32::from_le_bytes(take(bytes));
    (some == 1).then_some(value)
}

impl Record for ByRun {
    const BYTES: usize = 16 + 4 * 8 + 5 + 1;

    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.run.to_le_bytes());
        for number in [self.order, self.sequence, self.at as u64, self.line] {
            bytes.extend(number.to_le_bytes());
        }
        write_value(self.value, bytes);
        bytes.push(self.what.0);
    }

    fn read(mut bytes: &[u8]) -> Self {
        let bytes = &mut bytes;
        Self {
            run: u128::from_le_bytes(take(bytes)),
            order: u64::from_le_bytes(take(bytes)),
            sequence: u64::from_le_bytes(take(bytes)),
            at: i64::from_le_bytes(take(bytes)),
            line: u64::from_le_bytes(take(bytes)),
            value: read_value(bytes),
            what: Code(take::<1>(bytes)[0]),
        }
    }
}

impl Record for ByTime {
    const BYTES: usize = 3 * 8 + 4 + 1 + 5;

    fn write(&self, bytes: &mut Vec<u8>) {
        for number in [self.at_micros, self.sequence, self.index] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(self.run.to_le_bytes());
        bytes.push(self.kind as u8);
        write_value(self.value, bytes);
    }

    fn read(mut bytes: &[u8]) -> Self {
        let bytes = &mut bytes;
        Self {
            at_micros: u64::from_le_bytes(take(bytes)),
            sequence: u64::from_le_bytes(take(bytes)),
            index: u64::from_le_bytes(take(bytes)),
            run: u32::from_le_bytes(take(bytes)),
            kind: match take(bytes) {
                [0] => Kind::Open,
                [1] => Kind::Created,
                [2] => Kind::Transition,
                _ => Kind::Done,
            },
            value: read_value(bytes),
        }
    }
}
