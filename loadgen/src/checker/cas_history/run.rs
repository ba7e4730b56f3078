//! The history of one run: which attempt took place in which life of its row, as far as that is certain.

use std::collections::BTreeMap;

use super::{Checks, Clocks, Event, Outcome, Report, Row, Span, name};

/// What an attempt writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Write {
    /// The first version of a life.
    Insert,
    /// One version after another.
    Advance {
        /// The version that the writer believed to be there.
        expected: u64,
        /// The version that it writes.
        new: u64,
    },
    /// The end of a life.
    Delete {
        /// The version that the writer believed to be there.
        expected: u64,
    },
}

/// An insert, a compare-and-swap or a delete.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt {
    pub writer: u32,
    pub write: Write,
    /// The incarnation that the writer believed in.
    pub believed: u64,
    /// The one in which the attempt takes place, if it does; `None` when there was none.
    pub life: Option<u64>,
    pub span: Span,
    pub outcome: Outcome,
    /// Whether a read found its value.
    pub seen: bool,
}

impl Attempt {
    /// Whether it certainly took effect.
    pub fn applied(&self) -> bool {
        self.outcome == Outcome::Ok || self.seen
    }

    /// Whether it took effect or may have.
    pub fn possible(&self) -> bool {
        self.outcome != Outcome::Lost || self.seen
    }

    /// The version that it leaves; an insert leaves none.
    pub fn leaves(&self) -> Option<u64> {
        match self.write {
            Write::Insert => None,
            Write::Advance { expected, .. } | Write::Delete { expected } => Some(expected),
        }
    }

    /// The version that it makes; a delete makes none.
    pub fn makes(&self) -> Option<u64> {
        match self.write {
            Write::Insert => Some(0),
            Write::Advance { new, .. } => Some(new),
            Write::Delete { .. } => None,
        }
    }

    /// Whether it writes another version than the one after that which it leaves.
    pub fn jumps(&self) -> bool {
        matches!(self.write, Write::Advance { expected, new } if expected.checked_add(1) != Some(new))
    }

    /// In words, for examples.
    pub fn words(&self) -> String {
        let Self {
            writer, believed, ..
        } = self;
        match self.write {
            Write::Insert => format!("writer {writer}'s insert of incarnation {believed}"),
            Write::Advance { expected, new } => {
                format!("writer {writer}'s step {expected} to {new} of incarnation {believed}")
            }
            Write::Delete { expected } => {
                format!("writer {writer}'s delete at step {expected} of incarnation {believed}")
            }
        }
    }
}

/// One read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Read {
    pub row: Option<Row>,
    pub span: Span,
    pub read_back: bool,
}

/// One life of a row, from an insert to a delete.
#[derive(Debug, Default)]
pub(super) struct Life {
    pub inserts: Vec<usize>,
    /// Attempts by the version that they leave.
    pub leaving: BTreeMap<u64, Vec<usize>>,
    /// Attempts by the version that they make, inserts included.
    pub making: BTreeMap<u64, Vec<usize>>,
    /// Reads of it, by version.
    pub reads: BTreeMap<u64, Vec<Span>>,
    /// When the first delete of it was acknowledged.
    pub died: Option<u64>,
    /// Whether it certainly existed.
    pub firm: bool,
}

impl Life {
    /// The highest version that certainly existed; 0 in a life that need not have existed.
    pub fn top(&self, attempts: &[Attempt]) -> u64 {
        let applied = |index: &&usize| attempts[**index].applied();
        let left = self
            .leaving
            .iter()
            .rfind(|(_, list)| list.iter().any(|index| applied(&index)));
        let made = self
            .making
            .iter()
            .rfind(|(_, list)| list.iter().any(|index| applied(&index)));
        let read = self.reads.keys().next_back();
        let versions = [left.map(|(v, _)| *v), made.map(|(v, _)| *v), read.copied()];
        versions.into_iter().flatten().max().unwrap_or(0)
    }
}

/// When lives may have been there, for the question whether any was.
#[derive(Debug, Default)]
pub(super) struct Lifespans {
    /// From the invocation of the insert to the acknowledgement of a delete, by the former.
    spans: Vec<(u64, u64, u64)>,
    /// The latest end among the first so many.
    ends: Vec<u64>,
}

impl Lifespans {
    fn new(mut spans: Vec<(u64, u64, u64)>) -> Self {
        spans.sort_unstable();
        let mut latest = 0;
        let ends = spans
            .iter()
            .map(|(_, end, _)| {
                latest = latest.max(*end);
                latest
            })
            .collect();
        Self { spans, ends }
    }

