//! Why a pod does not start, in the pod's own words. (Pure.)
//!
//! A pod that cannot start is a condition with a reason and a deadline, never a silent wait.

use super::pods::{JobState, is_pending, job_state};
use crate::children::Children;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStateTerminated, Pod};
use kube::ResourceExt;
use std::collections::BTreeSet;
use std::time::Duration;

/// For how long a pull may fail before the experiment does: a registry hiccup should not end one.
const GRACE: Duration = Duration::from_secs(30);

/// Why a pod does not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// No node takes it.
    Unschedulable,
    /// Its image is not to be had.
    ImagePullFailed,
    /// A container cannot be made or begun.
    ContainerNotCreated,
    /// A container keeps ending.
    BackendCrashed,
    /// What Kubernetes calls it in an event, for example `FailedCreate`.
    Told(String),
}

impl Cause {
    /// The reason of the condition.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Unschedulable => "Unschedulable",
            Self::ImagePullFailed => "ImagePullFailed",
            Self::ContainerNotCreated => "ContainerNotCreated",
            Self::BackendCrashed => "BackendCrashed",
            Self::Told(reason) => reason,
        }
    }
}

/// What keeps a pod from running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Why.
    pub cause: Cause,
    /// The pod, the cause and the mend.
    pub message: String,
    /// Whether waiting longer is pointless.
    pub fatal: bool,
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

/// What keeps this pod from running, if anything. A pod that finds no node is given `patience_seconds`: a
/// pool may grow, a volume may take its time. `failing` is for how long it is seen that its containers are not begun: it may
/// have waited for a volume before, or run for hours.
#[must_use]
pub fn of_pod(
    pod: &Pod,
    now: Timestamp,
    patience_seconds: i64,
    failing: Option<Duration>,
) -> Option<Trouble> {
    let status = pod.status.as_ref()?;
    let name = pod.name_any();
    let overdue = failing.is_some_and(|failing| failing > GRACE);

    let unschedulable = status.conditions.iter().flatten().find(|c| {
        c.type_ == "PodScheduled"
            && c.status == "False"
            && c.reason.as_deref() == Some("Unschedulable")
    });
    if let Some(condition) = unschedulable {
        return Some(Trouble {
            cause: Cause::Unschedulable,
            message: format!(
                "pod {name} cannot be placed: {}; free the nodes, or ask for less equipment",
                condition.message.as_deref().unwrap_or("no node fits")
            ),
            fatal: condition
                .last_transition_time
                .as_ref()
                .is_some_and(|since| {
                    now.duration_since(since.0) > SignedDuration::from_secs(patience_seconds)
                }),
        });
    }

    let containers = status
        .init_container_statuses
        .iter()
        .flatten()
        .chain(status.container_statuses.iter().flatten());
    for container in containers {
        let waiting = container
            .state
            .as_ref()
            .and_then(|state| state.waiting.as_ref());
        let Some(waiting) = waiting else { continue };
        let said = waiting.message.as_deref().unwrap_or("no details");
        match waiting.reason.as_deref() {
            Some(
                "ErrImagePull"
                | "ImagePullBackOff"
                | "ErrImageNeverPull"
                | "InvalidImageName"
                | "RegistryUnavailable",
            ) => {
                return Some(Trouble {
                    cause: Cause::ImagePullFailed,
                    message: format!(
                        "image {} of pod {name} cannot be pulled: {said}; check the chart's catalogue, the nodes' access to the registry, and equipment.imagePullSecrets for one that asks for credentials",
                        container.image
                    ),
                    fatal: overdue,
                });
            }
            Some("CreateContainerConfigError" | "CreateContainerError" | "RunContainerError") => {
                return Some(Trouble {
                    cause: Cause::ContainerNotCreated,
                    message: format!("pod {name} cannot be started: {said}"),
                    fatal: overdue,
                });
            }
            Some("CrashLoopBackOff") => {
                let last = container
                    .last_state
                    .as_ref()
                    .and_then(|state| state.terminated.as_ref());
                let end = last.map_or_else(String::new, |end| {
                    format!(
                        " ({}, exit code {})",
                        end.reason.as_deref().unwrap_or("ended"),
                        end.exit_code
                    )
                });
                return Some(Trouble {
                    cause: Cause::BackendCrashed,
                    message: format!(
                        "container {} of pod {name} keeps ending{end}{}; see kubectl logs --previous -c {} {name}",
                        container.name,
                        last.map_or_else(String::new, last_words),
                        container.name
                    ),
                    fatal: container.restart_count >= 3,
                });
            }
            _ => {}
        }
    }
    None
}

/// The pods of which a container is not begun, because its image is not to be had or it cannot be made.
#[must_use]
pub fn failing(children: &Children, now: Timestamp) -> Vec<String> {
    let fails = |pod: &Pod| {
        let trouble = of_pod(pod, now, 0, None);
        trouble.is_some_and(|trouble| {
            matches!(
                trouble.cause,
                Cause::ImagePullFailed | Cause::ContainerNotCreated
            )
        })
    };
    let pods = children.pods.iter().filter(|pod| fails(pod));
    pods.map(|pod| pod.name_any()).collect()
}

