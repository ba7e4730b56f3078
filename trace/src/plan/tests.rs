use std::collections::BTreeMap;
use std::fs::File;

use proptest::prelude::*;

use super::*;
use crate::format::Quantiles;
use crate::sample;
use crate::synthesize::{Shape, synthesize};

/// A recording in blocks of so many events, and a memory that holds hardly more than one of them.
fn plan(events: &[Event], every: u64, options: PlanOptions) -> (tempfile::TempDir, Plan<File>) {
    let folder = tempfile::tempdir().unwrap();
    sample::write_in_blocks(folder.path(), events, every);
    let mut plan = Plan::open(Trace::open(folder.path()).unwrap(), options).unwrap();
    plan.blocks.shrink_to(every as usize * 48);
    (folder, plan)
}

fn at(copies: u32, numerator: u128, denominator: u128, shift: Shift) -> PlanOptions {
    PlanOptions {
        speed: Ratio::new(numerator, denominator).unwrap(),
        copies,
        shift,
    }
}

fn window(plan: &mut Plan<File>, from: u64, to: u64) -> Vec<Planned> {
    plan.window(from, to).unwrap().map(Result::unwrap).collect()
}

fn open(plan: &mut Plan<File>, at_nanos: u64) -> Vec<OpenRun> {
    let mut open: Vec<_> = plan.initial(at_nanos).map(Result::unwrap).collect();
    open.sort_unstable();
    open
}

/// How often what happens. Not to which run: one may go on as another.
fn happenings(
    kinds: impl Iterator<Item = (Kind, Option<u32>)>,
) -> BTreeMap<(Kind, Option<u32>), u32> {
    let mut counts = BTreeMap::new();
    for happening in kinds.filter(|(kind, _)| *kind != Kind::Open) {
        *counts.entry(happening).or_default() += 1;
    }
    counts
}

/// Plays what is planned on top of what is open; fails where it does not fit.
fn play(open: Vec<OpenRun>, planned: &[Planned]) -> Vec<OpenRun> {
    let mut runs: BTreeMap<(u32, u32, u64), u32> = BTreeMap::new();
    for run in open {
        assert!(
            runs.insert((run.copy, run.run, run.lap), run.seq).is_none(),
            "{run:?} is open twice"
        );
    }
    let mut before = 0;
    for event in planned {
        assert!(event.at_nanos >= before, "{event:?} runs backwards");
        before = event.at_nanos;
        let key = (event.copy, event.run, event.lap);
        match event.kind {
            Kind::Open => assert!(
                runs.insert(key, event.seq).is_none(),
                "{event:?} is there already"
            ),
            Kind::Created => {
                assert_eq!(event.seq, 0);
                assert!(runs.insert(key, 0).is_none(), "{event:?} is there already");
            }
            Kind::Transition | Kind::Done => {
                let seq = runs
                    .get_mut(&key)
                    .unwrap_or_else(|| panic!("{event:?} has no run"));
                assert_eq!(event.seq, *seq + 1, "{event:?}");
                *seq += 1;
                if event.kind == Kind::Done {
                    runs.remove(&key);
                }
            }
        }
    }
    runs.into_iter()
        .map(|((copy, run, lap), seq)| OpenRun {
            copy,
            run,
            lap,
            seq,
        })
        .collect()
}

fn choices() -> impl Strategy<Value = Vec<(u8, u8, u16)>> {
    // Equal times are common, so that their order is looked at.
    let later = prop_oneof![3 => Just(0_u16), 2 => 1_u16..4, 1 => 4_u16..400];
    prop::collection::vec((any::<u8>(), any::<u8>(), later), 1..80)
}

