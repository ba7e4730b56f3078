//! What the end-to-end tests share: a namespace of their own, waiting on conditions, counting what is
//! left, and diagnostics when a test fails. (I/O.)
//!
//! The tests see the cluster as a user does: they apply manifests with kubectl (`KUBECTL`, default
//! `kubectl`) and read Experiments by the typed client. They wait on conditions, each with a deadline
//! that a machine several times as slow keeps, and never for a fixed time.

mod fixtures;
mod ground;
mod inventory;
mod patience;

pub use fixtures::{Fixture, GARAGE, MINIO, POSTGRES_17, SEAWEEDFS};
pub use ground::{Needs, pool};
pub use patience::until;

use anyhow::{Context as _, ensure};
use bakeoff_crds::conditions::{self, SUCCEEDED};
use bakeoff_crds::{Experiment, ExperimentStatus};
use ground::Ground;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, ServiceAccount};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::core::object::HasStatus;
use kube::{Client, Resource, ResourceExt};
use patience::eventually;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::Mutex;

/// The namespace that the chart is installed in.
pub const SYSTEM: &str = "bakeoff-system";

static COUNT: AtomicU32 = AtomicU32::new(0);

/// Runs one test in a namespace of its own, once it has what it needs, and removes it afterwards, whatever happened.
///
/// # Errors
/// Those of the test, with diagnostics on the standard error stream.
pub async fn scenario<F>(name: &str, needs: Needs, body: F) -> anyhow::Result<()>
where
    F: AsyncFnOnce(&Lab) -> anyhow::Result<()>,
{
    let client = Client::try_default()
        .await
        .context("no cluster: set KUBECONFIG, or use `make e2e`")?;
    let asked = Instant::now();
    let lab = Lab::new(name, client.clone(), Ground::take(needs, &client).await?).await?;
    let began = Instant::now();
    let result = body(&lab).await;
    if let Err(error) = &result {
        eprintln!("--- {name} failed: {error:#}");
        lab.diagnose().await;
    }
    let cleared = lab.clear().await;
    eprintln!(
        "{name}: {:.0} s, after {:.0} s of waiting",
        began.elapsed().as_secs_f64(),
        (began - asked).as_secs_f64()
    );
    let namespace = lab.leave().await?;
    result.and(cleared).and(removed(&client, &namespace).await)
}

/// The program that kubectl is.
#[must_use]
pub fn kubectl_program() -> String {
    std::env::var("KUBECTL").unwrap_or_else(|_| "kubectl".to_owned())
}

/// Runs kubectl; standard output, or an error with its standard error.
///
/// # Errors
/// It cannot be started, or ends with another code than 0.
pub async fn kubectl(arguments: &[&str]) -> anyhow::Result<String> {
    kubectl_with(arguments, "").await
}

/// Runs kubectl with this standard input.
///
/// # Errors
/// It cannot be started, or ends with another code than 0.
pub async fn kubectl_with(arguments: &[&str], input: &str) -> anyhow::Result<String> {
    let program = kubectl_program();
    let mut child = Command::new(&program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("{program} cannot be started"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).await?;
    }
    let output = child.wait_with_output().await?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    ensure!(
        output.status.success(),
        "kubectl {}: {}{}",
        arguments.join(" "),
        text(&output.stderr),
        text(&output.stdout)
    );
    Ok(text(&output.stdout))
}

/// A namespace of its own.
pub struct Lab {
    /// The client.
    pub client: Client,
    /// The namespace.
    pub namespace: String,
    /// The nodes that are its own.
    ground: Ground,
    /// Everything that is in it and belongs to no experiment.
    before: Mutex<BTreeSet<String>>,
}

