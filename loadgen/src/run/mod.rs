//! Executes a plan: probes the backends, runs the trials in their order and writes each outcome to
//! the results store before the next begins.

pub mod assemble;
mod attempt;
mod backend;
mod baseline;
mod capacity;
mod cleanup;
mod collect;
mod conformance;
pub mod control;
mod doubts;
pub mod early;
mod environment;
mod error;
mod gates;
mod holds;
pub mod judge;
pub mod ledger;
mod lock;
pub mod search;
pub mod standalone;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bakeoff_crds::capacity::searches;
use bakeoff_crds::names;
use bakeoff_crds::result::{TrialRecord, Verdict};
use bakeoff_crds::run::{MANIFEST_SCHEMA, Manifest, RUN_SCHEMA, RunPlan, Stage};
use bakeoff_crds::schedule::{self, Trial};
use bakeoff_crds::status::TrialCounts;
use jiff::Timestamp;
use tokio::sync::watch;

pub use self::backend::{Backend, backends};
use self::baseline::Baselines;
pub use self::cleanup::cleanup;
pub use self::error::RunError;
use self::gates::FollowerGate;
use self::holds::Holds;
pub use self::lock::lock_server;
use crate::drivers::probe;
use crate::drivers::redis::LockServer;
use crate::drivers::s3::VERSIONING;
use crate::instrument::clock_offset::ClockOffset;
use crate::run::assemble::PartRecord;
use crate::run::control::{Control, Follower};
use crate::run::ledger::{Attempt, Ledger};
use crate::store::{self, Store, layout};
use crate::traces::Traces;
use crate::workloads;

/// An operation that takes longer is recorded as a timeout.
pub const OPERATION_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the results store may be away before the run gives up.
const STORE_PATIENCE: Duration = store::PATIENCE;
/// What stands beside the figures of a bucket that keeps versions.
const VERSIONS_CAVEAT: &str = "the bucket keeps versions: each overwrite and deletion adds one, and listings step over \
                               the marks of deletions";
/// How long new keys may take until the results store knows them.
const NEW_KEYS_PATIENCE: Duration = Duration::from_secs(30);
/// How long generator 0 waits for the others when all is done.
const FAREWELL: Duration = Duration::from_secs(60);

/// Told of each attempt that ended, by generator 0.
pub type OnTrial<'a> = &'a dyn Fn(&TrialRecord);

/// A run of one generator.
#[derive(Debug)]
pub struct Run {
    /// What to do.
    pub plan: RunPlan,
    /// The backends.
    pub backends: Vec<Backend>,
    /// The Redis server that keeps the locks of races, where the plan has one.
    pub lock: Option<LockServer>,
    /// Where the traces are that are replayed.
    pub traces: Traces,
    /// Where results go.
    pub store: Store,
    /// The index of this generator.
    pub index: usize,
    /// How many generators there are.
    pub generators: usize,
    /// The node that this generator runs on; empty outside a cluster.
    pub node: String,
    /// What is shown while it runs.
    pub control: Arc<Control>,
    /// Turns true when the process is asked to stop.
    pub stop: watch::Receiver<bool>,
}

