//! The edges of schedules, each as a story of looks at a cluster; and simulated years.

mod simulation;
mod world;

use super::Observed;
use crate::runs::{Answer, RunAction};
use crate::stored::Stored;
use bakeoff_crds::conditions::{self, ACCEPTED, REGRESSED, STALLED};
use bakeoff_crds::experiment_schedule::{ConcurrencyPolicy, SkipReason};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use serde_json::json;
use world::World;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A schedule that was made at noon of 1 March 2026.
fn world(schedule: &str) -> World {
    World::new(schedule, "Etc/UTC")
}

#[test]
fn a_tick_begins_one_run_and_is_remembered() {
    let mut world = world("0 2 * * *");
    world.pass();
    assert_eq!(
        world.status().next_schedule_time,
        Some(at("2026-03-02T02:00:00Z"))
    );
    assert!(
        world.runs.is_empty(),
        "ticks before it was made are none of its"
    );
    world.until("2026-03-02T02:00:00Z");
    world.pass();
    assert_eq!(world.names(), ["nightly-202603020200"]);
    let run = &world.runs[0];
    assert_eq!(run.labels()["bakeoff.dev/schedule"], "nightly");
    assert_eq!(
        run.annotations()["bakeoff.dev/scheduled-for"],
        "2026-03-02T02:00:00Z"
    );
    assert_eq!(run.owner_references()[0].controller, Some(true));
    world.pass();
    let status = world.status();
    assert_eq!(status.last_tick_time, Some(at("2026-03-02T02:00:00Z")));
    assert_eq!(
        status.active_display.as_deref(),
        Some("nightly-202603020200")
    );
    assert_eq!(status.counts.started, 1);
    assert_eq!(status.next_schedule_time, Some(at("2026-03-03T02:00:00Z")));
    world.end(0, "Completed");
    world.pass();
    let status = world.status();
    assert_eq!((status.counts.succeeded, status.active.len()), (1, 0));
    assert_eq!(status.runs[0].end.as_str(), "Completed");
    world.is_settled();
}

#[test]
fn after_days_without_an_operator_one_tick_is_missed_and_nothing_is_caught_up() {
    let mut world = world("0 * * * *");
    world.pass();
    world.until("2026-03-04T11:59:00Z");
    world.schedule.spec.starting_deadline_seconds = 600;
    let events = world.pass();
    assert!(world.runs.is_empty());
    let status = world.status();
    assert_eq!((status.counts.missed, status.counts.started), (1, 0));
    assert_eq!(status.last_skip.unwrap().time, at("2026-03-04T11:00:00Z"));
    assert!(events[0].contains("(71 ticks have passed)"), "{events:?}");
    world.until("2026-03-04T12:00:00Z");
    world.pass();
    assert_eq!(world.names(), ["nightly-202603041200"]);
}

#[test]
fn what_is_within_its_deadline_is_begun_late() {
    let mut world = world("0 2 * * *");
    world.pass();
    world.until("2026-03-02T02:59:59Z");
    world.pass();
    assert_eq!(world.names(), ["nightly-202603020200"]);
}

#[test]
fn a_run_that_outlasts_its_period_is_never_followed_back_to_back() {
    let mut world = world("0 * * * *");
    world.pass();
    for hour in ["13", "14", "15"] {
        world.until(&format!("2026-03-01T{hour}:00:00Z"));
        world.pass();
        world.pass();
    }
    let status = world.status();
    assert_eq!((world.runs.len(), status.counts.skipped), (1, 2));
    assert_eq!(status.last_skip.unwrap().reason, SkipReason::Active);
    world.until("2026-03-01T15:10:00Z");
    world.end(0, "Completed");
    world.pass();
    assert_eq!(world.runs.len(), 1, "what was skipped is skipped for good");
    world.until("2026-03-01T16:00:00Z");
    world.pass();
    assert_eq!(world.runs.len(), 2);
}

#[test]
fn replace_cancels_and_waits() {
    let mut world = world("0 * * * *");
    world.schedule.spec.concurrency_policy = ConcurrencyPolicy::Replace;
    world.pass();
    world.until("2026-03-01T13:00:00Z");
    world.pass();
    world.begin(0);
    world.until("2026-03-01T14:00:00Z");
    world.pass();
    assert!(world.runs[0].spec.cancel);
    assert_eq!(world.runs.len(), 1, "it waits for the other one's end");
    world.end(0, "Cancelled");
    world.pass();
    assert_eq!(world.names()[1], "nightly-202603011400");
    // One that will not end costs the next tick its run, and no more.
    world.begin(1);
    world.until("2026-03-01T15:00:00Z");
    world.pass();
    world.until("2026-03-01T16:00:01Z");
    world.schedule.spec.starting_deadline_seconds = 3_000;
    world.until("2026-03-01T15:50:01Z");
    world.pass();
    assert_eq!(world.status().counts.missed, 1);
}

