//! What stands beside the figures: attempts that count for nothing, checks, generators, backends,
//! machines.

use std::collections::{BTreeMap, BTreeSet};

use bakeoff_crds::capacity::{self, CapacityRecord};
use bakeoff_crds::result::{InvalidCode, TrialRecord, Verdict};
use bakeoff_crds::run::{Manifest, ResolvedBackend};
use bakeoff_crds::schedule::Trial;
use bakeoff_crds::spec::ExperimentSpec;
use bakeoff_crds::status::TrialCounts;

use super::cells::{add, micros, read, start};
use super::cost;
use super::{
    BackendSummary, CapacitySummary, Cause, CheckSummary, EnvironmentSummary, ExcludedTrial,
    FlaggedTrial, GeneratorSummary, Interrupted, PodSummary, SummaryError,
};
use crate::stats;

pub(super) fn counts(
    planned: usize,
    records: &[&TrialRecord],
    interrupted: &[Interrupted],
) -> TrialCounts {
    let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    let done: BTreeSet<i32> = records.iter().map(|record| record.trial.index).collect();
    TrialCounts {
        planned: count(planned),
        done: count(done.len()),
        invalid: count(
            records
                .iter()
                .filter(|record| !record.verdict.is_valid())
                .count(),
        ),
        repeated: count(records.len() - done.len()),
        interrupted: count(interrupted.len()),
    }
}

pub(super) fn excluded(
    records: &[&TrialRecord],
    interrupted: &[Interrupted],
    valid: &[&TrialRecord],
) -> Vec<ExcludedTrial> {
    let good: BTreeSet<i32> = valid.iter().map(|record| record.trial.index).collect();
    let entry = |trial: &Trial, attempt, codes, details, violations| {
        let excluded = ExcludedTrial {
            trial: trial.id.clone(),
            attempt,
            describe: trial.describe(),
            backend: trial.backend.clone(),
            codes,
            details,
            violations,
            made_good: good.contains(&trial.index),
        };
        ((trial.index, attempt), excluded)
    };
    let mut list: Vec<((i32, i32), ExcludedTrial)> = Vec::new();
    for record in records {
        if let Verdict::Invalid(reasons) = &record.verdict {
            let codes = reasons
                .iter()
                .map(|reason| reason.code.as_str().to_owned())
                .collect();
            let details = reasons.iter().map(|reason| reason.detail.clone()).collect();
            let violations = if record.trial.is_control() {
                0
            } else {
                record.checks.iter().map(|check| check.violations).sum()
            };
            list.push(entry(
                &record.trial,
                record.attempt,
                codes,
                details,
                violations,
            ));
        }
    }
    for lost in interrupted {
        let (code, why) = match &lost.cause {
            Cause::OnDemand => ("Interrupted", "the generator was told to stop before the trial ended: the experiment was suspended, cancelled or out of time, or the pod evicted".to_owned()),
            Cause::Lost => ("Interrupted", "the generator was lost before the trial ended".to_owned()),
            Cause::Damaged(file) => ("Damaged", format!("its record is damaged: {file}")),
        };
        list.push(entry(
            &lost.trial,
            lost.attempt,
            vec![code.to_owned()],
            vec![why],
            0,
        ));
    }
    list.sort_by_key(|(key, _)| *key);
    list.into_iter().map(|(_, excluded)| excluded).collect()
}

/// What the searches found, in the order of the spec.
pub(super) fn capacities(spec: &ExperimentSpec, found: &[CapacityRecord]) -> Vec<CapacitySummary> {
    let of = |search: &Trial| {
        let cell = capacity::base(&search.cell);
        found.iter().find(|record| {
            record.workload == search.workload
                && record.backend == search.backend
                && record.cell == cell
        })
    };
    capacity::searches(spec)
        .iter()
        .filter_map(of)
        .map(|record| CapacitySummary {
            workload: record.workload.clone(),
            levels: record.cell.clone(),
            backend: record.backend.clone(),
            sustained_per_second: record.sustained_per_second,
            limit: record.limit,
            steps: i32::try_from(record.steps.len()).unwrap_or(i32::MAX),
        })
        .collect()
}

