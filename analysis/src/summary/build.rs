//! From raw records to a summary.

use std::collections::{BTreeMap, BTreeSet};

use bakeoff_crds::capacity::CapacityRecord;
use bakeoff_crds::result::{TRIAL_SCHEMA, TrialRecord};
use bakeoff_crds::run::Manifest;
use bakeoff_crds::schedule::{self, Trial};

use super::cells::cell_on_backend;
use super::circumstances::{
    backend_summary, capacities, checks, counts, environment, excluded, flagged, generator,
};
use super::compared::{adjust, compare_cell};
use super::looks::{complete_blocks, look_summaries, looks};
use super::{CellSummary, ObjectiveResult, RunEnding, SUMMARY_SCHEMA, Summary, WorkloadSummary};
use crate::kinds;
use crate::merge::MergeError;
use crate::{decision, objective, stats};

/// The raw data of one run.
#[derive(Clone, Copy, Debug)]
pub struct RunData<'a> {
    /// `manifest.json`.
    pub manifest: &'a Manifest,
    /// Every attempt that ended, in any order.
    pub records: &'a [TrialRecord],
    /// Attempts that a lost generator left unfinished.
    pub interrupted: &'a [Interrupted],
    /// What the searches for capacities found, in any order.
    pub capacities: &'a [CapacityRecord],
}

/// An attempt that a generator left unfinished. Nothing of it is merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interrupted {
    /// What was planned.
    pub trial: Trial,
    /// The attempt, from 1.
    pub attempt: i32,
    /// Whether the generator was told to stop; it was lost otherwise.
    pub on_demand: bool,
}

/// Why raw data cannot be summarised.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SummaryError {
    /// A record of a schema that this version does not read.
    #[error("trial {trial} has the schema {found:?}, but this version reads {TRIAL_SCHEMA:?}")]
    Schema {
        /// The id of the trial.
        trial: String,
        /// The schema it carries.
        found: String,
    },
    /// A record that the schedule of the manifest does not hold: data of another run.
    #[error("trial {0} is not in the schedule of the manifest: it belongs to another spec or seed")]
    ForeignTrial(String),
    /// Two records of one attempt.
    #[error("trial {trial} has two records of attempt {attempt}")]
    Duplicate {
        /// The id of the trial.
        trial: String,
        /// The attempt.
        attempt: i32,
    },
    /// A histogram cannot be read or added.
    #[error("trial {trial}, operation {operation}: {source}")]
    Histogram {
        /// The id of the trial.
        trial: String,
        /// The operation.
        operation: String,
        /// What is wrong with it.
        source: MergeError,
    },
}

impl SummaryError {
    /// A short word for conditions, events and metric labels.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Schema { .. } => "TrialSchemaUnknown",
            Self::ForeignTrial(_) => "ForeignTrial",
            Self::Duplicate { .. } => "DuplicateTrial",
            Self::Histogram { source, .. } => source.reason(),
        }
    }
}

