//! The search by holds on a real server that was made slow in known ways. Needs BAKEOFF_POSTGRES, as `postgres.rs` does.

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
    // One connection and 10 ms for each move: a hundred a second at the very most.
    slowed(&server, 0.0, 0.01);
    let on = backend(&server);
    let more = json!({});
    let ran = measured(plan(workload(&more), trials(8, 8), &on), on, &|_| {});
    let holds = held(&ran.records, &more);
    assert_eq!(holds.len(), 8);
    let found = frontier(&seen(&holds));
    let (low, high) = (found.held.unwrap(), found.not_held.unwrap());
    assert!(
        (20..110).contains(&low) && high > low && high < 200,
        "{found:?} {holds:?}"
    );
    for hold in &holds {
        assert!(hold.held() || hold.why.contains(&Why::Latency), "{hold:?}");
    }
    // Each hold has a table of its own: all were loaded.
    assert!(
        ran.records
            .iter()
            .all(|one| one.figures[&Figure::LoadRowsPerSecond] > 0.0)
    );
}

/// What the ramp cannot see: a server that is fast for some seconds after each load.
#[test]
fn a_server_that_slows_down_after_a_while_is_not_held_at_what_the_ramp_found() {
    let server = Postgres::start(&["synchronous_commit=off"]);
    slowed(&server, 9.0, 0.05);
    let on = backend(&server);
    let more = json!({"ramp": {"from": 50, "to": 400, "growthPercent": 400, "stepSeconds": 1}});
    let ran = measured(plan(workload(&more), trials(2, 20), &on), on, &|_| {});
    let holds = held(&ran.records, &more);
    assert!(
        holds[0].rate >= 100,
        "the ramp saw nothing of it: {holds:?}"
    );
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
    assert_eq!(holds[0].why, [Why::Dead], "{:?}", ran.records[0].figures);
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
