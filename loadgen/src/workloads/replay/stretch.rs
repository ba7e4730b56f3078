//! What a trial replays of a trace: how fast, how often, from where to where; and whether that is possible.

use std::fs::File;
use std::path::{Path, PathBuf};

use bakeoff_crds::schedule::{Trial, factor};
use bakeoff_crds::spec::{ExperimentSpec, Replay, TraceShift, Workload};
use bakeoff_trace::plan::{Plan, PlanOptions, Ratio, Shift, scale_to};
use bakeoff_trace::{Manifest, Trace};

use super::ids::Ids;
use super::source::Share;
use super::unusable;
use crate::instrument::cgroup;
use crate::instrument::clock::SECOND;
use crate::traces::{TraceError, Traces};
use crate::workloads::{Context, WorkloadError, memory};

/// Bytes of a state where the recording does not know.
const DEFAULT_BYTES: u16 = 200;
/// Bytes of a state at most: a row has to fit a page, and runs are not toasted.
const MOST_BYTES: u16 = 2_000;
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

/// The levels of a cell that time a replay.
#[derive(Clone, Copy, Debug)]
enum Timing {
    Recorded { speed_percent: u64 },
    Scaled { active_runs: u64, per_second: u64 },
}

fn timing(trial: &Trial) -> Result<Timing, String> {
    let level = |name: &str| {
        let text = trial.cell.get(name)?;
        text.parse::<u64>().ok()
    };
    let of = (
        level(factor::SPEED_PERCENT),
        level(factor::ACTIVE_RUNS),
        level(factor::RATE_PER_SECOND),
    );
    match of {
        (Some(speed_percent), None, None) => Ok(Timing::Recorded { speed_percent }),
        (None, Some(active_runs), Some(per_second)) => Ok(Timing::Scaled {
            active_runs,
            per_second,
        }),
        _ => Err(format!(
            "trial {} has neither speedPercent nor activeRuns and ratePerSecond",
            trial.id
        )),
    }
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
            default_bytes: DEFAULT_BYTES,
            most_bytes: MOST_BYTES,
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
    spec: &Replay,
    folder: &Path,
) -> Result<(Plan<File>, Stretch), WorkloadError> {
    let timing = timing(context.trial).map_err(WorkloadError::Spec)?;
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
        let Some(replay) = &workload.replay else {
            continue;
        };
        let folder = traces.folder(&replay.trace).await?;
        let own = trials
            .iter()
            .filter(|trial| trial.workload == workload.name);
        let own: Vec<Trial> = own.cloned().collect();
        let (spec, replay) = (spec.clone(), replay.clone());
        let checked = blocking(move || replayable(&spec, &replay, &own, folder)).await;
        let named = |error: WorkloadError| said(workload, &error.to_string());
        checked
            .map_err(named)?
            .map_err(|problem| said(workload, &problem))?;
    }
    Ok(())
}

fn said(workload: &Workload, problem: &str) -> TraceError {
    TraceError::Unusable(format!("workload {}: {problem}", workload.name))
}

