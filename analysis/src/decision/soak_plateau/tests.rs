use super::super::tests_support::{SoakFigures, says, soak_summary};
use super::super::{DecisionRecord, decide};
use super::*;
use crate::measured::Measured;
use bakeoff_crds::figure::Figure;
use bakeoff_crds::status::DecisionOutcome;
use serde_json::json;

const HOLDS: SoakFigures = SoakFigures {
    dead: 5.0,
    dead_per_hour: 0.0,
    peak: 12.0,
    index_mib: 40.0,
    index_mib_per_hour: 0.0,
    turnovers: 0.4,
    autovacuums: 2.0,
    missed: 0,
};

fn decided(blocks: i32, of: impl Fn(i64, bool) -> SoakFigures) -> DecisionRecord {
    soak_summary(blocks, 0, of).decision.unwrap()
}

/// The decision on what was changed after it was summarised.
fn decided_again(measured: &Measured) -> DecisionRecord {
    let decision = serde_json::from_value(json!({"rule": "SoakPlateau"})).unwrap();
    let spec = serde_json::from_value(json!({"backends": [], "workloads": []})).unwrap();
    decide(&decision, &spec, measured)
}

fn input<'a>(record: &'a DecisionRecord, name: &str) -> &'a DecisionInput {
    record
        .inputs
        .iter()
        .find(|input| input.name.starts_with(name))
        .unwrap()
}

#[test]
fn what_plateaus_is_go_and_says_what_a_snapshot_costs() {
    let record = decided(24, |_, held| SoakFigures {
        dead: if held { 25.0 } else { 5.0 },
        ..HOLDS
    });
    assert_eq!(record.outcome, DecisionOutcome::Go, "{}", record.reason);
    assert!(record.reason.contains("fillfactor 100, autovacuum Default"));
    let held = input(&record, "Dead rows while a transaction");
    assert!((held.value.unwrap() - 5.0).abs() < 0.1);
    assert_eq!(held.role, Role::Context);
}

#[test]
fn one_setting_that_holds_is_enough_and_all_must_fail() {
    // A quarter of an hour a segment: 24 segments are six hours, the second half three.
    let climbing = SoakFigures {
        index_mib_per_hour: 4.0,
        ..HOLDS
    };
    let one = decided(
        24,
        |fillfactor, _| if fillfactor == 100 { climbing } else { HOLDS },
    );
    assert_eq!(one.outcome, DecisionOutcome::Go, "{}", one.reason);
    assert!(one.reason.contains("fillfactor 80"));
    let none = decided(24, |_, _| climbing);
    says(&none, DecisionOutcome::NoGo, "Growth of the index");
    let cadence = input(&none, "Until the index has doubled");
    // 40 MiB and six hours of 4 MiB each make 64, which at 4 an hour double in 16.
    assert!((cadence.value.unwrap() - 16.0).abs() < 1.0, "{cadence:?}");
}

#[test]
fn dead_rows_that_creep_are_no_plateau() {
    let record = decided(24, |_, _| SoakFigures {
        dead_per_hour: 3.0,
        ..HOLDS
    });
    says(&record, DecisionOutcome::NoGo, "dead rows");
    let left = decided(24, |_, _| SoakFigures {
        peak: 55.0,
        ..HOLDS
    });
    assert_eq!(left.outcome, DecisionOutcome::NoGo);
}

#[test]
fn too_short_or_too_slow_a_soak_decides_nothing() {
    let short = decided(12, |_, _| HOLDS);
    assert_eq!(short.outcome, DecisionOutcome::Inconclusive);
    assert_eq!(short.more_blocks, Some(8), "{}", short.reason);
    let idle = decided(24, |_, _| SoakFigures {
        turnovers: 0.01,
        ..HOLDS
    });
    says(&idle, DecisionOutcome::Inconclusive, "Turnovers");
    // A hundredth a segment: the second half needs a hundred of them.
    assert_eq!(idle.more_blocks, Some(2 * 88));
    let quiet = decided(24, |_, _| SoakFigures {
        autovacuums: 0.0,
        index_mib_per_hour: 9.0,
        ..HOLDS
    });
    assert_eq!(
        quiet.outcome,
        DecisionOutcome::Inconclusive,
        "{}",
        quiet.reason
    );
    assert_eq!(quiet.more_blocks, None, "no number of segments without one");
}

