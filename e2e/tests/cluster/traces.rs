//! Traces that lie in the bucket of the results, replayed on a cluster.

use std::path::Path;

use crate::store;
use anyhow::{Context as _, ensure};
use bakeoff_analysis::summary::Summary;
use bakeoff_crds::figure::Figure;
use bakeoff_e2e::{Fixture, Lab, Needs, scenario};
use serde_json::{Value, json};

/// The trace that ships with an example, as the two files of a folder.
fn example(folder: &Path) -> anyhow::Result<()> {
    let text = include_str!("../../../examples/phase3-quick.yaml");
    let mut documents = text.split("\n---\n");
    let map = documents.find(|one| one.contains("\nkind: ConfigMap\n"));
    let map: Value = serde_saphyr::from_str(map.context("a ConfigMap")?)?;
    let manifest = map["data"]["trace.json"].as_str();
    std::fs::write(folder.join("trace.json"), manifest.context("its manifest")?)?;
    let events = map["binaryData"]["events.csv.gz"].as_str();
    let events: String = events.context("its events")?.split_whitespace().collect();
    let events: k8s_openapi::ByteString = serde_json::from_value(json!(events))?;
    std::fs::write(folder.join("events.csv.gz"), events.0)?;
    Ok(())
}

async fn summary(lab: &Lab, name: &str) -> anyhow::Result<Summary> {
    let folder = store::fetch(&lab.namespace, name).await?;
    let summary = store::summary(&folder)?;
    std::fs::remove_dir_all(folder)?;
    Ok(summary)
}

#[tokio::test]
async fn a_trace_in_the_bucket_is_replayed_by_several_generators_and_held() -> anyhow::Result<()> {
    scenario("trace", Needs::Nodes(1), async |lab: &Lab| {
        // The bucket is the same for all.
        let name = format!("{}-loans", lab.namespace);
        let folder = std::env::temp_dir().join(&name);
        std::fs::create_dir_all(&folder)?;
        example(&folder)?;
        store::put_trace(&folder, &name).await?;
        // Not over one that is there, which an experiment may be reading.
        let again = store::put_trace(&folder, &name).await;
        std::fs::remove_dir_all(&folder)?;
        let said = again.err().map(|error| error.to_string()).unwrap_or_default();
        ensure!(said.contains("holds a trace already"), "{said}");

        let own = [json!({"name": "own-rows", "expression": "loans.rowsMissed == 0"})];
        let replay = Fixture::head_row("replay")
            .set("/spec/workloads", json!([{"name": "loans", "replay": {
                "trace": {"path": name}, "activeRuns": [300], "ratePerSecond": [80], "connections": 4}}]))
            .set("/spec/trials", json!({"blocks": 1, "warmupSeconds": 2, "windowSeconds": 10, "drainSeconds": 5}))
            .set("/spec/generators/replicas", json!(2))
            .set("/spec/objectives", json!(own))
            .remove("/spec", "decision");
        lab.apply(replay.manifest()).await?;
        let status = lab.ended("replay", "Completed", 300).await?;
        ensure!(status.objectives.iter().all(|one| one.met), "{:?}", status.objectives);
        let found = summary(lab, "replay").await?;
        let cell = &found.measured.workloads[0].cells[0];
        let load = &cell.backends[0].load;
        // What both were to do, and did: eight hundred events, as the trace lies.
        ensure!((400..1_600).contains(&load.planned), "{load:?}");
        ensure!(load.completed == load.planned, "{load:?}");
        lab.delete("replay").await?;

        let held = Fixture::head_row("held")
            .set("/spec/workloads", json!([{"name": "loans", "sustain": {
                "activeRuns": [1_000], "shape": {"replay": {"trace": {"path": name}, "connections": 4}},
                "ramp": {"from": 50, "to": 100, "growthPercent": 100, "stepSeconds": 2},
                "hold": {"turnovers": 0, "autovacuums": 0, "checkpoints": 0, "repeats": 1},
                "objective": {"p99Milliseconds": 5_000, "servedPerMille": 900, "deadPercent": 1_000, "growthPercent": 1_000},
                "target": {"ratePerSecond": 20, "headroomPercent": 0}}}]))
            .set("/spec/trials", json!({"blocks": 2, "warmupSeconds": 1, "windowSeconds": 8, "drainSeconds": 5}))
            .set("/spec/objectives", json!(own))
            .set("/spec/decision", json!({"rule": "ShardThreshold"}));
        lab.apply(held.manifest()).await?;
        let status = lab.ended("held", "Completed", 300).await?;
        let decision = status.decision.context("a decision")?;
        // On equipment that is not stated it says what the figures would say.
        ensure!(decision.reason.contains("would say"), "{decision:?}");
        let found = summary(lab, "held").await?;
        let on = &found.measured.workloads[0].cells[0].backends[0];
        let offered = on.figures.get(&Figure::OfferedPerSecond).context("rates")?;
        ensure!(offered.blocks.len() == 2, "{offered:?}");
        lab.delete("held").await?;
        store::remove_trace(&name).await?;
        lab.nothing_left(&[]).await
    })
    .await
}
