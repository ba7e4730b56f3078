//! What schedules and plans show of themselves.
//!
//! These are the only metrics of the operator with names of objects: schedules and plans are few and live long, and an alert
//! that does not name one is of no use (ADR 20). Experiments are many and short, and stay without.

use super::Metrics;
use bakeoff_crds::conditions::{self, ACCEPTED, REGRESSED, WAITING};
use bakeoff_crds::experiment_schedule::ExperimentSchedule;
use bakeoff_crds::{ExperimentPlan, ExperimentScheduleStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Which object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Named {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Named {
    fn of(object: &impl ResourceExt) -> Self {
        Self {
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
        }
    }
}

/// Metrics of schedules and plans, as they were at the last look.
#[derive(Default)]
pub struct Owners {
    regressed: Family<Named, Gauge>,
    stopped: Family<Named, Gauge>,
    failures: Family<Named, Gauge>,
    missed: Family<Named, Counter>,
    success: Family<Named, Gauge>,
    waiting: Family<Named, Gauge>,
}

impl Owners {
    pub(super) fn register(&self, registry: &mut Registry) {
        let gauges = [
            (
                "schedule_regressed",
                "1 while the history of a schedule is confirmed to have got worse",
                &self.regressed,
            ),
            (
                "schedule_stopped",
                "1 while a schedule begins no runs, because too many failed in a row",
                &self.stopped,
            ),
            (
                "schedule_consecutive_failures",
                "Runs of a schedule that failed since one last went to its end",
                &self.failures,
            ),
            (
                "schedule_last_success_timestamp_seconds",
                "When a run of a schedule last went to its end",
                &self.success,
            ),
            (
                "plan_waiting",
                "1 while a plan waits for a person's decision",
                &self.waiting,
            ),
        ];
        for (name, help, gauge) in gauges {
            registry.register(name, help, Family::clone(gauge));
        }
        registry.register(
            "schedule_missed",
            "Runs of a schedule that did not start in time",
            Family::clone(&self.missed),
        );
    }
}

impl Metrics {
    /// Takes over what the schedules say.
    pub fn schedules<'a>(&self, all: impl Iterator<Item = &'a ExperimentSchedule>) {
        let owners = &self.owners;
        for family in [
            &owners.regressed,
            &owners.stopped,
            &owners.failures,
            &owners.success,
        ] {
            family.clear();
        }
        owners.missed.clear();
        for schedule in all {
            let status = schedule.status.clone().unwrap_or_default();
            let ExperimentScheduleStatus { conditions, .. } = &status;
            let name = Named::of(schedule);
            let set = |family: &Family<Named, Gauge>, value: i64| {
                family.get_or_create(&name).set(value);
            };
            set(
                &owners.regressed,
                conditions::holds(conditions, REGRESSED).into(),
            );
            let failures = status.consecutive_failures;
            let stopped =
                conditions::holds(conditions, ACCEPTED) && schedule.spec.stops_after(failures);
            set(&owners.stopped, stopped.into());
            set(&owners.failures, failures.into());
            if let Some(success) = status.last_successful_time {
                set(&owners.success, success.as_second());
            }
            let missed = u64::try_from(status.counts.missed).unwrap_or(0);
            owners.missed.get_or_create(&name).inc_by(missed);
        }
    }

    /// Takes over what the plans say.
    pub fn plans<'a>(&self, all: impl Iterator<Item = &'a ExperimentPlan>) {
        self.owners.waiting.clear();
        for plan in all {
            let conditions = plan.status.iter().flat_map(|status| &status.conditions);
            let conditions: Vec<Condition> = conditions.cloned().collect();
            let waits = conditions::holds(&conditions, WAITING);
            let waiting = self.owners.waiting.get_or_create(&Named::of(plan));
            waiting.set(waits.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn schedules_and_plans_are_named_and_forgotten_with_them() {
        let metrics = Metrics::new();
        let schedule: ExperimentSchedule = serde_json::from_value(json!({
            "apiVersion": "bakeoff.dev/v1alpha1", "kind": "ExperimentSchedule", "metadata": {"name": "nightly", "namespace": "lab"},
            "spec": {"schedule": "@daily", "template": {"spec": {"backends": [], "workloads": []}}},
            "status": {
                "consecutiveFailures": 2, "lastSuccessfulTime": "1970-01-01T00:01:00Z", "counts": {"started": 9, "succeeded": 4, "failed": 2, "skipped": 0, "missed": 3},
                "conditions": [{"type": "Regressed", "status": "True", "reason": "x", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
            },
        }))
        .unwrap();
        let plan: ExperimentPlan = serde_json::from_value(json!({
            "apiVersion": "bakeoff.dev/v1alpha1", "kind": "ExperimentPlan", "metadata": {"name": "seed", "namespace": "lab"},
            "spec": {"phases": []},
            "status": {"conditions": [{"type": "Waiting", "status": "True", "reason": "x", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
        }))
        .unwrap();
        for _ in 0..2 {
            metrics.schedules(std::iter::once(&schedule));
            metrics.plans(std::iter::once(&plan));
        }
        let text = metrics.encode();
        let of = |name: &str| format!("{{namespace=\"lab\",name=\"{name}\"}}");
        for line in [
            format!("bakeoff_schedule_regressed{} 1", of("nightly")),
            format!("bakeoff_schedule_stopped{} 0", of("nightly")),
            format!("bakeoff_schedule_consecutive_failures{} 2", of("nightly")),
            format!("bakeoff_schedule_missed_total{} 3", of("nightly")),
            format!(
                "bakeoff_schedule_last_success_timestamp_seconds{} 60",
                of("nightly")
            ),
            format!("bakeoff_plan_waiting{} 1", of("seed")),
        ] {
            assert!(text.contains(&line), "no {line} in {text}");
        }
        metrics.schedules(std::iter::empty());
        metrics.plans(std::iter::empty());
        assert!(!metrics.encode().contains("lab"));
    }
}
