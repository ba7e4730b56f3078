//! From raw records to a summary.

use std::collections::{BTreeMap, BTreeSet};

use bakeoff_crds::result::{TRIAL_SCHEMA, TrialRecord};
use bakeoff_crds::schedule::{self, Cell, Trial};
use bakeoff_crds::spec::{Workload, WorkloadKind};

use super::cells::cell_on_backend;
use super::circumstances::{
    backend_summary, capacities, checks, counts, environment, excluded, flagged, generator,
};
use super::compared::{adjust, compare_cell};
use super::conformance::conformance;
use super::error::SummaryError;
use super::looks::{complete_blocks, look_summaries, looks};
use super::outside;
use super::raw::RunData;
use super::{CellSummary, Measured, RunEnding, SUMMARY_SCHEMA, WorkloadSummary};
use crate::kinds;
use crate::stats;

/// Brings the raw data of a run together.
///
/// Of each trial the first valid attempt counts; no two attempts are ever merged. The order of the
/// records does not matter.
///
/// # Errors
/// When a record has an unknown schema, belongs to another run, occurs twice or holds a histogram
/// that cannot be added: a summary that left it out would be wrong in silence.
pub fn measure(data: &RunData<'_>) -> Result<Measured, SummaryError> {
    let plan = &data.manifest.plan;
    let spec = &plan.spec;
    let scheduled = schedule::trials(spec);
    let judged: Vec<_> = data
        .records
        .iter()
        .map(|record| outside::judged(record, data.manifest))
        .collect();
    let mut records: Vec<&TrialRecord> = judged.iter().map(AsRef::as_ref).collect();
    records.sort_by_key(|record| (record.trial.index, record.attempt));
    check_records(&records, &scheduled)?;
    let valid = valid_attempts(&records);
    let looks = looks(spec);
    let complete = complete_blocks(&scheduled, &records);
    let level = looks.level(complete);
    let seed = spec.seed.unsigned_abs();
    let margin = spec
        .decision
        .as_ref()
        .map_or(10, |decision| decision.margin_percent);
    let margin = (f64::from(margin) / 100.0).ln_1p();

    let names: Vec<&str> = spec
        .backends
        .iter()
        .map(|backend| backend.name.as_str())
        .collect();
    let attempts = Attempts {
        names: &names,
        all: &records,
        valid: &valid,
        seed,
        margin,
        level,
    };
    let workloads = spec
        .workloads
        .iter()
        .filter_map(|workload| Some(attempts.workload(workload, workload.kind()?)))
        .collect::<Result<_, _>>()?;
    let conformance = conformance(&names, data.conformance);
    Ok(Measured {
        schema_version: SUMMARY_SCHEMA.to_owned(),
        experiment: plan.experiment.prefix(),
        result_class: spec.result_class,
        seed: spec.seed,
        started_at: data.manifest.started_at.to_string(),
        ending: data
            .manifest
            .ending
            .as_ref()
            .map_or(RunEnding::Running, |ending| {
                RunEnding::Ended(ending.reason.clone())
            }),
        trials: counts(scheduled.len(), &records, data.interrupted),
        level: stats::round(level),
        looks: look_summaries(&looks, complete),
        backends: plan
            .backends
            .iter()
            .map(|backend| backend_summary(data.manifest, backend, &valid))
            .map(|summary| {
                let own = conformance.iter().find(|of| of.backend == summary.name);
                summary.with(own)
            })
            .collect(),
        workloads,
        excluded: excluded(&records, data.interrupted, &valid),
        flagged: flagged(&valid),
        generators: names
            .iter()
            .map(|name| generator(name, &valid))
            .collect::<Result<_, _>>()?,
        environment: environment(data.manifest),
        capacities: capacities(spec, data.capacities),
        conformance,
    })
}

