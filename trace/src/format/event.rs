//! One event and its line.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// The first line of the events.
pub const HEADER: &str = "at_micros,run,kind,value";
/// No event is later than this: some 3000 years.
pub const MOST_MICROS: u64 = 100_000_000_000_000_000;

/// What happened to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// It was there when the recording began. Not something that happened: what the start looks like.
    Open,
    /// It was created.
    Created,
    /// It moved.
    Transition,
    /// It was completed, in whichever way.
    Done,
}

impl Kind {
    /// As it stands in a line.
    #[must_use]
    pub fn letter(self) -> char {
        match self {
            Self::Open => 'o',
            Self::Created => 'c',
            Self::Transition => 't',
            Self::Done => 'd',
        }
    }

    fn of(text: &[u8]) -> Option<Self> {
        Some(match text {
            b"o" => Self::Open,
            b"c" => Self::Created,
            b"t" => Self::Transition,
            b"d" => Self::Done,
            _ => return None,
        })
    }
}

/// One event of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Event {
    /// Microseconds since the recording began, at most [`MOST_MICROS`].
    pub at_micros: u64,
    /// The run: 0 is the first one that appears, 1 the second.
    pub run: u32,
    /// What happened.
    pub kind: Kind,
    /// Of `Open` the sequence number that the run has reached, of all others the bytes of its state where they are known.
    pub value: Option<u32>,
}

impl Event {
    /// Appends the line of the event.
    pub fn write_line(&self, line: &mut String) {
        let Self {
            at_micros,
            run,
            kind,
            value,
        } = self;
        // Writing to a string cannot fail.
        let _ = write!(line, "{at_micros},{run},{},", kind.letter());
        if let Some(value) = value {
            let _ = write!(line, "{value}");
        }
        line.push('\n');
    }
}

/// A number as a line has it: digits without a sign or leading zeros, so that a number has one spelling.
fn number(text: &[u8]) -> Option<u64> {
    let plain =
        text.iter().all(u8::is_ascii_digit) && (text.len() == 1 || text.first() != Some(&b'0'));
    if !plain || text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |number, digit| {
        number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    })
}

/// Reads a line, without its end.
pub(crate) fn parse(line: &[u8]) -> Result<Event, &'static str> {
    let mut fields = line.split(|byte| *byte == b',');
    let (Some(at), Some(run), Some(kind), Some(value), None) = (
        fields.next(),
        fields.next(),
        fields.next(),
        fields.next(),
        fields.next(),
    ) else {
        return Err("a line has the four fields at_micros,run,kind,value");
    };
    let at_micros = number(at).filter(|at| *at <= MOST_MICROS);
    let value = match value {
        b"" => None,
        text => Some(
            number(text)
                .and_then(|value| u32::try_from(value).ok())
                .ok_or("value is a whole number below 4294967296, or empty")?,
        ),
    };
    let event = Event {
        at_micros: at_micros
            .ok_or("at_micros is a whole number of microseconds, at most 3000 years")?,
        run: number(run)
            .and_then(|run| u32::try_from(run).ok())
            .ok_or("run is a whole number below 4294967296")?,
        kind: Kind::of(kind).ok_or("kind is one of o, c, t and d")?,
        value,
    };
    if event.kind == Kind::Open && event.value.is_none() {
        return Err("a run that is open at the start states its sequence number as value");
    }
    Ok(event)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_one_spelling() {
        for line in ["0,0,o,7", "12,3,c,", "100,4294967295,t,200", "5,0,d,0"] {
            let mut again = String::new();
            parse(line.as_bytes()).unwrap().write_line(&mut again);
            assert_eq!(again, format!("{line}\n"));
        }
        for line in [
            "",
            "1,2,c",
            "01,2,c,",
            "1,2,x,",
            "1,2,o,",
            "1,2,c,,",
            "+1,2,c,",
            "1,,c,",
            "1,4294967296,c,",
            "1,2,c,-1",
        ] {
            assert!(parse(line.as_bytes()).is_err(), "{line}");
        }
    }
}
