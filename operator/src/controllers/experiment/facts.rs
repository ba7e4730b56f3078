//! What the operator observes of an experiment's surroundings: the input of every decision. (Pure.)

use crate::act::Refused;
use crate::children::{Children, Kind};
use crate::parts::objects::Role;
use crate::parts::pods::{container_end, is_pending, is_ready};
use crate::parts::trouble::Told;
use crate::remembered::Remembered;
use bakeoff_crds::identity::Uid;
use bakeoff_crds::names;
use bakeoff_crds::quantity::Quantity;
use bakeoff_crds::run::{NodeFacts, Progress};
use bakeoff_rules::catalogue::repository;
use bakeoff_rules::pool::{Machine, Taint};
use bakeoff_rules::queue::Pool;
use bakeoff_rules::validate::{Absent, Remains, ServerName, Surroundings};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeStatus, Pod};
use kube::ResourceExt;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

/// Everything observed at one instant.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The instant.
    pub now: Timestamp,
    /// The nodes of the pool that take its pods, sorted by name.
    pub nodes: Vec<NodeFacts>,
    /// The nodes with its labels that do not, each with the cause.
    pub shut: Vec<String>,
    /// What the spec refers to in the cluster and is not there; looked for before the start.
    pub absent: Vec<Absent>,
    /// The size of each image that they hold, by each of its names, bytes.
    pub image_bytes: BTreeMap<String, i64>,
    /// The experiment's own children.
    pub children: Children,
    /// For how long those of its Jobs that have ended are seen to.
    pub ended: BTreeMap<String, Duration>,
    /// For how long those of its servers are seen to be down of which a pod is not ready.
    pub down: BTreeMap<String, Duration>,
    /// For how long those of its pods are seen to fail of which a container is not begun.
    pub failing: BTreeMap<String, Duration>,
    /// What the API server refuses to make or remove.
    pub refused: BTreeMap<(Kind, String), Refused>,
    /// What was said of its children lately that Kubernetes could not go on with.
    pub told: Vec<Told>,
    /// What was made a moment ago and is not among the children yet, and Secrets that were.
    pub made: BTreeSet<(Kind, String)>,
    /// The keys of each Secret that matters now and exists: before the start those that the spec refers to, at the
    /// end and when it is suspended its own.
    pub secrets: BTreeMap<String, BTreeSet<String>>,
    /// The keys of each ConfigMap that the spec refers to and that exists; looked for before the start.
    pub config_maps: BTreeMap<String, BTreeSet<String>>,
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

/// For how long what the pods of a Job said may still be on its way once the Job is seen to have ended: they are watched
/// one by one.
const POD_PATIENCE: Duration = Duration::from_secs(15);

impl Observed {
    /// What stands around the experiment before it starts.
    #[must_use]
    pub fn surroundings(&self) -> Surroundings<'_> {
        Surroundings {
            secrets: &self.secrets,
            config_maps: &self.config_maps,
            nodes: &self.nodes,
            shut: &self.shut,
            absent: &self.absent,
        }
    }

    /// Whether a generator runs or has run, as far as its pod is there.
    #[must_use]
    pub fn generators_run(&self) -> bool {
        let role = |pod: &Pod| pod.labels().get(names::LABEL_ROLE).cloned();
        let generator = Role::Generator.as_str();
        let mut pods = self.children.pods.iter();
        pods.any(|pod| role(pod).as_deref() == Some(generator) && !is_pending(pod))
    }

    /// Whether a Job has ended of which a pod is not shown to have ended, though it may yet be.
    #[must_use]
    pub fn awaits_pod(&self, job: &str) -> bool {
        let mut pods = self.children.pods_of_job(job).peekable();
        let open = pods.peek().is_none() || pods.any(|pod| container_end(pod).is_none());
        let ended = self.ended.get(job);
        open && ended.is_some_and(|since| *since < POD_PATIENCE)
    }
}

/// The servers of an experiment of which a pod is not ready.
#[must_use]
pub fn servers_down<'a>(remains: &'a Remains, children: &Children) -> Vec<&'a str> {
    let servers = remains.servers().into_iter();
    servers
        .filter(|server| {
            let pods = children.pods_of_backend(server.as_str());
            let ready = pods.filter(|pod| is_ready(pod)).count();
            i32::try_from(ready).is_ok_and(|ready| ready < remains.topology(*server).pods())
        })
        .map(ServerName::as_str)
        .collect()
}

