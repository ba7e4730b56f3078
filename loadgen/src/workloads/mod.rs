//! The workloads: each prepares, waits for the common start, runs warm-up and window, drains and
//! answers its part. One file a kind, joined by an exhaustive match.

pub mod batching;
pub mod body;
pub mod cas_race;
pub mod cold_read;
pub mod consistency;
pub mod head_row;
mod memory;
pub mod retention;
mod rows;
pub mod small_object_put;
pub mod soak;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bakeoff_crds::quantity::QuantityError;
use bakeoff_crds::result::CheckRecord;
use bakeoff_crds::schedule::{Trial, factor};
use bakeoff_crds::spec::{ExperimentSpec, WorkloadSpec};

use crate::checker::cas_history::Event;
use crate::drivers::access::Access;
use crate::drivers::postgres as pg;
use crate::drivers::redis::LockServer;
use crate::drivers::s3::conn::Dialer;
use crate::failure::Failure;
use crate::instrument::arrivals::Plan;
use crate::instrument::clock;
use crate::instrument::drive::{Counts, Timing};
use crate::instrument::record::{LiveCounts, RecordError, Recorded};
use crate::run::control::ClockOffset;

/// Why a trial could not be run at all. What the backend answers during a window is data, not an
/// error.
#[derive(Debug, thiserror::Error)]
pub enum WorkloadError {
    /// The trial does not fit the spec.
    #[error("{0}")]
    Spec(String),
    /// A quantity of the spec cannot be read.
    #[error(transparent)]
    Quantity(#[from] QuantityError),
    /// Objects that the trial reads could not be written or counted.
    #[error("preparation: {0}")]
    Preparation(#[from] Failure),
    /// Recording failed.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The pacer or a file failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The other generators could not be met at the start.
    #[error("start barrier: {0}")]
    Gate(String),
}

impl WorkloadError {
    /// The machine-readable reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Spec(_) | Self::Quantity(_) => "SpecInvalid",
            Self::Preparation(_) => "PreparationFailed",
            Self::Record(error) => error.reason(),
            Self::Io(_) => "LocalFailure",
            Self::Gate(_) => "BarrierFailed",
        }
    }
}

/// What a gate answers: the monotonic instant at which load begins.
pub type Opening<'a> = Pin<Box<dyn Future<Output = Result<u64, WorkloadError>> + 'a>>;

/// Where a generator waits, prepared, for the common start of a trial.
pub trait Gate {
    /// Says that this generator is prepared and answers when load begins, on its monotonic clock.
    fn open(&self) -> Opening<'_>;
}

/// A gate of one generator: load begins at once.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl Gate for Alone {
    fn open(&self) -> Opening<'_> {
        // A little ahead, so that the pacer is in place at its first instant.
        Box::pin(async { Ok(clock::now() + 20_000_000) })
    }
}

/// What a workload needs to know of its trial.
#[derive(Clone, Debug)]
pub struct Context<'a> {
    /// What was asked for.
    pub spec: &'a ExperimentSpec,
    /// The trial.
    pub trial: &'a Trial,
    /// The attempt at it, from 1.
    pub attempt: i32,
    /// Connections to the backend.
    pub access: Access,
    /// The Redis server that keeps locks, where the experiment has one.
    pub lock: Option<&'a LockServer>,
    /// The prefix of everything this run writes there; empty or ending with a slash.
    pub prefix: String,
    /// The index of this generator, from 0.
    pub generator: usize,
    /// How many generators share the load.
    pub generators: usize,
    /// The rate of a load in shares of capacity, operations per second of all generators together.
    pub rate: Option<f64>,
    /// Live counts for metrics.
    pub live: Arc<LiveCounts>,
}

impl Access {
    /// Connections to the bucket that S3 workloads need.
    ///
    /// # Errors
    /// When the backend is no S3 server; validation lets no such pair through.
    pub fn s3(&self) -> Result<&Dialer, WorkloadError> {
        match self {
            Self::S3(dialer) => Ok(dialer),
            Self::Postgres(_) => Err(WorkloadError::Spec(
                "this workload needs an S3 backend".into(),
            )),
        }
    }

    /// Connections to the database that Postgres workloads need.
    ///
    /// # Errors
    /// When the backend is no Postgres server; validation lets no such pair through.
    pub fn postgres(&self) -> Result<&pg::Connector, WorkloadError> {
        match self {
            Self::Postgres(connector) => Ok(connector),
            Self::S3(_) => Err(WorkloadError::Spec(
                "this workload needs a Postgres backend".into(),
            )),
        }
    }
}

