//! A history of runs in one catalogue: each report holds its run against those before it.
#![allow(clippy::unwrap_used)]

#[path = "../../analysis/tests/common/mod.rs"]
mod sample;

use bakeoff_crds::history::{RegressionState, RegressionStatus, RunRecord};
use bakeoff_crds::spec::ExperimentSpec;
use bakeoff_loadgen::history;
use bakeoff_loadgen::report::report;
use bakeoff_loadgen::store::Store;
use jiff::SignedDuration;
use serde_json::json;
use std::path::Path;

/// The spec of a run of the series; with so many false alarms a year five runs are a baseline.
fn spec(confirms: Option<&str>) -> ExperimentSpec {
    let mut spec = sample::spec(3);
    let series = json!({"name": "nightly", "confirms": confirms, "regression": {
        "metrics": [{"name": "p50", "expression": "put.p50", "better": "Lower", "minChangePercent": 5}],
        "confirmRuns": 1, "falseAlarmsPerYear": 52,
    }});
    spec.series = serde_json::from_value(series).unwrap();
    spec
}

/// Measures and reports the run of this number; what it says of the history.
async fn run(
    root: &Path,
    number: i64,
    spec: &ExperimentSpec,
    behaviour: sample::Behaviour,
) -> RegressionStatus {
    let store = Store::Folder(root.join(format!("run-{number}")));
    let mut manifest = sample::manifest(spec);
    manifest.plan.experiment.name = format!("run-{number}");
    manifest.plan.experiment.uid = format!("uid-{number}").into();
    manifest.started_at += SignedDuration::from_hours(24 * number);
    let bytes = serde_json::to_vec(&manifest).unwrap();
    store.put("manifest.json", bytes).await.unwrap();
    for record in sample::records(spec, |_| behaviour) {
        let name = format!("trials/{}/{}/trial.json", record.trial.id, record.attempt);
        store
            .put(&name, serde_json::to_vec(&record).unwrap())
            .await
            .unwrap();
    }
    let catalogue = Store::Folder(root.join("catalogue"));
    let reported = report(&store, None, false, Some(&catalogue)).await.unwrap();
    let record = newest(root).await;
    assert_eq!(record.experiment.uid, manifest.plan.experiment.uid);
    assert_eq!(record.verdict, reported.handover.regression);
    // The same data, the same record.
    report(&store, None, false, Some(&catalogue)).await.unwrap();
    assert_eq!(newest(root).await, record);
    let page = store.get("report.html").await.unwrap().unwrap();
    assert!(
        String::from_utf8(page)
            .unwrap()
            .contains("Against earlier runs")
    );
    let trend = store.get("trend.html").await.unwrap().unwrap();
    assert!(
        String::from_utf8(trend)
            .unwrap()
            .contains("The course of each figure")
    );
    // Whoever makes the report again without the history makes the same.
    let files = [
        "report.html",
        "report.md",
        "index.json",
        "trend.html",
        "regression.json",
    ];
    let mut before = Vec::new();
    for name in files {
        before.push(store.get(name).await.unwrap().unwrap());
    }
    let alone = report(&store, None, false, None).await.unwrap();
    assert_eq!(record.verdict, alone.handover.regression);
    for (name, before) in files.iter().zip(before) {
        let after = store.get(name).await.unwrap().unwrap();
        assert!(before == after, "{name} differs without the history");
    }
    record.verdict.unwrap()
}

async fn newest(root: &Path) -> RunRecord {
    let catalogue = Store::Folder(root.join("catalogue"));
    history::read(&catalogue).await.unwrap().pop().unwrap()
}

#[tokio::test]
async fn a_run_that_is_worse_is_suspected_confirmed_and_told_with_what_differs() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for number in 0..5 {
        let verdict = run(root, number, &spec(None), sample::QUICK).await;
        assert_eq!(verdict.state, RegressionState::Baselining);
        assert_eq!(verdict.message, format!("{number} of 5 comparable runs"));
    }
    // One of another series and one that cannot be read are none of its.
    std::fs::write(root.join("catalogue/2020.json"), "{").unwrap();
    let verdict = run(root, 5, &spec(None), sample::QUICK).await;
    assert_eq!(verdict.state, RegressionState::NoRegression);
    let verdict = run(root, 6, &spec(None), sample::PLAIN).await;
    assert_eq!(
        verdict.state,
        RegressionState::Suspect,
        "{}",
        verdict.message
    );
    let verdict = run(root, 7, &spec(Some("run-6")), sample::PLAIN).await;
    assert_eq!(
        verdict.state,
        RegressionState::Regressed,
        "{}",
        verdict.message
    );
    assert_eq!(verdict.first_run.as_deref(), Some("run-6"));
    assert!(verdict.after > verdict.before, "{verdict:?}");
    // It stands until the newest two runs are as before.
    let verdict = run(root, 8, &spec(None), sample::QUICK).await;
    assert_eq!(verdict.state, RegressionState::Regressed);
    let verdict = run(root, 9, &spec(None), sample::QUICK).await;
    assert_eq!(
        verdict.state,
        RegressionState::Recovered,
        "{}",
        verdict.message
    );
    let verdict = run(root, 10, &spec(None), sample::QUICK).await;
    assert_eq!(
        verdict.state,
        RegressionState::NoRegression,
        "{}",
        verdict.message
    );
    assert_eq!(
        verdict.baseline_runs, 7,
        "the time in which it was worse is left out"
    );
}
