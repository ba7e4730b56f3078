//! Each fault, planted by hand, is found by the check that names it and by no other.

use super::super::Outcome::{Lost, Ok, Unknown};
use super::super::name::*;
use super::machine::outcome_of;
use super::*;

const RUN: u64 = 7;

fn between(invoke: u64, complete: u64) -> Span {
    Span { invoke, complete }
}

fn insert(incarnation: u64, value: u64, at: (u64, u64), outcome: Outcome) -> Event {
    let span = between(at.0, at.1);
    Event::Insert {
        writer: 9,
        run: RUN,
        incarnation,
        value,
        span,
        outcome,
    }
}

/// The writer is the value: each attempt comes from another one.
fn cas(incarnation: u64, expected: u64, value: u64, at: (u64, u64), outcome: Outcome) -> Event {
    Event::Cas {
        writer: u32::try_from(value).unwrap(),
        run: RUN,
        incarnation,
        expected,
        new: expected + 1,
        value,
        span: between(at.0, at.1),
        outcome,
    }
}

fn delete(incarnation: u64, expected: u64, at: (u64, u64), outcome: Outcome) -> Event {
    let span = between(at.0, at.1);
    Event::Delete {
        writer: 8,
        run: RUN,
        incarnation,
        expected,
        span,
        outcome,
    }
}

fn read(row: Option<(u64, u64, u64)>, at: (u64, u64), read_back: bool) -> Event {
    let row = row.map(|(incarnation, seq, value)| Row {
        incarnation,
        seq,
        value,
    });
    Event::Read {
        writer: 5,
        run: RUN,
        row,
        span: between(at.0, at.1),
        read_back,
    }
}

/// A life of two steps: the first is contended, the row is read, and both steps are over at 20.
fn base() -> Vec<Event> {
    vec![
        insert(1, 10, (1, 2), Ok),
        cas(1, 0, 11, (3, 6), Ok),
        cas(1, 0, 12, (4, 7), Lost),
        cas(1, 1, 13, (10, 20), Ok),
        cas(1, 1, 14, (9, 12), Lost),
    ]
}

fn with(more: &[Event]) -> Vec<Event> {
    [base(), more.to_vec()].concat()
}

fn changed(index: usize, outcome: Outcome) -> Vec<Event> {
    let mut events = base();
    *outcome_of(&mut events[index]).unwrap() = outcome;
    events
}

/// The history is named so, and by definition it is not right.
fn finds(events: &[Event], expected: &str) {
    assert_eq!(violated(events), [expected], "{}", lines(events));
    assert!(!machine::linearizable(events), "{}", lines(events));
}

#[test]
fn a_sound_history_passes_and_is_counted() {
    let history = with(&[read(Some((1, 2, 13)), (21, 22), true)]);
    assert_eq!(violated(&history), Vec::<String>::new());
    let report = check(&history);
    let counted = (
        report.steps,
        report.contended_steps,
        report.lost_races,
        report.unknown_outcomes,
    );
    assert_eq!(counted, (2, 2, 2, 0));
    // A winner whom nobody raced is no contended step.
    let alone = [
        insert(1, 10, (1, 2), Ok),
        cas(1, 0, 11, (3, 6), Ok),
        cas(1, 0, 12, (7, 9), Lost),
    ];
    assert_eq!((check(&alone).steps, check(&alone).contended_steps), (1, 0));
}

#[test]
fn two_winners() {
    finds(&changed(2, Ok), DUPLICATE_WINNERS);
    finds(&with(&[delete(1, 1, (10, 21), Ok)]), DUPLICATE_WINNERS);
    // A second insert while the first row was there.
    finds(&with(&[insert(2, 30, (8, 9), Ok)]), DUPLICATE_WINNERS);
}

#[test]
fn gaps_are_found() {
    finds(&with(&[cas(1, 3, 15, (21, 22), Ok)]), GAPS);
    let mut jump = base();
    if let Event::Cas { new, .. } = &mut jump[3] {
        *new = 3;
    }
    finds(&jump, GAPS);
    // No insert at all.
    finds(&base()[1..], GAPS);
}

#[test]
fn forks_are_found() {
    let unwritten = with(&[read(Some((1, 1, 77)), (7, 8), false)]);
    finds(&unwritten, FORKS);
    let mut both = changed(2, Unknown);
    both.push(read(Some((1, 1, 12)), (7, 8), false));
    finds(&both, FORKS);
}

