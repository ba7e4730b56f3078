//! The soak on a real server: segments that go on where the last one ended. Needs BAKEOFF_POSTGRES, as
//! `postgres.rs` does.

use std::sync::Arc;

use crate::support;
use crate::support::postgres::Postgres;
use crate::support::runner::{Ran, backend, given_time, measured, plan, shown, under_way};
use crate::support::runtime;
use bakeoff_crds::figure::Figure;
use bakeoff_crds::result::{TrialRecord, Verdict};
use bakeoff_loadgen::run::control::Control;
use bakeoff_loadgen::run::{Run, RunError};
use bakeoff_loadgen::store::Store;
use serde_json::json;
use tokio::sync::watch;

fn soak(more: serde_json::Value) -> serde_json::Value {
    let mut spec = json!({
        "activeRuns": 2_000, "ratePerSecond": 300, "connections": 4, "stateBytes": 100,
        "minTransitions": 2, "maxTransitions": 4});
    spec.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    json!({"name": "long", "soak": spec})
}

fn trials(blocks: i32, seconds: i32) -> serde_json::Value {
    json!({"blocks": blocks, "warmupSeconds": 1, "windowSeconds": seconds, "drainSeconds": 5})
}

fn figure(record: &TrialRecord, name: Figure) -> f64 {
    *record
        .figures
        .get(&name)
        .unwrap_or_else(|| panic!("{} lacks {name}: {:?}", record.trial.id, record.figures))
}

/// One answer of the server. On a thread of its own, so that a runtime of the caller's does not mind.
fn ask(server: &Postgres, sql: &str) -> String {
    let on = backend(server);
    let bakeoff_loadgen::drivers::access::Access::Postgres(connector) = &on.access else {
        panic!("no Postgres")
    };
    let asked = async {
        let client = connector.connect().await.unwrap();
        client.query_one(sql, &[]).await.unwrap().get(0)
    };
    std::thread::scope(|scope| scope.spawn(|| runtime().block_on(asked)).join().unwrap())
}

#[test]
fn a_table_lives_on_from_segment_to_segment_and_a_cell_has_its_own_settings() {
    let server = Postgres::start(&["synchronous_commit=off"]);
    let workload = soak(json!({"autovacuum": [
        {"name": "Eager", "table": {"autovacuum_vacuum_scale_factor": "0.01"}, "server": {"autovacuum_naptime": "1s"}},
        {"name": "Default"}]}));
    let on = backend(&server);
    let look = |record: &TrialRecord| {
        let eager = record.trial.cell["autovacuum"] == "Eager";
        let naptime = ask(&server, "SELECT current_setting('autovacuum_naptime')");
        assert_eq!(naptime, if eager { "1s" } else { "1min" });
        let options = ask(
            &server,
            "SELECT coalesce(reloptions::text, '') FROM pg_class WHERE oid = 'bakeoff.runs'::regclass",
        );
        assert_eq!(
            options.contains("autovacuum_vacuum_scale_factor=0.01"),
            eager
        );
    };
    let vacuums = |ran: &Ran| -> f64 {
        let eager = |one: &&TrialRecord| one.trial.cell["autovacuum"] == "Eager";
        let eager = ran.records.iter().filter(eager);
        eager.map(|one| figure(one, Figure::Autovacuums)).sum()
    };
    let run = |window| {
        let plan = plan(workload.clone(), trials(3, window), &on);
        measured(plan, on.clone(), &look)
    };
    let ran = given_time(4, run, |ran| vacuums(ran) >= 1.0);
    assert_eq!(ran.records.len(), 6);
    for cell in ran.records.chunks(3) {
        let name = cell[0].trial.describe();
        for record in cell {
            assert_eq!(record.verdict, Verdict::Valid, "{name}");
            assert_eq!(record.load.failed, 0, "{name}");
            assert!(record.load.completed > 900, "{name}: {:?}", record.load);
            // Every row that was read back was where its owner left it.
            assert_eq!(
                record.checks[0].violations, 0,
                "{:?}",
                record.checks[0].examples
            );
            assert!(record.checks[0].checked > 900);
        }
        let loaded: Vec<f64> = cell
            .iter()
            .map(|one| figure(one, Figure::TableLoadedAtSeconds))
            .collect();
        assert_eq!(loaded[0], loaded[1], "{name}: the table was made anew");
        assert_eq!(loaded[0], loaded[2], "{name}: the table was made anew");
        let ages: Vec<f64> = cell
            .iter()
            .map(|one| figure(one, Figure::TableAgeHours))
            .collect();
        assert!(ages[0] < ages[1] && ages[1] < ages[2], "{name}: {ages:?}");
        assert!(
            cell[2].figures[&Figure::Turnovers] > 0.02,
            "{name}: runs end"
        );
    }
    // Servers count it from 18 on; what is not counted is no 0.
    let counts = ask(
        &server,
        "SELECT (current_setting('server_version_num')::int >= 180000)::text",
    ) == "true";
    for record in &ran.records {
        let told = record.figures.contains_key(&Figure::AutovacuumSeconds);
        assert_eq!(told, counts, "{:?}", record.figures);
    }
    // The number of open runs stays.
    let rows: i64 = ask(&server, "SELECT count(*)::text FROM bakeoff.runs")
        .parse()
        .unwrap();
    assert!((1_990..=2_010).contains(&rows), "{rows}");
    assert!(vacuums(&ran) >= 1.0, "its settings took no effect");
}

