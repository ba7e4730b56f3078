//! The edges of plans, each as a story of looks at a cluster; and plans whose operator dies between any two actions.

mod simulation;
mod world;

use crate::errands::ground::Comes;
use bakeoff_crds::conditions::{self, ACCEPTED, DRIFTED, STALLED, SUCCEEDED, WAITING};
use bakeoff_crds::experiment_plan::{PhaseOutcome, PhaseState, PlanState};
use serde_json::json;
use world::World;

/// Phase 0 with two experiments, phase 2 if the first of them is NoGo, phase 3 always.
fn seed() -> World {
    World::new(json!([
        {"name": "phase0", "question": "Does it hold?", "experiments": [{"name": "a0", "template": {}}, {"name": "a2", "template": {}}]},
        {"name": "phase2", "question": "Which way?", "when": [{"phase": "phase0", "experiment": "a0", "outcome": ["NoGo"]}],
         "experiments": [{"name": "a1", "template": {}}]},
        {"name": "phase3", "question": "How much?", "experiments": [{"name": "x", "template": {}}]},
    ]))
}

#[test]
fn phases_run_in_their_order_and_one_is_skipped_on_evidence() {
    let mut world = seed();
    world.pass();
    assert_eq!(world.names(), ["ladder-phase0-a0"]);
    assert_eq!(
        world.runs[0].metadata.labels.as_ref().unwrap()["bakeoff.dev/phase"],
        "phase0"
    );
    world.end("ladder-phase0-a0", "Completed", Some("Go"));
    world.pass();
    world.pass();
    assert_eq!(world.names(), ["ladder-phase0-a0", "ladder-phase0-a2"]);
    world.end("ladder-phase0-a2", "Completed", None);
    world.settle();
    let status = world.status();
    assert_eq!(status.phases[0].outcome, Some(PhaseOutcome::Go));
    assert_eq!(status.phases[1].outcome, Some(PhaseOutcome::Skipped));
    assert_eq!(
        status.phases[1].reason.as_deref(),
        Some("phase0/a0 is Go, and not NoGo")
    );
    assert_eq!(world.names()[2], "ladder-phase3-x");
    assert_eq!(status.progress.as_deref(), Some("2/3"));
    world.end("ladder-phase3-x", "Completed", Some("NoGo"));
    world.settle();
    let status = world.status();
    assert_eq!(
        (status.state, status.outcome),
        (PlanState::Completed, Some(PhaseOutcome::NoGo))
    );
    assert_eq!(world.truth(SUCCEEDED), "True", "NoGo is a result");
    assert_eq!(world.truth(STALLED), "False");
}

#[test]
fn evidence_runs_the_phase() {
    let mut world = seed();
    world.pass();
    world.end("ladder-phase0-a0", "Completed", Some("NoGo"));
    world.settle();
    world.end("ladder-phase0-a2", "Completed", None);
    world.settle();
    assert_eq!(world.names()[2], "ladder-phase2-a1");
    assert_eq!(world.status().phases[0].outcome, Some(PhaseOutcome::NoGo));
}

#[test]
fn what_failed_is_tried_again_and_nogo_is_not() {
    let mut world = seed();
    world.pass();
    world.end("ladder-phase0-a0", "BackendLost", None);
    world.settle();
    assert_eq!(world.names(), ["ladder-phase0-a0", "ladder-phase0-a0-2"]);
    world.end("ladder-phase0-a0-2", "BackendLost", None);
    world.settle();
    world.end("ladder-phase0-a2", "Completed", Some("NoGo"));
    world.settle();
    let status = world.status();
    assert_eq!(status.phases[0].outcome, Some(PhaseOutcome::Failed));
    assert_eq!(
        (status.state, world.truth(SUCCEEDED).as_str()),
        (PlanState::Stopped, "False")
    );
    assert_eq!(world.reason(SUCCEEDED), "PhaseFailed");
    assert_eq!(world.names().len(), 3, "a second attempt, and no third");
}

#[test]
fn what_somebody_cancelled_or_removed_is_not_begun_again() {
    for removed in [false, true] {
        let mut world = seed();
        world.pass();
        world.pass();
        if removed {
            world.runs.clear();
        } else {
            world.end("ladder-phase0-a0", "Cancelled", None);
        }
        world.settle();
        world.end("ladder-phase0-a2", "Completed", None);
        world.settle();
        assert_eq!(
            world.status().phases[0].experiments[0].outcome,
            Some(PhaseOutcome::Failed)
        );
        assert!(!world.names().contains(&"ladder-phase0-a0-2".to_owned()));
    }
}

