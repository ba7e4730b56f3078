//! A0: the life of runs in one head table: INSERT, compare-and-swap UPDATEs, DELETE.
//!
//! Every worker owns its runs, so each statement must touch exactly one row; one that does not is a
//! violation. Which run moves next is drawn from the worker's open runs; a run whose transitions are
//! used up is completed and the next operation creates its successor, so the mix follows from the
//! number of transitions and the number of open runs stays.

pub(super) mod lives;
pub(super) mod statements;
pub(super) mod table;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use bakeoff_crds::figure::Figure;
use bakeoff_crds::rng::SplitMix64;
use bakeoff_crds::schedule::factor;
use bakeoff_crds::spec::{Arrivals, HeadRow};

use super::context::places;
use super::mover::{OPERATION, busy};
use super::rows::Missed;
use super::trial::{self, Load, Ready};
use super::{Context, Gate, Part, RawFile, Working, Workload, WorkloadError, memory};
use crate::drivers::postgres::log::Logged;
use crate::drivers::postgres::log_file::Stretch;
use crate::drivers::postgres::observe::{self, Inspection, Observer, Sample};
use crate::drivers::postgres::{Connector, Patient, horizon, series};
use crate::instrument::arrivals::Pace;
use crate::instrument::cgroup;
use crate::store::layout;
use lives::{COMPLETE, CREATE, Lives, Population, Runs, TRANSITION};
use statements::{Mover, Statements};

/// The load of this generator, and how many workers all of them have.
fn arrivals(context: &Context<'_>, spec: &HeadRow) -> Result<(Pace, usize), WorkloadError> {
    if let Some(load) = &spec.load {
        let pace = context.pace(load)?;
        let all = match pace {
            Pace::Closed { .. } => {
                usize::try_from(context.level(factor::CONCURRENCY)?).unwrap_or(usize::MAX)
            }
            Pace::Open { max_in_flight, .. } => max_in_flight * context.generators,
        };
        return Ok((pace, all));
    }
    let rate = spec.rate(context.level(factor::RUNS_PER_MONTH)?) / context.generators as f64;
    let connections = usize::try_from(spec.connections).unwrap_or(1);
    let pace = Pace::Open {
        rate,
        arrivals: Arrivals::Poisson,
        max_in_flight: context.share(connections).max(1),
    };
    Ok((pace, connections.max(context.generators)))
}

impl Workload for HeadRow {
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

/// Runs the trial.
///
/// # Errors
/// When the trial does not fit the spec, the table cannot be loaded, or recording or pacing fails.
async fn run(
    context: &Context<'_>,
    spec: &HeadRow,
    gate: &dyn Gate,
) -> Result<Part, WorkloadError> {
    let (pace, all) = arrivals(context, spec)?;
    let connector = context.access.postgres()?;
    let fillfactor = context.level(factor::FILLFACTOR)?;
    let population = Population {
        seed: context.seed(),
        active: context.level(factor::ACTIVE_RUNS)?.min(context.most_runs),
        sleeper_percent: u64::try_from(spec.sleeper_percent).unwrap_or(0),
        transitions: (spec.min_transitions, spec.max_transitions),
    };
    let state_bytes = usize::try_from(spec.state_bytes).unwrap_or(0);
    let own = population.active.div_ceil(all.max(1) as u64) * pace.workers() as u64;
    memory::fits(own, Runs::BYTES_EACH, cgroup::limits().1)?;
    let leads = context.generator == 0;
    let observer = if leads {
        let client = connector.connect().await?;
        let rate = table::load(Patient::of(&client), &population, fillfactor, state_bytes).await?;
        Some((Observer::new(client).await?, rate))
    } else {
        None
    };

    let lives = lives_of(context, population, pace, all);

    let load = Prepared {
        connector,
        pace,
        lives,
        state_bytes,
        observer: observer.as_ref().map(|(observer, _)| observer),
    };
    let (mut part, watched) = measure(context, gate, load).await?;
    if let Some((observer, rate)) = &observer {
        let after = observer.inspect().await?;
        part.figures = watched.figures(&after, fillfactor, population.active);
        part.figures.insert(Figure::LoadRowsPerSecond, *rate);
    }
    Ok(part)
}

/// The runs of each worker of this generator, where all generators have `all` workers between them, as evenly as can be
/// ([`Context::share`]): every run has one owner.
pub(super) fn lives_of(
    context: &Context<'_>,
    population: Population,
    pace: Pace,
    all: usize,
) -> Vec<Lives> {
    let slots = all.max(1) as u64;
    let own = places(pace.workers(), context.generator, context.generators);
    let lives = own.enumerate().map(|(worker, slot)| Lives {
        population,
        rng: SplitMix64::stream(
            context.seed(),
            &format!("{}/{worker}", context.label("lives")),
        ),
        runs: population.share(slot, slots),
        owed: 0,
        next_id: i64::try_from(population.active + slot).unwrap_or(i64::MAX),
        stride: i64::try_from(slots).unwrap_or(1),
    });
    let lives = lives.collect();
    match pace {
        Pace::Closed { .. } => lives,
        Pace::Open { .. } => busy(lives, |lives: &Lives| !lives.runs.is_empty()),
    }
}

/// A load over a head table, ready to begin.
pub(super) struct Prepared<'a> {
    pub connector: &'a Connector,
    pub pace: Pace,
    /// One for each worker.
    pub lives: Vec<Lives>,
    pub state_bytes: usize,
    /// Who watches the server, on the generator that does.
    pub observer: Option<&'a Observer>,
}

