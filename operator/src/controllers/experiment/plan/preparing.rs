//! Before the first trial: calibrate the nodes, provision the backends. (Pure.)

use super::Draft;
use crate::action::{Action, Credentials};
use crate::children::Kind;
use crate::controllers::experiment::build::profile::profile;
use crate::controllers::experiment::build::server_pod::Ground;
use crate::controllers::experiment::build::{self, backend, guard, jobs, run_plan, server_names};
use crate::controllers::experiment::facts::servers_down;
use crate::parts::objects::Role;
use crate::parts::pods::{JobState, job_state, termination};
use crate::parts::trouble::{self, Cause, Trouble};
use bakeoff_crds::EndReason;
use bakeoff_crds::conditions::reasons;
use bakeoff_crds::names;
use bakeoff_crds::run::{Environment, NodeCalibration, NodeFacts, Termination};
use bakeoff_rules::equality;
use bakeoff_rules::validate::{Server, Validated};
use jiff::SignedDuration;
use kube::ResourceExt;
use std::collections::{BTreeMap, BTreeSet};

/// Nodes that are calibrated; a larger pool is sampled by name.
const MAX_CALIBRATED: usize = 8;
/// A calibration that takes longer than this is given up: it only informs.
const CALIBRATION_SECONDS: i64 = 45;

/// How far the preparation is.
pub(super) enum Preparation {
    /// Nodes are known and backends answer.
    Ready,
    /// Something is not there yet.
    Waiting,
    /// It cannot be done.
    Failed(EndReason, String),
}

/// The servers that do not answer.
pub(super) fn not_ready<'a>(draft: &Draft<'a>) -> Vec<&'a str> {
    servers_down(draft.remains, &draft.observed.children)
}

/// Calibrates the nodes and provisions the backends.
pub(super) fn prepare(draft: &mut Draft<'_>, valid: &Validated) -> Preparation {
    let of = draft.remains;
    provide_for_jobs(draft);
    draft.ensure(guard::backend_policy(of));
    draft.ensure(guard::generator_policy(of, draft.settings));
    draft.ensure(jobs::generator_service(of));

    let profiled = |(name, server): (_, &Server)| {
        let profile = profile(&server.release, &of.spec.equipment);
        (name, server.clone(), profile)
    };
    let servers: Vec<_> = valid.servers().map(profiled).collect();
    for (name, server, profile) in &servers {
        for service in backend::services(of, (*name, server), profile) {
            draft.ensure(service);
        }
    }
    if calibrating(draft) {
        draft.stage(
            reasons::CALIBRATING,
            &format!(
                "looks at the nodes {}",
                equality::names(&draft.observed.nodes)
            ),
        );
        return troubled(draft)
            .or_else(|| calibration_troubled(draft))
            .unwrap_or(Preparation::Waiting);
    }
    let ground = Ground {
        settings: draft.settings,
        nodes: &draft.observed.nodes,
    };
    for (name, server, profile) in &servers {
        for set in backend::stateful_sets(of, (*name, server), profile, ground) {
            draft.ensure(set);
        }
    }
    draft.ensure(guard::disruption_budget(of));
    let waiting = not_ready(draft);
    if waiting.is_empty() {
        return Preparation::Ready;
    }
    draft.stage(
        reasons::PROVISIONING,
        &format!("waits until {} answer", waiting.join(" and ")),
    );
    troubled(draft).unwrap_or(Preparation::Waiting)
}

/// What every Job of the experiment needs beside itself. A suspension takes it away, and whoever is ended then still reports and
/// cleans up.
pub(super) fn provide_for_jobs(draft: &mut Draft<'_>) {
    secrets(draft);
    draft.ensure(guard::egress_policy(draft.remains));
}

