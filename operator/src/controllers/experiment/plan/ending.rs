//! From the ending to a cluster as clean as it was found. (Pure.)
//!
//! Every ending takes the same steps: stop the generators, report what was measured, remove objects from
//! external buckets, remove the children. Each step is remembered before the next begins.

use super::preparing::environment;
use super::running::created;
use super::{Action, Draft, Plan};
use crate::controllers::experiment::build::{Role, backend, jobs, plan as run_plan};
use crate::controllers::experiment::facts::{
    JobState, Kind, container_end, job_state, termination,
};
use bakeoff_crds::conditions::{self, Truth, reasons};
use bakeoff_crds::names;
use bakeoff_crds::run::{Ending, Outcome, Termination};
use bakeoff_crds::status::{EndingStatus, MAX_HEADLINE, ResultsStatus};
use bakeoff_rules::validate::Validated;
use jiff::SignedDuration;
use kube::ResourceExt;
use std::collections::BTreeMap;

/// Attempts at writing the report: all its input is durable, so a second one may well succeed.
const REPORT_ATTEMPTS: i32 = 2;

/// Takes the next step of the ending.
pub fn end(mut draft: Draft<'_>, valid: Option<&Validated>) -> Plan {
    let Some(ending) = draft.status.ending.clone() else {
        return draft.done();
    };
    // Deliberately last in this order: without a valid spec nothing can be reported or cleaned up.
    let Some(valid) = valid else {
        return match (ending.reported_time, ending.cleaned_up_time) {
            (Some(_), Some(_)) => tear_down(draft, &ending, None),
            _ => step_done(draft, |ending, now| {
                ending.reported_time = Some(now);
                ending.cleaned_up_time = Some(now);
            }),
        };
    };
    if stop_generators(&mut draft, valid) {
        draft.stage(
            Truth::Unknown,
            reasons::STOPPING,
            "stops the generators; they finish what they are writing",
        );
        return draft.done();
    }
    if ending.reported_time.is_none() {
        return report(draft, valid, ending);
    }
    if ending.cleaned_up_time.is_none() {
        return match clean_up(&mut draft, valid) {
            Step::Waiting => draft.done(),
            Step::Done => step_done(draft, |ending, now| ending.cleaned_up_time = Some(now)),
            Step::GaveUp(why) => {
                draft.note(true, reasons::CLEANUP_FAILED, why.clone());
                step_done(draft, |ending, now| {
                    ending.cleaned_up_time = Some(now);
                    ending.message =
                        conditions::shorten(&format!("{}; {why}", ending.message), 900);
                })
            }
        };
    }
    tear_down(draft, &ending, Some(valid))
}

fn step_done(
    mut draft: Draft<'_>,
    change: impl FnOnce(&mut EndingStatus, jiff::Timestamp),
) -> Plan {
    let now = draft.now();
    if let Some(ending) = &mut draft.status.ending {
        change(ending, now);
    }
    draft.remember()
}

enum Step {
    Waiting,
    Done,
    GaveUp(String),
}

/// Deletes generator Jobs that still work; whether any pod of them is left.
pub fn stop_generators(draft: &mut Draft<'_>, valid: &Validated) -> bool {
    let mut stopping = false;
    for attempt in 0..=valid.spec.generators.backoff_limit {
        let name = jobs::run_name(valid, attempt);
        stopping |= draft.is_coming(Kind::Job, &name);
        if let Some(job) = draft.observed.children.job(&name)
            && job_state(Some(job)) == JobState::Active
        {
            stopping = true;
            if job.metadata.deletion_timestamp.is_none() {
                draft.act(Action::Delete(Kind::Job, name.clone()));
            }
        }
        stopping |= draft.observed.children.pods_of_job(&name).any(|pod| {
            let phase = pod
                .status
                .as_ref()
                .and_then(|status| status.phase.as_deref());
            !matches!(phase, Some("Succeeded" | "Failed"))
        });
    }
    stopping
}