/// What was seen of the server over the window, by the generator that watches it.
#[derive(Debug, Default)]
pub(super) struct Watched {
    /// What it said of itself each second.
    pub samples: Vec<Sample>,
    /// What its log says of autovacuum, where it can be read.
    logged: Option<Logged>,
}

impl Watched {
    /// The figures of the window, from what was seen in it and what is there after it.
    pub fn figures(
        &self,
        after: &Inspection,
        fillfactor: u64,
        active: u64,
    ) -> BTreeMap<Figure, f64> {
        let mut figures = observe::figures(&self.samples, after, fillfactor, active);
        let logged = self.logged.as_ref();
        figures.extend(logged.map_or_else(BTreeMap::new, |logged| logged.figures(&self.samples)));
        figures
    }

    /// What was seen over a window that is over.
    pub async fn of(
        observer: Option<&Observer>,
        (samples, stretch): (Vec<Sample>, Option<Stretch>),
    ) -> Self {
        let logged = match (observer, stretch) {
            (Some(observer), Some(stretch)) => observer.logged(stretch).await,
            _ => None,
        };
        Self { samples, logged }
    }

    /// Puts what was seen into a part, but for the figures.
    ///
    /// # Errors
    /// When it is no JSON.
    pub fn put_into(&self, part: &mut Part) -> std::io::Result<()> {
        part.state = series::series(&self.samples);
        part.horizon = horizon::held(&self.samples);
        part.artefacts = self.artefacts()?;
        Ok(())
    }

    fn artefacts(&self) -> std::io::Result<Vec<RawFile>> {
        let runs = self
            .logged
            .as_ref()
            .map_or(&[][..], |logged| &logged.runs[..]);
        Ok(vec![
            RawFile::lines(layout::SAMPLES, &self.samples)?,
            RawFile::lines(layout::AUTOVACUUMS, runs)?,
        ])
    }
}

/// Watches the server over a window, where this generator does.
pub(super) async fn watch(
    observer: Option<&Observer>,
    (opens, closes): (u64, u64),
) -> (Vec<Sample>, Option<Stretch>) {
    match observer {
        Some(observer) => {
            tokio::join!(
                observer.watch(opens, closes),
                observer.stretch(opens, closes)
            )
        }
        None => (Vec::new(), None),
    }
}

/// Drives a load over a head table, and watches the server meanwhile. The part has no figures yet.
///
/// # Errors
/// When recording or pacing fails, or the other generators are not met.
pub(super) async fn measure(
    context: &Context<'_>,
    gate: &dyn Gate,
    load: Prepared<'_>,
) -> Result<(Part, Watched), WorkloadError> {
    let missed = Rc::new(RefCell::new(Missed::default()));
    let observer = load.observer;
    let offered = Load {
        pace: load.pace,
        kinds: &[OPERATION, CREATE, TRANSITION, COMPLETE],
    };
    let prepare = |ready: &Ready| {
        let workers = load.lives.into_iter().map(|lives| {
            let statements = Statements::new(load.connector.clone(), lives);
            Mover::new(statements, load.state_bytes, &ready.recorder, &missed)
        });
        (workers.collect(), watch(observer, ready.window()))
    };
    let (mut part, seen) = trial::measure(context, gate, offered, prepare).await?;
    let watched = Watched::of(observer, seen).await;
    part.checks = vec![missed.take().into_check()];
    watched.put_into(&mut part)?;
    Ok((part, watched))
}
