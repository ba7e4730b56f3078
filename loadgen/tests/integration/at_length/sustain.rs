//! The search by holds on a real server that was made slow in known ways. Needs BAKEOFF_POSTGRES, as `postgres.rs` does.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::support::postgres::Postgres;
use crate::support::runner::{backend, led, measured, plan};
use crate::support::runtime;
use bakeoff_analysis::sustain::{Bounds, Held, Observation, Why, frontier, hold, next};
use bakeoff_crds::capacity::CapacityRecord;
use bakeoff_crds::figure::Figure;
use bakeoff_crds::result::{TrialRecord, Verdict};
use bakeoff_crds::spec::Sustain;
use bakeoff_loadgen::drivers::access::Access;
use bakeoff_loadgen::run::control::Control;
use bakeoff_loadgen::run::{Run, RunError};
use bakeoff_loadgen::store::Store;
use bakeoff_trace::format::{Quantiles, Source};
use bakeoff_trace::synthesize::{Shape, synthesize};
use bakeoff_trace::{Description, Writer};
use bakeoff_trace::{Event, Kind};
use serde_json::{Value, json};
use tokio::sync::watch;

fn spec(more: &Value) -> Value {
    let mut spec = json!({
        "activeRuns": [1_000],
        "shape": {"headRow": {"connections": 1, "stateBytes": 100, "minTransitions": 2, "maxTransitions": 4}},
        "ramp": {"from": 20, "to": 2_000, "stepSeconds": 2},
        "hold": {"turnovers": 0, "autovacuums": 0, "checkpoints": 0},
        "objective": {"p99Milliseconds": 300}});
    let members = more.as_object().unwrap().clone();
    spec.as_object_mut().unwrap().extend(members);
    spec
}

fn workload(more: &Value) -> Value {
    json!({"name": "most", "sustain": spec(more)})
}

fn trials(holds: i32, seconds: i32) -> Value {
    json!({"blocks": holds, "warmupSeconds": 1, "windowSeconds": seconds, "drainSeconds": 5})
}

/// What each hold came to.
fn held(records: &[TrialRecord], more: &Value) -> Vec<Held> {
    let spec: Sustain = serde_json::from_value(spec(more)).unwrap();
    records
        .iter()
        .map(|record| {
            assert_eq!(record.verdict, Verdict::Valid, "{}", record.trial.id);
            assert_eq!(record.checks[0].violations, 0);
            assert!(record.checks[0].checked > 0);
            hold::judge(record.trial.block, &record.figures, &spec).unwrap()
        })
        .collect()
}

fn seen(holds: &[Held]) -> Vec<Observation> {
    holds.iter().map(Held::observation).collect()
}

/// What a search came to, or another one, up to the third, where one end of the interval is missing: a machine that stops for as
/// long as the objective allows breaks a hold that the server would have held, or ends the ramp far below what it can.
fn with_both_ends(search: impl Fn() -> Vec<TrialRecord>, more: &Value) -> Vec<TrialRecord> {
    let both = |records: &Vec<TrialRecord>| {
        let found = frontier(&seen(&held(records, more)));
        found.held.is_some() && found.not_held.is_some()
    };
    let found = (0..2).map(|_| search()).find(both);
    found.unwrap_or_else(search)
}

