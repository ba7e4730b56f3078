//! What holds of all plans.

mod cases;

use std::collections::BTreeMap;
use std::fs::File;

use proptest::prelude::*;

use super::*;
use crate::sample;

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
