//! A standby whose data are copied from its running primary by SQL, and what the generator sees of the two. Needs BAKEOFF_POSTGRES_16
//! and BAKEOFF_POSTGRES_17 beside BAKEOFF_POSTGRES.

use crate::support::postgres::{Postgres, kill};
use crate::support::runner::{plan, shown, under_way};
use crate::support::{KEY, SECRET, credentials, runtime};
use bakeoff_crds::result::Verdict;
use bakeoff_crds::run::{Manifest, ResolvedBackend, ResolvedPod};
use bakeoff_crds::spec::{Member, Resources};
use bakeoff_loadgen::drivers::driver::Driver as _;
use bakeoff_loadgen::drivers::postgres::Connector;
use bakeoff_loadgen::drivers::postgres::probe;
use bakeoff_loadgen::drivers::probe::ProbeError;
use bakeoff_loadgen::run::Backend;
use bakeoff_loadgen::run::control::Control;
use serde_json::json;
use std::cell::Cell;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::Client;

/// What the standby is called, as its pod would be.
const NAME: &str = "c-0123abcd-standby-pg-0";
const TICK: Duration = Duration::from_millis(10);
/// What ends a program that writes more into a file than it may.
const SIGXFSZ: i32 = 25;
/// For what is to happen soon.
const PATIENCE: Duration = Duration::from_secs(300);

fn connector(server: &Postgres) -> Connector {
    let endpoint = format!("postgres://127.0.0.1:{}", server.port());
    Connector::new(
        &endpoint,
        "postgres",
        &credentials(),
        Duration::from_secs(5),
    )
    .unwrap()
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let end = tokio::time::Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(tokio::time::Instant::now() < end, "{what}");
        tokio::time::sleep(TICK).await;
    }
}

async fn connected(server: &Postgres) -> Client {
    let connector = connector(server);
    let found = Cell::new(None);
    until("the server answers", async || {
        found.set(connector.connect().await.ok());
        let client = found.take();
        let answers = client.is_some();
        found.set(client);
        answers
    })
    .await;
    found.take().unwrap()
}

async fn number(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.unwrap().get(0)
}

/// The program as the pod of a standby runs it, within another one.
fn copying(primary: &Postgres, into: &Path, within: &[&str]) -> Child {
    let words = [within, &[env!("CARGO_BIN_EXE_loadgen")]].concat();
    Command::new(words[0])
        .args(&words[1..])
        .args([
            "standby",
            "--primary",
            &format!("127.0.0.1:{}", primary.port()),
        ])
        .args(["--name", NAME, "--into"])
        .arg(into)
        .envs([("PGUSER", KEY), ("PGPASSWORD", SECRET)])
        .spawn()
        .unwrap()
}

async fn copied(mut child: Child) {
    until("the copy ends", async || {
        child.try_wait().unwrap().is_some_and(|status| {
            assert!(status.success(), "{status}");
            true
        })
    })
    .await;
}

/// Bytes of the files below a folder, as far as they are there.
fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let meta = entry.metadata().ok()?;
            Some(if meta.is_dir() {
                size(&entry.path())
            } else {
                meta.len()
            })
        })
        .sum()
}

/// A copy that the kernel cuts off in the middle, as soon as one of its files is larger than 4 MB: wherever the test looks meanwhile.
async fn cut_off(primary: &Postgres, into: &Path) {
    let mut child = copying(
        primary,
        into,
        &["sh", "-c", "ulimit -c 0; ulimit -f 8192; exec \"$@\"", "sh"],
    );
    until("it is cut off", async || {
        child.try_wait().unwrap().is_some_and(|status| {
            assert_eq!(status.signal(), Some(SIGXFSZ), "{status}");
            true
        })
    })
    .await;
    let beside = into.with_extension("new");
    assert!(size(&beside) > 4 << 20 && !into.exists());
    assert!(
        !beside.join("standby.signal").exists(),
        "it was in the middle"
    );
}

/// Changes rows all over the table, adds some and drops tables, without waiting for a standby, until it is told to end.
async fn writing(client: Client, over: Rc<Cell<bool>>) -> i64 {
    client
        .batch_execute("SET synchronous_commit = local")
        .await
        .unwrap();
    let mut rounds = 0;
    while !over.get() {
        let sql = format!(
            "UPDATE kept SET n = n + 1 WHERE id % 97 = {}; INSERT INTO kept SELECT 1000000 + {rounds}, 0, 'added'; \
             CREATE TABLE gone AS SELECT 1",
            rounds % 97
        );
        client.batch_execute(&sql).await.unwrap();
        client.batch_execute("DROP TABLE gone").await.unwrap();
        rounds += 1;
    }
    rounds
}

