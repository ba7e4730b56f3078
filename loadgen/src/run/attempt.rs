//! One attempt at a trial: observed, measured, judged and made durable.

use std::time::Duration;

use bakeoff_analysis::stats::steady::steadiness;
use bakeoff_crds::figure::Figure;
use bakeoff_crds::result::{
    BackendUsage, Baseline, InvalidCode, InvalidReason, TRIAL_SCHEMA, TrialRecord, Window,
};
use bakeoff_crds::schedule::Trial;
use jiff::Timestamp;

use super::baseline::Baselines;
use super::collect::Measured;
use super::doubts::Doubts;
use super::gates::LeaderGate;
use super::holds;
use super::{Backend, Run, RunError, stoppable, stoppable_after};
use crate::drivers::observation::Observation;
use crate::run::judge::{Circumstances, Judgement, judge};
use crate::store::layout;
use crate::workloads::{self, Context, Part, WorkloadError};

/// How long a backend may be away between two trials before the trial is called invalid.
const BACKEND_PATIENCE: Duration = Duration::from_secs(60);
/// How long a generator that is to stop still brings in what was measured: a pod has 30 s.
const BRING_IN: Duration = Duration::from_secs(20);
/// How long a generator that is to stop tries to say so: whoever stopped it does not wait for long.
const LAST_WORD: Duration = Duration::from_secs(3);
/// Removing the objects of a trial may take this long; what is left goes with the backend's volume
/// or with the cleanup at the end.
const CLEANUP_PATIENCE: Duration = Duration::from_secs(120);

/// What is recorded of an attempt beside what was measured in it.
struct Around {
    attempt: i32,
    started_at: Timestamp,
    ended_at: Timestamp,
    baseline: Option<Baseline>,
    usage: Option<BackendUsage>,
    /// The rate that it was given, where that is not in its parameters.
    offered: Option<f64>,
}

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
        let offered = rate.clone().ok().flatten();
        self.control.announce(&trial.id, attempt, offered);
        let mut doubts = Doubts::default();
        let (before, part) = self
            .measure(trial, attempt, backend, rate, &mut doubts)
            .await?;
        let measured = match part {
            Some(part) => {
                let context = self.context(trial, attempt, backend, None);
                let collected = self.collect(&context, folder, part);
                stoppable_after(collected, self.stop.clone(), BRING_IN).await??
            }
            None => Measured::default(),
        };
        let after = backend.access.driver().observe(&backend.resolved).await;
        let usage = if measured.disturbed || trial.kind.traits().kills_servers {
            // Another process answers, as it was to, also where it was killed too late to be measured.
            let usage = |(before, after)| backend.access.driver().usage(&before, &after);
            before.zip(after).and_then(usage)
        } else {
            doubts.used(backend, before, after)
        };
        let failed = measured.whole.load.failed;
        doubts.credentials(backend, failed).await;
        // At one that did not answer nothing was offered.
        let unavailable = |reason: &InvalidReason| reason.code == InvalidCode::BackendUnavailable;
        let offered = offered.filter(|_| !doubts.0.iter().any(unavailable));
        let judgement = self.judged(&measured, doubts)?;
        let around = Around {
            attempt,
            started_at,
            ended_at: Timestamp::now(),
            baseline,
            usage,
            offered,
        };
        let record = self.record(trial, around, measured, judgement);
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
        let driver = backend.access.driver();
        let probed = stoppable(driver.probe(at, BACKEND_PATIENCE), self.stop.clone()).await?;
        if let Err(error) = probed {
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
        around: Around,
        measured: Measured,
        judgement: Judgement,
    ) -> TrialRecord {
        let whole = measured.whole;
        let started_at = around.started_at;
        let mut figures = measured.figures;
        if let Some((figure, rate)) = holds::offered(&self.plan.spec, trial, around.offered) {
            figures.entry(figure).or_insert(rate);
        }
        TrialRecord {
            schema_version: TRIAL_SCHEMA.to_owned(),
            trial: trial.clone(),
            attempt: around.attempt,
            started_at,
            ended_at: around.ended_at,
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
            baseline: around.baseline,
            series: whole.series,
            generators: measured.generators,
            backend: around.usage,
            figures,
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
