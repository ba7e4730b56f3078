//! Servers of several pods, and the loss of one of them.

use crate::store;
use anyhow::{Context as _, ensure};
use bakeoff_crds::figure::Figure;
use bakeoff_e2e::{Fixture, GARAGE, Lab, MINIO, Needs, SEAWEEDFS, kubectl, scenario};
use serde_json::json;
use std::collections::BTreeSet;

/// The uids of the pods of a backend that can be lost.
async fn uids(lab: &Lab, backend: &str, member: &str) -> anyhow::Result<BTreeSet<String>> {
    let labels = format!("bakeoff.dev/backend={backend},bakeoff.dev/member={member}");
    let get = "get pods -o jsonpath={.items[*].metadata.uid} -l";
    let mut arguments = vec!["-n", lab.namespace.as_str()];
    arguments.extend(get.split(' '));
    arguments.push(&labels);
    let found = kubectl(&arguments).await?;
    Ok(found.split_whitespace().map(str::to_owned).collect())
}

#[tokio::test]
async fn servers_of_several_pods_lose_one_and_nothing_that_they_acknowledged() -> anyhow::Result<()>
{
    scenario("loss", Needs::Nodes(2), async |lab: &Lab| {
        let fixture = Fixture::tiny("loss")
            .set("/spec/backends", json!([
                {"name": "minio", "minio": {"version": MINIO, "servers": 4}},
                {"name": "seaweedfs", "seaweedfs": {"version": SEAWEEDFS, "volumeServers": 3, "replication": "001", "durability": "Flushed"}},
            ]))
            .set("/spec/equipment/resources", json!({"cpu": "700m", "memory": "2Gi"}))
            .set("/spec/workloads", json!([{"name": "loss", "serverLoss": {
                "load": {"open": {"ratePerSecond": [10]}}, "faults": [{"at": 20, "kill": "Server"}]}}]))
            .set("/spec/trials", json!({"blocks": 1, "warmupSeconds": 1, "windowSeconds": 30, "drainSeconds": 10}))
            .set("/spec/objectives", json!([{"name": "nothing-lost", "expression": "loss.lostWrites == 0"}]))
            .remove("/spec", "decision");
        lab.apply(fixture.manifest()).await?;
        lab.reaches("loss", "measuring", 240, |status| status.fault.is_some() || status.progress.as_ref()
            .is_some_and(|progress| progress.first_operation_time.is_some())).await?;
        let before = uids(lab, "minio", "server").await?.len();
        ensure!(before >= 3, "four servers, of which one may be away: {before}");
        let status = lab.ended("loss", "Completed", 480).await?;
        let fault = status.fault.context("a server was killed")?;
        ensure!(fault.mended_time > fault.made_time, "{fault:?}");
        let folder = store::fetch(&lab.namespace, "loss").await?;
        let summary = store::summary(&folder)?;
        ensure!(summary.objectives.iter().all(|objective| objective.met), "{:?}", summary.objectives);
        let pods: Vec<usize> = summary.measured.backends.iter().map(|backend| backend.pods.len()).collect();
        ensure!(pods == [4, 5], "servers; filer, master and volume servers: {pods:?}");
        for backend in &summary.measured.backends {
            let used = backend.pods.iter().filter(|pod| pod.cpu_micros.is_some_and(|cpu| cpu > 0));
            ensure!(used.count() == backend.pods.len(), "each pod is looked at: {:?}", backend.pods);
        }
        let [cell] = &summary.measured.workloads[0].cells[..] else { anyhow::bail!("several cells") };
        for on in &cell.backends {
            let figure = |figure: Figure| on.figures.get(&figure).map(|found| found.value);
            ensure!(figure(Figure::Recovered) == Some(1.0), "{}: {:?}", on.backend, on.figures);
            ensure!(figure(Figure::RecoveryMilliseconds) > Some(0.0), "{:?}", on.figures);
            ensure!(figure(Figure::ReadBackObjects) > Some(100.0), "{:?}", on.figures);
        }
        std::fs::remove_dir_all(&folder)?;
        lab.delete("loss").await?;
        lab.nothing_left(&[]).await
    })
    .await
}

