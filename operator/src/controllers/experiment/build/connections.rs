//! How many connections a Postgres server takes that is made for an experiment. (Tests.)

use super::profile::profile;
use super::tests::check;
use bakeoff_crds::Experiment;
use bakeoff_rules::validate::Refusal;
use serde_json::{Value, json};

/// An open load of two generators, each with 256 operations in flight.
fn experiment(settings: Value, memory: &str) -> Experiment {
    serde_json::from_value(json!({
        "apiVersion": "bakeoff.dev/v1alpha1", "kind": "Experiment",
        "metadata": {"name": "a0", "namespace": "lab", "uid": "0123abcd-0000-4000-8000-000000000000"},
        "spec": {
            "backends": [{"name": "pg", "postgres": {"version": "18.4", "settings": settings}}],
            "equipment": {"resources": {"cpu": "1", "memory": memory}},
            "generators": {"replicas": 2},
            "workloads": [{"name": "head", "headRow": {
                "load": {"open": {"ratePerSecond": [100], "maxInFlight": 256}}}}],
        },
    }))
    .unwrap()
}

/// What is on the command line of the server.
fn taken(settings: Value, memory: &str) -> Result<String, Refusal> {
    let valid = check(&experiment(settings, memory))?;
    let server = valid.backends[0].place.server().unwrap();
    let profile = profile(&server.release, &valid.remains.spec.equipment);
    let mut said = profile
        .pods
        .command
        .iter()
        .filter_map(|word| word.strip_prefix("max_connections="));
    let first = said.next().unwrap().to_owned();
    assert_eq!(said.next(), None);
    Ok(first)
}

#[test]
fn a_server_takes_the_connections_that_the_workloads_need() {
    assert_eq!(taken(json!({}), "2Gi").unwrap(), "535");
    // What the spec says holds, as long as it is enough.
    assert_eq!(
        taken(json!({"max_connections": "515"}), "2Gi").unwrap(),
        "515"
    );
    let refusal = taken(json!({"max_connections": "514"}), "2Gi").unwrap_err();
    assert_eq!(refusal.reason(), "ConnectionsTooFew");
    let said = refusal.to_string();
    assert!(
        said.contains("backend pg") && said.contains("is 514: set it to 515"),
        "{said}"
    );
}

#[test]
fn more_sessions_than_the_memory_holds_are_refused_with_what_they_take() {
    let refusal = taken(json!({}), "1Gi").unwrap_err();
    assert_eq!(refusal.reason(), "EquipmentTooSmall");
    let said = refusal.to_string();
    assert!(
        said.contains("515 connections") && said.contains("1374Mi"),
        "{said}"
    );
    assert!(taken(json!({}), "1374Mi").is_ok());
    // Of a primary and its standbys the primary alone has sessions, in its half.
    let with = |memory: &str| {
        let mut experiment = experiment(json!({}), memory);
        let backend = experiment.spec.backends[0].postgres.as_mut().unwrap();
        backend.synchronous_standbys = 1;
        check(&experiment)
    };
    let said = with("1374Mi").unwrap_err().to_string();
    assert!(said.contains("2748Mi"), "{said}");
    assert!(with("2748Mi").is_ok());
}
