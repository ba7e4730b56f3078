//! One cell on one backend: the sum over its valid trials.

use std::collections::{BTreeMap, BTreeSet};

use bakeoff_crds::figure::{Counter, Figure};
use bakeoff_crds::result::{
    EncodedHistogram, OperationRecord, SecondPoint, StateLine, TrialRecord,
};
use hdrhistogram::Histogram;

use super::{
    BlockFigure, CellBackend, Drift, FigurePoint, FigureSummary, LoadSummary, OperationSummary,
    Percentiles, SpectrumPoint, StateOfBlock, SummaryError,
};
use crate::merge::{self, MergeError};
use crate::stats::{self, tail, trend};

/// Quantiles of the latency spectrum: even steps in the number of nines.
const SPECTRUM: [f64; 22] = [
    0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.975, 0.99, 0.995, 0.9975, 0.999,
    0.9995, 0.99975, 0.9999, 0.99995, 0.99999, 0.999_999,
];

pub(super) fn cell_on_backend(
    backend: &str,
    trials: &[&TrialRecord],
    (seed, level): (u64, f64),
) -> Result<CellBackend, SummaryError> {
    let window_seconds: f64 = trials.iter().map(|record| seconds(record)).sum();
    let rate = |count: f64| {
        if window_seconds > 0.0 {
            stats::round(count / window_seconds)
        } else {
            0.0
        }
    };
    let mut load = LoadSummary::default();
    let mut offered = 0.0;
    for record in trials {
        load.planned += record.load.planned;
        load.completed += record.load.completed;
        load.failed += record.load.failed;
        load.unfinished += record.load.unfinished;
        load.not_started += record.load.not_started;
        offered += record.load.offered_per_second * seconds(record);
    }
    load.offered_per_second = rate(offered);
    load.achieved_per_second = rate(load.completed as f64);

    let names: BTreeSet<&String> = trials
        .iter()
        .flat_map(|record| record.operations.keys())
        .collect();
    let mut operations = BTreeMap::new();
    for name in names {
        operations.insert(name.clone(), operation(name, trials, window_seconds)?);
    }
    let mut counters: BTreeMap<Counter, i64> = BTreeMap::new();
    for (&counter, value) in trials.iter().flat_map(|record| &record.counters) {
        let sum = counters.entry(counter).or_default();
        *sum = counter.fold().fold(*sum, *value);
    }
    let completed_by_second = by_second(trials, |point| point.completed);
    let mut planned_by_second = by_second(trials, |point| point.planned);
    if planned_by_second.iter().all(|planned| *planned <= 0.0) {
        planned_by_second.clear();
    }
    Ok(CellBackend {
        backend: backend.to_owned(),
        blocks: i32::try_from(trials.len()).unwrap_or(i32::MAX),
        window_seconds: stats::round(window_seconds),
        load,
        operations,
        counters,
        checks: Vec::new(),
        figures: figures(trials, level),
        state: state(trials),
        drift: drift(&completed_by_second, seed),
        completed_by_second,
        planned_by_second,
    })
}

/// Points of a line over all segments: what a chart can show.
const COURSE_POINTS: usize = 240;

