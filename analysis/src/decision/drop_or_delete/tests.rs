use super::super::DecisionRecord;
use super::super::tests_support::{
    RetentionFigures, retention_summary, retention_summary_of, says,
};
use super::*;
use bakeoff_crds::status::DecisionOutcome;
use proptest::prelude::*;
use serde_json::{Value, json};

/// A drop that keeps every demand.
const DROPS: RetentionFigures = RetentionFigures {
    before: 2_000.0,
    during: 2_000.0,
    inserts: 500.0,
    drop: Some(60.0),
    wait: 0.0,
    lock: 4.0,
    looks: 9.0,
    rise: 1.0,
    complete: 1.0,
    lost: 0,
};
/// A delete that keeps every demand.
const DELETES: RetentionFigures = RetentionFigures {
    drop: None,
    lock: 4.0,
    ..DROPS
};

fn decide_with(drop: RetentionFigures, delete: RetentionFigures) -> DecisionRecord {
    retention_summary(6, |method| match method {
        RetentionMethod::DropPartition => drop,
        RetentionMethod::BulkDelete => delete,
    })
    .decision
    .unwrap()
}

fn stalling(of: RetentionFigures) -> RetentionFigures {
    RetentionFigures {
        during: of.before * 8.0,
        ..of
    }
}

#[test]
fn dropping_is_earned_by_a_delete_that_fails() {
    let decision = decide_with(DROPS, stalling(DELETES));
    assert_eq!(decision.outcome, DecisionOutcome::Go, "{}", decision.reason);
    assert!(
        decision.reason.contains("p99 of inserts"),
        "{}",
        decision.reason
    );
    let changes = &decision.consequence;
    assert!(changes.contains("(created_at, run_id)"), "{changes}");
    assert!(changes.contains("compare-and-swap"), "{changes}");
    assert!(
        changes.contains("900 rows each time here, 25 µs"),
        "{changes}"
    );
}

#[test]
fn a_delete_that_does_keeps_the_plain_table() {
    for drop in [DROPS, stalling(DROPS)] {
        let decision = decide_with(drop, DELETES);
        assert_eq!(
            decision.outcome,
            DecisionOutcome::NoGo,
            "{}",
            decision.reason
        );
        assert!(decision.reason.starts_with("Bulk delete keeps"));
        assert!(decision.consequence.contains("plain table"));
    }
}

#[test]
fn every_demand_on_the_drop_can_stop_it() {
    let failing = stalling(DELETES);
    let broken = [
        (
            RetentionFigures {
                drop: Some(4_000.0),
                ..DROPS
            },
            "Detaching and dropping",
        ),
        (RetentionFigures { lock: 8.0, ..DROPS }, "Strongest lock"),
        (
            RetentionFigures {
                wait: 900.0,
                ..DROPS
            },
            "Longest wait",
        ),
        (
            RetentionFigures {
                rise: 70.0,
                ..DROPS
            },
            "Autovacuum",
        ),
        (
            RetentionFigures {
                complete: 0.0,
                ..DROPS
            },
            "Space back",
        ),
        (stalling(DROPS), "p99 of inserts"),
    ];
    for (figures, name) in broken {
        let decision = decide_with(figures, failing);
        assert_eq!(
            decision.outcome,
            DecisionOutcome::NoGo,
            "{name}: {}",
            decision.reason
        );
        assert!(
            decision.reason.contains(name),
            "{name}: {}",
            decision.reason
        );
    }
}

#[test]
fn every_demand_on_the_delete_can_fail_it() {
    let broken = [
        (
            RetentionFigures {
                wait: 900.0,
                ..DELETES
            },
            "Longest wait",
        ),
        (
            RetentionFigures {
                rise: 70.0,
                ..DELETES
            },
            "Autovacuum",
        ),
        (
            RetentionFigures {
                complete: 0.0,
                ..DELETES
            },
            "Space back",
        ),
    ];
    for (figures, name) in broken {
        let decision = decide_with(DROPS, figures);
        assert_eq!(
            decision.outcome,
            DecisionOutcome::Go,
            "{name}: {}",
            decision.reason
        );
        assert!(
            decision.reason.contains(name),
            "{name}: {}",
            decision.reason
        );
    }
}