/// The attempts of a run, and how they are compared.
struct Attempts<'a> {
    /// The backends, in the order of the spec.
    names: &'a [&'a str],
    all: &'a [&'a TrialRecord],
    /// Those that count.
    valid: &'a [&'a TrialRecord],
    seed: u64,
    /// The logarithm of the ratio below which two are equal.
    margin: f64,
    /// Of the intervals, at the look that the run has reached.
    level: f64,
}

impl Attempts<'_> {
    fn workload(
        &self,
        workload: &Workload,
        kind: WorkloadKind,
    ) -> Result<WorkloadSummary, SummaryError> {
        let of_it = |record: &&TrialRecord| record.trial.workload == workload.name;
        let all = only(self.all, of_it);
        let valid = only(self.valid, of_it);
        let mut cells = (0..)
            .zip(schedule::cells(workload))
            .map(|(index, levels)| self.cell(kind, (index, levels), &all, &valid))
            .collect::<Result<Vec<_>, _>>()?;
        adjust(&mut cells, self.level);
        let judged = only(&all, |record| !record.trial.is_control());
        Ok(WorkloadSummary {
            name: workload.name.clone(),
            kind,
            open_load: workload
                .member()
                .is_some_and(|member| member.measured().is_open()),
            locks_in: workload.cas_race.as_ref().map(|race| {
                race.redis_lock().map_or_else(
                    || "a table of the backend".to_owned(),
                    |lock| format!("Redis {}", lock.version),
                )
            }),
            cells,
            checks: checks(&judged, &valid, self.names),
        })
    }

    /// A cell, of the attempts at its workload.
    fn cell(
        &self,
        kind: WorkloadKind,
        (index, levels): (i32, Cell),
        all: &[&TrialRecord],
        valid: &[&TrialRecord],
    ) -> Result<CellSummary, SummaryError> {
        let of_it = |record: &&TrialRecord| record.trial.cell_index == index;
        let all = only(all, of_it);
        let mut backends = Vec::new();
        for backend in self.names {
            let trials = only(valid, |record| {
                of_it(record) && record.trial.backend == *backend
            });
            let mut on = cell_on_backend(backend, &trials, (self.seed, self.level))?;
            if kinds::of(kind).checks_by_cell {
                on.checks = checks(&all, &trials, &[backend]);
            }
            backends.push(on);
        }
        // Segments are no independent blocks, and no test may treat them as if they were.
        let comparisons = if kind.traits().in_segments {
            Vec::new()
        } else {
            compare_cell(&backends, self.margin, self.seed, self.level)
        };
        Ok(CellSummary {
            index,
            label: schedule::label(&levels),
            levels,
            backends,
            comparisons,
        })
    }
}

fn only<'a>(
    records: &[&'a TrialRecord],
    which: impl Fn(&&'a TrialRecord) -> bool,
) -> Vec<&'a TrialRecord> {
    records.iter().copied().filter(which).collect()
}

fn check_records(records: &[&TrialRecord], scheduled: &[Trial]) -> Result<(), SummaryError> {
    let known: BTreeMap<&str, &Trial> = scheduled
        .iter()
        .map(|trial| (trial.id.as_str(), trial))
        .collect();
    let mut seen = BTreeSet::new();
    for record in records {
        let trial = record.trial.id.clone();
        if record.schema_version != TRIAL_SCHEMA {
            return Err(SummaryError::Schema {
                trial,
                found: record.schema_version.clone(),
            });
        }
        if known
            .get(record.trial.id.as_str())
            .is_none_or(|planned| **planned != record.trial)
        {
            return Err(SummaryError::ForeignTrial(trial));
        }
        if !seen.insert((record.trial.index, record.attempt)) {
            return Err(SummaryError::Duplicate {
                trial,
                attempt: record.attempt,
            });
        }
    }
    Ok(())
}

/// The first valid attempt at each trial, in the order of the schedule.
fn valid_attempts<'a>(records: &[&'a TrialRecord]) -> Vec<&'a TrialRecord> {
    let mut taken = BTreeSet::new();
    records
        .iter()
        .copied()
        .filter(|record| record.verdict.is_valid() && taken.insert(record.trial.index))
        .collect()
}