fn secrets(draft: &mut Draft<'_>) {
    let of = draft.remains;
    for server in of.servers() {
        let name = server_names::credentials_name(of, server);
        secret(draft, name, Role::Backend, Credentials::Drawn);
    }
    if of.spec.results.s3.is_none() {
        let name = jobs::results_secret(of);
        secret(draft, name, Role::Generator, Credentials::OfResultsStore);
    }
}

fn secret(draft: &mut Draft<'_>, name: String, role: Role, content: Credentials) {
    let deleted = draft.experiment.metadata.deletion_timestamp.is_some();
    let absent = if deleted || draft.status.ending.is_some() {
        // It was looked for in this pass. One that is there is not asked for, as a quota may be full with it; one that is not is
        // gone, whatever was made once. Without a store there is nothing to make it of.
        let source = content == Credentials::Drawn || draft.settings.results.is_some();
        source && !draft.observed.secrets.contains_key(&name)
    } else {
        !draft.exists(Kind::Secret, &name)
    };
    if absent {
        let secret = Box::new(build::secret(draft.remains, name, role));
        draft.act(Action::CreateSecret(secret, content));
    }
}

/// Sees to the calibration Jobs; whether one of them still works.
fn calibrating(draft: &mut Draft<'_>) -> bool {
    let nodes: Vec<String> = draft
        .observed
        .nodes
        .iter()
        .take(MAX_CALIBRATED)
        .map(|n| n.name.clone())
        .collect();
    let patience = SignedDuration::from_secs(CALIBRATION_SECONDS);
    let started = draft.status.start_time.unwrap_or(draft.now());
    // Whether the clock went on or was set back by so much.
    let patient = draft.now().duration_since(started).abs() < patience;
    // One that was given up is deleted when the generators are launched, and must not come back beside them.
    let launching = draft.exists(
        Kind::ConfigMap,
        &jobs::run_plan_name(&jobs::run_name(draft.remains, 0)),
    );
    let in_time = patient && !launching;
    let mut waits = false;
    for node in &nodes {
        let name = jobs::calibration_name(draft.remains, node);
        match job_state(draft.observed.children.job(&name)) {
            JobState::Absent if in_time => {
                let job = jobs::calibrate(draft.remains, draft.settings, node);
                draft.ensure(job);
                waits = true;
            }
            // The Job says that it is complete a second or two after its pod has said what it found.
            JobState::Active | JobState::Failing { .. } => {
                waits |= calibration(draft, &name).is_none()
            }
            JobState::Absent | JobState::Succeeded | JobState::Failed(_) => {}
        }
    }
    if waits && in_time {
        draft.wake_at(started + patience);
    }
    waits && in_time
}

/// The first thing that keeps a pod from running.
fn troubled(draft: &mut Draft<'_>) -> Option<Preparation> {
    let trouble = first_trouble(draft)?;
    if trouble.fatal {
        return Some(Preparation::Failed(
            trouble.cause.as_str().into(),
            trouble.message,
        ));
    }
    draft.trouble(&trouble);
    draft.wake_after(5);
    Some(Preparation::Waiting)
}

/// What keeps a look at a node from being taken, if anything does. It only informs, and is no reason to end: one that finds no place on a
/// busy node is not even told.
fn calibration_troubled(draft: &mut Draft<'_>) -> Option<Preparation> {
    let trouble = troubles(draft, true).find(|trouble| trouble.cause != Cause::Unschedulable)?;
    draft.trouble(&trouble);
    draft.wake_after(5);
    Some(Preparation::Waiting)
}

/// What keeps the pods from running that look at nodes, or all others.
fn troubles<'a>(draft: &'a Draft<'_>, calibrations: bool) -> impl Iterator<Item = Trouble> + 'a {
    let patience = i64::from(draft.remains.spec.limits.provision_seconds);
    let pods = draft.observed.children.pods.iter();
    let asked = pods.filter(move |pod| is_calibration(pod.labels()) == calibrations);
    asked.filter_map(move |pod| {
        let failing = draft.observed.failing.get(&pod.name_any()).copied();
        trouble::of_pod(pod, draft.now(), patience, failing)
    })
}

