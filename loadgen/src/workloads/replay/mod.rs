//! Replay: the life of runs in one head table, as a trace recorded it.
//!
//! Table and statements are those of `headRow`. What is done when is planned from the trace alone, so that response times count
//! from the recording whatever the server does. A thread of its own reads the plan ahead; the pacer hands each event over when
//! it is due, and the desk keeps the order of each run.

mod count;
mod desk;
mod ids;
mod player;
mod source;
mod stretch;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::rc::Rc;
use std::time::SystemTime;

use bakeoff_crds::figure::{Counter, Figure};
use bakeoff_crds::rng::SplitMix64;
use bakeoff_crds::schedule::factor;
use bakeoff_crds::spec::Replay;
use bakeoff_trace::plan::Plan;
use futures::StreamExt as _;

use super::head_row::lives::{COMPLETE, CREATE, TRANSITION};
use super::head_row::{Watched, table, watch};
use super::mover::OPERATION;
use super::rows::{Missed, Row};
use super::trial::{self, Ready};
use super::{Context, Gate, Part, Working, Workload, WorkloadError};
use crate::drivers::postgres::Patient;
use crate::drivers::postgres::observe::{Observer, Sample};
use crate::failure::{Failure, FailureClass};
use count::Counted;
use desk::Desk;
use player::{Player, Shared};
use source::{Reading, ended, open_rows};
pub(super) use stretch::Timing;
pub use stretch::check;
use stretch::{Stretch, blocking, opened};

impl Workload for Replay {
    fn run<'a>(&'a self, context: &'a Context<'_>, gate: &'a dyn Gate) -> Working<'a, Part> {
        Box::pin(run(context, self, gate))
    }

    fn looks_at_tables(&self) -> bool {
        true
    }

    fn runs_on_null(&self) -> bool {
        true
    }
}

fn unusable(error: bakeoff_trace::Error) -> WorkloadError {
    WorkloadError::Spec(format!("the trace: {error}"))
}

/// Runs the trial.
async fn run(context: &Context<'_>, spec: &Replay, gate: &dyn Gate) -> Result<Part, WorkloadError> {
    let timing = Timing::of(context.trial).map_err(WorkloadError::Spec)?;
    let fillfactor = context.level(factor::FILLFACTOR)?;
    let played = play(context, (spec, timing), fillfactor, gate).await?;
    Ok(played.part)
}

/// A stretch of a trace that was replayed.
pub(super) struct Played {
    pub part: Part,
    /// What was seen of the server each second, by the generator that watches it.
    pub samples: Vec<Sample>,
    /// Runs that were open where the stretch began.
    pub open: u64,
    /// What was planned of this generator for each second of the window.
    pub planned: Vec<u64>,
}

