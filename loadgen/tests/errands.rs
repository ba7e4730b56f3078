//! Messages to a receiver that is there, refuses, or is in trouble; and the report of a plan from real summaries.
#![allow(clippy::unwrap_used)]

#[path = "../../analysis/tests/common/mod.rs"]
mod sample;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use bakeoff_analysis::measured::RunData;
use bakeoff_analysis::summary::summarise;
use bakeoff_crds::experiment_plan::PlanReport;
use bakeoff_crds::run::NoticeTask;
use bakeoff_loadgen::errands::notify::{SIGNATURE, send, signature};
use bakeoff_loadgen::errands::plan_report;
use serde_json::{Value, json};

type Heard = Arc<Mutex<Vec<(HeaderMap, String)>>>;

/// A receiver that answers these, one after the other, and the last one for ever.
async fn receiver(answers: &'static [u16]) -> (String, Heard) {
    let heard = Heard::default();
    let hear = async |State(heard): State<Heard>, headers: HeaderMap, body: String| {
        let mut heard = heard.lock().unwrap();
        let answer = answers[heard.len().min(answers.len() - 1)];
        heard.push((headers, body));
        StatusCode::from_u16(answer).unwrap()
    };
    let router = Router::new()
        .route("/hook/token-of-ours", post(hear))
        .with_state(heard.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "http://{}/hook/token-of-ours",
        listener.local_addr().unwrap()
    );
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, heard)
}

fn task(folder: &std::path::Path, url: &str, format: &str) -> NoticeTask {
    std::fs::write(folder.join("url"), format!("{url}\n")).unwrap();
    std::fs::write(folder.join("key"), "a shared secret").unwrap();
    serde_json::from_value(json!({
        "kind": "ExperimentSchedule", "owner": {"namespace": "lab", "name": "nightly", "uid": "u-1"},
        "notice": {"to": "team", "occasion": "Regressed", "message": "p99 <12 ms> & more", "at": "2026-03-01T12:00:00Z", "number": 7},
        "format": format, "credentialsDir": folder, "urlKey": "url", "hmacKey": "key",
    }))
    .unwrap()
}

#[tokio::test]
async fn a_message_is_signed_and_is_what_its_form_says() {
    let folder = tempfile::tempdir().unwrap();
    let (url, heard) = receiver(&[200]).await;
    for format in ["CloudEvents", "Slack"] {
        send(&task(folder.path(), &url, format), Duration::ZERO)
            .await
            .unwrap();
    }
    let heard = heard.lock().unwrap();
    for (headers, body) in heard.iter() {
        assert_eq!(
            headers[SIGNATURE],
            signature(b"a shared secret", body.as_bytes())
        );
    }
    let event: Value = serde_json::from_str(&heard[0].1).unwrap();
    assert!(
        heard[0].0["content-type"]
            .to_str()
            .unwrap()
            .starts_with("application/cloudevents+json")
    );
    assert_eq!(event["specversion"], "1.0");
    assert_eq!(event["id"], "u-1/7");
    assert_eq!(event["type"], "dev.bakeoff.experimentschedule.regressed");
    assert_eq!(
        event["source"],
        "/apis/bakeoff.dev/v1alpha1/namespaces/lab/experimentschedules/nightly"
    );
    assert_eq!(event["data"]["message"], "p99 <12 ms> & more");
    let slack: Value = serde_json::from_str(&heard[1].1).unwrap();
    assert_eq!(
        slack["text"],
        "*Regressed* ExperimentSchedule lab/nightly: p99 &lt;12 ms&gt; &amp; more"
    );
}

/// The signature by another implementation: `printf body | openssl dgst -sha256 -hmac key`.
#[test]
fn the_signature_is_that_of_others() {
    assert_eq!(
        signature(b"key", b"The quick brown fox jumps over the lazy dog"),
        "sha256=f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8"
    );
}

