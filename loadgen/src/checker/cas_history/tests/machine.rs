//! A register machine that makes histories, and a search that judges small ones by definition.

use bakeoff_crds::rng::SplitMix64;
use std::collections::HashSet;

use super::super::{Event, Outcome, Row, Span};

/// What a history is made of.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub operations: usize,
    pub writers: usize,
    pub runs: u64,
    /// Attempts of unknown outcome, percent.
    pub unknown: u64,
    /// Attempts that rest on an old reading of the row, percent.
    pub stale: u64,
    /// Attempts at a row of seq above 0 that delete it, percent.
    pub deletes: u64,
    /// Whether every run is read back at the end.
    pub read_back: bool,
}

struct Flight {
    event: usize,
    effected: bool,
}

/// Runs the machine: writers race, each operation takes effect at one instant between its beginning
/// and its end, one of unknown outcome at any later instant or never.
pub(super) fn history(rng: &mut SplitMix64, shape: Shape) -> Vec<Event> {
    let runs = usize::try_from(shape.runs).unwrap();
    let mut past: Vec<Vec<Option<Row>>> = vec![vec![None]; runs];
    let mut events: Vec<Event> = Vec::new();
    let mut flights: Vec<Option<Flight>> = (0..shape.writers).map(|_| None).collect();
    let mut late: Vec<usize> = Vec::new();
    let mut ids: Vec<u32> = (0..).take(shape.writers).collect();
    let (mut now, mut fresh) = (1_u64, 0_u64);
    loop {
        now += rng.below(3);
        if !late.is_empty() && rng.below(8) == 0 {
            let event = late.swap_remove(rng.index(late.len()));
            effect(&mut events[event], &mut past, true);
            continue;
        }
        let turn = rng.index(shape.writers);
        match flights[turn].take() {
            None if events.len() < shape.operations => {
                let run = rng.index(runs);
                fresh += 1;
                let unknown = rng.below(100) < shape.unknown;
                let event = begin(
                    rng, &past[run], ids[turn], run as u64, fresh, now, shape, unknown,
                );
                events.push(event);
                flights[turn] = Some(Flight {
                    event: events.len() - 1,
                    effected: false,
                });
            }
            None => {}
            Some(flight) if outcome(&events[flight.event]) == Some(Outcome::Unknown) => {
                span(&mut events[flight.event]).complete = now;
                if rng.below(2) == 0 {
                    late.push(flight.event);
                }
                ids[turn] += 1_000;
            }
            Some(flight) if !flight.effected => {
                effect(&mut events[flight.event], &mut past, false);
                flights[turn] = Some(Flight {
                    effected: true,
                    ..flight
                });
            }
            Some(flight) => span(&mut events[flight.event]).complete = now,
        }
        if events.len() == shape.operations && flights.iter().all(Option::is_none) {
            break;
        }
    }
    for (run, past) in past.iter().enumerate().filter(|_| shape.read_back) {
        now += 1;
        events.push(Event::Read {
            writer: 0,
            run: run as u64,
            row: past.last().copied().flatten(),
            span: Span {
                invoke: now,
                complete: now + 1,
            },
            read_back: true,
        });
    }
    events
}

#[allow(clippy::too_many_arguments)]
fn begin(
    rng: &mut SplitMix64,
    past: &[Option<Row>],
    writer: u32,
    run: u64,
    fresh: u64,
    now: u64,
    shape: Shape,
    unknown: bool,
) -> Event {
    let outcome = if unknown {
        Outcome::Unknown
    } else {
        Outcome::Lost
    };
    let span = Span {
        invoke: now,
        complete: now,
    };
    let old = rng.below(100) < shape.stale;
    let belief = if old {
        past[rng.index(past.len())]
    } else {
        past[past.len() - 1]
    };
    if rng.below(100) < 20 {
        return Event::Read {
            writer,
            run,
            row: None,
            span,
            read_back: false,
        };
    }
    match belief {
        Some(row) if rng.below(100) < shape.deletes => Event::Delete {
            writer,
            run,
            incarnation: row.incarnation,
            expected: row.seq,
            span,
            outcome,
        },
        Some(row) if rng.below(100) < 95 => Event::Cas {
            writer,
            run,
            incarnation: row.incarnation,
            expected: row.seq,
            new: row.seq + 1,
            value: fresh,
            span,
            outcome,
        },
        // Incarnations need not ascend.
        _ => Event::Insert {
            writer,
            run,
            incarnation: fresh ^ 5,
            value: fresh,
            span,
            outcome,
        },
    }
}

