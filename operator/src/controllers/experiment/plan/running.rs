//! From the start to the last trial. (Pure.)

use super::draft::Cleared;
use super::job::JobStep;
use super::preparing::{
    Preparation, calibrated_nodes, end_calibrations, environment, first_trouble, not_ready,
    overdue, prepare,
};
use super::{Draft, ending, faults};
use crate::action::Plan;
use crate::children::Kind;
use crate::controllers::experiment::build::{jobs, run_plan};
use crate::parts::objects::Role;
use crate::parts::pods::{container_end, is_pending, is_ready, termination, unready_since};
use bakeoff_crds::conditions::{self, Truth, reasons};
use bakeoff_crds::names;
use bakeoff_crds::run::{Failure, Termination};
use bakeoff_crds::status::{BackendStatus, ProgressStatus, TrialCounts};
use bakeoff_crds::{EndReason, ExperimentStatus};
use bakeoff_rules::equality;
use bakeoff_rules::validate::Validated;
use jiff::{SignedDuration, Timestamp, Unit};
use k8s_openapi::api::core::v1::Pod;

/// How often a running generator is asked for its progress.
const PROGRESS_SECONDS: i64 = 2;
/// Seconds for which running generators may be silent before that is said.
const SILENCE_SECONDS: i64 = 20;

pub fn run(mut draft: Draft<'_>, valid: &Validated) -> Plan<ExperimentStatus> {
    let Some(started) = draft.status.start_time else {
        return draft.done();
    };
    if draft.remains.spec.cancel {
        return draft.begin_ending(EndReason::Cancelled, "cancelled by spec.cancel");
    }
    if let Some(seconds) = draft.remains.spec.active_deadline_seconds {
        let deadline = started + SignedDuration::from_secs(seconds);
        if draft.now() >= deadline {
            let message = format!("activeDeadlineSeconds ({seconds}) have passed since the start");
            return draft.begin_ending(EndReason::DeadlineExceeded, &message);
        }
        draft.wake_at(deadline);
    }
    if draft.remains.spec.suspend {
        return suspend(draft);
    }
    let generator = jobs::latest_attempt(draft.remains, &draft.observed.children);
    if generator.is_none() {
        match prepare(&mut draft, valid) {
            Preparation::Ready => {}
            Preparation::Waiting => {
                let deadline = started
                    + SignedDuration::from_secs(i64::from(
                        draft.remains.spec.limits.provision_seconds,
                    ));
                if draft.now() >= deadline {
                    let message = overdue(&draft);
                    return draft.begin_ending(EndReason::ProvisionTimeout, &message);
                }
                draft.wake_at(deadline);
                return draft.done();
            }
            Preparation::Failed(reason, message) => {
                return draft.begin_ending(reason, &message);
            }
        }
    }
    measure(draft, valid, generator)
}

/// Stops the generators, then removes everything, keeps what was measured, and gives the pool back.
fn suspend(mut draft: Draft<'_>) -> Plan<ExperimentStatus> {
    if ending::stop_generators(&mut draft) && draft.held().is_empty() {
        draft.wake_after(5);
        draft.stage(
            reasons::SUSPENDING,
            "stops the generators; they finish what they are writing",
        );
        return draft.done();
    }
    let mut kept = String::new();
    if let Cleared::Left(left) = draft.clear() {
        let held = draft.held();
        let waits = held.is_empty() || !draft.observed.children.standing().is_empty();
        if waits {
            let message = format!("removing {left}");
            draft.stage(reasons::SUSPENDING, &message);
            draft.wake_after(5);
            return draft.done();
        }
        kept = format!("; left behind: {}", held.join(", "));
    }
    draft.status.start_time = None;
    nothing_current(&mut draft);
    let message =
        format!("suspended; finished trials are kept; set spec.suspend to false to go on{kept}");
    draft.waits(reasons::SUSPENDED, &message);
    draft.remember()
}

/// No generator measures.
fn nothing_current(draft: &mut Draft<'_>) {
    if let Some(progress) = &mut draft.status.progress {
        progress.current = None;
        progress.estimated_end_time = None;
    }
}

