//! From the start to the last trial. (Pure.)

use super::preparing::{
    Preparation, calibrated_nodes, end_calibrations, environment, first_trouble, not_ready,
    overdue, prepare,
};
use super::{Action, Draft, Plan, ending};
use crate::controllers::experiment::build::{Role, jobs, plan as run_plan};
use crate::controllers::experiment::facts::{
    JobState, Kind, container_end, is_ready, job_state, termination, unready_since,
};
use bakeoff_crds::EndReason;
use bakeoff_crds::conditions::{self, Truth, reasons};
use bakeoff_crds::run::{Failure, Termination};
use bakeoff_crds::status::{BackendStatus, ProgressStatus, TrialCounts};
use bakeoff_rules::equality;
use bakeoff_rules::validate::Validated;
use jiff::{SignedDuration, Timestamp, Unit};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;

/// How often a running generator is asked for its progress.
const PROGRESS_SECONDS: i64 = 2;

pub fn run(mut draft: Draft<'_>, valid: &Validated) -> Plan {
    let Some(started) = draft.status.start_time else {
        return draft.done();
    };
    if valid.spec.cancel {
        return draft.begin_ending(EndReason::Cancelled, "cancelled by spec.cancel");
    }
    if let Some(seconds) = valid.spec.active_deadline_seconds {
        let deadline = started + SignedDuration::from_secs(seconds);
        if draft.now() >= deadline {
            let message = format!("activeDeadlineSeconds ({seconds}) have passed since the start");
            return draft.begin_ending(EndReason::DeadlineExceeded, &message);
        }
        draft.wake_at(deadline);
    }
    if valid.spec.suspend {
        return suspend(draft, valid);
    }
    let generator = jobs::latest_attempt(valid, &draft.observed.children);
    if generator.is_none() {
        match prepare(&mut draft, valid) {
            Preparation::Ready => {}
            Preparation::Waiting => {
                let deadline = started
                    + SignedDuration::from_secs(i64::from(valid.spec.limits.provision_seconds));
                if draft.now() >= deadline {
                    let message = overdue(&draft, valid);
                    return draft.begin_ending(EndReason::ProvisionTimeout, &message);
                }
                draft.wake_at(deadline);
                return draft.done();
            }
            Preparation::Failed(reason, message) => {
                return draft.begin_ending(reason.into(), &message);
            }
        }
    }
    measure(draft, valid, generator)
}

/// Stops the generators, then removes everything, keeps what was measured, and gives the pool back.
fn suspend(mut draft: Draft<'_>, valid: &Validated) -> Plan {
    if ending::stop_generators(&mut draft, valid) {
        draft.stage(
            Truth::Unknown,
            reasons::SUSPENDING,
            "stops the generators; they finish what they are writing",
        );
        return draft.done();
    }
    let secrets = ending::own_secrets(&draft, Some(valid));
    if !draft.has_children() && secrets.is_empty() {
        draft.status.start_time = None;
        nothing_current(&mut draft);
        draft.stage(
            Truth::Unknown,
            reasons::SUSPENDED,
            "suspended; finished trials are kept; set spec.suspend to false to go on",
        );
        return draft.remember();
    }
    let left = draft.left();
    draft.stage(
        Truth::Unknown,
        reasons::SUSPENDING,
        &format!("removing {left}"),
    );
    draft.tear_down();
    for name in secrets {
        draft.act(Action::Delete(Kind::Secret, name));
    }
    draft.wake_after(5);
    draft.done()
}

/// No generator measures.
fn nothing_current(draft: &mut Draft<'_>) {
    if let Some(progress) = &mut draft.status.progress {
        progress.current = None;
        progress.estimated_end_time = None;
    }
}