#[test]
fn a_trend_that_swings_says_how_many_segments_would_settle_it() {
    let about = |blocks: i32| {
        let mut summary = soak_summary(blocks, 0, |_, _| HOLDS);
        for cell in summary
            .measured
            .workloads
            .iter_mut()
            .flat_map(|one| &mut one.cells)
        {
            for on in &mut cell.backends {
                let dead = on.figures.get_mut(&Figure::DeadMeanPercent).unwrap();
                for point in &mut dead.blocks {
                    point.value += f64::from((point.block * 7) % 5) * 3.0;
                }
            }
        }
        decided_again(&summary.measured)
    };
    let record = about(24);
    says(&record, DecisionOutcome::Inconclusive, "interval");
    assert!(record.consequence.contains("ten times"));
    let more = record.more_blocks.unwrap();
    assert!(more > 0);
    assert!(record.reason.contains(&format!("{more} more segments")));
    assert_eq!(
        about(24 + more).outcome,
        DecisionOutcome::Go,
        "after {more} more"
    );
    assert_eq!(about(24 + more / 3).outcome, DecisionOutcome::Inconclusive);
}

#[test]
fn an_index_that_came_to_rest_in_the_second_half_is_open_and_one_that_grows_on_is_not() {
    // In pages of 8 KiB, much as they were read from a soak of ten minutes.
    let read = [
        12, 15, 18, 20, 22, 24, 26, 28, 30, 31, 32, 34, 35, 36, 36, 36, 36, 36, 38, 38,
    ];
    let about = |blocks: i32, size: &dyn Fn(i32) -> i32| {
        let mut summary = soak_summary(blocks, 0, |_, _| HOLDS);
        for cell in summary
            .measured
            .workloads
            .iter_mut()
            .flat_map(|one| &mut one.cells)
        {
            for on in &mut cell.backends {
                for point in &mut on.figures.get_mut(&Figure::IndexBytes).unwrap().blocks {
                    point.value = f64::from(size(point.block)) * 8_192.0;
                }
            }
        }
        decided_again(&summary.measured)
    };
    let rests = |block: i32| read[usize::try_from(block.min(19)).unwrap()];
    let record = about(20, &rests);
    says(
        &record,
        DecisionOutcome::Inconclusive,
        "slowing down as it did",
    );
    assert!(!record.consequence.contains("ten times"));
    let more = record.more_blocks.unwrap();
    assert_eq!(
        about(20 + more, &rests).outcome,
        DecisionOutcome::Go,
        "after {more} more"
    );
    assert_eq!(
        about(20 + more / 3, &rests).outcome,
        DecisionOutcome::Inconclusive
    );
    let grows = about(20, &|block| 100 * (40 + block));
    assert_eq!(grows.outcome, DecisionOutcome::NoGo, "{}", grows.reason);
    let slows = about(20, &|block| 1_000 * rests(block));
    assert_eq!(
        slows.outcome,
        DecisionOutcome::Inconclusive,
        "{}",
        slows.reason
    );
    // The same shares of so little are a page now and a page then.
    let pages = about(20, &|block| 40 + block);
    assert_eq!(
        pages.outcome,
        DecisionOutcome::Inconclusive,
        "{}",
        pages.reason
    );
}

/// A leaf page is free only when its last run has ended: for some turnovers each of them adds pages and frees none.
#[test]
fn an_index_that_grows_before_the_first_runs_have_left_is_no_no_go() {
    let early = SoakFigures {
        index_mib_per_hour: 40.0,
        turnovers: 0.13,
        ..HOLDS
    };
    let record = decided(20, |_, _| early);
    says(
        &record,
        DecisionOutcome::Inconclusive,
        "may still come to rest",
    );
    let more = record.more_blocks.unwrap();
    assert_eq!(
        decided(20 + more, |_, _| early).outcome,
        DecisionOutcome::NoGo,
        "after {more} more"
    );
    assert_eq!(
        decided(20 + more / 2, |_, _| early).outcome,
        DecisionOutcome::Inconclusive
    );
}

#[test]
fn a_table_that_was_lost_begins_a_new_course() {
    // The first six of 22 segments were on a table that is gone; its index was four times as large.
    let summary = soak_summary(30, 6, |_, _| HOLDS);
    let record = summary.decision.unwrap();
    assert_eq!(record.outcome, DecisionOutcome::Go, "{}", record.reason);
    let index = input(&record, "Growth of the index");
    assert_eq!(index.blocks, 12);
}

#[test]
fn a_row_that_another_moved_is_no_go_whatever_plateaus() {
    let record = decided(24, |_, _| SoakFigures { missed: 1, ..HOLDS });
    assert_eq!(record.outcome, DecisionOutcome::NoGo);
    assert!(record.reason.contains("exactly the row"));
}
