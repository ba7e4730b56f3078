//! Parameters of `headRow` that come closest to a trace, and how close that is.

use std::collections::HashMap;
use std::io::{Read, Seek};

use serde::Serialize;

use crate::Error;
use crate::format::{Kind, Trace};
use crate::grammar::Checker;

/// The most transitions that `headRow` gives a run, and the fewest.
const MOST: usize = 1_000;
/// The most bytes of a state that `headRow` writes.
const MOST_STATE_BYTES: u64 = 2_000;

/// Parameters of `headRow`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fit {
    /// `activeRuns`: runs that are open on average, rounded. Below 1000 it takes copies of the trace to reach what `headRow`
    /// accepts.
    pub active_runs: u64,
    /// `sleeperPercent`: of 100 open runs those that do not move any more, over the time of the recording. 0 to 99.
    pub sleeper_percent: u32,
    /// `minTransitions`, 1 to 1000.
    pub min_transitions: u32,
    /// `maxTransitions`, 1 to 1000. The mean of the two is that of the trace, as near as whole numbers come.
    pub max_transitions: u32,
    /// `stateBytes`: the mean of what the trace knows, 0 to 2000. Absent where it knows none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_bytes: Option<u32>,
    /// Creations, transitions and completions per second.
    pub rate_per_second: f64,
    /// The mean number of transitions in the trace.
    pub mean_transitions: f64,
    /// How badly the uniform numbers of transitions fit: the total variation distance, the share of runs (of 100) that would
    /// have to be another length. 0 is alike, 100 has nothing in common.
    pub distance_percent: f64,
    /// Runs of which the lengths were taken.
    pub runs: u64,
    /// Whether these were created and completed within the recording. If there are none of that kind, all are taken that were
    /// created, and the lengths are too short by what came after its end.
    pub complete_runs: bool,
}

/// How many runs have how many transitions.
#[derive(Default)]
struct Lengths {
    counts: Vec<u64>,
    /// Those that have more than are counted one by one.
    longer: u64,
    runs: u64,
    transitions: u64,
}

impl Lengths {
    fn count(&mut self, transitions: u32) {
        self.counts.resize(MOST + 1, 0);
        match self.counts.get_mut(transitions as usize) {
            Some(count) => *count += 1,
            None => self.longer += 1,
        }
        self.runs += 1;
        self.transitions += u64::from(transitions);
    }

    fn mean(&self) -> f64 {
        self.transitions as f64 / self.runs.max(1) as f64
    }

    /// The distance to lengths that are uniform from `fewest` to `most`, in per cent.
    fn distance(&self, fewest: usize, most: usize) -> f64 {
        let uniform = 1.0 / (most - fewest + 1) as f64;
        let runs = self.runs.max(1) as f64;
        let counts = self.counts.get(fewest..=most).unwrap_or_default();
        let shared: f64 = counts
            .iter()
            .map(|count| (*count as f64 / runs).min(uniform))
            .sum();
        (1.0 - shared).max(0.0) * 100.0
    }

    /// Of all ranges with the mean of the trace, the one with the least distance.
    fn uniform(&self) -> (usize, usize, f64) {
        let sum = ((self.mean() * 2.0).round() as usize).clamp(2, 2 * MOST);
        let mut best = (1, 1, f64::INFINITY);
        for fewest in sum.saturating_sub(MOST).max(1)..=sum / 2 {
            let distance = self.distance(fewest, sum - fewest);
            if distance < best.2 {
                best = (fewest, sum - fewest, distance);
            }
        }
        best
    }
}

