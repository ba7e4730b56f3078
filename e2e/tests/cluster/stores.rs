//! What each kind of store promises, and any store that an experiment describes.

use crate::store;
use anyhow::{Context as _, ensure};
use bakeoff_analysis::summary::Summary;
use bakeoff_crds::durability::DurabilityClass::{self, Flushed, PageCache};
use bakeoff_e2e::{Fixture, Lab, Needs, kubectl, scenario};
use serde_json::{Value, json};

/// The image of versitygw, as the chart's catalogue has it; the values of the test clusters allow it for described stores as well.
async fn image() -> anyhow::Result<String> {
    let path = "jsonpath={.items[0].data.versitygw\\.1\\.8\\.0}";
    let get = [
        "get",
        "configmap",
        "-A",
        "-l",
        "bakeoff.dev/catalogue",
        "-o",
        path,
    ];
    kubectl(&get).await
}

/// versitygw, described as a store that Bakeoff does not know.
fn described(name: &str, image: &str) -> Value {
    json!({"name": name, "s3Server": {
        "image": image,
        "command": ["versitygw", "--port", ":9123", "--health", "/healthz", "posix", "/var/objects"],
        "credentials": {"accessKeyIdEnv": "ROOT_ACCESS_KEY_ID", "secretAccessKeyEnv": "ROOT_SECRET_ACCESS_KEY"},
        "port": 9123, "dataPath": "/var/objects", "readyPath": "/healthz", "user": 12345, "durability": "PageCache",
    }})
}

fn classes(summary: &Summary) -> Vec<(&str, Option<DurabilityClass>)> {
    let backends = summary.measured.backends.iter();
    backends
        .map(|backend| (backend.name.as_str(), backend.durability.class))
        .collect()
}

#[tokio::test]
async fn stores_run_as_they_promise_and_as_they_are_described() -> anyhow::Result<()> {
    scenario("stores", Needs::Nodes(2), async |lab: &Lab| {
        let fixture = Fixture::tiny("stores")
            .set("/spec/backends", json!([
                {"name": "minio", "minio": {"version": bakeoff_e2e::MINIO, "durability": "Flushed"}},
                {"name": "seaweedfs", "seaweedfs": {"version": bakeoff_e2e::SEAWEEDFS, "durability": "Flushed"}},
                {"name": "versitygw", "versitygw": {"version": "1.8.0"}},
                described("described", &image().await?),
            ]))
            .set("/spec/equipment/resources", json!({"cpu": "300m", "memory": "512Mi"}));
        lab.apply(fixture.manifest()).await?;
        lab.reaches("stores", "measuring", 180, |status| {
            status.progress.as_ref().is_some_and(|progress| progress.trials.done > 0)
        })
        .await?;
        // What makes the promise true is there before the first trial, at the address where the server reads it.
        let namespace = ["-n", lab.namespace.as_str()];
        let pods = "get pods -l bakeoff.dev/backend=seaweedfs -o jsonpath={.items[0].status.containerStatuses[*].ready}";
        let ready = kubectl(&[&namespace[..], &pods.split(' ').collect::<Vec<_>>()].concat()).await?;
        ensure!(ready.trim() == "true true", "server and setter are ready: {ready}");

        let status = lab.ended("stores", "Completed", 300).await?;
        let decision = status.decision.context("there is a decision")?;
        let folder = store::fetch(&lab.namespace, "stores").await?;
        let summary = store::summary(&folder)?;
        let expected = [
            ("minio", Some(Flushed)),
            ("seaweedfs", Some(Flushed)),
            ("versitygw", Some(PageCache)),
            ("described", Some(PageCache)),
        ];
        ensure!(classes(&summary) == expected, "{:?}", classes(&summary));
        let question = summary.decision.context("the summary has the decision")?.question;
        ensure!(
            question.contains("seaweedfs, versitygw or described"),
            "all are challengers: {question}; {decision:?}"
        );
        let report = std::fs::read_to_string(folder.join("report.html"))?;
        ensure!(report.contains("bench/run cut: versitygw"), "the cut that showed it is named");
        std::fs::remove_dir_all(&folder)?;
        lab.delete("stores").await?;
        lab.nothing_left(&[]).await
    })
    .await
}