#[test]
fn what_the_data_do_not_settle_a_person_does() {
    let mut world = seed();
    world.spec().phases[0].approval = serde_json::from_value(json!("OnInconclusive")).unwrap();
    world.pass();
    world.end("ladder-phase0-a0", "Completed", Some("Inconclusive"));
    world.settle();
    world.end("ladder-phase0-a2", "Completed", None);
    let events = world.settle();
    assert_eq!(world.status().phases[0].state, PhaseState::AwaitingApproval);
    assert_eq!(
        (world.status().state, world.truth(WAITING).as_str()),
        (PlanState::Waiting, "True")
    );
    assert_eq!(
        events
            .iter()
            .filter(|text| text.contains("has to be decided"))
            .count(),
        1,
        "{events:?}"
    );
    world.spec().decisions.push(
        serde_json::from_value(
            json!({"phase": "phase0", "action": "NoGo", "reason": "bloat at 1e7", "by": "kim"}),
        )
        .unwrap(),
    );
    world.settle();
    let status = world.status();
    assert_eq!(status.phases[0].outcome, Some(PhaseOutcome::NoGo));
    assert!(
        status.phases[0]
            .reason
            .as_ref()
            .unwrap()
            .starts_with("decided by kim: bloat at 1e7 (the experiments say Inconclusive")
    );
    // The experiment itself stays what it was: the next phase looks at it and not at the phase.
    assert_eq!(status.phases[1].state, PhaseState::Waiting);
    assert!(
        status.phases[1]
            .reason
            .as_ref()
            .unwrap()
            .contains("phase0/a0 is Inconclusive, and not NoGo")
    );
    world.spec().decisions.push(
        serde_json::from_value(json!({"phase": "phase2", "action": "Run", "reason": "we want the numbers", "by": "kim"})).unwrap(),
    );
    world.settle();
    assert_eq!(world.names()[2], "ladder-phase2-a1");
    assert_eq!(world.truth(WAITING), "False");
}

#[test]
fn undecided_conditions_run_or_skip_where_the_plan_says_so() {
    for (undecided, outcome) in [("Run", None), ("Skip", Some(PhaseOutcome::Skipped))] {
        let mut world = seed();
        world.spec().phases[0].stop_on.clear();
        world.spec().phases[1].undecided = serde_json::from_value(json!(undecided)).unwrap();
        world.pass();
        world.end("ladder-phase0-a0", "Completed", Some("Inconclusive"));
        world.settle();
        world.end("ladder-phase0-a2", "Completed", None);
        world.settle();
        assert_eq!(world.status().phases[1].outcome, outcome);
    }
}

#[test]
fn a_phase_that_was_skipped_counts_for_nothing_unless_it_is_listed() {
    for (listed, outcome) in [
        (json!(["Go"]), Some(PhaseOutcome::Skipped)),
        (json!(["Go", "Skipped"]), None),
    ] {
        let mut world = seed();
        world.spec().phases[2].when =
            serde_json::from_value(json!([{"phase": "phase2", "outcome": listed}])).unwrap();
        world.pass();
        world.end("ladder-phase0-a0", "Completed", Some("Go"));
        world.settle();
        world.end("ladder-phase0-a2", "Completed", None);
        world.settle();
        assert_eq!(world.status().phases[2].outcome, outcome);
        let ended = world.status().state == PlanState::Completed;
        assert_eq!(
            ended,
            outcome.is_some(),
            "all later phases skipped is an end as any other"
        );
    }
}

#[test]
fn an_outcome_that_is_listed_ends_the_plan_without_being_a_failure() {
    let mut world = seed();
    world.spec().phases[0].stop_on = vec![PhaseOutcome::NoGo];
    world.pass();
    world.end("ladder-phase0-a0", "Completed", Some("NoGo"));
    world.settle();
    world.end("ladder-phase0-a2", "Completed", None);
    world.settle();
    assert_eq!(
        (world.status().state, world.truth(SUCCEEDED).as_str()),
        (PlanState::Stopped, "True")
    );
}

#[test]
fn nothing_begins_while_a_template_would_be_refused() {
    let mut world = seed();
    world.refused = vec!["phase3/x: objective y: no such metric".to_owned()];
    let events = world.pass();
    assert!(world.runs.is_empty());
    assert_eq!(
        (world.reason(ACCEPTED), world.truth(STALLED)),
        ("InvalidTemplate".into(), "True".into())
    );
    assert!(events[0].contains("phase3/x"), "{events:?}");
    assert!(world.pass().is_empty(), "said once");
    world.refused.clear();
    world.pass();
    assert_eq!(world.names(), ["ladder-phase0-a0"]);

    let mut world = seed();
    world.spec().phases[0].when =
        serde_json::from_value(json!([{"phase": "phase3", "outcome": ["Go"]}])).unwrap();
    world.pass();
    assert_eq!(world.reason(ACCEPTED), "InvalidWhen");
    assert!(world.runs.is_empty());
}

