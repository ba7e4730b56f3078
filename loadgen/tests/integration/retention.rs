//! Retention on a real server: what leaves, what stays, what others wait for. Needs BAKEOFF_POSTGRES as the
//! other tests of Postgres do.

use std::io::Read;
use std::time::Duration;

use crate::support;
use crate::support::postgres::Postgres;
use crate::support::runner::{Ran, backend, given_time, measured, plan};
use crate::support::runtime;
use bakeoff_crds::figure::Figure;
use bakeoff_crds::result::{CheckRecord, TrialRecord, Verdict};
use bakeoff_loadgen::drivers::postgres::{Connector, Patient, locks, partitions};
use bakeoff_loadgen::instrument::record::decode;
use locks::{Holder, LockLine};
use serde_json::json;
use tokio_postgres::Client;

const EAGER: [&str; 4] = [
    "autovacuum_naptime=1s",
    "autovacuum_vacuum_scale_factor=0.01",
    "autovacuum_vacuum_cost_delay=0",
    "synchronous_commit=off",
];

fn run(server: &Postgres, retention: serde_json::Value, window: i32) -> Ran {
    let on = backend(server);
    let mut workload = json!({
        "activeRuns": [6_000], "partitions": 3, "sleeperPercent": 10, "stateBytes": 100,
        "load": {"open": {"ratePerSecond": [200], "maxInFlight": 8}}});
    for (field, value) in retention.as_object().unwrap() {
        workload[field] = value.clone();
    }
    let trials =
        json!({"blocks": 1, "warmupSeconds": 1, "windowSeconds": window, "drainSeconds": 10});
    let plan = plan(json!({"name": "old", "retention": workload}), trials, &on);
    measured(plan, on, &|_| {})
}

/// Whether all of it was reclaimed within the window.
fn complete(ran: &Ran) -> bool {
    let complete =
        |record: &TrialRecord| record.figures.get(&Figure::ReclaimComplete) == Some(&1.0);
    ran.records.iter().all(complete)
}

/// The same, with a window in which this machine gets to the end of it.
fn reclaimed(server: &Postgres, retention: &serde_json::Value, window: i32) -> Ran {
    given_time(
        window,
        |window| run(server, retention.clone(), window),
        complete,
    )
}

fn check<'a>(record: &'a TrialRecord, name: &str) -> &'a CheckRecord {
    record.checks.iter().find(|one| one.name == name).unwrap()
}

/// Valid, nothing failed, nothing lost, nothing left.
fn sound(record: &TrialRecord) {
    let name = record.trial.describe();
    assert_eq!(record.verdict, Verdict::Valid, "{name}");
    let operation = &record.operations["operation"];
    assert_eq!(record.load.failed, 0, "{name}: {:?}", operation.failures);
    for check in &record.checks {
        assert_eq!(
            check.violations, 0,
            "{name}, {}: {:?}",
            check.name, check.examples
        );
    }
    assert!(check(record, "rowsMissed").checked >= record.load.completed);
    assert!(check(record, "rowsLost").checked > 1_000);
    let count = |kind: &str| record.operations.get(kind).map_or(0, |o| o.count);
    assert_eq!(count("insert") + count("transition"), record.load.completed);
    assert_eq!(
        count("insertBefore") + count("insertDuring") + count("insertAfter"),
        count("insert"),
        "{name}: each insert is in one phase"
    );
    assert!(
        count("insertBefore") > 0 && count("insertDuring") > 0,
        "{name}"
    );
}

