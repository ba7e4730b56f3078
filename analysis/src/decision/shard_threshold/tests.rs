use super::super::DecisionRecord;
use super::super::tests_support::{SustainFigures, says, sustain_summary};
use super::*;
use bakeoff_crds::status::DecisionOutcome;
use serde_json::{Value, json};

/// A server that holds so much for good, on stated equipment, against a target.
fn decided(target: Value, truth: f64, of: impl Fn(u32, &mut SustainFigures)) -> DecisionRecord {
    let summary = sustain_summary(12, true, &target, |rate| {
        let mut figures = SustainFigures::held_if(f64::from(rate) <= truth);
        of(rate, &mut figures);
        figures
    });
    summary.decision.unwrap()
}

fn plain(target: Value, truth: f64) -> DecisionRecord {
    decided(target, truth, |_, _| {})
}

#[test]
fn a_target_with_its_headroom_below_the_lower_end_is_go_and_says_the_months() {
    let record = plain(json!({"ratePerSecond": 400}), 1_000.0);
    says(&record, DecisionOutcome::Go, "One primary held");
    let lower = record
        .inputs
        .iter()
        .find(|one| one.role == Role::Primary)
        .unwrap();
    let held = lower.value.unwrap();
    assert!((800.0..=1_000.0).contains(&held), "{lower:?}");
    assert!(lower.high.unwrap() > 1_000.0);
    // ln(held / 400) / ln(1.05)
    let months = (held / 400.0).ln() / 1.05_f64.ln();
    assert!(
        record.reason.contains(&format!("in {months:.0} months")),
        "{}",
        record.reason
    );
}

#[test]
fn a_target_above_the_upper_end_is_no_go_and_says_how_many_shards() {
    let record = plain(
        json!({"ratePerSecond": 5_000, "headroomPercent": 0}),
        1_000.0,
    );
    says(&record, DecisionOutcome::NoGo, "did not hold");
    assert!(
        record.reason.contains("p99 in a fifth"),
        "{}",
        record.reason
    );
    let held = record
        .inputs
        .iter()
        .find_map(|one| one.value.filter(|_| one.role == Role::Primary))
        .unwrap();
    let shards = (5_000.0 / (held * 0.7)).ceil();
    assert!(
        record.consequence.contains(&format!("{shards} primaries")),
        "{}",
        record.consequence
    );
    let never = plain(json!({"ratePerSecond": 5_000}), 0.0);
    says(&never, DecisionOutcome::NoGo, "nothing below was held");
    assert!(never.consequence.contains("not known"));
}

#[test]
fn what_lies_between_the_ends_or_was_not_repeated_is_open() {
    let between = plain(json!({"ratePerSecond": 1_000, "headroomPercent": 0}), 999.0);
    says(&between, DecisionOutcome::Inconclusive, "between its ends");
    assert!(between.more_blocks.is_some());
    let summary = sustain_summary(3, true, &json!({"ratePerSecond": 100}), |rate| {
        SustainFigures::held_if(rate <= 1_000)
    });
    let few = summary.decision.unwrap();
    says(&few, DecisionOutcome::Inconclusive, "of 3 times");
    assert!(few.more_blocks.unwrap() > 0);
}

#[test]
fn holds_that_were_too_short_do_not_speak_for_good() {
    let record = decided(json!({"ratePerSecond": 100}), 1_000.0, |_, figures| {
        figures.turnovers = 0.2;
    });
    says(
        &record,
        DecisionOutcome::Inconclusive,
        "0.20 of 1 turnovers",
    );
    assert!(record.consequence.contains("windowSeconds"));
    // That nothing holds is known from short holds as well.
    let not = decided(json!({"ratePerSecond": 9_000}), 1_000.0, |_, figures| {
        figures.turnovers = 0.2;
    });
    assert_eq!(not.outcome, DecisionOutcome::NoGo);
}

#[test]
fn on_equipment_that_is_not_stated_nothing_is_decided() {
    let summary = sustain_summary(12, false, &json!({"ratePerSecond": 100}), |rate| {
        SustainFigures::held_if(rate <= 1_000)
    });
    says(
        &summary.decision.unwrap(),
        DecisionOutcome::Inconclusive,
        "would say Go",
    );
}

#[test]
fn wrong_answers_carry_no_decision() {
    let record = decided(json!({"ratePerSecond": 100}), 1_000.0, |_, figures| {
        figures.missed = 1;
    });
    says(&record, DecisionOutcome::Inconclusive, "exactly the row");
}

#[test]
fn a_target_per_month_counts_at_its_own_active_set() {
    let record = plain(
        json!({"runsPerMonth": 50_000_000, "activeRuns": 10_000}),
        1_000.0,
    );
    // 50 million runs of 14.5 operations a month are 276 a second.
    assert!(record.question.contains("276"), "{}", record.question);
    assert_eq!(record.outcome, DecisionOutcome::Go, "{}", record.reason);
    let deciding: Vec<&str> = record
        .inputs
        .iter()
        .filter(|one| one.role == Role::Primary)
        .map(|one| one.scope.as_str())
        .collect();
    assert_eq!(deciding.len(), 1);
    assert!(deciding[0].starts_with("10"), "{deciding:?}");
}
