//! Traces for tests.

use std::path::Path;

use crate::format::Source;
use crate::grammar::Repairs;
use crate::writer::{Description, RESTART_EVERY};
use crate::{Event, Kind, Manifest, Trace, Writer};

/// A trace of as many events as there are choices: each says whose turn it is, what it does, and how much later.
pub(crate) fn events(choices: &[(u8, u8, u16)]) -> Vec<Event> {
    let (mut open, mut next, mut at_micros) = (Vec::new(), 0, 0);
    let mut events: Vec<Event> = Vec::new();
    for (who, what, later) in choices {
        at_micros += u64::from(*later);
        let only_open = events.iter().all(|event| event.kind == Kind::Open);
        let begins = open.is_empty() || *what < 80;
        let kind = match what {
            _ if begins && at_micros == 0 && who % 2 == 0 && only_open => Kind::Open,
            _ if begins => Kind::Created,
            80..=180 => Kind::Transition,
            _ => Kind::Done,
        };
        let place = usize::from(*who) % open.len().max(1);
        let run = match kind {
            Kind::Open | Kind::Created => {
                open.push(next);
                next += 1;
                next - 1
            }
            Kind::Transition => open[place],
            Kind::Done => open.swap_remove(place),
        };
        let value = (kind == Kind::Open || who % 3 == 0).then_some(u32::from(*later));
        events.push(Event {
            at_micros,
            run,
            kind,
            value,
        });
    }
    events
}

pub(crate) fn write(folder: &Path, events: &[Event]) -> Manifest {
    write_in_blocks(folder, events, RESTART_EVERY)
}

/// Writes a trace with so many events between restart points.
pub(crate) fn write_in_blocks(folder: &Path, events: &[Event], every: u64) -> Manifest {
    let mut writer = Writer::create(folder).unwrap().restart_every(every);
    for event in events {
        writer.push(*event).unwrap();
    }
    let description = Description {
        source: Source::Synthetic,
        method: "test".to_owned(),
        started_at: None,
        span_micros: None,
    };
    writer.finish(description, &Repairs::default()).unwrap()
}

pub(crate) fn read(folder: &Path) -> Vec<Event> {
    Trace::open(folder)
        .unwrap()
        .events()
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

/// The same, but every run ends.
pub(crate) fn complete(choices: &[(u8, u8, u16)]) -> Vec<Event> {
    let mut events = events(choices);
    events.retain(|event| event.kind != Kind::Open);
    let begun: std::collections::HashMap<u32, u32> = events
        .iter()
        .filter(|event| event.kind == Kind::Created)
        .zip(0..)
        .map(|(event, number)| (event.run, number))
        .collect();
    events.retain(|event| begun.contains_key(&event.run));
    for event in &mut events {
        event.run = begun[&event.run];
    }
    let mut at_micros = events.last().map_or(0, |event| event.at_micros);
    let done: std::collections::HashSet<u32> = events
        .iter()
        .filter(|event| event.kind == Kind::Done)
        .map(|event| event.run)
        .collect();
    for run in 0..begun.len() as u32 {
        if !done.contains(&run) {
            at_micros += u64::from(run % 3);
            events.push(Event {
                at_micros,
                run,
                kind: Kind::Done,
                value: None,
            });
        }
    }
    events
}
