//! How Jobs and pods stand, whoever their owner is. (Pure.)

use super::frame::{BESIDE, OWN_CONTAINERS};
use crate::children::Children;
use bakeoff_crds::names;
use bakeoff_crds::run::Termination;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobCondition};
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};
use kube::ResourceExt;
use std::sync::Arc;

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
    /// It fails, and Kubernetes says so for good once its last pod has ended: on a node that is lost that is never.
    Failing {
        /// Since when.
        since: Timestamp,
        /// The reason that Kubernetes gives.
        cause: String,
    },
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
    let cause = |failed: &JobCondition| {
        let text = [failed.reason.as_deref(), failed.message.as_deref()];
        text.into_iter().flatten().collect::<Vec<_>>().join(": ")
    };
    if holds("Complete").is_some() {
        JobState::Succeeded
    } else if let Some(failed) = holds("Failed") {
        JobState::Failed(cause(failed))
    } else if let Some(failing) = holds("FailureTarget")
        && let Some(since) = &failing.last_transition_time
    {
        JobState::Failing {
            since: since.0,
            cause: cause(failing),
        }
    } else {
        JobState::Active
    }
}

/// The names of the Jobs that have ended.
#[must_use]
pub fn ended_jobs(children: &Children) -> Vec<String> {
    let ended = children.jobs.iter().filter(|job| {
        let state = job_state(Some(job));
        matches!(state, JobState::Succeeded | JobState::Failed(_))
    });
    ended.map(|job| job.name_any()).collect()
}

/// The container of a pod that is ours: a service mesh or a policy may have added others.
#[must_use]
pub fn own_container(pod: &Pod) -> Option<&ContainerStatus> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let ours = |container: &&ContainerStatus| OWN_CONTAINERS.contains(&container.name.as_str());
    statuses.iter().find(ours)
}

/// The containers of a pod that others have added.
pub fn strange_containers(pod: &Pod) -> impl Iterator<Item = &str> {
    let spec = pod.spec.as_ref();
    let added = spec.and_then(|spec| spec.init_containers.as_ref());
    let all = spec.into_iter().flat_map(|spec| &spec.containers);
    all.chain(added.into_iter().flatten())
        .map(|container| container.name.as_str())
        .filter(|name| !OWN_CONTAINERS.contains(name) && !BESIDE.contains(name))
}

fn ended(pod: &Pod) -> Option<&ContainerStateTerminated> {
    own_container(pod)?.state.as_ref()?.terminated.as_ref()
}

/// The termination message of a load generator's pod, once it has ended.
#[must_use]
pub fn termination(pod: &Pod) -> Option<Termination> {
    serde_json::from_str(ended(pod)?.message.as_deref()?).ok()
}

/// The exit code of our container of a pod, once it has ended.
#[must_use]
pub fn exit_code(pod: &Pod) -> Option<i32> {
    ended(pod).map(|end| end.exit_code)
}

/// How the container of a pod ended, in the words of Kubernetes: `OOMKilled (exit code 137)`.
#[must_use]
pub fn container_end(pod: &Pod) -> Option<String> {
    let ended = ended(pod)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(containers: serde_json::Value, statuses: serde_json::Value) -> Pod {
        serde_json::from_value(json!({
            "spec": {"containers": containers}, "status": {"containerStatuses": statuses},
        }))
        .unwrap()
    }

    fn status(name: &str, state: serde_json::Value) -> serde_json::Value {
        json!({"name": name, "image": name, "imageID": format!("{name}@sha256:0"), "ready": true, "restartCount": 0, "state": state})
    }

    #[test]
    fn what_others_put_into_a_pod_is_not_taken_for_ours() {
        let said = json!({"cleanedUp": 3}).to_string();
        let ended = |message: &str| json!({"terminated": {"exitCode": 0, "reason": "Completed", "message": message}});
        let running = json!({"running": {}});
        let pod = pod(
            json!([{"name": "aa-proxy"}, {"name": "loadgen"}]),
            json!([status("aa-proxy", running), status("loadgen", ended(&said))]),
        );
        assert_eq!(termination(&pod), Some(Termination::CleanedUp(3)));
        assert_eq!(exit_code(&pod), Some(0));
        assert_eq!(own_container(&pod).unwrap().image_id, "loadgen@sha256:0");
        assert_eq!(strange_containers(&pod).collect::<Vec<_>>(), ["aa-proxy"]);
    }
}
