//! What a backend costs to run: pods, memory, CPU time for each operation. What it does not tell is absent and never 0: its metrics
//! may say when it started and nothing else, and a record then has a 0 that no process uses.

use std::collections::BTreeMap;

use bakeoff_crds::result::{BackendUsage, TrialRecord};
use bakeoff_crds::run::ResolvedBackend;

use crate::stats;

/// What one backend costs to run, over its valid trials.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Cost {
    pub(super) pod_count: Option<i32>,
    pub(super) resident_bytes: Option<i64>,
    pub(super) cpu_micros: Option<i64>,
    pub(super) cpu_micros_per_operation: Option<f64>,
    pub(super) cpu_micros_per_operation_of: BTreeMap<String, f64>,
}

/// The costs of a backend, from its valid trials.
pub(super) fn of(backend: &ResolvedBackend, own: &[&TrialRecord]) -> Cost {
    let all: Vec<_> = own.iter().filter_map(|record| used(record)).collect();
    let mut by_workload: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for record in own {
        let trials = by_workload.entry(&record.trial.workload).or_default();
        trials.extend(used(record));
    }
    let of_each = by_workload
        .into_iter()
        .filter_map(|(name, trials)| Some((name.to_owned(), per_operation(&trials)?)));
    let resident = all.iter().map(|(usage, _)| resident(usage));
    Cost {
        pod_count: pods(backend),
        // Of one trial it is not known: then the largest is not known either.
        resident_bytes: resident
            .collect::<Option<Vec<i64>>>()
            .and_then(|all| all.into_iter().max()),
        cpu_micros: cpu(&all),
        cpu_micros_per_operation: per_operation(&all),
        cpu_micros_per_operation_of: of_each.collect(),
    }
}

fn used(record: &TrialRecord) -> Option<(&BackendUsage, i64)> {
    Some((record.backend.as_ref()?, record.load.completed))
}

/// How many pods it runs in; a backend outside of a cluster has none, and those of an external one are not known.
fn pods(backend: &ResolvedBackend) -> Option<i32> {
    let in_pods = backend.provisioned && !backend.image.is_empty();
    in_pods.then(|| i32::try_from(backend.pods.len().max(1)).unwrap_or(i32::MAX))
}

fn resident(usage: &BackendUsage) -> Option<i64> {
    let told = usage.resident_bytes > 0 && usage.pods.values().all(|pod| pod.resident_bytes > 0);
    told.then_some(usage.resident_bytes)
}

/// The sum over trials: kernels count in ticks, so a short trial may have 0 of it.
fn cpu(trials: &[(&BackendUsage, i64)]) -> Option<i64> {
    let mut pods: BTreeMap<&str, i64> = BTreeMap::new();
    for (usage, _) in trials {
        for (name, pod) in &usage.pods {
            *pods.entry(name).or_default() += pod.cpu_micros;
        }
    }
    let sum = trials.iter().map(|(usage, _)| usage.cpu_micros).sum();
    (sum > 0 && pods.values().all(|pod| *pod > 0)).then_some(sum)
}

fn per_operation(trials: &[(&BackendUsage, i64)]) -> Option<f64> {
    let completed: i64 = trials.iter().map(|(_, completed)| completed).sum();
    let cpu = cpu(trials)?;
    (completed > 0).then(|| stats::round(cpu as f64 / completed as f64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{self, PLAIN};
    use bakeoff_crds::result::PodUsage;

    fn usage(cpu: i64, memory: i64) -> BackendUsage {
        BackendUsage {
            process_start_seconds: 1.0,
            cpu_micros: cpu,
            resident_bytes: memory,
            pods: BTreeMap::new(),
        }
    }

    fn cost(change: impl Fn(&mut TrialRecord)) -> Cost {
        let spec = sample::spec(2);
        let manifest = sample::manifest(&spec);
        let mut records = sample::records(&spec, |_| PLAIN);
        records.retain(|record| record.trial.backend == "minio");
        records.iter_mut().for_each(change);
        of(
            &manifest.plan.backends[0],
            &records.iter().collect::<Vec<_>>(),
        )
    }

    #[test]
    fn an_operation_of_each_workload_has_its_own_price() {
        let found = cost(|record| {
            let each = if record.trial.workload == "put" {
                200
            } else {
                9_000
            };
            record.backend = Some(usage(each * record.load.completed, 1 << 20));
        });
        assert_eq!(found.cpu_micros_per_operation_of["put"], 200.0);
        assert_eq!(found.cpu_micros_per_operation_of["cold-read"], 9_000.0);
        assert_eq!(
            (found.pod_count, found.resident_bytes),
            (Some(1), Some(1 << 20))
        );
    }

    #[test]
    fn what_the_metrics_do_not_tell_is_absent() {
        let none = cost(|record| record.backend = None);
        assert_eq!(
            none,
            Cost {
                pod_count: Some(1),
                ..Cost::default()
            }
        );
        // It tells when it started alone.
        assert_eq!(cost(|record| record.backend = Some(usage(0, 0))), none);
        // One of its pods tells nothing: the sum of the others is not what it costs.
        let partly = cost(|record| {
            let pod = |cpu_micros, resident_bytes| PodUsage {
                cpu_micros,
                resident_bytes,
            };
            let pods = BTreeMap::from([("a".to_owned(), pod(5, 5)), ("b".to_owned(), pod(0, 0))]);
            record.backend = Some(BackendUsage {
                pods,
                ..usage(5, 5)
            });
        });
        assert_eq!(partly, none);
    }

    #[test]
    fn pods_are_counted_where_there_are_pods() {
        let spec = sample::spec(2);
        let mut backend = sample::manifest(&spec).plan.backends.remove(0);
        backend.image.clear();
        assert_eq!(pods(&backend), None, "without a cluster");
        backend.image = "image".to_owned();
        backend.provisioned = false;
        assert_eq!(pods(&backend), None, "somebody else's");
    }
}
