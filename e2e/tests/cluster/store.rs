//! The chart's own results store, seen from outside.

use anyhow::{Context as _, ensure};
use bakeoff_analysis::summary::Summary;
use bakeoff_e2e::{SYSTEM, kubectl, kubectl_with};
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::Api;
use std::path::{Path, PathBuf};

/// The StatefulSet, the Service and the Secret.
const STORE: &str = "bakeoff-results";

/// The endpoint inside the cluster.
pub fn endpoint() -> String {
    format!("http://{STORE}.{SYSTEM}.svc:8333")
}

/// The access key and the secret key.
pub async fn credentials(client: &Client) -> anyhow::Result<(String, String)> {
    let secret = Api::<Secret>::namespaced(client.clone(), SYSTEM)
        .get(STORE)
        .await?;
    let data = secret.data.unwrap_or_default();
    let text = |key: &str| -> anyhow::Result<String> {
        let value = data
            .get(key)
            .with_context(|| format!("{STORE} lacks {key}"))?;
        Ok(String::from_utf8(value.0.clone())?)
    };
    Ok((text("accessKeyId")?, text("secretAccessKey")?))
}

async fn shell(commands: &str) -> anyhow::Result<String> {
    let pod = format!("{STORE}-0");
    let arguments = [
        "-n",
        SYSTEM,
        "exec",
        "-i",
        &pod,
        "--",
        "weed",
        "shell",
        "-master=localhost:9333",
    ];
    kubectl_with(&arguments, commands).await
}

/// Makes a bucket.
pub async fn make_bucket(name: &str) -> anyhow::Result<()> {
    shell(&format!("s3.bucket.create -name {name}\n"))
        .await
        .map(drop)
}

/// Removes a bucket with all that is in it.
pub async fn remove_bucket(name: &str) -> anyhow::Result<()> {
    shell(&format!("s3.bucket.delete -name {name}\n"))
        .await
        .map(drop)
}

/// How many objects a bucket holds.
pub async fn count(bucket: &str) -> anyhow::Result<u64> {
    let text = shell(&format!("fs.tree /buckets/{bucket}\n")).await?;
    // `4 directories, 1 files`
    let files = text.lines().find_map(|line| {
        line.strip_suffix(" files")?
            .rsplit(' ')
            .next()?
            .parse()
            .ok()
    });
    files.with_context(|| format!("the store lists {bucket} as: {text}"))
}

/// The text of an object, by its address `s3://BUCKET/KEY`.
pub async fn read(url: &str) -> anyhow::Result<String> {
    let path = url.strip_prefix("s3://").context("no s3:// address")?;
    shell(&format!("fs.cat /buckets/{path}\n")).await
}

/// Fetches the results of an experiment as the README says: `dev/demo fetch`.
pub async fn fetch(namespace: &str, name: &str) -> anyhow::Result<PathBuf> {
    let folder = std::env::temp_dir().join(format!("bakeoff-{namespace}-{name}"));
    let into = folder.to_string_lossy();
    demo(&["fetch", namespace, name, &into]).await?;
    Ok(folder)
}

/// The summary among results that were fetched.
pub fn summary(folder: &Path) -> anyhow::Result<Summary> {
    let bytes = std::fs::read(folder.join("summary.json"))?;
    Ok(serde_json::from_slice(&bytes)?)
}

async fn demo(arguments: &[&str]) -> anyhow::Result<()> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dev/demo");
    let output = tokio::process::Command::new(script)
        .args(arguments)
        .kill_on_drop(true)
        .output()
        .await?;
    ensure!(
        output.status.success(),
        "dev/demo {}: {}{}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr),
        String::from_utf8_lossy(&output.stdout)
    );
    Ok(())
}

/// Puts a trace into the bucket of the results, as the documents say: `dev/demo put`.
pub async fn put_trace(folder: &Path, name: &str) -> anyhow::Result<()> {
    let folder = folder.to_string_lossy();
    demo(&["put", &folder, name]).await.map(drop)
}

/// Removes a trace.
pub async fn remove_trace(name: &str) -> anyhow::Result<()> {
    shell(&format!("fs.rm -r /buckets/bakeoff/traces/{name}\n"))
        .await
        .map(drop)
}

/// The objects of the system namespace, to see that a test leaves the operator's side as it was.
pub async fn operator_pods() -> anyhow::Result<String> {
    kubectl(&[
        "-n",
        SYSTEM,
        "get",
        "pods",
        "-l",
        "app.kubernetes.io/component=operator",
        "-o",
        "name",
    ])
    .await
}
