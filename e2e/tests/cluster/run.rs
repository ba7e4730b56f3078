//! From apply to decision, report and an empty namespace.

use crate::store;
use anyhow::{Context as _, ensure};
use bakeoff_analysis::index::{self, Index};
use bakeoff_crds::ExperimentStatus;
use bakeoff_crds::conditions::{self, EQUALISED, OBJECTIVES_MET, RECONCILING, STALLED, SUCCEEDED};
use bakeoff_crds::status::MAX_STATUS_BYTES;
use bakeoff_e2e::{Fixture, Lab, Needs, scenario, truth};
use kube::api::DeleteParams;
use serde_json::json;
use std::path::Path;

fn sha256(path: &Path) -> anyhow::Result<String> {
    let bytes =
        std::fs::read(path).with_context(|| format!("{} is not in the store", path.display()))?;
    Ok(index::sha256(&bytes))
}

#[tokio::test]
async fn an_experiment_runs_to_its_decision() -> anyhow::Result<()> {
    scenario("run", Needs::Nodes(2), async |lab: &Lab| {
        lab.apply(Fixture::tiny("tiny").manifest()).await?;
        let status = lab.ended("tiny", "Completed", 240).await?;

        for (condition, wanted) in [
            (SUCCEEDED, "True"),
            (RECONCILING, "False"),
            (STALLED, "False"),
        ] {
            ensure!(
                truth(&status, condition) == wanted,
                "{condition} is {}",
                truth(&status, condition)
            );
        }
        ensure!(
            ["True", "False"].contains(&truth(&status, OBJECTIVES_MET)),
            "ObjectivesMet is decided"
        );
        ensure!(
            ["True", "False"].contains(&truth(&status, EQUALISED)),
            "Equalised is decided"
        );
        ensure!(status.decision.is_some(), "there is a decision");
        ensure!(!status.headline.is_empty(), "there are figures");
        ensure!(status.backends.len() == 2, "both backends are recorded");
        ensure!(
            status
                .backends
                .iter()
                .all(|b| !b.image_id.is_empty() && !b.node.is_empty()),
            "{:?}",
            status.backends
        );
        let progress = status.progress.clone().unwrap_or_default();
        ensure!(
            progress.display == "8/8",
            "progress is {}",
            progress.display
        );
        ensure!(
            serde_json::to_vec(&status)?.len() <= MAX_STATUS_BYTES,
            "the status is bounded"
        );
        ensure!(
            lab.experiments().get_opt("tiny").await?.is_some(),
            "the Experiment stays"
        );

        let results = status.results.clone().context("results are recorded")?;
        let folder = store::fetch(&lab.namespace, "tiny").await?;
        let sum = sha256(&folder.join("index.json"))?;
        ensure!(
            sum == results.index_sha256,
            "index.json is {sum}, the status says {}",
            results.index_sha256
        );
        let index: Index = serde_json::from_slice(&std::fs::read(folder.join("index.json"))?)?;
        for wanted in ["manifest.json", "summary.json", "report.html", "report.md"] {
            ensure!(
                index.files.iter().any(|file| file.name == wanted),
                "the index lacks {wanted}"
            );
        }
        for file in &index.files {
            ensure!(
                sha256(&folder.join(&file.name))? == file.sha256,
                "{} is not what the index says",
                file.name
            );
        }
        let report = std::fs::read_to_string(folder.join("report.html"))?;
        ensure!(
            report.contains("Relative"),
            "the report names the class of its figures"
        );
        let (_, secret) = store::credentials(&lab.client).await?;
        let written = format!("{report}{}", serde_json::to_string(&status)?);
        ensure!(
            !written.contains(&secret),
            "no credential in status or report"
        );
        std::fs::remove_dir_all(&folder)?;

        // A deleted and re-created experiment starts afresh.
        lab.delete("tiny").await?;
        lab.nothing_left(&[]).await
    })
    .await
}

#[tokio::test]
async fn an_external_bucket_is_measured_and_left_clean() -> anyhow::Result<()> {
    scenario("external", Needs::Nodes(1), async |lab: &Lab| {
        let bucket = "e2e-external";
        store::make_bucket(bucket).await?;
        let (access, secret) = store::credentials(&lab.client).await?;
        lab.apply(&json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "external"},
            "stringData": {"accessKeyId": access, "secretAccessKey": secret},
        }))
        .await?;
        let external = json!([{"name": "outside", "s3": {
            "endpoint": store::endpoint(), "bucket": bucket, "credentialsSecretRef": {"name": "external"},
        }}]);
        let outside = |name: &str| Fixture::tiny(name).set("/spec/backends", external.clone()).remove("/spec", "decision");
        lab.apply(outside("external").manifest()).await?;
        lab.reaches("external", "measuring", 120, |status| {
            status.progress.as_ref().is_some_and(|progress| progress.trials.done > 0)
        })
        .await?;
        let status = lab
            .reaches("external", "ended", 240, |status| status.completion_time.is_some())
            .await?;
        ensure!(truth(&status, SUCCEEDED) == "True", "{:?}", status.conditions);
        lab.nothing_left(&["secret/external"]).await?;
        let left = store::count(bucket).await?;
        ensure!(left == 0, "{left} test objects are left in the external bucket");

        let begun = |status: &ExperimentStatus| status.progress.as_ref().is_some_and(|progress| progress.trials.done > 0);
        let longer = |name: &str| outside(name).set("/spec/trials/blocks", json!(60));
        // Deleted in the middle as Argo CD prunes: what is its own goes first, and what cleans up is nobody's.
        lab.apply(longer("pruned").manifest()).await?;
        lab.reaches("pruned", "measuring", 120, begun).await?;
        lab.delete_as("pruned", &DeleteParams::foreground()).await?;
        lab.nothing_left(&["secret/external"]).await?;
        let left = store::count(bucket).await?;
        ensure!(left == 0, "{left} test objects are left after a deletion in the foreground");

        // Suspended and then cancelled: what was measured is reported, and what was written is removed.
        lab.apply(longer("given-up").manifest()).await?;
        lab.reaches("given-up", "measuring", 120, begun).await?;
        lab.patch("given-up", json!({"suspend": true})).await?;
        lab.reason("given-up", "Suspended", 120).await?;
        lab.patch("given-up", json!({"cancel": true})).await?;
        let status = lab
            .reaches("given-up", "ended", 240, |status| status.completion_time.is_some())
            .await?;
        let message = conditions::get(&status.conditions, SUCCEEDED).map(|condition| &*condition.message);
        ensure!(message.is_some_and(|said| !said.contains("may be left")), "{message:?}");
        ensure!(status.results.is_some(), "what was measured before the suspension is not reported");
        lab.nothing_left(&["secret/external"]).await?;
        let left = store::count(bucket).await?;
        ensure!(left == 0, "{left} test objects are left after a suspension and a cancellation");
        store::remove_bucket(bucket).await
    })
    .await
}