fn history(ran: &Ran, record: &TrialRecord) -> Vec<LockLine> {
    let file = ran.folder.path().join(format!(
        "trials/{}/{}/history.jsonl.gz",
        record.trial.id, record.attempt
    ));
    let mut text = String::new();
    flate2::read::GzDecoder::new(
        std::fs::File::open(&file).unwrap_or_else(|e| panic!("{file:?}: {e}")),
    )
    .read_to_string(&mut text)
    .unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn both_methods_take_what_has_ended_and_keep_the_rest() {
    let server = Postgres::start(&EAGER);
    let ran = reclaimed(&server, &json!({}), 12);
    assert_eq!(ran.records.len(), 2);
    for record in &ran.records {
        sound(record);
        let figure = |figure: Figure| record.figures.get(&figure).copied().unwrap_or(f64::NAN);
        let all = &record.figures;
        assert_eq!(figure(Figure::ReclaimComplete), 1.0, "{all:?}");
        assert!(check(record, "rowsLeft").checked > 1_500);
        assert!(
            figure(Figure::LockLooks) >= 1.0 && figure(Figure::ReclaimMilliseconds) > 0.0,
            "{all:?}"
        );
        assert!(figure(Figure::BytesReclaimed) > 100_000.0, "{all:?}");
        assert_eq!(
            figure(Figure::InsertsDuring),
            record.operations["insertDuring"].count as f64
        );
        let lines = history(&ran, record);
        if record.trial.cell["method"] == "DropPartition" {
            // A tenth of the two thousand runs of the oldest range sleep.
            assert!(
                (130.0..280.0).contains(&figure(Figure::RowsMoved)),
                "{all:?}"
            );
            assert!(figure(Figure::MicrosecondsPerRowMoved) > 0.0);
            assert!(
                figure(Figure::DropMilliseconds) >= figure(Figure::DetachMilliseconds),
                "{all:?}"
            );
            assert!(figure(Figure::StrongestLock) <= 4.0, "{lines:?}");
            assert!(figure(Figure::BytesReturned) > 100_000.0, "{all:?}");
            assert_eq!(figure(Figure::DetachFinalized), 0.0);
        } else {
            assert!(
                (1_720.0..1_870.0).contains(&figure(Figure::RowsDeleted)),
                "{all:?}"
            );
            assert_eq!(figure(Figure::DeleteStatements), 1.0);
            assert!(figure(Figure::Autovacuums) >= 1.0, "{all:?}");
            assert!(!record.figures.contains_key(&Figure::DetachMilliseconds));
        }
    }
}

#[test]
fn a_delete_in_batches_takes_the_same_rows() {
    let server = Postgres::start(&["autovacuum=off", "synchronous_commit=off"]);
    let spec = json!({"methods": ["BulkDelete"], "deleteBatchRows": 300, "cleanup": "Vacuum"});
    let ran = reclaimed(&server, &spec, 12);
    let record = &ran.records[0];
    sound(record);
    assert_eq!(record.figures[&Figure::ReclaimComplete], 1.0);
    assert!(
        (1_720.0..1_870.0).contains(&record.figures[&Figure::RowsDeleted]),
        "{:?}",
        record.figures
    );
    // Six thousand rows by three hundred, and what was added before: the more, the longer the window was.
    let added = record.operations["insertBefore"].count as f64;
    assert!(
        (15.0..30.0 + added / 300.0).contains(&record.figures[&Figure::DeleteStatements]),
        "{:?}",
        record.figures
    );
    assert!(
        record.figures[&Figure::BytesReclaimed] > 100_000.0,
        "{:?}",
        record.figures
    );
}

#[test]
fn space_that_autovacuum_never_gives_back_is_not_reclaimed() {
    let server = Postgres::start(&["autovacuum=off", "synchronous_commit=off"]);
    // Retention is due at one third of the window and is given up at its end, 8 s later. The figure counts from the
    // answer to the look at the files, which is not part of the action and waits for a processor that other tests keep
    // busy. It may take half of that and still none of what the test is about: with windows of 6 s it had no more than
    // 100 ms.
    let waited =
        |ran: &Ran| ran.records[0].figures.get(&Figure::ReclaimMilliseconds) >= Some(&3_900.0);
    let deleted = |window| run(&server, json!({"methods": ["BulkDelete"]}), window);
    let ran = given_time(12, deleted, waited);
    let record = &ran.records[0];
    sound(record);
    assert_eq!(
        record.figures[&Figure::ReclaimComplete],
        0.0,
        "{:?}",
        record.figures
    );
    assert!(waited(&ran), "{:?}", record.figures);
    let left = check(record, "rowsLeft");
    assert!(left.checked == 0 && left.uncertain > 1_500, "{left:?}");
}

/// Does something to the server beside a run, on connections of its own.
fn beside<T: Send + 'static>(
    server: &Postgres,
    what: impl AsyncFnOnce(Connector) -> T + Send + 'static,
) -> std::thread::JoinHandle<T> {
    let connector = connector(server);
    std::thread::spawn(move || runtime().block_on(what(connector)))
}

/// Partitions are dropped while something is done to the server, in a window in which this machine gets to the end of it.
fn reclaimed_beside(
    server: &Postgres,
    what: impl AsyncFn(Connector) + Copy + Send + 'static,
) -> Ran {
    let both = |window| {
        let planted = beside(server, what);
        let ran = run(server, json!({"methods": ["DropPartition"]}), window);
        planted.join().unwrap();
        ran
    };
    given_time(12, both, complete)
}

fn connector(server: &Postgres) -> Connector {
    let at = server.resolved("pg");
    Connector::new(
        &at.endpoint,
        "postgres",
        &support::credentials(),
        Duration::from_secs(60),
    )
    .unwrap()
}