#[test]
fn suspension_begins_nothing_and_a_change_of_a_begun_phase_makes_nothing() {
    let mut world = seed();
    world.spec().suspend = true;
    world.settle();
    assert_eq!(world.status().state, PlanState::Suspended);
    assert!(world.runs.is_empty());
    world.spec().suspend = false;
    world.settle();
    world.spec().phases[0].experiments[1]
        .template
        .as_mut()
        .unwrap()
        .spec
        .seed = 9;
    world.end("ladder-phase0-a0", "Completed", Some("Go"));
    world.settle();
    assert_eq!(world.names(), ["ladder-phase0-a0"]);
    assert_eq!(world.truth(DRIFTED), "True");
    world.spec().phases[0].experiments[1]
        .template
        .as_mut()
        .unwrap()
        .spec
        .seed = 1;
    world.settle();
    assert_eq!(world.truth(DRIFTED), "False");
    assert_eq!(world.names().len(), 2);
}

/// A new version of the operator may write templates in other words: nobody changed anything.
#[test]
fn another_spelling_of_the_same_templates_is_no_change() {
    let mut world = seed();
    world.settle();
    let status = world.plan.status.as_mut().unwrap();
    status.phases[0].templates = Some("as an older version had it".to_owned());
    world.end("ladder-phase0-a0", "Completed", Some("Go"));
    world.settle();
    assert_eq!(world.truth(DRIFTED), "False");
    assert_eq!(world.names().len(), 2);
}

/// The second attempt at one would be taken for the first at another.
#[test]
fn two_experiments_of_one_name_are_refused_before_anything_is_begun() {
    let one = |name: &str| json!({"name": name, "template": {}});
    let phase = |name: &str, retries: i32, experiments: serde_json::Value| json!({"name": name, "question": "?", "retries": retries, "experiments": experiments});
    for (phases, name) in [
        (
            json!([phase("a", 1, json!([one("put"), one("put-2")]))]),
            "ladder-a-put-2",
        ),
        (
            json!([
                phase("pg", 0, json!([one("x-y")])),
                phase("pg-x", 0, json!([one("y")]))
            ]),
            "ladder-pg-x-y",
        ),
    ] {
        let mut world = World::new(phases);
        world.settle();
        assert!(world.runs.is_empty());
        assert_eq!(world.truth(ACCEPTED), "False");
        let status = world.status();
        let said = conditions::get(&status.conditions, ACCEPTED).unwrap();
        let twice = format!("{name} would be the name of attempt");
        assert!(
            said.message.starts_with(&twice)
                && said.message.contains("name one of the two otherwise"),
            "{}",
            said.message
        );
    }
    // Without another attempt there is no such name.
    let mut world = World::new(json!([phase("a", 0, json!([one("put"), one("put-2")]))]));
    world.settle();
    assert_eq!(world.truth(ACCEPTED), "True");
}

#[test]
fn cancel_and_deadline_end_what_is_under_way_first() {
    for deadline in [false, true] {
        let mut world = seed();
        world.settle();
        if deadline {
            world.spec().active_deadline_seconds = Some(60);
            world.now += jiff::SignedDuration::from_secs(61);
        } else {
            world.spec().cancel = true;
        }
        world.settle();
        assert!(world.runs[0].spec.cancel);
        assert_eq!(world.status().state, PlanState::Ending);
        world.end("ladder-phase0-a0", "Cancelled", None);
        world.settle();
        let reason = if deadline {
            "DeadlineExceeded"
        } else {
            "Cancelled"
        };
        assert_eq!(
            (world.status().state, world.reason(SUCCEEDED).as_str()),
            (PlanState::Cancelled, reason)
        );
        // What somebody wanted has not failed.
        let stalled = if deadline { "True" } else { "False" };
        assert_eq!(world.truth(STALLED), stalled);
    }
}

#[test]
fn an_experiment_that_somebody_else_has_made_is_read_and_never_made() {
    let mut world = World::new(json!([
        {"name": "phase0", "question": "Does it hold?", "experiments": [{"name": "a0", "ref": {"name": "theirs"}}]},
    ]));
    world.settle();
    assert!(world.runs.is_empty());
    assert_eq!(world.status().state, PlanState::Running);
    world.theirs("theirs", Some("NoGo"));
    world.settle();
    let status = world.status();
    assert_eq!(
        (status.state, status.outcome),
        (PlanState::Completed, Some(PhaseOutcome::NoGo))
    );
    assert_eq!(status.phases[0].experiments[0].experiment, "theirs");
}

#[test]
fn experiments_in_parallel_are_begun_at_once() {
    let mut world = seed();
    world.spec().phases[0].order = serde_json::from_value(json!("Parallel")).unwrap();
    world.pass();
    assert_eq!(world.names(), ["ladder-phase0-a0", "ladder-phase0-a2"]);
}