/// How the state went: over the window of the first block, whose series nobody adds to another's; over all
/// segments of a soak, which are one series.
fn state(trials: &[&TrialRecord]) -> Option<StateOfBlock> {
    let mut with = trials
        .iter()
        .filter_map(|record| Some((*record, record.state.as_ref()?)));
    let (first, series) = with.next()?;
    let block = first.trial.block;
    if !first.trial.kind.traits().in_segments {
        let series = series.clone();
        return Some(StateOfBlock { block, series });
    }
    let mut whole = series.clone();
    for (record, series) in with {
        let later = record.window.start.duration_since(first.window.start);
        let later = later.as_secs_f64();
        let moved = |at: &[f64]| -> Vec<f64> { at.iter().map(|one| one + later).collect() };
        whole.at_seconds.extend(moved(&series.at_seconds));
        for (name, line) in &series.lines {
            whole.lines.entry(*name).or_default().extend(line);
        }
        for (name, marks) in &series.marks {
            whole.marks.entry(*name).or_default().extend(moved(marks));
        }
    }
    let stretch = whole.at_seconds.len().div_ceil(COURSE_POINTS).max(1);
    if stretch > 1 {
        // Of each stretch the point with the most dead rows, as within a window.
        let dead = whole.lines.get(&StateLine::DeadRows).cloned();
        let dead = dead.unwrap_or_default();
        let chosen: Vec<usize> = (0..whole.at_seconds.len())
            .step_by(stretch)
            .filter_map(|from| {
                (from..(from + stretch).min(whole.at_seconds.len())).max_by(|&a, &b| {
                    let of = |at: usize| dead.get(at).copied().unwrap_or(0.0);
                    of(a).total_cmp(&of(b))
                })
            })
            .collect();
        let thin = |line: &[f64]| -> Vec<f64> {
            chosen
                .iter()
                .filter_map(|&at| line.get(at).copied())
                .collect()
        };
        whole.at_seconds = thin(&whole.at_seconds);
        for line in whole.lines.values_mut() {
            *line = thin(line);
        }
    }
    Some(StateOfBlock {
        block,
        series: whole,
    })
}

/// The figures that trials state of their windows. The block is the unit, as everywhere.
fn figures(trials: &[&TrialRecord], level: f64) -> BTreeMap<Figure, FigureSummary> {
    let in_segments = trials
        .iter()
        .any(|record| record.trial.kind.traits().in_segments);
    let mut blocks: BTreeMap<Figure, Vec<FigurePoint>> = BTreeMap::new();
    for record in trials {
        for (&figure, &value) in &record.figures {
            let block = record.trial.block;
            blocks
                .entry(figure)
                .or_default()
                .push(FigurePoint { block, value });
        }
    }
    blocks
        .into_iter()
        .map(|(figure, blocks)| {
            let values: Vec<f64> = blocks.iter().map(|point| point.value).collect();
            // Segments are no independent repeats, so they have no such interval.
            let interval = (!in_segments)
                .then(|| stats::interval::student(&values, level))
                .flatten();
            let summary = FigureSummary {
                value: stats::round(stats::mean(&values)),
                low: interval.map(|(_, low, _)| stats::round(low)),
                high: interval.map(|(_, _, high)| stats::round(high)),
                blocks,
            };
            (figure, summary)
        })
        .collect()
}

fn seconds(record: &TrialRecord) -> f64 {
    record.window.micros as f64 / 1e6
}

fn operation(
    name: &str,
    trials: &[&TrialRecord],
    window_seconds: f64,
) -> Result<OperationSummary, SummaryError> {
    let mut sums = [start(name)?, start(name)?, start(name)?];
    let (mut count, mut bytes, mut overflow) = (0, 0, 0);
    let mut failures: BTreeMap<String, i64> = BTreeMap::new();
    let mut failure_examples = BTreeMap::new();
    let mut blocks = Vec::new();
    let mut known = Known::default();
    for record in trials {
        let Some(part) = record.operations.get(name) else {
            continue;
        };
        let response = read(record, name, &part.response)?;
        let window = seconds(record);
        let here = Known::of(record, part);
        known.add(here);
        let missing = here.missing();
        // A block in which nothing ended well is kept: left out, it would speak for the backend.
        if window > 0.0 && (part.count > 0 || missing > 0.0) {
            blocks.push(BlockFigure {
                block: record.trial.block,
                per_second: stats::round(part.count as f64 / window),
                p50: at_planned(&response, 0.5, missing),
                p99: at_planned(&response, 0.99, missing),
                missing: stats::round(missing),
            });
        }
        add(record, name, &mut sums[0], response)?;
        add(
            record,
            name,
            &mut sums[1],
            read(record, name, &part.service)?,
        )?;
        add(
            record,
            name,
            &mut sums[2],
            read(record, name, &part.send_lag)?,
        )?;
        count += part.count;
        bytes += part.bytes;
        overflow += part.overflow;
        collect_failures(part, &mut failures, &mut failure_examples);
    }
    let rate = |amount: i64| {
        if window_seconds > 0.0 {
            stats::round(amount as f64 / window_seconds)
        } else {
            0.0
        }
    };
    let [response, service, send_lag] = &sums;
    Ok(OperationSummary {
        count,
        per_second: rate(count),
        bytes_per_second: rate(bytes),
        response: percentiles(response, known.missing()),
        service: percentiles(service, 0.0),
        send_lag: percentiles(send_lag, 0.0),
        overflow,
        failures,
        failure_examples,
        spectrum: spectrum(response, known.missing()),
        blocks,
    })
}

