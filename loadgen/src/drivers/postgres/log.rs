//! Runs of autovacuum over the table `runs`, as the server's own log tells them. (Pure.)
//!
//! The formats are those of `log_autovacuum_min_duration` in versions 16 to 18. An entry begins with the
//! `log_line_prefix` that the operator sets, `%n [%p] `; further lines of it begin with a tab. What is not
//! understood is passed over: others write into the log as well, and a stretch of it may begin or end within an
//! entry.

use std::collections::BTreeMap;

use bakeoff_crds::figure::Figure;
use serde::{Deserialize, Serialize};

use super::sample::Sample;

/// Seconds since the epoch have ten digits since 2001; three follow the point.
const SHORTEST_TIME: usize = 14;

/// One finished run of autovacuum.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Vacuum {
    /// When it ended, milliseconds since the epoch by the server's clock.
    pub at: i64,
    /// How long it took, milliseconds; the log has hundredths of a second.
    pub elapsed_millis: i64,
    /// Times that it went over the indexes.
    pub index_scans: i64,
    /// Rows that it removed.
    pub tuples_removed: i64,
    /// Rows that were left.
    pub tuples_remain: i64,
    /// Dead rows among these that somebody could still see.
    pub dead_not_removable: i64,
    /// Pages that it gave back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pages_removed: Option<i64>,
    /// Bytes of WAL that it wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wal_bytes: Option<i64>,
    /// It read every page that was not frozen.
    pub aggressive: bool,
    /// It was started to prevent wraparound, whatever the dead rows.
    pub wraparound: bool,
}

/// What the log says of a window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Logged {
    /// The runs that ended in it, in the order of the log.
    pub runs: Vec<Vacuum>,
    /// Bytes at its end that were too many to read.
    pub unread: i64,
}

impl Logged {
    /// The figures of a window. None where the log knows of no run and the views do: its form or its threshold was
    /// changed, or it is full, and its silence says nothing.
    #[must_use]
    pub fn figures(&self, samples: &[Sample]) -> BTreeMap<Figure, f64> {
        let counted = match (samples.first(), samples.last()) {
            (Some(first), Some(last)) => last.autovacuums - first.autovacuums,
            _ => 0,
        };
        if self.runs.is_empty() && counted > 0 {
            return BTreeMap::new();
        }
        let most = |of: fn(&Vacuum) -> i64| self.runs.iter().map(of).max().unwrap_or(0) as f64;
        let elapsed: f64 = self.runs.iter().map(|run| run.elapsed_millis as f64).sum();
        let mut figures = BTreeMap::from([
            (Figure::AutovacuumsLogged, self.runs.len() as f64),
            (Figure::AutovacuumLoggedSeconds, elapsed / 1e3),
            (
                Figure::AutovacuumLongestSeconds,
                most(|run| run.elapsed_millis) / 1e3,
            ),
            (
                Figure::AutovacuumDeadKept,
                most(|run| run.dead_not_removable),
            ),
        ]);
        if self.unread > 0 {
            figures.insert(Figure::ServerLogUnreadBytes, self.unread as f64);
        }
        figures
    }
}

/// The runs of autovacuum over the table or its partitions in a stretch of the log.
#[must_use]
pub fn vacuums(log: &[u8]) -> Vec<Vacuum> {
    let mut found = Vec::new();
    let mut open: Option<Entry> = None;
    // What follows the last line feed is not whole.
    for line in log.split_inclusive(|&byte| byte == b'\n') {
        let Some(line) = line.strip_suffix(b"\n") else {
            break;
        };
        let line = String::from_utf8_lossy(line);
        match line.strip_prefix('\t') {
            Some(detail) => {
                if let Some(entry) = &mut open {
                    entry.take(detail);
                }
            }
            None => {
                found.extend(open.take().and_then(Entry::close));
                open = Entry::begin(&line);
            }
        }
    }
    found.extend(open.and_then(Entry::close));
    found
}

/// An entry whose lines are being read.
struct Entry {
    vacuum: Vacuum,
    tuples: bool,
    elapsed: bool,
}

impl Entry {
    /// The first line of a run over the table `runs`; any other is none.
    fn begin(line: &str) -> Option<Self> {
        let (time, rest) = line.split_once(" [")?;
        let (process, message) = rest.split_once("] LOG:  automatic ")?;
        number(process)?;
        // A time whose first digits were cut off is another time.
        if time.len() < SHORTEST_TIME {
            return None;
        }
        let (kind, rest) = message.split_once(" of table \"")?;
        let (aggressive, wraparound) = match kind {
            "vacuum" => (false, false),
            "aggressive vacuum" => (true, false),
            "vacuum to prevent wraparound" => (false, true),
            "aggressive vacuum to prevent wraparound" => (true, true),
            _ => return None,
        };
        let (table, scans) = rest.rsplit_once("\": index scans: ")?;
        let (_, table) = table.rsplit_once(".bakeoff.")?;
        // Its partitions are called after it.
        if !table.starts_with("runs") {
            return None;
        }
        Some(Self {
            vacuum: Vacuum {
                at: millis(time)?,
                index_scans: number(scans)?,
                aggressive,
                wraparound,
                ..Vacuum::default()
            },
            tuples: false,
            elapsed: false,
        })
    }

    /// Reads a further line, whose order and number differ between versions.
    fn take(&mut self, line: &str) {
        if let Some(counts) = line.strip_prefix("tuples: ") {
            let numbers = (
                before(counts, " removed"),
                before(counts, " remain,"),
                before(counts, " are dead but not yet removable"),
            );
            if let (Some(removed), Some(remain), Some(dead)) = numbers {
                self.vacuum.tuples_removed = removed;
                self.vacuum.tuples_remain = remain;
                self.vacuum.dead_not_removable = dead;
                self.tuples = true;
            }
        } else if let Some(counts) = line.strip_prefix("pages: ") {
            self.vacuum.pages_removed = before(counts, " removed");
        } else if let Some(counts) = line.strip_prefix("WAL usage: ") {
            self.vacuum.wal_bytes = before(counts, " bytes");
        } else if let Some(usage) = line.strip_prefix("system usage: ") {
            let elapsed = usage.rsplit_once("elapsed: ");
            let elapsed = elapsed.and_then(|(_, time)| millis(time.strip_suffix(" s")?));
            if let Some(elapsed) = elapsed {
                self.vacuum.elapsed_millis = elapsed;
                self.elapsed = true;
            }
        }
    }

    /// The run, if the entry was whole.
    fn close(self) -> Option<Vacuum> {
        (self.tuples && self.elapsed).then_some(self.vacuum)
    }
}

/// The number that stands before a word.
fn before(text: &str, word: &str) -> Option<i64> {
    let (head, _) = text.split_once(word)?;
    number(head.rsplit(' ').next()?)
}

/// Digits alone.
fn number(text: &str) -> Option<i64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

/// Seconds with a decimal point, in milliseconds.
fn millis(seconds: &str) -> Option<i64> {
    let (whole, fraction) = seconds.split_once('.')?;
    if fraction.len() > 3 {
        return None;
    }
    let part = number(&format!("{fraction:0<3}"))?;
    number(whole)?.checked_mul(1_000)?.checked_add(part)
}

#[cfg(test)]
mod tests;