fn shifts() -> impl Strategy<Value = Shift> {
    prop_oneof![4 => Just(Shift::Spread), 1 => Just(Shift::None)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_planned_fits_together_wherever_it_is_begun(
        choices in choices(),
        every in 1_u64..20,
        copies in 1_u32..7,
        speed in (1_u128..9, 1_u128..9),
        shift in shifts(),
        cuts in (0_u64..300, 0_u64..300),
    ) {
        let (_folder, mut plan) = plan(&sample::events(&choices), every, at(copies, speed.0, speed.1, shift));
        let turn = u64::try_from(plan.turn_nanos()).unwrap();
        let (from, to) = (turn * cuts.0.min(cuts.1) / 100, turn * cuts.0.max(cuts.1) / 100 + 1);
        let whole = window(&mut plan, 0, to);
        let (first, second) = (window(&mut plan, 0, from), window(&mut plan, from, to));
        prop_assert!(first.iter().all(|event| event.at_nanos < from));
        prop_assert!(second.iter().all(|event| (from..to).contains(&event.at_nanos)));
        prop_assert_eq!(&[first.clone(), second.clone()].concat(), &whole);
        let mut window = plan.window(0, from).unwrap();
        let mut extended: Vec<_> = window.by_ref().map(Result::unwrap).collect();
        window.extend(to);
        extended.extend(window.map(Result::unwrap));
        prop_assert_eq!(&extended, &whole);
        // What is open at a moment is what was open at the start, and what was done since.
        let (start, middle, end) = (open(&mut plan, 0), open(&mut plan, from), open(&mut plan, to));
        prop_assert_eq!(&play(start, &first), &middle);
        prop_assert_eq!(&play(middle, &second), &end);
    }

    #[test]
    fn in_a_turn_everything_happens_once_in_each_copy(
        choices in choices(),
        every in 1_u64..20,
        copies in 1_u32..7,
        speed in 1_u64..5,
        shift in shifts(),
        turns in 0_u64..3,
    ) {
        let events = sample::events(&choices);
        // A turn of whole nanoseconds.
        let (_folder, mut plan) = plan(&events, every, at(copies, 1, u128::from(speed), shift));
        let turn = u64::try_from(plan.turn_nanos()).unwrap();
        let planned = window(&mut plan, turn * turns, turn * (turns + 1));
        let mut expected = happenings(events.iter().map(|event| (event.kind, event.value)));
        expected.values_mut().for_each(|count| *count *= copies);
        prop_assert_eq!(happenings(planned.iter().map(|event| (event.kind, event.value))), expected);
        let grown = open(&mut plan, turn * (turns + 2)).len() - open(&mut plan, turn * (turns + 1)).len();
        prop_assert_eq!(grown as u64, plan.growth_per_turn());
    }

    #[test]
    fn the_open_runs_of_a_recording_in_which_all_runs_end_are_the_same_after_a_turn(
        choices in choices(), every in 1_u64..20, copies in 1_u32..7, speed in 1_u64..5, shift in shifts(),
    ) {
        let events = sample::complete(&choices);
        prop_assume!(!events.is_empty());
        let (_folder, mut plan) = plan(&events, every, at(copies, 1, u128::from(speed), shift));
        prop_assert_eq!(plan.growth_per_turn(), 0);
        let turn = u64::try_from(plan.turn_nanos()).unwrap();
        let bare = |runs: Vec<OpenRun>| -> Vec<_> { runs.into_iter().map(|run| (run.copy, run.run, run.seq)).collect() };
        let start = open(&mut plan, 0);
        let mut later = start.clone();
        for turns in 1..4 {
            let planned = window(&mut plan, turn * (turns - 1), turn * turns);
            later = play(later, &planned);
            prop_assert_eq!(bare(later.clone()), bare(start.clone()));
            // The same runs, as new ones.
            prop_assert!(later.iter().zip(&start).all(|(later, start)| later.lap == start.lap + turns));
        }
    }

    #[test]
    fn the_times_are_those_of_the_recording(choices in choices(), copy in 0_u32..5, speed in (1_u64..9, 1_u64..9)) {
        let events = sample::events(&choices);
        let options = at(5, u128::from(speed.0), u128::from(speed.1), Shift::Spread);
        let (_folder, mut plan) = plan(&events, 7, options);
        let (span, shift) = (plan.span(), plan.shift(copy));
        let turn = u64::try_from(plan.turn_nanos()).unwrap();
        let planned = window(&mut plan, 0, turn);
        let mut expected: Vec<_> = events
            .iter()
            .filter(|event| event.kind != Kind::Open)
            .map(|event| (event.at_micros + if event.at_micros < shift { span } else { 0 } - shift) * 1_000 * speed.1 / speed.0)
            .collect();
        expected.sort_unstable();
        // The last moment of a turn that is no whole number of nanoseconds may have events of the next one.
        let mut found: Vec<_> = planned
            .iter()
            .filter(|event| event.copy == copy && event.kind != Kind::Open)
            .map(|event| event.at_nanos)
            .collect();
        found.truncate(expected.len());
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn copies_begin_apart_and_at_the_golden_section() {
    let events = sample::complete(&[(1, 0, 0), (0, 100, 1_000), (0, 200, 30_900)]);
    let (_folder, plan) = plan(&events, 8, at(3, 1, 1, Shift::Spread));
    let span = plan.span();
    assert_eq!(plan.shift(0), 0);
    assert_eq!(plan.shift(1), span * 618_033 / 1_000_000);
    assert_eq!(plan.shift(2), span * 236_067 / 1_000_000);
}

#[test]
fn a_run_that_a_copy_begins_in_the_middle_of_is_two_runs_in_a_turn() {
    // Created at 0, moved at 60, completed at 90 of 100.
    let event = |at_micros, kind| Event {
        at_micros,
        run: 0,
        kind,
        value: None,
    };
    let mut events = vec![
        event(0, Kind::Created),
        event(60, Kind::Transition),
        event(90, Kind::Done),
    ];
    events.push(Event {
        at_micros: 99,
        run: 1,
        kind: Kind::Created,
        value: None,
    });
    events.push(Event {
        at_micros: 99,
        run: 1,
        kind: Kind::Done,
        value: None,
    });
    let (_folder, mut plan) = plan(&events, 2, at(2, 1, 1, Shift::Spread));
    // Copy 1 begins at 61.
    assert_eq!(
        open(&mut plan, 0),
        [OpenRun {
            copy: 1,
            run: 0,
            lap: 0,
            seq: 1
        }]
    );
    let of_run: Vec<_> = window(&mut plan, 0, 100_000)
        .into_iter()
        .filter(|event| event.copy == 1 && event.run == 0)
        .map(|event| (event.at_nanos, event.lap, event.kind, event.seq))
        .collect();
    assert_eq!(
        of_run,
        [
            (29_000, 0, Kind::Done, 2),
            (39_000, 1, Kind::Created, 0),
            (99_000, 1, Kind::Transition, 1)
        ]
    );
    assert_eq!(
        open(&mut plan, 100_000),
        [OpenRun {
            copy: 1,
            run: 0,
            lap: 1,
            seq: 1
        }]
    );
}

#[test]
fn what_is_open_at_the_end_goes_on_as_what_is_open_at_the_start() {
    let event = |at_micros, run, kind, value| Event {
        at_micros,
        run,
        kind,
        value,
    };
    let events = [
        event(0, 0, Kind::Open, Some(4)),
        event(0, 1, Kind::Open, Some(9)),
        event(10, 0, Kind::Transition, None),
        event(20, 0, Kind::Done, None),
        event(30, 2, Kind::Created, None),
    ];
    let (_folder, mut plan) = plan(&events, 2, at(1, 1, 1, Shift::Spread));
    let run = |run, lap, seq| OpenRun {
        copy: 0,
        run,
        lap,
        seq,
    };
    assert_eq!(open(&mut plan, 0), [run(0, 0, 4), run(1, 0, 9)]);
    let planned = window(&mut plan, 0, 62_000);
    let seen: Vec<_> = planned
        .iter()
        .map(|event| {
            (
                event.at_nanos / 1_000,
                event.run,
                event.lap,
                event.kind,
                event.seq,
            )
        })
        .collect();
    let expected = [
        (10, 0, 0, Kind::Transition, 5),
        (20, 0, 0, Kind::Done, 6),
        (30, 2, 0, Kind::Created, 0),
        // Run 2 is what run 0 goes on from; run 1 sleeps.
        (41, 2, 0, Kind::Transition, 1),
        (51, 2, 0, Kind::Done, 2),
        (61, 2, 1, Kind::Created, 0),
    ];
    assert_eq!(seen, expected);
    assert_eq!(plan.growth_per_turn(), 0);
    assert_eq!(open(&mut plan, 31_000), [run(1, 0, 9), run(2, 0, 0)]);
    assert_eq!(open(&mut plan, 62_000), [run(1, 0, 9), run(2, 1, 0)]);
}

#[test]
fn what_finds_no_other_half_is_put_in_anew_or_stays() {
    let event = |at_micros, run, kind, value| Event {
        at_micros,
        run,
        kind,
        value,
    };
    let ending = [
        event(0, 0, Kind::Open, Some(4)),
        event(20, 0, Kind::Done, None),
    ];
    let (_folder, mut plan) = plan(&ending, 2, at(1, 1, 1, Shift::Spread));
    let seen: Vec<_> = window(&mut plan, 0, 42_000)
        .iter()
        .map(|event| (event.at_nanos / 1_000, event.lap, event.kind, event.seq))
        .collect();
    assert_eq!(
        seen,
        [
            (20, 0, Kind::Done, 5),
            (21, 1, Kind::Open, 4),
            (41, 1, Kind::Done, 5)
        ]
    );
    let staying = [
        event(0, 0, Kind::Created, None),
        event(9, 0, Kind::Transition, None),
    ];
    let (_folder, mut plan) = self::plan(&staying, 2, at(2, 1, 1, Shift::None));
    assert_eq!(
        (plan.growth_per_turn(), open(&mut plan, 30_000).len()),
        (2, 6)
    );
}

#[test]
fn what_cannot_be_replayed_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    sample::write(folder.path(), &[]);
    let open = |options| {
        Plan::open(Trace::open(folder.path()).unwrap(), options)
            .map(|_| ())
            .unwrap_err()
            .to_string()
    };
    assert!(open(at(1, 1, 1, Shift::None)).contains("without events"));
    assert!(open(at(0, 1, 1, Shift::None)).contains("copies are 1 to"));
}

#[test]
fn only_runs_that_sleep_make_an_empty_plan() {
    let events = [Event {
        at_micros: 0,
        run: 0,
        kind: Kind::Open,
        value: Some(1),
    }];
    let (_folder, mut plan) = plan(&events, 2, at(3, 1, 1, Shift::Spread));
    assert_eq!(window(&mut plan, 0, u64::MAX), []);
    assert_eq!(open(&mut plan, 1_000_000).len(), 3);
}

#[test]
fn copies_and_speed_make_the_open_runs_and_the_rate_that_were_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let quantiles = |p50, p90, p99, max| Quantiles { p50, p90, p99, max };
    let shape = Shape {
        runs: 3_000,
        span_micros: 3_600_000_000,
        events_per_run: quantiles(5, 9, 12, 20),
        gap_micros: quantiles(1_000_000, 5_000_000, 20_000_000, 60_000_000),
        never_end_per_mille: 0,
        state_bytes: None,
    };
    let manifest = synthesize(&shape, 3, folder.path()).unwrap();
    let Scaled { copies, speed } = scale_to(2_000, 5_000, &manifest).unwrap();
    let options = PlanOptions {
        speed,
        copies,
        shift: Shift::Spread,
    };
    let mut plan = Plan::open(Trace::open(folder.path()).unwrap(), options).unwrap();
    for second in [0, 7] {
        let open = plan.initial(second * 1_000_000_000).count();
        assert!(
            (1_900..2_100).contains(&open),
            "{open} open runs, {copies} copies"
        );
    }
    let events = plan.window(0, 4_000_000_000).unwrap().count();
    assert!(
        (19_400..20_600).contains(&events),
        "{events} events in 4 seconds"
    );
}

#[test]
fn a_plan_may_go_to_another_thread() {
    fn goes<T: Send>() {}
    goes::<Plan<File>>();
    goes::<Window<'static, File>>();
    goes::<Initial<'static, File>>();
}