impl Run {
    /// Runs generator 0: every trial has an outcome in the store when this answers.
    ///
    /// # Errors
    /// See [`RunError`]; what was measured until then is in the store.
    pub async fn lead(&mut self, on_trial: OnTrial<'_>) -> Result<TrialCounts, RunError> {
        if self.plan.schema_version != RUN_SCHEMA {
            return Err(RunError::Schema(self.plan.schema_version.clone()));
        }
        let trials = schedule::trials(&self.plan.spec);
        let caveats = stoppable(self.ready(&trials), self.stop.clone()).await??;
        stoppable(self.manifest(&caveats), self.stop.clone()).await??;
        let budget = usize::try_from(self.plan.spec.validity.repeat_budget).unwrap_or(0);
        let (mut ledger, mut holds) = stoppable(self.resume(), self.stop.clone()).await??;
        self.conformance(ledger.has_begun()).await?;
        self.control.update(|progress| {
            progress.stage = Stage::Measuring;
            progress.trials = ledger.counts(&trials, budget);
        });
        let capacities = self.capacities().await?;
        let begin = Instant::now();
        let mut ended = 0_u32;
        let mut looked_at = 0;
        let mut baselines = Baselines::default();
        while let Some((trial, attempt)) = ledger.next(&trials, budget) {
            if *self.stop.borrow() {
                return Err(RunError::Stopped);
            }
            // At the border of two blocks, also after a restart: the answer depends on whole blocks only.
            if trial.block > looked_at {
                looked_at = trial.block;
                if self.is_settled(looked_at).await {
                    break;
                }
            }
            let each = if ended > 0 {
                begin.elapsed() / ended
            } else {
                self.expected()
            };
            let left = trials
                .len()
                .saturating_sub(usize::try_from(ledger.counts(&trials, budget).done).unwrap_or(0));
            self.control.update(|progress| {
                progress.current = Some(trial.describe());
                let left = u32::try_from(left).unwrap_or(u32::MAX);
                progress.estimated_end =
                    Timestamp::now().checked_add(each.saturating_mul(left)).ok();
            });
            self.renew();
            let rate = match holds.rate(&self.plan.spec, trial, &capacities) {
                Ok(None) => self.rate(trial, &capacities),
                held => held,
            };
            let record = self.trial(trial, attempt, rate, &mut baselines).await?;
            ledger.note(&trial.id, attempt, verdict_of(&record));
            holds.note(&self.plan.spec, &record);
            ended += 1;
            let first = (record.load.planned > 0).then_some(record.window.start);
            self.control.update(|progress| {
                progress.trials = ledger.counts(&trials, budget);
                progress.first_operation = progress.first_operation.or(first);
            });
            on_trial(&record);
        }
        let counts = ledger.counts(&trials, budget);
        self.control.update(|progress| {
            progress.stage = Stage::Done;
            progress.current = None;
            progress.estimated_end = None;
        });
        self.control.announce("", 0, None);
        // Others hear that it is over before this server goes; one that is gone need not.
        if self.generators > 1
            && self
                .control
                .gather(self.generators - 1, FAREWELL)
                .await
                .is_none()
        {
            tracing::warn!("not every generator heard that the run is over");
        }
        Ok(counts)
    }

    /// Reads credentials again that may have changed since the last trial.
    fn renew(&mut self) {
        for backend in &mut self.backends {
            if let Some(renewed) = backend.renewed() {
                *backend = renewed;
            }
        }
    }

    /// Whether the run may end after so many blocks. Where that cannot be told it goes on: the full
    /// number of blocks is always right.
    async fn is_settled(&self, blocks: i32) -> bool {
        if self.plan.spec.trials.early_stop.is_none() {
            return false;
        }
        match early::settled(&self.store, blocks).await {
            Ok(Some(decision)) => {
                let outcome = decision.outcome.as_str();
                tracing::info!(
                    blocks,
                    outcome,
                    "the decision is settled: the run ends early"
                );
                true
            }
            Ok(None) => false,
            Err(error) => {
                tracing::warn!(%error, blocks, "the data cannot be looked at early; the run goes on");
                false
            }
        }
    }

    /// The backend that a trial measures.
    fn backend(&self, trial: &Trial) -> Result<&Backend, RunError> {
        self.backends
            .iter()
            .find(|backend| backend.resolved.name == trial.backend)
            .ok_or_else(|| RunError::Schema(format!("no backend is called {}", trial.backend)))
    }

    fn expected(&self) -> Duration {
        let trials = &self.plan.spec.trials;
        let seconds = trials.warmup_seconds + trials.window_seconds + 1;
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
    }

    /// Waits for the store, the traces and the backends; answers the caveats of each backend.
    async fn ready(&self, trials: &[Trial]) -> Result<Vec<Vec<String>>, RunError> {
        self.ensure_store().await?;
        workloads::replay::check(&self.plan.spec, trials, &self.traces).await?;
        self.probe().await
    }