/// Summarises a run, evaluates its objectives and applies its decision rule.
///
/// Of each trial the first valid attempt counts; no two attempts are ever merged. The order of the
/// records does not matter.
///
/// # Errors
/// When a record has an unknown schema, belongs to another run, occurs twice or holds a histogram
/// that cannot be added: a summary that left it out would be wrong in silence.
pub fn summarise(data: &RunData<'_>) -> Result<Summary, SummaryError> {
    let plan = &data.manifest.plan;
    let spec = &plan.spec;
    let scheduled = schedule::trials(spec);
    let mut records: Vec<&TrialRecord> = data.records.iter().collect();
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
    let mut workloads = Vec::new();
    for workload in &spec.workloads {
        let Some(kind) = workload.kind() else {
            continue;
        };
        let own: Vec<&TrialRecord> = valid
            .iter()
            .copied()
            .filter(|record| record.trial.workload == workload.name)
            .collect();
        let attempts: Vec<&TrialRecord> = records
            .iter()
            .copied()
            .filter(|record| record.trial.workload == workload.name)
            .collect();
        let mut cells = Vec::new();
        for (index, levels) in (0_i32..).zip(schedule::cells(workload)) {
            let mut backends = Vec::new();
            for backend in &names {
                let trials: Vec<&TrialRecord> = own
                    .iter()
                    .copied()
                    .filter(|record| {
                        record.trial.cell_index == index && record.trial.backend == *backend
                    })
                    .collect();
                let mut on = cell_on_backend(backend, &trials, seed)?;
                if kinds::of(kind).checks_by_cell {
                    let attempts: Vec<&TrialRecord> = attempts
                        .iter()
                        .copied()
                        .filter(|record| record.trial.cell_index == index)
                        .collect();
                    on.checks = checks(&attempts, &trials, &[backend]);
                }
                backends.push(on);
            }
            let label: Vec<String> = levels
                .iter()
                .map(|(factor, level)| format!("{factor}={level}"))
                .collect();
            // Segments are no independent blocks, and no test may treat them as if they were.
            let comparisons = if kind.traits().in_segments {
                Vec::new()
            } else {
                compare_cell(&backends, margin, seed, level)
            };
            cells.push(CellSummary {
                index,
                levels,
                label: label.join(" "),
                backends,
                comparisons,
            });
        }
        adjust(&mut cells, level);
        let judged: Vec<&TrialRecord> = attempts
            .into_iter()
            .filter(|record| !record.trial.is_control())
            .collect();
        workloads.push(WorkloadSummary {
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
            checks: checks(&judged, &own, &names),
        });
    }

    let mut summary = Summary {
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
        objectives: Vec::new(),
        decision: None,
    };
    summary.decision = spec
        .decision
        .as_ref()
        .map(|decision| decision::decide(decision, spec, &summary));
    summary.objectives = spec
        .objectives
        .iter()
        .map(|objective| {
            let (met, detail) = objective::judge(&objective.expression, spec, &summary);
            ObjectiveResult {
                name: objective.name.clone(),
                expression: objective.expression.clone(),
                met,
                detail,
            }
        })
        .collect();
    Ok(summary)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{self, PLAIN, QUICK};

    #[test]
    fn the_order_of_records_does_not_matter_and_the_invalid_attempt_is_shown_not_used() {
        let (manifest, mut records) = sample::phase1_c();
        let data = |records: &[TrialRecord]| {
            summarise(&RunData {
                manifest: &manifest,
                records,
                interrupted: &[],
                capacities: &[],
            })
            .unwrap()
        };
        let forth = data(&records);
        records.reverse();
        let back = data(&records);
        assert_eq!(
            serde_json::to_string(&forth).unwrap(),
            serde_json::to_string(&back).unwrap()
        );
        assert_eq!(forth.trials.planned, forth.trials.done);
        assert_eq!((forth.trials.invalid, forth.trials.repeated), (1, 1));
        assert_eq!(forth.excluded.len(), 1);
        assert!(forth.excluded[0].made_good);
        assert!(
            forth
                .workloads
                .iter()
                .flat_map(|w| &w.cells)
                .flat_map(|c| &c.backends)
                .all(|b| b.blocks == 6)
        );
        let text = serde_json::to_string(&forth).unwrap();
        assert_eq!(serde_json::from_str::<Summary>(&text).unwrap(), forth);
    }

    #[test]
    fn rates_and_counts_are_sums() {
        let spec = sample::spec(2);
        let manifest = sample::manifest(&spec);
        let records = sample::records(&spec, |_| PLAIN);
        let summary = summarise(&RunData {
            manifest: &manifest,
            records: &records,
            interrupted: &[],
            capacities: &[],
        })
        .unwrap();
        let put = &summary.workloads[0].cells[0].backends[0];
        let counted: i64 = records
            .iter()
            .filter(|r| {
                r.trial.workload == "put" && r.trial.cell_index == 0 && r.trial.backend == "minio"
            })
            .map(|r| r.operations["put"].count)
            .sum();
        assert_eq!(put.operations["put"].count, counted);
        assert!((put.operations["put"].per_second - counted as f64 / 40.0).abs() < 0.01);
        assert_eq!(put.operations["put"].blocks.len(), 2);
    }

    #[test]
    fn exchanging_the_backends_inverts_every_ratio() {
        let mut spec = sample::spec(6);
        let run = |spec: &bakeoff_crds::ExperimentSpec| {
            let manifest = sample::manifest(spec);
            let records = sample::records(spec, |name| if name == "minio" { PLAIN } else { QUICK });
            summarise(&RunData {
                manifest: &manifest,
                records: &records,
                interrupted: &[],
                capacities: &[],
            })
            .unwrap()
        };
        let forth = run(&spec);
        spec.backends.reverse();
        let back = run(&spec);
        let both = forth.workloads[0]
            .cells
            .iter()
            .zip(&back.workloads[0].cells);
        for (a, b) in both.flat_map(|(a, b)| a.comparisons.iter().zip(&b.comparisons)) {
            assert_eq!((&a.subject, &a.base), (&b.base, &b.subject));
            assert!((a.estimate.ratio * b.estimate.ratio - 1.0).abs() < 1e-5);
            assert_eq!(a.estimate.p_value, b.estimate.p_value);
            assert_eq!(a.estimate.detectable, b.estimate.detectable);
        }
    }

    #[test]
    fn refuses_data_of_another_run_and_of_another_schema() {
        let (manifest, records) = sample::phase1_c();
        let reason = |change: &dyn Fn(&mut TrialRecord)| {
            let mut changed = records.clone();
            change(&mut changed[0]);
            summarise(&RunData {
                manifest: &manifest,
                records: &changed,
                interrupted: &[],
                capacities: &[],
            })
            .unwrap_err()
            .reason()
        };
        assert_eq!(
            reason(&|r| r.schema_version = "trial/v9".into()),
            "TrialSchemaUnknown"
        );
        assert_eq!(reason(&|r| r.trial.id = "b99-other".into()), "ForeignTrial");
        assert_eq!(reason(&|r| r.trial.block += 1), "ForeignTrial");
        assert_eq!(
            reason(&|r| r
                .operations
                .values_mut()
                .for_each(|o| o.response.0 = "?".into())),
            "HistogramUnreadable"
        );
        let mut twice = records.clone();
        twice.push(records[0].clone());
        let error = summarise(&RunData {
            manifest: &manifest,
            records: &twice,
            interrupted: &[],
            capacities: &[],
        })
        .unwrap_err();
        assert_eq!(error.reason(), "DuplicateTrial");
    }

    #[test]
    fn a_run_without_any_record_is_summarised_and_decides_nothing() {
        let spec = sample::spec(6);
        let manifest = sample::manifest(&spec);
        let summary = summarise(&RunData {
            manifest: &manifest,
            records: &[],
            interrupted: &[],
            capacities: &[],
        })
        .unwrap();
        assert!(summary.objectives.iter().all(|objective| !objective.met));
        let decision = summary.decision.unwrap();
        assert_eq!(
            decision.outcome,
            bakeoff_crds::status::DecisionOutcome::Inconclusive
        );
    }

    #[test]
    fn the_schema_is_publishable() {
        let schema = super::super::json_schema();
        assert_eq!(schema["title"], "Summary");
    }
}
