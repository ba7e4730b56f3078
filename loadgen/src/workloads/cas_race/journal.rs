//! The history of a race as it comes about. (Pure.)

use std::io::{BufRead as _, BufReader, Write as _};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use crate::checker::cas_history::{Event, Outcome, Row, Span};

/// Where a write stands in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry(usize);

/// All operations of this generator's writers, in the order in which they were sent.
///
/// A write is put down *before* it is sent, as of unknown outcome. So whatever happens to its writer, an
/// attempt that may have taken effect is on record.
#[derive(Debug)]
pub(super) struct Journal {
    events: Vec<Event>,
    names: u64,
    writers: u32,
    /// How many generators count, each in steps of so many from its own beginning.
    generators: u32,
}

impl Journal {
    /// An empty one of the generator with this index, of so many.
    pub fn new(index: u32, generators: u32) -> Self {
        Self {
            events: Vec::new(),
            names: u64::from(index) + 1,
            writers: index + 1,
            generators: generators.max(1),
        }
    }

    /// A number that no other attempt, incarnation or lock of any generator has; not 0.
    pub fn unique(&mut self) -> u64 {
        let name = self.names;
        self.names += u64::from(self.generators);
        name
    }

    /// A number for a writer that none of any generator has, see [`generator_of`]; not 0.
    pub fn writer(&mut self) -> u32 {
        let writer = self.writers;
        self.writers = writer.saturating_add(self.generators);
        writer
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

/// The index of the generator, of so many, that a writer belongs to.
pub(super) fn generator_of(writer: u32, generators: usize) -> usize {
    (writer.saturating_sub(1) as usize) % generators.max(1)
}

/// A history from its file.
///
/// # Errors
/// When it is no such file.
pub(crate) fn read(bytes: &[u8]) -> std::io::Result<Vec<Event>> {
    let lines = BufReader::new(GzDecoder::new(bytes)).lines();
    lines
        .map(|line| serde_json::from_str(&line?).map_err(std::io::Error::other))
        .collect()
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
        let mut journal = Journal::new(0, 1);
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
        let mut journal = Journal::new(0, 1);
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
        let again = read(&compressed(&events).unwrap()).unwrap();
        assert_eq!(again, events);
    }

    #[test]
    fn generators_count_apart_from_each_other() {
        let mut journals: Vec<Journal> = (0..3).map(|index| Journal::new(index, 3)).collect();
        let mut names = std::collections::BTreeSet::new();
        for _ in 0..4 {
            for (index, journal) in journals.iter_mut().enumerate() {
                assert!(names.insert(journal.unique()));
                assert_eq!(generator_of(journal.writer(), 3), index);
            }
        }
        assert!(!names.contains(&0));
    }
}