fn collect_failures(
    part: &OperationRecord,
    failures: &mut BTreeMap<String, i64>,
    examples: &mut BTreeMap<String, String>,
) {
    for (class, failure) in &part.failures {
        *failures.entry(class.clone()).or_default() += failure.count;
        if !failure.example.is_empty() {
            examples
                .entry(class.clone())
                .or_insert_with(|| failure.example.clone());
        }
    }
}

pub(super) fn start(operation: &str) -> Result<Histogram<u64>, SummaryError> {
    merge::empty().map_err(|source| SummaryError::Histogram {
        trial: String::new(),
        operation: operation.to_owned(),
        source,
    })
}

pub(super) fn read(
    record: &TrialRecord,
    operation: &str,
    encoded: &EncodedHistogram,
) -> Result<Histogram<u64>, SummaryError> {
    merge::decode(encoded).map_err(|source| histogram_error(record, operation, source))
}

pub(super) fn add(
    record: &TrialRecord,
    operation: &str,
    sum: &mut Histogram<u64>,
    part: Histogram<u64>,
) -> Result<(), SummaryError> {
    sum.add(part).map_err(|error| {
        histogram_error(record, operation, MergeError::Internal(error.to_string()))
    })
}

fn histogram_error(record: &TrialRecord, operation: &str, source: MergeError) -> SummaryError {
    SummaryError::Histogram {
        trial: record.trial.id.clone(),
        operation: operation.to_owned(),
        source,
    }
}

pub(super) fn micros(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// How many operations have a latency, of how many that were planned.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    completed: f64,
    planned: f64,
}

impl Known {
    /// Of one kind of operation in one trial.
    ///
    /// Operations that were never started, and those of another kind that a failed one would have
    /// been followed by, are counted for the trial only. So the share without a latency is that of
    /// the operation itself or that of the trial, whichever is larger: no kind may look better than
    /// the work that it is a part of.
    fn of(record: &TrialRecord, part: &OperationRecord) -> Self {
        let failed: i64 = part.failures.values().map(|failure| failure.count).sum();
        let own = (failed + part.overflow) as f64 / (part.count + failed).max(1) as f64;
        let load = &record.load;
        let lost = load.failed + load.unfinished + load.not_started;
        let whole = lost as f64 / load.planned.max(1) as f64;
        let missing = own.max(whole).clamp(0.0, 1.0);
        let completed = (part.count - part.overflow).max(0) as f64;
        let planned = if missing < 1.0 {
            completed / (1.0 - missing)
        } else {
            load.planned as f64
        };
        Self { completed, planned }
    }

    fn add(&mut self, other: Self) {
        self.completed += other.completed;
        self.planned += other.planned;
    }

    /// The share of the planned operations without a latency, 0 to 1.
    fn missing(self) -> f64 {
        if self.planned > 0.0 {
            (1.0 - self.completed / self.planned).clamp(0.0, 1.0)
        } else {
            0.0
        }
    }
}

/// The percentile over the *planned* operations, microseconds: those without a latency count as
/// slower than any that has one. Where they reach into the percentile it is unknown, and the
/// percentile of the completed operations stands for it, which it cannot be below.
fn at_planned(completed: &Histogram<u64>, quantile: f64, missing: f64) -> i64 {
    let quantile = if tail::is_known(quantile, missing) && missing > 0.0 {
        (quantile / (1.0 - missing)).min(1.0)
    } else {
        quantile
    };
    micros(completed.value_at_quantile(quantile))
}