fn measure(
    mut draft: Draft<'_>,
    valid: &Validated,
    generator: Option<i32>,
) -> Plan<ExperimentStatus> {
    let Some(attempt) = generator else {
        equalised(&mut draft);
        backends(&mut draft, valid);
        end_calibrations(&mut draft);
        launch(&mut draft, valid, 0);
        if let Some(cause) = refused_to_start(&draft) {
            return not_started(draft, &cause);
        }
        draft.stage(reasons::RUNNING, "starts the generators");
        return draft.done();
    };
    let name = jobs::run_name(draft.remains, attempt);
    match draft.job(&name, None) {
        JobStep::Absent | JobStep::Active | JobStep::Overdue => active(draft, &name),
        // What the pod said decides what follows.
        JobStep::Unheard => draft.done(),
        JobStep::Succeeded => {
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
        JobStep::Failed(cause) => failed(draft, valid, attempt, &name, &cause),
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
    let environment = environment(draft);
    let plan = run_plan::run_plan(valid, draft.settings, draft.observed, environment, attempt);
    draft.ensure(run_plan::config_map(
        draft.remains,
        &jobs::run_name(draft.remains, attempt),
        Role::Generator,
        &plan,
        None,
    ));
    draft.ensure(jobs::run(draft.remains, draft.settings, attempt));
}

/// Why the generators cannot be made, once that has lasted for longer than their start may take.
fn refused_to_start(draft: &Draft<'_>) -> Option<String> {
    let refused = draft.is_refused_for(draft.remains.spec.limits.start_seconds);
    draft.refusal().filter(|_| refused)
}

/// Generators that were asked for and do not run yet.
struct Unstarted {
    cause: String,
    overdue: bool,
}

/// Whether one of the generators of this Job has yet to run.
fn unstarted(draft: &mut Draft<'_>, name: &str) -> Option<Unstarted> {
    let children = &draft.observed.children;
    let job = children.job(name)?;
    let wanted = draft.remains.spec.generators.replicas;
    let run = children.pods_of_job(name).filter(|pod| !is_pending(pod));
    let run = i32::try_from(run.count()).unwrap_or(i32::MAX);
    if run >= wanted {
        return None;
    }
    let held = job.spec.as_ref().and_then(|spec| spec.suspend) == Some(true);
    let cause = if held {
        "their Job is suspended: a queueing controller of the cluster holds it".to_owned()
    } else {
        format!("{run} of {wanted} generators run")
    };
    let overdue = draft.is_overdue(Some(job), draft.remains.spec.limits.start_seconds);
    Some(Unstarted { cause, overdue })
}

fn not_started(draft: Draft<'_>, cause: &str) -> Plan<ExperimentStatus> {
    let seconds = draft.remains.spec.limits.start_seconds;
    let message =
        format!("the generators do not run after {seconds} s (limits.startSeconds): {cause}");
    draft.begin_ending(EndReason::GeneratorNotStarted, &message)
}

fn equalised(draft: &mut Draft<'_>) {
    let nodes = calibrated_nodes(draft);
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
            let server = backend.place.server();
            let pod = draft
                .observed
                .children
                .pods_of_backend(&backend.name)
                .find(|pod| is_ready(pod));
            BackendStatus {
                name: backend.name.clone(),
                version: server
                    .map_or_else(String::new, |server| server.release.version.to_string()),
                image: server.map_or_else(String::new, |server| server.image.clone()),
                image_id: pod.and_then(run_plan::image_id).unwrap_or_default(),
                node: pod.and_then(run_plan::node_name).unwrap_or_default(),
                time_to_ready_seconds: pod.and_then(run_plan::time_to_ready),
            }
        })
        .collect();
}

fn active(mut draft: Draft<'_>, name: &str) -> Plan<ExperimentStatus> {
    let trouble = first_trouble(&draft);
    if let Some(trouble) = trouble.as_ref().filter(|trouble| trouble.fatal) {
        return draft.begin_ending(trouble.cause.as_str().into(), &trouble.message);
    }
    if let Some(message) = lost_backend(&draft) {
        return draft.begin_ending(EndReason::BackendLost, &message);
    }
    let unstarted = unstarted(&mut draft, name);
    if let Some(unstarted) = unstarted.as_ref().filter(|unstarted| unstarted.overdue) {
        let cause = trouble.map_or_else(|| unstarted.cause.clone(), |trouble| trouble.message);
        return not_started(draft, &cause);
    }
    if let Some(trouble) = trouble {
        draft.trouble(&trouble);
        draft.wake_after(5);
        return draft.done();
    }
    draft.wake_after(PROGRESS_SECONDS);
    let Some(seen) = draft.observed.progress.clone() else {
        let message = match unstarted {
            Some(unstarted) => Some(unstarted.cause),
            None => silence(&draft),
        };
        if let Some(message) = message {
            draft.stage(reasons::RUNNING, &message);
        }
        return draft.done();
    };
    if let Some(status) = &mut draft.status.progress {
        status.first_answer_time = status.first_answer_time.or(Some(draft.observed.now));
    }
    let down = not_ready(&draft);
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
    draft.stage(reasons::RUNNING, &message);
    let wanted = seen.fault.as_ref();
    if wanted.is_some_and(|wanted| faults::see_to(&mut draft, wanted)) {
        return draft.remember();
    }
    draft.done()
}

