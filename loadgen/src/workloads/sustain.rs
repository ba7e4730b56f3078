//! Sustain: one hold at a rate that the search gives, on a fresh table; a step of the ramp is the same for seconds.
//!
//! Whether it was held is not decided here: a hold states the figures that decide, by which the search, the rule and the
//! report judge alike, see `bakeoff_analysis::sustain`.

use std::collections::BTreeMap;

use bakeoff_analysis::stats::trend;
use bakeoff_crds::figure::Figure;
use bakeoff_crds::schedule::factor;
use bakeoff_crds::spec::{Arrivals, Sustain, SustainLives, SustainReplay, SustainRows};

use super::head_row::lives::{Population, Runs};
use super::head_row::{self, Prepared, table};
use super::replay::{self, Timing};
use super::{Context, Gate, Part, Working, Workload, WorkloadError, memory};
use crate::drivers::postgres::Patient;
use crate::drivers::postgres::observe::{Observer, Sample};
use crate::instrument::arrivals::{Instants, Pace};
use crate::instrument::cgroup;
use crate::instrument::clock::SECOND;
use crate::instrument::drive::Counts;
use crate::instrument::record::{RecordError, histogram, intervals};

/// Parts of a hold in each of which the latency objective has to be met: what degrades after minutes shows in the last ones.
const PARTS: u64 = 5;
/// Seconds of the second half below which dead rows have no trend that could be told from a sawtooth.
const FEW: usize = 10;

impl Workload for Sustain {
    fn run<'a>(&'a self, context: &'a Context<'_>, gate: &'a dyn Gate) -> Working<'a, Part> {
        Box::pin(run(context, self, gate))
    }

    fn looks_at_tables(&self) -> bool {
        true
    }
}

/// Runs one hold, or a step of the ramp.
///
/// # Errors
/// When the trial does not fit the spec, the table cannot be loaded, or recording or pacing fails.
async fn run(
    context: &Context<'_>,
    spec: &Sustain,
    gate: &dyn Gate,
) -> Result<Part, WorkloadError> {
    if context.generators != 1 {
        return Err(WorkloadError::Spec("sustain takes one generator".into()));
    }
    let rate = context
        .rate
        .ok_or_else(|| WorkloadError::Spec("the rate of this hold is not known".into()))?;
    let held = match spec.shape.lives() {
        SustainLives::HeadRow(rows) => of_rows(context, &rows, rate, gate).await?,
        SustainLives::Replay(replay) => of_a_trace(context, &replay, rate, gate).await?,
    };
    let Held {
        mut part,
        samples,
        active,
        planned,
    } = held;
    part.figures.insert(Figure::OfferedPerSecond, rate);
    part.figures.extend(served(&part.counts));
    let objective = u64::try_from(spec.objective.p99_milliseconds).unwrap_or(0) * 1_000;
    part.figures.extend(parts(
        &part.recorded.intervals,
        part.series_kind(),
        &planned,
        seconds(context.spec.trials.window_seconds),
        objective,
    )?);
    part.figures
        .extend(course(&samples, active, context.seed()));
    Ok(part)
}

/// A hold that is over.
struct Held {
    part: Part,
    /// What was seen of the server each second.
    samples: Vec<Sample>,
    /// The runs that were open when it began.
    active: u64,
    /// What was planned for each part of the window.
    planned: [u64; PARTS as usize],
}

