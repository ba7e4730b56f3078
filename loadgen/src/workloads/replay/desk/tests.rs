//! Properties of the desk, and what a planted fault in it looks like.

use super::*;
use bakeoff_crds::rng::SplitMix64;
use std::collections::BTreeMap;

/// What became of each event, told apart from the desk itself.
#[derive(Debug, Default)]
struct Ended {
    done: Vec<Event>,
    failed: usize,
    unfinished: usize,
}

/// Lives of runs in random order, each in its own order.
fn events(rng: &mut SplitMix64, runs: i64) -> Vec<Event> {
    let mut open: Vec<(i64, i32)> = Vec::new();
    let mut all = Vec::new();
    let mut next = 0;
    let mut at = 0;
    while next < runs || !open.is_empty() {
        at += rng.below(3);
        let event = |id, seq, kind| Event {
            at,
            id,
            seq,
            kind,
            bytes: 10,
        };
        if next < runs && (open.is_empty() || rng.below(4) == 0) {
            all.push(event(next, 0, Kind::Created));
            open.push((next, 0));
            next += 1;
            continue;
        }
        let position = usize::try_from(rng.below(open.len() as u64)).unwrap();
        let (id, seq) = open[position];
        if seq > 0 && rng.below(5) == 0 {
            open.swap_remove(position);
            all.push(event(id, seq + 1, Kind::Done));
        } else {
            open[position].1 += 1;
            all.push(event(id, seq + 1, Kind::Transition));
        }
    }
    all
}

/// Plays events on so many workers that end in random order; `stop` of 1000 end the play before all is done.
fn play(seed: u64, most_waiting: usize) -> (Vec<Event>, Desk, Ended, usize) {
    let mut rng = SplitMix64::new(seed);
    let all = events(&mut rng, 40);
    let workers = 1 + usize::try_from(rng.below(8)).unwrap();
    let troubles = rng.below(3);
    let mut desk = Desk::new(0);
    desk.most_waiting = most_waiting;
    let mut in_flight: Vec<Task> = Vec::new();
    // How far each row is, as a server would have it.
    let mut rows: BTreeMap<i64, i32> = BTreeMap::new();
    let mut ended = Ended::default();
    let mut coming = all.iter().copied().peekable();
    let mut never = 0;
    let stop_after = all.len() / 2 + usize::try_from(rng.below(all.len() as u64)).unwrap();
    let mut steps = 0;
    loop {
        steps += 1;
        if steps > stop_after * 2 {
            break;
        }
        let may_take = in_flight.len() < workers && coming.peek().is_some();
        if may_take && (in_flight.is_empty() || rng.below(2) == 0) {
            let event = coming.next().unwrap();
            // Now and then the pacer drops one.
            if rng.below(200) < troubles {
                desk.lost(event);
                never += 1;
            } else if let Some(task) = desk.due(event, event.at) {
                in_flight.push(task);
            }
        } else if in_flight.is_empty() {
            break;
        } else {
            let position = usize::try_from(rng.below(in_flight.len() as u64)).unwrap();
            let task = in_flight.swap_remove(position);
            let event = task.event;
            let outcome = match rng.below(60) {
                0 if troubles > 0 => Outcome::NotDone,
                1 if troubles > 0 => Outcome::Unknown,
                _ => Outcome::Done,
            };
            if outcome == Outcome::Done {
                match event.kind {
                    Kind::Created | Kind::Open => assert!(rows.insert(event.id, 0).is_none()),
                    // The compare-and-swap: nobody moved the row meanwhile, and it is as far as the desk says.
                    Kind::Transition | Kind::Done => {
                        let row = rows.get_mut(&event.id).unwrap();
                        assert_eq!(*row, event.seq - 1 - task.behind, "{event:?}");
                        *row += 1;
                    }
                }
                ended.done.push(event);
            } else {
                ended.failed += 1;
            }
            let next = desk.ended(task, outcome);
            in_flight.extend(next);
        }
        let mut busy: Vec<i64> = in_flight.iter().map(|task| task.event.id).collect();
        busy.sort_unstable();
        busy.dedup();
        assert_eq!(busy.len(), in_flight.len(), "two of one run in flight");
    }
    ended.unfinished = in_flight.len();
    let never = never + coming.count();
    (all, desk, ended, never)
}