/// The first thing that keeps a pod of servers or generators from running.
pub(super) fn first_trouble(draft: &Draft<'_>) -> Option<Trouble> {
    troubles(draft, false).next().or_else(|| {
        let told = draft.observed.told.iter();
        told.filter(|told| !is_about_calibration(draft, &told.about))
            .find_map(trouble::of_told)
    })
}

pub(super) fn overdue(draft: &Draft<'_>) -> String {
    let cause = draft
        .refusal()
        .or_else(|| Some(first_trouble(draft)?.message));
    let cause = cause.unwrap_or_else(|| {
        "the backends do not answer; see kubectl describe pods and their logs".to_owned()
    });
    format!(
        "not provisioned within {} s (limits.provisionSeconds): {cause}",
        draft.remains.spec.limits.provision_seconds
    )
}

/// The nodes with what their calibration found: those that were looked at, those that pods of the experiment are on, and of
/// a small pool all. A pool may have thousands, and a plan has to fit into a ConfigMap.
pub(super) fn calibrated_nodes(draft: &Draft<'_>) -> Vec<NodeFacts> {
    let pods = draft.observed.children.pods.iter();
    let used: BTreeSet<String> = pods.filter_map(|pod| run_plan::node_name(pod)).collect();
    let all = draft.observed.nodes.iter().enumerate();
    all.filter_map(|(position, node)| {
        let mut node = node.clone();
        // Of all: which of them were looked at was settled when there may have been others.
        node.calibration = calibration(draft, &jobs::calibration_name(draft.remains, &node.name));
        let known = node.calibration.is_some() || used.contains(&node.name);
        (known || position < MAX_CALIBRATED).then_some(node)
    })
    .collect()
}

/// What the pod of a calibration Job found, once it has ended.
fn calibration(draft: &Draft<'_>, job: &str) -> Option<NodeCalibration> {
    let mut pods = draft.observed.children.pods_of_job(job);
    pods.find_map(|pod| match termination(pod)? {
        Termination::Calibrated(calibration) => Some(calibration),
        _ => None,
    })
}

/// What is known of the machines. Calibrations run the image of the generators, so they tell which that is.
pub(super) fn environment(draft: &Draft<'_>) -> Environment {
    let nodes = calibrated_nodes(draft);
    let inequalities = equality::inequalities(&nodes);
    let pods = draft.observed.children.pods.iter();
    let image = pods
        .filter(|pod| is_calibration(pod.labels()))
        .find_map(|pod| run_plan::image_id(pod));
    run_plan::environment(
        draft.settings,
        nodes,
        inequalities,
        image.unwrap_or_default(),
    )
}

/// Deletes the calibrations that were given up: they must not measure beside the trials.
pub(super) fn end_calibrations(draft: &mut Draft<'_>) {
    // Those of nodes that have left the pool meanwhile included.
    let jobs = draft.observed.children.jobs.iter();
    let given_up: Vec<String> = jobs
        .filter(|job| is_calibration(job.labels()) && job_state(Some(job)) == JobState::Active)
        .map(|job| job.name_any())
        .filter(|name| calibration(draft, name).is_none())
        .collect();
    for name in given_up {
        draft.act(Action::Delete(Kind::Job, name));
    }
}

/// Whether a child of this name looks at a node.
fn is_about_calibration(draft: &Draft<'_>, name: &str) -> bool {
    let children = &draft.observed.children;
    let pod = children.pods.iter().find(|pod| pod.name_any() == name);
    let labels = pod.map(|pod| pod.labels());
    let labels = labels.or_else(|| Some(children.job(name)?.labels()));
    labels.is_some_and(is_calibration)
}

fn is_calibration(labels: &BTreeMap<String, String>) -> bool {
    labels
        .get(names::LABEL_ROLE)
        .is_some_and(|role| role == Role::Calibration.as_str())
}