    async fn ensure_store(&self) -> Result<(), RunError> {
        let now = Instant::now();
        let deadline = now + self.provision_patience();
        let known = deadline.min(now + NEW_KEYS_PATIENCE);
        loop {
            match self.store.ensure().await {
                Err(error)
                    if error.retryable() && Instant::now() < deadline
                        || error.of_changing_keys() && Instant::now() < known =>
                {
                    tracing::warn!(%error, "the results store does not answer yet");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                result => return Ok(result?),
            }
        }
    }

    fn provision_patience(&self) -> Duration {
        Duration::from_secs(u64::try_from(self.plan.spec.limits.provision_seconds).unwrap_or(0))
    }

    /// Waits for the backends and asks them for what the experiment needs; answers the caveats of each.
    async fn probe(&self) -> Result<Vec<Vec<String>>, RunError> {
        let needs = workloads::needs(&self.plan.spec, self.generators);
        let mut caveats = Vec::new();
        for backend in &self.backends {
            backend
                .access
                .driver()
                .probe(&backend.resolved, self.provision_patience())
                .await?;
            let lacking = |error| RunError::Prerequisite {
                backend: backend.resolved.name.clone(),
                error: Box::new(error),
            };
            let driver = backend.access.driver();
            driver.sessions().await.map_err(lacking)?;
            backend.claim().await?;
            caveats.push(driver.prerequisites(needs).await.map_err(lacking)?);
        }
        if let Some(server) = &self.lock {
            probe::wait_lock(names::LOCK_SERVER, server, self.provision_patience()).await?;
        }
        Ok(caveats)
    }

    /// Writes the manifest of a first start; a resumed run keeps the first one's start time.
    async fn manifest(&self, caveats: &[Vec<String>]) -> Result<(), RunError> {
        if let Some(bytes) = self
            .store
            .get_durably(layout::MANIFEST, STORE_PATIENCE)
            .await?
        {
            match serde_json::from_slice::<Manifest>(&bytes) {
                Ok(_) => return Ok(()),
                // Cut off by a power cut or a full disk. It is kept, and what it said is known from the plan.
                Err(error) => {
                    tracing::warn!(%error, "the manifest cannot be read; it is written anew");
                    self.store
                        .put_durably(layout::DAMAGED_MANIFEST, bytes, STORE_PATIENCE)
                        .await?;
                }
            }
        }
        let manifest = Manifest {
            schema_version: MANIFEST_SCHEMA.to_owned(),
            plan: self.described(caveats).await,
            started_at: Timestamp::now(),
            generator_version: env!("CARGO_PKG_VERSION").to_owned(),
            generator: Some(environment::facts(&self.backends, &self.store).await),
            ending: None,
        };
        self.put_json(layout::MANIFEST, &manifest).await
    }

    /// The plan, with what the servers say of themselves beside what was asked of them.
    async fn described(&self, caveats: &[Vec<String>]) -> RunPlan {
        let mut plan = self.plan.clone();
        for (at, more) in plan.backends.iter_mut().zip(caveats) {
            at.caveats.extend_from_slice(more);
        }
        for (backend, at) in self.backends.iter().zip(&mut plan.backends) {
            let driver = backend.access.driver();
            // Of one that has a URL the plan says neither where it is nor how connections are encrypted.
            at.endpoint.clone_from(&backend.resolved.endpoint);
            at.bucket.clone_from(&backend.resolved.bucket);
            at.settings.clone_from(&backend.resolved.settings);
            for said in &backend.resolved.caveats {
                if !at.caveats.contains(said) {
                    at.caveats.push(said.clone());
                }
            }
            match driver.settings().await {
                Ok(said) => {
                    if said
                        .get(VERSIONING)
                        .is_some_and(|status| status == "Enabled")
                    {
                        at.caveats.push(VERSIONS_CAVEAT.to_owned());
                    }
                    at.settings.extend(said);
                    // Nobody said it of a server that was not provisioned here; its settings may.
                    if !at.durability.is_stated()
                        && let Some(durability) = driver.durability(&at.settings)
                    {
                        at.durability = durability;
                    }
                }
                Err(error) => tracing::warn!(%error, backend = at.name, "settings are not known"),
            }
        }
        if let (Some(server), Some(at)) = (&self.lock, &mut plan.lock) {
            match server.version().await {
                Ok(version) => {
                    at.settings.insert("redis_version".to_owned(), version);
                }
                Err(error) => tracing::warn!(%error, "the version of the lock server is not known"),
            }
        }
        plan
    }

    async fn put_json<T: serde::Serialize>(&self, name: &str, value: &T) -> Result<(), RunError> {
        let bytes = serde_json::to_vec_pretty(value)?;
        Ok(self.store.put_durably(name, bytes, STORE_PATIENCE).await?)
    }

    /// What earlier attempts of the generators left in the store.
    async fn resume(&self) -> Result<(Ledger, Holds), RunError> {
        let mut ledger = Ledger::default();
        let mut holds = Holds::default();
        for name in self
            .store
            .list_durably(layout::TRIALS, STORE_PATIENCE)
            .await?
        {
            let Some((trial, attempt, file)) = layout::attempt_file(&name) else {
                continue;
            };
            match file {
                layout::STARTED => ledger.note_begun(trial, attempt),
                layout::TRIAL => {
                    if let Some(bytes) = self.store.get_durably(&name, STORE_PATIENCE).await? {
                        match serde_json::from_slice::<TrialRecord>(&bytes) {
                            Ok(record) => {
                                ledger.note(trial, attempt, verdict_of(&record));
                                holds.note(&self.plan.spec, &record);
                            }
                            // As if its generator had been lost: it is repeated, and the file stays as it is.
                            Err(error) => {
                                tracing::warn!(%error, name, "a record cannot be read; its trial is repeated");
                                ledger.note_begun(trial, attempt);
                            }
                        }
                    }
                }
                _ => {}
            }
        }
        Ok((ledger, holds))
    }

    /// Runs any other generator: follows generator 0 and delivers its parts.
    ///
    /// # Errors
    /// See [`RunError`].
    pub async fn follow(&mut self, follower: &Follower) -> Result<(), RunError> {
        let trials = schedule::trials(&self.plan.spec);
        let searches = searches(&self.plan.spec);
        let mut after = 0;
        loop {
            let turn = stoppable(follower.next(after), self.stop.clone()).await??;
            self.renew();
            after = turn.number;
            if turn.trial.is_empty() {
                follower.farewell(turn.number).await;
                return Ok(());
            }
            let mut planned = trials.iter().chain(&searches);
            let Some(trial) = planned.find(|trial| trial.id == turn.trial) else {
                continue;
            };
            let Ok(backend) = self.backend(trial) else {
                continue;
            };
            let search = searches.iter().any(|search| search.id == trial.id);
            let load = capacity::load_of(&self.plan.spec, trial).filter(|_| search);
            let spec = load.map(|load| capacity::step_spec(&self.plan.spec, &load));
            let folder = if search {
                layout::step_folder(trial, turn.attempt)
            } else {
                layout::attempt_folder(trial, turn.attempt)
            };
            let gate = FollowerGate {
                follower,
                turn: &turn,
                clock: Default::default(),
                monotonic: Default::default(),
            };
            let mut context = self.context(trial, turn.attempt, backend, turn.rate);
            context.spec = spec.as_ref().unwrap_or(&self.plan.spec);
            match stoppable(workloads::run(&context, &gate), self.stop.clone()).await? {
                Ok(part) => {
                    self.raw(&folder, &part).await?;
                    let clock = gate.clock.get();
                    let mut record = PartRecord::new(&part, self.index, &self.node, clock);
                    if part.shared_history.is_some() {
                        let after = follower.monotonic_ahead().await?;
                        record.monotonic = Some(ClockOffset::over(gate.monotonic.get(), after));
                    }
                    self.put_json(&format!("{folder}{}", layout::part(self.index)), &record)
                        .await?;
                }
                // Generator 0 sees that the part is missing and says so in the trial.
                Err(error) => tracing::warn!(%error, trial = turn.trial, "no part delivered"),
            }
        }
    }
}

/// Does something until it is done or the process is asked to stop.
async fn stoppable<F: Future>(
    work: F,
    mut stop: watch::Receiver<bool>,
) -> Result<F::Output, RunError> {
    tokio::select! {
        output = work => Ok(output),
        // An error means that nobody can ask any more: then there is nothing to wait for.
        Ok(_) = stop.wait_for(|stop| *stop) => Err(RunError::Stopped),
    }
}

/// The same, with so much time left after it is asked: what is nearly done is not thrown away.
async fn stoppable_after<F: Future>(
    work: F,
    mut stop: watch::Receiver<bool>,
    left: Duration,
) -> Result<F::Output, RunError> {
    tokio::pin!(work);
    tokio::select! {
        output = &mut work => Ok(output),
        Ok(_) = stop.wait_for(|stop| *stop) => {
            tokio::time::timeout(left, work).await.map_err(|_| RunError::Stopped)
        }
    }
}

fn verdict_of(record: &TrialRecord) -> Attempt {
    match record.verdict {
        Verdict::Valid => Attempt::Valid,
        Verdict::Invalid(_) => Attempt::Invalid,
    }
}
