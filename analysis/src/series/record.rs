//! The record of a run that later runs are held against. (Pure.)

use std::collections::{BTreeMap, BTreeSet};

use bakeoff_crds::conditions::shorten;
use bakeoff_crds::history::{MOST_FACT, MOST_FACTS, RUN_RECORD_SCHEMA, RunRecord};
use bakeoff_crds::run::{Manifest, RunPlan};
use bakeoff_crds::spec::ExperimentSpec;
use serde_json::json;

use crate::index::sha256;
use crate::objective;
use crate::summary::Summary;

/// How many digits of the design's hash are kept.
const DIGITS: usize = 16;

/// The record of a run, before anything is concluded from it.
#[must_use]
pub fn record(manifest: &Manifest, summary: &Summary) -> RunRecord {
    let plan = &manifest.plan;
    let series = plan.spec.series.as_ref();
    let regression = series.and_then(|series| series.regression.as_ref());
    let metrics = regression
        .into_iter()
        .flat_map(|regression| &regression.metrics);
    let values = metrics.filter_map(|metric| {
        let value = objective::figure(&metric.expression, &plan.spec, &summary.measured)?;
        Some((metric.expression.clone(), value))
    });
    RunRecord {
        schema_version: RUN_RECORD_SCHEMA.to_owned(),
        experiment: plan.experiment.clone(),
        series: series.map(|series| series.name.clone()),
        confirms: series.and_then(|series| series.confirms.clone()),
        started_at: manifest.started_at,
        end: manifest.ending.as_ref().map(|ending| ending.reason.clone()),
        class: plan.spec.result_class,
        decision: summary.decision.as_ref().map(|decision| decision.outcome),
        objectives_met: (!summary.objectives.is_empty())
            .then(|| summary.objectives.iter().all(|objective| objective.met)),
        design: design(&plan.spec),
        facts: facts(manifest),
        machine: machine(plan),
        regression: regression.cloned(),
        values: values.collect(),
        verdict: None,
        results: plan.results.prefix.clone(),
    }
}

/// A hash of what was asked of the backends, of which program each is and of the equipment. Versions and settings are left
/// out: they are what may be blamed for a change. So are the seed and what does not touch the measurement.
#[must_use]
pub fn design(spec: &ExperimentSpec) -> String {
    let backends = spec.backends.iter().map(|backend| {
        json!({"name": backend.name, "kind": backend.kind(), "equipment": backend.equipment})
    });
    let asked = json!({
        "backends": backends.collect::<Vec<_>>(),
        "workloads": spec.workloads,
        "trials": spec.trials,
        "equipment": spec.equipment,
        "generators": {"replicas": spec.generators.replicas, "resources": spec.generators.resources},
        "validity": spec.validity,
        "class": spec.result_class,
        "environment": spec.environment,
    });
    let mut hash = sha256(asked.to_string().as_bytes());
    hash.truncate(DIGITS);
    hash
}

/// What may be blamed for a change, by name.
fn facts(manifest: &Manifest) -> BTreeMap<String, String> {
    let plan = &manifest.plan;
    let mut facts: Vec<(String, String)> = Vec::new();
    for backend in &plan.backends {
        let name = &backend.name;
        let digest = backend
            .image_id
            .rsplit_once('@')
            .map_or(backend.image_id.as_str(), |(_, digest)| digest);
        facts.push((format!("version of {name}"), backend.version.clone()));
        facts.push((format!("image of {name}"), digest.to_owned()));
        let settings = backend.settings.iter();
        facts.extend(
            settings.map(|(setting, value)| (format!("{setting} of {name}"), value.clone())),
        );
    }
    let environment = &plan.environment;
    let of_nodes = |fact: fn(&bakeoff_crds::run::NodeFacts) -> String| {
        let all: BTreeSet<String> = environment.nodes.iter().map(fact).collect();
        all.into_iter().collect::<Vec<_>>().join(", ")
    };
    facts.extend([
        ("the nodes".to_owned(), of_nodes(|node| node.name.clone())),
        (
            "the kernel".to_owned(),
            of_nodes(|node| node.kernel_version.clone()),
        ),
        (
            "the container runtime".to_owned(),
            of_nodes(|node| node.container_runtime.clone()),
        ),
        (
            "Kubernetes".to_owned(),
            environment.kubernetes_version.clone(),
        ),
        (
            "the generator".to_owned(),
            manifest.generator_version.clone(),
        ),
    ]);
    facts.retain(|(_, value)| !value.is_empty());
    let kept = facts.into_iter().take(MOST_FACTS);
    kept.map(|(name, value)| (shorten(&name, MOST_FACT), shorten(&value, MOST_FACT)))
        .collect()
}

/// How fast the machines are: the slowest of them, as the calibration found it.
fn machine(plan: &RunPlan) -> BTreeMap<String, f64> {
    let found: Vec<_> = plan
        .environment
        .nodes
        .iter()
        .filter_map(|node| node.calibration.as_ref())
        .collect();
    let slowest = |values: Vec<f64>, pick: fn(f64, f64) -> f64| values.into_iter().reduce(pick);
    let hashing = found.iter().map(|one| one.sha256_mib_per_second).collect();
    let syncing = found
        .iter()
        .map(|one| one.fsync_p50_micros as f64)
        .collect();
    [
        ("SHA-256 in MiB/s", slowest(hashing, f64::min)),
        ("fsync p50 in µs", slowest(syncing, f64::max)),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name.to_owned(), value?)))
    .collect()
}