fn measure(mut draft: Draft<'_>, valid: &Validated, generator: Option<i32>) -> Plan {
    let Some(attempt) = generator else {
        equalised(&mut draft, valid);
        backends(&mut draft, valid);
        end_calibrations(&mut draft);
        launch(&mut draft, valid, 0);
        draft.stage(Truth::Unknown, reasons::RUNNING, "starts the generators");
        return draft.done();
    };
    let name = jobs::run_name(valid, attempt);
    let job = draft.observed.children.job(&name);
    match job_state(job) {
        JobState::Absent | JobState::Active => active(draft, valid),
        // What the pod said decides what follows: the watch of pods may lag behind that of Jobs.
        _ if draft.observed.children.awaits_pod(&name, draft.now()) => {
            draft.wake_after(1);
            draft.done()
        }
        JobState::Succeeded => {
            let counts =
                draft
                    .observed
                    .children
                    .index_zero(&name)
                    .find_map(|pod| match termination(pod)? {
                        Termination::Ran(counts) => Some(counts),
                        _ => None,
                    });
            if let Some(counts) = counts {
                progress(&mut draft, counts);
            }
            let message = completed(valid, counts);
            draft.begin_ending(EndReason::Completed, &message)
        }
        JobState::Failed(cause) => failed(draft, valid, attempt, &name, &cause),
    }
}

/// What ran, and not what was planned, by the last word of the generators.
pub(super) fn completed(valid: &Validated, counts: Option<TrialCounts>) -> String {
    let (planned, backends) = (valid.trials, valid.backends.len());
    match counts {
        Some(counts) if counts.done < planned => format!(
            "{} of {planned} trials on {backends} backends: the decision was settled early",
            counts.done
        ),
        Some(_) => format!("{planned} trials on {backends} backends"),
        None => format!(
            "{planned} trials were planned on {backends} backends; the report says how many ran, for the pod that counted them is gone"
        ),
    }
}

fn launch(draft: &mut Draft<'_>, valid: &Validated, attempt: i32) {
    let environment = environment(draft, valid);
    let plan = run_plan::run_plan(valid, draft.settings, draft.observed, environment, attempt);
    draft.ensure(run_plan::config_map(
        valid,
        &jobs::run_name(valid, attempt),
        Role::Generator,
        &plan,
        None,
    ));
    draft.ensure(jobs::run(valid, draft.settings, attempt));
}

fn equalised(draft: &mut Draft<'_>, valid: &Validated) {
    let nodes = calibrated_nodes(draft, valid);
    let found = equality::inequalities(&nodes);
    if found.is_empty() {
        let message = format!(
            "nodes {} are equal as far as checked",
            equality::names(&nodes)
        );
        draft.condition(
            conditions::EQUALISED,
            Truth::True,
            reasons::NODES_EQUAL,
            &message,
        );
    } else {
        draft.condition(
            conditions::EQUALISED,
            Truth::False,
            reasons::NODES_DIFFER,
            &found.join(". "),
        );
    }
}

fn backends(draft: &mut Draft<'_>, valid: &Validated) {
    draft.status.backends = valid
        .backends
        .iter()
        .map(|backend| {
            let pod = draft
                .observed
                .children
                .pods_of_backend(&backend.name)
                .find(|pod| is_ready(pod));
            BackendStatus {
                name: backend.name.clone(),
                version: backend.version.clone(),
                image: backend.image.clone(),
                image_id: pod.and_then(run_plan::image_id).unwrap_or_default(),
                node: pod.and_then(run_plan::node_name).unwrap_or_default(),
                time_to_ready_seconds: pod.and_then(run_plan::time_to_ready),
            }
        })
        .collect();
}

fn active(mut draft: Draft<'_>, valid: &Validated) -> Plan {
    if let Some(trouble) = first_trouble(&draft, valid) {
        if trouble.fatal {
            return draft.begin_ending(trouble.reason.into(), &trouble.message);
        }
        draft.trouble(&trouble);
        draft.wake_after(5);
        return draft.done();
    }
    if let Some(message) = lost_backend(&draft, valid) {
        return draft.begin_ending(EndReason::BackendLost, &message);
    }
    draft.wake_after(PROGRESS_SECONDS);
    let Some(seen) = draft.observed.progress.clone() else {
        // What it said last stands until it answers again, also when the operator has just been started.
        let status = draft.status.progress.as_ref();
        if status.is_none_or(|status| status.current.is_none()) {
            draft.stage(Truth::Unknown, reasons::RUNNING, "generators are starting");
        }
        return draft.done();
    };
    let down = not_ready(&draft, valid);
    progress(&mut draft, seen.trials);
    if let Some(status) = &mut draft.status.progress {
        status.current = seen.current.clone();
        // People read it in a table.
        status.estimated_end_time = seen
            .estimated_end
            .and_then(|end| end.round(Unit::Second).ok());
        status.first_operation_time = status.first_operation_time.or(seen.first_operation);
    }
    let mut message = match (seen.stage, &seen.current) {
        (bakeoff_crds::run::Stage::Probing, _) => {
            "waits until every backend and the results store answer a signed request".to_owned()
        }
        (_, Some(current)) => current.clone(),
        (_, None) => "between trials".to_owned(),
    };
    if !down.is_empty() {
        message = format!("{message}; not ready: {}", down.join(", "));
    }
    draft.stage(Truth::Unknown, reasons::RUNNING, &message);
    draft.done()
}