/// Makes each statement that moves a run wait, from so many seconds after its table was made on; each table has the trigger
/// anew.
fn slowed(server: &Postgres, from_seconds: f64, wait_seconds: f64) {
    let sql = format!(
        "CREATE TABLE public.made (at timestamptz); INSERT INTO public.made VALUES (now());
         CREATE FUNCTION public.wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           IF clock_timestamp() > (SELECT at FROM public.made) + interval '1 second' * {from_seconds} THEN
             PERFORM pg_sleep({wait_seconds}); END IF;
           RETURN coalesce(NEW, OLD); END $$;
         CREATE FUNCTION public.slow() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
           IF to_regclass('bakeoff.runs') IS NOT NULL AND NOT EXISTS
             (SELECT 1 FROM pg_trigger WHERE tgrelid = 'bakeoff.runs'::regclass AND tgname = 'wait') THEN
             UPDATE public.made SET at = clock_timestamp();
             CREATE TRIGGER wait BEFORE UPDATE OR DELETE ON bakeoff.runs FOR EACH ROW EXECUTE FUNCTION public.wait();
           END IF; END $$;
         CREATE EVENT TRIGGER slow ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION public.slow();"
    );
    let on = backend(server);
    let Access::Postgres(connector) = &on.access else {
        panic!("no Postgres")
    };
    runtime().block_on(async {
        // It answers some moments after it was started.
        let client = loop {
            match connector.connect().await {
                Ok(client) => break client,
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        };
        client.batch_execute(&sql).await.unwrap();
    });
}

#[test]
fn a_search_ends_with_an_interval_around_what_the_server_can() {
    let server = Postgres::start(&["synchronous_commit=off"]);
    // One connection and 10 ms for each move, a creation costs nothing: 125 operations a second at the very most.
    slowed(&server, 0.0, 0.01);
    let on = backend(&server);
    let more = json!({});
    let search = || {
        measured(
            plan(workload(&more), trials(8, 8), &on),
            on.clone(),
            &|_| {},
        )
        .records
    };
    let records = with_both_ends(search, &more);
    let holds = held(&records, &more);
    assert_eq!(holds.len(), 8);
    let found = frontier(&seen(&holds));
    let (low, high) = (found.held.unwrap(), found.not_held.unwrap());
    assert!(
        (20..150).contains(&low) && high > low && high < 250,
        "{found:?} {holds:?}"
    );
    for hold in &holds {
        assert!(hold.held() || hold.why.contains(&Why::Latency), "{hold:?}");
    }
    // Each hold has a table of its own: all were loaded.
    assert!(
        records
            .iter()
            .all(|one| one.figures[&Figure::LoadRowsPerSecond] > 0.0)
    );
}

/// What the ramp cannot see: a server that is fast for some seconds after each load.
#[test]
fn a_server_that_slows_down_after_a_while_is_not_held_at_what_the_ramp_found() {
    let server = Postgres::start(&["synchronous_commit=off"]);
    // Four connections and 100 ms for each move: forty a second at the very most, once the ramp is over.
    slowed(&server, 15.0, 0.1);
    let on = backend(&server);
    let more = json!({
        "shape": {"headRow": {"connections": 4, "stateBytes": 100, "minTransitions": 2, "maxTransitions": 4}},
        "ramp": {"from": 100, "to": 200, "growthPercent": 100, "stepSeconds": 1}});
    let ran = measured(plan(workload(&more), trials(2, 20), &on), on, &|_| {});
    let holds = held(&ran.records, &more);
    // Seven tenths of a hundred at least.
    assert!(holds[0].rate >= 70, "the ramp saw nothing of it: {holds:?}");
    for hold in &holds {
        assert!(hold.why.contains(&Why::Latency), "{hold:?}");
    }
    assert!(holds[1].rate < holds[0].rate);
}

/// Nothing removes dead rows, and the latency says nothing of it.
#[test]
fn dead_rows_that_nobody_removes_are_found_by_their_trend() {
    let server = Postgres::start(&["synchronous_commit=off", "autovacuum=off"]);
    let on = backend(&server);
    let more = json!({
        "shape": {"headRow": {"connections": 4, "stateBytes": 2_000, "minTransitions": 2, "maxTransitions": 4}},
        "ramp": {"from": 300, "to": 300, "stepSeconds": 1},
        "objective": {"p99Milliseconds": 5_000, "servedPerMille": 900}});
    let ran = measured(plan(workload(&more), trials(1, 24), &on), on, &|_| {});
    let holds = held(&ran.records, &more);
    // On a busy machine one fifth may be late as well.
    assert!(
        holds[0].why.contains(&Why::Dead),
        "{:?}",
        ran.records[0].figures
    );
    assert!(ran.records[0].figures[&Figure::DeadRisePercent] > 20.0);
}

#[test]
fn a_search_that_was_interrupted_goes_on_where_it_was() {
    let server = Postgres::start(&["synchronous_commit=off"]);
    slowed(&server, 0.0, 0.01);
    let folder = tempfile::tempdir().unwrap();
    let more = json!({});
    let planned = |on: &_| plan(workload(&more), trials(5, 4), on);
    let (sender, stop) = watch::channel(false);
    let on = backend(&server);
    let mut run = Run {
        plan: planned(&on),
        backends: vec![on],
        store: Store::Folder(folder.path().into()),
        index: 0,
        generators: 1,
        node: String::new(),
        control: Arc::new(Control::default()),
        lock: None,
        traces: Default::default(),
        stop,
    };
    let first = std::cell::RefCell::new(Vec::new());
    let ended = runtime().block_on(run.lead(&|record| {
        first.borrow_mut().push(record.clone());
        if record.trial.block == 1 {
            sender.send(true).unwrap();
        }
    }));
    assert!(matches!(ended, Err(RunError::Stopped)), "{ended:?}");
    let on = backend(&server);
    let store = Store::Folder(folder.path().into());
    let rest = led(planned(&on), on, store, Arc::default(), &|_| {});
    let mut records = first.into_inner();
    assert_eq!((records.len(), rest.len()), (2, 3));
    records.extend(rest);
    let ramp = folder.path().join("capacity/most-c00-pg.json");
    let ramp: CapacityRecord = serde_json::from_slice(&std::fs::read(ramp).unwrap()).unwrap();
    let bounds = Bounds {
        ramp: ramp.sustained_per_second,
        top: 2_000,
        close: 1.1,
    };
    let holds = held(&records, &more);
    let all = seen(&holds);
    for (index, hold) in holds.iter().enumerate() {
        assert_eq!(hold.block, i32::try_from(index).unwrap());
        assert_eq!(hold.rate, next(&bounds, &all[..index]), "{holds:?}");
    }
}

/// The runs of a trace that lies at `traces/t` below this folder.
fn of_a_trace(at: &Path, shift: &str) -> Value {
    let quantiles = |p50, p90, p99, max| Quantiles { p50, p90, p99, max };
    let shape = Shape {
        runs: 500,
        span_micros: 600_000_000,
        events_per_run: quantiles(4, 8, 12, 20),
        gap_micros: quantiles(1_000_000, 20_000_000, 60_000_000, 90_000_000),
        never_end_per_mille: 20,
        state_bytes: Some(100),
    };
    std::fs::create_dir_all(at.join("traces")).unwrap();
    synthesize(&shape, 7, &at.join("traces/t")).unwrap();
    json!({"shape": {"replay": {"trace": {"path": "t"}, "shift": shift, "connections": 1}}})
}

fn with_a_trace(more: &Value, trials: Value, at: &Path, server: &Postgres) -> Vec<TrialRecord> {
    let on = backend(server);
    let mut plan = plan(workload(more), trials, &on);
    plan.results.bucket = at.to_str().unwrap().to_owned();
    measured(plan, on, &|_| {}).records
}

#[test]
fn the_runs_of_a_trace_are_held_as_those_that_are_made_up() {
    let server = Postgres::start(&["synchronous_commit=off"]);
    // One connection and 10 ms for each move, while creations cost nothing: somewhat more than a hundred a second at most.
    slowed(&server, 0.0, 0.01);
    let folder = tempfile::tempdir().unwrap();
    let more = of_a_trace(folder.path(), "Spread");
    let search = || with_a_trace(&more, trials(6, 8), folder.path(), &server);
    let records = with_both_ends(search, &more);
    let holds = held(&records, &more);
    let found = frontier(&seen(&holds));
    let (low, high) = (found.held.unwrap(), found.not_held.unwrap());
    assert!(
        (20..150).contains(&low) && high > low && high < 250,
        "{found:?} {holds:?}"
    );
    for record in &records {
        let figure = |name: Figure| record.figures[&name];
        // As many copies as reach the active runs, whose stretches together are as the trace is.
        assert!(
            (figure(Figure::PlannedPercent) - 100.0).abs() < 10.0,
            "{:?}",
            record.figures
        );
        assert!(
            (800.0..1_600.0).contains(&figure(Figure::OpenRunsMean)),
            "{:?}",
            record.figures
        );
    }
    assert!(holds.iter().all(|hold| hold.unseen.is_empty()), "{holds:?}");
}

/// A quiet hour at the start of a recording says nothing of its mean rate, and neither does its hold.
#[test]
fn a_stretch_without_the_bursts_of_its_trace_does_not_speak_for_its_rate() {
    let server = Postgres::start(&["synchronous_commit=off"]);
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("traces/t");
    std::fs::create_dir_all(&out).unwrap();
    let mut writer = Writer::create(&out).unwrap();
    for run in 0..400_u32 {
        let open = Event {
            at_micros: 0,
            run,
            kind: Kind::Open,
            value: Some(1),
        };
        writer.push(open).unwrap();
    }
    // Ten a second for five minutes, and then a hundred.
    let quiet = (0..3_000_u64).map(|n| n * 100_000);
    let busy = (0..30_000_u64).map(|n| 300_000_000 + n * 10_000);
    for (n, at_micros) in quiet.chain(busy).enumerate() {
        let moved = Event {
            at_micros,
            run: (n % 400) as u32,
            kind: Kind::Transition,
            value: Some(100),
        };
        writer.push(moved).unwrap();
    }
    let description = Description {
        source: Source::Synthetic,
        method: "a quiet half".to_owned(),
        started_at: None,
        span_micros: Some(600_000_000),
    };
    writer.finish(description, &Default::default()).unwrap();
    let more = json!({
        "shape": {"replay": {"trace": {"path": "t"}, "shift": "None"}},
        "ramp": {"from": 500, "to": 500, "stepSeconds": 2}});
    let records = with_a_trace(&more, trials(1, 5), folder.path(), &server);
    let holds = held(&records, &more);
    let percent = records[0].figures[&Figure::PlannedPercent];
    assert!((10.0..30.0).contains(&percent), "{percent}");
    assert!(holds[0].unseen[0].contains("stretch"), "{holds:?}");
}