#[tokio::test]
async fn a_primary_acknowledges_what_its_standby_has_and_both_go_in_the_end() -> anyhow::Result<()>
{
    scenario("standby", Needs::Nodes(2), async |lab: &Lab| {
        let fixture = Fixture::head_row("standby")
            .set(
                "/spec/backends/0/postgres/settings",
                json!({"autovacuum_naptime": "1s"}),
            )
            .set("/spec/backends/0/postgres/synchronousStandbys", json!(1))
            .set(
                "/spec/equipment/resources",
                json!({"cpu": "600m", "memory": "1Gi"}),
            )
            .set(
                "/spec/objectives",
                json!([{"name": "own-rows", "expression": "head.rowsMissed == 0"}]),
            )
            .remove("/spec", "decision");
        lab.apply(fixture.manifest()).await?;
        let status = lab.ended("standby", "Completed", 300).await?;
        ensure!(
            status.objectives.iter().all(|objective| objective.met),
            "{:?}",
            status.objectives
        );
        let folder = store::fetch(&lab.namespace, "standby").await?;
        let summary = store::summary(&folder)?;
        let [backend] = &summary.measured.backends[..] else {
            anyhow::bail!("several backends")
        };
        let pods: Vec<(&str, &str)> = backend
            .pods
            .iter()
            .map(|pod| (pod.member.as_str(), pod.resources.memory.0.as_str()))
            .collect();
        ensure!(
            pods == [("server", "512Mi"), ("standby", "512Mi")],
            "{pods:?}"
        );
        ensure!(backend.durability.copies == 2, "{:?}", backend.durability);
        let names = backend.settings.get("synchronous_standby_names");
        ensure!(
            names.is_some_and(|names| names.contains(&backend.pods[1].name)),
            "{names:?}"
        );
        // The slot and the standby hold nothing that VACUUM would remove.
        ensure!(backend.horizon.is_none(), "{:?}", backend.horizon);
        std::fs::remove_dir_all(&folder)?;
        lab.delete("standby").await?;
        lab.nothing_left(&[]).await
    })
    .await
}

#[tokio::test]
async fn nodes_of_garage_join_and_lose_one_and_nothing_that_they_acknowledged() -> anyhow::Result<()>
{
    scenario("garage", Needs::Nodes(2), async |lab: &Lab| {
        let fixture = Fixture::tiny("garage")
            .set("/spec/backends", json!([{"name": "garage", "garage": {"version": GARAGE, "nodes": 3}}]))
            .set("/spec/equipment/resources", json!({"cpu": "900m", "memory": "1536Mi"}))
            .set("/spec/workloads", json!([{"name": "loss", "serverLoss": {
                "load": {"open": {"ratePerSecond": [10]}}, "faults": [{"at": 20, "kill": "Server"}]}}]))
            .set("/spec/trials", json!({"blocks": 1, "warmupSeconds": 1, "windowSeconds": 30, "drainSeconds": 10}))
            .set("/spec/objectives", json!([{"name": "nothing-lost", "expression": "loss.lostWrites == 0"}]))
            .remove("/spec", "decision");
        lab.apply(fixture.manifest()).await?;
        let status = lab.ended("garage", "Completed", 600).await?;
        let fault = status.fault.context("a node was killed")?;
        ensure!(fault.mended_time > fault.made_time, "{fault:?}");
        let folder = store::fetch(&lab.namespace, "garage").await?;
        let summary = store::summary(&folder)?;
        ensure!(summary.objectives.iter().all(|objective| objective.met), "{:?}", summary.objectives);
        let [garage] = &summary.measured.backends[..] else { anyhow::bail!("several backends") };
        ensure!((garage.pods.len(), garage.durability.copies) == (3, 2), "{garage:?}");
        let [cell] = &summary.measured.workloads[0].cells[..] else { anyhow::bail!("several cells") };
        let figure = |figure: Figure| cell.backends[0].figures.get(&figure).map(|found| found.value);
        ensure!(figure(Figure::Recovered) == Some(1.0), "{:?}", cell.backends[0].figures);
        ensure!(figure(Figure::ReadBackObjects) > Some(100.0), "{:?}", cell.backends[0].figures);
        std::fs::remove_dir_all(&folder)?;
        lab.delete("garage").await?;
        lab.nothing_left(&[]).await
    })
    .await
}
