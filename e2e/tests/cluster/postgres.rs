//! The experiments on Postgres, to their decisions.

use bakeoff_crds::figure::Figure;
use std::path::PathBuf;

use crate::store;
use anyhow::{Context as _, ensure};
use bakeoff_analysis::measured::CellSummary;
use bakeoff_analysis::summary::Summary;
use bakeoff_crds::ExperimentStatus;
use bakeoff_crds::conditions::{OBJECTIVES_MET, SUCCEEDED};
use bakeoff_e2e::{Fixture, Lab, Needs, POSTGRES_17, SYSTEM, kubectl, scenario, truth};
use serde_json::{Value, json};

/// The summary of a finished experiment, and the folder of its results.
pub async fn summary(lab: &Lab, name: &str) -> anyhow::Result<(Summary, PathBuf)> {
    let folder = store::fetch(&lab.namespace, name).await?;
    let summary = store::summary(&folder)?;
    Ok((summary, folder))
}

pub fn cells(summary: &Summary) -> impl Iterator<Item = &CellSummary> {
    summary
        .measured
        .workloads
        .iter()
        .flat_map(|workload| &workload.cells)
}

#[tokio::test]
async fn a_head_table_runs_to_its_decision() -> anyhow::Result<()> {
    scenario("head-row", Needs::Nodes(1), async |lab: &Lab| {
        lab.apply(Fixture::head_row("head").manifest()).await?;
        let status = lab.ended("head", "Completed", 240).await?;
        let met: Vec<(&str, bool)> = status
            .objectives
            .iter()
            .map(|objective| (objective.name.as_str(), objective.met))
            .collect();
        ensure!(
            met == [("own-rows", true), ("hot", true)],
            "{:?}",
            status.objectives
        );
        // Two windows of three seconds settle nothing, and the rule says what is missing.
        let decision = status.decision.clone().context("there is a decision")?;
        ensure!(decision.reason.contains("demands"), "{decision:?}");
        let folder = store::fetch(&lab.namespace, "head").await?;
        let manifest = std::fs::read(folder.join("manifest.json"))?;
        let manifest: Value = serde_json::from_slice(&manifest)?;
        let said = |pointer: &str| manifest.pointer(pointer).map(Value::to_string);
        let server = said("/plan/backends/0/settings/server_version");
        ensure!(
            server.is_some_and(|version| version.starts_with("\"18.")),
            "the running version"
        );
        let image = said("/plan/environment/generatorImageId");
        ensure!(
            image.is_some_and(|id| id.contains("sha256:")),
            "the image that measured, by digest"
        );
        let limit = said("/generator/cpuLimitMillis");
        ensure!(
            limit.is_some_and(|millis| millis != "null"),
            "what the control group allows"
        );
        let report = std::fs::read_to_string(folder.join("report.html"))?;
        ensure!(
            report.contains("State of the server"),
            "the report shows the server"
        );
        let summary = store::summary(&folder)?;
        ensure!(
            cells(&summary)
                .flat_map(|cell| &cell.backends)
                .all(|on| on.figures.contains_key(&Figure::AutovacuumsLogged)),
            "the server's log was read"
        );
        std::fs::remove_dir_all(&folder)?;
        lab.delete("head").await?;
        lab.nothing_left(&[]).await
    })
    .await
}

