//! Every example is a manifest that the API knows to the last field, and that the operator would start.

use bakeoff_crds::spec::{ExperimentSpec, Origin, Product, WorkloadKind};
use bakeoff_crds::{Experiment, schedule};
use std::collections::BTreeSet;
use std::path::PathBuf;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

fn examples() -> Vec<(String, String)> {
    let entries = std::fs::read_dir(folder()).into_iter().flatten().flatten();
    let mut found: Vec<(String, String)> = entries
        .filter(|entry| {
            entry
                .path()
                .extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .filter_map(|entry| {
            let name = entry.path().file_stem()?.to_str()?.to_owned();
            Some((name, std::fs::read_to_string(entry.path()).ok()?))
        })
        .collect();
    found.sort();
    found
}

/// Every value that the file gives must come back from the typed spec: a misspelt field would not.
fn lost(given: &serde_json::Value, kept: &serde_json::Value, path: &str) -> Vec<String> {
    use serde_json::Value::{Array, Object};
    match (given, kept) {
        (Object(given), Object(kept)) => given
            .iter()
            .flat_map(|(key, value)| match kept.get(key) {
                Some(other) => lost(value, other, &format!("{path}.{key}")),
                None => vec![format!("{path}.{key}")],
            })
            .collect(),
        (Array(given), Array(kept)) if given.len() == kept.len() => given
            .iter()
            .zip(kept)
            .enumerate()
            .flat_map(|(index, (a, b))| lost(a, b, &format!("{path}[{index}]")))
            .collect(),
        (a, b) if a == b => vec![],
        _ => vec![path.to_owned()],
    }
}

#[test]
fn every_example_is_known_to_the_last_field() {
    let examples = examples();
    assert!(
        examples.len() >= 8,
        "the examples are not found in {}",
        folder().display()
    );
    for (name, text) in examples {
        let given: serde_json::Value =
            serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
        let typed: Experiment =
            serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
        let kept = serde_json::to_value(&typed).unwrap();
        assert_eq!(
            lost(&given["spec"], &kept["spec"], "spec"),
            Vec::<String>::new(),
            "{name} has unknown fields"
        );
        assert_eq!(given["apiVersion"], kept["apiVersion"]);
        assert_eq!(
            typed.metadata.name.as_deref(),
            Some(name.as_str()),
            "the name is the file's"
        );
    }
}

#[test]
fn every_example_can_start() {
    for (name, text) in examples() {
        let experiment: Experiment = serde_saphyr::from_str(&text).unwrap();
        let spec: &ExperimentSpec = &experiment.spec;
        assert!(spec.backends.iter().all(|b| b.member().is_some()), "{name}");
        assert!(
            spec.workloads.iter().all(|w| w.member().is_some()),
            "{name}"
        );
        for objective in &spec.objectives {
            let compiled = bakeoff_analysis::objective::compile(&objective.expression, spec);
            assert!(compiled.is_ok(), "{name}, {}: {compiled:?}", objective.name);
        }
    }
}

#[test]
fn every_example_uses_versions_of_the_catalogue() {
    let catalogue = |file: &str| -> serde_json::Value {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("../charts/bakeoff")
            .join(file);
        serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    };
    let files = [catalogue("values.yaml"), catalogue("values-local.yaml")];
    for (name, text) in examples() {
        let experiment: Experiment = serde_saphyr::from_str(&text).unwrap();
        if let Some(lock) = experiment.spec.redis_lock() {
            let kind = Product::Redis.as_str();
            for values in &files {
                let image = &values["catalogue"][kind][&*lock.version];
                assert!(image.is_string(), "{name}: {}", lock.version);
            }
        }
        for backend in &experiment.spec.backends {
            let Some(Origin::Provisioned(release)) = backend.origin() else {
                continue;
            };
            if let Some(declared) = &release.declared {
                let allowed = files[1]["experiments"]["serverImages"].to_string();
                assert!(allowed.contains(&declared.image), "{name}: {allowed}");
                continue;
            }
            for values in &files {
                assert!(
                    values["catalogue"][release.product.as_str()][&*release.version].is_string(),
                    "{name}: {}",
                    release.version
                );
            }
        }
    }
}

#[test]
fn every_workload_has_an_example_and_the_trials_are_as_the_readme_says() {
    let readme = std::fs::read_to_string(folder().join("README.md")).unwrap();
    let mut kinds = BTreeSet::new();
    for (name, text) in examples() {
        let experiment: Experiment = serde_saphyr::from_str(&text).unwrap();
        kinds.extend(experiment.spec.workloads.iter().filter_map(|w| w.kind()));
        let total = schedule::total(&experiment.spec);
        let row = readme
            .lines()
            .find(|line| line.contains(&format!("({name}.yaml)")))
            .unwrap_or_default();
        assert!(
            row.contains(&format!("| {total} |")),
            "examples/README.md: {name} has {total} trials"
        );
        assert!(
            text.contains(&format!("{total} trials")),
            "{name}.yaml says another number than {total} trials"
        );
    }
    let all = WorkloadKind::ALL.iter().copied();
    assert_eq!(kinds, all.collect());
}

#[test]
fn the_first_example_ends_within_its_twenty_minutes() {
    let text = std::fs::read_to_string(folder().join("phase1-c.yaml")).unwrap();
    let experiment: Experiment = serde_saphyr::from_str(&text).unwrap();
    assert!(schedule::expected_seconds(&experiment.spec) <= 16 * 60);
}