#[test]
fn phantom_failures_are_found() {
    // It was told that it had lost, but the next step builds on it.
    finds(&changed(1, Lost), PHANTOM_FAILURES);
    // Its value was read.
    let mut history = base();
    history[1] = cas(1, 0, 11, (3, 6), Unknown);
    history.push(read(Some((1, 1, 12)), (7, 8), false));
    finds(&history, PHANTOM_FAILURES);
    // Nothing stood in its way.
    finds(&with(&[cas(1, 2, 15, (21, 22), Lost)]), PHANTOM_FAILURES);
    finds(&[insert(1, 10, (1, 2), Lost)], PHANTOM_FAILURES);
    finds(
        &with(&[delete(1, 2, (21, 22), Ok), insert(2, 20, (23, 24), Lost)]),
        PHANTOM_FAILURES,
    );
}

#[test]
fn lost_writes_and_stale_reads_are_found() {
    for (read_back, expected) in [(true, LOST_WRITES), (false, STALE_READS)] {
        finds(
            &with(&[read(Some((1, 1, 11)), (21, 22), read_back)]),
            expected,
        );
        finds(&with(&[read(None, (21, 22), read_back)]), expected);
        // Another life, acknowledged, and the old one is shown though its delete is not certain.
        let hidden = with(&[
            delete(1, 2, (21, 22), Unknown),
            insert(2, 20, (23, 24), Ok),
            read(Some((1, 2, 13)), (25, 26), read_back),
        ]);
        finds(&hidden, expected);
    }
}

#[test]
fn resurrections_are_found() {
    let deleted = with(&[delete(1, 2, (21, 22), Ok)]);
    let after = |event: Event| [deleted.clone(), vec![event]].concat();
    finds(
        &after(read(Some((1, 2, 13)), (23, 24), false)),
        RESURRECTED_RUNS,
    );
    finds(&after(cas(1, 2, 15, (23, 24), Ok)), RESURRECTED_RUNS);
    finds(&after(delete(1, 2, (23, 24), Ok)), RESURRECTED_RUNS);
    assert_eq!(
        violated(&after(read(None, (23, 24), true))),
        Vec::<String>::new()
    );
}

#[test]
fn a_win_on_another_life_is_found() {
    let again = with(&[delete(1, 2, (21, 22), Ok), insert(2, 20, (23, 24), Ok)]);
    let after = |more: &[Event]| [again.clone(), more.to_vec()].concat();
    let stale = cas(1, 0, 15, (25, 26), Ok);
    finds(&after(&[stale]), ABA_WINS);
    // What builds on it is not at fault.
    let built = after(&[
        stale,
        cas(2, 1, 16, (27, 28), Ok),
        read(Some((2, 2, 16)), (29, 30), true),
    ]);
    assert_eq!(violated(&built), [ABA_WINS]);
    // Seen only by what was read, the writer's own life may still have been there when it was sent.
    let seen = after(&[
        cas(1, 0, 15, (22, 26), Unknown),
        read(Some((2, 1, 15)), (27, 28), true),
    ]);
    assert_eq!(violated(&seen), [ABA_WINS]);
    // One that lost is what should happen, and is counted.
    let held = check(&after(&[cas(1, 0, 15, (25, 26), Lost)]));
    let aba = held
        .checks
        .iter()
        .find(|check| check.name == ABA_WINS)
        .unwrap();
    assert_eq!((aba.checked, aba.violations), (1, 0));
}

#[test]
fn impossible_orders_are_found() {
    // The second step was over before the first began, though each by itself is fine.
    let backwards = [
        insert(1, 10, (1, 2), Ok),
        cas(1, 1, 12, (3, 4), Ok),
        cas(1, 0, 11, (5, 6), Ok),
    ];
    finds(&backwards, IMPOSSIBLE_ORDERS);
    // A read before the write.
    let mut early = base();
    early.push(read(Some((1, 2, 13)), (8, 9), false));
    finds(&early, IMPOSSIBLE_ORDERS);
}

#[test]
fn unknown_outcomes_are_never_violations() {
    let events = [
        insert(1, 10, (1, 2), Unknown),
        cas(1, 0, 11, (3, 4), Unknown),
        cas(1, 1, 12, (5, 6), Ok),
        cas(1, 2, 13, (7, 8), Unknown),
        // Lost to the unknown one, or to the delete that may come at any time.
        cas(1, 2, 14, (9, 10), Lost),
        delete(1, 2, (7, 8), Unknown),
        read(None, (11, 12), true),
        insert(2, 20, (13, 14), Lost),
    ];
    assert!(
        violated(&events[..7]).is_empty(),
        "{:?}",
        violated(&events[..7])
    );
    let uncertain: Vec<(String, i64)> = check(&events[..7])
        .checks
        .into_iter()
        .filter(|check| check.uncertain > 0)
        .map(|check| (check.name, check.uncertain))
        .collect();
    let expected = [(GAPS, 2), (PHANTOM_FAILURES, 1), (LOST_WRITES, 1)];
    assert_eq!(
        uncertain,
        expected.map(|(name, count)| (name.to_owned(), count))
    );
    // Absent for good, so the insert had nothing in its way.
    finds(&events, IMPOSSIBLE_ORDERS);
}