/// Holds with runs that are made up.
async fn of_rows(
    context: &Context<'_>,
    rows: &SustainRows,
    rate: f64,
    gate: &dyn Gate,
) -> Result<Held, WorkloadError> {
    let connector = context.access.postgres()?;
    let fillfactor = u64::try_from(rows.fillfactor).unwrap_or(100);
    let population = Population {
        seed: context.seed(),
        active: context.level(factor::ACTIVE_RUNS)?.min(context.most_runs),
        sleeper_percent: u64::try_from(rows.sleeper_percent).unwrap_or(0),
        transitions: (rows.min_transitions, rows.max_transitions),
    };
    let state_bytes = usize::try_from(rows.state_bytes).unwrap_or(0);
    memory::fits(population.active, Runs::BYTES_EACH, cgroup::limits().1)?;
    let workers = usize::try_from(rows.connections).unwrap_or(1).max(1);
    let pace = Pace::Open {
        rate,
        arrivals: Arrivals::Poisson,
        max_in_flight: workers,
    };
    let client = connector.connect().await?;
    let loaded = table::load(Patient::of(&client), &population, fillfactor, state_bytes).await?;
    let observer = Observer::new(client).await?;
    let lives = head_row::lives_of(context, population, pace, workers);
    let load = Prepared {
        connector,
        pace,
        lives,
        state_bytes,
        observer: Some(&observer),
    };
    let (mut part, watched) = head_row::measure(context, gate, load).await?;
    let after = observer.inspect().await?;
    part.figures = watched.figures(&after, fillfactor, population.active);
    part.figures.insert(Figure::LoadRowsPerSecond, loaded);
    let planned = planned_of_parts(
        Instants::new(
            rate,
            Arrivals::Poisson,
            context.seed(),
            &context.label("arrivals"),
        ),
        seconds(context.spec.trials.warmup_seconds),
        seconds(context.spec.trials.window_seconds),
    );
    Ok(Held {
        part,
        samples: watched.samples,
        active: population.active,
        planned,
    })
}

/// Holds with the runs of a trace, whose mean rate is the one that is held. What its stretch had of that is a figure: bursts and
/// quiet hours that the window missed are said.
async fn of_a_trace(
    context: &Context<'_>,
    spec: &SustainReplay,
    rate: f64,
    gate: &dyn Gate,
) -> Result<Held, WorkloadError> {
    let timing = Timing::Scaled {
        active_runs: context.level(factor::ACTIVE_RUNS)?,
        // Rates of a search are whole numbers.
        per_second: rate.round().max(1.0) as u64,
    };
    let fillfactor = u64::try_from(spec.fillfactor).unwrap_or(100);
    let replay = spec.replay();
    let mut played = replay::play(context, (&replay, timing), fillfactor, gate).await?;
    let window = seconds(context.spec.trials.window_seconds);
    let all: u64 = played.planned.iter().sum();
    let percent = all as f64 / (rate * window as f64).max(1.0) * 100.0;
    played.part.figures.insert(Figure::PlannedPercent, percent);
    Ok(Held {
        planned: by_parts(&played.planned),
        part: played.part,
        samples: played.samples,
        active: played.open,
    })
}

/// What is planned for each second of a window, by its parts. (Pure.)
fn by_parts(seconds: &[u64]) -> [u64; PARTS as usize] {
    let mut planned = [0; PARTS as usize];
    let window = seconds.len() as u64;
    for (second, count) in (0..).zip(seconds) {
        if let Some(sum) = planned.get_mut(part_of(second, window)) {
            *sum += count;
        }
    }
    planned
}

fn seconds(seconds: i32) -> u64 {
    u64::try_from(seconds).unwrap_or(0)
}

/// Operations that ended well, of those planned. (Pure.)
fn served(counts: &Counts) -> Option<(Figure, f64)> {
    let planned = counts.expected.max(counts.planned());
    let percent = counts.completed as f64 / planned.max(1) as f64 * 100.0;
    (planned > 0).then_some((Figure::ServedPercent, percent))
}

/// The part of the window that a second of it belongs to.
fn part_of(second: u64, window: u64) -> usize {
    usize::try_from((second * PARTS / window.max(1)).min(PARTS - 1)).unwrap_or(0)
}

