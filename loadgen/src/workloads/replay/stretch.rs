//! What a trial replays of a trace: how fast, how often, from where to where; and whether that is possible.

use std::fs::File;
use std::path::{Path, PathBuf};

use bakeoff_crds::schedule::{Trial, factor};
use bakeoff_crds::spec::{ExperimentSpec, Replay, SustainLives, TraceShift, Workload};
use bakeoff_trace::plan::{Plan, PlanOptions, Ratio, Shift, scale_to};
use bakeoff_trace::{Manifest, Trace};

use super::ids::Ids;
use super::source::Share;
use super::unusable;
use crate::instrument::cgroup;
use crate::instrument::clock::SECOND;
use crate::traces::{TraceError, Traces};
use crate::workloads::{Context, WorkloadError, memory};

/// What an open run takes in a plan, in each copy.
const OPEN_RUN_BYTES: u64 = 40;
/// What a plan takes besides: decoded events, what copies read ahead, and what waits.
const PLAN_BYTES: u64 = 112 << 20;

/// A stretch of a plan, and what of it is this generator's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch {
    pub share: Share,
    /// Where the window begins in it, nanoseconds since the start of the plan.
    pub window_from: u64,
    pub copies: u32,
    pub speed_percent: f64,
}

/// How a replay is timed.
#[derive(Clone, Copy, Debug)]
pub(in crate::workloads) enum Timing {
    /// As it was recorded, at a speed.
    Recorded { speed_percent: u64 },
    /// With so many open runs and events per second on average.
    Scaled { active_runs: u64, per_second: u64 },
}

impl Timing {
    /// As the levels of a cell say.
    ///
    /// # Errors
    /// It has not those that it takes; in words.
    pub fn of(trial: &Trial) -> Result<Self, String> {
        let of = (
            level(trial, factor::SPEED_PERCENT),
            level(trial, factor::ACTIVE_RUNS),
            level(trial, factor::RATE_PER_SECOND),
        );
        match of {
            (Some(speed_percent), None, None) => Ok(Self::Recorded { speed_percent }),
            (None, Some(active_runs), Some(per_second)) => Ok(Self::Scaled {
                active_runs,
                per_second,
            }),
            _ => Err(format!(
                "trial {} has neither speedPercent nor activeRuns and ratePerSecond",
                trial.id
            )),
        }
    }
}

fn level(trial: &Trial, name: &str) -> Option<u64> {
    trial.cell.get(name)?.parse().ok()
}

/// Speed and copies of a trial. (Pure.)
fn options(
    spec: &Replay,
    timing: Timing,
    manifest: &Manifest,
) -> Result<PlanOptions, bakeoff_trace::Error> {
    let (speed, copies) = match timing {
        Timing::Recorded { speed_percent } => {
            let copies = spec.copies.and_then(|copies| u32::try_from(copies).ok());
            (Ratio::new(speed_percent.into(), 100)?, copies.unwrap_or(1))
        }
        Timing::Scaled {
            active_runs,
            per_second,
        } => {
            let scaled = scale_to(active_runs, per_second, manifest)?;
            (scaled.speed, scaled.copies)
        }
    };
    let shift = match spec.shift {
        TraceShift::Spread => Shift::Spread,
        TraceShift::None => Shift::None,
    };
    Ok(PlanOptions {
        speed,
        copies,
        shift,
    })
}

/// Runs that are open at the same time by the plan, about: the peaks of copies that are not shifted coincide. (Pure.)
fn most_open(options: PlanOptions, manifest: &Manifest) -> u64 {
    let copies = u64::from(options.copies);
    match options.shift {
        Shift::None => manifest.open.peak.saturating_mul(copies),
        Shift::Spread => {
            let mean = manifest.open.mean_thousandths.saturating_mul(copies) / 1_000;
            mean.saturating_add(manifest.open.peak)
        }
    }
}

/// Opens the files of a trace, whose events have to be those that are asked for.
fn files(folder: &Path, spec: &Replay) -> Result<Trace<File>, bakeoff_trace::Error> {
    let mut trace = Trace::open(folder)?;
    let found = &trace.manifest().sha256;
    if let Some(wanted) = &spec.trace.sha256
        && wanted != found
    {
        let said = format!(
            "trace.json says that events.csv.gz has the SHA-256 {found}, and trace.sha256 asks for {wanted}: this is another trace"
        );
        return Err(bakeoff_trace::Error::Options(said));
    }
    trace.verify()?;
    Ok(trace)
}

/// Seconds of the plan that a trial takes.
fn seconds(spec: &ExperimentSpec) -> (u64, u64) {
    let seconds = |seconds: i32| u64::try_from(seconds).unwrap_or(0);
    (
        seconds(spec.trials.warmup_seconds),
        seconds(spec.trials.window_seconds),
    )
}

/// The stretch of a trial. (Pure.)
fn stretch(
    spec: &ExperimentSpec,
    replay: &Replay,
    trial: &Trial,
    options: PlanOptions,
    manifest: &Manifest,
    (generator, generators): (usize, usize),
) -> Result<Stretch, String> {
    let (warmup, window) = seconds(spec);
    let each = i32::try_from(warmup + window).unwrap_or(i32::MAX);
    let from = replay
        .begins_at_seconds(trial.block, each)
        .saturating_mul(SECOND);
    let to = from.saturating_add((warmup + window).saturating_mul(SECOND));
    // A turn of the plan, as it says itself; at least one nanosecond.
    let turn = u128::from(manifest.span_micros) * 1_000 * u128::from(options.speed.denominator())
        / u128::from(options.speed.numerator());
    let laps = u128::from(to) / turn.max(1);
    let ids = Ids::new(manifest.runs, options.copies, options.shift, laps)?;
    let state_bytes = replay
        .state_bytes
        .and_then(|bytes| u16::try_from(bytes).ok());
    Ok(Stretch {
        share: Share {
            ids,
            from,
            to,
            generator,
            generators,
            state_bytes,
        },
        window_from: from + warmup * SECOND,
        copies: options.copies,
        speed_percent: options.speed.numerator() as f64 / options.speed.denominator() as f64
            * 100.0,
    })
}