/// Loads the runs that are open where the stretch of this trial begins, and replays it.
///
/// # Errors
/// When the trace cannot be replayed as asked, the table cannot be loaded, or recording or pacing fails.
pub(super) async fn play(
    context: &Context<'_>,
    (spec, timing): (&Replay, Timing),
    fillfactor: u64,
    gate: &dyn Gate,
) -> Result<Played, WorkloadError> {
    let folder = context.traces.folder(&spec.trace).await;
    let folder = folder.map_err(|error| WorkloadError::Spec(error.to_string()))?;
    let (plan, stretch) = opened(context, (spec, timing), &folder).await?;
    let share = stretch.share;
    let connector = context.access.postgres()?;

    let mut loaded = None;
    let plan = if context.generator == 0 {
        let client = connector.connect().await?;
        let (rows, reader) = open_rows(plan, share, context.most_runs)?;
        let now = SystemTime::now();
        let rows = rows.map(|row| {
            row.map(|(id, seq)| Row {
                id,
                seq,
                state: i16::try_from(seq.rem_euclid(8)).unwrap_or(0),
                created: now,
            })
        });
        let bytes = usize::from(share.bytes(None));
        let loading = Patient::of(&client);
        let filled = table::filled(loading, fillfactor, context.seed(), bytes, rows).await?;
        loaded = Some((Observer::new(client).await?, filled));
        reader.join().map_err(|_| {
            let said = "the plan could not be read";
            WorkloadError::Preparation(Failure::new(FailureClass::Client, said))
        })?
    } else {
        plan
    };

    let reading = blocking(move || Reading::begin(plan, share)).await??;
    let Reading {
        offsets,
        arrivals,
        thread,
    } = reading;
    let observer = loaded.as_ref().map(|(observer, _)| observer);
    let missed = Rc::new(RefCell::new(Missed::default()));
    let desk = Rc::new(RefCell::new(Desk::new(0)));
    let connections = usize::try_from(spec.connections).unwrap_or(1);
    let workers = context.share(connections).max(1);
    let label = context.label("replay");
    let prepare = |ready: &Ready| {
        desk.replace(Desk::new(ready.timing.window_start));
        let shared = Shared {
            desk: Rc::clone(&desk),
            arrivals,
            recorder: Rc::clone(&ready.recorder),
            missed: Rc::clone(&missed),
        };
        let players = (0..workers).map(|worker| {
            let rng = SplitMix64::stream(context.seed(), &format!("{label}/{worker}"));
            Player::new(connector.clone(), shared.clone(), rng)
        });
        (players.collect(), watch(observer, ready.window()))
    };
    let kinds = &[OPERATION, CREATE, TRANSITION, COMPLETE];
    let (mut part, seen) = trial::measure_planned(context, gate, offsets, kinds, prepare).await?;

    let tally = desk.borrow().tally();
    part.counts.orphaned = tally.orphaned;
    part.counts.not_started += tally.refused + desk.borrow().left();
    let counters = &mut part.recorded.counters;
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    counters.insert(Counter::Orphaned, number(tally.orphaned));
    counters.insert(Counter::OwnRunWaits, number(tally.waited));
    part.checks = vec![missed.take().into_check()];

    let open = loaded.as_ref().map_or(0, |(_, (open, _))| *open);
    let (counted, growth) = blocking(move || counted(thread, &stretch, open))
        .await?
        .map_err(unusable)?;
    put_planned(&mut part, &counted);
    part.counts.expected = counted.own;
    let seconds = (part.window.1.saturating_sub(part.window.0)) as f64 / 1e9;
    part.offered_per_second = counted.own as f64 / seconds.max(1e-9);
    let mut samples = Vec::new();
    if let Some((observer, (open, rate))) = &loaded {
        let watched = Watched::of(Some(observer), seen).await;
        watched.put_into(&mut part)?;
        let after = observer.inspect().await?;
        part.figures = watched.figures(&after, fillfactor, *open);
        part.figures.insert(Figure::LoadRowsPerSecond, *rate);
        let waited = tally.waited as f64 / counted.own.max(1) as f64;
        part.figures
            .extend(figures(&stretch, &counted, waited, growth));
        samples = watched.samples;
    }
    Ok(Played {
        part,
        samples,
        open,
        planned: counted.own_by_second,
    })
}

/// Waits for the end of the reading, and counts the plan again.
fn counted(
    reader: source::Reader,
    stretch: &Stretch,
    open: u64,
) -> Result<(Counted, u64), bakeoff_trace::Error> {
    let mut plan: Plan<File> = ended(reader)?;
    let growth = plan.growth_per_turn();
    let share = stretch.share;
    let window = (stretch.window_from, share.to);
    let events = plan.window(share.from, share.to)?;
    let counted = Counted::of(events, open, window, |event| share.has(event))?;
    Ok((counted, growth))
}

/// What a plan adds to the figures of a head row. (Pure.)
fn figures(
    stretch: &Stretch,
    counted: &Counted,
    waited: f64,
    growth: u64,
) -> BTreeMap<Figure, f64> {
    let mut figures = BTreeMap::new();
    let mut put = |figure: Figure, value: f64| {
        figures.insert(figure, (value * 1e6).round() / 1e6);
    };
    put(Figure::SpeedPercent, stretch.speed_percent);
    put(Figure::Copies, f64::from(stretch.copies));
    put(Figure::OpenRunsMean, counted.open_mean);
    put(Figure::BurstPeakPerSecond, counted.peak() as f64);
    put(Figure::OwnRunWaitPercent, waited * 100.0);
    if growth > 0 {
        put(Figure::GrowthPerTurn, growth as f64);
    }
    figures
}

/// Puts what was planned for each second beside what was completed in it.
fn put_planned(part: &mut Part, counted: &Counted) {
    for (point, planned) in part.recorded.series.iter_mut().zip(&counted.own_by_second) {
        point.planned = i64::try_from(*planned).unwrap_or(i64::MAX);
    }
}
