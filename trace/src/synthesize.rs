//! Makes a trace that looks like one of which only the quantiles are known.
//!
//! Whole numbers only, and a generator of our own: a seed gives the same trace on every machine.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::Path;

use crate::Error;
use crate::format::{Event, Kind, MOST_MICROS, Manifest, Quantiles, Source};
use crate::grammar::Repairs;
use crate::rng::SplitMix64;
use crate::writer::{Description, Writer};

/// How a trace is to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Runs that begin, evenly over the time but for chance.
    pub runs: u64,
    /// Length of the recording in microseconds.
    pub span_micros: u64,
    /// Events of a run, creation and completion included.
    pub events_per_run: Quantiles,
    /// Microseconds from an event of a run to its next one.
    pub gap_micros: Quantiles,
    /// Of 1000 runs those that never end: they stop after their events.
    pub never_end_per_mille: u32,
    /// Bytes of the state of each event, if they are to be stated.
    pub state_bytes: Option<u32>,
}

impl Shape {
    /// The shape of a trace, from its description alone. `None`: it does not say how runs look.
    #[must_use]
    pub fn of(manifest: &Manifest) -> Option<Self> {
        let events_per_run = manifest.quantiles.events_per_run?;
        let gap_micros = manifest.quantiles.gap_micros.unwrap_or(Quantiles {
            p50: 0,
            p90: 0,
            p99: 0,
            max: 0,
        });
        let never = u128::from(manifest.open.at_end) * 1_000 / u128::from(manifest.runs.max(1));
        Some(Self {
            runs: manifest.runs,
            span_micros: manifest.span_micros,
            events_per_run,
            gap_micros,
            never_end_per_mille: never.min(1_000) as u32,
            state_bytes: None,
        })
    }

    fn check(&self) -> Result<(), Error> {
        let rising = |of: &Quantiles| of.p50 <= of.p90 && of.p90 <= of.p99 && of.p99 <= of.max;
        let problem = if self.runs == 0 || self.runs > u64::from(u32::MAX) {
            "runs are 1 to 4294967295"
        } else if self.span_micros == 0 || self.span_micros > MOST_MICROS {
            "the recording is at least a microsecond and at most 3000 years long"
        } else if !rising(&self.events_per_run) || !rising(&self.gap_micros) {
            "quantiles rise from p50 to max"
        } else if self.never_end_per_mille > 1_000 {
            "of 1000 runs at most 1000 never end"
        } else {
            return Ok(());
        };
        Err(Error::Options(problem.to_owned()))
    }
}

/// A number of which the quantiles are these, from `least` on. Beyond the median, small numbers are more common than large
/// ones of the same interval (the cube of an even number): the means of logs are nearer to that than to the middle.
fn draw(rng: &mut SplitMix64, least: u64, of: &Quantiles) -> u64 {
    let place = rng.below(100);
    let fraction = u128::from(rng.next_u64() >> 32);
    let cube = (((fraction * fraction) >> 32) * fraction) >> 32;
    let (from, to, fraction) = match place {
        0..50 => (least, of.p50, fraction),
        50..90 => (of.p50, of.p90, cube),
        90..99 => (of.p90, of.p99, cube),
        _ => (of.p99, of.max, cube),
    };
    let width = u128::from(to.saturating_sub(from)) + 1;
    from.saturating_add(((width * fraction) >> 32) as u64)
        .min(to.max(from))
}

/// Runs that begin are drawn so many at a time, and sorted: chance within a group, evenness between groups.
const GROUP: u64 = 256;

/// The times at which runs begin, in their order.
struct Arrivals {
    runs: u64,
    span: u64,
    drawn: u64,
    group: Vec<u64>,
}

impl Arrivals {
    fn next(&mut self, rng: &mut SplitMix64) -> Option<u64> {
        if self.group.is_empty() {
            let count = GROUP.min(self.runs - self.drawn);
            let edge =
                |run: u64| (u128::from(self.span) * u128::from(run) / u128::from(self.runs)) as u64;
            let (from, to) = (edge(self.drawn), edge(self.drawn + count));
            self.drawn += count;
            self.group = (0..count).map(|_| from + rng.below(to - from)).collect();
            self.group.sort_unstable_by(|a, b| b.cmp(a));
        }
        self.group.pop()
    }
}

