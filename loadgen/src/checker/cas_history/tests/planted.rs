//! Each fault, planted by hand and into histories of the machine, is found by the check that names it
//! and by no other.

use super::super::Outcome::{Lost, Ok, Unknown};
use super::super::name::*;
use super::machine::{outcome, outcome_of, span};
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

/// What the machine's history says of a step, a read or an attempt, to choose where to plant.
struct Facts {
    history: Vec<Event>,
}

impl Facts {
    fn position(&self, wanted: impl Fn(&Event) -> bool) -> Option<usize> {
        self.history.iter().position(wanted)
    }

    /// The acknowledged step that leaves a version.
    fn winner(&self, run: u64, life: u64, version: u64) -> Option<usize> {
        self.position(|event| {
            matches!(event, Event::Cas { run: r, incarnation, expected, outcome: Ok, .. }
                if (*r, *incarnation, *expected) == (run, life, version))
        })
    }

    fn deleted(&self, run: u64, life: u64) -> Option<usize> {
        self.position(|event| {
            matches!(event, Event::Delete { run: r, incarnation, outcome: Ok, .. } if (*r, *incarnation) == (run, life))
        })
    }

    fn value_read(&self, value: u64) -> bool {
        self.position(
            |event| matches!(event, Event::Read { row: Some(row), .. } if row.value == value),
        )
        .is_some()
    }

    fn complete(&self, index: usize) -> u64 {
        span(&mut self.history[index].clone()).complete
    }

    /// Plants a fault where an event allows it.
    fn plant(&self, fault: &str, index: usize) -> Option<Vec<Event>> {
        let mut planted = self.history.clone();
        match (fault, self.history[index]) {
            (
                DUPLICATE_WINNERS,
                Event::Cas {
                    run,
                    incarnation,
                    expected,
                    span,
                    outcome: Lost,
                    ..
                },
            ) => {
                self.winner(run, incarnation, expected)?;
                let dead = self
                    .deleted(run, incarnation)
                    .is_some_and(|delete| self.complete(delete) < span.invoke);
                *outcome_of(&mut planted[index])? = Ok;
                (!dead).then_some(planted)
            }
            (
                PHANTOM_FAILURES,
                Event::Cas {
                    run,
                    incarnation,
                    new,
                    outcome: Ok,
                    ..
                },
            ) => {
                self.winner(run, incarnation, new)?;
                *outcome_of(&mut planted[index])? = Lost;
                Some(planted)
            }
            (
                GAPS,
                Event::Cas {
                    run,
                    incarnation,
                    expected,
                    new,
                    value,
                    outcome: Ok,
                    ..
                },
            ) => {
                self.winner(run, incarnation, new)?;
                planted.retain(|event| {
                    !matches!(event, Event::Cas { run: r, incarnation: i, expected: e, .. }
                        | Event::Delete { run: r, incarnation: i, expected: e, .. }
                        if (*r, *i, *e) == (run, incarnation, expected))
                });
                (!self.value_read(value)).then_some(planted)
            }
            (FORKS, Event::Read { row: Some(_), .. }) => {
                if let Event::Read { row: Some(row), .. } = &mut planted[index] {
                    row.value = 1_000_000;
                }
                Some(planted)
            }
            (
                STALE_READS | LOST_WRITES,
                Event::Read {
                    run,
                    row: Some(row),
                    span,
                    read_back,
                    ..
                },
            ) => {
                let (older, next) = (row.seq.checked_sub(2)?, row.seq - 1);
                let shown = self.winner(run, row.incarnation, older)?;
                let superseded = self.winner(run, row.incarnation, next)?;
                let Event::Cas { value, new, .. } = self.history[shown] else {
                    return None;
                };
                if let Event::Read { row: Some(row), .. } = &mut planted[index] {
                    (row.seq, row.value) = (new, value);
                }
                let right =
                    read_back == (fault == LOST_WRITES) && self.complete(superseded) < span.invoke;
                right.then_some(planted)
            }
            (RESURRECTED_RUNS, Event::Read { run, span, .. }) => {
                let (life, last) = self.history.iter().find_map(|event| match *event {
                    Event::Delete {
                        run: r,
                        incarnation,
                        expected,
                        outcome: Ok,
                        span: deleted,
                        ..
                    } if r == run && deleted.complete < span.invoke && expected > 0 => {
                        Some((incarnation, expected))
                    }
                    _ => None,
                })?;
                let Event::Cas { value, .. } = self.history[self.winner(run, life, last - 1)?]
                else {
                    return None;
                };
                if let Event::Read { row, .. } = &mut planted[index] {
                    *row = Some(Row {
                        incarnation: life,
                        seq: last,
                        value,
                    });
                }
                Some(planted)
            }
            (
                ABA_WINS,
                Event::Cas {
                    run,
                    incarnation,
                    expected,
                    span,
                    outcome: Lost,
                    ..
                },
            ) => {
                let delete = self.deleted(run, incarnation)?;
                // Another life that was there all the time, and had come so far.
                let other = self.history.iter().find_map(|event| match *event {
                    Event::Insert {
                        run: r,
                        incarnation,
                        span: begun,
                        outcome: Ok,
                        ..
                    } if r == run
                        && begun.complete < span.invoke
                        && self.deleted(run, incarnation).is_none() =>
                    {
                        Some(incarnation)
                    }
                    _ => None,
                })?;
                if let Some(before) = expected.checked_sub(1) {
                    let made = self.winner(run, other, before)?;
                    (self.complete(made) < span.invoke).then_some(())?;
                }
                *outcome_of(&mut planted[index])? = Ok;
                (self.complete(delete) < span.invoke).then_some(planted)
            }
            _ => None,
        }
    }
}

#[test]
fn faults_planted_into_histories_of_the_machine_are_named() {
    let faults = [
        DUPLICATE_WINNERS,
        PHANTOM_FAILURES,
        GAPS,
        FORKS,
        STALE_READS,
        LOST_WRITES,
        RESURRECTED_RUNS,
        ABA_WINS,
    ];
    for fault in faults {
        let mut planted = 0;
        for seed in 0..400 {
            let mut rng = SplitMix64::stream(seed, fault);
            let shape = Shape {
                operations: 120,
                writers: 4,
                runs: 2,
                unknown: 0,
                stale: 30,
                deletes: 6,
                read_back: true,
            };
            let facts = Facts {
                history: history(&mut rng, shape),
            };
            let places: Vec<Vec<Event>> = (0..facts.history.len())
                .filter_map(|index| facts.plant(fault, index))
                .collect();
            if places.is_empty() {
                continue;
            }
            planted += 1;
            let events = &places[rng.index(places.len())];
            let found = violated(events);
            assert_eq!(found, [fault], "seed {seed}\n{}", lines(events));
        }
        assert!(planted >= 100, "{fault} was planted only {planted} times");
    }
    // The machine itself never says so.
    assert!(faults.iter().all(|fault| ALL.contains(fault)));
    assert_eq!(outcome(&read(None, (1, 2), false)), None);
}
