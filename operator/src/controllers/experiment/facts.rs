//! What the operator observes of an experiment's surroundings: the input of every decision. (Pure.)

use crate::act::Refused;
use crate::children::{Children, Kind};
use bakeoff_crds::identity::Uid;
use bakeoff_crds::names;
use bakeoff_crds::quantity::Quantity;
use bakeoff_crds::run::{NodeFacts, Progress, Termination};
use bakeoff_rules::queue::Pool;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Everything observed at one instant.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The instant.
    pub now: Timestamp,
    /// The nodes of the pool, sorted by name; unschedulable ones are left out.
    pub nodes: Vec<NodeFacts>,
    /// The size of each image that they hold, by each of its names, bytes.
    pub image_bytes: BTreeMap<String, i64>,
    /// The experiment's own children.
    pub children: Children,
    /// For how long those of its Jobs that have ended are seen to.
    pub ended: BTreeMap<String, Duration>,
    /// What the API server refuses to make or remove.
    pub refused: BTreeMap<(Kind, String), Refused>,
    /// What was said of its children lately that Kubernetes could not go on with.
    pub told: Vec<Told>,
    /// What was made a moment ago and is not among the children yet, and Secrets that were.
    pub made: BTreeSet<(Kind, String)>,
    /// The keys of each Secret that matters now and exists: before the start those that the spec refers to, at the
    /// end and when it is suspended its own.
    pub secrets: BTreeMap<String, BTreeSet<String>>,
    /// Whether the node pool is free for it.
    pub pool: Pool,
    /// What generator 0 says, while it runs.
    pub progress: Option<Progress>,
}

/// A warning of Kubernetes about a child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The name of the child.
    pub about: String,
    /// One word, for example `FailedCreate`.
    pub reason: String,
    /// In words.
    pub message: String,
}

/// The sizes of the images that a node holds, by each of their names.
pub fn image_sizes(node: &Node) -> impl Iterator<Item = (String, i64)> {
    let images = node
        .status
        .iter()
        .filter_map(|status| status.images.as_ref());
    images
        .flatten()
        .flat_map(|image| {
            let size = image.size_bytes.unwrap_or(0);
            let names = image.names.iter().flatten();
            names.map(move |name| (name.clone(), size))
        })
        .filter(|(_, size)| *size > 0)
}

impl Children {
    /// The Job of this name.
    #[must_use]
    pub fn job(&self, name: &str) -> Option<&Job> {
        self.jobs
            .iter()
            .map(Arc::as_ref)
            .find(|job| job.name_any() == name)
    }

    /// The pods of a Job.
    pub fn pods_of_job<'a>(&'a self, job: &'a str) -> impl Iterator<Item = &'a Pod> {
        self.pods.iter().map(Arc::as_ref).filter(move |pod| {
            pod.labels()
                .get("batch.kubernetes.io/job-name")
                .is_some_and(|name| name == job)
        })
    }

    /// Those of them that have index 0: one, and what it replaces.
    pub fn index_zero<'a>(&'a self, job: &'a str) -> impl Iterator<Item = &'a Pod> {
        self.pods_of_job(job)
            .filter(|pod| completion_index(pod).unwrap_or(0) == 0)
    }

    /// The pods of a backend.
    pub fn pods_of_backend<'a>(&'a self, backend: &'a str) -> impl Iterator<Item = &'a Pod> {
        self.pods.iter().map(Arc::as_ref).filter(move |pod| {
            pod.labels()
                .get(names::LABEL_BACKEND)
                .is_some_and(|name| name == backend)
        })
    }
}

/// How a Job stands.
#[derive(Clone, Debug, PartialEq)]
pub enum JobState {
    /// Not there.
    Absent,
    /// Its pods are pending or running.
    Active,
    /// All its pods succeeded.
    Succeeded,
    /// It failed, with the reason that Kubernetes gives.
    Failed(String),
}

/// How a Job stands.
#[must_use]
pub fn job_state(job: Option<&Job>) -> JobState {
    let Some(job) = job else {
        return JobState::Absent;
    };
    let conditions = job
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_deref())
        .unwrap_or_default();
    let holds = |type_: &str| {
        conditions
            .iter()
            .find(|c| c.type_ == type_ && c.status == "True")
    };
    if holds("Complete").is_some() {
        JobState::Succeeded
    } else if let Some(failed) = holds("Failed") {
        let text = [failed.reason.as_deref(), failed.message.as_deref()];
        JobState::Failed(text.into_iter().flatten().collect::<Vec<_>>().join(": "))
    } else {
        JobState::Active
    }
}

/// For how long what the pods of a Job said may still be on its way once the Job is seen to have ended: they are watched
/// one by one.
const POD_PATIENCE: Duration = Duration::from_secs(15);

