//! The rules hold what the schedule holds, and their lists are complete.

use super::*;
use crate::schedule;
use cel::extractors::This;
use cel::{Context, ExecutionError, Program, Value};
use proptest::prelude::*;
use proptest::sample::subsequence;
use proptest::strategy::ValueTree as _;
use serde_json::json;
use std::sync::Arc;

/// The sum of a list, which Kubernetes adds to CEL.
fn sum(This(list): This<Arc<Vec<Value>>>) -> Result<Value, ExecutionError> {
    let number = |value: &Value| match value {
        Value::Int(number) => *number,
        other => panic!("{other:?} in a sum"),
    };
    Ok(Value::Int(list.iter().map(number).sum()))
}

/// A value of a spec as the API server sees it: every number is signed.
fn value(json: serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match json {
        Json::Null => Value::Null,
        Json::Bool(flag) => Value::Bool(flag),
        Json::Number(number) => Value::Int(number.as_i64().unwrap()),
        Json::String(text) => text.into(),
        Json::Array(items) => items.into_iter().map(value).collect::<Vec<_>>().into(),
        Json::Object(fields) => {
            let fields = fields.into_iter().map(|(name, field)| (name, value(field)));
            fields.collect::<std::collections::HashMap<_, _>>().into()
        }
    }
}

/// What a rule says of a spec.
fn evaluate(expression: &str, spec: &ExperimentSpec) -> Value {
    let mut context = Context::default();
    context.add_function("sum", sum).unwrap();
    context.add_variable_from_value("self", value(serde_json::to_value(spec).unwrap()));
    Program::compile(expression)
        .unwrap()
        .execute(&context)
        .unwrap()
}

fn levels() -> impl Strategy<Value = Vec<i64>> {
    prop::collection::btree_set(1_i64..100, 1..5).prop_map(|set| set.into_iter().collect())
}

fn load() -> impl Strategy<Value = serde_json::Value> {
    prop_oneof![
        levels().prop_map(|levels| json!({"closed": {"concurrency": levels}})),
        levels().prop_map(|levels| json!({"open": {"ratePerSecond": levels}})),
        levels().prop_map(|levels| json!({"capacity": {"percentOfWeakest": levels}})),
    ]
}

/// A workload of any kind: its member and its parameters.
fn workload() -> impl Strategy<Value = (&'static str, serde_json::Value)> {
    let sizes = subsequence(vec!["1", "1Ki", "4Ki", "64Ki"], 1..4);
    let lost = sizes.clone();
    let read = subsequence(vec!["ListPrefix", "StartAfter", "TokenPaging"], 1..4);
    let race = subsequence(
        vec!["Guarded", "Unguarded", "SelectThenUpdate", "LockOnly"],
        1..5,
    );
    let methods = subsequence(vec!["DropPartition", "BulkDelete"], 1..3);
    let held = subsequence(vec!["None", "WholeSegment"], 1..3);
    let profiles = subsequence(vec![json!({"name": "a"}), json!({"name": "b"})], 1..3);
    prop_oneof![
        (lost, load()).prop_map(|(sizes, load)| (
            "serverLoss",
            json!({"objectSize": sizes, "load": load})
        )),
        (sizes, load()).prop_map(|(sizes, load)| (
            "smallObjectPut",
            json!({"objectSize": sizes, "load": load})
        )),
        (levels(), read).prop_map(|(runs, modes)| (
            "coldRead",
            json!({"objectsPerRun": runs, "modes": modes})
        )),
        Just(("consistency", json!({}))),
        (levels(), levels()).prop_map(|(snapshots, arrivals)| (
            "batching",
            json!({"snapshotsPerObject": snapshots, "arrivalsPerSecond": arrivals})
        )),
        (levels(), levels(), load()).prop_map(|(runs, fill, load)| (
            "headRow",
            json!({"activeRuns": runs, "fillfactor": fill, "load": load})
        )),
        (levels(), levels(), levels()).prop_map(|(runs, fill, months)| (
            "headRow",
            json!({"activeRuns": runs, "fillfactor": fill, "runsPerMonth": months})
        )),
        race.prop_map(|modes| ("casRace", json!({"modes": modes}))),
        (levels(), methods, load()).prop_map(|(runs, methods, load)| (
            "retention",
            json!({"activeRuns": runs, "methods": methods, "load": load})
        )),
        (levels(), levels()).prop_map(|(speeds, fill)| (
            "replay",
            json!({"trace": {"path": "a"}, "speedPercent": speeds, "fillfactor": fill})
        )),
        (levels(), levels()).prop_map(|(runs, rates)| (
            "replay",
            json!({"trace": {"path": "a"}, "activeRuns": runs, "ratePerSecond": rates})
        )),
        (levels(), profiles, held).prop_map(|(fill, profiles, held)| (
            "soak",
            json!({"fillfactor": fill, "autovacuum": profiles, "snapshots": held, "ratePerSecond": 1})
        )),
        levels().prop_map(|runs| ("sustain", json!({"activeRuns": runs}))),
    ]
}