/// Does what waits for files on another thread.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, WorkloadError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| WorkloadError::Io(std::io::Error::other(error)))
}

/// The plan of a trial, read once and checked, and the stretch that the trial replays.
///
/// # Errors
/// The trace cannot be read, is another one, or cannot be replayed so.
pub(super) async fn opened(
    context: &Context<'_>,
    (spec, timing): (&Replay, Timing),
    folder: &Path,
) -> Result<(Plan<File>, Stretch), WorkloadError> {
    let (folder, replay) = (folder.to_owned(), spec.clone());
    let limit = cgroup::limits().1;
    let (plan, options) = blocking(move || {
        let trace = files(&folder, &replay).map_err(unusable)?;
        let options = options(&replay, timing, trace.manifest()).map_err(unusable)?;
        fits(options, trace.manifest(), limit)?;
        let plan = Plan::open(trace, options).map_err(unusable)?;
        Ok::<_, WorkloadError>((plan, options))
    })
    .await??;
    let place = (context.generator, context.generators);
    let stretch = stretch(
        context.spec,
        spec,
        context.trial,
        options,
        plan.manifest(),
        place,
    )
    .map_err(WorkloadError::Spec)?;
    Ok((plan, stretch))
}

fn fits(
    options: PlanOptions,
    manifest: &Manifest,
    limit: Option<i64>,
) -> Result<(), WorkloadError> {
    let plan = i64::try_from(PLAN_BYTES).unwrap_or(0);
    let left = limit.map(|limit| limit.saturating_sub(plan));
    memory::fits(most_open(options, manifest), OPEN_RUN_BYTES, left)
}

/// Checks that the traces of an experiment are there and can be replayed in each of its cells, before anything is loaded.
///
/// # Errors
/// The first that cannot, with what to do about it.
pub async fn check(
    spec: &ExperimentSpec,
    trials: &[Trial],
    traces: &Traces,
) -> Result<(), TraceError> {
    for workload in &spec.workloads {
        let Some((replay, rates)) = replayed(workload) else {
            continue;
        };
        let folder = traces.folder(&replay.trace).await?;
        let own = trials
            .iter()
            .filter(|trial| trial.workload == workload.name);
        let own = own.flat_map(|trial| {
            let timings = timings(trial, &rates).into_iter();
            timings.map(|timing| (trial.clone(), timing))
        });
        let own: Vec<_> = own.collect();
        let spec = spec.clone();
        let checked = blocking(move || replayable(&spec, &replay, &own, folder)).await;
        let named = |error: WorkloadError| said(workload, &error.to_string());
        checked
            .map_err(named)?
            .map_err(|problem| said(workload, &problem))?;
    }
    Ok(())
}

/// What a workload replays, and the rates that it may take, where the cell has none.
fn replayed(workload: &Workload) -> Option<(Replay, Vec<u64>)> {
    if let Some(replay) = &workload.replay {
        return Some((replay.clone(), Vec::new()));
    }
    let sustain = workload.sustain.as_ref()?;
    let SustainLives::Replay(replay) = sustain.shape.lives() else {
        return None;
    };
    let ends = [sustain.ramp.from, sustain.ramp.to];
    let rates = ends.map(|rate| u64::try_from(rate).unwrap_or(1));
    Some((replay.replay(), rates.to_vec()))
}

/// How a trial may be timed: as its cell says, or with its active runs at each of these rates.
fn timings(trial: &Trial, rates: &[u64]) -> Vec<Result<Timing, String>> {
    match level(trial, factor::ACTIVE_RUNS) {
        Some(active_runs) if !rates.is_empty() => {
            let scaled = rates.iter().map(|&per_second| {
                Ok(Timing::Scaled {
                    active_runs,
                    per_second,
                })
            });
            scaled.collect()
        }
        _ => vec![Timing::of(trial)],
    }
}

fn said(workload: &Workload, problem: &str) -> TraceError {
    TraceError::Unusable(format!("workload {}: {problem}", workload.name))
}

fn replayable(
    spec: &ExperimentSpec,
    replay: &Replay,
    trials: &[(Trial, Result<Timing, String>)],
    folder: PathBuf,
) -> Result<(), String> {
    let text = |error: bakeoff_trace::Error| unusable(error).to_string();
    let limit = cgroup::limits().1;
    let mut first = None;
    let trace = files(&folder, replay).map_err(text)?;
    for (trial, timing) in trials {
        let options = options(replay, timing.clone()?, trace.manifest()).map_err(text)?;
        fits(options, trace.manifest(), limit).map_err(|error| error.to_string())?;
        stretch(spec, replay, trial, options, trace.manifest(), (0, 1))?;
        first.get_or_insert(options);
    }
    // Reads all of it: what breaks the grammar is refused with its line.
    if let Some(options) = first {
        Plan::open(trace, options).map_err(text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