/// A child that has not come to be for so long may be in trouble.
const SUSPECT_SECONDS: i64 = 3;

/// The names of the children that have not come to be: owners without their pods, pods that do not run, volumes that are
/// not bound.
#[must_use]
pub fn suspects(children: &Children, now: Timestamp) -> BTreeSet<String> {
    fn old<K: ResourceExt>(object: &K, now: Timestamp) -> Option<String> {
        let created = object.meta().creation_timestamp.as_ref()?.0;
        let suspect = now.duration_since(created) >= SignedDuration::from_secs(SUSPECT_SECONDS);
        suspect.then(|| object.name_any())
    }
    let jobs = children.jobs.iter().filter(|job| {
        let wanted = job.spec.as_ref().and_then(|spec| spec.completions);
        let pods = children.pods_of_job(&job.name_any()).count();
        job_state(Some(job)) == JobState::Active && i32::try_from(pods).ok() < wanted
    });
    let sets = children.stateful_sets.iter().filter(|set| {
        let wanted = set.spec.as_ref().and_then(|spec| spec.replicas);
        let has = |index: i32| {
            let name = format!("{}-{index}", set.name_any());
            children.pods.iter().any(|pod| pod.name_any() == name)
        };
        !(0..wanted.unwrap_or(1)).all(has)
    });
    let pods = children.pods.iter().filter(|pod| is_pending(pod));
    let claims = children.claims.iter().filter(|claim| {
        let phase = claim
            .status
            .as_ref()
            .and_then(|status| status.phase.as_deref());
        phase != Some("Bound")
    });
    jobs.filter_map(|job| old(&**job, now))
        .chain(sets.filter_map(|set| old(&**set, now)))
        .chain(pods.filter_map(|pod| old(&**pod, now)))
        .chain(claims.filter_map(|claim| old(&**claim, now)))
        .collect()
}

/// Whether there are children that have not come to be, suspected yet or not.
#[must_use]
pub fn awaits(children: &Children) -> bool {
    !suspects(children, Timestamp::MAX).is_empty()
}

/// What says the same as a pod does itself, or nothing by itself.
const UNTOLD: [&str; 4] = ["FailedScheduling", "Unhealthy", "BackOff", "Failed"];

/// How the API server refuses a kubelet what it has just given it: it has not seen yet that the pod is on that node. The kubelet asks
/// again.
const TOO_EARLY: &str = "no relationship found between node";

/// What a warning of Kubernetes about a child means.
#[must_use]
pub fn of_told(told: &Told) -> Option<Trouble> {
    if UNTOLD.contains(&told.reason.as_str()) || told.message.contains(TOO_EARLY) {
        return None;
    }
    Some(Trouble {
        cause: Cause::Told(told.reason.clone()),
        message: format!("{}: {}{}", told.about, told.message, mend(&told.message)),
        // It may yet come to be: a quota is raised, a volume is made. The step that waits for it has a deadline.
        fatal: false,
    })
}

/// How to mend what the API server says to the operator, where that is known.
#[must_use]
pub fn mend_refusal(said: &str) -> &'static str {
    if said.contains("is forbidden: User") {
        "; the operator lacks a right: install the chart's roles"
    } else {
        mend(said)
    }
}

/// How to mend what the API server says to anybody, where that is known.
fn mend(said: &str) -> &'static str {
    if said.contains("exceeded quota") {
        "; raise the quota of the namespace, or ask for less"
    } else if said.contains("LimitRange") || said.contains("per Container") {
        "; change the LimitRange of the namespace, or the resources that are asked for"
    } else if said.contains("violates PodSecurity") {
        "; the namespace must admit the level restricted"
    } else if said.contains("denied the request") || said.contains("ValidatingAdmissionPolicy") {
        "; the admission policy of the cluster must let it in"
    } else {
        ""
    }
}