/// How many operations the plan itself has in each part of the window. (Pure.)
fn planned_of_parts(instants: Instants, warmup: u64, window: u64) -> [u64; PARTS as usize] {
    let mut planned = [0; PARTS as usize];
    let (opens, closes) = (warmup * SECOND, (warmup + window) * SECOND);
    for at in instants
        .take_while(|&at| at < closes)
        .filter(|&at| at >= opens)
    {
        if let Some(count) = planned.get_mut(part_of((at - opens) / SECOND, window)) {
            *count += 1;
        }
    }
    planned
}

/// The worst part of the window: the share of its planned operations that ended well within the objective, and the largest p99
/// of those that ended well. What failed, was cut off, never started or came so late that its second was closed is beyond the
/// objective. (Pure.)
///
/// # Errors
/// When the interval log cannot be read.
fn parts(
    log: &[u8],
    kind: &str,
    planned: &[u64; PARTS as usize],
    window: u64,
    objective_micros: u64,
) -> Result<BTreeMap<Figure, f64>, RecordError> {
    let mut all = Vec::new();
    for _ in 0..PARTS {
        all.push(histogram()?);
    }
    for (second, histogram) in intervals(log, kind) {
        let part = part_of(u64::try_from(second).unwrap_or(0), window);
        if let Some(sum) = all.get_mut(part) {
            sum.add(&histogram?)
                .map_err(|error| RecordError::Decode(error.to_string()))?;
        }
    }
    let each = || all.iter().zip(planned).filter(|(_, planned)| **planned > 0);
    let within = each().map(|(response, &planned)| {
        response.count_between(0, objective_micros) as f64 / planned as f64 * 100.0
    });
    let slowest = each().map(|(response, _)| response.value_at_quantile(0.99) as f64 / 1_000.0);
    let mut figures = BTreeMap::new();
    figures.extend(
        within
            .reduce(f64::min)
            .map(|percent| (Figure::FifthWithinPercent, percent)),
    );
    figures.extend(
        slowest
            .reduce(f64::max)
            .map(|millis| (Figure::FifthP99Milliseconds, millis)),
    );
    Ok(figures)
}

