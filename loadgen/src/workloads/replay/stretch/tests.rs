//! What is replayed of a trace, and what is refused.

use super::*;
use bakeoff_crds::schedule;
use bakeoff_trace::format::Quantiles;
use bakeoff_trace::synthesize::{Shape, synthesize};
use serde_json::json;

fn spec(replay: serde_json::Value) -> ExperimentSpec {
    let mut all = json!({"trace": {"configMapRef": {"name": "t"}}});
    let fields = all.as_object_mut().unwrap();
    fields.extend(replay.as_object().unwrap().clone());
    let spec = json!({
        "backends": [{"name": "b", "postgres": {"version": "18.4"}}],
        "workloads": [{"name": "w", "replay": all}],
        "trials": {"blocks": 3, "warmupSeconds": 10, "windowSeconds": 50},
    });
    serde_json::from_value(spec).unwrap()
}

/// A trace of a thousand seconds in the folder `t`, and what its description says.
fn trace() -> (tempfile::TempDir, Manifest) {
    let folder = tempfile::tempdir().unwrap();
    let each = |n| Quantiles {
        p50: n,
        p90: 2 * n,
        p99: 4 * n,
        max: 8 * n,
    };
    let shape = Shape {
        runs: 500,
        span_micros: 1_000_000_000,
        events_per_run: each(5),
        gap_micros: each(2_000_000),
        never_end_per_mille: 0,
        state_bytes: None,
    };
    let manifest = synthesize(&shape, 3, &folder.path().join("t")).unwrap();
    (folder, manifest)
}

fn checked(replay: serde_json::Value) -> Result<(), String> {
    let (folder, _) = trace();
    let spec = spec(replay);
    let traces = Traces::in_folder(Some(folder.path().to_owned()));
    let trials = schedule::trials(&spec);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let checked = runtime.block_on(check(&spec, &trials, &traces));
    checked.map_err(|error| error.to_string())
}

#[test]
fn what_cannot_be_replayed_is_refused_in_words_before_anything_is_loaded() {
    assert_eq!(checked(json!({"speedPercent": [100, 333]})), Ok(()));
    assert_eq!(
        checked(json!({"activeRuns": [777], "ratePerSecond": [99]})),
        Ok(())
    );
    let (_folder, manifest) = trace();
    let known = json!({"configMapRef": {"name": "t"}, "sha256": manifest.sha256});
    assert_eq!(
        checked(json!({"trace": known, "speedPercent": [100]})),
        Ok(())
    );
    let other = json!({"configMapRef": {"name": "t"}, "sha256": "0".repeat(64)});
    for (replay, words) in [
        (
            json!({"trace": other, "speedPercent": [100]}),
            "this is another trace",
        ),
        (
            json!({"trace": {"configMapRef": {"name": "elsewhere"}}, "speedPercent": [100]}),
            "there is no folder for the ConfigMap elsewhere",
        ),
        (
            json!({"trace": {"path": "a"}, "speedPercent": [100]}),
            "a trace sets exactly one of configMapRef and path",
        ),
        (
            json!({"activeRuns": [20_000_000], "ratePerSecond": [1]}),
            "open runs take",
        ),
    ] {
        let said = checked(replay).unwrap_err();
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn a_trace_that_was_cut_off_is_refused() {
    let (folder, _) = trace();
    let events = folder.path().join("t/events.csv.gz");
    let whole = std::fs::read(&events).unwrap();
    std::fs::write(&events, &whole[..whole.len() / 2]).unwrap();
    let spec = spec(json!({"speedPercent": [100]}));
    let refused = files(
        &folder.path().join("t"),
        spec.workloads[0].replay.as_ref().unwrap(),
    );
    assert!(refused.is_err());
}

#[test]
fn a_scaled_replay_has_the_open_runs_and_the_rate_that_were_asked_for() {
    let (_folder, manifest) = trace();
    let spec = spec(json!({"activeRuns": [777], "ratePerSecond": [99]}));
    let trial = &schedule::trials(&spec)[0];
    let replay = spec.workloads[0].replay.as_ref().unwrap();
    let options = options(replay, Timing::of(trial).unwrap(), &manifest).unwrap();
    let copies = f64::from(options.copies);
    let open = manifest.open.mean_thousandths as f64 / 1e3 * copies;
    assert!((777.0..777.0 + open / copies).contains(&open), "{open}");
    let speed = options.speed.numerator() as f64 / options.speed.denominator() as f64;
    let rate = manifest.counts.events() as f64 / 1e3 * copies * speed;
    assert!((rate - 99.0).abs() < 1e-6, "{rate}");
}

/// The position of a block does not depend on what ran before, so that resuming is free.
#[test]
fn blocks_follow_each_other_where_they_are_asked_to() {
    let (_folder, manifest) = trace();
    let spec = spec(json!({"speedPercent": [100], "stretch": "Consecutive", "stateBytes": 7}));
    let replay = spec.workloads[0].replay.as_ref().unwrap();
    let trials = schedule::trials(&spec);
    let mut ends = vec![0];
    for trial in &trials {
        let options = options(replay, Timing::of(trial).unwrap(), &manifest).unwrap();
        let one = stretch(&spec, replay, trial, options, &manifest, (1, 3)).unwrap();
        let from = u64::try_from(trial.block).unwrap() * 60 * SECOND;
        assert_eq!((one.share.from, one.share.to), (from, from + 60 * SECOND));
        assert_eq!(one.window_from, from + 10 * SECOND);
        assert_eq!(one.share.state_bytes, Some(7));
        assert!((one.speed_percent - 100.0).abs() < 1e-9);
        ends.push(one.share.to);
    }
    ends.sort_unstable();
    assert_eq!(ends, [0, 60, 120, 180].map(|seconds| seconds * SECOND));
}