#[test]
fn order_per_run_is_kept_and_every_event_is_in_one_count() {
    let (mut waited, mut orphaned, mut left, mut refused) = (0, 0, 0, 0);
    for seed in 0..2_000 {
        let most_waiting = if seed % 5 == 0 { 2 } else { 1_000 };
        let (all, desk, ended, never) = play(seed, most_waiting);
        let mut last: BTreeMap<i64, i32> = BTreeMap::new();
        for event in &ended.done {
            let before = last.insert(event.id, event.seq);
            assert!(before.is_none_or(|before| before < event.seq), "{event:?}");
        }
        let tally = desk.tally();
        let counted = ended.done.len() as u64
            + ended.failed as u64
            + ended.unfinished as u64
            + (never as u64 + tally.refused + desk.left())
            + tally.orphaned;
        assert_eq!(counted, all.len() as u64, "seed {seed}: {tally:?}");
        waited += tally.waited;
        orphaned += tally.orphaned;
        refused += tally.refused;
        left += desk.left();
    }
    // All of it happened.
    assert!(waited > 1_000 && orphaned > 1_000 && refused > 10 && left > 10);
}

fn event(id: i64, seq: i32, kind: Kind) -> Event {
    Event {
        at: 5,
        id,
        seq,
        kind,
        bytes: 0,
    }
}

#[test]
fn whoever_ends_a_statement_takes_the_next_of_its_run() {
    let mut desk = Desk::new(0);
    let first = desk.due(event(1, 0, Kind::Created), 5).unwrap();
    assert_eq!(desk.due(event(1, 1, Kind::Transition), 6), None);
    assert_eq!(desk.due(event(1, 2, Kind::Done), 7), None);
    let other = desk.due(event(2, 0, Kind::Created), 8).unwrap();
    assert_eq!(desk.ended(other, Outcome::Done), None);
    let second = desk.ended(first, Outcome::Done).unwrap();
    assert_eq!((second.planned, second.event.seq), (6, 1));
    let third = desk.ended(second, Outcome::Done).unwrap();
    assert_eq!(third.planned, 7);
    assert_eq!(desk.ended(third, Outcome::Done), None);
    let tally = desk.tally();
    assert_eq!((tally.waited, tally.orphaned, desk.left()), (2, 0, 0));
    assert!(desk.lines.is_empty() && desk.troubled.is_empty());
}

#[test]
fn a_creation_that_failed_orphans_what_comes_after_it() {
    for outcome in [Outcome::NotDone, Outcome::Unknown] {
        let mut desk = Desk::new(7);
        let create = desk.due(event(1, 0, Kind::Created), 5).unwrap();
        assert_eq!(desk.due(event(1, 1, Kind::Transition), 6), None);
        assert_eq!(desk.ended(create, outcome), None);
        // Before the window it is not counted, and no less orphaned.
        assert_eq!(desk.tally().orphaned, 0);
        assert_eq!(desk.due(event(1, 2, Kind::Transition), 8), None);
        assert_eq!(desk.due(event(1, 3, Kind::Done), 9), None);
        assert_eq!(desk.tally().orphaned, 2);
        assert!(desk.troubled.is_empty(), "what is over is forgotten");
    }
}

#[test]
fn a_step_that_was_certainly_not_done_leaves_its_run_behind_and_one_that_nobody_knows_of_ends_it() {
    let mut desk = Desk::new(0);
    for behind in 1..4 {
        let task = desk.due(event(1, behind, Kind::Transition), 5).unwrap();
        assert_eq!(task.behind, behind - 1);
        assert_eq!(desk.ended(task, Outcome::NotDone), None);
    }
    let task = desk.due(event(1, 9, Kind::Transition), 5).unwrap();
    assert_eq!(task.behind, 3);
    assert_eq!(desk.ended(task, Outcome::Unknown), None);
    assert_eq!(desk.due(event(1, 10, Kind::Transition), 5), None);
    assert_eq!(desk.tally().orphaned, 1);
}