#[test]
fn a_status_of_the_largest_plan_is_bounded() {
    let phase = |number: usize| {
        let steps: Vec<_> = (0..8)
            .map(|step| json!({"name": format!("step-number{step}"), "template": {}}))
            .collect();
        json!({"name": format!("phase-num-{number:02}"), "question": "q".repeat(300), "order": "Parallel", "stopOn": [], "retries": 0, "experiments": steps})
    };
    let mut world = World::new(json!((0..16).map(phase).collect::<Vec<_>>()));
    for _ in 0..16 {
        world.settle();
        for name in world.names() {
            if world.is_running(&name) {
                world.end(&name, "BackendLost", None);
            }
        }
    }
    world.settle();
    assert_eq!(world.status().state, PlanState::Completed);
}

#[test]
fn the_report_is_written_after_each_phase_and_the_next_one_waits_for_it() {
    let mut world = seed();
    world.settle();
    world.end("ladder-phase0-a0", "Completed", Some("Go"));
    world.settle();
    world.ground.comes = Comes::Hangs;
    world.end("ladder-phase0-a2", "Completed", None);
    world.pass();
    world.pass();
    world.pass();
    assert_eq!(world.status().state, PlanState::Reporting);
    assert_eq!(world.names().len(), 2, "nothing measures beside it");
    assert_eq!(world.ground.secrets.len(), 1);
    let told = &world.ground.told.values().next().unwrap().clone();
    assert_eq!(told["results"]["prefix"], "plans/lab/ladder/0");
    assert_eq!(
        told["phases"][0]["status"]["experiments"][0]["outcome"],
        "Go"
    );
    assert_eq!(told["phases"][1]["status"]["outcome"], "Skipped");
    // It is given up after its time, and the plan goes on.
    world.now += jiff::SignedDuration::from_secs(301);
    let told = world.settle();
    assert!(
        told.iter()
            .any(|event| event.contains("it took longer than 300 s")),
        "{told:?}"
    );
    let report = world.status().report.unwrap();
    assert_eq!((report.url, report.phases), (None, 2));
    assert_eq!(world.names().len(), 3);
    // The last one tells how it ended.
    world.ground.comes = Comes::Done;
    world.end("ladder-phase3-x", "Completed", Some("NoGo"));
    world.settle();
    let report = world.status().report.unwrap();
    assert_eq!(
        report.url.as_deref(),
        Some("s3://results/plans/lab/ladder/0/report.html")
    );
    assert!(report.whole && report.failure.is_none());
    let last = world
        .ground
        .told
        .values()
        .find(|told| told["state"] == "Completed");
    assert!(
        last.unwrap()["message"]
            .as_str()
            .unwrap()
            .contains("2 phases were run")
    );
    world.settle();
    assert!(world.ground.is_clean(), "{:?}", world.ground);
}

#[test]
fn a_namespace_that_takes_no_jobs_does_not_hold_the_plan() {
    let mut world = seed();
    world.settle();
    world.end("ladder-phase0-a0", "Completed", Some("Go"));
    world.settle();
    world.end("ladder-phase0-a2", "Completed", None);
    let refused = crate::act::Refused {
        message: "no Job without a team".to_owned(),
        since: std::time::Duration::from_secs(61),
        for_good: false,
    };
    world
        .ground
        .seen
        .refused
        .insert((crate::children::Kind::Job, "x".to_owned()), refused);
    let told = world.settle();
    assert!(
        told.iter()
            .any(|event| event.contains("no Job without a team")),
        "{told:?}"
    );
    assert_eq!(world.names().len(), 3);
}

#[test]
fn people_are_told_of_outcomes_and_of_what_they_have_to_decide() {
    let mut world = seed();
    world.spec().phases[0].approval = bakeoff_crds::experiment_plan::Approval::Always;
    world.spec().notify = vec![
        serde_json::from_value(json!({"name": "team", "secretRef": {"name": "hook"}, "on": ["ApprovalNeeded", "Ended"], "format": "Slack"})).unwrap(),
    ];
    world.settle();
    world.end("ladder-phase0-a0", "Completed", Some("Go"));
    world.settle();
    world.end("ladder-phase0-a2", "Completed", None);
    world.settle();
    world.spec().cancel = true;
    world.settle();
    let notices = world
        .ground
        .told
        .values()
        .filter(|told| told.get("notice").is_some());
    let occasions: Vec<_> = notices
        .map(|told| told["notice"]["occasion"].clone())
        .collect();
    assert_eq!(occasions, ["ApprovalNeeded", "Ended"]);
    assert!(world.ground.is_clean(), "{:?}", world.ground);
}