/// Writes a trace of a shape. Memory grows with the runs that are open.
///
/// Runs of which nothing more than the creation would come within the recording are cut off at its end, and open there. None
/// is open at the start.
///
/// # Errors
/// There is no such shape, or the trace cannot be written.
pub fn synthesize(shape: &Shape, seed: u64, out: &Path) -> Result<Manifest, Error> {
    shape.check()?;
    let mut rng = SplitMix64::new(seed);
    let mut arrivals = Arrivals {
        runs: shape.runs,
        span: shape.span_micros,
        drawn: 0,
        group: Vec::new(),
    };
    let mut writer = Writer::create(out)?;
    // What open runs do next: when, which run, how many events it has left, and whether it ends by the last one.
    let mut next: BinaryHeap<Reverse<(u64, u32, u64, bool)>> = BinaryHeap::new();
    let mut arrival = arrivals.next(&mut rng);
    let mut run = 0_u32;
    loop {
        let due = next.peek().map(|Reverse(event)| event.0);
        let begins = arrival.filter(|at| due.is_none_or(|due| *at <= due));
        let (at_micros, number, left, ends, kind) = if let Some(at_micros) = begins {
            let ends = rng.below(1_000) >= u64::from(shape.never_end_per_mille);
            // One that ends has a creation and a completion.
            let events = draw(&mut rng, 1, &shape.events_per_run).max(1 + u64::from(ends));
            let number = run;
            run = run.wrapping_add(1);
            arrival = arrivals.next(&mut rng);
            (at_micros, number, events - 1, ends, Kind::Created)
        } else if let Some(Reverse((at_micros, number, left, ends))) = next.pop() {
            let kind = if left == 1 && ends {
                Kind::Done
            } else {
                Kind::Transition
            };
            (at_micros, number, left - 1, ends, kind)
        } else {
            break;
        };
        writer.push(Event {
            at_micros,
            run: number,
            kind,
            value: shape.state_bytes,
        })?;
        if left > 0 {
            let at_micros = at_micros.saturating_add(draw(&mut rng, 0, &shape.gap_micros));
            if at_micros < shape.span_micros {
                next.push(Reverse((at_micros, number, left, ends)));
            }
        }
    }
    let description = Description {
        source: Source::Synthetic,
        method: format!("drawn from quantiles with seed {seed}"),
        started_at: None,
        span_micros: Some(shape.span_micros),
    };
    writer.finish(description, &Repairs::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape {
        runs: 5_000,
        span_micros: 1_000_000_000_000,
        events_per_run: Quantiles {
            p50: 11,
            p90: 47,
            p99: 85,
            max: 175,
        },
        gap_micros: Quantiles {
            p50: 1_000,
            p90: 60_000_000,
            p99: 600_000_000,
            max: 3_600_000_000,
        },
        never_end_per_mille: 100,
        state_bytes: Some(200),
    };

    #[test]
    fn the_quantiles_are_those_that_were_asked_for_and_the_seed_decides() {
        let folder = tempfile::tempdir().unwrap();
        let made = |name: &str, seed| synthesize(&SHAPE, seed, &folder.path().join(name)).unwrap();
        let manifest = made("a", 1);
        let found = manifest.quantiles.events_per_run.unwrap();
        // Those that end have two events at least, and those at the end of the recording are cut off.
        let near = |found: u64, asked: u64| found * 100 >= asked * 90 && found * 100 <= asked * 110;
        assert!(
            near(found.p50, 11) && near(found.p90, 47) && near(found.p99, 85),
            "{found:?}"
        );
        let gaps = manifest.quantiles.gap_micros.unwrap();
        assert!(
            near(gaps.p50, 1_000) && near(gaps.p90, 60_000_000),
            "{gaps:?}"
        );
        assert_eq!(
            (manifest.runs, manifest.span_micros),
            (5_000, 1_000_000_000_000)
        );
        assert!(
            (400..700).contains(&manifest.open.at_end),
            "{:?}",
            manifest.open
        );
        assert_eq!(made("b", 1).sha256, manifest.sha256);
        assert_ne!(made("c", 2).sha256, manifest.sha256);
        let again =
            synthesize(&Shape::of(&manifest).unwrap(), 1, &folder.path().join("d")).unwrap();
        assert_eq!(again.runs, manifest.runs);
    }

    #[test]
    fn a_shape_that_is_none_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let falling = Quantiles {
            p50: 3,
            p90: 2,
            p99: 4,
            max: 5,
        };
        for shape in [
            Shape { runs: 0, ..SHAPE },
            Shape {
                span_micros: 0,
                ..SHAPE
            },
            Shape {
                events_per_run: falling,
                ..SHAPE
            },
            Shape {
                never_end_per_mille: 1_001,
                ..SHAPE
            },
        ] {
            assert!(
                matches!(synthesize(&shape, 1, folder.path()), Err(Error::Options(_))),
                "{shape:?}"
            );
        }
    }
}