impl Observed {
    /// Whether a Job has ended of which a pod is not shown to have ended, though it may yet be.
    #[must_use]
    pub fn awaits_pod(&self, job: &str) -> bool {
        let mut pods = self.children.pods_of_job(job).peekable();
        let open = pods.peek().is_none() || pods.any(|pod| container_end(pod).is_none());
        let ended = self.ended.get(job);
        open && ended.is_some_and(|since| *since < POD_PATIENCE)
    }
}

/// Since when Jobs are seen to have ended, by the clock of this process: that of the API server, by which they say it, is
/// another one. Losing it is harmless: what is still on its way is waited for anew.
#[derive(Debug, Default)]
pub struct Ends(HashMap<Uid, HashMap<String, Instant>>);

impl Ends {
    /// For how long the Jobs of an experiment are seen to have ended.
    pub fn seen(
        &mut self,
        uid: &Uid,
        children: &Children,
        now: Instant,
    ) -> BTreeMap<String, Duration> {
        let ended = children.jobs.iter().filter(|job| {
            let state = job_state(Some(job));
            matches!(state, JobState::Succeeded | JobState::Failed(_))
        });
        let names: Vec<String> = ended.map(|job| job.name_any()).collect();
        if names.is_empty() {
            self.0.remove(uid);
            return BTreeMap::new();
        }
        let seen = self.0.entry(uid.clone()).or_default();
        seen.retain(|name, _| names.contains(name));
        let since = names.into_iter().map(|name| {
            let first = *seen.entry(name.clone()).or_insert(now);
            (name, now.saturating_duration_since(first))
        });
        since.collect()
    }

    /// Forgets all experiments but those that still need something.
    pub fn keep(&mut self, needed: impl Fn(&Uid) -> bool) {
        self.0.retain(|uid, _| needed(uid));
    }
}

/// The termination message of a load generator's pod, once it has ended.
#[must_use]
pub fn termination(pod: &Pod) -> Option<Termination> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let message = statuses
        .iter()
        .find_map(|c| c.state.as_ref()?.terminated.as_ref()?.message.as_deref())?;
    serde_json::from_str(message).ok()
}

/// How the container of a pod ended, in the words of Kubernetes: `OOMKilled (exit code 137)`.
#[must_use]
pub fn container_end(pod: &Pod) -> Option<String> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let ended = statuses
        .iter()
        .find_map(|c| c.state.as_ref()?.terminated.as_ref())?;
    Some(format!(
        "{} (exit code {})",
        ended.reason.as_deref().unwrap_or("ended"),
        ended.exit_code
    ))
}

/// Whether no container of a pod has run yet.
#[must_use]
pub fn is_pending(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let phase = status.and_then(|status| status.phase.as_deref());
    matches!(phase, None | Some("Pending"))
}

/// Whether a pod is ready.
#[must_use]
pub fn is_ready(pod: &Pod) -> bool {
    ready_since(pod).is_some()
}

/// Since when a pod is ready.
#[must_use]
pub fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let ready = conditions
        .iter()
        .find(|c| c.type_ == "Ready" && c.status == "True")?;
    ready.last_transition_time.as_ref().map(|time| time.0)
}

/// Since when a pod is not ready.
#[must_use]
pub fn unready_since(pod: &Pod) -> Option<Timestamp> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let ready = conditions
        .iter()
        .find(|c| c.type_ == "Ready" && c.status == "False")?;
    ready.last_transition_time.as_ref().map(|time| time.0)
}

/// The index of a pod of an Indexed Job.
fn completion_index(pod: &Pod) -> Option<i32> {
    pod.annotations()
        .get("batch.kubernetes.io/job-completion-index")?
        .parse()
        .ok()
}

/// A node of the API server as facts; `None` when pods cannot be placed on it.
#[must_use]
pub fn node_facts(node: &Node) -> Option<NodeFacts> {
    let spec = node.spec.as_ref();
    let blocked = spec
        .and_then(|spec| spec.taints.as_ref())
        .is_some_and(|taints| {
            taints
                .iter()
                .any(|taint| taint.effect == "NoSchedule" || taint.effect == "NoExecute")
        });
    if blocked || spec.and_then(|spec| spec.unschedulable).unwrap_or(false) {
        return None;
    }
    let status = node.status.as_ref()?;
    let amount = |key: &str| {
        status
            .allocatable
            .as_ref()
            .and_then(|all| all.get(key))
            .map(|q| Quantity(q.0.clone()))
    };
    let info = status.node_info.clone().unwrap_or_default();
    Some(NodeFacts {
        name: node.name_any(),
        allocatable_cpu_millis: amount("cpu").and_then(|q| q.millis().ok()).unwrap_or(0),
        allocatable_memory_bytes: amount("memory").and_then(|q| q.units().ok()).unwrap_or(0),
        kernel_version: info.kernel_version,
        os_image: info.os_image,
        container_runtime: info.container_runtime_version,
        architecture: info.architecture,
        boot_id: info.boot_id,
        calibration: None,
    })
}