    /// Whether one may have been there at some instant of a span.
    pub fn any(&self, span: Span) -> bool {
        let begun = self
            .spans
            .partition_point(|(begin, ..)| *begin <= span.complete);
        begun > 0 && self.ends[begun - 1] >= span.invoke
    }

    /// The one begun last of them.
    fn last(&self, span: Span) -> Option<u64> {
        let begun = self
            .spans
            .partition_point(|(begin, ..)| *begin <= span.complete);
        let there = self.spans[..begun].iter().rev();
        there
            .into_iter()
            .find(|(_, end, _)| *end >= span.invoke)
            .map(|(.., incarnation)| *incarnation)
    }
}

/// The history of one run.
#[derive(Debug)]
pub(super) struct RunHistory {
    pub number: u64,
    pub attempts: Vec<Attempt>,
    pub lives: BTreeMap<u64, Life>,
    /// Reads that showed what somebody wrote, or no row.
    pub reads: Vec<Read>,
    values: BTreeMap<u64, usize>,
}

impl RunHistory {
    pub fn new(number: u64, events: &[&Event]) -> Self {
        let mut run = Self {
            number,
            attempts: Vec::new(),
            lives: BTreeMap::new(),
            reads: Vec::new(),
            values: BTreeMap::new(),
        };
        for event in events {
            let (writer, write, believed, value, span, outcome) = match **event {
                Event::Insert {
                    writer,
                    incarnation,
                    value,
                    span,
                    outcome,
                    ..
                } => (
                    writer,
                    Write::Insert,
                    incarnation,
                    Some(value),
                    span,
                    outcome,
                ),
                Event::Cas {
                    writer,
                    incarnation,
                    expected,
                    new,
                    value,
                    span,
                    outcome,
                    ..
                } => {
                    let write = Write::Advance { expected, new };
                    (writer, write, incarnation, Some(value), span, outcome)
                }
                Event::Delete {
                    writer,
                    incarnation,
                    expected,
                    span,
                    outcome,
                    ..
                } => (
                    writer,
                    Write::Delete { expected },
                    incarnation,
                    None,
                    span,
                    outcome,
                ),
                Event::Read {
                    row,
                    span,
                    read_back,
                    ..
                } => {
                    run.reads.push(Read {
                        row,
                        span,
                        read_back,
                    });
                    continue;
                }
            };
            if let Some(value) = value {
                run.values.insert(value, run.attempts.len());
            }
            run.attempts.push(Attempt {
                writer,
                write,
                believed,
                life: Some(believed),
                span,
                outcome,
                seen: false,
            });
        }
        run
    }

    /// Says of every attempt what is known of it in the end; what cannot be is reported and left out.
    pub fn resolve(&mut self, checks: &mut Checks) {
        self.witness(checks);
        self.place_stale(checks);
        self.settle();
    }

    /// What the rows that were read say of the attempts that wrote them. Rows that cannot be are reported
    /// and left out, so that nothing is concluded from them.
    fn witness(&mut self, checks: &mut Checks) {
        let number = self.number;
        let (attempts, values) = (&mut self.attempts, &self.values);
        self.reads.retain(|read| {
            let Some(row) = read.row else { return true };
            checks.checked(name::FORKS);
            let shown = format!(
                "run {number}: a read at {} shows step {} of incarnation {}",
                read.span.invoke, row.seq, row.incarnation
            );
            let Some(attempt) = values
                .get(&row.value)
                .and_then(|&index| attempts.get_mut(index))
            else {
                checks.violation(name::FORKS, || {
                    format!("{shown} with a value that nobody wrote")
                });
                return false;
            };
            let elsewhere = attempt.believed != row.incarnation;
            if attempt.makes() != Some(row.seq) || (elsewhere && attempt.write == Write::Insert) {
                checks.violation(name::FORKS, || {
                    format!("{shown} with the value of {}", attempt.words())
                });
                return false;
            }
            if attempt.outcome == Outcome::Lost && !attempt.seen {
                checks.violation(name::PHANTOM_FAILURES, || {
                    format!(
                        "{shown} with the value of {}, which was told that it had lost",
                        attempt.words()
                    )
                });
            } else if elsewhere && attempt.life != Some(row.incarnation) {
                checks.checked(name::ABA_WINS);
                checks.violation(name::ABA_WINS, || {
                    format!("{shown} with the value of {}", attempt.words())
                });
            }
            attempt.life = Some(row.incarnation);
            attempt.seen = true;
            true
        });
    }

