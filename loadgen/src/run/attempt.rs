//! One attempt at a trial: observed, measured, judged and made durable.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bakeoff_analysis::stats::steady::steadiness;
use bakeoff_crds::figure::Figure;
use bakeoff_crds::result::{InvalidCode, InvalidReason, TRIAL_SCHEMA, TrialRecord, Window};
use bakeoff_crds::schedule::Trial;
use jiff::Timestamp;

use super::baseline::Baselines;
use super::doubts::Doubts;
use super::gates::LeaderGate;
use super::{Backend, Run, RunError, STORE_PATIENCE, stoppable};
use crate::drivers::observation::Observation;
use crate::instrument::clock;
use crate::instrument::clock_offset::ClockOffset;
use crate::run::assemble::{self, PartRecord};
use crate::run::judge::{Circumstances, Judgement, judge};
use crate::store::layout;
use crate::workloads::{self, Context, Part, RawFile, Share, WorkloadError};

/// How long a backend may be away between two trials before the trial is called invalid.
const BACKEND_PATIENCE: Duration = Duration::from_secs(60);
/// How long a generator that is to stop tries to say so: whoever stopped it does not wait for long.
const LAST_WORD: Duration = Duration::from_secs(3);
/// Removing the objects of a trial may take this long; what is left goes with the backend's volume
/// or with the cleanup at the end.
const CLEANUP_PATIENCE: Duration = Duration::from_secs(120);

impl Run {
    /// Runs one attempt and makes its outcome durable. One that was cut off on demand says so, for a generator
    /// that was lost could not.
    pub(super) async fn trial(
        &self,
        trial: &Trial,
        attempt: i32,
        rate: Result<Option<f64>, String>,
        baselines: &mut Baselines,
    ) -> Result<TrialRecord, RunError> {
        let folder = layout::attempt_folder(trial, attempt);
        let ended = self.attempt(trial, attempt, rate, baselines, &folder).await;
        if let Err(RunError::Stopped) = &ended {
            let name = format!("{folder}{}", layout::STOPPED);
            let marker = serde_json::to_vec(&serde_json::json!({"stoppedAt": Timestamp::now()}))?;
            if let Err(error) = self.store.put_durably(&name, marker, LAST_WORD).await {
                tracing::warn!(%error, "that the trial was stopped is not written down");
            }
        }
        ended
    }

    /// Prepared, measured, collected, judged and recorded.
    async fn attempt(
        &self,
        trial: &Trial,
        attempt: i32,
        rate: Result<Option<f64>, String>,
        baselines: &mut Baselines,
        folder: &str,
    ) -> Result<TrialRecord, RunError> {
        let started_at = self.begin(trial, attempt, folder).await?;
        let baseline = match &rate {
            Ok(rate) => baselines.of(self, trial, *rate).await?,
            Err(_) => None,
        };
        let backend = self.backend(trial)?;
        self.control
            .announce(&trial.id, attempt, rate.clone().ok().flatten());
        let mut doubts = Doubts::default();
        let (before, part) = self
            .measure(trial, attempt, backend, rate, &mut doubts)
            .await?;
        let measured = match part {
            Some(part) => {
                let context = self.context(trial, attempt, backend, None);
                self.collect(&context, folder, part).await?
            }
            None => Measured::default(),
        };
        let after = backend.access.driver().observe(&backend.resolved).await;
        let usage = if measured.disturbed {
            // Another process answers, as it was to.
            let usage = |(before, after)| backend.access.driver().usage(&before, &after);
            before.zip(after).and_then(usage)
        } else {
            doubts.used(backend, before, after)
        };
        let failed = measured.whole.load.failed;
        doubts.credentials(backend, failed).await;
        let judgement = self.judged(&measured, doubts)?;
        let record = TrialRecord {
            schema_version: TRIAL_SCHEMA.to_owned(),
            trial: trial.clone(),
            attempt,
            started_at,
            ended_at: Timestamp::now(),
            baseline,
            backend: usage,
            ..self.record(trial, measured, judgement, started_at)
        };
        self.put_json(&format!("{folder}{}", layout::TRIAL), &record)
            .await?;
        self.clean(backend, trial, attempt).await;
        Ok(record)
    }

    /// Says in the store that the attempt is under way, and since when.
    async fn begin(
        &self,
        trial: &Trial,
        attempt: i32,
        folder: &str,
    ) -> Result<Timestamp, RunError> {
        let started_at = Timestamp::now();
        let marker = serde_json::json!({
            "trial": trial, "attempt": attempt, "startedAt": started_at, "generatorAttempt": self.plan.attempt,
        });
        self.put_json(&format!("{folder}{}", layout::STARTED), &marker)
            .await?;
        Ok(started_at)
    }