fn resolved(primary: &Postgres) -> ResolvedBackend {
    ResolvedBackend {
        pods: [
            (Member::Server, "c-0123abcd-be-pg-0"),
            (Member::Standby, NAME),
        ]
        .map(|(member, name)| ResolvedPod {
            member,
            name: name.to_owned(),
            resources: Resources::default(),
            storage: None,
            metrics_url: None,
            image_id: String::new(),
            node: String::new(),
        })
        .into(),
        ..primary.resolved("pg")
    }
}

#[test]
fn a_standby_is_copied_from_a_primary_at_work_and_commits_wait_for_it() {
    runtime().block_on(copied_followed_and_lost("BAKEOFF_POSTGRES"));
}

#[test]
fn it_is_of_version_17_as_well() {
    runtime().block_on(copied_followed_and_lost("BAKEOFF_POSTGRES_17"));
}

#[test]
fn it_is_of_version_16_as_well() {
    runtime().block_on(copied_followed_and_lost("BAKEOFF_POSTGRES_16"));
}

/// What a run sees of the two: trials count while the standby follows, and the one over which it was away is void and repeated.
#[test]
fn a_trial_in_which_the_standby_was_lost_is_void_and_repeated() {
    let names = format!("synchronous_standby_names=FIRST 1 (\"{NAME}\")");
    let primary = Postgres::start_primary("BAKEOFF_POSTGRES", &[&names]);
    let standby = primary.start_over(&[], |data| {
        runtime().block_on(copied(copying(&primary, data, &[])));
    });
    let on = Backend::new(resolved(&primary), credentials()).unwrap();
    let workload = json!({"name": "head", "headRow": {
        "activeRuns": [1_000], "fillfactor": [90, 80], "load": {"closed": {"concurrency": [2]}}}});
    let trials = json!({"blocks": 1, "warmupSeconds": 0, "windowSeconds": 3, "drainSeconds": 2});
    let plan = plan(workload, trials, &on);
    let control = Arc::new(Control::default());
    let pid = standby.pid();
    let (ran, _second) = std::thread::scope(|scope| {
        let killer = scope.spawn({
            let control = Arc::clone(&control);
            move || {
                under_way(&control, 0, 100);
                kill(pid);
            }
        });
        let again = standby.again();
        let restarter = scope.spawn(move || again.when_gone(pid));
        let ran = shown(plan, on, control, &|_| {});
        killer.join().unwrap();
        (ran, restarter.join().unwrap())
    });
    let verdicts: Vec<_> = ran.records.iter().map(|record| &record.verdict).collect();
    let valid = |verdict: &&&Verdict| **verdict == &Verdict::Valid;
    assert_eq!(
        (verdicts.len(), verdicts.iter().filter(valid).count()),
        (3, 2),
        "{verdicts:?}"
    );
    let said = format!("{verdicts:?}");
    assert!(
        said.contains("BackendRestarted") && said.contains(NAME),
        "{said}"
    );
    // Neither the slot nor the standby holds what VACUUM would remove.
    assert!(ran.records.iter().all(|record| record.horizon.is_none()));
    let manifest = std::fs::read(ran.folder.path().join("manifest.json")).unwrap();
    let manifest: Manifest = serde_json::from_slice(&manifest).unwrap();
    let durability = &manifest.plan.backends[0].durability;
    assert_eq!(durability.copies, 2, "{durability:?}");
}