    /// When each life may have been there; with `firm`, only those that certainly were at some time.
    pub fn lifespans(&self, firm: bool) -> Lifespans {
        // Begin, end, and whether it certainly was.
        let mut lives: BTreeMap<u64, (Option<u64>, u64, bool)> = BTreeMap::new();
        for attempt in &self.attempts {
            let Some(incarnation) = attempt.life else {
                continue;
            };
            let life = lives.entry(incarnation).or_insert((None, u64::MAX, false));
            life.2 |= attempt.applied();
            match attempt.write {
                Write::Insert if attempt.possible() => {
                    let begin = life.0.unwrap_or(u64::MAX).min(attempt.span.invoke);
                    life.0 = Some(begin);
                }
                Write::Delete { .. } if attempt.outcome == Outcome::Ok => {
                    life.1 = life.1.min(attempt.span.complete);
                }
                _ => {}
            }
        }
        let spans = lives
            .into_iter()
            .filter(|(_, (begin, _, certain))| *certain || (begin.is_some() && !firm))
            // One without an insert is a gap; here it was always there, so that it is only that.
            .map(|(incarnation, (begin, end, _))| (begin.unwrap_or(0), end, incarnation))
            .collect();
        Lifespans::new(spans)
    }

    /// Attempts of writers that still believed in a life that had ended before they were sent.
    fn place_stale(&mut self, checks: &mut Checks) {
        let mut died: BTreeMap<u64, u64> = BTreeMap::new();
        for attempt in &self.attempts {
            if let (Write::Delete { .. }, Outcome::Ok, Some(life)) =
                (attempt.write, attempt.outcome, attempt.life)
            {
                let first = died.entry(life).or_insert(u64::MAX);
                *first = (*first).min(attempt.span.complete);
            }
        }
        let lifespans = self.lifespans(false);
        let number = self.number;
        for attempt in &mut self.attempts {
            let dead = died
                .get(&attempt.believed)
                .is_some_and(|died| *died < attempt.span.invoke);
            if attempt.write == Write::Insert || attempt.life != Some(attempt.believed) || !dead {
                continue;
            }
            let other = lifespans.last(attempt.span);
            let check = if other.is_some() {
                name::ABA_WINS
            } else {
                name::RESURRECTED_RUNS
            };
            checks.checked(check);
            match attempt.outcome {
                Outcome::Lost => {}
                Outcome::Unknown => checks.uncertain(check),
                Outcome::Ok => {
                    checks.violation(check, || {
                        let what = attempt.words();
                        other.map_or_else(
                            || format!("run {number}: {what} won after the delete was acknowledged"),
                            |other| format!("run {number}: {what} won when only incarnation {other} could be there"),
                        )
                    });
                    attempt.life = other;
                }
            }
        }
    }

    /// Sorts what is known by life and version.
    fn settle(&mut self) {
        for (index, attempt) in self.attempts.iter().enumerate() {
            let Some(incarnation) = attempt.life else {
                continue;
            };
            // What leaves out steps cannot succeed: it matters only if it did.
            if attempt.jumps() && !attempt.applied() {
                continue;
            }
            let life = self.lives.entry(incarnation).or_default();
            life.firm |= attempt.applied();
            if let Some(version) = attempt.leaves() {
                life.leaving.entry(version).or_default().push(index);
            } else {
                life.inserts.push(index);
            }
            if let Some(version) = attempt.makes() {
                life.making.entry(version).or_default().push(index);
            } else if attempt.outcome == Outcome::Ok {
                let first = life.died.unwrap_or(u64::MAX).min(attempt.span.complete);
                life.died = Some(first);
            }
        }
        for read in &self.reads {
            let Some(row) = read.row else { continue };
            let life = self.lives.entry(row.incarnation).or_default();
            life.firm = true;
            life.reads.entry(row.seq).or_default().push(read.span);
        }
    }

    /// Adds what there was to race for.
    pub fn count(&self, report: &mut Report, clocks: &Clocks<'_>) {
        for attempt in &self.attempts {
            match attempt.outcome {
                Outcome::Ok => {}
                Outcome::Lost => report.lost_races += 1,
                Outcome::Unknown => report.unknown_outcomes += 1,
            }
        }
        for group in self.lives.values().flat_map(|life| life.leaving.values()) {
            let of = || group.iter().map(|&index| &self.attempts[index]);
            let Some(winner) = of().find(|attempt| attempt.outcome == Outcome::Ok) else {
                continue;
            };
            report.steps += 1;
            let contended = of().any(|other| {
                other.writer != winner.writer
                    && clocks.met((other.writer, other.span), (winner.writer, winner.span))
            });
            report.contended_steps += u64::from(contended);
        }
    }
}