fn report(mut draft: Draft<'_>, valid: &Validated, ending: EndingStatus) -> Plan {
    let done = draft
        .status
        .progress
        .as_ref()
        .map_or(0, |progress| progress.trials.done);
    if !ending.reason.owes_report(done) {
        return step_done(draft, |ending, now| ending.reported_time = Some(now));
    }
    for attempt in 0..REPORT_ATTEMPTS {
        let name = jobs::report_name(valid, attempt);
        let job = draft.observed.children.job(&name);
        match job_state(job) {
            JobState::Absent => {
                let environment = environment(&draft, valid);
                let plan =
                    run_plan::run_plan(valid, draft.settings, draft.observed, environment, attempt);
                let facts = ending_facts(&draft, valid, &ending);
                draft.ensure(run_plan::config_map(
                    valid,
                    &name,
                    Role::Report,
                    &plan,
                    Some(&facts),
                ));
                draft.ensure(jobs::report(valid, draft.settings, attempt));
                draft.stage(
                    Truth::Unknown,
                    reasons::REPORTING,
                    "merges the trials, decides and writes the report",
                );
                return draft.done();
            }
            JobState::Active => {
                let deadline = job.and_then(created).unwrap_or(draft.now())
                    + SignedDuration::from_secs(i64::from(valid.spec.limits.report_seconds));
                if draft.now() < deadline {
                    draft.wake_at(deadline);
                    draft.stage(
                        Truth::Unknown,
                        reasons::REPORTING,
                        "merges the trials, decides and writes the report",
                    );
                    return draft.done();
                }
                return no_report(draft, "it took longer than limits.reportSeconds");
            }
            // The watch of pods may lag behind that of Jobs: a second report would be made of the same data.
            _ if draft.observed.children.awaits_pod(&name, draft.now()) => {
                draft.wake_after(1);
                return draft.done();
            }
            JobState::Succeeded => {
                let outcome = draft.observed.children.pods_of_job(&name).find_map(|pod| {
                    match termination(pod)? {
                        Termination::Reported(text) => {
                            bakeoff_analysis::outcome::decode(&text).ok()
                        }
                        _ => None,
                    }
                });
                if let Some(outcome) = outcome {
                    return reported(draft, valid, outcome);
                }
            }
            JobState::Failed(_) => {}
        }
    }
    let name = jobs::report_name(valid, REPORT_ATTEMPTS - 1);
    let why = draft
        .observed
        .children
        .pods_of_job(&name)
        .find_map(|pod| match termination(pod) {
            Some(Termination::Failed(failure)) => Some(failure.message),
            _ => container_end(pod),
        });
    no_report(
        draft,
        &why.unwrap_or_else(|| "its pod left no outcome".to_owned()),
    )
}

fn no_report(mut draft: Draft<'_>, why: &str) -> Plan {
    let message = format!(
        "the report could not be written: {why}; the raw data are in the results store: loadgen report rebuilds it"
    );
    draft.note(true, reasons::REPORT_FAILED, message.clone());
    step_done(draft, |ending, now| {
        ending.reported_time = Some(now);
        ending.message = if ending.reason.succeeded() {
            conditions::shorten(&message, 900)
        } else {
            conditions::shorten(&format!("{}; {message}", ending.message), 900)
        };
        ending.reason = ending.reason.clone().without_report();
    })
}

fn ending_facts(draft: &Draft<'_>, valid: &Validated, ending: &EndingStatus) -> Ending {
    let restarts = |backend: &str| {
        let pods = draft.observed.children.pods_of_backend(backend);
        let statuses = pods.filter_map(|pod| pod.status.as_ref()?.container_statuses.as_ref());
        statuses
            .flatten()
            .map(|container| container.restart_count)
            .sum::<i32>()
    };
    let failures = (0..=valid.spec.generators.backoff_limit).filter(|attempt| {
        matches!(
            job_state(
                draft
                    .observed
                    .children
                    .job(&jobs::run_name(valid, *attempt))
            ),
            JobState::Failed(_)
        )
    });
    Ending {
        reason: ending.reason.clone(),
        message: ending.message.clone(),
        backend_restarts: valid
            .provisioned()
            .map(|backend| (backend.name.clone(), restarts(&backend.name)))
            .collect::<BTreeMap<_, _>>(),
        generator_failures: i32::try_from(failures.count()).unwrap_or(i32::MAX),
    }
}