/// How dead rows and sizes went over the second half of the window: the first versions of all rows have to go somewhere, so a
/// table grows once before it is steady. Dead rows rise and fall, so of theirs the trend is taken, and its lower end: what is
/// shown. (Pure.)
fn course(samples: &[Sample], active: u64, seed: u64) -> BTreeMap<Figure, f64> {
    let mut figures = BTreeMap::new();
    let half = samples.get(samples.len() / 2..).unwrap_or_default();
    let (Some(first), Some(last)) = (half.first(), half.last()) else {
        return figures;
    };
    let grown = |of: fn(&Sample) -> i64| (of(last) as f64 / of(first).max(1) as f64 - 1.0) * 100.0;
    figures.insert(Figure::LateTableGrowthPercent, grown(|s| s.table_bytes));
    figures.insert(Figure::LateIndexGrowthPercent, grown(|s| s.index_bytes));
    let percent = |dead: i64| dead as f64 / active.max(1) as f64 * 100.0;
    let points: Vec<(f64, f64)> = half
        .iter()
        .map(|sample| (sample.at_millis as f64 / 1e3, percent(sample.dead_tuples)))
        .collect();
    let lasted = (last.at_millis - first.at_millis) as f64 / 1e3;
    if points.len() >= FEW
        && let Some(trend) = trend::theil_sen(&points, 0, seed)
    {
        figures.insert(Figure::DeadRisePercent, trend.low * lasted);
    }
    figures
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instrument::record::{Operation, Recorder, Sample as Operated};
    use std::sync::Arc;

    /// An hour's worth in a minute: 100 operations a second, of which those of a second take so many milliseconds, or fail.
    fn recorded(window: u64, millis: impl Fn(u64) -> Option<u64>) -> Vec<u8> {
        let kinds = [Operation::Operation];
        let mut recorder =
            Recorder::new(0, window * SECOND, 0, true, &kinds, Arc::default()).unwrap();
        for count in 0..window * 100 {
            let planned = count * SECOND / 100;
            if let Some(millis) = millis(planned / SECOND) {
                let sample = Operated {
                    member: planned,
                    planned,
                    sent: planned,
                    ended: planned + millis * 1_000_000,
                    bytes: 0,
                    queued: false,
                };
                recorder.success(Operation::Operation, sample);
            }
        }
        recorder.finish().unwrap().intervals
    }

    fn worst(window: u64, millis: impl Fn(u64) -> Option<u64>) -> (f64, f64) {
        let log = recorded(window, millis);
        let planned = [window * 100 / PARTS; PARTS as usize];
        let figures = parts(&log, "operation", &planned, window, 50_000).unwrap();
        (
            figures[&Figure::FifthWithinPercent],
            figures[&Figure::FifthP99Milliseconds],
        )
    }

    #[test]
    fn the_worst_fifth_counts_and_what_was_lost_is_beyond_the_objective() {
        let (within, p99) = worst(50, |_| Some(5));
        assert!(
            within == 100.0 && (4.9..5.2).contains(&p99),
            "{within} {p99}"
        );
        // One second of fifty: 2 % of the whole and 10 % of its fifth.
        let (within, p99) = worst(50, |second| Some(if second == 33 { 400 } else { 5 }));
        assert!((within - 90.0).abs() < 0.1 && p99 > 390.0, "{within} {p99}");
        let (within, p99) = worst(50, |second| (second != 49).then_some(5));
        assert!((within - 90.0).abs() < 0.1 && p99 < 6.0, "{within} {p99}");
    }

    #[test]
    fn parts_are_planned_by_the_plan_itself() {
        let plan = || Instants::new(1_000.0, Arrivals::Poisson, 7, "x");
        let planned = planned_of_parts(plan(), 3, 50);
        let all = plan()
            .take_while(|at| *at < 53 * SECOND)
            .filter(|at| *at >= 3 * SECOND)
            .count() as u64;
        assert_eq!(planned.iter().sum::<u64>(), all);
        assert!(
            planned.iter().all(|one| one.abs_diff(10_000) < 500),
            "{planned:?}"
        );
        // Of a window that is no multiple of five as well.
        assert_eq!(part_of(0, 7), 0);
        assert_eq!(part_of(6, 7), 4);
        assert_eq!(part_of(99, 7), 4);
    }

    fn sampled(dead: impl Fn(i64) -> i64) -> BTreeMap<Figure, f64> {
        let samples: Vec<Sample> = (0..600)
            .map(|second| Sample {
                at_millis: second * 1_000,
                dead_tuples: dead(second),
                table_bytes: 1_000_000 + second * 1_000,
                index_bytes: 1_000_000,
                ..Sample::default()
            })
            .collect();
        course(&samples, 1_000, 3)
    }

    #[test]
    fn dead_rows_that_rise_are_told_from_those_that_rise_and_fall() {
        let rising = sampled(|second| second);
        // 300 seconds of one a second, of a thousand.
        assert!(
            (rising[&Figure::DeadRisePercent] - 29.9).abs() < 0.2,
            "{rising:?}"
        );
        assert!((rising[&Figure::LateTableGrowthPercent] - 23.0).abs() < 1.0);
        assert_eq!(rising[&Figure::LateIndexGrowthPercent], 0.0);
        let sawtooth = sampled(|second| second % 60 * 4);
        assert!(sawtooth[&Figure::DeadRisePercent] < 5.0, "{sawtooth:?}");
        assert!(course(&[], 1_000, 3).is_empty());
    }

    #[test]
    fn served_is_of_what_was_planned() {
        let counts = Counts {
            completed: 999,
            failed: 1,
            expected: 1_000,
            ..Counts::default()
        };
        let (_, percent) = served(&counts).unwrap();
        assert!((percent - 99.9).abs() < 1e-9);
        assert_eq!(served(&Counts::default()), None);
    }
}