#[test]
fn nothing_is_caught_up_after_suspension_or_an_edit() {
    let mut world = world("0 2 * * *");
    world.pass();
    world.edit(|spec| spec.suspend = true);
    world.until("2026-03-02T02:00:00Z");
    world.pass();
    assert_eq!(
        world.status().last_skip.unwrap().reason,
        SkipReason::Suspended
    );
    assert_eq!(world.status().next_schedule_time, None);
    // The operator is down over the next tick, and over the end of the suspension.
    world.until("2026-03-03T02:10:00Z");
    world.edit(|spec| spec.suspend = false);
    world.pass();
    assert!(world.runs.is_empty());
    // By the new schedule it was due ten minutes ago.
    world.edit(|spec| spec.schedule = Some("0 2 * * *".to_owned()));
    world.edit(|spec| spec.schedule = Some("0 1 * * *".to_owned()));
    world.pass();
    assert!(world.runs.is_empty());
    world.until("2026-03-04T01:00:00Z");
    world.pass();
    assert_eq!(world.names(), ["nightly-202603040100"]);
}

#[test]
fn a_run_that_does_not_leave_the_queue_is_missed() {
    let mut world = world("0 2 * * *");
    world.pass();
    world.until("2026-03-02T02:00:00Z");
    world.pass();
    world.pass();
    world.state(0, "Queued");
    world.pass();
    world.until("2026-03-02T03:00:00Z");
    world.pass();
    assert!(world.runs[0].spec.cancel);
    world.end(0, "Cancelled");
    let events = world.pass();
    let status = world.status();
    assert_eq!((status.counts.missed, status.counts.failed), (1, 0));
    assert!(events[0].contains("it was Queued until then"), "{events:?}");
}

#[test]
fn a_person_who_cancels_or_removes_a_run_makes_no_failure() {
    let mut world = world("0 2 * * *");
    world.pass();
    for (day, reason) in [("02", Some("Cancelled")), ("03", None)] {
        world.until(&format!("2026-03-{day}T02:00:00Z"));
        world.pass();
        world.pass();
        let last = world.runs.len() - 1;
        world.begin(last);
        match reason {
            Some(reason) => world.end(last, reason),
            None => drop(world.runs.remove(last)),
        }
        world.pass();
    }
    let status = world.status();
    assert_eq!((status.counts.started, status.counts.failed), (2, 0));
    assert_eq!((status.active.len(), status.runs.len()), (0, 2));
    world.is_settled();
}

#[test]
fn failures_in_a_row_stop_it_until_the_spec_changes() {
    let mut world = world("0 2 * * *");
    world.schedule.spec.max_consecutive_failures = 2;
    world.pass();
    for day in ["02", "03"] {
        world.until(&format!("2026-03-{day}T02:00:00Z"));
        world.pass();
        let last = world.runs.len() - 1;
        world.begin(last);
        world.end(last, "GeneratorFailed");
        world.pass();
    }
    assert_eq!(world.reason(ACCEPTED), "FailuresStopped");
    assert_eq!(world.status().next_schedule_time, None);
    world.until("2026-03-04T02:00:00Z");
    world.pass();
    assert_eq!(
        world.status().last_skip.unwrap().reason,
        SkipReason::Failures
    );
    world.edit(|spec| spec.suspend = true);
    world.pass();
    world.edit(|spec| spec.suspend = false);
    world.pass();
    assert_eq!(world.reason(ACCEPTED), "Scheduled");
    world.until("2026-03-05T02:00:00Z");
    world.pass();
    assert_eq!(world.runs.len(), 3);
}

#[test]
fn a_name_that_is_taken_costs_one_tick() {
    let mut world = world("0 2 * * *");
    world.pass();
    world.foreign.insert("nightly-202603020200".to_owned());
    world.until("2026-03-02T02:00:00Z");
    world.pass();
    world.pass();
    assert_eq!(
        world.status().last_skip.unwrap().reason,
        SkipReason::NameTaken
    );
    assert!(world.runs.is_empty());
    world.until("2026-03-03T02:00:00Z");
    world.pass();
    assert_eq!(world.names(), ["nightly-202603030200"]);
}

