//! The long soak, to its decision, while all that it stands on is taken away once.

use crate::postgres::cells;
use crate::store::OwnStore;
use anyhow::{Context as _, bail, ensure};
use bakeoff_crds::conditions::OBJECTIVES_MET;
use bakeoff_crds::figure::Figure;
use bakeoff_crds::names::LABEL_ROLE;
use bakeoff_e2e::{Lab, Needs, SYSTEM, kubectl, kubectl_program, scenario, truth};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// Trials, each of which goes on with the table that the one before it left.
const SEGMENTS: i32 = 6;

/// More transactions than `autovacuum_freeze_max_age` of the example allows a table to be old.
const BURNT: u32 = 110_000;

/// The example, on a machine that other tests and builds share: what is judged is the course, not the generator.
fn manifest(store: &OwnStore<'_>) -> anyhow::Result<Value> {
    let example = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples/soak-10m.yaml");
    let mut manifest: Value = serde_saphyr::from_str(&std::fs::read_to_string(example)?)?;
    let spec = &mut manifest["spec"];
    spec["validity"] = json!({"minStartedPerMille": 0, "maxSendLagP99Microseconds": 10_000_000,
        "maxThrottledPerMille": 1000, "maxGeneratorCpuPerMille": 1000});
    spec["trials"]["blocks"] = json!(SEGMENTS);
    // What stalls at the end of a segment is not to be taken for what failed.
    spec["trials"]["drainSeconds"] = json!(30);
    // Else only rows older than fifty million transactions are frozen before they move by themselves.
    spec["workloads"][0]["soak"]["autovacuum"][0]["table"]["autovacuum_freeze_min_age"] =
        json!("0");
    spec["equipment"]["resources"] = json!({"cpu": "800m", "memory": "1Gi"});
    spec["generators"]["resources"] = json!({"cpu": "500m", "memory": "256Mi"});
    spec["results"] = store.results();
    Ok(manifest)
}

#[tokio::test]
async fn a_soak_survives_and_says_whether_it_plateaus() -> anyhow::Result<()> {
    scenario("soak", Needs::FirstNode, async |lab: &Lab| {
        let store = OwnStore::new(lab).await?;
        lab.keep_what_is_there().await?;
        lab.apply(&manifest(&store)?).await?;
        let name = "soak-10m";
        let done = async || {
            let progress = lab.status(name).await?.progress;
            anyhow::Ok(progress.unwrap_or_default().trials.done)
        };
        let after = async |segments: i32| {
            lab.reaches(name, "the next segments", 300, |status| {
                status
                    .progress
                    .as_ref()
                    .is_some_and(|now| now.trials.done >= segments)
            })
            .await
        };
        after(1).await?;
        lab.kill(&lab.namespace, &format!("{LABEL_ROLE}=generator"))
            .await?;
        burn(lab).await?;
        after(2).await?;
        store.scale("0").await?;
        // Longer than a segment, so that a result finds no store.
        tokio::time::sleep(Duration::from_secs(35)).await;
        store.scale("1").await?;
        store.ready().await?;
        lab.kill(SYSTEM, "app.kubernetes.io/component=operator")
            .await?;
        // The node of the server, the generator and the store, where it is known how.
        if let Some(command) = std::env::var_os("BAKEOFF_REBOOT") {
            let said = Command::new(command)
                .args(["reboot", lab.node()?])
                .output()
                .await?;
            ensure!(
                said.status.success(),
                "{}",
                String::from_utf8_lossy(&said.stderr)
            );
        }
        // The next result is stored: all of them are back.
        after(done().await? + 1).await?;

        let status = lab.ended(name, "Completed", 900).await?;
        ensure!(
            truth(&status, OBJECTIVES_MET) == "True",
            "{:?}",
            status.objectives
        );
        ensure!(done().await? == SEGMENTS, "{:?}", status.progress);
        let decision = status.decision.context("there is a decision")?;
        let results = status.results.context("results are recorded")?;
        let summary = store.summary(&results.url).await?;
        let cell = cells(&summary).next().context("it was measured")?;
        let on = cell.backends.first().context("it was measured")?;
        let loaded = on
            .figures
            .get(&Figure::TableLoadedAtSeconds)
            .context("it is known")?;
        ensure!(
            loaded
                .blocks
                .windows(2)
                .all(|pair| pair[0].value == pair[1].value),
            "every segment was on the same table: {loaded:?}"
        );
        ensure!(
            on.figures
                .get(&Figure::Freezes)
                .is_some_and(|freezes| freezes.value > 0.0),
            "the freeze age came within reach: {:?}",
            on.figures.get(&Figure::FrozenAgeMost)
        );
        // What it says is a matter of the machine, which other tests share; that it says so is not.
        ensure!(
            decision.rule == "SoakPlateau" && decision.reason.len() > 40,
            "{decision:?}"
        );
        lab.delete(name).await?;
        lab.nothing_left(&[]).await
    })
    .await
}

/// Uses up as many transactions as would else take some nine segments, so that a table has to be frozen.
async fn burn(lab: &Lab) -> anyhow::Result<()> {
    let namespace = lab.namespace.as_str();
    let get = ["-n", namespace, "get", "-l"];
    let one = async |rest: &[&str]| kubectl(&[&get[..], rest].concat()).await;
    let label = format!("{LABEL_ROLE}=backend");
    let secret = one(&[&label, "secret", "-o", "json"]).await?;
    let secret: Value = serde_json::from_str(&secret)?;
    let decoded = |key: &str| -> anyhow::Result<String> {
        let value = &secret["items"][0]["data"][key];
        let bytes: k8s_openapi::ByteString = serde_json::from_value(value.clone())?;
        Ok(String::from_utf8(bytes.0)?)
    };
    let pod = one(&[&label, "pod", "-o", "jsonpath={.items[0].metadata.name}"]).await?;
    let forwarding = Forwarding::new(namespace, &pod).await?;
    let (client, connection) = tokio_postgres::Config::new()
        .host("127.0.0.1")
        .port(forwarding.port)
        .dbname("postgres")
        .user(decoded("accessKeyId")?)
        .password(decoded("secretAccessKey")?)
        .connect(tokio_postgres::NoTls)
        .await?;
    let connection = tokio::spawn(connection);
    let each = format!(
        "DO $$ BEGIN FOR i IN 1..{BURNT} LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$"
    );
    client.batch_execute("SET synchronous_commit = off").await?;
    let burnt = client.batch_execute(&each).await;
    // The forwarding ends a connection in its own way.
    connection.abort();
    burnt.context("transactions are used up")
}

/// A port of this machine that leads to that of Postgres in a pod, while this is kept.
struct Forwarding {
    port: u16,
    _kubectl: Child,
    // It goes on talking, and ends when nobody listens.
    _said: Lines<BufReader<ChildStdout>>,
}

impl Forwarding {
    async fn new(namespace: &str, pod: &str) -> anyhow::Result<Self> {
        let mut kubectl = Command::new(kubectl_program())
            .args(["-n", namespace, "port-forward", pod, ":5432"])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut lines = BufReader::new(kubectl.stdout.take().context("its output")?).lines();
        while let Some(line) = lines.next_line().await? {
            let port = line.strip_prefix("Forwarding from 127.0.0.1:");
            if let Some(port) = port.and_then(|rest| rest.split(' ').next()) {
                return Ok(Self {
                    port: port.parse()?,
                    _kubectl: kubectl,
                    _said: lines,
                });
            }
        }
        bail!("kubectl port-forward {pod} says no port")
    }
}
