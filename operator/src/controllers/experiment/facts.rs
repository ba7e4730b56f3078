//! What the operator observes of an experiment's surroundings: the input of every decision. (Pure.)

use bakeoff_crds::names;
use bakeoff_crds::quantity::Quantity;
use bakeoff_crds::run::{NodeFacts, Progress, Termination};
use bakeoff_rules::queue::Pool;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Node, PersistentVolumeClaim, Pod, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

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

/// A kind of child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Job
    Job,
    /// StatefulSet
    StatefulSet,
    /// Service
    Service,
    /// ConfigMap
    ConfigMap,
    /// NetworkPolicy
    NetworkPolicy,
    /// PodDisruptionBudget
    DisruptionBudget,
    /// PersistentVolumeClaim
    Claim,
    /// Secret
    Secret,
}

/// The objects that carry the experiment's uid.
#[derive(Clone, Debug, Default)]
pub struct Children {
    /// Backends.
    pub stateful_sets: Vec<Arc<StatefulSet>>,
    /// Calibration, generators, report, cleanup.
    pub jobs: Vec<Arc<Job>>,
    /// Of both.
    pub pods: Vec<Arc<Pod>>,
    /// Names of backends and generators.
    pub services: Vec<Arc<Service>>,
    /// Run plans.
    pub config_maps: Vec<Arc<ConfigMap>>,
    /// Data of backends.
    pub claims: Vec<Arc<PersistentVolumeClaim>>,
    /// Who may reach the backends.
    pub network_policies: Vec<Arc<NetworkPolicy>>,
    /// Against eviction.
    pub disruption_budgets: Vec<Arc<PodDisruptionBudget>>,
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

    /// Whether a Job has ended of which a pod is not shown to have ended, though it may yet be.
    #[must_use]
    pub fn awaits_pod(&self, job: &str, now: Timestamp) -> bool {
        let ended = self.job(job).and_then(ended_at);
        // The clock of the API server is another one.
        let patience = SignedDuration::from_secs(POD_SECONDS);
        let mut pods = self.pods_of_job(job).peekable();
        let open = pods.peek().is_none() || pods.any(|pod| container_end(pod).is_none());
        open && ended.is_some_and(|at| now.duration_since(at).abs() < patience)
    }

    /// The pods of a backend.
    pub fn pods_of_backend<'a>(&'a self, backend: &'a str) -> impl Iterator<Item = &'a Pod> {
        self.pods.iter().map(Arc::as_ref).filter(move |pod| {
            pod.labels()
                .get(names::LABEL_BACKEND)
                .is_some_and(|name| name == backend)
        })
    }

    /// Whether there is one of this kind and name. Secrets are not among the children: nobody may list them.
    #[must_use]
    pub fn has(&self, kind: Kind, name: &str) -> bool {
        fn named<K: ResourceExt>(objects: &[Arc<K>], name: &str) -> bool {
            objects.iter().any(|object| object.name_any() == name)
        }
        match kind {
            Kind::Job => named(&self.jobs, name),
            Kind::StatefulSet => named(&self.stateful_sets, name),
            Kind::Service => named(&self.services, name),
            Kind::ConfigMap => named(&self.config_maps, name),
            Kind::NetworkPolicy => named(&self.network_policies, name),
            Kind::DisruptionBudget => named(&self.disruption_budgets, name),
            Kind::Claim => named(&self.claims, name),
            Kind::Secret => false,
        }
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.stateful_sets.is_empty()
            && self.jobs.is_empty()
            && self.pods.is_empty()
            && self.services.is_empty()
            && self.config_maps.is_empty()
            && self.claims.is_empty()
            && self.network_policies.is_empty()
            && self.disruption_budgets.is_empty()
    }

    /// What is left, for people: `2 pods, 1 claim`.
    #[must_use]
    pub fn describe(&self) -> String {
        let counts = [
            (self.stateful_sets.len(), "stateful sets"),
            (self.jobs.len(), "jobs"),
            (self.pods.len(), "pods"),
            (self.services.len(), "services"),
            (self.config_maps.len(), "config maps"),
            (self.claims.len(), "volume claims"),
            (self.network_policies.len(), "network policies"),
            (self.disruption_budgets.len(), "disruption budgets"),
        ];
        let parts: Vec<String> = counts
            .iter()
            .filter(|(n, _)| *n > 0)
            .map(|(n, what)| format!("{n} {what}"))
            .collect();
        parts.join(", ")
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

/// For how long what the pod of a Job said may still be on its way once the Job has ended: they are watched one by one.
const POD_SECONDS: i64 = 15;

/// When a Job ended.
fn ended_at(job: &Job) -> Option<Timestamp> {
    let status = job.status.as_ref()?;
    let ended = status.conditions.iter().flatten().find(|condition| {
        matches!(condition.type_.as_str(), "Complete" | "Failed") && condition.status == "True"
    })?;
    let completed = status.completion_time.as_ref();
    completed
        .or(ended.last_transition_time.as_ref())
        .map(|time| time.0)
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