/// The valid trials that speak against their backend.
pub(super) fn flagged(valid: &[&TrialRecord]) -> Vec<FlaggedTrial> {
    valid
        .iter()
        .filter(|record| !record.findings.is_empty())
        .map(|record| FlaggedTrial {
            trial: record.trial.id.clone(),
            describe: record.trial.describe(),
            backend: record.trial.backend.clone(),
            codes: record
                .findings
                .iter()
                .map(|finding| finding.code.as_str().to_owned())
                .collect(),
            details: record
                .findings
                .iter()
                .map(|finding| finding.detail.clone())
                .collect(),
        })
        .collect()
}

fn backend_lost(verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Valid => false,
        // Of one that was not seen nobody knows that it was there throughout.
        Verdict::Invalid(reasons) => reasons.iter().any(|reason| {
            InvalidCode::BACKEND_LOST.contains(&reason.code)
                || reason.code == InvalidCode::BackendUnobserved
        }),
    }
}

/// The checks over the attempts at one workload. Facts count where they were checked in a trial that
/// counts (`valid`); violations count wherever they were seen.
pub(super) fn checks(
    attempts: &[&TrialRecord],
    valid: &[&TrialRecord],
    backends: &[&str],
) -> Vec<CheckSummary> {
    let mut sums: BTreeMap<(usize, &str), CheckSummary> = BTreeMap::new();
    for record in attempts {
        let Some(position) = backends
            .iter()
            .position(|name| *name == record.trial.backend)
        else {
            continue;
        };
        let counts = valid.iter().any(|valid| std::ptr::eq(*valid, *record));
        let lost = backend_lost(&record.verdict);
        for check in &record.checks {
            let sum = sums
                .entry((position, check.name.as_str()))
                .or_insert_with(|| CheckSummary {
                    backend: record.trial.backend.clone(),
                    name: check.name.clone(),
                    ..CheckSummary::default()
                });
            if counts {
                sum.checked += check.checked;
                sum.uncertain += check.uncertain;
            }
            if lost {
                sum.violations_unsettled += check.violations;
            } else {
                sum.violations += check.violations;
                if !counts {
                    sum.violations_excluded += check.violations;
                }
            }
            let room = 10_usize.saturating_sub(sum.examples.len());
            sum.examples
                .extend(check.examples.iter().take(room).map(|example| {
                    if counts {
                        example.clone()
                    } else {
                        format!(
                            "{example} (attempt {} at {}, excluded)",
                            record.attempt, record.trial.id
                        )
                    }
                }));
        }
    }
    // Of excluded attempts without a violation there is nothing to say.
    sums.into_values()
        .filter(|sum| sum.checked + sum.uncertain + sum.violations + sum.violations_unsettled > 0)
        .collect()
}

pub(super) fn generator(
    backend: &str,
    valid: &[&TrialRecord],
) -> Result<GeneratorSummary, SummaryError> {
    let mut summary = GeneratorSummary {
        backend: backend.to_owned(),
        ..GeneratorSummary::default()
    };
    let mut lag = start("sendLag")?;
    let mut own_lag = start("generatorLag")?;
    for record in valid
        .iter()
        .filter(|record| record.trial.backend == backend)
    {
        summary.trials += 1;
        let window = record.window.micros.max(1) as f64;
        if record.load.offered_per_second > 0.0 && record.load.planned > 0 {
            let started =
                (record.load.planned - record.load.not_started) as f64 / record.load.planned as f64;
            let started = stats::round(started * 1_000.0);
            summary.started_per_mille = Some(
                summary
                    .started_per_mille
                    .map_or(started, |worst| worst.min(started)),
            );
            for (name, operation) in &record.operations {
                add(
                    record,
                    name,
                    &mut lag,
                    read(record, name, &operation.send_lag)?,
                )?;
                add(
                    record,
                    name,
                    &mut own_lag,
                    read(record, name, &operation.generator_lag)?,
                )?;
                *summary.queued.get_or_insert(0) += operation.queued;
            }
        }
        for usage in &record.generators {
            summary.cpu_cores = summary
                .cpu_cores
                .max(stats::round(usage.cpu_micros as f64 / window));
            summary.throttled_per_mille = summary.throttled_per_mille.max(stats::round(
                usage.throttled_micros as f64 / window * 1_000.0,
            ));
            summary.start_skew_micros =
                summary.start_skew_micros.max(usage.start_skew_micros.abs());
            if usage.pacer_lateness_p99_micros > 0 {
                let worst = summary.pacer_lateness_p99_micros.get_or_insert(0);
                *worst = (*worst).max(usage.pacer_lateness_p99_micros);
            }
            summary.resident_bytes = summary.resident_bytes.max(usage.resident_bytes);
        }
    }
    if !own_lag.is_empty() {
        summary.generator_lag_p99_micros = Some(micros(own_lag.value_at_quantile(0.99)));
    }
    if !lag.is_empty() {
        summary.send_lag_p50_micros = Some(micros(lag.value_at_quantile(0.5)));
        summary.send_lag_p99_micros = Some(micros(lag.value_at_quantile(0.99)));
    }
    Ok(summary)
}