    /// Waits for the backend, looks at it and runs the workload. What keeps it from being run is a doubt.
    async fn measure(
        &self,
        trial: &Trial,
        attempt: i32,
        backend: &Backend,
        rate: Result<Option<f64>, String>,
        doubts: &mut Doubts,
    ) -> Result<(Option<Observation>, Option<Part>), RunError> {
        let at = &backend.resolved;
        if let Err(error) = backend.access.driver().probe(at, BACKEND_PATIENCE).await {
            doubts.add(InvalidCode::BackendUnavailable, error.to_string());
            return Ok((None, None));
        }
        let before = backend.access.driver().observe(at).await;
        let gate = LeaderGate {
            control: &self.control,
            others: self.generators - 1,
        };
        let measured = match rate {
            Ok(rate) => {
                let context = self.context(trial, attempt, backend, rate);
                stoppable(workloads::run(&context, &gate), self.stop.clone()).await?
            }
            Err(unknown) => Err(WorkloadError::Spec(unknown)),
        };
        match measured {
            Ok(part) => return Ok((before, Some(part))),
            Err(WorkloadError::Gate(detail)) => doubts.add(InvalidCode::GeneratorMissing, detail),
            Err(error) => doubts.add(InvalidCode::PreparationFailed, error.to_string()),
        }
        Ok((before, None))
    }

    fn judged(&self, measured: &Measured, doubts: Doubts) -> Result<Judgement, RunError> {
        let mut circumstances = Circumstances {
            reasons: doubts.0,
            generators: measured.generators.clone(),
            compressed: measured
                .figures
                .get(&Figure::SpeedPercent)
                .is_some_and(|&speed| speed > 100.0),
        };
        circumstances.missing(measured.missing, self.generators);
        if let Some(detail) = measured.failed.clone() {
            let code = InvalidCode::PreparationFailed;
            circumstances.reasons.push(InvalidReason { code, detail });
        }
        let bounds = &self.plan.spec.validity;
        Ok(judge(&measured.whole, circumstances, bounds)?)
    }

    /// What was measured and what is thought of it, as it is recorded.
    fn record(
        &self,
        trial: &Trial,
        measured: Measured,
        judgement: Judgement,
        started_at: Timestamp,
    ) -> TrialRecord {
        let whole = measured.whole;
        TrialRecord {
            schema_version: TRIAL_SCHEMA.to_owned(),
            trial: trial.clone(),
            attempt: 0,
            started_at,
            ended_at: started_at,
            window: measured.window.unwrap_or(Window {
                start: started_at,
                end: started_at,
                micros: 0,
            }),
            verdict: judgement.verdict,
            findings: judgement.findings,
            load: whole.load,
            operations: whole.operations,
            counters: whole.counters,
            checks: whole.checks,
            steadiness: steadiness(&whole.series, self.plan.spec.seed.unsigned_abs()),
            baseline: None,
            series: whole.series,
            generators: measured.generators,
            backend: None,
            figures: measured.figures,
            state: measured.state,
            horizon: measured.horizon,
            files: measured.files,
        }
    }

