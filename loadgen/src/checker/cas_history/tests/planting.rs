//! Faults planted into histories of the machine are found by the check that names them and by no other.

use super::super::Outcome::{Lost, Ok};
use super::super::name::*;
use super::machine::{outcome_of, span};
use super::*;

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
}
