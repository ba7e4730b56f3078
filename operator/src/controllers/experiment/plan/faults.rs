//! Servers that are killed in the middle of a window, on purpose. (Pure.)
//!
//! A generator says that a fault is due. Which pod it takes is remembered first and killed then, by its uid: however often that is
//! begun anew, one pod is killed for one fault.

use super::Draft;
use crate::action::Action;
use crate::controllers::experiment::facts::servers_down;
use crate::parts::pods::is_ready;
use bakeoff_crds::conditions::reasons;
use bakeoff_crds::names;
use bakeoff_crds::rng::SplitMix64;
use bakeoff_crds::run::{FaultHeard, WantedFault};
use bakeoff_crds::status::FaultStatus;
use bakeoff_rules::validate::ServerName;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use std::sync::Arc;

/// How often it is looked at while it is due or not mended, seconds.
const LOOK_SECONDS: i64 = 1;

/// Sees to the fault that a generator asks for; whether that is to be remembered before anything is done.
pub(super) fn see_to(draft: &mut Draft<'_>, wanted: &WantedFault) -> bool {
    draft.wake_after(LOOK_SECONDS);
    let now = draft.now();
    let known = draft.status.fault.clone();
    let Some(mut fault) = known.filter(|fault| fault.id == wanted.id) else {
        let Some(fault) = victim(draft, wanted) else {
            return false;
        };
        let message = format!("kills pod {} in trial {}", fault.pod, fault.id);
        draft.note(false, reasons::FAULT, &message);
        draft.status.fault = Some(fault);
        return true;
    };
    let stands = |pod: &Arc<Pod>| pod.uid().as_deref() == Some(&fault.pod_uid);
    let children = &draft.observed.children;
    let alive = children.pods.iter().find(|pod| stands(pod)).cloned();
    if let Some(pod) = &alive
        && pod.metadata.deletion_timestamp.is_none()
    {
        let (pod, uid) = (fault.pod.clone(), fault.pod_uid.clone());
        draft.act(Action::Kill { pod, uid });
        // When it was first asked for: what is in flight then fails later, and is not taken for a failure of before.
        fault.made_time.get_or_insert(now);
        draft.status.fault = Some(fault);
        return false;
    }
    // Somebody else may have been quicker.
    fault.made_time.get_or_insert(now);
    let back = alive.is_none() && !servers_down(draft.remains, children).contains(&&*fault.backend);
    if back {
        fault.mended_time.get_or_insert(now);
    }
    draft.status.fault = Some(fault);
    false
}

/// The pod that a fault takes: one of those that can be lost, drawn by the seed and the fault's name.
fn victim(draft: &Draft<'_>, wanted: &WantedFault) -> Option<FaultStatus> {
    let of = draft.remains;
    let member = of
        .topology(ServerName::Backend(&wanted.backend))
        .expendable();
    let pods = draft.observed.children.pods_of_backend(&wanted.backend);
    let mut pods: Vec<&Pod> = pods
        .filter(|pod| {
            pod.labels().get(names::LABEL_MEMBER).map(String::as_str) == Some(member.as_str())
        })
        .filter(|pod| is_ready(pod) && pod.metadata.deletion_timestamp.is_none())
        .collect();
    pods.sort_by_key(|pod| pod.name_any());
    let many = u64::try_from(pods.len()).ok().filter(|many| *many > 0)?;
    let drawn = SplitMix64::stream(of.spec.seed.unsigned_abs(), &wanted.id).below(many);
    let pod = pods.get(usize::try_from(drawn).ok()?)?;
    Some(FaultStatus {
        id: wanted.id.clone(),
        backend: wanted.backend.clone(),
        pod: pod.name_any(),
        pod_uid: pod.uid()?,
        made_time: None,
        mended_time: None,
    })
}

/// What is said to the generator of the last fault.
#[must_use]
pub fn heard(fault: Option<&FaultStatus>, now: Timestamp) -> FaultHeard {
    let ago = |since: Option<Timestamp>| {
        let passed = now.duration_since(since?).as_millis();
        Some(u64::try_from(passed).unwrap_or(0))
    };
    fault.map_or_else(FaultHeard::default, |fault| FaultHeard {
        fault: fault.id.clone(),
        made_ago: ago(fault.made_time),
        mended_ago: ago(fault.mended_time),
    })
}