#[test]
fn what_the_api_server_refuses_is_tried_until_the_deadline_and_then_missed_with_its_words() {
    let mut world = world("0 2 * * *");
    world.pass();
    world.until("2026-03-02T02:00:00Z");
    world.refuses = Some("exceeded quota: experiments".to_owned());
    world.pass();
    world.pass();
    assert_eq!(
        world.status().last_tick_time,
        Some(at("2026-03-01T12:00:00Z"))
    );
    world.until("2026-03-02T03:00:01Z");
    let events = world.pass();
    assert!(events[0].contains("exceeded quota"), "{events:?}");
    assert_eq!(world.status().counts.missed, 1);
}

#[test]
fn the_status_that_was_not_written_is_made_up_from_the_runs() {
    let mut world = world("0 2 * * *");
    world.schedule.spec.successful_history_limit = 0;
    world.pass();
    let before = world.status();
    world.until("2026-03-02T02:00:00Z");
    world.pass();
    world.pass();
    // Every write since was lost, and the run has ended meanwhile.
    world.schedule.status = Some(before);
    world.answers.clear();
    world.begin(0);
    world.end(0, "Completed");
    let next = world.plan();
    assert!(
        !next
            .actions
            .iter()
            .any(|action| matches!(action, RunAction::Create(_))),
        "the tick has its run"
    );
    world.pass();
    assert_eq!(world.status().counts.succeeded, 1);
    assert!(world.runs.is_empty(), "removed once the status knows of it");
    world.pass();
    assert!(world.runs.is_empty());
}

#[test]
fn a_clock_that_steps_back_gives_no_tick_a_second_answer() {
    let mut world = world("0 * * * *");
    world.pass();
    world.until("2026-03-01T13:00:00Z");
    world.pass();
    world.pass();
    world.begin(0);
    world.end(0, "Completed");
    world.pass();
    world.now -= SignedDuration::from_mins(5);
    world.pass();
    world.now += SignedDuration::from_mins(6);
    world.pass();
    assert_eq!(world.runs.len(), 1);
}

#[test]
fn a_clock_that_was_far_ahead_stops_nothing_for_long() {
    let mut world = world("0 * * * *");
    world.pass();
    world.now += SignedDuration::from_hours(90 * 24);
    world.schedule.spec.suspend = true;
    world.pass();
    world.now -= SignedDuration::from_hours(90 * 24);
    world.edit(|spec| spec.suspend = false);
    world.pass();
    world.until("2026-03-01T13:00:00Z");
    world.pass();
    assert_eq!(world.names(), ["nightly-202603011300"]);
}

#[test]
fn the_template_runs_when_it_changes_and_when_it_is_first_seen() {
    let mut world = world("0 2 * * *");
    world.edit(|spec| {
        spec.schedule = None;
        spec.run_on_change = true;
    });
    world.pass();
    assert_eq!(world.names(), ["nightly-g2"]);
    world.pass();
    world.begin(0);
    // It changes while that one runs: one more run, of the last of both changes.
    world.edit(|spec| spec.template.spec.seed = 7);
    world.pass();
    world.edit(|spec| spec.template.spec.seed = 8);
    world.pass();
    assert_eq!(world.runs.len(), 1);
    world.end(0, "Completed");
    world.pass();
    assert_eq!(world.names(), ["nightly-g2", "nightly-g4"]);
    world.pass();
    world.end(1, "Completed");
    // What is no change of the template begins nothing.
    world.edit(|spec| spec.failed_history_limit = 4);
    world.pass();
    world.pass();
    assert_eq!(world.runs.len(), 2);
    // Under suspension it is answered, and not caught up.
    world.edit(|spec| spec.suspend = true);
    world.edit(|spec| spec.template.spec.seed = 9);
    world.pass();
    world.edit(|spec| spec.suspend = false);
    world.pass();
    world.pass();
    assert_eq!(world.runs.len(), 2);
    assert_eq!(
        world.status().last_skip.unwrap().reason,
        SkipReason::Suspended
    );
    world.is_settled();
}

#[test]
fn a_change_and_a_tick_at_once_begin_one_run() {
    let mut world = world("0 2 * * *");
    world.pass();
    world.until("2026-03-02T02:00:00Z");
    world.edit(|spec| {
        spec.run_on_change = true;
        spec.template.spec.seed = 7;
    });
    world.pass();
    assert_eq!(world.names(), ["nightly-202603020200"]);
    world.pass();
    world.end(0, "Completed");
    world.pass();
    assert_eq!(world.names(), ["nightly-202603020200", "nightly-g2"]);
}

