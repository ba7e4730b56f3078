//! Every example is a manifest that the API knows to the last field, and that the operator would start.

use bakeoff_crds::spec::{ExperimentSpec, Origin, Product, Series, WorkloadKind};
use bakeoff_crds::{Experiment, ExperimentPlan, ExperimentSchedule, schedule};
use std::collections::BTreeSet;
use std::path::PathBuf;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

/// The document of a file that is of our own kinds: a ConfigMap with a trace may stand before it.
fn own_document(text: &str) -> String {
    let mut documents: Vec<&str> = text.split("\n---\n").collect();
    let last = documents.pop().unwrap_or_default();
    for other in &documents {
        assert!(other.contains("\nkind: ConfigMap\n"), "{other}");
    }
    // What is said of the example stands at its beginning.
    let said = text.lines().take_while(|line| line.starts_with('#'));
    let said: Vec<&str> = said.collect();
    if documents.is_empty() {
        last.to_owned()
    } else {
        format!("{}\n{last}", said.join("\n"))
    }
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
            let text = std::fs::read_to_string(entry.path()).ok()?;
            Some((name, own_document(&text)))
        })
        .collect();
    found.sort();
    found
}

/// The experiments that all examples make, each with the name of its file.
fn all_specs() -> anyhow::Result<Vec<(String, ExperimentSpec)>> {
    let mut all = Vec::new();
    for (name, text) in examples() {
        let specs = specs(&text)?.into_iter();
        all.extend(specs.map(|spec| (name.clone(), spec)));
    }
    Ok(all)
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

/// The experiments that an example makes.
fn specs(text: &str) -> anyhow::Result<Vec<ExperimentSpec>> {
    let value: serde_json::Value = serde_saphyr::from_str(text)?;
    Ok(match value["kind"].as_str() {
        Some("ExperimentSchedule") => {
            let schedule: ExperimentSchedule = serde_saphyr::from_str(text)?;
            let mut spec = schedule.spec.template.spec;
            spec.series = Some(Series {
                name: "x".to_owned(),
                confirms: None,
                looks_per_year: 365,
                regression: schedule.spec.regression,
            });
            vec![spec]
        }
        Some("ExperimentPlan") => {
            let plan: ExperimentPlan = serde_saphyr::from_str(text)?;
            let steps = plan
                .spec
                .phases
                .into_iter()
                .flat_map(|phase| phase.experiments);
            let templates = steps.filter_map(|step| step.template);
            templates.map(|template| template.spec).collect()
        }
        _ => {
            let experiment: Experiment = serde_saphyr::from_str(text)?;
            vec![experiment.spec]
        }
    })
}

/// What the typed API makes of an example.
fn typed(text: &str) -> anyhow::Result<serde_json::Value> {
    let value: serde_json::Value = serde_saphyr::from_str(text)?;
    Ok(match value["kind"].as_str() {
        Some("ExperimentSchedule") => {
            let schedule: ExperimentSchedule = serde_saphyr::from_str(text)?;
            serde_json::to_value(&schedule)
        }
        Some("ExperimentPlan") => {
            let plan: ExperimentPlan = serde_saphyr::from_str(text)?;
            serde_json::to_value(&plan)
        }
        _ => {
            let experiment: Experiment = serde_saphyr::from_str(text)?;
            serde_json::to_value(&experiment)
        }
    }?)
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
        let kept = typed(&text).unwrap();
        assert_eq!(
            lost(&given["spec"], &kept["spec"], "spec"),
            Vec::<String>::new(),
            "{name} has unknown fields"
        );
        assert_eq!(given["apiVersion"], kept["apiVersion"]);
        assert_eq!(
            kept["metadata"]["name"].as_str(),
            Some(name.as_str()),
            "the name is the file's"
        );
    }
}

#[test]
fn every_example_can_start() {
    for (name, spec) in all_specs().unwrap() {
        assert!(spec.backends.iter().all(|b| b.member().is_some()), "{name}");
        assert!(
            spec.workloads.iter().all(|w| w.member().is_some()),
            "{name}"
        );
        for objective in &spec.objectives {
            let compiled = bakeoff_analysis::objective::compile(&objective.expression, &spec);
            assert!(compiled.is_ok(), "{name}, {}: {compiled:?}", objective.name);
        }
        let series = spec.series.as_ref();
        let regression = series.and_then(|series| series.regression.as_ref());
        for metric in regression.into_iter().flat_map(|one| &one.metrics) {
            let figure = bakeoff_analysis::objective::check_figure(&metric.expression, &spec);
            assert!(figure.is_ok(), "{name}, {}: {figure:?}", metric.name);
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
    for (name, spec) in all_specs().unwrap() {
        if let Some(lock) = spec.redis_lock() {
            let kind = Product::Redis.as_str();
            for values in &files {
                let image = &values["catalogue"][kind][&*lock.version];
                assert!(image.is_string(), "{name}: {}", lock.version);
            }
        }
        for backend in &spec.backends {
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
        let specs = specs(&text).unwrap();
        let workloads = specs.iter().flat_map(|spec| &spec.workloads);
        kinds.extend(workloads.filter_map(|w| w.kind()));
        let total: usize = specs.iter().map(schedule::total).sum();
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