/// The rank interval of p99. The ranks are those of the planned operations, of which the completed are the quickest; one that
/// lies beyond them is at least the largest that was seen.
fn p99_interval(completed: &Histogram<u64>, missing: f64) -> (i64, i64) {
    let count = completed.len();
    let planned = if missing > 0.0 && missing < 1.0 {
        (count as f64 / (1.0 - missing)).round() as u64
    } else {
        count
    };
    let at = |rank: u64| micros(completed.value_at_quantile(rank as f64 / count as f64));
    match tail::rank_interval(planned, 0.99) {
        Some((low, high)) if count > 0 => (at(low.min(count)), at(high.min(count))),
        _ => (0, 0),
    }
}

fn percentiles(histogram: &Histogram<u64>, missing: f64) -> Percentiles {
    let count = histogram.len();
    let at = |quantile: f64| at_planned(histogram, quantile, missing);
    let (p99_low, p99_high) = p99_interval(histogram, missing);
    // A known percentile is read further up in the histogram than one that is only a bound, and a bound is never below what is
    // known of a lower one.
    let p50 = at(0.5);
    let p90 = at(0.9).max(p50);
    let p99 = at(0.99).max(p90);
    Percentiles {
        p50,
        p90,
        p99,
        p999: (count >= tail::LEAST_FOR_P999).then(|| at(0.999).max(p99)),
        max: micros(histogram.max()),
        p99_low: p99_low.min(p99),
        p99_high: p99_high.max(p99),
        missing: stats::round(missing),
    }
}

fn spectrum(histogram: &Histogram<u64>, missing: f64) -> Vec<SpectrumPoint> {
    let count = histogram.len() as f64;
    SPECTRUM
        .into_iter()
        // Beyond one operation there is nothing to see but the maximum again, and nothing at all
        // where operations without a latency begin.
        .filter(|quantile| count * (1.0 - quantile) >= 1.0 && tail::is_known(*quantile, missing))
        .map(|quantile| SpectrumPoint {
            quantile,
            micros: at_planned(histogram, quantile, missing),
        })
        .collect()
}

fn by_second(trials: &[&TrialRecord], of: fn(&SecondPoint) -> i64) -> Vec<f64> {
    let mut sums: BTreeMap<i32, (i64, i64)> = BTreeMap::new();
    for point in trials.iter().flat_map(|record| &record.series) {
        let sum = sums.entry(point.second).or_default();
        sum.0 += of(point);
        sum.1 += 1;
    }
    // The last second of a window that ends with its work is a fraction; blocks without it do not count.
    sums.into_values()
        .map(|(sum, blocks)| stats::round(sum as f64 / blocks as f64))
        .collect()
}

fn drift(completed: &[f64], seed: u64) -> Option<Drift> {
    let points: Vec<(f64, f64)> = (0..)
        .zip(completed)
        .map(|(second, value)| (f64::from(second), *value))
        .collect();
    let median = stats::median(&mut completed.to_vec());
    if median <= 0.0 {
        return None;
    }
    let slope = trend::theil_sen(&points, 0, seed)?;
    let share = |slope: f64| stats::round(slope * completed.len() as f64 / median);
    Some(Drift {
        share: share(slope.slope),
        low: share(slope.low),
        high: share(slope.high),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever share has no answer: a higher percentile is never below a lower one, and an interval holds its estimate.
    #[test]
    fn percentiles_are_in_order_whatever_is_missing() {
        for values in [2_000_u64, 20_000] {
            let mut histogram = Histogram::<u64>::new(3).unwrap();
            for value in 1..=values {
                histogram.record(value * 1_000).unwrap();
            }
            for permille in 0..400 {
                let missing = f64::from(permille) / 2_000.0;
                let found = percentiles(&histogram, missing);
                let tail = found.p999.unwrap_or(found.p99);
                let all = [found.p50, found.p90, found.p99, tail];
                assert!(all.is_sorted(), "{missing}: {found:?}");
                assert!(tail <= found.max, "{missing}: {found:?}");
                let interval = found.p99_low..=found.p99_high;
                assert!(interval.contains(&found.p99), "{missing}: {found:?}");
                // Of what lies above a p99 that is known the largest is seen at least.
                if missing <= 0.008 {
                    assert!(found.p99_high > found.p99, "{missing}: {found:?}");
                }
            }
        }
    }
}