#[test]
fn what_was_not_seen_or_hardly_measured_settles_nothing() {
    let open = [
        (
            RetentionFigures {
                inserts: 12.0,
                ..stalling(DROPS)
            },
            "Inserts while",
        ),
        (
            RetentionFigures {
                looks: 0.0,
                ..DROPS
            },
            "Strongest lock",
        ),
        (
            RetentionFigures {
                drop: None,
                ..DROPS
            },
            "Detaching and dropping",
        ),
    ];
    for (figures, name) in open {
        let decision = decide_with(figures, stalling(DELETES));
        assert_eq!(
            decision.outcome,
            DecisionOutcome::Inconclusive,
            "{name}: {}",
            decision.reason
        );
        assert!(
            decision.reason.contains(name),
            "{name}: {}",
            decision.reason
        );
    }
    let one = retention_summary(1, |_| DROPS).decision.unwrap();
    assert_eq!(one.outcome, DecisionOutcome::Inconclusive, "{}", one.reason);
}

#[test]
fn rows_that_were_lost_carry_no_decision() {
    let decision = decide_with(RetentionFigures { lost: 3, ..DROPS }, stalling(DELETES));
    assert_eq!(decision.outcome, DecisionOutcome::Inconclusive);
    assert!(
        decision.reason.contains("fails correctness"),
        "{}",
        decision.reason
    );
}

#[test]
fn the_margin_and_the_bound_are_those_of_the_spec() {
    let decision = decide_with(DROPS, DELETES);
    assert_eq!(decision.margin, 1.5);
    assert!(
        decision.criterion.contains("at most 1000 ms"),
        "{}",
        decision.criterion
    );
    assert!(
        decision.criterion.contains("at most 1.50x"),
        "{}",
        decision.criterion
    );
}

fn workload(name: &str, runs: &[i32], rates: &[i32], batch: i32) -> Value {
    json!({"name": name, "retention": {
        "activeRuns": runs, "deleteBatchRows": batch, "load": {"open": {"ratePerSecond": rates}}}})
}

/// One demand in one of four cells is enough against a delete, so each is tried at its share.
#[test]
fn one_demand_of_many_is_broken_at_its_share() {
    let workloads = json!([workload("old", &[60_000, 120_000], &[300, 600], 0)]);
    // Six blocks: 28 to 42 with 95 %, and 25 lies in the interval at a twelfth of 5 %.
    let decision = |rises: [f64; 2]| {
        let summary = retention_summary_of(6, &workloads, |trial, method| {
            let here = trial.cell["activeRuns"] == "60000" && trial.cell["ratePerSecond"] == "300";
            match method {
                RetentionMethod::DropPartition => DROPS,
                RetentionMethod::BulkDelete if here => RetentionFigures {
                    rise: rises[trial.block as usize % 2],
                    ..DELETES
                },
                RetentionMethod::BulkDelete => DELETES,
            }
        });
        summary.decision.unwrap()
    };
    let open = decision([29.0, 41.0]);
    says(&open, DecisionOutcome::Inconclusive, "Autovacuum at work");
    says(
        &decision([64.0, 76.0]),
        DecisionOutcome::Go,
        "Autovacuum at work",
    );
}

/// Deletes in two workloads, whole and in batches, of which these stall; the batches at these rates.
fn batched(rates: &[i32], stalls: impl Fn(&str) -> bool) -> DecisionRecord {
    let workloads = json!([
        workload("whole", &[60_000], &[300, 600], 0),
        workload("batches", &[60_000], rates, 10_000),
    ]);
    let summary = retention_summary_of(6, &workloads, |trial, method| match method {
        RetentionMethod::DropPartition => DROPS,
        RetentionMethod::BulkDelete if stalls(&trial.workload) => stalling(DELETES),
        RetentionMethod::BulkDelete => DELETES,
    });
    summary.decision.unwrap()
}