#[test]
fn what_cannot_run_says_why_and_begins_nothing() {
    for (schedule, zone, reason) in [
        ("61 * * * *", "Etc/UTC", "InvalidSchedule"),
        ("0 2 * * *", "Europe/Atlantis", "InvalidTimeZone"),
        ("0 0 30 2 *", "Etc/UTC", "NeverDue"),
    ] {
        let mut world = World::new(schedule, zone);
        let events = world.pass();
        assert_eq!(world.reason(ACCEPTED), reason);
        assert_eq!(world.truth(STALLED), "True");
        assert_eq!(events.len(), 1);
        world.until("2026-03-05T00:00:00Z");
        world.pass();
        assert!(world.runs.is_empty());
        world.is_settled();
    }
    let mut world = world("0 2 * * *");
    world.refused = Some("objective x: no such metric".to_owned());
    world.pass();
    assert_eq!(world.reason(ACCEPTED), "InvalidTemplate");
    world.until("2026-03-02T02:00:00Z");
    world.pass();
    assert!(world.runs.is_empty());
    world.until("2026-03-02T03:00:01Z");
    let events = world.pass();
    assert!(events[0].contains("was not accepted"), "{events:?}");
    world.refused = None;
    world.pass();
    assert_eq!(
        (world.reason(ACCEPTED), world.truth(STALLED)),
        ("Scheduled".into(), "False".into())
    );
}

#[test]
fn limits_keep_the_newest_and_the_status_tells_of_ten_more() {
    let mut world = world("0 * * * *");
    world.schedule.spec.successful_history_limit = 2;
    world.schedule.spec.failed_history_limit = 1;
    world.schedule.spec.max_consecutive_failures = 0;
    world.pass();
    for hour in 0..30_i64 {
        world.now = at("2026-03-01T13:00:00Z") + SignedDuration::from_hours(hour);
        world.pass();
        world.pass();
        let last = world.runs.len() - 1;
        world.begin(last);
        world.end(
            last,
            if hour % 3 == 0 {
                "BackendLost"
            } else {
                "Completed"
            },
        );
        world.pass();
    }
    world.pass();
    let kept = [
        "nightly-202603021600",
        "nightly-202603021700",
        "nightly-202603021800",
    ];
    assert_eq!(world.names(), kept);
    let status = world.status();
    assert_eq!((status.counts.started, status.counts.failed), (30, 10));
    assert_eq!(status.runs.len(), 10);
    world.is_settled();
}

#[test]
fn runs_in_parallel_are_bounded() {
    let mut world = world("* * * * *");
    world.schedule.spec.concurrency_policy = ConcurrencyPolicy::Allow;
    world.pass();
    for _ in 0..15 {
        world.now += SignedDuration::from_mins(1);
        world.pass();
        world.pass();
    }
    assert_eq!(world.runs.len(), 10);
    assert_eq!(world.status().active_display.as_deref(), Some("10 runs"));
}

#[test]
fn a_run_of_an_unknown_form_is_under_way_and_keeps_the_others_out() {
    let raw = json!({"metadata": {"name": "nightly-m1", "uid": "u", "creationTimestamp": "2026-03-01T12:00:00Z"}, "spec": 3});
    let stored: Stored<bakeoff_crds::Experiment> = serde_json::from_value(raw).unwrap();
    let mut world = world("0 2 * * *");
    world.pass();
    world.until("2026-03-02T02:00:00Z");
    let observed = Observed {
        runs: vec![crate::runs::Run::of(&stored)],
        ..world.observe()
    };
    let next = world.plan_of(&observed);
    assert!(next.actions.is_empty());
    assert_eq!(next.status.active[0].state, "Unreadable");
    assert_eq!(next.status.last_skip.unwrap().reason, SkipReason::Active);
}

#[test]
fn one_that_is_made_and_not_seen_yet_is_not_made_twice() {
    let mut world = world("0 2 * * *");
    world.pass();
    world.until("2026-03-02T02:00:00Z");
    let observed = Observed {
        answers: [("nightly-202603020200".to_owned(), Answer::Made)].into(),
        ..world.observe()
    };
    let next = world.plan_of(&observed);
    assert!(next.actions.is_empty());
    assert!(conditions::get(&next.status.conditions, ACCEPTED).is_some());
}

