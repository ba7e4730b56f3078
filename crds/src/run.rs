//! What the operator hands to the generators, and what they hand back.
//!
//! The operator writes a [`RunPlan`] into a ConfigMap. Generators serve [`Progress`] while they run and
//! end with a [`Termination`] in the container's termination message: the Kubernetes API for exactly
//! this, bounded, watched and durable, so that nothing is ever read from logs and no generator needs
//! an API token.

use crate::durability::Durability;
use crate::ending::EndReason;
use crate::identity::Identity;
use crate::quantity::Quantity;
use crate::spec::{BackendKind, ExperimentSpec, Member, Resources};
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

/// A backend that answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResolvedBackend {
    /// The name in the spec.
    pub name: String,
    /// What it is.
    pub kind: BackendKind,
    /// The version in the spec; empty for an external one.
    #[serde(default)]
    pub version: String,
    /// The image that was asked for; empty for an external one.
    #[serde(default)]
    pub image: String,
    /// The image that runs, by digest.
    #[serde(default)]
    pub image_id: String,
    /// Its size as its node reports it, bytes; unknown where no node lists it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_bytes: Option<i64>,
    /// `http://host:port` or `https://host`; `postgres://host:port` of a Postgres server. Empty in the plan of an
    /// external Postgres server, whose URL is in a file beside its credentials; the manifest has it.
    pub endpoint: String,
    /// The region that requests are signed for.
    pub region: String,
    /// What holds all that is written: the bucket, created by the generator on provisioned backends; of a Postgres
    /// server the database, see [`Self::database`].
    pub bucket: String,
    /// The prefix of everything written there; empty on provisioned backends.
    #[serde(default)]
    pub prefix: String,
    /// Whether the bucket stands in the path.
    pub path_style: bool,
    /// The folder with `accessKeyId`, `secretAccessKey` and perhaps `sessionToken`; of a Postgres server
    /// these are user and password.
    pub credentials_dir: String,
    /// The file of that folder with the authorities that are trusted beside those of the system; of S3 alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_key: Option<String>,
    /// Whether the SHA-256 of each body is signed; of S3 alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sign_payload: bool,
    /// Where its Prometheus metrics are; absent for an external one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics_url: Option<String>,
    /// The pods of one that has several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pods: Vec<ResolvedPod>,
    /// Bytes that it stores for each byte of an object, where there are several copies or shards of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_stored_per_byte: Option<f64>,
    /// Whether the experiment provisioned it.
    pub provisioned: bool,
    /// What "acknowledged" means there.
    #[serde(deserialize_with = "crate::durability::recorded")]
    pub durability: Durability,
    /// Settings that differ from the server's defaults, and the command line.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
    /// The node it runs on.
    #[serde(default)]
    pub node: String,
    /// Seconds from the creation of its pod until it was ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_to_ready_seconds: Option<i64>,
    /// Warnings that stand beside every figure of it, for example its maintenance status.
    #[serde(default)]
    pub caveats: Vec<String>,
}

/// A pod of a backend that has several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResolvedPod {
    /// Its name, which the pod that takes its place has as well.
    pub name: String,
    /// What it is to the backend.
    pub member: Member,
    /// Its share of the equipment.
    pub resources: Resources,
    /// Its share of the storage; absent where it keeps nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Quantity>,
    /// Where its Prometheus metrics are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics_url: Option<String>,
    /// The image that runs, by digest.
    #[serde(default)]
    pub image_id: String,
    /// The node it runs on.
    #[serde(default)]
    pub node: String,
}

impl ResolvedBackend {
    /// Whether it shows when each of its processes began.
    #[must_use]
    pub fn shows_its_process(&self) -> bool {
        let shows = |pod: &ResolvedPod| pod.metrics_url.is_some();
        self.metrics_url.is_some() || (!self.pods.is_empty() && self.pods.iter().all(shows))
    }

    /// The database of a Postgres server. Plans have it where they have the bucket of others: either holds all that is
    /// written.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.bucket
    }
}

/// A Redis server that keeps the locks of races. Nothing is measured on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResolvedLock {
    /// The version in the spec; empty for one that was not provisioned.
    #[serde(default)]
    pub version: String,
    /// The image that was asked for; empty for one that was not provisioned.
    #[serde(default)]
    pub image: String,
    /// The image that runs, by digest.
    #[serde(default)]
    pub image_id: String,
    /// `redis://host:port`.
    pub endpoint: String,
    /// The folder with `accessKeyId` and `secretAccessKey`; the latter is the password.
    #[serde(default)]
    pub credentials_dir: String,
    /// Its command line, and the version that it states.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
    /// The node it runs on.
    #[serde(default)]
    pub node: String,
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

/// What generator 0 is doing, served at `/progress`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// Where it stands.
    pub stage: Stage,
    /// Trials, by outcome.
    pub trials: TrialCounts,
    /// The trial that runs now, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// When the last trial is expected to end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_end: Option<Timestamp>,
    /// When the first operation of the first window was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_operation: Option<Timestamp>,
    /// The fault that is due, or was made and is not mended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<WantedFault>,
}

/// A fault that a generator asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WantedFault {
    /// What it is called: the trial and the attempt at it.
    pub id: String,
    /// The backend of which a server is to be killed.
    pub backend: String,
}

/// What the operator says of a fault when it asks for the progress: the parameters of that request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FaultHeard {
    /// The fault, see [`WantedFault::id`]; empty where none is spoken of.
    #[serde(default)]
    pub fault: String,
    /// How long ago it was made, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_ago: Option<u64>,
    /// How long ago all servers were ready again, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mended_ago: Option<u64>,
}

/// Where a generator stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// Waiting until every backend and the results store answer a signed request.
    #[default]
    Probing,
    /// Running trials.
    Measuring,
    /// All trials are done and durable.
    Done,
}

/// How a container of the load generator ended, as its termination message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Termination {
    /// `loadgen calibrate`
    Calibrated(NodeCalibration),
    /// `loadgen run`: every trial has an outcome in the store.
    Ran(TrialCounts),
    /// `loadgen report`: an encoded [`Outcome`], see the analysis crate.
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
}

impl Failure {
    /// The reason of a process that was stopped from outside, by a drain or a deletion.
    pub const STOPPED: &str = "Stopped";

    /// Whether nothing failed but the process was stopped from outside.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.reason == Self::STOPPED
    }
}

/// What a finished run hands to the operator for the status: bounded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
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
    /// SHA-256 of `index.json`, hexadecimal.
    pub index_sha256: String,
}