#[tokio::test]
async fn writers_race_and_the_controls_are_caught() -> anyhow::Result<()> {
    scenario("race", Needs::Nodes(1), async |lab: &Lab| {
        lab.apply(Fixture::cas_race("race").manifest()).await?;
        let status = lab.ended("race", "Completed", 300).await?;
        ensure!(
            truth(&status, OBJECTIVES_MET) == "True",
            "{:?}",
            status.objectives
        );
        let (summary, folder) = summary(lab, "race").await?;
        for cell in cells(&summary) {
            let mode = cell
                .levels
                .get("mode")
                .map(String::as_str)
                .unwrap_or_default();
            let on = cell.backends.first().context("it was measured")?;
            let violations: i64 = on.checks.iter().map(|check| check.violations).sum();
            ensure!(
                (violations == 0) == (mode == "Guarded"),
                "{mode}: {violations} violations"
            );
        }
        std::fs::remove_dir_all(&folder)?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn old_runs_leave_both_ways() -> anyhow::Result<()> {
    scenario("retention", Needs::Nodes(1), async |lab: &Lab| {
        lab.apply(Fixture::retention("old").manifest()).await?;
        let status = lab.ended("old", "Completed", 300).await?;
        ensure!(
            truth(&status, OBJECTIVES_MET) == "True",
            "{:?}",
            status.objectives
        );
        ensure!(status.decision.is_some(), "there is a decision");
        let (summary, folder) = summary(lab, "old").await?;
        for cell in cells(&summary) {
            let on = cell.backends.first().context("it was measured")?;
            let figure = |figure: Figure| on.figures.get(&figure).map(|figure| figure.value);
            ensure!(
                figure(Figure::BytesReclaimed).is_some() && figure(Figure::LockLooks) > Some(0.0),
                "{}: {:?}",
                cell.label,
                on.figures.keys()
            );
        }
        std::fs::remove_dir_all(&folder)?;
        Ok(())
    })
    .await
}

/// A server that somebody else runs, in a pod without a Service: its manifest, from the image that the catalogue names.
async fn foreign_server() -> anyhow::Result<Value> {
    let images = kubectl(&[
        "-n",
        SYSTEM,
        "get",
        "configmap",
        "-l",
        "bakeoff.dev/catalogue=true",
        "-o",
        "jsonpath={.items[0].data}",
    ])
    .await?;
    let images: Value = serde_json::from_str(&images)?;
    let image = images
        .get(format!("postgres.{POSTGRES_17}"))
        .context("the catalogue has the version")?;
    let begin = "set -e; umask 077; echo secret >/tmp/password; \
        initdb --pgdata=/tmp/data --username=owner --pwfile=/tmp/password --auth-host=scram-sha-256 --auth-local=trust; \
        echo 'host all all all scram-sha-256' >>/tmp/data/pg_hba.conf; \
        exec postgres -D /tmp/data -c listen_addresses='*' -c unix_socket_directories=/tmp";
    Ok(json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "theirs"},
        "spec": {
            "securityContext": {"runAsNonRoot": true, "runAsUser": 999, "runAsGroup": 999, "fsGroup": 999,
                "seccompProfile": {"type": "RuntimeDefault"}},
            "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": "postgres", "image": image, "command": ["sh", "-c", begin],
                "env": [{"name": "LC_ALL", "value": "C"}],
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
                "readinessProbe": {"tcpSocket": {"port": 5432}, "periodSeconds": 1},
                "volumeMounts": [{"name": "data", "mountPath": "/tmp"}],
            }],
            "volumes": [{"name": "data", "emptyDir": {}}],
        },
    }))
}

#[tokio::test]
async fn a_server_of_somebody_else_is_measured_and_left_clean() -> anyhow::Result<()> {
    scenario("external-pg", Needs::Nodes(1), async |lab: &Lab| {
        lab.apply(&foreign_server().await?).await?;
        lab.until("the server of somebody else", 120, async || {
            let ready = "jsonpath={.status.conditions[?(@.type=='Ready')].status}";
            Ok(kubectl(&["-n", &lab.namespace, "get", "pod", "theirs", "-o", ready]).await? == "True")
        })
        .await?;
        let address = "jsonpath={.status.podIP}";
        let address = kubectl(&["-n", &lab.namespace, "get", "pod", "theirs", "-o", address]).await?;
        let url = format!("postgres://owner:secret@{address}:5432/postgres?sslmode=disable");
        lab.apply(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"}, "stringData": {"url": url}}))
            .await?;
        let external = json!([{"name": "theirs", "postgresUrl": {"secretRef": {"name": "db"}}}]);
        // The second would be refused if the first had left its schema there.
        for name in ["outside", "again"] {
            let fixture = Fixture::head_row(name)
                .set("/spec/backends", external.clone())
                .set("/spec/workloads/0/headRow/fillfactor", json!([100]));
            lab.apply(fixture.manifest()).await?;
            let ended = |status: &ExperimentStatus| status.completion_time.is_some();
            let status = lab.reaches(name, "ended", 240, ended).await?;
            ensure!(
                truth(&status, SUCCEEDED) == "True" && truth(&status, OBJECTIVES_MET) == "True",
                "{name}: {:?}",
                status.conditions
            );
            lab.nothing_left(&["secret/db", "pod/theirs"]).await?;
        }
        let (_, folder) = summary(lab, "outside").await?;
        let manifest = std::fs::read_to_string(folder.join("manifest.json"))?;
        ensure!(manifest.contains(&address), "the manifest says where the server is");
        ensure!(!manifest.contains("secret@"), "and keeps the password to itself");
        std::fs::remove_dir_all(&folder)?;
        Ok(())
    })
    .await
}
