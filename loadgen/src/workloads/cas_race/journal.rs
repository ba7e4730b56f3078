//! The history of a race as it comes about. (Pure.)

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::checker::cas_history::{Event, Outcome, Row, Span};

/// Where a write stands in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry(usize);

/// All operations of this generator's writers, in the order in which they were sent.
///
/// A write is put down *before* it is sent, as of unknown outcome. So whatever happens to its writer, an
/// attempt that may have taken effect is on record.
#[derive(Debug, Default)]
pub(super) struct Journal {
    events: Vec<Event>,
    names: u64,
    writers: u32,
}

impl Journal {
    /// A number that no other attempt, incarnation or lock of this generator has; from 1.
    pub fn unique(&mut self) -> u64 {
        self.names += 1;
        self.names
    }

    /// A number for a writer; from 1.
    pub fn writer(&mut self) -> u32 {
        self.writers += 1;
        self.writers
    }

    /// Puts down a write that is about to be sent.
    pub fn sent(&mut self, event: Event) -> Entry {
        self.events.push(event);
        Entry(self.events.len() - 1)
    }

    /// Takes note of what became of a write.
    pub fn ended(&mut self, entry: Entry, at: u64, what: Outcome) {
        if let Some((span, outcome)) = self.events.get_mut(entry.0).and_then(write) {
            span.complete = at;
            *outcome = what;
        }
    }

    /// Puts down a read that was answered.
    pub fn read(&mut self, writer: u32, run: u64, row: Option<Row>, span: Span, read_back: bool) {
        self.events.push(Event::Read {
            writer,
            run,
            row,
            span,
            read_back,
        });
    }

    /// The history; writes that nobody waits for any more are given up at this instant.
    pub fn close(mut self, at: u64) -> Vec<Event> {
        for (span, _) in self.events.iter_mut().filter_map(write) {
            span.complete = span.complete.min(at.max(span.invoke));
        }
        self.events
    }
}

/// The span and outcome of a write.
fn write(event: &mut Event) -> Option<(&mut Span, &mut Outcome)> {
    match event {
        Event::Insert { span, outcome, .. }
        | Event::Cas { span, outcome, .. }
        | Event::Delete { span, outcome, .. } => Some((span, outcome)),
        Event::Read { .. } => None,
    }
}

/// What a span is while its write is under way.
pub(super) fn under_way(invoke: u64) -> Span {
    Span {
        invoke,
        complete: u64::MAX,
    }
}

/// One line of JSON for each event, compressed.
pub(super) fn compressed(events: &[Event]) -> std::io::Result<Vec<u8>> {
    let mut lines = GzEncoder::new(Vec::new(), Compression::fast());
    for event in events {
        serde_json::to_writer(&mut lines, event).map_err(std::io::Error::other)?;
        lines.write_all(b"\n")?;
    }
    lines.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    fn cas(value: u64, invoke: u64) -> Event {
        Event::Cas {
            writer: 1,
            run: 7,
            incarnation: 1,
            expected: 0,
            new: 1,
            value,
            span: under_way(invoke),
            outcome: Outcome::Unknown,
        }
    }

    #[test]
    fn a_write_that_nobody_ended_stays_unknown() {
        let mut journal = Journal::default();
        let first = journal.sent(cas(1, 10));
        let _second = journal.sent(cas(2, 11));
        journal.ended(first, 20, Outcome::Ok);
        let late = journal.sent(cas(3, 90));
        journal.ended(late, 95, Outcome::Lost);
        let events = journal.close(50);
        let seen: Vec<(u64, Outcome)> = events
            .iter()
            .map(|event| match event {
                Event::Cas { span, outcome, .. } => (span.complete, *outcome),
                _ => unreachable!(),
            })
            .collect();
        // Nothing ends before it began.
        assert_eq!(
            seen,
            [
                (20, Outcome::Ok),
                (50, Outcome::Unknown),
                (90, Outcome::Lost)
            ]
        );
    }

    #[test]
    fn what_is_kept_reads_back_the_same() {
        let mut journal = Journal::default();
        let entry = journal.sent(cas(1, 10));
        journal.ended(entry, 20, Outcome::Ok);
        let row = Row {
            incarnation: 1,
            seq: 1,
            value: 1,
        };
        let span = Span {
            invoke: 30,
            complete: 31,
        };
        journal.read(2, 7, Some(row), span, true);
        let events = journal.close(40);
        let mut text = String::new();
        flate2::read::GzDecoder::new(compressed(&events).unwrap().as_slice())
            .read_to_string(&mut text)
            .unwrap();
        let again: Vec<Event> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(again, events);
    }
}
