//! The chart agrees with the code and with itself.

use serde_json::Value;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A file of the repository; empty, and so unequal to anything, when it is not there.
fn read(path: impl AsRef<Path>) -> String {
    let text = std::fs::read_to_string(root().join(&path));
    assert!(text.is_ok(), "{}: {text:?}", path.as_ref().display());
    text.unwrap_or_default()
}

#[test]
fn the_chart_carries_the_generated_definitions() {
    for crd in bakeoff_crds::all_crds() {
        let file = format!("{}.yaml", crd.metadata.name.unwrap());
        let same = read(Path::new("crds").join(&file))
            == read(Path::new("charts/bakeoff/files/crds").join(&file));
        assert!(
            same,
            "charts/bakeoff/files/crds/{file} is out of date: run `make gen`"
        );
    }
}

#[test]
fn the_chart_has_the_version_of_the_workspace() {
    let chart: Value = serde_saphyr::from_str(&read("charts/bakeoff/Chart.yaml")).unwrap();
    assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
}

/// The members of a backend's union that name a version: what is provisioned.
fn provisioned() -> Vec<String> {
    let crds = serde_json::to_value(bakeoff_crds::all_crds()).unwrap_or_default();
    let mut found = Vec::new();
    for crd in crds.as_array().into_iter().flatten() {
        let backend = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/backends/items/properties";
        let members = crd.pointer(backend).and_then(Value::as_object);
        let members = members.into_iter().flatten();
        // One that describes its container names an image, and is allowed by another value.
        let named = members.filter(|(_, member)| {
            let has = |field: &str| member.pointer(&format!("/properties/{field}")).is_some();
            has("version") && !has("image")
        });
        found.extend(named.map(|(name, _)| name.clone()));
    }
    found
}

#[test]
fn the_catalogue_and_its_policy_know_every_provisioned_backend() {
    let backends = provisioned();
    assert!(backends.len() >= 3, "{backends:?}");
    let values: Value = serde_saphyr::from_str(&read("charts/bakeoff/values.yaml")).unwrap();
    let policy = read("charts/bakeoff/templates/admission-policy.yaml");
    for name in backends {
        let images = values["catalogue"][&name].as_object();
        assert!(images.is_some_and(|i| !i.is_empty()), "values.yaml: {name}");
        let asked =
            format!("has(b.{name}) && b.{name} != null).map(b, '{name} ' + b.{name}.version)");
        assert!(policy.contains(&asked), "admission-policy.yaml: {name}");
    }
}

/// The paths of all values, and whether the schema says the same of each.
fn compare(
    values: &Value,
    schema: &Value,
    definitions: &Value,
    path: &str,
    problems: &mut Vec<String>,
) {
    let schema = schema
        .get("$ref")
        .and_then(Value::as_str)
        .map_or(schema, |reference| {
            definitions
                .get(reference.rsplit('/').next().unwrap_or_default())
                .unwrap_or(&Value::Null)
        });
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return;
    };
    if schema.get("additionalProperties") != Some(&Value::Bool(false)) {
        problems.push(format!("{path}: the schema admits unknown values"));
    }
    let empty = serde_json::Map::new();
    let values = values.as_object().unwrap_or(&empty);
    for key in values.keys().filter(|key| !properties.contains_key(*key)) {
        problems.push(format!("{path}.{key}: not in the schema"));
    }
    for (key, property) in properties {
        match values.get(key) {
            Some(value) => compare(
                value,
                property,
                definitions,
                &format!("{path}.{key}"),
                problems,
            ),
            None if key == "global" => {}
            None => problems.push(format!("{path}.{key}: not in values.yaml")),
        }
    }
}

#[test]
fn the_schema_lists_exactly_the_values() {
    let values: Value = serde_saphyr::from_str(&read("charts/bakeoff/values.yaml")).unwrap();
    let schema: Value = serde_json::from_str(&read("charts/bakeoff/values.schema.json")).unwrap();
    let mut problems = Vec::new();
    compare(&values, &schema, &schema["definitions"], "", &mut problems);
    assert_eq!(problems, Vec::<String>::new());
}

#[test]
fn every_value_has_a_comment() {
    let text = read("charts/bakeoff/values.yaml");
    let lines: Vec<&str> = text.lines().collect();
    for (number, line) in lines.iter().enumerate() {
        let is_key = line.trim_end().split_once(':').is_some_and(|(key, _)| {
            key.trim_start().chars().all(|c| c.is_ascii_alphanumeric()) && !key.trim().is_empty()
        });
        let opens_group = line.trim_end().ends_with(':');
        // Images of the catalogue and single requests need none.
        let inside = line.starts_with("    ") && !line.starts_with("    #") && {
            let parent = lines[..number].iter().rev().find(|l| {
                l.starts_with("  ") && !l.starts_with("    ") && l.trim_end().ends_with(':')
            });
            parent.is_some_and(|p| ["minio:", "seaweedfs:", "resources:"].contains(&p.trim()))
        };
        let resources =
            line.trim_start().starts_with("requests") || line.trim_start().starts_with("limits");
        if is_key && !opens_group && !inside && !resources {
            assert!(
                lines[number - 1].trim_start().starts_with('#'),
                "values.yaml:{}: {line}",
                number + 1
            );
        }
    }
}

#[test]
fn the_local_values_are_values() {
    let schema: Value = serde_json::from_str(&read("charts/bakeoff/values.schema.json")).unwrap();
    let local: Value = serde_saphyr::from_str(&read("charts/bakeoff/values-local.yaml")).unwrap();
    for key in local.as_object().unwrap().keys() {
        assert!(
            schema["properties"].get(key).is_some(),
            "values-local.yaml: {key}"
        );
    }
}

/// Metric names in a text: words that begin with `bakeoff_`, without what Prometheus appends.
fn metric_names(text: &str) -> std::collections::BTreeSet<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(|c| !word(c))
        .filter_map(|name| name.strip_prefix("bakeoff_"))
        .map(|name| {
            ["_total", "_bucket", "_info"]
                .iter()
                .find_map(|suffix| name.strip_suffix(suffix))
                .unwrap_or(name)
                .to_owned()
        })
        .collect()
}

/// A dashboard or an alert on a metric that nobody serves shows nothing and never fires.
#[test]
fn dashboard_and_rules_use_only_metrics_that_exist() {
    let operator = read("operator/src/metrics/mod.rs") + &read("operator/src/metrics/owners.rs");
    let generator = read("loadgen/src/run/control/mod.rs");
    let exists = |name: &str| {
        let plain = name.strip_suffix("_seconds").unwrap_or(name);
        operator.contains(&format!("\"{plain}\""))
            || generator.contains(&format!("\"bakeoff_{name}\""))
    };
    assert!(!exists("nonsense"), "the check finds what does not exist");
    for file in [
        "charts/bakeoff/files/dashboards/bakeoff.json",
        "charts/bakeoff/templates/monitoring.yaml",
    ] {
        let names = metric_names(&read(file));
        assert!(names.len() >= 5, "{file}: {names:?}");
        for name in names {
            assert!(exists(&name), "{file}: bakeoff_{name}");
        }
    }
    let dashboard: Value =
        serde_json::from_str(&read("charts/bakeoff/files/dashboards/bakeoff.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: std::collections::BTreeSet<_> = panels.iter().map(|p| p["id"].as_i64()).collect();
    assert_eq!(ids.len(), panels.len(), "panels share an id");
}