#[tokio::test]
async fn trouble_is_waited_out_a_refusal_is_not_and_no_address_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (url, heard) = receiver(&[503, 429, 204]).await;
    send(&task(folder.path(), &url, "Slack"), Duration::ZERO)
        .await
        .unwrap();
    assert_eq!(heard.lock().unwrap().len(), 3);

    let (url, heard) = receiver(&[403]).await;
    let error = send(&task(folder.path(), &url, "Slack"), Duration::ZERO)
        .await
        .unwrap_err();
    assert_eq!(
        (error.to_string().as_str(), heard.lock().unwrap().len()),
        ("127.0.0.1 answers 403", 1)
    );

    let (url, heard) = receiver(&[500]).await;
    let error = send(&task(folder.path(), &url, "Slack"), Duration::ZERO)
        .await
        .unwrap_err();
    assert!(
        error.retryable() && heard.lock().unwrap().len() == 5,
        "{error}"
    );

    for url in [
        "http://127.0.0.1:1/hook/token-of-ours",
        "ftp://host/token-of-ours",
        "token-of-ours",
        "https://127.0.0.1:1/token-of-ours",
    ] {
        let error = send(&task(folder.path(), url, "Slack"), Duration::ZERO)
            .await
            .unwrap_err();
        assert!(!error.to_string().contains("token-of-ours"), "{error}");
    }
    let missing = task(folder.path(), "http://127.0.0.1:1/", "Slack");
    std::fs::remove_file(folder.path().join("url")).unwrap();
    let error = send(&missing, Duration::ZERO).await.unwrap_err();
    assert!(error.to_string().contains("no usable key url"), "{error}");
}

#[tokio::test]
async fn the_report_of_a_plan_is_made_of_what_its_experiments_left() {
    let folder = tempfile::tempdir().unwrap();
    let bucket = folder.path().to_str().unwrap();
    let (manifest, records) = sample::phase1_c();
    let summary = summarise(&RunData::new(&manifest, &records)).unwrap();
    let here = folder.path().join("lab/seed-phase0-a0/u0");
    std::fs::create_dir_all(&here).unwrap();
    std::fs::write(
        here.join("summary.json"),
        serde_json::to_vec(&summary).unwrap(),
    )
    .unwrap();
    let step = |name: &str, uid: &str, report: String| {
        json!({
            "name": name, "experiment": format!("seed-phase0-{name}"), "uid": uid, "attempt": 1, "outcome": "Go", "reason": "it holds", "report": report,
        })
    };
    let url =
        |name: &str, uid: &str| format!("s3://{bucket}/lab/seed-phase0-{name}/{uid}/report.html");
    let plan: PlanReport = serde_json::from_value(json!({
        "schemaVersion": "plan-report.bakeoff.dev/v1",
        "plan": {"namespace": "lab", "name": "seed", "uid": "p"}, "startTime": "2026-03-01T12:00:00Z",
        "state": "Completed", "message": "1 phases were run and 1 skipped",
        "phases": [
            {"name": "phase0", "question": "Does it hold?", "status": {"name": "phase0", "state": "Done", "outcome": "Go", "experiments": [
                step("a0", "u0", url("a0", "u0")), step("a1", "u1", url("a1", "u1")), step("a2", "u2", "s3://other/lab/x/report.html".to_owned()),
            ]}},
            {"name": "phase2", "question": "Which way?", "when": [{"phase": "phase0", "outcome": ["NoGo"]}],
             "status": {"name": "phase2", "state": "Done", "outcome": "Skipped", "reason": "phase0 is Go, and not NoGo"}},
        ],
        "results": {"endpoint": "", "region": "", "bucket": bucket, "prefix": "plans/lab/seed/p", "pathStyle": true, "credentialsDir": ""},
    }))
    .unwrap();
    for _ in 0..2 {
        plan_report::write(&plan).await.unwrap();
    }
    let out = folder.path().join("plans/lab/seed/p");
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    for text in [
        "phase0 is Go, and not NoGo",
        "phase0/a0",
        "summary.json is gone",
        "in another results store",
    ] {
        assert!(page.contains(text), "{text}");
    }
    let told: Value =
        serde_json::from_slice(&std::fs::read(out.join("summary.json")).unwrap()).unwrap();
    assert_eq!(told["experiments"][0]["resultClass"], "Relative");
    assert_eq!(told["experiments"][1]["missing"], "summary.json is gone");
}