/// What an earlier generator left would keep the table from being made anew; whoever else is connected stays.
#[test]
fn a_session_that_an_earlier_generator_left_is_ended_before_the_table_is_made() {
    let server = Postgres::start(&["synchronous_commit=off"]);
    let on = backend(&server);
    let connector = on.access.postgres().unwrap().clone();
    let served = runtime();
    let (left, other) = served.block_on(async {
        let patience = std::time::Duration::from_secs(60);
        let driver = on.access.driver();
        driver.probe(&on.resolved, patience).await.unwrap();
        let left = connector.connect().await.unwrap();
        for sql in [
            "CREATE SCHEMA bakeoff; CREATE TABLE bakeoff.runs (a int)",
            "BEGIN; SELECT FROM bakeoff.runs",
        ] {
            left.batch_execute(sql).await.unwrap();
        }
        let other = connector.connect().await.unwrap();
        let named = other.batch_execute("SET application_name = 'theirs'");
        named.await.unwrap();
        (left, other)
    });
    let ran = measured(plan(soak(json!({})), trials(1, 3), &on), on, &|_| {});
    assert_eq!(ran.records.len(), 1);
    assert_eq!(ran.records[0].verdict, Verdict::Valid);
    served.block_on(async {
        assert!(left.simple_query("SELECT 1").await.is_err());
        assert!(other.simple_query("SELECT 1").await.is_ok());
    });
}

#[test]
fn a_generator_that_was_lost_goes_on_with_the_same_table() {
    let server = Postgres::start(&["synchronous_commit=off"]);
    let folder = tempfile::tempdir().unwrap();
    let records = std::cell::RefCell::new(Vec::new());
    let runtime = runtime();
    for attempt in 0..2 {
        let on = backend(&server);
        let (sender, stop) = watch::channel(false);
        let mut run = Run {
            plan: plan(soak(json!({})), trials(4, 3), &on),
            backends: vec![on],
            traces: Default::default(),
            store: Store::Folder(folder.path().into()),
            index: 0,
            generators: 1,
            node: String::new(),
            control: Arc::new(Control::default()),
            lock: None,
            stop,
        };
        let ended = runtime.block_on(run.lead(&|record| {
            records.borrow_mut().push(record.clone());
            // It is asked to end after the second segment, as a pod is that is evicted.
            if attempt == 0 && record.trial.block == 1 {
                sender.send(true).unwrap();
            }
        }));
        assert_eq!(
            matches!(ended, Err(RunError::Stopped)),
            attempt == 0,
            "{ended:?}"
        );
    }
    let records = records.into_inner();
    let blocks: Vec<i32> = records.iter().map(|one| one.trial.block).collect();
    assert_eq!(blocks, [0, 1, 2, 3]);
    let loaded = figure(&records[0], Figure::TableLoadedAtSeconds);
    for record in &records {
        assert_eq!(record.verdict, Verdict::Valid);
        assert_eq!(figure(record, Figure::TableLoadedAtSeconds), loaded);
        assert_eq!(
            record.checks[0].violations, 0,
            "{:?}",
            record.checks[0].examples
        );
    }
    let plain = ask(
        &server,
        "SELECT count(*)::text FROM bakeoff.runs WHERE run_id < 0",
    );
    assert_eq!(plain, "0");
}