fn reported(mut draft: Draft<'_>, valid: &Validated, outcome: Outcome) -> Plan {
    if let Some(progress) = &mut draft.status.progress {
        progress.trials = outcome.trials;
        progress.display = format!("{}/{}", outcome.trials.done, outcome.trials.planned);
        progress.current = None;
        progress.estimated_end_time = None;
    }
    if let Some(decision) = &outcome.decision {
        draft.note(
            false,
            reasons::DECIDED,
            format!(
                "{} is {}: {}",
                decision.rule,
                decision.outcome.as_str(),
                decision.reason
            ),
        );
    }
    objectives(&mut draft, &outcome);
    let store = run_plan::store(valid, draft.settings);
    draft.status.results = Some(ResultsStatus {
        url: store.url(),
        report: "report.html".to_owned(),
        index_sha256: outcome.index_sha256,
    });
    draft.status.decision = outcome.decision;
    draft.status.objectives = outcome.objectives;
    draft.status.headline = outcome.headline;
    draft.status.headline.truncate(MAX_HEADLINE);
    step_done(draft, |ending, now| ending.reported_time = Some(now))
}

fn objectives(draft: &mut Draft<'_>, outcome: &Outcome) {
    let missed: Vec<String> = outcome
        .objectives
        .iter()
        .filter(|objective| !objective.met)
        .map(|objective| format!("{}: {}", objective.name, objective.detail))
        .collect();
    if outcome.objectives.is_empty() {
        draft.condition(
            conditions::OBJECTIVES_MET,
            Truth::Unknown,
            reasons::NO_OBJECTIVES,
            "spec.objectives is empty",
        );
    } else if missed.is_empty() {
        let message = format!("all {} objectives are met", outcome.objectives.len());
        draft.condition(
            conditions::OBJECTIVES_MET,
            Truth::True,
            reasons::ALL_MET,
            &message,
        );
    } else {
        draft.condition(
            conditions::OBJECTIVES_MET,
            Truth::False,
            reasons::NOT_MET,
            &missed.join(". "),
        );
    }
}

/// Removes test objects from external buckets and schemas from external databases.
fn clean_up(draft: &mut Draft<'_>, valid: &Validated) -> Step {
    let skip = draft
        .experiment
        .annotations()
        .get(names::ANNOTATION_SKIP_CLEANUP)
        .is_some_and(|v| v == "true");
    if !valid.has_external() || draft.status.progress.is_none() {
        return Step::Done;
    }
    if skip {
        return Step::GaveUp(format!(
            "objects in external buckets and schemas in external databases were left, as {} asks",
            names::ANNOTATION_SKIP_CLEANUP
        ));
    }
    let name = jobs::cleanup_name(valid);
    let left = "objects under the prefix bakeoff/ in external buckets, or the schema bakeoff in external databases, may be left";
    let job = draft.observed.children.job(&name);
    match job_state(job) {
        JobState::Absent => {
            let environment =
                run_plan::environment(draft.settings, Vec::new(), Vec::new(), String::new());
            let plan = run_plan::run_plan(valid, draft.settings, draft.observed, environment, 0);
            draft.ensure(run_plan::config_map(
                valid,
                &name,
                Role::Cleanup,
                &plan,
                None,
            ));
            draft.ensure(jobs::cleanup(valid, draft.settings));
            draft.wake_after(i64::from(valid.spec.limits.cleanup_seconds));
        }
        JobState::Active => {
            let deadline = job.and_then(created).unwrap_or(draft.now())
                + SignedDuration::from_secs(i64::from(valid.spec.limits.cleanup_seconds));
            if draft.now() >= deadline {
                return Step::GaveUp(format!("{left}: limits.cleanupSeconds have passed"));
            }
            draft.wake_at(deadline);
        }
        JobState::Succeeded => return Step::Done,
        JobState::Failed(cause) => return Step::GaveUp(format!("{left}: {cause}")),
    }
    draft.stage(
        Truth::Unknown,
        reasons::CLEANING_UP,
        "removes test objects from external buckets and schemas from external databases",
    );
    Step::Waiting
}