fn effect(event: &mut Event, past: &mut [Vec<Option<Row>>], silent: bool) {
    let past = &mut past[usize::try_from(event.run()).unwrap()];
    let current = past[past.len() - 1];
    if let Event::Read { row, .. } = event {
        *row = current;
        return;
    }
    if let Some(next) = next(event, current) {
        past.push(next);
        if !silent {
            *outcome_of(event).unwrap() = Outcome::Ok;
        }
    }
}

/// The row after a write took effect, if it can.
fn next(event: &Event, current: Option<Row>) -> Option<Option<Row>> {
    match *event {
        Event::Insert {
            incarnation, value, ..
        } => current.is_none().then_some(Some(Row {
            incarnation,
            seq: 0,
            value,
        })),
        Event::Cas {
            incarnation,
            expected,
            new,
            value,
            ..
        } => {
            let there =
                current.is_some_and(|row| (row.incarnation, row.seq) == (incarnation, expected));
            (there && new == expected + 1).then_some(Some(Row {
                incarnation,
                seq: new,
                value,
            }))
        }
        Event::Delete {
            incarnation,
            expected,
            ..
        } => {
            let there =
                current.is_some_and(|row| (row.incarnation, row.seq) == (incarnation, expected));
            there.then_some(None)
        }
        Event::Read { .. } => None,
    }
}

pub(super) fn outcome_of(event: &mut Event) -> Option<&mut Outcome> {
    match event {
        Event::Insert { outcome, .. }
        | Event::Cas { outcome, .. }
        | Event::Delete { outcome, .. } => Some(outcome),
        Event::Read { .. } => None,
    }
}

pub(super) fn outcome(event: &Event) -> Option<Outcome> {
    outcome_of(&mut event.clone()).copied()
}

pub(super) fn span(event: &mut Event) -> &mut Span {
    match event {
        Event::Insert { span, .. }
        | Event::Cas { span, .. }
        | Event::Delete { span, .. }
        | Event::Read { span, .. } => span,
    }
}

/// The operations done, and the row after them.
type Tried = (u32, Option<(u64, u64, u64)>);

/// Whether the history of one run is linearizable, by trying all orders (Wing and Gong, "Testing and
/// verifying concurrent objects", 1993), with the states that were tried before left out.
pub(super) fn linearizable(events: &[Event]) -> bool {
    fn go(events: &[Event], done: u32, current: Option<Row>, tried: &mut HashSet<Tried>) -> bool {
        let definite = |event: &Event| outcome(event) != Some(Outcome::Unknown);
        let left = || (0..events.len()).filter(move |index| done & (1 << index) == 0);
        if left().all(|index| !definite(&events[index])) {
            return true;
        }
        if !tried.insert((
            done,
            current.map(|row| (row.incarnation, row.seq, row.value)),
        )) {
            return false;
        }
        let first_end = left()
            .filter(|&index| definite(&events[index]))
            .map(|index| span(&mut events[index].clone()).complete)
            .min()
            .unwrap();
        left().any(|index| {
            let event = &events[index];
            if span(&mut event.clone()).invoke > first_end {
                return false;
            }
            let after = match (event, outcome(event)) {
                (Event::Read { row, .. }, _) => (*row == current).then_some(current),
                (_, Some(Outcome::Lost)) => next(event, current).is_none().then_some(current),
                _ => next(event, current),
            };
            after.is_some_and(|after| go(events, done | (1 << index), after, tried))
        })
    }
    go(events, 0, None, &mut HashSet::new())
}