/// Since when something is seen of an experiment's children, by the clock of this process: that of the API server is another
/// one, and of what is not there it has none. Losing it is harmless: what is waited for is waited for anew.
#[derive(Debug, Default)]
pub struct Since(HashMap<String, Instant>);

impl Since {
    /// For how long it is seen of each of these, and of no other any more.
    pub fn seen<N: Into<String>>(
        &mut self,
        names: impl IntoIterator<Item = N>,
        now: Instant,
    ) -> BTreeMap<String, Duration> {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        self.0.retain(|name, _| names.contains(name));
        let since = names.into_iter().map(|name| {
            let first = *self.0.entry(name.clone()).or_insert(now);
            (name, now.saturating_duration_since(first))
        });
        since.collect()
    }
}

impl Remembered<Since> {
    /// For how long it is seen of each of these of an owner.
    pub fn seen<N: Into<String>>(
        &self,
        uid: &Uid,
        names: impl IntoIterator<Item = N>,
    ) -> BTreeMap<String, Duration> {
        let mut all = self.lock();
        all.entry(uid.clone())
            .or_default()
            .seen(names, Instant::now())
    }
}

/// What of a node says whose it is.
#[must_use]
pub fn machine(node: &Node) -> Machine {
    let spec = node.spec.as_ref();
    let taints = spec.and_then(|spec| spec.taints.as_ref());
    let taints = taints.into_iter().flatten().map(|taint| Taint {
        key: taint.key.clone(),
        value: taint.value.clone().unwrap_or_default(),
        effect: taint.effect.clone(),
    });
    Machine {
        labels: node.labels().clone(),
        taints: taints.collect(),
        cordoned: spec.and_then(|spec| spec.unschedulable) == Some(true),
    }
}

/// Drops what nobody reads of a node: of images all but those of these repositories, which are a good part of its size.
pub fn trim(node: &mut Node, repositories: &BTreeSet<String>) {
    node.annotations_mut().clear();
    let Some(status) = &mut node.status else {
        return;
    };
    *status = NodeStatus {
        allocatable: status.allocatable.take(),
        node_info: status.node_info.take(),
        images: status.images.take(),
        ..Default::default()
    };
    let ours = |name: &String| repositories.contains(repository(name));
    for image in status.images.iter_mut().flatten() {
        if let Some(names) = &mut image.names {
            names.retain(ours);
        }
    }
    if let Some(images) = &mut status.images {
        images.retain(|image| image.names.as_ref().is_some_and(|names| !names.is_empty()));
    }
}

/// A node of the API server as facts; `None` before it has said what it offers.
#[must_use]
pub fn node_facts(node: &Node) -> Option<NodeFacts> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_node_keeps_what_is_read_of_it() {
        let image =
            |name: &str| json!({"names": [name, "registry/other@sha256:1"], "sizeBytes": 7});
        let mut node: Node = serde_json::from_value(json!({
            "metadata": {"name": "n", "annotations": {"a": "b"}, "labels": {"pool": "bench"}},
            "spec": {"taints": [{"key": "dedicated", "effect": "NoSchedule"}], "unschedulable": true},
            "status": {
                "allocatable": {"cpu": "4", "memory": "8Gi"}, "capacity": {"cpu": "4"},
                "conditions": [{"type": "Ready", "status": "True"}],
                "images": [image("docker.io/library/postgres:18.4"), image("docker.io/library/nginx:1")],
                "nodeInfo": {"machineID": "", "systemUUID": "", "bootID": "b", "kernelVersion": "6", "osImage": "o",
                    "containerRuntimeVersion": "c", "kubeletVersion": "k", "kubeProxyVersion": "", "operatingSystem": "linux",
                    "architecture": "amd64"},
            },
        }))
        .unwrap();
        let (facts, before) = (node_facts(&node), machine(&node));
        trim(&mut node, &BTreeSet::from(["postgres".to_owned()]));
        assert_eq!((node_facts(&node), machine(&node)), (facts, before));
        assert!(before_is_shut(&node));
        let images: Vec<_> = image_sizes(&node).collect();
        assert_eq!(images, [("docker.io/library/postgres:18.4".to_owned(), 7)]);
        let status = node.status.unwrap();
        assert!(status.conditions.is_none() && status.capacity.is_none());
    }

    fn before_is_shut(node: &Node) -> bool {
        machine(node).cordoned && machine(node).taints.len() == 1
    }
}
