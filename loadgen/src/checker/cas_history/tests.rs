mod machine;
mod planted;
mod planting;

use bakeoff_crds::rng::SplitMix64;
use machine::{Shape, history, linearizable, outcome_of, span};

use super::*;

const SMALL: Shape = Shape {
    operations: 8,
    writers: 3,
    runs: 1,
    unknown: 15,
    stale: 25,
    deletes: 25,
    read_back: false,
};

/// The checks with a violation.
fn violated(history: &[Event]) -> Vec<String> {
    let report = check(history);
    let bad = report.checks.iter().filter(|check| check.violations > 0);
    bad.map(|check| check.name.clone()).collect()
}

fn lines(history: &[Event]) -> String {
    history
        .iter()
        .map(|event| format!("{}\n", serde_json::to_string(event).unwrap()))
        .collect()
}

#[test]
fn nothing_is_found_in_thousands_of_right_histories() {
    for seed in 0..3_000 {
        let mut rng = SplitMix64::stream(seed, "right");
        let shape = Shape {
            operations: 40 + rng.index(160),
            writers: 2 + rng.index(7),
            runs: 1 + rng.below(3),
            unknown: [0, 3, 20][rng.index(3)],
            stale: [0, 10, 40][rng.index(3)],
            deletes: [2, 10, 30][rng.index(3)],
            read_back: true,
        };
        let history = history(&mut rng, shape);
        let report = check(&history);
        assert_eq!(
            violated(&history),
            Vec::<String>::new(),
            "seed {seed}: {:#?}",
            report.checks
        );
        let order = report
            .checks
            .iter()
            .find(|check| check.name == name::IMPOSSIBLE_ORDERS)
            .unwrap();
        assert_eq!(order.uncertain, 0, "seed {seed}: the order was not settled");
    }
}

#[test]
fn the_machine_and_the_search_agree_on_what_is_right() {
    for seed in 0..2_000 {
        let history = history(&mut SplitMix64::stream(seed, "small"), SMALL);
        assert!(linearizable(&history), "seed {seed}\n{}", lines(&history));
    }
}

/// Changes one thing of a history, keeping values and incarnations of inserts unique.
fn corrupt(history: &mut Vec<Event>, rng: &mut SplitMix64) {
    let index = rng.index(history.len());
    let other = history[rng.index(history.len())];
    match rng.below(6) {
        0 => {
            if let Some(outcome) = outcome_of(&mut history[index]) {
                *outcome = [Outcome::Ok, Outcome::Lost, Outcome::Unknown][rng.index(3)];
            }
        }
        1 => {
            if let Event::Read { row, .. } = &mut history[index] {
                *row = match other {
                    Event::Insert {
                        incarnation, value, ..
                    } => Some(Row {
                        incarnation,
                        seq: 0,
                        value,
                    }),
                    Event::Cas {
                        incarnation,
                        new,
                        value,
                        ..
                    } => Some(Row {
                        incarnation,
                        seq: new,
                        value,
                    }),
                    Event::Delete { .. } => None,
                    Event::Read { row, .. } => row.map(|row| Row {
                        seq: rng.below(3),
                        value: rng.below(9),
                        ..row
                    }),
                };
            }
        }
        2 => {
            let (first, second) = (rng.below(30), rng.below(30));
            *span(&mut history[index]) = Span {
                invoke: first.min(second),
                complete: first.max(second),
            };
        }
        3 => {
            if let Event::Cas { expected, new, .. } = &mut history[index] {
                *expected = rng.below(4);
                *new = if rng.below(5) == 0 {
                    rng.below(5)
                } else {
                    *expected + 1
                };
            }
        }
        4 => {
            let wanted = match other {
                Event::Insert { incarnation, .. } | Event::Cas { incarnation, .. } => incarnation,
                _ => 99,
            };
            if let Event::Cas { incarnation, .. } | Event::Delete { incarnation, .. } =
                &mut history[index]
            {
                *incarnation = wanted;
            }
        }
        _ => {
            history.remove(index);
        }
    }
}

#[test]
fn agrees_with_the_search_over_all_orders_of_small_histories() {
    let (mut right, mut wrong) = (0, 0);
    for seed in 0..40_000 {
        let mut rng = SplitMix64::stream(seed, "corrupted");
        let shape = Shape {
            operations: 2 + rng.index(7),
            writers: 2 + rng.index(3),
            unknown: [0, 15, 40][rng.index(3)],
            deletes: [10, 25, 60][rng.index(3)],
            ..SMALL
        };
        let mut history = history(&mut rng, shape);
        for _ in 0..rng.below(4) {
            if history.len() > 1 {
                corrupt(&mut history, &mut rng);
            }
        }
        let found = violated(&history);
        let expected = linearizable(&history);
        assert_eq!(
            found.is_empty(),
            expected,
            "seed {seed}: {found:?}\n{}",
            lines(&history)
        );
        if expected { right += 1 } else { wrong += 1 }
    }
    assert!(
        right > 5_000 && wrong > 5_000,
        "{right} right, {wrong} wrong"
    );
}

#[test]
fn what_cannot_be_settled_is_uncertain() {
    let history = history(
        &mut SplitMix64::stream(1, "bound"),
        Shape {
            operations: 100,
            ..SMALL
        },
    );
    let report = check_within(&history, &Clocks::ONE, 1);
    let order = report
        .checks
        .iter()
        .find(|check| check.name == name::IMPOSSIBLE_ORDERS)
        .unwrap();
    assert_eq!(
        (order.checked, order.violations, order.uncertain),
        (1, 0, 1)
    );
}

#[test]
fn a_history_survives_its_file() {
    let history = history(
        &mut SplitMix64::stream(3, "file"),
        Shape {
            read_back: true,
            ..SMALL
        },
    );
    let read: Vec<Event> = lines(&history)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(read, history);
}