fn replayable(
    spec: &ExperimentSpec,
    replay: &Replay,
    trials: &[Trial],
    folder: PathBuf,
) -> Result<(), String> {
    let text = |error: bakeoff_trace::Error| unusable(error).to_string();
    let limit = cgroup::limits().1;
    let mut first = None;
    let trace = files(&folder, replay).map_err(text)?;
    for trial in trials {
        let options = options(replay, timing(trial)?, trace.manifest()).map_err(text)?;
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
mod tests {
    use super::*;
    use bakeoff_crds::schedule;
    use bakeoff_trace::format::Quantiles;
    use bakeoff_trace::synthesize::{Shape, synthesize};
    use serde_json::json;

    fn spec(replay: serde_json::Value) -> ExperimentSpec {
        let mut all = json!({"trace": {"configMapRef": {"name": "t"}}});
        let fields = all.as_object_mut().unwrap();
        fields.extend(replay.as_object().unwrap().clone());
        let spec = json!({
            "backends": [{"name": "b", "postgres": {"version": "18.4"}}],
            "workloads": [{"name": "w", "replay": all}],
            "trials": {"blocks": 3, "warmupSeconds": 10, "windowSeconds": 50},
        });
        serde_json::from_value(spec).unwrap()
    }

    /// A trace of a thousand seconds in the folder `t`, and what its description says.
    fn trace() -> (tempfile::TempDir, Manifest) {
        let folder = tempfile::tempdir().unwrap();
        let each = |n| Quantiles {
            p50: n,
            p90: 2 * n,
            p99: 4 * n,
            max: 8 * n,
        };
        let shape = Shape {
            runs: 500,
            span_micros: 1_000_000_000,
            events_per_run: each(5),
            gap_micros: each(2_000_000),
            never_end_per_mille: 0,
            state_bytes: None,
        };
        let manifest = synthesize(&shape, 3, &folder.path().join("t")).unwrap();
        (folder, manifest)
    }

    fn checked(replay: serde_json::Value) -> Result<(), String> {
        let (folder, _) = trace();
        let spec = spec(replay);
        let traces = Traces::in_folder(Some(folder.path().to_owned()));
        let trials = schedule::trials(&spec);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let checked = runtime.block_on(check(&spec, &trials, &traces));
        checked.map_err(|error| error.to_string())
    }

    #[test]
    fn what_cannot_be_replayed_is_refused_in_words_before_anything_is_loaded() {
        assert_eq!(checked(json!({"speedPercent": [100, 333]})), Ok(()));
        assert_eq!(
            checked(json!({"activeRuns": [777], "ratePerSecond": [99]})),
            Ok(())
        );
        let (_folder, manifest) = trace();
        let known = json!({"configMapRef": {"name": "t"}, "sha256": manifest.sha256});
        assert_eq!(
            checked(json!({"trace": known, "speedPercent": [100]})),
            Ok(())
        );
        let other = json!({"configMapRef": {"name": "t"}, "sha256": "0".repeat(64)});
        for (replay, words) in [
            (
                json!({"trace": other, "speedPercent": [100]}),
                "this is another trace",
            ),
            (
                json!({"trace": {"configMapRef": {"name": "elsewhere"}}, "speedPercent": [100]}),
                "there is no folder for the ConfigMap elsewhere",
            ),
            (
                json!({"trace": {"path": "a"}, "speedPercent": [100]}),
                "a trace sets exactly one of configMapRef and path",
            ),
            (
                json!({"activeRuns": [20_000_000], "ratePerSecond": [1]}),
                "open runs take",
            ),
        ] {
            let said = checked(replay).unwrap_err();
            assert!(said.contains(words), "{said}");
        }
    }

    #[test]
    fn a_trace_that_was_cut_off_is_refused() {
        let (folder, _) = trace();
        let events = folder.path().join("t/events.csv.gz");
        let whole = std::fs::read(&events).unwrap();
        std::fs::write(&events, &whole[..whole.len() / 2]).unwrap();
        let spec = spec(json!({"speedPercent": [100]}));
        let refused = files(
            &folder.path().join("t"),
            spec.workloads[0].replay.as_ref().unwrap(),
        );
        assert!(refused.is_err());
    }

    #[test]
    fn a_scaled_replay_has_the_open_runs_and_the_rate_that_were_asked_for() {
        let (_folder, manifest) = trace();
        let spec = spec(json!({"activeRuns": [777], "ratePerSecond": [99]}));
        let trial = &schedule::trials(&spec)[0];
        let replay = spec.workloads[0].replay.as_ref().unwrap();
        let options = options(replay, timing(trial).unwrap(), &manifest).unwrap();
        let copies = f64::from(options.copies);
        let open = manifest.open.mean_thousandths as f64 / 1e3 * copies;
        assert!((777.0..777.0 + open / copies).contains(&open), "{open}");
        let speed = options.speed.numerator() as f64 / options.speed.denominator() as f64;
        let rate = manifest.counts.events() as f64 / 1e3 * copies * speed;
        assert!((rate - 99.0).abs() < 1e-6, "{rate}");
    }

    /// The position of a block does not depend on what ran before, so that resuming is free.
    #[test]
    fn blocks_follow_each_other_where_they_are_asked_to() {
        let (_folder, manifest) = trace();
        let spec = spec(json!({"speedPercent": [100], "stretch": "Consecutive", "stateBytes": 7}));
        let replay = spec.workloads[0].replay.as_ref().unwrap();
        let trials = schedule::trials(&spec);
        let mut ends = vec![0];
        for trial in &trials {
            let options = options(replay, timing(trial).unwrap(), &manifest).unwrap();
            let one = stretch(&spec, replay, trial, options, &manifest, (1, 3)).unwrap();
            let from = u64::try_from(trial.block).unwrap() * 60 * SECOND;
            assert_eq!((one.share.from, one.share.to), (from, from + 60 * SECOND));
            assert_eq!(one.window_from, from + 10 * SECOND);
            assert_eq!(one.share.state_bytes, Some(7));
            assert!((one.speed_percent - 100.0).abs() < 1e-9);
            ends.push(one.share.to);
        }
        ends.sort_unstable();
        assert_eq!(ends, [0, 60, 120, 180].map(|seconds| seconds * SECOND));
    }
}
