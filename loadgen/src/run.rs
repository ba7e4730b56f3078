//! Executes a plan: probes the backends, runs the trials in their order and writes each outcome to
//! the results store before the next begins.
//!
//! Layout below the folder of the run: `manifest.json`, and for each attempt
//! `trials/<trial>/<attempt>/` with `started.json` (written before), `intervals.hlog`,
//! `history.jsonl.gz` and `samples.jsonl` where the workload keeps them, with several generators `part-<index>.json` beside them, and `trial.json`,
//! written last: an attempt without it was interrupted and counts for nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bakeoff_crds::result::{
    InvalidCode, InvalidReason, TRIAL_SCHEMA, TrialRecord, Verdict, Window,
};
use bakeoff_crds::run::{MANIFEST_SCHEMA, Manifest, RUN_SCHEMA, ResolvedBackend, RunPlan, Stage};
use bakeoff_crds::schedule::{self, Trial};
use bakeoff_crds::status::TrialCounts;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::LocalSet;

use crate::access::Access;
use crate::assemble::{self, PartRecord};
use crate::backend_metrics;
use crate::clock;
use crate::control::{Control, FollowError, Follower, Step};
use crate::judge::{Circumstances, Judgement, judge};
use crate::ledger::{Attempt, Ledger};
use crate::pg;
use crate::probe::ProbeError;
use crate::record::RecordError;
use crate::s3::TargetError;
use crate::sigv4::Credentials;
use crate::store::{self, Store, StoreError};
use crate::workloads::{self, Context, Gate, Opening, Part, WorkloadError};

/// An operation that takes longer is recorded as a timeout.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the results store may be away before the run gives up. What waits meanwhile is one
/// trial, so memory is bounded.
const STORE_PATIENCE: Duration = Duration::from_secs(900);
/// How long a backend may be away between two trials before the trial is called invalid.
const BACKEND_PATIENCE: Duration = Duration::from_secs(60);
/// How long generators wait for each other; they prepare data meanwhile.
const BARRIER_PATIENCE: Duration = Duration::from_secs(600);
/// How long generator 0 waits for the others when all is done.
const FAREWELL: Duration = Duration::from_secs(60);
/// Removing the objects of a trial may take this long; what is left goes with the backend's volume
/// or with the cleanup at the end.
const CLEANUP_PATIENCE: Duration = Duration::from_secs(120);

/// Why a run could not be finished.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The plan is of another version.
    #[error(
        "the plan has the schema {0:?}, this generator reads {RUN_SCHEMA:?}: use the same version of both"
    )]
    Schema(String),
    /// The results store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A backend cannot be used.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// An endpoint is malformed.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// Recording failed.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A result could not be written as JSON.
    #[error("JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Generator 0 is gone.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// The process was asked to stop.
    #[error("stopped before the last trial; another start resumes at the first unfinished one")]
    Stopped,
}

impl RunError {
    /// The machine-readable reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Schema(_) => "SchemaUnknown",
            Self::Store(error) => error.reason(),
            Self::Probe(error) => error.reason(),
            Self::Target(error) => error.reason(),
            Self::Record(error) => error.reason(),
            Self::Json(_) => "Json",
            Self::Follow(error) => error.reason(),
            Self::Stopped => "Stopped",
        }
    }

    /// Whether another attempt could end better without a change by the user.
    #[must_use]
    pub fn retryable(&self) -> bool {
        match self {
            Self::Stopped | Self::Follow(_) | Self::Record(_) => true,
            Self::Store(error) => error.retryable(),
            Self::Probe(error) => error.retryable(),
            Self::Schema(_) | Self::Target(_) | Self::Json(_) => false,
        }
    }
}

/// A backend that a run measures.
#[derive(Clone, Debug)]
pub struct Backend {
    /// As the plan describes it.
    pub resolved: ResolvedBackend,
    /// Who signs.
    pub credentials: Credentials,
    /// Connections to it.
    pub access: Access,
}

impl Backend {
    /// A backend with its credentials.
    ///
    /// # Errors
    /// When its endpoint is malformed or TLS trusts nobody.
    pub fn new(resolved: ResolvedBackend, credentials: Credentials) -> Result<Self, TargetError> {
        let access = Access::new(&resolved, &credentials, OPERATION_TIMEOUT)?;
        Ok(Self {
            resolved,
            credentials,
            access,
        })
    }

    /// The prefix of everything that the run writes there: empty, or ending with a slash.
    #[must_use]
    pub fn prefix(&self) -> String {
        let prefix = self.resolved.prefix.trim_matches('/');
        if prefix.is_empty() {
            String::new()
        } else {
            format!("{prefix}/")
        }
    }

