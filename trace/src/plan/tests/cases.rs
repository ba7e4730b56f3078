//! Plans of small recordings, and what comes of them.

use super::*;
use crate::format::Quantiles;
use crate::synthesize::{Shape, synthesize};

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
    let (_folder, mut plan) = super::plan(&staying, 2, at(2, 1, 1, Shift::None));
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