#[test]
fn a_batch_size_that_keeps_every_demand_is_enough() {
    let kept = batched(&[300, 600], |name| name == "whole");
    says(
        &kept,
        DecisionOutcome::NoGo,
        "Bulk delete keeps its demands",
    );
    says(
        &kept,
        DecisionOutcome::NoGo,
        "BulkDelete, 10000 rows at a time",
    );
    assert!(!kept.reason.contains("all at once"), "{}", kept.reason);
}

#[test]
fn every_batch_size_has_to_fail() {
    let failed = batched(&[300, 600], |_| true);
    for words in [
        "BulkDelete, all at once",
        "BulkDelete, 10000 rows at a time",
    ] {
        says(&failed, DecisionOutcome::Go, words);
    }
}

#[test]
fn a_batch_size_of_which_less_was_asked_settles_nothing() {
    let less = batched(&[300], |name| name == "whole");
    let words = "BulkDelete, 10000 rows at a time, 60000 runs, 600/s is not measured";
    says(&less, DecisionOutcome::Inconclusive, words);
}

fn standing(outcome: DecisionOutcome) -> i32 {
    match outcome {
        DecisionOutcome::NoGo => 0,
        DecisionOutcome::Inconclusive => 1,
        DecisionOutcome::Go => 2,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever else was measured, a drop that does worse is never decided for more readily, nor a
    /// delete that does worse decided against dropping.
    #[test]
    fn worse_figures_never_speak_for_a_method(
        during in 1_000.0_f64..20_000.0, wait in 0.0_f64..200.0, drop in 10.0_f64..3_000.0,
        rise in -10.0_f64..60.0, delete_during in 1_000.0_f64..20_000.0, worse in 1.0_f64..5.0,
    ) {
        let dropped = RetentionFigures { during, wait, drop: Some(drop), rise, ..DROPS };
        let deleted = RetentionFigures { during: delete_during, ..DELETES };
        let at = decide_with(dropped, deleted).outcome;
        let worse_drop = RetentionFigures {
            during: during * worse, wait: wait * worse, drop: Some(drop * worse), ..dropped
        };
        prop_assert!(standing(decide_with(worse_drop, deleted).outcome) <= standing(at));
        // A delete that gets worse may earn the drop, never the other way round.
        let worse_delete = RetentionFigures { during: delete_during * worse, ..deleted };
        prop_assert!(standing(decide_with(dropped, worse_delete).outcome) >= standing(at));
    }

    /// The outcome is one that its own inputs carry.
    #[test]
    fn the_outcome_follows_from_the_inputs(
        during in 1_000.0_f64..20_000.0, lock in prop::sample::select(vec![0.0, 4.0, 8.0]),
        delete_during in 1_000.0_f64..20_000.0, complete in prop::sample::select(vec![0.0, 1.0]),
    ) {
        let decision = decide_with(
            RetentionFigures { during, lock, ..DROPS },
            RetentionFigures { during: delete_during, complete, ..DELETES },
        );
        let all = |method: &str, standing: Standing| {
            decision.inputs.iter().filter(|i| i.scope.starts_with(method)).all(|i| i.standing == standing)
        };
        let any = |method: &str| {
            decision.inputs.iter().any(|i| i.scope.starts_with(method) && i.standing == Standing::NotMet)
        };
        match decision.outcome {
            DecisionOutcome::Go => {
                prop_assert!(all("DropPartition", Standing::Met) && any("BulkDelete"));
            }
            DecisionOutcome::NoGo => {
                prop_assert!(all("BulkDelete", Standing::Met) || any("DropPartition"));
            }
            DecisionOutcome::Inconclusive => {
                prop_assert!(!all("BulkDelete", Standing::Met) && !any("DropPartition"));
            }
        }
    }
}
