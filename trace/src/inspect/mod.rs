//! What is in a trace, in figures: found in one pass.

mod table;

use std::io::{Read, Seek};

use serde::Serialize;

use crate::Error;
use crate::format::{Counts, Distributions, Kind, Open, Source, Trace};
use crate::grammar::Checker;

/// The most pieces into which the time is divided.
pub const MOST_BINS: u64 = 240;

/// What is in a trace.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Inspection {
    /// From what kind of record it was made.
    pub source: Source,
    /// Its length.
    pub span_micros: u64,
    /// Runs that appear.
    pub runs: u64,
    /// Events by kind.
    pub counts: Counts,
    /// Runs that are open.
    pub open: Open,
    /// How runs look.
    pub quantiles: Distributions,
    /// Events per second on average; what is open at the start did not happen.
    pub events_per_second: f64,
    /// Of 100 runs, those that are open at the end.
    pub never_end_percent: f64,
    /// Of 100 gaps between two events of a run, those of no time at all.
    pub zero_gap_percent: f64,
    /// The second with the most events.
    pub busiest_second: Busiest,
    /// The minute with the most events.
    pub busiest_minute: Busiest,
    /// The hour with the most events.
    pub busiest_hour: Busiest,
    /// Length of a bin.
    pub bin_micros: u64,
    /// The time in pieces of the same length, of which the last may reach past the end.
    pub bins: Vec<Bin>,
}

/// A piece of the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Bin {
    /// What happened in it.
    pub events: u64,
    /// Runs that are open at its end.
    pub open: u64,
}

/// The piece of time in which most happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Busiest {
    /// When it begins.
    pub at_micros: u64,
    /// What happens in it.
    pub events: u64,
    /// How many times the average that is: how strong the bursts are.
    pub times_mean: f64,
}

/// Counts what happens in each piece of some length, and remembers the fullest.
struct Busy {
    length: u64,
    current: u64,
    events: u64,
    most: (u64, u64),
}

impl Busy {
    fn new(length: u64) -> Self {
        Self {
            length,
            current: 0,
            events: 0,
            most: (0, 0),
        }
    }

    fn count(&mut self, at_micros: u64) {
        let piece = at_micros / self.length;
        if piece != self.current {
            (self.current, self.events) = (piece, 0);
        }
        self.events += 1;
        if self.events > self.most.1 {
            self.most = (piece, self.events);
        }
    }

    fn busiest(&self, events: u64, span_micros: u64) -> Busiest {
        let pieces = span_micros as f64 / self.length as f64;
        Busiest {
            at_micros: self.most.0 * self.length,
            events: self.most.1,
            // A recording that is shorter than the piece is not busier than itself.
            times_mean: share(self.most.1, events) / 100.0 * pieces.max(1.0),
        }
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 * 100.0 / whole as f64
    }
}

/// Looks at a trace.
///
/// # Errors
/// It cannot be read, or its events do not make up runs.
pub fn inspect<R: Read + Seek>(trace: &mut Trace<R>) -> Result<Inspection, Error> {
    let (source, span_micros) = (trace.manifest().source, trace.manifest().span_micros);
    let bin_micros = span_micros.div_ceil(MOST_BINS).max(1);
    let mut bins: Vec<Bin> = Vec::new();
    let mut busy = [1, 60, 3_600].map(|seconds| Busy::new(seconds * 1_000_000));
    let (mut gaps, mut zero_gaps) = (0, 0);
    let mut checker = Checker::new(None);
    let mut events = trace.events()?;
    while let Some(event) = events.next() {
        let line = events.line();
        let before = checker.open_now();
        let Some(step) = checker.admit(line, event?)? else {
            continue;
        };
        let at_micros = step.event.at_micros;
        if at_micros >= span_micros {
            return Err(Error::Manifest(
                "spanMicros ends before the last event".to_owned(),
            ));
        }
        let bin = (at_micros / bin_micros) as usize;
        // Bins in which nothing happens end as they began.
        bins.resize(
            bins.len().max(bin + 1),
            Bin {
                events: 0,
                open: before,
            },
        );
        if let Some(bin) = bins.last_mut() {
            bin.events += u64::from(step.event.kind != Kind::Open);
            bin.open = checker.open_now();
        }
        if step.event.kind != Kind::Open {
            busy.iter_mut().for_each(|busy| busy.count(at_micros));
        }
        gaps += u64::from(step.gap_micros.is_some());
        zero_gaps += u64::from(step.gap_micros == Some(0));
    }
    bins.resize(
        span_micros.div_ceil(bin_micros) as usize,
        Bin {
            events: 0,
            open: checker.open_now(),
        },
    );
    let measured = checker.finish(span_micros);
    let happened = measured.counts.events();
    let [second, minute, hour] = busy.map(|busy| busy.busiest(happened, span_micros));
    Ok(Inspection {
        source,
        span_micros,
        runs: measured.runs,
        counts: measured.counts,
        open: measured.open,
        quantiles: measured.quantiles,
        events_per_second: happened as f64 * 1e6 / span_micros.max(1) as f64,
        never_end_percent: share(measured.open.at_end, measured.runs),
        zero_gap_percent: share(zero_gaps, gaps),
        busiest_second: second,
        busiest_minute: minute,
        busiest_hour: hour,
        bin_micros,
        bins,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Event;
    use crate::sample;

    #[test]
    fn the_figures_of_a_small_trace() {
        let event = |seconds: u64, run, kind, value| Event {
            at_micros: seconds * 1_000_000,
            run,
            kind,
            value,
        };
        let mut events = vec![event(0, 0, Kind::Open, Some(3))];
        events.extend((1..=10).map(|run| event(100, run, Kind::Created, None)));
        events.extend((1..=10).map(|run| event(100, run, Kind::Transition, None)));
        events.extend((1..=9).map(|run| event(200, run, Kind::Done, None)));
        let folder = tempfile::tempdir().unwrap();
        sample::write(folder.path(), &events);
        let found = inspect(&mut Trace::open(folder.path()).unwrap()).unwrap();
        assert_eq!(
            (found.runs, found.open.peak, found.bins.len() as u64),
            (11, 11, MOST_BINS)
        );
        assert_eq!(
            (found.busiest_second.events, found.busiest_second.at_micros),
            (20, 100_000_000)
        );
        assert_eq!(
            (found.busiest_minute.events, found.busiest_minute.at_micros),
            (20, 60_000_000)
        );
        assert!((found.zero_gap_percent - 10.0 * 100.0 / 19.0).abs() < 1e-9);
        assert!((found.never_end_percent - 200.0 / 11.0).abs() < 1e-9);
        assert!((found.busiest_hour.times_mean - 1.0).abs() < 1e-9);
        assert_eq!(found.bins.iter().map(|bin| bin.events).sum::<u64>(), 29);
        assert_eq!(found.bins.iter().map(|bin| bin.open).collect::<Vec<_>>(), {
            let at = (100_000_000 / found.bin_micros) as usize;
            let mut open = vec![1; at];
            open.extend(vec![11; 239 - at]);
            open.push(2);
            open
        });
        let table = found.table();
        assert!(
            table.contains("open over time                   mean 6.0, peak 11\n"),
            "{table}"
        );
        assert!(
            table.contains("gap, p50/p90/p99/max             0 us / 1.7 min / 1.7 min / 1.7 min\n"),
            "{table}"
        );
        serde_json::to_string(&found).unwrap();
    }
}