/// A backend that has not been ready for longer than provisioning may take will not come back: every
/// trial on it would be void.
fn lost_backend(draft: &Draft<'_>, valid: &Validated) -> Option<String> {
    let seconds = i64::from(valid.spec.limits.provision_seconds);
    let patience = SignedDuration::from_secs(seconds);
    let gone = |since: Timestamp| draft.now().duration_since(since) > patience;
    let lost = valid.provisioned().find(|backend| {
        draft
            .observed
            .children
            .pods_of_backend(&backend.name)
            .any(|pod| unready_since(pod).is_some_and(gone))
    })?;
    Some(format!(
        "backend {} has not been ready for {seconds} s (limits.provisionSeconds) in the middle of the run; see kubectl describe pods and their logs",
        lost.name
    ))
}

/// Counts only ever grow: a generator that resumes has not counted yet what is durable.
fn progress(draft: &mut Draft<'_>, counts: TrialCounts) {
    let status = draft
        .status
        .progress
        .get_or_insert_with(ProgressStatus::default);
    if counts.planned > 0 && counts.done >= status.trials.done {
        status.trials = counts;
        status.display = format!("{}/{}", counts.done, counts.planned);
    }
}

fn failed(mut draft: Draft<'_>, valid: &Validated, attempt: i32, name: &str, cause: &str) -> Plan {
    let pods: Vec<&Pod> = draft.observed.children.pods_of_job(name).collect();
    let failures: Vec<Failure> = pods
        .iter()
        .filter_map(|pod| match termination(pod)? {
            Termination::Failed(failure) => Some(failure),
            _ => None,
        })
        .collect();
    // Before the first trial what fails is the patient wait for endpoints and store: it was the retry.
    let measured = draft
        .status
        .progress
        .as_ref()
        .is_some_and(|progress| progress.trials.done > 0);
    let verdict = |failure: &&Failure| !failure.retryable || (!measured && !failure.is_stopped());
    // A generator that only lost its leader says so as well: what decides is looked for among all.
    let failure = failures.iter().find(verdict).or(failures.first()).cloned();
    if let Some(failure) = failure.as_ref().filter(verdict) {
        return draft.begin_ending(failure.reason.as_str().into(), &failure.message);
    }
    let last = attempt >= valid.spec.generators.backoff_limit;
    let end = pods
        .iter()
        .find_map(|pod| container_end(pod))
        .unwrap_or_else(|| cause.to_owned());
    let why = failure.map_or(end, |failure| failure.message);
    if last {
        let message = format!(
            "the generator failed {} times (generators.backoffLimit {}), last: {why}",
            attempt + 1,
            valid.spec.generators.backoff_limit
        );
        return draft.begin_ending(EndReason::GeneratorFailed, &message);
    }
    let next = attempt + 1;
    let plan = jobs::plan_name(&jobs::run_name(valid, next));
    // A later pass makes the Job; it is told once.
    if !draft.exists(Kind::ConfigMap, &plan) {
        draft.note(
            true,
            reasons::GENERATOR_RESTARTED,
            format!(
                "attempt {next} ended: {why}; a new generator resumes at the first unfinished trial"
            ),
        );
    }
    nothing_current(&mut draft);
    launch(&mut draft, valid, next);
    draft.stage(
        Truth::Unknown,
        reasons::RUNNING,
        &format!("generator attempt {} resumes", next + 1),
    );
    draft.done()
}

/// When a Job was made.
pub fn created(job: &Job) -> Option<jiff::Timestamp> {
    job.metadata.creation_timestamp.as_ref().map(|time| time.0)
}
