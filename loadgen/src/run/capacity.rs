//! Searches the capacity of each backend before the first block, and keeps what was found.
//!
//! `capacity/<search>.json` is written once and read by a resumed run; the raw data of the steps lie
//! in `capacity/steps/<search>/<number>/`.

use bakeoff_crds::capacity::{self, CAPACITY_SCHEMA, CapacityRecord, CapacityStep};
use bakeoff_crds::schedule::{Trial, factor};
use bakeoff_crds::spec::{CapacityLoad, ExperimentSpec};

use super::gates::LeaderGate;
use super::{Run, RunError, STORE_PATIENCE, stoppable};
use crate::run::judge::{Circumstances, judge};
use crate::run::search::{Search, shown, step};
use crate::store::layout;
use crate::workloads::{self, WorkloadError};

/// Seconds of load before each step's window: connections open, buffers warm.
const WARMUP_SECONDS: i32 = 1;

/// The spec with the windows of a search's steps.
pub(super) fn step_spec(spec: &ExperimentSpec, load: &CapacityLoad) -> ExperimentSpec {
    let mut spec = spec.clone();
    spec.trials.warmup_seconds = WARMUP_SECONDS;
    spec.trials.window_seconds = load.step_seconds;
    spec
}

/// The capacity load that a search is for.
pub(super) fn load_of(spec: &ExperimentSpec, search: &Trial) -> Option<CapacityLoad> {
    let named = |workload: &&bakeoff_crds::spec::Workload| workload.name == search.workload;
    capacity::load(spec.workloads.iter().find(named)?)
}

impl Run {
    /// What each search of the experiment found, from the store or measured now.
    ///
    /// # Errors
    /// When the store, a backend or recording fails, or the process is asked to stop.
    pub(super) async fn capacities(&self) -> Result<Vec<CapacityRecord>, RunError> {
        let mut found = Vec::new();
        for search in capacity::searches(&self.plan.spec) {
            let name = layout::search(&search);
            let before = self.store.get_durably(&name, STORE_PATIENCE);
            if let Some(bytes) = stoppable(before, self.stop.clone()).await?? {
                match serde_json::from_slice(&bytes) {
                    Ok(record) => {
                        found.push(record);
                        continue;
                    }
                    Err(error) => {
                        tracing::warn!(%error, name, "a record cannot be read; its search is repeated");
                    }
                }
            }
            let Some(load) = load_of(&self.plan.spec, &search) else {
                continue;
            };
            let record = self.search(&search, &load).await?;
            tracing::info!(
                search = search.id,
                per_second = record.sustained_per_second,
                limit = ?record.limit,
                "capacity found"
            );
            self.put_json(&name, &record).await?;
            found.push(record);
        }
        Ok(found)
    }

    async fn search(
        &self,
        search: &Trial,
        load: &CapacityLoad,
    ) -> Result<CapacityRecord, RunError> {
        let mut state = Search::new(load);
        let mut steps = Vec::new();
        let mut number = self.steps_before(search).await?;
        while let Some(rate) = state.next() {
            number += 1;
            self.control.update(|progress| {
                progress.current = Some(format!(
                    "capacity of {}: {} at {rate:.0}/s",
                    search.backend, search.workload
                ));
            });
            let step = self.step(search, load, number, rate).await?;
            state.note(shown(&step));
            steps.push(step);
        }
        let (sustained_per_second, limit) = state.found();
        Ok(CapacityRecord {
            schema_version: CAPACITY_SCHEMA.to_owned(),
            workload: search.workload.clone(),
            cell: search.cell.clone(),
            backend: search.backend.clone(),
            sustained_per_second,
            limit,
            steps,
        })
    }

    /// The largest number of a step that a lost generator left: its parts must not be taken for new.
    async fn steps_before(&self, search: &Trial) -> Result<i32, RunError> {
        let folder = layout::steps(search);
        let names = self.store.list_durably(&folder, STORE_PATIENCE);
        let names = stoppable(names, self.stop.clone()).await??;
        let number = |name: &String| name.strip_prefix(&folder)?.split('/').next()?.parse().ok();
        Ok(names.iter().filter_map(number).max().unwrap_or(0))
    }

    async fn step(
        &self,
        search: &Trial,
        load: &CapacityLoad,
        number: i32,
        rate: f64,
    ) -> Result<CapacityStep, RunError> {
        let backend = self.backend(search)?;
        let patience = self.provision_patience();
        let driver = backend.access.driver();
        stoppable(driver.probe(&backend.resolved, patience), self.stop.clone()).await??;
        self.control.announce(&search.id, number, Some(rate));
        let gate = LeaderGate {
            control: &self.control,
            others: self.generators - 1,
        };
        let spec = step_spec(&self.plan.spec, load);
        let mut context = self.context(search, number, backend, Some(rate));
        context.spec = &spec;
        let folder = layout::step_folder(search, number);
        let measured = stoppable(workloads::run(&context, &gate), self.stop.clone()).await?;
        let step = match measured {
            Ok(part) => {
                let collected = self.collect(&context, &folder, part);
                let measured = stoppable(collected, self.stop.clone()).await??;
                let mut circumstances = Circumstances {
                    generators: measured.generators,
                    ..Circumstances::default()
                };
                circumstances.missing(measured.missing, self.generators);
                let judgement = judge(&measured.whole, circumstances, &self.plan.spec.validity)?;
                step(number, rate, &measured.whole, &judgement, load)?
            }
            Err(error) => not_measured(number, rate, &error),
        };
        tracing::info!(search = search.id, rate, met = step.met, "capacity step");
        self.put_json(&format!("{folder}{}", layout::STEP), &step)
            .await?;
        self.clean(backend, search, number).await;
        Ok(step)
    }

    /// The rate of a trial whose load is a share of capacity; `None` for any other load.
    pub(super) fn rate(
        &self,
        trial: &Trial,
        found: &[CapacityRecord],
    ) -> Result<Option<f64>, String> {
        if !trial.cell.contains_key(factor::CAPACITY_PERCENT) {
            return Ok(None);
        }
        let backends: Vec<&str> = self
            .backends
            .iter()
            .map(|backend| backend.resolved.name.as_str())
            .collect();
        capacity::rate(trial, &backends, found).map(Some)
    }
}

fn not_measured(number: i32, rate: f64, error: &WorkloadError) -> CapacityStep {
    CapacityStep {
        number,
        rate_per_second: rate,
        void: vec![error.to_string()],
        ..CapacityStep::default()
    }
}