/// The last line that the container said, bounded: a server names there the setting that it refuses.
fn last_words(end: &ContainerStateTerminated) -> String {
    let said = end.message.as_deref().unwrap_or_default();
    let line = said.lines().rev().map(str::trim).find(|line| {
        // What a server says after the error is that it goes down.
        !line.is_empty() && !line.ends_with("database system is shut down")
    });
    line.map_or_else(String::new, |line| {
        format!(": {}", line.chars().take(300).collect::<String>())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::Arc;

    fn pod(status: serde_json::Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "p", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "status": status,
        }))
        .unwrap()
    }

    fn waiting(reason: &str) -> Pod {
        pod(json!({"containerStatuses": [{
            "name": "c", "image": "m:1", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": reason, "message": "manifest unknown"}},
        }]}))
    }

    #[test]
    fn an_image_that_cannot_be_pulled_is_fatal_after_the_grace() {
        let (made, hours_later) = ("2026-01-01T00:00:10Z", "2026-01-01T02:00:00Z");
        let seen = |at: &str, seconds| {
            let failing = Some(Duration::from_secs(seconds));
            of_pod(
                &waiting("ImagePullBackOff"),
                at.parse().unwrap(),
                60,
                failing,
            )
            .unwrap()
        };
        let (early, late) = (seen(made, 10), seen(made, 31));
        // One that ran for hours, or waited for its volume, has the grace as well.
        assert!(!seen(hours_later, 1).fatal);
        assert_eq!(
            (early.cause, early.fatal, late.fatal),
            (Cause::ImagePullFailed, false, true)
        );
        assert!(late.message.contains("m:1") && late.message.contains("manifest unknown"));
    }

    #[test]
    fn an_unschedulable_pod_names_the_scheduler_s_reason() {
        let pod = pod(json!({"conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes are available",
        }]}));
        let trouble = of_pod(&pod, "2026-01-01T00:00:10Z".parse().unwrap(), 60, None).unwrap();
        assert_eq!(trouble.cause, Cause::Unschedulable);
        assert!(trouble.message.contains("0/2 nodes"));
    }

    #[test]
    fn a_server_that_refuses_a_setting_is_quoted() {
        let pod = pod(json!({"containerStatuses": [{
            "name": "server", "image": "p:1", "imageID": "", "ready": false, "restartCount": 3,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"exitCode": 1, "reason": "Error", "message":
                "2026-01-01 [1] LOG:  starting\n2026-01-01 [1] FATAL:  unrecognized configuration parameter \"fo\"\n"}},
        }]}));
        let trouble = of_pod(&pod, "2026-01-01T00:00:10Z".parse().unwrap(), 60, None).unwrap();
        assert!(
            trouble.fatal
                && trouble
                    .message
                    .contains("unrecognized configuration parameter \"fo\""),
            "{}",
            trouble.message
        );
    }

    #[test]
    fn a_pod_that_is_being_created_is_no_trouble() {
        assert_eq!(
            of_pod(&waiting("ContainerCreating"), Timestamp::now(), 60, None),
            None
        );
    }

    #[test]
    fn what_a_controller_says_in_events_is_told_with_the_mend() {
        let told = |reason: &str, message: &str| Told {
            about: "run-0".to_owned(),
            reason: reason.to_owned(),
            message: message.to_owned(),
        };
        let quota =
            "pods \"run-0-0\" is forbidden: exceeded quota: small, requested: requests.cpu=500m";
        let trouble = of_told(&told("FailedCreate", quota)).unwrap();
        assert_eq!(trouble.cause.as_str(), "FailedCreate");
        assert!(!trouble.fatal && trouble.message.contains("raise the quota"));
        let mount = of_told(&told("FailedMount", "secret \"x\" not found")).unwrap();
        assert_eq!(mount.message, "run-0: secret \"x\" not found");
        assert_eq!(of_told(&told("Unhealthy", "probe failed")), None);
    }

    #[test]
    fn a_right_that_another_lacks_is_not_the_operator_s() {
        let said = |user: &str, why: &str| {
            format!(
                "persistentvolumeclaims \"data-0\" is forbidden: User \"{user}\" cannot get resource{why}"
            )
        };
        let told = |message: String| Told {
            about: "be-0".to_owned(),
            reason: "FailedMount".to_owned(),
            message,
        };
        let early = ": no relationship found between node 'bench-2' and this object";
        assert_eq!(of_told(&told(said("system:node:bench-2", early))), None);
        let other = said("system:serviceaccount:storage:provisioner", "");
        let trouble = of_told(&told(other.clone())).unwrap();
        assert!(trouble.message.ends_with(&other), "{}", trouble.message);
        let own = said("system:serviceaccount:bakeoff-system:bakeoff", "");
        assert!(mend_refusal(&own).contains("the operator lacks a right"));
        assert!(mend_refusal("exceeded quota: small").contains("raise the quota"));
    }

    #[test]
    fn only_what_has_not_come_to_be_for_a_while_is_suspected() {
        let made = |object: serde_json::Value| {
            let mut object = object;
            object["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
            object
        };
        let job = |name: &str| {
            made(json!({"metadata": {"name": name}, "spec": {"completions": 1, "template": {}}}))
        };
        let with_pod = |job: &str, phase: &str| {
            made(
                json!({"metadata": {"name": format!("{job}-0"), "labels": {"batch.kubernetes.io/job-name": job}},
                "status": {"phase": phase}}),
            )
        };
        let children = Children {
            jobs: ["none", "waits", "runs"]
                .map(|name| Arc::new(serde_json::from_value(job(name)).unwrap()))
                .to_vec(),
            pods: [("waits", "Pending"), ("runs", "Running")]
                .map(|(job, phase)| Arc::new(serde_json::from_value(with_pod(job, phase)).unwrap()))
                .to_vec(),
            ..Default::default()
        };
        let at = |text: &str| suspects(&children, text.parse().unwrap());
        assert!(at("2026-01-01T00:00:02Z").is_empty());
        assert!(awaits(&children), "it is looked at again before long");
        assert!(!awaits(&Children::default()));
        let expected = ["none", "waits-0"].map(str::to_owned);
        assert_eq!(at("2026-01-01T00:00:03Z"), BTreeSet::from(expected));
    }
}