impl Context<'_> {
    /// The seed of the experiment.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.spec.seed.unsigned_abs()
    }

    /// A label for random streams of this trial and generator. Attempts and backends differ only
    /// where `own` says more: the same trial on two backends meets the same arrivals and sizes.
    #[must_use]
    pub fn label(&self, own: &str) -> String {
        format!(
            "{own}/{}/{}/{}/{}",
            self.trial.block, self.trial.workload, self.trial.cell_index, self.generator
        )
    }

    /// The prefix of the objects of this attempt.
    #[must_use]
    pub fn attempt_prefix(&self) -> String {
        format!("{}t/{}/{}/", self.prefix, self.trial.id, self.attempt)
    }

    /// A level of the trial's cell.
    ///
    /// # Errors
    /// When the cell has no such factor or it is no number.
    pub fn level(&self, factor: &str) -> Result<u64, WorkloadError> {
        let text = self.trial.cell.get(factor).ok_or_else(|| {
            WorkloadError::Spec(format!("trial {} has no factor {factor}", self.trial.id))
        })?;
        text.parse()
            .map_err(|_| WorkloadError::Spec(format!("{factor}={text} is no number")))
    }

    /// This generator's share of clients: as even as whole numbers allow.
    #[must_use]
    pub fn share(&self, clients: usize) -> usize {
        clients / self.generators + usize::from(self.generator < clients % self.generators)
    }

    /// The timing of the trial that starts at `start`.
    #[must_use]
    pub fn timing(&self, start: u64) -> Timing {
        Timing::new(start, &self.spec.trials)
    }
}

/// What one generator's part of a trial yields.
#[derive(Debug, Default)]
pub struct Part {
    /// Operations of the window.
    pub counts: Counts,
    /// Planned operations per second of this generator; 0 in a closed load.
    pub offered_per_second: f64,
    /// Latencies, series, counts.
    pub recorded: Recorded,
    /// What was checked.
    pub checks: Vec<CheckRecord>,
    /// The history, JSON lines compressed with gzip; empty where the workload keeps none.
    pub history: Vec<u8>,
    /// A history that can be checked only together with those of the other generators, see [`conclude`]; absent
    /// where the workload has none.
    pub events: Option<Vec<Event>>,
    /// The window on the monotonic clock.
    pub window: (u64, u64),
    /// The kind of operation whose send lag judges the generator.
    pub planned_kind: &'static str,
    /// Whether the load was open.
    pub open_loop: bool,
    /// How far after the agreed instant the load began, nanoseconds.
    pub start_skew: u64,
    /// CPU, throttling and memory.
    pub usage: Usage,
    /// Figures of the backend's state over the window, by name; of generator 0 only, so nothing is merged.
    pub figures: BTreeMap<String, f64>,
    /// How the backend's state went over the window, for charts; of generator 0 only as well.
    pub state: Option<bakeoff_crds::result::StateSeries>,
    /// What the backend said of itself each second of the window.
    pub samples: Vec<pg::observe::Sample>,
    /// What its log says of autovacuum in the window, where it can be read.
    pub logged: Option<pg::log::Logged>,
}

impl Part {
    /// The kind of operation that the load plans, whose seconds make the series.
    #[must_use]
    pub fn series_kind(&self) -> &'static str {
        self.recorded.series_kind
    }

    /// What the server's log adds to the figures.
    #[must_use]
    pub fn log_figures(&self) -> BTreeMap<String, f64> {
        let logged = self.logged.as_ref();
        logged.map_or_else(BTreeMap::new, |logged| logged.figures(&self.samples))
    }
}

/// What this generator used in the window.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// CPU time of the process, nanoseconds.
    pub cpu: u64,
    /// CPU time of the thread that carries the load, nanoseconds.
    pub thread_cpu: u64,
    /// For how long that thread was ready to run and had no processor, nanoseconds.
    pub run_queue: u64,
    /// CFS periods in which it was throttled.
    pub throttled_periods: u64,
    /// Time for which it was throttled, nanoseconds.
    pub throttled: u64,
    /// Largest resident memory seen so far, bytes.
    pub resident: u64,
}

/// Samples what the generator uses between the borders of a window.
#[derive(Debug)]
pub struct Meter {
    cpu: u64,
    thread_cpu: u64,
    run_queue: u64,
    cgroup: crate::instrument::cgroup::Throttling,
}

impl Meter {
    /// Starts now.
    #[must_use]
    pub fn start() -> Self {
        Self {
            cpu: clock::process_cpu(),
            thread_cpu: clock::thread_cpu(),
            run_queue: crate::instrument::cgroup::run_queue(),
            cgroup: crate::instrument::cgroup::throttling(),
        }
    }

    /// What was used since.
    #[must_use]
    pub fn stop(&self) -> Usage {
        let cgroup = crate::instrument::cgroup::throttling();
        Usage {
            cpu: clock::process_cpu().saturating_sub(self.cpu),
            thread_cpu: clock::thread_cpu().saturating_sub(self.thread_cpu),
            run_queue: crate::instrument::cgroup::run_queue().saturating_sub(self.run_queue),
            throttled_periods: cgroup.periods.saturating_sub(self.cgroup.periods),
            throttled: cgroup.nanoseconds.saturating_sub(self.cgroup.nanoseconds),
            resident: crate::instrument::cgroup::peak_resident(),
        }
    }