/// What is said of generators that run and do not answer. What they said last stands until they answer again, also when the
/// operator has just been started.
fn silence(draft: &Draft<'_>) -> Option<String> {
    let status = draft.status.progress.as_ref()?;
    if status.current.is_some() {
        return None;
    }
    let started = status.generators_start_time.filter(|_| status.is_unheard());
    let patience = SignedDuration::from_secs(SILENCE_SECONDS);
    let long = started.is_some_and(|since| draft.now().duration_since(since) > patience);
    Some(if long {
        format!(
            "generators run, and how far they are is not known: the operator does not reach them on port {}; let it through (NetworkPolicy, service mesh). What they measure is kept and reported all the same",
            names::GENERATOR_PORT
        )
    } else {
        "generators are starting".to_owned()
    })
}

/// A backend that has not been ready for longer than provisioning may take will not come back: every
/// trial on it would be void.
fn lost_backend(draft: &Draft<'_>) -> Option<String> {
    let seconds = i64::from(draft.remains.spec.limits.provision_seconds);
    let patience = SignedDuration::from_secs(seconds);
    let gone = |since: Timestamp| draft.now().duration_since(since) > patience;
    let mut servers = draft.remains.servers().into_iter();
    let lost = servers.find(|server| {
        let mut pods = draft.observed.children.pods_of_backend(server.as_str());
        let absent = draft.observed.down.get(server.as_str());
        pods.any(|pod| unready_since(pod).is_some_and(gone))
            || absent.is_some_and(|since| since.as_secs() > seconds.unsigned_abs())
    })?;
    Some(format!(
        "backend {} has not been ready for {seconds} s (limits.provisionSeconds) in the middle of the run; see kubectl describe pods and their logs",
        lost.as_str()
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

fn failed(
    mut draft: Draft<'_>,
    valid: &Validated,
    attempt: i32,
    name: &str,
    cause: &str,
) -> Plan<ExperimentStatus> {
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
        .is_some_and(|progress| progress.trials.done > 0 || progress.is_unheard());
    let verdict = |failure: &&Failure| !failure.retryable || (!measured && !failure.stopped);
    // A generator that only lost its leader says so as well: what decides is looked for among all.
    let failure = failures.iter().find(verdict).or(failures.first()).cloned();
    if let Some(failure) = failure.as_ref().filter(verdict) {
        return draft.begin_ending(failure.reason.as_str().into(), &failure.message);
    }
    let last = attempt >= draft.remains.spec.generators.backoff_limit;
    let end = pods
        .iter()
        .find_map(|pod| container_end(pod))
        .unwrap_or_else(|| cause.to_owned());
    let why = failure.map_or(end, |failure| failure.message);
    if last {
        let message = format!(
            "the generator failed {} times (generators.backoffLimit {}), last: {why}",
            attempt + 1,
            draft.remains.spec.generators.backoff_limit
        );
        return draft.begin_ending(EndReason::GeneratorFailed, &message);
    }
    let next = attempt + 1;
    let plan = jobs::run_plan_name(&jobs::run_name(draft.remains, next));
    // A later pass makes the Job; it is told once.
    if !draft.exists(Kind::ConfigMap, &plan) {
        draft.note(
            true,
            reasons::GENERATOR_RESTARTED,
            &format!(
                "attempt {next} ended: {why}; a new generator resumes at the first unfinished trial"
            ),
        );
    }
    nothing_current(&mut draft);
    launch(&mut draft, valid, next);
    if let Some(cause) = refused_to_start(&draft) {
        return not_started(draft, &cause);
    }
    draft.stage(
        reasons::RUNNING,
        &format!("generator attempt {} resumes", next + 1),
    );
    draft.done()
}