async fn copied_followed_and_lost(variable: &str) {
    let names = format!("synchronous_standby_names=FIRST 1 (\"{NAME}\")");
    let primary = Postgres::start_primary(variable, &[&names]);
    let client = connected(&primary).await;
    without_a_standby(&primary, &client).await;

    for sql in [
        "SET synchronous_commit = local",
        "CREATE TABLE kept AS SELECT id, 0 AS n, repeat(md5(id::text), 8) AS body FROM generate_series(1, 200000) AS id",
        "CREATE INDEX ON kept (id)",
    ] {
        client.batch_execute(sql).await.unwrap();
    }
    let over = Rc::new(Cell::new(false));
    let writer = tokio::task::spawn_local(writing(connected(&primary).await, Rc::clone(&over)));
    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().join("pgdata");
    cut_off(&primary, &into).await;
    copied(copying(&primary, &into, &[])).await;
    assert!(!into.with_extension("new").exists());
    let label = std::fs::read(into.join("backup_label")).unwrap();
    // It is there: nothing is done.
    copied(copying(&primary, &into, &[])).await;
    assert_eq!(std::fs::read(into.join("backup_label")).unwrap(), label);
    // What happens between the copy and the start is in the WAL that the slot keeps.
    for sql in [
        "SELECT pg_switch_wal()",
        "CHECKPOINT",
        "SELECT pg_switch_wal()",
        "CHECKPOINT",
    ] {
        client.batch_execute(sql).await.unwrap();
    }
    let mut standby = primary.start_over(&[], |data| std::fs::rename(&into, data).unwrap());
    until("the standby is synchronous", async || {
        let sync = format!("SELECT count(*) FROM pg_stat_replication WHERE application_name = '{NAME}' AND sync_state = 'sync'");
        number(&client, &sync).await == 1
    })
    .await;
    over.set(true);
    let rounds = writer.await.unwrap();
    assert!(rounds > 10, "{rounds} rounds of writes while it was copied");

    // One commit that is applied there, and all before it are.
    for sql in [
        "SET synchronous_commit = remote_apply",
        "INSERT INTO kept VALUES (0, 0, 'last')",
    ] {
        client.batch_execute(sql).await.unwrap();
    }
    let follower = connected(&standby).await;
    assert_eq!(
        number(&follower, "SELECT pg_is_in_recovery()::int::int8").await,
        1
    );
    for sql in [
        "SELECT count(*) FROM kept",
        "SELECT sum(n)::int8 FROM kept",
        "SELECT sum(hashtext(body)::int8)::int8 FROM kept",
        "SELECT count(*) FROM pg_class",
    ] {
        assert_eq!(
            number(&follower, sql).await,
            number(&client, sql).await,
            "{sql}"
        );
    }
    // It holds nothing that VACUUM would remove.
    let holders = "SELECT (SELECT count(xmin) FROM pg_replication_slots) + (SELECT count(backend_xmin) FROM pg_stat_replication)";
    assert_eq!(number(&client, holders).await, 0);
    drop(follower);
    lost_and_found(&primary, &client, &mut standby).await;
}

/// Without its standby the server acknowledges nothing: that is said in time, and nothing stays there to wait.
async fn without_a_standby(primary: &Postgres, client: &Client) {
    let driver = connector(primary);
    let waited = probe::wait("pg", &driver, Duration::from_secs(6)).await;
    let said = waited.unwrap_err();
    assert!(matches!(said, ProbeError::StandbyMissing { .. }), "{said}");
    assert!(
        said.retryable() && said.to_string().contains(NAME),
        "{said}"
    );
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    until("nothing waits", async || number(client, waiting).await == 0).await;
}

/// A commit waits for a standby that is gone, and ends with its return; that it was away is seen.
async fn lost_and_found(primary: &Postgres, client: &Client, standby: &mut Postgres) {
    let at = resolved(primary);
    let driver = connector(primary);
    probe::wait("pg", &driver, PATIENCE).await.unwrap();
    let before = driver.observe(&at).await.unwrap();
    assert_eq!(before.0.len(), 2, "{before:?}");
    assert_eq!(
        driver.observe(&at).await.unwrap().restarted_since(&before),
        None
    );

    kill(standby.pid());
    until("it is gone", async || {
        number(client, "SELECT count(*) FROM pg_stat_replication").await == 0
    })
    .await;
    assert!(
        driver.observe(&at).await.is_none(),
        "one of two is not seen"
    );
    let other = connected(primary).await;
    let commit = tokio::task::spawn_local(async move {
        other
            .batch_execute("INSERT INTO kept VALUES (-1, 0, 'waited')")
            .await
    });
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    until("the commit waits", async || {
        assert!(!commit.is_finished(), "it is acknowledged by one");
        number(client, waiting).await == 1
    })
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!commit.is_finished(), "it is acknowledged by one");

    let again = standby.again().when_gone(standby.pid());
    tokio::time::timeout(PATIENCE, commit)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    let after = driver.observe(&at).await.unwrap();
    let said = after.restarted_since(&before).unwrap();
    assert!(said.contains(NAME), "{said}");
    drop(again);
}