pub(super) fn backend_summary(
    manifest: &Manifest,
    backend: &ResolvedBackend,
    valid: &[&TrialRecord],
) -> BackendSummary {
    let own = valid
        .iter()
        .filter(|record| record.trial.backend == backend.name);
    let held = own.clone().filter_map(|record| record.horizon.as_ref());
    let trials = held.clone().count();
    let horizon = held.max_by_key(|held| held.age).cloned();
    let mut caveats = backend.caveats.clone();
    caveats.extend(horizon.as_ref().map(|held| {
        format!(
            "dead rows could not be removed in {trials} trials, whatever the design: held back by {held}"
        )
    }));
    let own: Vec<&TrialRecord> = own.copied().collect();
    let cost = cost::of(backend, &own);
    BackendSummary {
        name: backend.name.clone(),
        kind: backend.kind,
        provisioned: backend.provisioned,
        version: backend.version.clone(),
        image: backend.image.clone(),
        image_id: backend.image_id.clone(),
        image_bytes: backend.image_bytes,
        durability: backend.durability.clone(),
        pods: pods(backend, &own, manifest),
        bytes_stored_per_byte: backend.bytes_stored_per_byte,
        upkeep: backend.upkeep.clone(),
        pod_count: cost.pod_count,
        node: backend.node.clone(),
        time_to_ready_seconds: backend.time_to_ready_seconds,
        resident_bytes: cost.resident_bytes,
        cpu_micros: cost.cpu_micros,
        cpu_micros_per_operation: cost.cpu_micros_per_operation,
        cpu_micros_per_operation_of: cost.cpu_micros_per_operation_of,
        restarts: manifest
            .ending
            .as_ref()
            .and_then(|ending| ending.backend_restarts.get(&backend.name).copied())
            .unwrap_or(0),
        settings: backend.settings.clone(),
        caveats,
        horizon,
    }
}

/// The pods of a backend with what each of them used.
fn pods(backend: &ResolvedBackend, own: &[&TrialRecord], manifest: &Manifest) -> Vec<PodSummary> {
    let restarts = |pod: &str| {
        let ending = manifest.ending.as_ref();
        let known = ending.and_then(|ending| ending.pod_restarts.get(pod).copied());
        known.unwrap_or(0)
    };
    let each = backend.pods.iter().map(|pod| {
        let of = || {
            let usage = own.iter().filter_map(|record| record.backend.as_ref());
            usage.filter_map(|usage| usage.pods.get(&pod.name))
        };
        PodSummary {
            name: pod.name.clone(),
            member: pod.member,
            resources: pod.resources.clone(),
            storage: pod.storage.clone(),
            node: pod.node.clone(),
            cpu_micros: of().next().map(|_| of().map(|pod| pod.cpu_micros).sum()),
            resident_bytes: of().map(|pod| pod.resident_bytes).max(),
            restarts: restarts(&pod.name),
        }
    });
    each.collect()
}

pub(super) fn environment(manifest: &Manifest) -> EnvironmentSummary {
    let environment = &manifest.plan.environment;
    let machines: BTreeSet<&str> = environment
        .nodes
        .iter()
        .map(|node| node.boot_id.as_str())
        .collect();
    EnvironmentSummary {
        nodes: i32::try_from(environment.nodes.len()).unwrap_or(i32::MAX),
        machines: i32::try_from(machines.len()).unwrap_or(i32::MAX),
        inequalities: environment.inequalities.clone(),
        kubernetes_version: environment.kubernetes_version.clone(),
        bakeoff_version: environment.bakeoff_version.clone(),
        generator_version: manifest.generator_version.clone(),
    }
}