fn specification(
    workloads: &[(&str, serde_json::Value)],
    backends: usize,
    blocks: i32,
) -> ExperimentSpec {
    let named = |(n, (kind, spec)): (usize, &(&str, serde_json::Value))| json!({"name": format!("w{n}"), *kind: spec});
    let workloads: Vec<_> = workloads.iter().enumerate().map(named).collect();
    let backends: Vec<_> = (0..backends)
        .map(|n| json!({"name": format!("b{n}"), "minio": {"version": "1"}}))
        .collect();
    serde_json::from_value(json!({
        "workloads": workloads, "backends": backends, "trials": {"blocks": blocks},
    }))
    .unwrap()
}

proptest! {
    #[test]
    fn admission_and_the_schedule_count_alike(
        workloads in prop::collection::vec(workload(), 1..6), backends in 1_usize..5, blocks in 1_i32..20,
    ) {
        let spec = specification(&workloads, backends, blocks);
        let counted = evaluate(&trials(), &spec);
        prop_assert_eq!(counted, Value::Int(schedule::total(&spec) as i64));
    }

    #[test]
    fn what_fits_is_all_of_one_ground(workloads in prop::collection::vec(workload(), 1..4)) {
        let spec = specification(&workloads, 1, 1);
        let on_s3 = spec.workloads.iter().all(|w| w.kind().unwrap().traits().ground == Ground::S3);
        let fits = workloads_fit_backends().rule;
        prop_assert_eq!(evaluate(&fits, &spec), Value::Bool(on_s3));
    }
}

/// A kind that the strategy above does not know would never be counted.
#[test]
fn every_kind_is_counted() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let seen: std::collections::BTreeSet<&str> = (0..500)
        .map(|_| workload().new_tree(&mut runner).unwrap().current().0)
        .collect();
    let known: std::collections::BTreeSet<&str> = workloads().map(|kind| kind.name).collect();
    assert_eq!(seen, known);
}

#[test]
fn the_names_in_the_tables_are_those_of_the_fields() {
    for kind in WorkloadKind::ALL {
        assert_eq!(json!(kind), kind.traits().name);
    }
    let schema = super::super::Backend::json_schema(&mut schemars::SchemaGenerator::default());
    for backend in backends() {
        let pointer = format!("/properties/{}", backend.name);
        assert!(schema.pointer(&pointer).is_some(), "{}", backend.name);
    }
}

#[test]
fn all_but_the_mutable_fields_are_frozen() {
    let fields = fields();
    for name in MUTABLE {
        assert!(fields.iter().any(|(field, _)| field == name), "{name}");
    }
    let rule = started_is_frozen().rule;
    for (field, _) in &fields {
        let frozen = rule.contains(&format!("self.spec.{field} == oldSelf.spec.{field}"));
        assert_eq!(frozen, !MUTABLE.contains(&field.as_str()), "{field}");
    }
    let optional: Vec<&str> = fields
        .iter()
        .filter(|(_, optional)| *optional)
        .map(|(name, _)| name.as_str())
        .collect();
    let expected = [
        "activeDeadlineSeconds",
        "decision",
        "environment",
        "objectives",
        "series",
        "ttlSecondsAfterFinished",
    ];
    assert_eq!(optional, expected);
}
