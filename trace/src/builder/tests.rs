use super::*;
use crate::format::Trace;

/// Events as `run time what`, the trace as its lines.
fn build(
    events: &[(&str, i64, What)],
    settings: Settings,
) -> Result<(Vec<String>, Manifest), Error> {
    build_ordered(events, settings, |_| None)
}

/// The same, of events whose places the source numbers.
fn build_ordered(
    events: &[(&str, i64, What)],
    settings: Settings,
    order: fn(u64) -> Option<u64>,
) -> Result<(Vec<String>, Manifest), Error> {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("trace");
    let mut builder = Builder::new(scratch.path(), settings);
    for (index, (run, at_micros, what)) in events.iter().enumerate() {
        builder.push(Raw {
            run: run.as_bytes(),
            at_micros: *at_micros,
            order: order(index as u64 + 1),
            what: *what,
            value: None,
            place: Place {
                line: index as u64 + 1,
                byte: 0,
            },
        })?;
    }
    let manifest = builder.finish(&folder, Source::Csv, "test".to_owned())?;
    let mut lines = Vec::new();
    for event in Trace::open(&folder)?.events()? {
        let mut line = String::new();
        event?.write_line(&mut line);
        lines.push(line.trim_end().to_owned());
    }
    Ok((lines, manifest))
}

const SAID: What = What::Unknown { ends: true };
const OPEN: What = What::Unknown { ends: false };

#[test]
fn the_first_event_creates_and_the_last_completes_where_it_says_so() {
    let events = [
        ("b", 30, SAID),
        ("a", 10, OPEN),
        ("b", 20, SAID),
        ("a", 40, OPEN),
        ("c", 20, SAID),
    ];
    let (lines, manifest) = build(&events, Settings::default()).unwrap();
    // At equal times the order of the input holds, so that b comes before c. A run of one event is created by it.
    assert_eq!(
        lines,
        ["0,0,c,", "10,1,c,", "10,2,c,", "20,1,d,", "30,0,t,"]
    );
    assert_eq!((manifest.span_micros, manifest.open.at_end), (31, 2));
    assert_eq!(
        manifest.started_at.as_deref(),
        Some("1970-01-01T00:00:00.00001Z")
    );
}

#[test]
fn what_moves_first_was_there_at_the_start() {
    let events = [
        ("a", 10, What::Created),
        ("b", 20, What::Transition),
        ("b", 30, What::Done),
        ("c", 25, What::Done),
    ];
    let (lines, _) = build(&events, Settings::default()).unwrap();
    assert_eq!(
        lines,
        [
            "0,0,o,0", "0,1,o,0", "0,2,c,", "10,0,t,", "15,1,d,", "20,0,d,"
        ]
        .map(|line| line.to_owned())
    );
}

#[test]
fn a_window_opens_runs_that_were_there_and_cuts_what_comes_after() {
    let events = [
        ("a", 10, OPEN),
        ("a", 20, OPEN),
        ("a", 60, SAID),
        ("gone", 1, OPEN),
        ("gone", 2, SAID),
        ("sleeper", 5, OPEN),
        ("late", 95, OPEN),
        ("late", 200, SAID),
    ];
    let settings = Settings {
        window: (Some(50), Some(100)),
        ..Settings::default()
    };
    let (lines, manifest) = build(&events, settings).unwrap();
    assert!(
        lines.contains(&"0,0,o,1".to_owned()) || lines.contains(&"0,1,o,1".to_owned()),
        "{lines:?}"
    );
    assert!(lines.iter().any(|line| line.ends_with(",o,0")), "{lines:?}");
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert_eq!(
        (
            manifest.span_micros,
            manifest.open.at_start,
            manifest.open.at_end
        ),
        (50, 2, 2)
    );
    assert_eq!(manifest.dropped["outsideWindow"], 6);
}

#[test]
fn a_window_without_events_is_refused() {
    let events = [("a", 10, OPEN), ("a", 20, SAID)];
    for (window, said) in [
        ((Some(50), None), "none within the window"),
        ((None, Some(5)), "none within the window"),
        ((Some(50), Some(50)), "ends before it begins"),
    ] {
        let error = build(
            &events,
            Settings {
                window,
                ..Settings::default()
            },
        )
        .unwrap_err();
        assert!(error.to_string().contains(said), "{window:?}: {error}");
    }
}