    /// Meters a window that lies ahead; to be awaited beside the load.
    pub async fn over(start: u64, end: u64) -> Usage {
        clock::sleep_until(start).await;
        let meter = Self::start();
        clock::sleep_until(end).await;
        meter.stop()
    }
}

fn member<'a>(context: &Context<'a>) -> Result<WorkloadSpec<'a>, WorkloadError> {
    let mut workloads = context.spec.workloads.iter();
    workloads
        .find(|workload| workload.name == context.trial.workload)
        .and_then(|workload| workload.member())
        .ok_or_else(|| {
            WorkloadError::Spec(format!("no workload is called {}", context.trial.workload))
        })
}

/// Runs this generator's part of a trial. To be called on [`crate::instrument::runtime::local`].
///
/// # Errors
/// When the trial cannot be run at all; what the backend answers is data.
pub async fn run(context: &Context<'_>, gate: &dyn Gate) -> Result<Part, WorkloadError> {
    match member(context)? {
        WorkloadSpec::SmallObjectPut(spec) => small_object_put::run(context, spec, gate).await,
        WorkloadSpec::ColdRead(spec) => cold_read::run(context, spec, gate).await,
        WorkloadSpec::Consistency(spec) => consistency::run(context, spec, gate).await,
        WorkloadSpec::Batching(spec) => batching::run(context, spec, gate).await,
        WorkloadSpec::HeadRow(spec) => head_row::run(context, spec, gate).await,
        WorkloadSpec::CasRace(spec) => cas_race::run(context, spec, gate).await,
        WorkloadSpec::Retention(spec) => retention::run(context, spec, gate).await,
        WorkloadSpec::Soak(spec) => soak::run(context, spec, gate).await,
    }
}

/// What one generator contributes to a history that all of them have in common.
#[derive(Clone, Debug, Default)]
pub struct Share {
    /// What its workers did, by its own monotonic clock.
    pub events: Vec<Event>,
    /// How that clock differs from generator 0's.
    pub clock: ClockOffset,
}

/// What the histories of all generators say together.
#[derive(Debug, Default)]
pub struct Conclusion {
    /// What was checked.
    pub checks: Vec<CheckRecord>,
    /// Counts of the workload.
    pub counters: BTreeMap<String, i64>,
    /// The history that was checked, JSON lines compressed with gzip.
    pub history: Vec<u8>,
}

/// Checks what all generators did in a trial, in the order of their indices; for generator 0, once the workers of
/// all of them have come to rest. Nothing where the workload has no history in common.
///
/// # Errors
/// When the trial does not fit the spec or the history cannot be compressed.
pub async fn conclude(
    context: &Context<'_>,
    shares: Vec<Share>,
) -> Result<Conclusion, WorkloadError> {
    match member(context)? {
        WorkloadSpec::CasRace(spec) => cas_race::conclude(context, spec, shares).await,
        _ => Ok(Conclusion::default()),
    }
}

/// The load plan of a workload with a `load`, from the cell.
fn plan(context: &Context<'_>, load: &bakeoff_crds::spec::Load) -> Result<Plan, WorkloadError> {
    match (&load.closed, &load.open, &load.capacity) {
        (Some(_), None, None) => {
            let clients =
                usize::try_from(context.level(factor::CONCURRENCY)?).unwrap_or(usize::MAX);
            Ok(Plan::Closed {
                clients: context.share(clients),
            })
        }
        (None, Some(open), None) => {
            let rate = context.level(factor::RATE_PER_SECOND)? as f64 / context.generators as f64;
            let max_in_flight = usize::try_from(open.max_in_flight).unwrap_or(1);
            Ok(Plan::Open {
                rate,
                arrivals: open.arrivals,
                max_in_flight,
            })
        }
        (None, None, Some(capacity)) => {
            let rate = context.rate.ok_or_else(|| {
                WorkloadError::Spec("the rate of this share of capacity is not known".into())
            })?;
            Ok(Plan::Open {
                rate: rate / context.generators as f64,
                arrivals: capacity.arrivals,
                max_in_flight: usize::try_from(capacity.max_in_flight).unwrap_or(1),
            })
        }
        _ => Err(WorkloadError::Spec(
            "load sets exactly one of closed, open and capacity".into(),
        )),
    }
}

/// Takes the recorder back from the workers. Aborted tasks drop theirs only at their next turn,
/// so a share may be left: then what it holds is taken in its place.
fn finished(
    recorder: std::rc::Rc<std::cell::RefCell<crate::instrument::record::Recorder>>,
) -> Result<Recorded, WorkloadError> {
    let recorder = match std::rc::Rc::try_unwrap(recorder) {
        Ok(cell) => cell.into_inner(),
        Err(shared) => {
            let spare =
                crate::instrument::record::Recorder::new(0, 0, 0, false, &[], Arc::default())?;
            shared.replace(spare)
        }
    };
    Ok(recorder.finish()?)
}

#[cfg(test)]
mod omission;