/// Connects as soon as the server answers, under a name of its own: a run ends the sessions of earlier generators.
async fn connect(connector: &Connector) -> Client {
    for _ in 0..600 {
        if let Ok(client) = connector.connect().await {
            let named = client.batch_execute("SET application_name = 'beside'");
            named.await.unwrap();
            return client;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the server does not answer")
}

/// Waits until a query answers true.
async fn until(client: &Client, sql: &str) {
    for _ in 0..6_000 {
        if client
            .query_one(sql, &[])
            .await
            .is_ok_and(|row| row.get::<_, Option<bool>>(0) == Some(true))
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never true: {sql}")
}

const INSERTING: &str =
    "SELECT count(*) > 0 FROM pg_stat_activity WHERE query LIKE 'INSERT INTO bakeoff.runs %'";
const DETACHING: &str = "SELECT count(*) > 0 FROM pg_stat_activity \
    WHERE query LIKE '%DETACH PARTITION%CONCURRENTLY' AND state = 'active' AND wait_event_type = 'Lock'";

#[test]
fn a_transaction_that_stays_open_and_a_lock_are_seen() {
    let server = Postgres::start(&EAGER);
    let ran = reclaimed_beside(&server, async |connector| {
        let (reader, locker) = (connect(&connector).await, connect(&connector).await);
        until(&locker, INSERTING).await;
        reader
            .batch_execute("BEGIN; SELECT count(*) FROM bakeoff.runs")
            .await
            .unwrap();
        until(&locker, DETACHING).await;
        // Inserts go on while the detach waits; now they wait too.
        locker
            .batch_execute(
                "BEGIN; LOCK TABLE bakeoff.runs_p003 IN SHARE MODE; SELECT pg_sleep(1.5); COMMIT",
            )
            .await
            .unwrap();
        reader.batch_execute("COMMIT").await.unwrap();
    });
    let record = &ran.records[0];
    sound(record);
    let all = &record.figures;
    assert_eq!(all[&Figure::ReclaimComplete], 1.0, "{all:?}");
    assert!(all[&Figure::DetachMilliseconds] >= 800.0, "{all:?}");
    assert!(all[&Figure::ActionLockWaitMilliseconds] >= 700.0, "{all:?}");
    assert!(
        all[&Figure::LongestLockWaitMilliseconds] >= 600.0,
        "{all:?}"
    );
    assert!(
        all[&Figure::StrongestLock] <= 4.0,
        "{:?}",
        history(&ran, record)
    );
    let waited = history(&ran, record)
        .into_iter()
        .any(|line| line.holder == Holder::Other && !line.granted && line.on == "runs_p003");
    assert!(waited, "the wait is named");
    // From the plan: those that were due while the lock was held.
    let p99 = |kind: &str| {
        decode(&record.operations[kind].response)
            .unwrap()
            .value_at_quantile(0.99)
    };
    assert!(p99("insertDuring") >= 500_000, "{}", p99("insertDuring"));
}

#[test]
fn a_detach_that_was_interrupted_is_finalized() {
    let server = Postgres::start(&EAGER);
    let ran = reclaimed_beside(&server, async |connector| {
        let (reader, killer) = (connect(&connector).await, connect(&connector).await);
        until(&killer, INSERTING).await;
        reader
            .batch_execute("BEGIN; SELECT count(*) FROM bakeoff.runs")
            .await
            .unwrap();
        until(&killer, DETACHING).await;
        let ended = killer
            .query_one(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query LIKE '%DETACH PARTITION%CONCURRENTLY'",
                &[],
            )
            .await
            .unwrap();
        assert_eq!(ended.get::<_, i64>(0), 1);
        tokio::time::sleep(Duration::from_millis(500)).await;
        reader.batch_execute("COMMIT").await.unwrap();
    });
    let record = &ran.records[0];
    sound(record);
    assert_eq!(
        record.figures[&Figure::DetachFinalized],
        1.0,
        "{:?}",
        record.figures
    );
    assert_eq!(record.figures[&Figure::ReclaimComplete], 1.0);
}

#[test]
fn what_is_held_and_waited_for_is_seen() {
    let server = Postgres::start(&[]);
    let locks = beside(&server, async |connector| {
        let (holder, waiter) = (connect(&connector).await, connect(&connector).await);
        let watcher = connect(&connector).await;
        let pid = std::cell::Cell::new(0);
        let begun = bakeoff_loadgen::instrument::clock::now();
        for sql in [
            "CREATE SCHEMA bakeoff; CREATE TABLE bakeoff.held (a int)",
            "BEGIN; LOCK TABLE bakeoff.held",
        ] {
            holder.batch_execute(sql).await.unwrap();
        }
        let row = holder
            .query_one("SELECT pg_backend_pid()", &[])
            .await
            .unwrap();
        pid.set(row.get(0));
        let done = std::cell::Cell::new(false);
        let release = async {
            until(
                &connect(&connector).await,
                "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted)",
            )
            .await;
            tokio::time::sleep(Duration::from_millis(1_000)).await;
            holder.batch_execute("COMMIT").await.unwrap();
        };
        let wait = async {
            waiter
                .batch_execute("INSERT INTO bakeoff.held VALUES (1)")
                .await
                .unwrap();
            done.set(true);
        };
        let watcher = Patient::of(&watcher);
        let looks = locks::prepare(watcher).await.unwrap();
        let watch = locks::watch((watcher, &looks), &pid, begun, &done);
        let (locks, (), ()) = tokio::join!(watch, wait, release);
        locks
    })
    .join()
    .unwrap();
    assert_eq!(locks.strongest(false, ""), 8);
    assert_eq!(locks.strongest(false, "held"), 0, "only that one was held");
    assert!(locks.longest_wait_of_others() >= 250.0, "{locks:?}");
    assert_eq!(locks.longest_wait_of_action(), 0.0);
    let waited = locks
        .lines()
        .any(|line| !line.granted && line.on == "held" && line.mode == "RowExclusiveLock");
    assert!(waited, "{locks:?}");
}

const PARTITIONED: &str = "CREATE TABLE part (at int, PRIMARY KEY (at)) PARTITION BY RANGE (at); \
    CREATE TABLE part_old PARTITION OF part FOR VALUES FROM (0) TO (10); \
    CREATE TABLE part_new PARTITION OF part FOR VALUES FROM (10) TO (20); \
    INSERT INTO part SELECT generate_series(0, 19)";

/// Cancels what waits to detach: by then its first transaction has been committed.
const CUT: &str = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity \
    WHERE query LIKE 'ALTER TABLE part DETACH%' AND wait_event_type = 'Lock'";

async fn detach(
    connector: &Connector,
    client: &mut Client,
) -> Result<partitions::Detached, String> {
    partitions::detach(connector, client, "part", "part_old", async |_: &Client| {
        Ok(())
    })
    .await
    .map_err(|error| error.to_string())
}

#[test]
fn a_default_partition_is_refused_and_a_cut_detach_is_taken_up_again() {
    let server = Postgres::start(&[]);
    beside(&server, async |connector| {
        let mut client = connect(&connector).await;
        client.batch_execute(PARTITIONED).await.unwrap();
        client
            .batch_execute("CREATE TABLE part_rest PARTITION OF part DEFAULT")
            .await
            .unwrap();
        let refused = detach(&connector, &mut client).await.unwrap_err();
        assert!(refused.contains("DEFAULT partition part_rest"), "{refused}");
        let rows = async |client: &Client| -> i64 {
            client
                .query_one("SELECT count(*) FROM part", &[])
                .await
                .unwrap()
                .get(0)
        };
        assert_eq!(rows(&client).await, 20, "nothing was touched");
        client.batch_execute("DROP TABLE part_rest").await.unwrap();

        // Cut between its two transactions, the detach is neither done nor undone.
        let reader = connect(&connector).await;
        reader
            .batch_execute("BEGIN; SELECT * FROM part")
            .await
            .unwrap();
        let (watcher, over) = (connect(&connector).await, std::cell::Cell::new(false));
        let detaching = async {
            let ended = detach(&connector, &mut client).await;
            over.set(true);
            ended
        };
        // The command, and what is to complete it.
        let cut = async {
            while !over.get() {
                watcher.batch_execute(CUT).await.unwrap();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let (ended, ()) = tokio::join!(detaching, cut);
        assert!(ended.is_err());
        assert_eq!(
            partitions::pending(&client, "part")
                .await
                .unwrap()
                .as_deref(),
            Some("part_old")
        );
        reader.batch_execute("COMMIT").await.unwrap();
        let detached = detach(&connector, &mut client).await.unwrap();
        assert!(detached.finalized);
        assert_eq!(partitions::pending(&client, "part").await.unwrap(), None);
        assert_eq!(
            rows(&client).await,
            10,
            "the rows went with their partition"
        );

        // And one that nothing disturbs needs none of this.
        client
            .batch_execute("DROP TABLE part, part_old")
            .await
            .unwrap();
        client.batch_execute(PARTITIONED).await.unwrap();
        assert!(!detach(&connector, &mut client).await.unwrap().finalized);
        assert_eq!(rows(&client).await, 10);
    })
    .join()
    .unwrap();
}