    /// Removes what lies below a prefix of it; answers how many objects. The tables of a trial on Postgres
    /// make room for those of the next.
    ///
    /// # Errors
    /// When the backend does not let it.
    pub async fn remove(&self, prefix: &str) -> Result<u64, StoreError> {
        let at = &self.resolved;
        if matches!(self.access, Access::Postgres(_)) {
            return Ok(0);
        }
        let client = store::client(&at.endpoint, &at.region, at.path_style, &self.credentials);
        store::remove_all(&client, &at.bucket, prefix).await
    }
}

/// Opens the backends of a plan with the credentials in their folders.
///
/// # Errors
/// When credentials are missing or an endpoint is malformed.
pub fn backends(plan: &RunPlan) -> Result<Vec<Backend>, RunError> {
    plan.backends
        .iter()
        .map(|resolved| {
            let credentials = store::credentials(&resolved.credentials_dir)?;
            Ok(Backend::new(resolved.clone(), credentials)?)
        })
        .collect()
}

/// Told of each attempt that ended, by generator 0.
pub type OnTrial<'a> = &'a dyn Fn(&TrialRecord);

/// A run of one generator.
#[derive(Debug)]
pub struct Run {
    /// What to do.
    pub plan: RunPlan,
    /// The backends.
    pub backends: Vec<Backend>,
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
        self.ensure_store().await?;
        self.probe().await?;
        self.manifest().await?;
        let trials = schedule::trials(&self.plan.spec);
        let budget = usize::try_from(self.plan.spec.validity.repeat_budget).unwrap_or(0);
        let mut ledger = self.resume().await?;
        self.control.update(|progress| {
            progress.stage = Stage::Measuring;
            progress.trials = ledger.counts(&trials, budget);
        });
        let begin = Instant::now();
        let mut ended = 0_u32;
        while let Some((trial, attempt)) = ledger.next(&trials, budget) {
            if *self.stop.borrow() {
                return Err(RunError::Stopped);
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
            let record = self.trial(trial, attempt).await?;
            ledger.note(&trial.id, attempt, verdict_of(&record));
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
        self.control.announce("", 0);
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

    fn expected(&self) -> Duration {
        let trials = &self.plan.spec.trials;
        let seconds = trials.warmup_seconds + trials.window_seconds + 1;
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
    }

    async fn ensure_store(&self) -> Result<(), RunError> {
        let deadline = Instant::now() + self.provision_patience();
        loop {
            match self.store.ensure().await {
                Err(error) if error.retryable() && Instant::now() < deadline => {
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

    async fn probe(&self) -> Result<(), RunError> {
        for backend in &self.backends {
            backend
                .access
                .wait(&backend.resolved, self.provision_patience())
                .await?;
        }
        Ok(())
    }

    /// Writes the manifest of a first start; a resumed run keeps the first one's start time.
    async fn manifest(&self) -> Result<(), RunError> {
        if self.store.get("manifest.json").await?.is_some() {
            return Ok(());
        }
        let manifest = Manifest {
            schema_version: MANIFEST_SCHEMA.to_owned(),
            plan: self.described().await,
            started_at: Timestamp::now(),
            generator_version: env!("CARGO_PKG_VERSION").to_owned(),
            ending: None,
        };
        self.put_json("manifest.json", &manifest).await
    }

    /// The plan, with what the servers say of themselves beside what was asked of them.
    async fn described(&self) -> RunPlan {
        let mut plan = self.plan.clone();
        for (backend, at) in self.backends.iter().zip(&mut plan.backends) {
            let Access::Postgres(connector) = &backend.access else {
                continue;
            };
            let asked = async { pg::observe::identity(&connector.connect().await?).await };
            match asked.await {
                Ok(said) => at.settings.extend(said),
                Err(error) => tracing::warn!(%error, backend = at.name, "settings are not known"),
            }
        }
        plan
    }

    async fn put_json<T: serde::Serialize>(&self, name: &str, value: &T) -> Result<(), RunError> {
        let bytes = serde_json::to_vec_pretty(value)?;
        Ok(self.store.put_durably(name, bytes, STORE_PATIENCE).await?)
    }

    /// What earlier attempts of the generators left in the store.
    async fn resume(&self) -> Result<Ledger, RunError> {
        let mut ledger = Ledger::default();
        for name in self.store.list("trials/").await? {
            let Some((trial, attempt, file)) = attempt_file(&name) else {
                continue;
            };
            match file {
                "started.json" => ledger.note_begun(trial, attempt),
                "trial.json" => {
                    if let Some(bytes) = self.store.get(&name).await? {
                        let record: TrialRecord = serde_json::from_slice(&bytes)?;
                        ledger.note(trial, attempt, verdict_of(&record));
                    }
                }
                _ => {}
            }
        }
        Ok(ledger)
    }

    /// Runs one attempt and makes its outcome durable.
    async fn trial(&mut self, trial: &Trial, attempt: i32) -> Result<TrialRecord, RunError> {
        let folder = attempt_folder(trial, attempt);
        let started_at = Timestamp::now();
        let marker = serde_json::json!({
            "trial": trial, "attempt": attempt, "startedAt": started_at, "generatorAttempt": self.plan.attempt,
        });
        self.put_json(&format!("{folder}started.json"), &marker)
            .await?;
        let mut reasons = Vec::new();
        let mut invalid = |code, detail: String| reasons.push(InvalidReason { code, detail });
        let mut outcome = Measured::default();
        let Some(backend) = self
            .backends
            .iter()
            .find(|backend| backend.resolved.name == trial.backend)
            .cloned()
        else {
            return Err(RunError::Schema(format!(
                "no backend is called {}",
                trial.backend
            )));
        };
        let at = &backend.resolved;
        self.control.announce(&trial.id, attempt);
        let access = &backend.access;
        let mut before = None;
        match access.wait(at, BACKEND_PATIENCE).await {
            Err(error) => invalid(InvalidCode::BackendUnavailable, error.to_string()),
            Ok(()) => {
                before = access.observe(at).await;
                let gate = LeaderGate {
                    control: &self.control,
                    others: self.generators - 1,
                };
                let context = self.context(trial, attempt, &backend);
                match stoppable(workloads::run(&context, &gate), self.stop.clone()).await? {
                    Ok(part) => outcome = self.collect(&folder, part).await?,
                    Err(WorkloadError::Gate(detail)) => {
                        invalid(InvalidCode::GeneratorMissing, detail)
                    }
                    Err(error) => invalid(InvalidCode::PreparationFailed, error.to_string()),
                }
            }
        }
        if outcome.missing > 0 {
            let detail = format!(
                "{} of {} generators delivered no part",
                outcome.missing, self.generators
            );
            invalid(InvalidCode::GeneratorMissing, detail);
        }
        let after = access.observe(at).await;
        let usage = match (&before, &after) {
            (Some(before), Some(after)) => {
                if backend_metrics::restarted(before, after) {
                    let detail = format!(
                        "the backend's process started at {:.0} and not at {:.0} as before the trial",
                        after.start_seconds, before.start_seconds
                    );
                    invalid(InvalidCode::BackendRestarted, detail);
                }
                access.usage(before, after)
            }
            (Some(_), None) => {
                let detail =
                    "the backend could be observed before the trial and not after it".to_owned();
                invalid(InvalidCode::BackendUnavailable, detail);
                None
            }
            (None, _) if access.observable(at) => {
                let detail = "the backend could not be observed before the trial, so a restart would not be seen"
                    .to_owned();
                invalid(InvalidCode::BackendUnavailable, detail);
                None
            }
            (None, _) => None,
        };
        let Measured {
            whole,
            window,
            files,
            figures,
            ..
        } = outcome;
        let generators = outcome.generators;
        let circumstances = Circumstances {
            reasons,
            generators: generators.clone(),
        };
        let Judgement { verdict, findings } =
            judge(&whole, circumstances, &self.plan.spec.validity)?;
        let record = TrialRecord {
            schema_version: TRIAL_SCHEMA.to_owned(),
            trial: trial.clone(),
            attempt,
            started_at,
            ended_at: Timestamp::now(),
            window: window.unwrap_or(Window {
                start: started_at,
                end: started_at,
                micros: 0,
            }),
            verdict,
            findings,
            load: whole.load,
            operations: whole.operations,
            counters: whole.counters,
            checks: whole.checks,
            series: whole.series,
            generators,
            backend: usage,
            figures,
            files,
        };
        self.put_json(&format!("{folder}trial.json"), &record)
            .await?;
        self.clean(&backend, trial, attempt).await;
        Ok(record)
    }

    fn context<'a>(&'a self, trial: &'a Trial, attempt: i32, backend: &Backend) -> Context<'a> {
        Context {
            spec: &self.plan.spec,
            trial,
            attempt,
            access: backend.access.clone(),
            prefix: backend.prefix(),
            generator: self.index,
            generators: self.generators,
            live: self.control.live(),
        }
    }

    /// Writes this generator's raw files; answers their names.
    async fn raw(&self, folder: &str, part: &Part) -> Result<Vec<String>, RunError> {
        let suffix = if self.generators > 1 {
            format!("-{}", self.index)
        } else {
            String::new()
        };
        let mut files = vec![format!("intervals{suffix}.hlog")];
        let name = format!("{folder}{}", files[0]);
        self.store
            .put_durably(&name, part.recorded.intervals.clone(), STORE_PATIENCE)
            .await?;
        if !part.samples.is_empty() {
            let mut lines = Vec::new();
            for sample in &part.samples {
                serde_json::to_writer(&mut lines, sample)?;
                lines.push(b'\n');
            }
            let file = "samples.jsonl".to_owned();
            self.store
                .put_durably(&format!("{folder}{file}"), lines, STORE_PATIENCE)
                .await?;
            files.push(file);
        }
        if !part.history.is_empty() {
            let file = format!("history{suffix}.jsonl.gz");
            self.store
                .put_durably(
                    &format!("{folder}{file}"),
                    part.history.clone(),
                    STORE_PATIENCE,
                )
                .await?;
            files.push(file);
        }
        Ok(files)
    }

    /// The parts of all generators, merged.
    async fn collect(&self, folder: &str, part: Part) -> Result<Measured, RunError> {
        let own = PartRecord::new(&part, self.index, &self.node);
        let window = Some(wall_window(part.window));
        let figures = part.figures.clone();
        let mut files = self.raw(folder, &part).await?;
        let mut logs = vec![part.recorded.intervals];
        let mut parts = vec![own];
        let drain =
            Duration::from_secs(u64::try_from(self.plan.spec.trials.drain_seconds).unwrap_or(0));
        let deadline = Instant::now() + drain + Duration::from_secs(60);
        let mut missing = 0;
        for index in 1..self.generators {
            let name = format!("part-{index}.json");
            let bytes = loop {
                if let Some(bytes) = self.store.get(&format!("{folder}{name}")).await? {
                    break Some(bytes);
                }
                if Instant::now() >= deadline {
                    break None;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            };
            let Some(bytes) = bytes else {
                missing += 1;
                continue;
            };
            parts.push(serde_json::from_slice(&bytes)?);
            files.push(name);
            let log = format!("intervals-{index}.hlog");
            if let Some(bytes) = self.store.get(&format!("{folder}{log}")).await? {
                logs.push(bytes);
                files.push(log);
            }
        }
        let whole = assemble::merge(&parts, &logs)?;
        let generators = parts.into_iter().map(|part| part.usage).collect();
        Ok(Measured {
            whole,
            generators,
            window,
            files,
            figures,
            missing,
        })
    }

    async fn clean(&self, backend: &Backend, trial: &Trial, attempt: i32) {
        let prefix = self.context(trial, attempt, backend).attempt_prefix();
        match tokio::time::timeout(CLEANUP_PATIENCE, backend.remove(&prefix)).await {
            Ok(Ok(removed)) => tracing::debug!(removed, prefix, "objects of the trial removed"),
            Ok(Err(error)) => tracing::warn!(%error, prefix, "objects of the trial are left"),
            Err(_) => tracing::warn!(
                prefix,
                "removing the objects of the trial took too long; some are left"
            ),
        }
    }

    /// Runs any other generator: follows generator 0 and delivers its parts.
    ///
    /// # Errors
    /// See [`RunError`].
    pub async fn follow(&mut self, follower: &Follower) -> Result<(), RunError> {
        let trials = schedule::trials(&self.plan.spec);
        let mut after = 0;
        loop {
            let step = stoppable(follower.next(after), self.stop.clone()).await??;
            after = step.number;
            if step.trial.is_empty() {
                // Only to be counted; the run is over whatever the answer.
                let _ = follower.ready(step.number).await;
                return Ok(());
            }
            let Some(trial) = trials.iter().find(|trial| trial.id == step.trial) else {
                continue;
            };
            let backend = self
                .backends
                .iter()
                .find(|backend| backend.resolved.name == trial.backend);
            let Some(backend) = backend.cloned() else {
                continue;
            };
            let gate = FollowerGate {
                follower,
                step: &step,
            };
            let context = self.context(trial, step.attempt, &backend);
            match stoppable(workloads::run(&context, &gate), self.stop.clone()).await? {
                Ok(part) => {
                    let folder = attempt_folder(trial, step.attempt);
                    self.raw(&folder, &part).await?;
                    let record = PartRecord::new(&part, self.index, &self.node);
                    self.put_json(&format!("{folder}part-{}.json", self.index), &record)
                        .await?;
                }
                // Generator 0 sees that the part is missing and says so in the trial.
                Err(error) => tracing::warn!(%error, trial = step.trial, "no part delivered"),
            }
        }
    }
}

/// Runs a workload's local tasks until it is done or the process is asked to stop.
async fn stoppable<F: Future>(
    work: F,
    mut stop: watch::Receiver<bool>,
) -> Result<F::Output, RunError> {
    let local = LocalSet::new();
    tokio::select! {
        output = local.run_until(work) => Ok(output),
        // An error means that nobody can ask any more: then there is nothing to wait for.
        Ok(_) = stop.wait_for(|stop| *stop) => Err(RunError::Stopped),
    }
}

/// What the generators measured in one attempt.
#[derive(Debug, Default)]
struct Measured {
    whole: PartRecord,
    generators: Vec<bakeoff_crds::result::GeneratorUsage>,
    window: Option<Window>,
    files: Vec<String>,
    figures: BTreeMap<String, f64>,
    missing: usize,
}

/// The folder of an attempt, relative to the run.
#[must_use]
pub fn attempt_folder(trial: &Trial, attempt: i32) -> String {
    format!("trials/{}/{attempt}/", trial.id)
}

/// Trial, attempt and file of a name in the store.
#[must_use]
pub fn attempt_file(name: &str) -> Option<(&str, i32, &str)> {
    let mut parts = name.strip_prefix("trials/")?.splitn(3, '/');
    Some((parts.next()?, parts.next()?.parse().ok()?, parts.next()?))
}

fn verdict_of(record: &TrialRecord) -> Attempt {
    match record.verdict {
        Verdict::Valid => Attempt::Valid,
        Verdict::Invalid(_) => Attempt::Invalid,
    }
}

fn wall_window((start, end): (u64, u64)) -> Window {
    let (monotonic, wall) = (clock::now(), clock::wall());
    let at = |instant: u64| {
        let nanos = i128::from(wall) - i128::from(monotonic) + i128::from(instant);
        Timestamp::from_nanosecond(nanos).unwrap_or(Timestamp::UNIX_EPOCH)
    };
    let micros = i64::try_from(end.saturating_sub(start) / 1_000).unwrap_or(i64::MAX);
    Window {
        start: at(start),
        end: at(end),
        micros,
    }
}

struct LeaderGate<'a> {
    control: &'a Control,
    others: usize,
}

impl Gate for LeaderGate<'_> {
    fn open(&self) -> Opening<'_> {
        Box::pin(async move {
            if self.others == 0 {
                return workloads::Alone.open().await;
            }
            match self.control.gather(self.others, BARRIER_PATIENCE).await {
                Some(wall) => Ok(clock::monotonic_at_wall(wall)),
                None => {
                    let detail = format!(
                        "not all of {} other generators were prepared in time",
                        self.others
                    );
                    Err(WorkloadError::Gate(detail))
                }
            }
        })
    }
}

struct FollowerGate<'a> {
    follower: &'a Follower,
    step: &'a Step,
}

impl Gate for FollowerGate<'_> {
    fn open(&self) -> Opening<'_> {
        Box::pin(async move {
            let start = self.follower.ready(self.step.number).await;
            start.map_err(|error| WorkloadError::Gate(error.to_string()))
        })
    }
}

/// Removes everything that a run left in external buckets; answers how many objects.
///
/// # Errors
/// When a backend does not let it. A backend without a prefix of its own is refused: its bucket
/// may hold what is not ours.
pub async fn cleanup(backends: &[Backend]) -> Result<u64, RunError> {
    let mut removed = 0;
    for backend in backends
        .iter()
        .filter(|backend| !backend.resolved.provisioned)
    {
        let prefix = backend.prefix();
        if prefix.is_empty() {
            let text = format!(
                "backend {} has no prefix of its own: nothing was removed",
                backend.resolved.name
            );
            return Err(StoreError::Unauthorised(text).into());
        }
        removed += backend.remove(&prefix).await?;
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_the_store_are_read_back() {
        assert_eq!(
            attempt_file("trials/b00-put-c03-a/2/trial.json"),
            Some(("b00-put-c03-a", 2, "trial.json"))
        );
        assert_eq!(attempt_file("manifest.json"), None);
        assert_eq!(attempt_file("trials/x/y/trial.json"), None);
    }
}
