//! The chart's own results store, seen from outside, and one more like it.

use anyhow::{Context as _, ensure};
use bakeoff_analysis::summary::Summary;
use bakeoff_e2e::{Lab, SYSTEM, kubectl, kubectl_with, pool};
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::Api;
use serde_json::{Value, json};
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
    shell_in(SYSTEM, commands).await
}

async fn shell_in(namespace: &str, commands: &str) -> anyhow::Result<String> {
    let pod = format!("{STORE}-0");
    let arguments = [
        "-n",
        namespace,
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
    read_in(SYSTEM, url).await
}

async fn read_in(namespace: &str, url: &str) -> anyhow::Result<String> {
    let path = url.strip_prefix("s3://").context("no s3:// address")?;
    shell_in(namespace, &format!("fs.cat /buckets/{path}\n")).await
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

/// A results store of a scenario's own, on its node, which it may take away without anyone else's noticing.
pub struct OwnStore<'a> {
    lab: &'a Lab,
}

impl<'a> OwnStore<'a> {
    /// Copies that of the chart, with an empty bucket, and waits until it is ready.
    pub async fn new(lab: &'a Lab) -> anyhow::Result<Self> {
        let label = "app.kubernetes.io/component=results-store";
        let kinds = "statefulset,service,networkpolicy";
        let get = ["-n", SYSTEM, "get", kinds, "-l", label, "-o", "json"];
        let there: Value = serde_json::from_str(&kubectl(&get).await?)?;
        for object in there["items"].as_array().context("a list")? {
            let mut spec = object["spec"].clone();
            if let Some(pod) = spec.pointer_mut("/template/spec") {
                pod["nodeSelector"] = pool();
            } else if let Some(fields) = spec.as_object_mut() {
                // They are drawn for each Service.
                fields.retain(|name, _| !name.starts_with("clusterIP"));
            }
            let metadata = json!({"name": object["metadata"]["name"]});
            let (api, kind) = (&object["apiVersion"], &object["kind"]);
            lab.apply(
                &json!({"apiVersion": api, "kind": kind, "metadata": metadata, "spec": spec}),
            )
            .await?;
        }
        let (access, secret) = credentials(&lab.client).await?;
        lab.apply(
            &json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": STORE},
            "stringData": {"accessKeyId": access, "secretAccessKey": secret}}),
        )
        .await?;
        let store = Self { lab };
        store.ready().await?;
        let make = async || {
            let said = shell_in(
                &lab.namespace,
                "s3.bucket.create -name results\ns3.bucket.list\n",
            )
            .await?;
            Ok(said.contains("results"))
        };
        lab.until("a bucket", 60, make).await?;
        Ok(store)
    }

    /// What an experiment says of it, `spec.results`.
    pub fn results(&self) -> Value {
        let endpoint = format!("http://{STORE}.{}.svc:8333", self.lab.namespace);
        json!({"s3": {"endpoint": endpoint, "bucket": "results", "credentialsSecretRef": {"name": STORE}}})
    }

    /// Takes it away, or gives it back.
    pub async fn scale(&self, replicas: &str) -> anyhow::Result<()> {
        let replicas = format!("--replicas={replicas}");
        let namespace = &self.lab.namespace;
        kubectl(&["-n", namespace, "scale", "statefulset", STORE, &replicas]).await?;
        Ok(())
    }

    /// Waits until it answers.
    pub async fn ready(&self) -> anyhow::Result<()> {
        let ready = "jsonpath={.status.readyReplicas}";
        let get = [
            "-n",
            &self.lab.namespace,
            "get",
            "statefulset",
            STORE,
            "-o",
            ready,
        ];
        let is_ready = async || Ok(kubectl(&get).await?.trim() == "1");
        self.lab.until("the results store", 120, is_ready).await
    }

    /// The summary of an experiment whose results lie at this address.
    pub async fn summary(&self, url: &str) -> anyhow::Result<Summary> {
        let url = format!("{}/summary.json", url.trim_end_matches('/'));
        let text = read_in(&self.lab.namespace, &url).await?;
        let summary = serde_json::from_str(&text);
        summary.with_context(|| format!("{url}: {}", text.chars().take(200).collect::<String>()))
    }
}