fn tear_down(mut draft: Draft<'_>, ending: &EndingStatus, valid: Option<&Validated>) -> Plan {
    draft.tear_down();
    let secrets = own_secrets(&draft, valid);
    let left = draft.has_children() || !secrets.is_empty();
    for name in secrets {
        draft.act(Action::Delete(Kind::Secret, name));
    }
    if left {
        let what = draft.left();
        draft.stage(
            Truth::Unknown,
            reasons::TEARING_DOWN,
            &format!("removing {what}"),
        );
        draft.wake_after(5);
        return draft.done();
    }
    if draft.has_finalizer() {
        draft.act(Action::Finalizer(false));
        draft.stage(
            Truth::Unknown,
            reasons::TEARING_DOWN,
            "removing the finalizer",
        );
        return draft.done();
    }
    draft.status.completion_time = Some(draft.now());
    let succeeded = ending.reason.succeeded();
    let mut message = ending.message.clone();
    if let (true, Some(decision)) = (succeeded, &draft.status.decision) {
        message = format!(
            "{message}; {} is {}",
            decision.rule,
            decision.outcome.as_str()
        );
    }
    draft.stage(succeeded.into(), ending.reason.as_str(), &message);
    draft.remember()
}

/// The Secrets that the operator made for the experiment and that are still there.
pub fn own_secrets(draft: &Draft<'_>, valid: Option<&Validated>) -> Vec<String> {
    let Some(valid) = valid else {
        return Vec::new();
    };
    let mut names: Vec<String> = valid
        .provisioned()
        .map(|b| backend::credentials_name(valid, b))
        .collect();
    if valid.spec.results.s3.is_none() {
        names.push(jobs::results_secret(valid));
    }
    names.retain(|name| draft.observed.secrets.contains_key(name));
    names
}

/// After the end: nothing but the time to live, and what a crash may have left.
pub fn finished(mut draft: Draft<'_>) -> Plan {
    draft.tear_down();
    if draft.has_finalizer() {
        draft.act(Action::Finalizer(false));
    }
    let ttl = draft.experiment.spec.ttl_seconds_after_finished;
    if let (Some(ttl), Some(completed)) = (ttl, draft.status.completion_time) {
        let due = completed + SignedDuration::from_secs(ttl);
        if draft.now() < due {
            draft.wake_at(due);
        } else if draft.experiment.metadata.deletion_timestamp.is_none() {
            draft.act(Action::DeleteExperiment);
        }
    }
    draft.done()
}

/// The experiment is being deleted: owner references take the children, this takes what is outside.
pub fn deleting(mut draft: Draft<'_>, valid: Option<&Validated>) -> Plan {
    if !draft.has_finalizer() {
        return draft.done();
    }
    let deleted = draft
        .experiment
        .metadata
        .deletion_timestamp
        .as_ref()
        .map_or(draft.now(), |time| time.0);
    let overdue = valid.is_none_or(|valid| {
        let patience = SignedDuration::from_secs(i64::from(valid.spec.limits.cleanup_seconds));
        draft.now() >= deleted + patience
    });
    let already = draft
        .status
        .ending
        .as_ref()
        .is_some_and(|ending| ending.cleaned_up_time.is_some());
    let step = match valid {
        _ if already => Step::Done,
        _ if overdue => Step::GaveUp(
            "objects in external buckets or schemas in external databases may be left: no time or no valid spec to remove them"
                .to_owned(),
        ),
        None => Step::Done,
        Some(valid) => {
            if stop_generators(&mut draft, valid) {
                Step::Waiting
            } else {
                clean_up(&mut draft, valid)
            }
        }
    };
    match step {
        Step::Waiting => draft.wake_after(5),
        Step::Done => draft.act(Action::Finalizer(false)),
        Step::GaveUp(why) => {
            draft.note(true, reasons::CLEANUP_FAILED, why);
            draft.act(Action::Finalizer(false));
        }
    }
    draft.done()
}