/// A server that is away for a while costs its segment: the number of open runs is the same afterwards.
#[test]
fn an_outage_does_not_add_runs() {
    // It flushes before it answers, so what it acknowledged is there when it comes back.
    let server = Postgres::start(&[]);
    let on = backend(&server);
    let plan = plan(soak(json!({})), trials(3, 6), &on);
    let pid = server.pid();
    let again = server.again();
    let control = Arc::new(Control::default());
    let watched = Arc::clone(&control);
    let open = std::sync::Mutex::new(Vec::new());
    let ran = std::thread::scope(|scope| {
        scope.spawn(move || {
            under_way(&watched, 0, 500);
            support::postgres::kill(pid);
        });
        let restarter = scope.spawn(move || again.when_gone(pid));
        let ran = shown(plan, on, control, &|record| {
            if record.verdict == Verdict::Valid {
                let rows = ask(&server, "SELECT count(*)::text FROM bakeoff.runs");
                open.lock().unwrap().push(rows.parse::<i64>().unwrap());
            }
        });
        drop(restarter.join().unwrap());
        ran
    });
    assert!(ran.records.len() > 3, "the kill went unseen");
    let open = open.into_inner().unwrap();
    assert_eq!(open.len(), 3);
    assert!(
        open.iter().all(|rows| (1_990..=2_010).contains(rows)),
        "{open:?}"
    );
    for record in ran.records.iter().filter(|one| !one.checks.is_empty()) {
        assert_eq!(
            record.checks[0].violations, 0,
            "{:?}",
            record.checks[0].examples
        );
    }
    let loaded: std::collections::BTreeSet<i64> = ran
        .records
        .iter()
        .filter_map(|one| one.figures.get(&Figure::TableLoadedAtSeconds))
        .map(|seconds| *seconds as i64)
        .collect();
    assert_eq!(loaded.len(), 1, "the table was made anew");
}

#[test]
fn a_snapshot_that_is_held_keeps_dead_rows_and_sleepers_do_not() {
    let server = Postgres::start(&[
        "synchronous_commit=off",
        "autovacuum_naptime=1s",
        "autovacuum_vacuum_scale_factor=0.01",
        "autovacuum_vacuum_threshold=20",
    ]);
    let on = backend(&server);
    let workload = soak(json!({"snapshots": ["None", "WholeSegment"], "sleeperPercent": 50}));
    let run = |window| {
        let trials = trials(2, window);
        let ran = measured(plan(workload.clone(), trials, &on), on.clone(), &|_| {});
        (window, ran)
    };
    let of = |ran: &Ran, held: &str, name: Figure| -> f64 {
        let records = ran.records.iter();
        let mine = records.filter(|one| one.trial.cell["snapshot"] == held);
        mine.map(|one| figure(one, name)).fold(0.0, f64::max)
    };
    // With a snapshot, and without one.
    let both = |ran: &Ran, name| (of(ran, "WholeSegment", name), of(ran, "None", name));
    let dead = |ran: &Ran| both(ran, Figure::DeadPeakPercent);
    // The log says so of each run that it kept from them.
    let kept = |ran: &Ran| both(ran, Figure::AutovacuumDeadKept);
    let shows = |ran: &Ran| {
        let ((with, without), (kept, free)) = (dead(ran), kept(ran));
        with > 2.0 * without && kept > 500.0 && free < kept / 2.0
    };
    // Autovacuum may be late on a busy machine; what a snapshot holds goes on growing for as long as it is there.
    let (window, ran) = given_time(10, run, |(_, ran)| shows(ran));
    let (oldest, other) = both(&ran, Figure::OldestTransactionMillis);
    let most = f64::from(window) * 900.0;
    assert!(oldest > most && other < most, "{oldest} and {other} ms");
    assert!(shows(&ran), "{:?} dead, {:?} kept", dead(&ran), kept(&ran));
}

#[test]
fn a_setting_that_the_server_does_not_follow_is_said() {
    // The command line is above what ALTER SYSTEM writes.
    let server = Postgres::start(&["autovacuum_naptime=7s"]);
    let on = backend(&server);
    let workload = soak(json!({"autovacuum": [
        {"name": "Eager", "server": {"autovacuum_naptime": "1s"}}]}));
    let mut plan = plan(workload, trials(1, 1), &on);
    plan.spec.validity.repeat_budget = 0;
    let ran = measured(plan, on, &|_| {});
    let Verdict::Invalid(reasons) = &ran.records[0].verdict else {
        panic!("{:?}", ran.records[0].verdict)
    };
    assert!(
        reasons[0]
            .detail
            .contains("does not follow autovacuum_naptime"),
        "{reasons:?}"
    );
}
