//! `summary.json` is what its published schema says.

// The lints allow this in unit tests; an integration test is a crate of its own to them.
#![allow(clippy::unwrap_used)]

mod common;

use bakeoff_analysis::measured::{RunData, SUMMARY_SCHEMA};
use bakeoff_analysis::summary::{json_schema, summarise};
use bakeoff_crds::conformance::{Answer, Check};
use serde_json::Value;

/// Validates the part of JSON Schema that the published one uses. A keyword that it does not know
/// is an error: a check that is skipped in silence is none.
fn validate(schema: &Value, root: &Value, value: &Value, path: &str, wrong: &mut Vec<String>) {
    let Some(keywords) = schema.as_object() else {
        if schema == &Value::Bool(false) {
            wrong.push(format!("{path}: nothing is allowed here"));
        }
        return;
    };
    let mut fail = |what: String| wrong.push(format!("{path}: {what}"));
    for (keyword, rule) in keywords {
        match keyword.as_str() {
            "$schema" | "title" | "description" | "$defs" | "default" | "format" | "$id" => {}
            "$ref" => {
                let target = rule.as_str().unwrap().strip_prefix('#').unwrap();
                validate(root.pointer(target).unwrap(), root, value, path, wrong);
                return;
            }
            "type" => {
                let is = |name: &str| match name {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "integer" => value.is_i64() || value.is_u64(),
                    "number" => value.is_number(),
                    "boolean" => value.is_boolean(),
                    "null" => value.is_null(),
                    _ => false,
                };
                let fits = match rule {
                    Value::Array(names) => names.iter().any(|name| is(name.as_str().unwrap())),
                    name => is(name.as_str().unwrap()),
                };
                if !fits {
                    fail(format!("{value} is no {rule}"));
                }
            }
            "required" => {
                for name in rule.as_array().unwrap() {
                    if value.get(name.as_str().unwrap()).is_none() {
                        fail(format!("{name} is missing"));
                    }
                }
            }
            "enum" => {
                if !rule.as_array().unwrap().contains(value) {
                    fail(format!("{value} is none of {rule}"));
                }
            }
            "const" => {
                if rule != value {
                    fail(format!("{value} is not {rule}"));
                }
            }
            "minimum" => {
                if value.as_f64() < rule.as_f64() {
                    fail(format!("{value} is below {rule}"));
                }
            }
            "properties" | "additionalProperties" | "items" | "anyOf" | "oneOf" => {}
            other => fail(format!("the validator does not know {other}")),
        }
    }
    let empty = serde_json::Map::new();
    let properties = keywords
        .get("properties")
        .and_then(Value::as_object)
        .unwrap_or(&empty);
    for (name, member) in value.as_object().unwrap_or(&empty) {
        let inner = format!("{path}/{name}");
        match (properties.get(name), keywords.get("additionalProperties")) {
            (Some(schema), _) | (None, Some(schema)) => {
                validate(schema, root, member, &inner, wrong)
            }
            // A figure that the schema does not name is one that readers cannot rely on.
            (None, None) if keywords.contains_key("properties") => {
                wrong.push(format!("{inner}: not in the schema"));
            }
            (None, None) => {}
        }
    }
    if let Some(items) = keywords.get("items") {
        for (index, item) in value.as_array().into_iter().flatten().enumerate() {
            validate(items, root, item, &format!("{path}/{index}"), wrong);
        }
    }
    for any in ["anyOf", "oneOf"] {
        let Some(choices) = keywords.get(any).and_then(Value::as_array) else {
            continue;
        };
        let fits = choices.iter().any(|choice| {
            let mut inner = Vec::new();
            validate(choice, root, value, path, &mut inner);
            inner.is_empty()
        });
        if !fits {
            wrong.push(format!("{path}: {value} fits no choice of {any}"));
        }
    }
}

fn problems(value: &Value) -> Vec<String> {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../docs/reference/summary.schema.json"
    );
    let published: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    assert!(published == json_schema(), "out of date: run make gen");
    let mut wrong = Vec::new();
    validate(&published, &published, value, "", &mut wrong);
    wrong
}

#[test]
fn the_sample_fits_its_published_schema_and_a_broken_one_does_not() {
    let (manifest, records) = common::phase1_c();
    let found = [("minio", Check::Pages, Answer::Differs)];
    let conformance = [common::conformance("minio", &found)];
    let summary = summarise(&RunData {
        conformance: &conformance,
        ..RunData::new(&manifest, &records)
    })
    .unwrap();
    let good = serde_json::to_value(&summary).unwrap();
    assert_eq!(problems(&good), Vec::<String>::new());
    assert_eq!(good["schemaVersion"], SUMMARY_SCHEMA);
    for (place, name, broken) in [
        ("", "seed", Value::String("one".into())),
        ("/decision", "outcome", Value::String("Perhaps".into())),
        ("/workloads/0/cells/0", "backends", Value::Null),
        ("/trials", "unheardOf", Value::Bool(true)),
        (
            "/conformance/0/checks/0",
            "answer",
            Value::String("Maybe".into()),
        ),
    ] {
        let mut wrong = good.clone();
        wrong.pointer_mut(place).unwrap()[name] = broken;
        assert_eq!(
            problems(&wrong).len(),
            1,
            "{place}/{name}: {:?}",
            problems(&wrong)
        );
    }
}