impl Lab {
    async fn new(name: &str, client: Client, ground: Ground) -> anyhow::Result<Self> {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("e2e-{name}-{:x}-{number}", std::process::id());
        let object: Namespace = serde_json::from_value(json!({
            "metadata": {
                "name": namespace,
                "labels": {"bakeoff.dev/e2e": "true", "pod-security.kubernetes.io/enforce": "restricted"},
            }
        }))?;
        Api::<Namespace>::all(client.clone())
            .create(&PostParams::default(), &object)
            .await?;
        let lab = Self {
            client,
            namespace,
            ground,
            before: Mutex::default(),
        };
        // Kubernetes itself puts two objects into a new namespace.
        let accounts: Api<ServiceAccount> = Api::namespaced(lab.client.clone(), &lab.namespace);
        let maps: Api<ConfigMap> = Api::namespaced(lab.client.clone(), &lab.namespace);
        lab.until("the default service account", 30, async || {
            let account = accounts.get_opt("default").await?;
            Ok(account.is_some() && maps.get_opt("kube-root-ca.crt").await?.is_some())
        })
        .await?;
        lab.keep_what_is_there().await?;
        lab.ground.label(Some(&lab.namespace)).await?;
        Ok(lab)
    }

    /// Takes whatever is there now for what was there before the experiments.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn keep_what_is_there(&self) -> anyhow::Result<()> {
        *self.before.lock().await = inventory::of(&self.client, &self.namespace).await?;
        Ok(())
    }

    /// The Experiments of the namespace.
    #[must_use]
    pub fn experiments(&self) -> Api<Experiment> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The pods of the namespace.
    #[must_use]
    pub fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The name of the node that is its own.
    ///
    /// # Errors
    /// It did not ask for one, or for several.
    pub fn node(&self) -> anyhow::Result<&str> {
        self.ground.node()
    }

    /// Applies a manifest as a user would, unknown fields refused. An experiment on the pool goes to the nodes that
    /// are this scenario's own.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn apply(&self, manifest: &Value) -> anyhow::Result<()> {
        let arguments = [
            "-n",
            &self.namespace,
            "apply",
            "--validate=strict",
            "-f",
            "-",
        ];
        let mut manifest = manifest.clone();
        self.place(&mut manifest);
        kubectl_with(&arguments, &manifest.to_string())
            .await
            .map(drop)
    }

    /// Puts every experiment of a manifest that is for the pool on the nodes that are this scenario's own.
    fn place(&self, manifest: &mut Value) {
        match manifest {
            Value::Object(fields) => {
                for (key, value) in fields {
                    if key == "nodeSelector" && *value == ground::pool() {
                        *value = self.ground.node_selector(&self.namespace);
                    } else {
                        self.place(value);
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.place(item)),
            _ => {}
        }
    }

    /// Changes the spec of an experiment.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn patch(&self, name: &str, spec: Value) -> anyhow::Result<()> {
        let patch = Patch::Merge(json!({"spec": spec}));
        self.experiments()
            .patch(name, &PatchParams::default(), &patch)
            .await?;
        Ok(())
    }

    /// The status of an experiment; an empty one before the operator has seen it.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn status(&self, name: &str) -> anyhow::Result<ExperimentStatus> {
        Ok(self
            .experiments()
            .get(name)
            .await?
            .status
            .unwrap_or_default())
    }

    /// As [`until`].
    ///
    /// # Errors
    /// It does not within the seconds, or cannot be told.
    pub async fn until(
        &self,
        what: &str,
        seconds: u64,
        holds: impl AsyncFnMut() -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        until(what, seconds, holds).await
    }

    /// Waits until the status of an object is as wanted.
    ///
    /// # Errors
    /// It is not within the seconds.
    pub async fn becomes<K>(
        &self,
        name: &str,
        what: &str,
        seconds: u64,
        wanted: impl Fn(&K::Status) -> bool,
    ) -> anyhow::Result<K::Status>
    where
        K: HasStatus<Status: Clone + Debug + Default>,
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
        K: Clone + Debug + DeserializeOwned,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), &self.namespace);
        eventually(what, seconds, async || {
            let status = api.get(name).await?.status().cloned().unwrap_or_default();
            ensure!(wanted(&status), "{name}: {status:?}");
            Ok(status)
        })
        .await
    }

    /// Waits until the status of an experiment is as wanted; an experiment that ends otherwise is an error
    /// at once.
    ///
    /// # Errors
    /// It ended without, or the seconds are over.
    pub async fn reaches(
        &self,
        name: &str,
        what: &str,
        seconds: u64,
        wanted: impl Fn(&ExperimentStatus) -> bool,
    ) -> anyhow::Result<ExperimentStatus> {
        let status = eventually(what, seconds, async || {
            let status = self.status(name).await?;
            let (reason, message) = standing(&status);
            let over = wanted(&status) || status.completion_time.is_some();
            ensure!(over, "{name}: {reason}: {message}");
            Ok(status)
        })
        .await?;
        let (reason, message) = standing(&status);
        ensure!(
            wanted(&status),
            "{name} ended before {what}: {reason}: {message}"
        );
        Ok(status)
    }

    /// Waits until the condition `Succeeded` carries this reason.
    ///
    /// # Errors
    /// As [`Self::reaches`].
    pub async fn reason(
        &self,
        name: &str,
        reason: &str,
        seconds: u64,
    ) -> anyhow::Result<ExperimentStatus> {
        self.reaches(name, reason, seconds, |status| standing(status).0 == reason)
            .await
    }

    /// Waits until the experiment has ended for this reason, and nothing of it is left.
    ///
    /// # Errors
    /// As [`Self::reaches`], or something is left.
    pub async fn ended(
        &self,
        name: &str,
        reason: &str,
        seconds: u64,
    ) -> anyhow::Result<ExperimentStatus> {
        let status = self
            .reaches(name, "ended", seconds, |status| {
                status.completion_time.is_some()
            })
            .await?;
        let (found, message) = standing(&status);
        ensure!(
            found == reason,
            "{name} ended as {found}, not {reason}: {message}"
        );
        self.nothing_left(&[]).await?;
        Ok(status)
    }

    /// Deletes an experiment and waits until it is gone.
    ///
    /// # Errors
    /// It is not gone in time.
    pub async fn delete(&self, name: &str) -> anyhow::Result<()> {
        self.delete_as(name, &DeleteParams::default()).await
    }

    /// Deletes an experiment in this way, and waits until it is gone.
    ///
    /// # Errors
    /// It does not go.
    pub async fn delete_as(&self, name: &str, way: &DeleteParams) -> anyhow::Result<()> {
        self.experiments().delete(name, way).await?;
        self.until("the deletion of the experiment", 120, async || {
            Ok(self.experiments().get_opt(name).await?.is_none())
        })
        .await
    }

    /// Kills the pods with these labels as a power cut would: without grace.
    ///
    /// # Errors
    /// There is none.
    pub async fn kill(&self, namespace: &str, labels: &str) -> anyhow::Result<()> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        // Another test may have taken it away just now.
        eventually("a pod to kill", 60, async || {
            let found = pods.list(&ListParams::default().labels(labels)).await?;
            let mut killed = 0;
            for pod in found {
                let at_once = DeleteParams::default().grace_period(0);
                match pods.delete(&pod.name_any(), &at_once).await {
                    Ok(_) => killed += 1,
                    Err(kube::Error::Api(said)) if said.code == 404 => {}
                    Err(error) => return Err(error.into()),
                }
            }
            ensure!(killed > 0, "no pod has the labels {labels}");
            Ok(())
        })
        .await
    }

    /// Waits until the namespace holds nothing that was not there before, but for objects that the test
    /// made itself, and no volume is bound to it.
    ///
    /// # Errors
    /// What is left.
    pub async fn nothing_left(&self, own: &[&str]) -> anyhow::Result<()> {
        let before = self.before.lock().await.clone();
        eventually("an empty namespace", 60, async || {
            let is_own = |object: &&String| own.iter().any(|name| *object == name);
            let there = inventory::of(&self.client, &self.namespace).await?;
            let left = there.difference(&before).filter(|object| !is_own(object));
            let left: Vec<&str> = left.map(String::as_str).collect();
            ensure!(left.is_empty(), "left behind: {}", left.join(", "));
            Ok(())
        })
        .await
    }

    /// Prints what a developer would ask for.
    async fn diagnose(&self) {
        let namespace = self.namespace.as_str();
        let looks: [&[&str]; 6] = [
            &["-n", namespace, "get", "experiments", "-o", "wide"],
            &["-n", namespace, "describe", "experiments"],
            &[
                "-n",
                namespace,
                "get",
                "pods,pvc,jobs,statefulsets,secrets",
                "-o",
                "wide",
            ],
            &["-n", namespace, "describe", "pods"],
            &["-n", namespace, "get", "events", "--sort-by=.lastTimestamp"],
            &[
                "-n",
                SYSTEM,
                "logs",
                "-l",
                "app.kubernetes.io/component=operator",
                "--tail=60",
            ],
        ];
        for arguments in looks {
            eprintln!("--- kubectl {}", arguments.join(" "));
            match kubectl(arguments).await {
                Ok(text) => eprintln!("{text}"),
                Err(error) => eprintln!("{error:#}"),
            }
        }
        let pods = self
            .pods()
            .list(&ListParams::default())
            .await
            .map(|list| list.items)
            .unwrap_or_default();
        for pod in pods {
            let name = pod.name_any();
            eprintln!("--- kubectl logs {name}");
            match kubectl(&[
                "-n",
                namespace,
                "logs",
                &name,
                "--tail=40",
                "--all-containers",
            ])
            .await
            {
                Ok(text) => eprintln!("{text}"),
                Err(error) => eprintln!("{error:#}"),
            }
        }
    }

    /// Deletes the namespace and waits until its experiments are gone.
    async fn clear(&self) -> anyhow::Result<()> {
        // A finalizer that waits for a backend that a test has broken must not hold up the next test.
        for experiment in self.experiments().list(&ListParams::default()).await? {
            let patch = Patch::Merge(json!({"metadata": {"annotations": {
                bakeoff_crds::names::ANNOTATION_SKIP_CLEANUP: "true",
            }}}));
            let _ = self
                .experiments()
                .patch(&experiment.name_any(), &PatchParams::default(), &patch)
                .await;
        }
        Api::<Namespace>::all(self.client.clone())
            .delete(&self.namespace, &DeleteParams::default())
            .await?;
        self.until("the deletion of the experiments", 120, async || {
            let left = self.experiments().list(&ListParams::default()).await?;
            Ok(left.items.is_empty())
        })
        .await
    }

    /// Gives its nodes back; the next one need not wait for the namespace, whose name this answers.
    async fn leave(self) -> anyhow::Result<String> {
        self.ground.label(None).await?;
        Ok(self.namespace)
    }
}

async fn removed(client: &Client, namespace: &str) -> anyhow::Result<()> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    until("the deletion of the namespace", 120, async || {
        Ok(namespaces.get_opt(namespace).await?.is_none())
    })
    .await
}

/// Reason and message of the condition `Succeeded`; empty before the operator has seen the experiment.
#[must_use]
pub fn standing(status: &ExperimentStatus) -> (&str, &str) {
    conditions::get(&status.conditions, SUCCEEDED)
        .map_or(("", ""), |c| (c.reason.as_str(), c.message.as_str()))
}

/// The status of a condition: `True`, `False`, `Unknown`, or empty when it is not there.
#[must_use]
pub fn truth<'a>(status: &'a ExperimentStatus, type_: &str) -> &'a str {
    conditions::get(&status.conditions, type_).map_or("", |c| c.status.as_str())
}