#[test]
fn what_contradicts_itself_is_refused_or_repaired() {
    let events = [
        ("a", 10, What::Created),
        ("a", 20, What::Done),
        ("a", 30, What::Transition),
        ("a", 40, What::Created),
        ("a", 50, What::Done),
    ];
    let error = build(&events, Settings::default()).unwrap_err().to_string();
    assert!(error.starts_with("line 3: its run has ended"), "{error}");
    let with = |repair| Settings {
        repair: Some(repair),
        ..Settings::default()
    };
    let (lines, manifest) = build(&events, with(Repair::Clamp)).unwrap();
    assert_eq!(
        lines,
        ["0,0,c,", "10,0,t,", "20,0,t,", "30,0,t,", "40,0,d,"]
    );
    assert_eq!(
        (
            manifest.repaired["afterTheEnd"],
            manifest.repaired["createdTwice"]
        ),
        (1, 1)
    );
    let (lines, manifest) = build(&events, with(Repair::Drop)).unwrap();
    assert_eq!(lines, ["0,0,c,", "10,0,d,"]);
    assert_eq!(manifest.dropped["afterTheEnd"], 3);
}

#[test]
fn a_key_that_is_created_after_its_end_is_another_run_where_events_are_changes_of_rows() {
    let settings = Settings {
        of_rows: true,
        window: (Some(0), Some(100)),
        ..Settings::default()
    };
    let events = [
        ("a", 10, What::Created),
        ("a", 20, What::Done),
        ("b", -2, What::There),
        ("b", 20, What::Done),
        // In the transaction that removed it, and by a clock that was set back.
        ("b", 20, What::Created),
        ("a", 15, What::Created),
        ("a", 30, What::Transition),
        ("c", -5, What::Done),
        ("c", 40, What::Created),
    ];
    let (lines, manifest) = build_ordered(&events, settings.clone(), Some).unwrap();
    assert_eq!(
        lines,
        [
            "0,0,o,0", "10,1,c,", "15,2,c,", "20,1,d,", "20,0,d,", "20,3,c,", "30,2,t,", "40,4,c,"
        ]
    );
    assert_eq!((manifest.open.at_start, manifest.open.at_end), (1, 3));
    // Created twice without an end between is no other run.
    let twice = [("a", 1, What::Created), ("a", 2, What::Created)];
    let error = build(&twice, settings).unwrap_err().to_string();
    assert!(error.contains("is created again"), "{error}");
}

#[test]
fn a_row_says_once_that_its_run_has_ended() {
    let settings = |repair| Settings {
        repair: Some(repair),
        of_rows: true,
        window: (Some(0), Some(100)),
        ..Settings::default()
    };
    let events = [
        ("archived", 10, What::Created),
        ("archived", 20, What::Done),
        ("archived", 30, What::Done),
        ("over", -1, What::Over),
        ("touched", -1, What::Over),
        ("touched", 40, What::Done),
        ("again", -1, What::Over),
        ("again", 50, What::Created),
        ("reopened", -1, What::Over),
        ("reopened", 60, What::Transition),
        ("reopened", 70, What::Done),
    ];
    let (lines, manifest) = build_ordered(&events, settings(Repair::Clamp), Some).unwrap();
    assert_eq!(
        lines,
        [
            "0,0,o,0", "10,1,c,", "20,1,d,", "50,2,c,", "60,0,t,", "70,0,d,"
        ]
    );
    assert_eq!(manifest.dropped["afterTheEnd"], 2);
    assert_eq!(manifest.repaired["afterTheEnd"], 1);
    // That a run was over before is no event, and none is missed.
    assert_eq!(manifest.dropped.get("outsideWindow"), None);
    let (lines, manifest) = build_ordered(&events, settings(Repair::Drop), Some).unwrap();
    assert_eq!(lines, ["10,0,c,", "20,0,d,", "50,1,c,"]);
    assert_eq!(manifest.dropped["afterTheEnd"], 4);
    // Of rows that are all over there is nothing to record.
    let error = build(&events[3..4], settings(Repair::Clamp)).unwrap_err();
    assert!(
        error.to_string().contains("none within the window"),
        "{error}"
    );
}

#[test]
fn a_small_memory_makes_the_same_trace() {
    let mut rng = crate::rng::SplitMix64::new(5);
    let names: Vec<String> = (0..50).map(|name| format!("run-{name}")).collect();
    let events: Vec<_> = (0..3_000)
        .map(|_| {
            (
                names[rng.below(50) as usize].as_str(),
                rng.below(500) as i64,
                SAID,
            )
        })
        .collect();
    let (lines, manifest) = build(&events, Settings::default()).unwrap();
    let small = Settings {
        sort_bytes: 2_000,
        ..Settings::default()
    };
    assert_eq!(build(&events, small).unwrap(), (lines, manifest));
}
