//! Under a tool that applies the same from Git again and again: nothing drifts, and its view of what is ready is that of the
//! library it uses.

use anyhow::{Context as _, ensure};
use bakeoff_e2e::{Lab, Needs, kubectl, kubectl_with, scenario};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::io::AsyncWriteExt as _;

const KINDS: [&str; 3] = ["Experiment", "ExperimentPlan", "ExperimentSchedule"];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The resources of ours in the examples, suspended: they are read and judged, and nothing is measured.
fn examples() -> anyhow::Result<Vec<Value>> {
    let mut all = Vec::new();
    for file in std::fs::read_dir(repository().join("examples"))? {
        let file = file?.path();
        if file.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = std::fs::read_to_string(&file)?;
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text)
            .with_context(|| format!("{} is no YAML", file.display()))?;
        for mut object in documents {
            if object["kind"]
                .as_str()
                .is_some_and(|kind| KINDS.contains(&kind))
            {
                object["spec"]["suspend"] = json!(true);
                all.push(object);
            }
        }
    }
    ensure!(all.len() >= 15, "{} examples", all.len());
    Ok(all)
}

fn name_of(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_lowercase();
    format!(
        "{}/{}",
        text(&object["kind"]),
        text(&object["metadata"]["name"])
    )
}

async fn live(lab: &Lab, name: &str) -> anyhow::Result<Value> {
    let text = kubectl(&[
        "-n",
        &lab.namespace,
        "get",
        name,
        "-o",
        "json",
        "--show-managed-fields",
    ])
    .await?;
    Ok(serde_json::from_str(&text)?)
}

/// What kstatus makes of an object, by its own code.
async fn kstatus(program: &str, object: &Value) -> anyhow::Result<String> {
    let mut child = tokio::process::Command::new(program)
        .arg("kstatus")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut stdin = child.stdin.take().context("no stdin")?;
    stdin.write_all(object.to_string().as_bytes()).await?;
    drop(stdin);
    let said = child.wait_with_output().await?;
    ensure!(said.status.success(), "gitops kstatus failed");
    Ok(String::from_utf8(said.stdout)?)
}

#[tokio::test]
async fn what_is_applied_again_is_as_it_was() -> anyhow::Result<()> {
    scenario("drift", Needs::Nothing, async |lab: &Lab| {
        let program = tokio::process::Command::new(repository().join("dev/tools"))
            .args(["path", "gitops"])
            .output()
            .await?;
        let program = String::from_utf8(program.stdout)?;
        let apply = ["-n", &lab.namespace, "apply", "--server-side", "-f", "-"];
        let again = [&apply[..], &["--dry-run=server", "-o", "json"]].concat();
        for example in examples()? {
            let name = name_of(&example);
            kubectl_with(&apply, &example.to_string()).await?;
            let read = async || {
                let object = live(lab, &name).await?;
                Ok(object["status"]["observedGeneration"] == object["metadata"]["generation"])
            };
            lab.until(&format!("the operator's look at {name}"), 60, read)
                .await?;
            let stands = live(lab, &name).await?;
            let would: Value =
                serde_json::from_str(&kubectl_with(&again, &example.to_string()).await?)?;
            for part in [
                "/spec",
                "/metadata/labels",
                "/metadata/annotations",
                "/metadata/generation",
            ] {
                ensure!(
                    stands.pointer(part) == would.pointer(part),
                    "{name}: {part} drifts: {stands}\n{would}"
                );
            }
            let fields = stands["metadata"]["managedFields"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            for entry in fields
                .iter()
                .filter(|entry| entry["manager"] == "bakeoff-operator")
            {
                let owned = entry["fieldsV1"].as_object().context("no fields")?;
                ensure!(
                    !owned.contains_key("f:spec"),
                    "{name}: the operator owns a part of the spec: {entry}"
                );
            }
            let conditions = stands["status"]["conditions"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let stalled = conditions
                .iter()
                .any(|one| one["type"] == "Stalled" && one["status"] == "True");
            let said = kstatus(program.trim(), &stands).await?;
            let expected = if stalled { "Failed" } else { "Current" };
            ensure!(
                said.starts_with(expected),
                "{name}: kstatus says {said}, and not {expected}"
            );
            kubectl(&["-n", &lab.namespace, "delete", &name, "--wait=true"]).await?;
        }
        lab.nothing_left(&[]).await
    })
    .await
}
