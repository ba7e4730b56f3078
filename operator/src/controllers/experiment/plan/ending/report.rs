//! Has the report written, and takes over what it found. (Pure.)

use super::{after, plan_after_the_run, step_done};
use crate::action::Plan;
use crate::controllers::experiment::build::{jobs, run_plan};
use crate::controllers::experiment::plan::Draft;
use crate::controllers::experiment::plan::job::JobStep;
use crate::controllers::experiment::plan::preparing::{first_trouble, provide_for_jobs};
use crate::parts::objects::Role;
use crate::parts::pods::{JobState, container_end, job_state, own_container, termination};
use bakeoff_crds::conditions::{self, Truth, reasons};
use bakeoff_crds::run::{Ending, Handover, Termination};
use bakeoff_crds::status::{EndingStatus, MAX_HEADLINE, ResultsStatus};
use bakeoff_crds::{EndReason, ExperimentStatus};
use bakeoff_rules::validate::Known;
use kube::ResourceExt;
use std::collections::BTreeMap;

/// Attempts at writing the report: all its input is durable, so a second one may well succeed.
const ATTEMPTS: i32 = 2;

/// Sees to the report.
pub(super) fn report(
    mut draft: Draft<'_>,
    known: &Known,
    ending: EndingStatus,
) -> Plan<ExperimentStatus> {
    let progress = draft.status.progress.as_ref();
    // Of generators that could not be reached the store alone knows, and the report asks it.
    let done = progress.is_some_and(|p| p.trials.done > 0 || p.is_unheard());
    if !ending.reason.owes_report(done) {
        return step_done(draft, |ending, now| ending.reported_time = Some(now));
    }
    let of = draft.remains;
    for attempt in 0..ATTEMPTS {
        let name = jobs::report_name(of, attempt);
        match draft.job(&name, Some(of.spec.limits.report_seconds)) {
            JobStep::Absent => {
                let Some(plan) = plan_after_the_run(&draft, known, attempt) else {
                    let why = "the spec is refused by now, and the plan of the run is gone";
                    return no_report(draft, why);
                };
                let facts = ending_facts(&draft, &ending);
                let map = run_plan::config_map(of, &name, Role::Report, &plan, Some(&facts));
                provide_for_jobs(&mut draft);
                draft.ensure(map);
                draft.ensure(jobs::report(of, draft.settings, attempt));
                // A Job that cannot be made has no age of its own.
                let limits = &of.spec.limits;
                let seconds = limits.stop_seconds.saturating_add(limits.report_seconds);
                let deadline = after(&draft, ending.start_time, seconds);
                if let Some(refusal) = draft.refusal_after(deadline) {
                    return no_report(draft, &refusal);
                }
                return reporting(draft);
            }
            JobStep::Active => return reporting(draft),
            JobStep::Overdue => {
                let cause = first_trouble(&draft).map(|trouble| format!(": {}", trouble.message));
                let cause = cause.unwrap_or_default();
                let why = format!("it took longer than limits.reportSeconds{cause}");
                return no_report(draft, &why);
            }
            // A second report would be made of the same data.
            JobStep::Unheard => return draft.done(),
            JobStep::Succeeded => {
                let mut pods = draft.observed.children.pods_of_job(&name);
                let handover = pods.find_map(|pod| match termination(pod)? {
                    Termination::Reported(text) => bakeoff_analysis::handover::decode(&text).ok(),
                    _ => None,
                });
                if let Some(handover) = handover {
                    return reported(draft, handover);
                }
            }
            JobStep::Failed(_) => {}
        }
    }
    let name = jobs::report_name(of, ATTEMPTS - 1);
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

fn reporting(mut draft: Draft<'_>) -> Plan<ExperimentStatus> {
    draft.stage(
        reasons::REPORTING,
        "merges the trials, decides and writes the report",
    );
    draft.done()
}

fn no_report(mut draft: Draft<'_>, why: &str) -> Plan<ExperimentStatus> {
    let message = format!(
        "the report could not be written: {why}; the raw data are in the results store: loadgen report rebuilds it"
    );
    draft.note(true, EndReason::ReportFailed.as_str(), &message);
    step_done(draft, |ending, now| {
        ending.reported_time = Some(now);
        ending.message = if ending.reason.succeeded() {
            message
        } else {
            format!("{}; {message}", ending.message)
        };
        ending.reason = ending.reason.clone().without_report();
    })
}

fn ending_facts(draft: &Draft<'_>, ending: &EndingStatus) -> Ending {
    let of = draft.remains;
    let children = &draft.observed.children;
    let restarts = |server: &str| {
        let pods = children.pods_of_backend(server);
        pods.filter_map(own_container)
            .map(|container| container.restart_count)
            .sum::<i32>()
    };
    let last_start = |server: &str| {
        let pods = children.pods_of_backend(server);
        pods.filter_map(own_container)
            .filter(|container| container.restart_count > 0)
            .filter_map(|container| {
                let running = container.state.as_ref()?.running.as_ref()?;
                Some(running.started_at.as_ref()?.0)
            })
            .max()
    };
    let servers = of.servers();
    let failed = (0..=of.spec.generators.backoff_limit).filter(|attempt| {
        let job = children.job(&jobs::run_name(of, *attempt));
        matches!(
            job_state(job),
            JobState::Failed(_) | JobState::Failing { .. }
        )
    });
    Ending {
        reason: ending.reason.clone(),
        message: ending.message.clone(),
        backend_last_starts: servers
            .iter()
            .filter_map(|server| Some((server.as_str().to_owned(), last_start(server.as_str())?)))
            .collect(),
        backend_restarts: servers
            .iter()
            .map(|server| (server.as_str().to_owned(), restarts(server.as_str())))
            .collect::<BTreeMap<_, _>>(),
        pod_restarts: servers
            .iter()
            .filter(|server| of.topology(**server).pods() > 1)
            .flat_map(|server| children.pods_of_backend(server.as_str()))
            .filter_map(|pod| Some((pod.name_any(), own_container(pod)?.restart_count)))
            .collect(),
        generator_failures: i32::try_from(failed.count()).unwrap_or(i32::MAX),
    }
}

fn reported(mut draft: Draft<'_>, handover: Handover) -> Plan<ExperimentStatus> {
    if let Some(progress) = &mut draft.status.progress {
        progress.trials = handover.trials;
        progress.display = format!("{}/{}", handover.trials.done, handover.trials.planned);
        progress.current = None;
        progress.estimated_end_time = None;
    }
    if let Some(decision) = &handover.decision {
        draft.note(
            false,
            reasons::DECIDED,
            &format!(
                "{} is {}: {}",
                decision.rule,
                decision.outcome.as_str(),
                decision.reason
            ),
        );
    }
    objectives(&mut draft, &handover);
    let store = run_plan::store(draft.remains, draft.settings);
    draft.status.results = Some(ResultsStatus {
        url: store.url(),
        report: "report.html".to_owned(),
        index_sha256: handover.index_sha256,
    });
    draft.status.decision = handover.decision;
    draft.status.regression = handover.regression;
    draft.status.objectives = handover.objectives;
    draft.status.headline = handover.headline;
    draft.status.headline.truncate(MAX_HEADLINE);
    let nothing = handover.valid == Some(0) && handover.trials.planned > 0;
    step_done(draft, |ending, now| {
        ending.reported_time = Some(now);
        if nothing && ending.reason.succeeded() {
            ending.reason = EndReason::NoValidTrial;
            ending.message = format!(
                "{}, and none of them counts: {}; the report names each",
                ending.message,
                if handover.void.is_empty() {
                    "all were void"
                } else {
                    &handover.void
                }
            );
        }
    })
}

fn objectives(draft: &mut Draft<'_>, handover: &Handover) {
    let missed: Vec<String> = handover
        .objectives
        .iter()
        .filter(|objective| !objective.met)
        .map(|objective| format!("{}: {}", objective.name, objective.detail))
        .collect();
    if handover.objectives.is_empty() {
        draft.condition(
            conditions::OBJECTIVES_MET,
            Truth::Unknown,
            reasons::NO_OBJECTIVES,
            "spec.objectives is empty",
        );
    } else if missed.is_empty() {
        let message = format!("all {} objectives are met", handover.objectives.len());
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
