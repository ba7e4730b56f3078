//! A0: the life of runs in one head table: INSERT, compare-and-swap UPDATEs, DELETE.
//!
//! Every worker owns its runs, so each statement must touch exactly one row; one that does not is a
//! violation. Which run moves next is drawn from the worker's open runs; a run whose transitions are
//! used up is completed and the next operation creates its successor, so the mix follows from the
//! number of transitions and the number of open runs stays.

pub(super) mod lives;
pub(super) mod mover;
pub(super) mod table;

use std::cell::RefCell;
use std::rc::Rc;

use bakeoff_crds::rng::SplitMix64;
use bakeoff_crds::schedule::factor;
use bakeoff_crds::spec::{Arrivals, HeadRow};

use super::rows::Missed;
use super::{Context, Gate, Part, WorkloadError, memory};
use crate::drivers::postgres::observe::{self, Observer};
use crate::drivers::postgres::{Connector, series};
use crate::instrument::arrivals::Plan;
use crate::instrument::cgroup;
use crate::instrument::clock;
use crate::instrument::drive::drive;
use crate::instrument::meter::Meter;
use crate::instrument::record::Recorder;
use lives::{Lives, Population, Runs};
use mover::{COMPLETE, CREATE, Mover, OPERATION, TRANSITION};

/// The load of this generator, and the most workers that any generator has.
fn arrivals(context: &Context<'_>, spec: &HeadRow) -> Result<(Plan, usize), WorkloadError> {
    if let Some(load) = &spec.load {
        let plan = context.plan(load)?;
        let most = match plan {
            Plan::Closed { .. } => {
                let clients = usize::try_from(context.level(factor::CONCURRENCY)?);
                clients.unwrap_or(usize::MAX).div_ceil(context.generators)
            }
            Plan::Open { max_in_flight, .. } => max_in_flight,
        };
        return Ok((plan, most));
    }
    let rate = spec.rate(context.level(factor::RUNS_PER_MONTH)?) / context.generators as f64;
    let connections = usize::try_from(spec.connections).unwrap_or(1);
    let plan = Plan::Open {
        rate,
        arrivals: Arrivals::Poisson,
        max_in_flight: context.share(connections).max(1),
    };
    Ok((plan, connections.div_ceil(context.generators)))
}

/// Runs the trial.
///
/// # Errors
/// When the trial does not fit the spec, the table cannot be loaded, or recording or pacing fails.
pub async fn run(
    context: &Context<'_>,
    spec: &HeadRow,
    gate: &dyn Gate,
) -> Result<Part, WorkloadError> {
    let (plan, most) = arrivals(context, spec)?;
    let connector = context.access.postgres()?;
    let fillfactor = context.level(factor::FILLFACTOR)?;
    let population = Population {
        seed: context.seed(),
        active: context.level(factor::ACTIVE_RUNS)?,
        sleeper_percent: u64::try_from(spec.sleeper_percent).unwrap_or(0),
        transitions: (spec.min_transitions, spec.max_transitions),
    };
    let state_bytes = usize::try_from(spec.state_bytes).unwrap_or(0);
    let own = population.active.div_ceil(context.generators as u64);
    memory::fits(own, Runs::BYTES_EACH, cgroup::limits().1)?;
    let leads = context.generator == 0;
    let observer = if leads {
        let client = connector.connect().await?;
        let rate = table::load(&client, &population, fillfactor, state_bytes).await?;
        Some((Observer::new(client).await?, rate))
    } else {
        None
    };

    // The same number on every generator, so that no run has two owners.
    let slots = (most.max(1) * context.generators) as u64;
    let prepared: Vec<Lives> = (0..plan.workers() as u64)
        .map(|worker| {
            let slot = worker * context.generators as u64 + context.generator as u64;
            Lives {
                population,
                rng: SplitMix64::stream(
                    context.seed(),
                    &format!("{}/{worker}", context.label("lives")),
                ),
                runs: population.share(slot, slots),
                owed: 0,
                next_id: i64::try_from(population.active + slot).unwrap_or(i64::MAX),
                stride: i64::try_from(slots).unwrap_or(1),
            }
        })
        .collect();

    let load = Prepared {
        connector,
        plan,
        lives: prepared,
        state_bytes,
        observer: observer.as_ref().map(|(observer, _)| observer),
    };
    let mut part = measure(context, gate, load).await?;
    if let Some((observer, rate)) = &observer {
        let after = observer.inspect().await?;
        part.figures = observe::figures(&part.samples, &after, fillfactor, population.active);
        part.figures.extend(part.log_figures());
        part.figures
            .insert(table::LOAD_ROWS_PER_SECOND.to_owned(), *rate);
    }
    Ok(part)
}

/// A load over a head table, ready to begin.
pub(super) struct Prepared<'a> {
    pub connector: &'a Connector,
    pub plan: Plan,
    /// One for each worker of the plan.
    pub lives: Vec<Lives>,
    pub state_bytes: usize,
    /// Who watches the server, on the generator that does.
    pub observer: Option<&'a Observer>,
}

/// Waits for the common start, drives the load through warm-up, window and drain, and watches the server meanwhile. The
/// part has no figures yet.
///
/// # Errors
/// When recording or pacing fails, or the other generators are not met.
pub(super) async fn measure(
    context: &Context<'_>,
    gate: &dyn Gate,
    load: Prepared<'_>,
) -> Result<Part, WorkloadError> {
    let (open_loop, offered_per_second) = match load.plan {
        Plan::Open { rate, .. } => (true, rate),
        Plan::Closed { .. } => (false, 0.0),
    };
    let start = gate.open().await?;
    let timing = context.timing(start);
    let wall = clock::wall() + timing.window_start.saturating_sub(clock::now());
    let recorder = Recorder::new(
        timing.window_start,
        timing.window_end,
        wall,
        open_loop,
        &[OPERATION, CREATE, TRANSITION, COMPLETE],
        context.live.clone(),
    )?;
    let recorder = Rc::new(RefCell::new(recorder));
    let missed = Rc::new(RefCell::new(Missed::default()));
    let workers = load
        .lives
        .into_iter()
        .map(|lives| {
            let connector = load.connector.clone();
            Mover::new(connector, lives, load.state_bytes, &recorder, &missed)
        })
        .collect();
    let start_skew = clock::now().saturating_sub(start);
    let label = context.label("arrivals");
    let (opens, closes) = (timing.window_start, timing.window_end);
    let watching = async {
        match load.observer {
            Some(observer) => {
                tokio::join!(
                    observer.watch(opens, closes),
                    observer.stretch(opens, closes)
                )
            }
            None => (Vec::new(), None),
        }
    };
    let (counts, usage, (samples, stretch)) = tokio::join!(
        drive(
            load.plan,
            timing,
            context.seed(),
            &label,
            workers,
            &recorder,
            OPERATION
        ),
        Meter::over(opens, closes),
        watching
    );
    let logged = match (load.observer, stretch) {
        (Some(observer), Some(stretch)) => observer.logged(stretch).await,
        _ => None,
    };
    let missed = std::mem::take(&mut *missed.borrow_mut());
    Ok(Part {
        counts: counts?,
        offered_per_second,
        recorded: super::finished(recorder)?,
        checks: vec![missed.into_check()],
        window: (opens, closes),
        planned_kind: OPERATION,
        open_loop,
        start_skew,
        usage,
        state: series::series(&samples),
        samples,
        logged,
        ..Part::default()
    })
}
