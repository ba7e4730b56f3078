//! What the operator hands to the generators, and what they hand back.
//!
//! The operator writes a [`RunPlan`] into a ConfigMap. Generators serve [`Progress`] while they run and
//! end with a [`Termination`] in the container's termination message: the Kubernetes API for exactly
//! this, bounded, watched and durable, so that nothing is ever read from logs and no generator needs
//! an API token.

mod progress;
mod resolved;

pub use progress::{FaultHeard, Progress, Stage, WantedFault};
pub use resolved::{ResolvedBackend, ResolvedLock, ResolvedPod};

use crate::ending::EndReason;
use crate::identity::Identity;
use crate::notify::{Notice, NotifyFormat};
use crate::regression::RegressionStatus;
use crate::spec::ExperimentSpec;
use crate::status::{DecisionStatus, HeadlineRow, ObjectiveStatus, TrialCounts};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version that [`RunPlan::schema_version`] carries.
pub const RUN_SCHEMA: &str = "run.bakeoff.dev/v1";
/// The version that [`Manifest::schema_version`] carries.
pub const MANIFEST_SCHEMA: &str = "manifest.bakeoff.dev/v1";
/// The longest termination message that a kubelet keeps.
pub const TERMINATION_LIMIT: usize = 4_096;

/// Everything a generator needs to run the trials, and a reviewer to repeat them. No credentials.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunPlan {
    /// [`RUN_SCHEMA`].
    pub schema_version: String,
    /// Whose run this is.
    pub experiment: Identity,
    /// What was asked for.
    pub spec: ExperimentSpec,
    /// The backends, as they were provisioned.
    pub backends: Vec<ResolvedBackend>,
    /// The Redis server that keeps the locks of races, where a workload asks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<ResolvedLock>,
    /// Where results go.
    pub results: StoreTarget,
    /// What is known of the machines.
    pub environment: Environment,
    /// The attempt of the generators, from 0: how many failed before.
    pub attempt: i32,
}

/// The results store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoreTarget {
    /// `http://host:port` or `https://host`; empty when `bucket` is a local folder.
    pub endpoint: String,
    /// The region that requests are signed for.
    pub region: String,
    /// The bucket; created when it does not exist and may be created.
    pub bucket: String,
    /// The folder of this run in the bucket, without slashes at its ends.
    pub prefix: String,
    /// Whether the bucket stands in the path.
    pub path_style: bool,
    /// The folder with the credentials.
    pub credentials_dir: String,
    /// The file of that folder with the authorities that are trusted beside those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_key: Option<String>,
}

/// A message that a Job sends for a schedule or a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NoticeTask {
    /// The kind of the resource that it is about.
    pub kind: String,
    /// Which resource.
    pub owner: Identity,
    /// What is told, and of which occasion.
    pub notice: Notice,
    /// The form.
    pub format: NotifyFormat,
    /// The folder with the receiver's address.
    pub credentials_dir: String,
    /// The file of that folder with the address.
    pub url_key: String,
    /// The file of that folder with the shared secret that messages are signed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hmac_key: Option<String>,
}

impl StoreTarget {
    /// The address for people: `s3://bucket/prefix`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.prefix)
    }
}

/// What is known of the machines that an experiment runs on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Environment {
    /// The nodes of the pool.
    pub nodes: Vec<NodeFacts>,
    /// What could not be equalised, one sentence each; empty: equal as far as checked.
    pub inequalities: Vec<String>,
    /// The version of Kubernetes.
    #[serde(default)]
    pub kubernetes_version: String,
    /// The version of Bakeoff.
    #[serde(default)]
    pub bakeoff_version: String,
    /// The image of the load generator, as it was asked for; empty outside a cluster.
    #[serde(default)]
    pub generator_image: String,
    /// The same by digest, as a node of the pool runs it.
    #[serde(default)]
    pub generator_image_id: String,
}

/// A node, as the API server and its calibration describe it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeFacts {
    /// Its name.
    pub name: String,
    /// Cores that pods may use, thousandths.
    pub allocatable_cpu_millis: i64,
    /// Memory that pods may use, bytes.
    pub allocatable_memory_bytes: i64,
    /// The kernel.
    pub kernel_version: String,
    /// The operating system image.
    pub os_image: String,
    /// The container runtime.
    pub container_runtime: String,
    /// The processor architecture.
    pub architecture: String,
    /// Nodes with the same boot id share one machine.
    pub boot_id: String,
    /// What was measured on it; absent when calibration was not possible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<NodeCalibration>,
}

/// A short look at what a node can do. Not a benchmark: it finds nodes that differ.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeCalibration {
    /// The CPU model.
    pub cpu_model: String,
    /// The frequency governor; empty where the kernel does not say.
    #[serde(default)]
    pub cpu_governor: String,
    /// Cores that are online.
    pub cores: i32,
    /// SHA-256 over 64 MiB, MiB per second of one thread, best of several.
    pub sha256_mib_per_second: f64,
    /// Median of write + fsync of 4 KiB, microseconds.
    pub fsync_p50_micros: i64,
    /// 99th percentile of the same.
    pub fsync_p99_micros: i64,
    /// The file system that was written to.
    #[serde(default)]
    pub file_system: String,
}