    pub(super) fn context<'a>(
        &'a self,
        trial: &'a Trial,
        attempt: i32,
        backend: &Backend,
        rate: Option<f64>,
    ) -> Context<'a> {
        Context {
            spec: &self.plan.spec,
            trial,
            attempt,
            access: backend.access.clone(),
            lock: self.lock.as_ref(),
            prefix: backend.prefix(),
            generator: self.index,
            generators: self.generators,
            rate,
            most_runs: u64::MAX,
            faults: Some(&*self.control),
            traces: &self.traces,
            live: self.control.live(),
        }
    }

    /// Writes this generator's raw files; answers their names.
    pub(super) async fn raw(&self, folder: &str, part: &Part) -> Result<Vec<String>, RunError> {
        let intervals = RawFile {
            name: layout::INTERVALS,
            of_each: true,
            bytes: part.recorded.intervals.clone(),
        };
        let mut files = vec![self.keep(folder, &intervals).await?];
        for file in part.artefacts.iter().filter(|file| !file.bytes.is_empty()) {
            files.push(self.keep(folder, file).await?);
        }
        Ok(files)
    }

    async fn keep(&self, folder: &str, file: &RawFile) -> Result<String, RunError> {
        let name = if file.of_each && self.generators > 1 {
            layout::of_generator(file.name, self.index)
        } else {
            file.name.to_owned()
        };
        let (full, bytes) = (format!("{folder}{name}"), file.bytes.clone());
        self.store.put_durably(&full, bytes, STORE_PATIENCE).await?;
        Ok(name)
    }

    /// The parts of all generators, merged, and what their histories say together.
    pub(super) async fn collect(
        &self,
        context: &Context<'_>,
        folder: &str,
        mut part: Part,
    ) -> Result<Measured, RunError> {
        let own_events = part.shared_history.take();
        let shared = own_events.is_some();
        let mut measured = Measured {
            window: Some(wall_window(part.window)),
            figures: part.figures.clone(),
            state: part.state.clone(),
            horizon: part.horizon.clone(),
            disturbed: part.disturbed,
            files: self.raw(folder, &part).await?,
            ..Measured::default()
        };
        let mut all = Collected {
            parts: vec![PartRecord::new(
                &part,
                self.index,
                &self.node,
                Default::default(),
            )],
            logs: vec![part.recorded.intervals],
            shares: vec![Share {
                events: own_events.unwrap_or_default(),
                clock: ClockOffset::default(),
            }],
        };
        let seconds = self.plan.spec.trials.drain_seconds;
        let drain = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        let deadline = Instant::now() + drain + Duration::from_secs(60);
        for index in 1..self.generators {
            let (files, whole) = self
                .other(folder, index, shared, deadline, &mut all)
                .await?;
            measured.missing += usize::from(!whole);
            measured.files.extend(files);
        }
        measured.whole = assemble::merge(&all.parts, &all.logs)?;
        // Without a part of it a history shows values that nobody wrote: nothing can be said of it.
        if shared && measured.missing == 0 {
            match workloads::conclude(context, all.shares).await {
                Ok(conclusion) => {
                    measured.whole.checks.extend(conclusion.checks);
                    measured.whole.counters.extend(conclusion.counters);
                    for file in &conclusion.artefacts {
                        measured.files.push(self.keep(folder, file).await?);
                    }
                }
                Err(error) => measured.failed = Some(error.to_string()),
            }
        }
        measured.generators = all.parts.into_iter().map(|part| part.usage).collect();
        Ok(measured)
    }

    /// Adds what another generator delivered; answers its files, and whether nothing of it is missing.
    async fn other(
        &self,
        folder: &str,
        index: usize,
        shared: bool,
        deadline: Instant,
        all: &mut Collected,
    ) -> Result<(Vec<String>, bool), RunError> {
        let name = layout::part(index);
        let bytes = loop {
            if let Some(bytes) = self.store.get(&format!("{folder}{name}")).await? {
                break bytes;
            }
            if Instant::now() >= deadline {
                return Ok((Vec::new(), false));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        };
        let other: PartRecord = serde_json::from_slice(&bytes)?;
        let mut files = vec![name];
        if shared {
            let file = layout::of_generator(layout::HISTORY, index);
            let history = self.store.get(&format!("{folder}{file}")).await?;
            let read = |(bytes, clock): (Vec<u8>, _)| workloads::share(&bytes, clock).ok();
            let Some(share) = history.zip(other.monotonic).and_then(read) else {
                return Ok((files, false));
            };
            files.push(file);
            all.shares.push(share);
        }
        all.parts.push(other);
        let log = layout::of_generator(layout::INTERVALS, index);
        if let Some(bytes) = self.store.get(&format!("{folder}{log}")).await? {
            all.logs.push(bytes);
            files.push(log);
        }
        Ok((files, true))
    }

    pub(super) async fn clean(&self, backend: &Backend, trial: &Trial, attempt: i32) {
        let prefix = self.context(trial, attempt, backend, None).attempt_prefix();
        match tokio::time::timeout(CLEANUP_PATIENCE, backend.remove(&prefix)).await {
            Ok(Ok(removed)) => tracing::debug!(removed, prefix, "objects of the trial removed"),
            Ok(Err(error)) => tracing::warn!(%error, prefix, "objects of the trial are left"),
            Err(_) => tracing::warn!(
                prefix,
                "removing the objects of the trial took too long; some are left"
            ),
        }
    }
}

/// What the generators measured in one attempt.
#[derive(Debug, Default)]
pub(super) struct Measured {
    pub(super) whole: PartRecord,
    pub(super) generators: Vec<bakeoff_crds::result::GeneratorUsage>,
    window: Option<Window>,
    files: Vec<String>,
    figures: BTreeMap<Figure, f64>,
    state: Option<bakeoff_crds::result::StateSeries>,
    horizon: Option<bakeoff_crds::result::HorizonHeld>,
    pub(super) missing: usize,
    /// Whether a server was killed on purpose.
    disturbed: bool,
    /// Why the histories of all could not be checked.
    failed: Option<String>,
}

/// What the generators delivered, in the order of their indices.
struct Collected {
    parts: Vec<PartRecord>,
    logs: Vec<Vec<u8>>,
    shares: Vec<Share>,
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