#[test]
fn what_is_suspected_is_confirmed_by_further_runs_before_anything_else() {
    let mut world = world("0 2 * * *");
    world.edit(|spec| {
        spec.regression = Some(
            serde_json::from_value(json!({"confirmRuns": 2, "metrics": [
                {"name": "p99", "expression": "c.p99", "better": "Lower", "minChangePercent": 10}]}))
            .unwrap(),
        );
    });
    world.pass();
    world.until("2026-03-02T02:00:00Z");
    world.pass();
    let series = world.runs[0].spec.series.clone().unwrap();
    assert_eq!(
        (series.name.as_str(), series.looks_per_year, series.confirms),
        ("nightly", 366, None)
    );
    world.pass();
    world.says(0, "Suspect");
    let events = world.pass();
    assert!(
        events
            .iter()
            .any(|text| text.contains("202603020200: it says Suspect")),
        "{events:?}"
    );
    assert_eq!(world.truth(REGRESSED), "Unknown");
    assert_eq!(world.names()[1], "nightly-202603020200-c1");
    let confirms = world.runs[1].spec.series.clone().unwrap().confirms;
    assert_eq!(confirms.as_deref(), Some("nightly-202603020200"));
    world.pass();
    world.says(1, "Suspect");
    world.until("2026-03-03T02:00:00Z");
    world.pass();
    assert_eq!(world.names()[2], "nightly-202603020200-c2");
    assert_eq!(
        world.status().last_skip.unwrap().reason,
        SkipReason::Active,
        "the tick waits for nothing"
    );
    world.pass();
    world.says(2, "Regressed");
    let events = world.pass();
    assert_eq!(
        events
            .iter()
            .filter(|text| text.contains("it says Regressed"))
            .count(),
        1,
        "{events:?}"
    );
    let truth = (world.truth(REGRESSED), world.reason(REGRESSED));
    assert_eq!(truth, ("True".into(), "RegressionConfirmed".into()));
    assert_eq!(
        world.truth(STALLED),
        "False",
        "a regression is no failure of the schedule"
    );
    assert_eq!(world.status().counts.confirmations, 2);
    world.is_settled();
    // It is told once, and until it has recovered it stands.
    world.until("2026-03-04T02:00:00Z");
    world.pass();
    world.pass();
    world.says(3, "NotComparable");
    world.pass();
    assert_eq!(world.truth(REGRESSED), "True");
    world.until("2026-03-05T02:00:00Z");
    world.pass();
    world.pass();
    world.says(4, "Recovered");
    world.pass();
    assert_eq!(
        (world.truth(REGRESSED), world.runs.len()),
        ("False".into(), 5)
    );
}

#[test]
fn who_wants_to_hear_of_a_regression_is_told_once_and_in_order() {
    let mut world = World::new("0 3 * * *", "Etc/UTC");
    let receiver = |name: &str, on: serde_json::Value| {
        serde_json::from_value(json!({"name": name, "secretRef": {"name": "hook"}, "on": on}))
            .unwrap()
    };
    world.edit(|spec| {
        spec.notify = vec![
            receiver("team", json!(["Regressed", "Recovered"])),
            receiver("boss", json!(["Failed"])),
        ];
    });
    world.until("2026-03-02T03:00:00Z");
    world.pass();
    world.says(0, "Regressed");
    for _ in 0..4 {
        world.pass();
    }
    let told: Vec<_> = world.ground.told.values().collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["notice"]["occasion"], "Regressed");
    assert_eq!(told[0]["notice"]["to"], "team");
    assert!(world.status().notices.is_empty() && world.ground.is_clean());
    // One that fails is given up with an event, and the next one is sent.
    world.ground.comes = crate::errands::ground::Comes::Failed;
    world.until("2026-03-03T03:00:00Z");
    world.pass();
    world.begin(1);
    world.end(1, "BackendLost");
    let mut events = world.pass();
    for _ in 0..4 {
        events.extend(world.pass());
    }
    assert!(
        events
            .iter()
            .any(|event| event.starts_with("boss was not told of Failed")),
        "{events:?}"
    );
    assert!(world.status().notices.is_empty() && world.ground.is_clean());
}

#[test]
fn messages_that_nobody_takes_are_bounded() {
    let mut world = World::new("* * * * *", "Etc/UTC");
    world.edit(|spec| {
        spec.max_consecutive_failures = 0;
        spec.notify = vec![
            serde_json::from_value(
                json!({"name": "team", "secretRef": {"name": "hook"}, "on": ["Failed"]}),
            )
            .unwrap(),
        ];
    });
    world.ground.comes = crate::errands::ground::Comes::Hangs;
    let mut events = Vec::new();
    for minute in 1..30 {
        world.until(&format!("2026-03-01T12:{minute:02}:00Z"));
        events.extend(world.pass());
        let last = world.runs.len() - 1;
        world.begin(last);
        world.end(last, "BackendLost");
    }
    assert!(world.status().notices.len() <= bakeoff_crds::notify::MOST_NOTICES);
    assert!(
        events
            .iter()
            .any(|event| event.contains("it took longer than 180 s")),
        "{events:?}"
    );
}