/// Fits `headRow` to a trace. Memory grows with the runs that are open.
///
/// # Errors
/// The trace cannot be read, its events do not make up runs, or none of its runs is created within it.
pub fn fit<R: Read + Seek>(trace: &mut Trace<R>) -> Result<Fit, Error> {
    let span = trace.manifest().span_micros.max(1);
    let mut checker = Checker::new(None);
    // Of the runs that were created, and are open: how many transitions they have had.
    let mut open: HashMap<u32, u32> = HashMap::new();
    let mut complete = Lengths::default();
    let (mut bytes, mut sizes) = (0_u64, 0_u64);
    let mut events = trace.events()?;
    while let Some(event) = events.next() {
        let line = events.line();
        let Some(step) = checker.admit(line, event?)? else {
            continue;
        };
        let event = step.event;
        if let Some(value) = event.value.filter(|_| event.kind != Kind::Open) {
            bytes = bytes.saturating_add(u64::from(value));
            sizes += 1;
        }
        match event.kind {
            Kind::Open => {}
            Kind::Created => {
                open.insert(event.run, 0);
            }
            Kind::Transition => {
                open.entry(event.run)
                    .and_modify(|count| *count = count.saturating_add(1));
            }
            Kind::Done => {
                open.remove(&event.run)
                    .into_iter()
                    .for_each(|transitions| complete.count(transitions));
            }
        }
    }
    let complete_runs = complete.runs > 0;
    let lengths = if complete_runs {
        complete
    } else {
        let mut unfinished = Lengths::default();
        open.values()
            .for_each(|transitions| unfinished.count(*transitions));
        unfinished
    };
    if lengths.runs == 0 {
        return Err(Error::Empty(
            "no run is created within the recording: there is no length to fit".to_owned(),
        ));
    }
    let asleep: u128 = checker
        .still_open()
        .map(|run| u128::from(span.saturating_sub(run.last_micros)))
        .sum();
    let sleepers = asleep as f64 * 100.0 / (checker.open_micros(span).max(1) as f64);
    let measured = checker.finish(span);
    let (fewest, most, distance_percent) = lengths.uniform();
    Ok(Fit {
        active_runs: (measured.open.mean_thousandths + 500) / 1_000,
        sleeper_percent: (sleepers.round() as u32).min(99),
        min_transitions: fewest as u32,
        max_transitions: most as u32,
        state_bytes: (sizes > 0).then(|| (bytes / sizes.max(1)).min(MOST_STATE_BYTES) as u32),
        rate_per_second: measured.counts.events() as f64 * 1e6 / span as f64,
        mean_transitions: lengths.mean(),
        distance_percent,
        runs: lengths.runs,
        complete_runs,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Event;
    use crate::sample;

    /// Runs one after the other, each a second long, with so many transitions.
    fn fitted(lengths: impl Iterator<Item = u32>, sleepers: u32) -> Fit {
        let mut events: Vec<Event> = (0..sleepers)
            .map(|run| Event {
                at_micros: 0,
                run,
                kind: Kind::Open,
                value: Some(1),
            })
            .collect();
        for (run, transitions) in (sleepers..).zip(lengths) {
            let start = u64::from(run - sleepers) * 1_000_000;
            let event = |at_micros, kind| Event {
                at_micros,
                run,
                kind,
                value: Some(100),
            };
            events.push(event(start, Kind::Created));
            events.extend((0..transitions).map(|_| event(start + 500_000, Kind::Transition)));
            events.push(event(start + 999_999, Kind::Done));
        }
        let folder = tempfile::tempdir().unwrap();
        sample::write(folder.path(), &events);
        fit(&mut Trace::open(folder.path()).unwrap()).unwrap()
    }

    #[test]
    fn uniform_lengths_are_found() {
        let fit = fitted((0..160).map(|run| 5 + run % 16), 1);
        assert_eq!((fit.min_transitions, fit.max_transitions), (5, 20));
        assert!(fit.distance_percent < 1e-9, "{fit:?}");
        assert_eq!(
            (fit.active_runs, fit.sleeper_percent, fit.state_bytes),
            (2, 50, Some(100))
        );
        assert!((fit.rate_per_second - 14.5).abs() < 0.01, "{fit:?}");
        assert!(fit.complete_runs);
    }

    #[test]
    fn a_tail_shows_in_the_distance_and_the_mean_is_kept() {
        let fit = fitted((0..100).map(|run| if run < 90 { 3 } else { 93 }), 0);
        assert_eq!(fit.min_transitions + fit.max_transitions, 24);
        assert!(fit.distance_percent > 80.0, "{fit:?}");
        assert_eq!(fit.sleeper_percent, 0);
    }

    #[test]
    fn lengths_beyond_what_head_row_takes_are_far_from_it() {
        let fit = fitted([3_000, 3_000].into_iter(), 0);
        assert_eq!((fit.min_transitions, fit.max_transitions), (1_000, 1_000));
        assert!((fit.distance_percent - 100.0).abs() < 1e-9);
    }
}