/// `manifest.json`: what a reviewer would ask of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// [`MANIFEST_SCHEMA`].
    pub schema_version: String,
    /// What was run.
    pub plan: RunPlan,
    /// When the generators first started.
    pub started_at: Timestamp,
    /// The version of the generator.
    pub generator_version: String,
    /// The machine of generator 0 and its way to the backends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generator: Option<GeneratorFacts>,
    /// How the run ended; absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<Ending>,
}

/// The machine that generator 0 runs on, as the generator sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GeneratorFacts {
    /// The kernel.
    pub kernel_version: String,
    /// The CPU model.
    pub cpu_model: String,
    /// The frequency governor; empty where the kernel does not say.
    pub cpu_governor: String,
    /// Cores that are online.
    pub cores: i32,
    /// The CPU that its control group allows, thousandths of a core; absent without a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_limit_millis: Option<i64>,
    /// The memory that its control group allows, bytes; absent without a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_limit_bytes: Option<i64>,
    /// Whether the pacer runs before all ordinary threads, which needs CAP_SYS_NICE.
    pub real_time_pacer: bool,
    /// How its kernel controls the congestion of TCP, for example `cubic`.
    #[serde(default)]
    pub tcp_congestion_control: String,
    /// What of the client is a factor of the figures, by name: connections, signing, retries.
    #[serde(default)]
    pub client: BTreeMap<String, String>,
    /// The disk of the results folder, of a run without a cluster: also that of a backend which runs on the
    /// same machine. In a cluster each node has its own, see [`NodeCalibration`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<DiskFacts>,
    /// The way to each backend, by name.
    #[serde(default)]
    pub network: BTreeMap<String, NetworkFacts>,
}

/// What a disk can do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DiskFacts {
    /// The file system that was written to.
    pub file_system: String,
    /// Median of write + fsync of 4 KiB, microseconds.
    pub fsync_p50_micros: i64,
    /// 99th percentile of the same.
    pub fsync_p99_micros: i64,
}

/// How far away a backend is: TCP connections opened one after the other before the first trial.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkFacts {
    /// Connections that it rests on.
    pub connects: i32,
    /// Median time to open one, microseconds.
    pub connect_p50_micros: i64,
    /// The longest, microseconds.
    pub connect_max_micros: i64,
    /// The addresses behind its name, with the port: connections are spread over all of them.
    #[serde(default)]
    pub addresses: Vec<String>,
}

/// How a run ended, as the operator saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ending {
    /// `Completed`, `Cancelled`, `DeadlineExceeded`, `Failed`, …: the reason of the condition `Succeeded`.
    pub reason: EndReason,
    /// In words.
    pub message: String,
    /// Restarts of backend containers over the whole run, by backend.
    #[serde(default)]
    pub backend_restarts: BTreeMap<String, i32>,
    /// The same by pod, of backends that have several.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pod_restarts: BTreeMap<String, i32>,
    /// When the process of a backend that was restarted last began, by the clock of its node.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub backend_last_starts: BTreeMap<String, Timestamp>,
    /// Generator pods that failed.
    #[serde(default)]
    pub generator_failures: i32,
}

/// How a container of the load generator ended, as its termination message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Termination {
    /// `loadgen calibrate`
    Calibrated(NodeCalibration),
    /// `loadgen run`: every trial has an outcome in the store.
    Ran(TrialCounts),
    /// `loadgen report`: an encoded [`Handover`], see the analysis crate.
    Reported(String),
    /// `loadgen cleanup`: how many objects were removed.
    CleanedUp(i64),
    /// Any of them.
    Failed(Failure),
}

/// Why a container of the load generator could not do its work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// A condition reason, for example `EndpointUnauthorized`.
    pub reason: String,
    /// What is wrong and how to mend it.
    pub message: String,
    /// Whether another attempt could end better.
    pub retryable: bool,
    /// Whether nothing failed but the process was stopped from outside, by a drain or a deletion.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stopped: bool,
}

/// What a finished run hands to the operator for the status: bounded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Handover {
    /// Trials, by outcome.
    pub trials: TrialCounts,
    /// Trials that count. Absent from a report of an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid: Option<i32>,
    /// Where none counts: what voided most of them, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub void: String,
    /// What the rule concluded, where one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<DecisionStatus>,
    /// Each objective of the spec.
    #[serde(default)]
    pub objectives: Vec<ObjectiveStatus>,
    /// The most important figures.
    #[serde(default)]
    pub headline: Vec<HeadlineRow>,
    /// Violations found by correctness checks, by backend.
    #[serde(default)]
    pub violations: BTreeMap<String, i64>,
    /// What it says of the history that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regression: Option<RegressionStatus>,
    /// SHA-256 of `index.json`, hexadecimal.
    pub index_sha256: String,
}
