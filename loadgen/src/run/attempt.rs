//! One attempt at a trial: observed, measured, judged and made durable.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bakeoff_analysis::stats::steady::steadiness;
use bakeoff_crds::result::{InvalidCode, InvalidReason, TRIAL_SCHEMA, TrialRecord, Window};
use bakeoff_crds::schedule::Trial;
use jiff::Timestamp;

use super::baseline::Baselines;
use super::gates::LeaderGate;
use super::{Backend, Run, RunError, STORE_PATIENCE, stoppable};
use crate::drivers::s3::metrics as backend_metrics;
use crate::instrument::clock;
use crate::instrument::clock_offset::ClockOffset;
use crate::run::assemble::{self, PartRecord};
use crate::run::judge::{Circumstances, Judgement, judge};
use crate::store::layout;
use crate::workloads::cas_race::journal;
use crate::workloads::{self, Context, Part, Share, WorkloadError};

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

    async fn attempt(
        &self,
        trial: &Trial,
        attempt: i32,
        rate: Result<Option<f64>, String>,
        baselines: &mut Baselines,
        folder: &str,
    ) -> Result<TrialRecord, RunError> {
        let started_at = Timestamp::now();
        let marker = serde_json::json!({
            "trial": trial, "attempt": attempt, "startedAt": started_at, "generatorAttempt": self.plan.attempt,
        });
        self.put_json(&format!("{folder}{}", layout::STARTED), &marker)
            .await?;
        let mut reasons = Vec::new();
        let mut invalid = |code, detail: String| reasons.push(InvalidReason { code, detail });
        let mut outcome = Measured::default();
        let baseline = match &rate {
            Ok(rate) => baselines.of(self, trial, *rate).await?,
            Err(_) => None,
        };
        let backend = self.backend(trial)?;
        let at = &backend.resolved;
        self.control
            .announce(&trial.id, attempt, rate.clone().ok().flatten());
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
                let measured = match rate {
                    Ok(rate) => {
                        let context = self.context(trial, attempt, backend, rate);
                        stoppable(workloads::run(&context, &gate), self.stop.clone()).await?
                    }
                    Err(unknown) => Err(WorkloadError::Spec(unknown)),
                };
                match measured {
                    Ok(part) => {
                        let context = self.context(trial, attempt, backend, None);
                        outcome = self.collect(&context, folder, part).await?;
                    }
                    Err(WorkloadError::Gate(detail)) => {
                        invalid(InvalidCode::GeneratorMissing, detail)
                    }
                    Err(error) => invalid(InvalidCode::PreparationFailed, error.to_string()),
                }
            }
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
            state,
            ..
        } = outcome;
        let generators = outcome.generators;
        let mut circumstances = Circumstances {
            reasons,
            generators: generators.clone(),
        };
        circumstances.missing(outcome.missing, self.generators);
        if let Some(detail) = outcome.failed {
            let code = InvalidCode::PreparationFailed;
            circumstances.reasons.push(InvalidReason { code, detail });
        }
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
            steadiness: steadiness(&whole.series, self.plan.spec.seed.unsigned_abs()),
            baseline,
            series: whole.series,
            generators,
            backend: usage,
            figures,
            state,
            files,
        };
        self.put_json(&format!("{folder}{}", layout::TRIAL), &record)
            .await?;
        self.clean(backend, trial, attempt).await;
        Ok(record)
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
            live: self.control.live(),
        }
    }

    /// Writes this generator's raw files; answers their names.
    pub(super) async fn raw(&self, folder: &str, part: &Part) -> Result<Vec<String>, RunError> {
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
        let runs = part.logged.as_ref().map_or(&[][..], |logged| &logged.runs);
        for (file, lines) in [
            ("samples.jsonl", json_lines(&part.samples)?),
            ("autovacuums.jsonl", json_lines(runs)?),
        ] {
            if lines.is_empty() {
                continue;
            }
            self.store
                .put_durably(&format!("{folder}{file}"), lines, STORE_PATIENCE)
                .await?;
            files.push(file.to_owned());
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

    /// The parts of all generators, merged, and what their histories say together.
    pub(super) async fn collect(
        &self,
        context: &Context<'_>,
        folder: &str,
        mut part: Part,
    ) -> Result<Measured, RunError> {
        let own_events = part.events.take();
        let shared = own_events.is_some();
        let mut shares = vec![Share {
            events: own_events.unwrap_or_default(),
            clock: ClockOffset::default(),
        }];
        let own = PartRecord::new(&part, self.index, &self.node, Default::default());
        let window = Some(wall_window(part.window));
        let figures = part.figures.clone();
        let state = part.state.clone();
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
            let other: PartRecord = serde_json::from_slice(&bytes)?;
            files.push(name);
            if shared {
                let file = format!("history-{index}.jsonl.gz");
                let history = self.store.get(&format!("{folder}{file}")).await?;
                let read = history.and_then(|bytes| journal::read(&bytes).ok());
                let (Some(events), Some(clock)) = (read, other.monotonic) else {
                    missing += 1;
                    continue;
                };
                files.push(file);
                shares.push(Share { events, clock });
            }
            parts.push(other);
            let log = format!("intervals-{index}.hlog");
            if let Some(bytes) = self.store.get(&format!("{folder}{log}")).await? {
                logs.push(bytes);
                files.push(log);
            }
        }
        let mut whole = assemble::merge(&parts, &logs)?;
        let mut failed = None;
        // Without a part of it a history shows values that nobody wrote: nothing can be said of it.
        if shared && missing == 0 {
            match workloads::conclude(context, shares).await {
                Ok(conclusion) => {
                    whole.checks.extend(conclusion.checks);
                    whole.counters.extend(conclusion.counters);
                    let file = "history.jsonl.gz".to_owned();
                    self.store
                        .put_durably(
                            &format!("{folder}{file}"),
                            conclusion.history,
                            STORE_PATIENCE,
                        )
                        .await?;
                    files.push(file);
                }
                Err(error) => failed = Some(error.to_string()),
            }
        }
        let generators = parts.into_iter().map(|part| part.usage).collect();
        Ok(Measured {
            whole,
            generators,
            window,
            files,
            figures,
            state,
            missing,
            failed,
        })
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
    figures: BTreeMap<String, f64>,
    state: Option<bakeoff_crds::result::StateSeries>,
    pub(super) missing: usize,
    /// Why the histories of all could not be checked.
    failed: Option<String>,
}

/// One line each.
fn json_lines<T: serde::Serialize>(items: &[T]) -> Result<Vec<u8>, serde_json::Error> {
    let mut lines = Vec::new();
    for item in items {
        serde_json::to_writer(&mut lines, item)?;
        lines.push(b'\n');
    }
    Ok(lines)
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
