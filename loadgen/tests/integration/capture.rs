//! `loadgen trace capture` against a real Postgres, by running the program: what is captured is what happened, and nothing is left
//! there, whenever it is killed.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::external_postgres::{asked, url};
use crate::support::postgres::Postgres;
use crate::support::runner::{backend, measured, plan};
use crate::support::{KEY, SECRET, credentials, minio, runtime};
use bakeoff_crds::figure::Figure;
use bakeoff_crds::result::TrialRecord;
use bakeoff_crds::run::StoreTarget;
use bakeoff_loadgen::store::Store;
use bakeoff_trace::plan::{Plan, PlanOptions, Ratio, Shift};
use bakeoff_trace::{Manifest, Trace};
use serde_json::json;

/// A server, a file with its URL, and a place for traces.
struct Ground {
    server: Postgres,
    folder: tempfile::TempDir,
}

impl Ground {
    fn new(settings: &[&str]) -> Self {
        Self::on(Postgres::start(settings))
    }

    fn on(server: Postgres) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("url");
        std::fs::write(file, url(&server, "127.0.0.1", "disable")).unwrap();
        Self { server, folder }
    }

    fn ask(&self, sql: &str) -> Vec<String> {
        asked(&self.server, sql)
    }

    fn number(&self, sql: &str) -> u64 {
        self.ask(sql)[0].parse().unwrap()
    }

    fn out(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, out: &str, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
        command
            .args(["trace", "capture"])
            .args(arguments.split(' '))
            .arg("--url-file")
            .arg(self.out("url"))
            .arg("--out")
            .arg(self.out(out))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Captures, or says why not.
    fn capture(&self, out: &str, arguments: &str) -> Result<Manifest, String> {
        ended(self.command(out, arguments).output().unwrap())?;
        Ok(whole(&self.out(out)))
    }

    fn begun(&self, out: &str, arguments: &str) -> Child {
        self.command(out, arguments).spawn().unwrap()
    }

    /// Sessions, slots, transactions and tables of a capture that are there.
    fn left(&self) -> Vec<String> {
        self.ask(
            "SELECT 'session ' || state FROM pg_stat_activity WHERE application_name = 'bakeoff capture' \
             UNION ALL SELECT 'slot ' || slot_name FROM pg_replication_slots \
             UNION ALL SELECT 'prepared ' || gid FROM pg_prepared_xacts \
             UNION ALL SELECT 'temporary ' || relname FROM pg_class WHERE relpersistence = 't'",
        )
    }

    /// Waits until nothing is left.
    fn nothing_left(&self, when: &str) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let left = self.left();
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "killed {when}: {left:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits until a recording has read what the server has done so far.
    fn is_followed(&self) {
        let done = self.ask("SELECT pg_current_wal_insert_lsn()::text");
        // Something that comes after it, so that there is an end of it to be read.
        self.ask("SELECT pg_logical_emit_message(true, 'after', '')");
        let read = "SELECT 1 FROM pg_replication_slots WHERE confirmed_flush_lsn >=";
        self.waits_for("nothing was read", &format!("{read} '{}'", done[0]));
    }

    /// A recording that has read what is there at the start, if it was to, and follows what comes.
    fn recording(&self, out: &str, arguments: &str) -> Child {
        self.follows(&mut self.command(out, arguments))
    }

    fn follows(&self, command: &mut Command) -> Child {
        let child = command.spawn().unwrap();
        self.waits_for("no slot was made", SLOT);
        // The first may be read before what is there at the start, the second is read after it.
        self.is_followed();
        self.is_followed();
        child
    }

    fn waits_for(&self, what: &str, sql: &str) {
        let deadline = Instant::now() + Duration::from_secs(120);
        while self.ask(sql).is_empty() {
            assert!(Instant::now() < deadline, "{what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn ended(output: Output) -> Result<String, String> {
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    if output.status.success() {
        Ok(said)
    } else {
        Err(format!("{:?}: {said}", output.status.code()))
    }
}

/// A trace that is what it says.
fn whole(folder: &Path) -> Manifest {
    let mut trace = Trace::open(folder).unwrap();
    trace.verify().unwrap();
    assert!(trace.events().unwrap().all(|event| event.is_ok()));
    trace.manifest().clone()
}

/// Three thousand runs, one begun each second: created, two moves, and nine of ten completed. Beside them a few events that do not count.
fn with_log(ground: &Ground, rows_each: u32) {
    ground.ask(
        "CREATE TABLE log (id bigint GENERATED ALWAYS AS IDENTITY, run uuid, at timestamptz, status text, state jsonb, ok boolean, filler text)",
    );
    // As large as it is said to be.
    ground.ask("ALTER TABLE log ALTER filler SET STORAGE PLAIN");
    ground.ask(&format!(
        "INSERT INTO log (run, at, status, state, ok, filler) \
         SELECT md5(run::text)::uuid, '2026-03-01T10:00:00Z'::timestamptz + make_interval(secs => run + step), \
           (ARRAY['created', 'running', 'waiting', 'completed'])[step], jsonb_build_object('n', run), step <> 3 OR run % 100 <> 0, repeat('x', {rows_each}) \
         FROM generate_series(1, 3000) run, generate_series(1, 4) step WHERE step < 4 OR run % 10 <> 0 ORDER BY random()"
    ));
    ground.ask("ANALYZE log");
}

const LOG: &str = "--run run --time at --kind status --valid ok --created created --done completed";

#[test]
fn a_table_is_captured_as_it_is_and_the_server_is_spared() {
    let ground = Ground::new(&[]);
    with_log(&ground, 2_000);
    let table = format!("table --table log {LOG}");
    let refused = |arguments: &str, said: &str| {
        let found = ground.capture("none", arguments).unwrap_err();
        assert!(found.contains(said), "{arguments}: {found}");
        assert!(!ground.out("none").join("trace.json").exists());
    };
    refused(
        &table,
        "the server is a primary, which others need: name a standby, or say --primary",
    );
    let primary = format!("{table} --primary");
    refused(&primary, "all of \"log\" would be read (");
    let scan = format!("{primary} --allow-scan");
    refused(
        &format!("{scan} --most-rows 100"),
        "there are more than 100 rows",
    );
    refused(
        &format!("{scan} --from yesterday"),
        "\"yesterday\" is no time",
    );
    refused(
        "table --table log --run id --time run --primary",
        "is of type uuid, which is no time",
    );
    refused(
        "table --table nowhere --primary",
        "relation \"nowhere\" does not exist",
    );
    let file = ground.out("query.sql");
    std::fs::write(
        &file,
        "SELECT n AS run, now() AS time FROM generate_series(1, 9) n, pg_sleep(30)",
    )
    .unwrap();
    let slow = format!(
        "query --query-file {} --primary --timeout-seconds 1",
        file.display()
    );
    refused(
        &slow,
        "canceling statement due to statement timeout; raise --timeout-seconds, or have less read: of events those between --from and --to",
    );

    // What the table holds, counted by the table.
    let made = ground
        .capture("all", &format!("{scan} --value state"))
        .unwrap();
    let count = |status: &str| {
        ground.number(&format!(
            "SELECT count(*) FROM log WHERE ok AND status IN ({status})"
        ))
    };
    assert_eq!(made.runs, 3_000);
    assert_eq!(made.counts.created, count("'created'"));
    assert_eq!(made.counts.transition, count("'running', 'waiting'"));
    assert_eq!(made.counts.done, count("'completed'"));
    assert_eq!(made.open.at_end, 300);
    assert_eq!(made.dropped["markedInvalid"], 30);
    assert_eq!(made.started_at.as_deref(), Some("2026-03-01T10:00:02Z"));

    // An index on the time is enough; a window knows which runs were there before when it reaches back for them.
    ground.ask("CREATE INDEX ON log (at)");
    ground.ask("ANALYZE log");
    let window = "--from 2026-03-01T10:10:00Z --to 2026-03-01T10:10:30Z";
    let seen = ground
        .capture("window", &format!("{primary} {window}"))
        .unwrap();
    let reached = ground
        .capture(
            "reach",
            &format!("{primary} {window} --reach-back-seconds 60"),
        )
        .unwrap();
    assert_eq!(seen.span_micros, 30_000_000);
    assert_eq!(seen.counts.events(), reached.counts.events());
    assert!((2..=4).contains(&seen.open.at_start), "{:?}", seen.open);
    // In the minute before six runs were never completed, and sleep.
    assert!(
        reached.open.at_start >= seen.open.at_start + 5,
        "{:?} and {:?}",
        seen.open,
        reached.open
    );
    std::fs::write(
        &file,
        "SELECT run AS id, extract(epoch FROM at) * 1000 AS ms, status FROM log WHERE ok;\n",
    )
    .unwrap();
    let query = format!(
        "query --query-file {} --run id --time ms --unit ms --kind status --created created --done completed --primary --allow-scan",
        file.display()
    );
    let asked = ground.capture("query", &query).unwrap();
    assert_eq!(asked.counts, made.counts);
    // What writes is not sent.
    std::fs::write(
        &file,
        "WITH gone AS (DELETE FROM log RETURNING *) SELECT run, at AS time FROM gone",
    )
    .unwrap();
    let query = format!("query --query-file {} --primary", file.display());
    assert!(ground.capture("none", &query).is_err());
    assert_eq!(ground.number("SELECT count(*) FROM log"), 11_700);
    ground.nothing_left("never");
}

#[test]
fn snapshots_of_trigger_dev_are_known_by_their_names() {
    let ground = Ground::new(&[]);
    ground.ask(
        r#"CREATE TYPE "TaskRunExecutionStatus" AS ENUM ('RUN_CREATED', 'QUEUED', 'PENDING_EXECUTING', 'EXECUTING', 'FINISHED')"#,
    );
    ground.ask(
        r#"CREATE TABLE "TaskRunExecutionSnapshot" ("id" text PRIMARY KEY, "runId" text NOT NULL, "executionStatus" "TaskRunExecutionStatus" NOT NULL,
           "isValid" boolean NOT NULL DEFAULT true, "createdAt" timestamp(3) NOT NULL, "previousSnapshotId" text)"#,
    );
    // Some of them at the same millisecond as the one before, as it happens there.
    ground.ask(
        r#"INSERT INTO "TaskRunExecutionSnapshot" SELECT 's' || run || '-' || step, 'run_' || run,
           (enum_range(NULL::"TaskRunExecutionStatus"))[step], run % 7 <> 0 OR step <> 3,
           timestamp '2026-03-01 10:00:00' + make_interval(secs => run * 0.1 + step / 3 * 0.5)
           FROM generate_series(1, 2000) run, generate_series(1, 5) step ORDER BY random()"#,
    );
    let made = ground.capture("trace", "trigger-dev --primary").unwrap();
    assert_eq!(
        (made.runs, made.counts.created, made.counts.done),
        (2_000, 2_000, 2_000)
    );
    assert_eq!(made.counts.transition, 6_000 - 2_000 / 7);
    assert_eq!(made.dropped["markedInvalid"], 2_000 / 7);
    assert_eq!(made.started_at.as_deref(), Some("2026-03-01T10:00:00.1Z"));
}

#[test]
fn a_standby_is_read_without_being_told() {
    let ground = Ground::on(Postgres::start_standby());
    ground.ask("SELECT 1");
    let read = "table --table pg_class --run oid --time relpages --unit s --ends never";
    let made = ground.capture("trace", read).unwrap();
    assert_eq!(made.runs, ground.number("SELECT count(*) FROM pg_class"));
}

#[test]
fn a_trace_is_put_into_a_bucket() {
    let store = minio();
    let folder = tempfile::tempdir().unwrap();
    let loadgen = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
        command
            .arg("trace")
            .args(arguments)
            .env("AWS_ENDPOINT_URL", &store.endpoint)
            .env("AWS_ACCESS_KEY_ID", KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET);
        ended(command.output().unwrap())
    };
    let trace = folder.path().join("trace").display().to_string();
    let like = "synthesize --runs 90000 --span-seconds 60 --events 11,47,85,175 --gap-millis 10,20,30,40 --out";
    let mut arguments: Vec<&str> = like.split(' ').collect();
    arguments.push(&trace);
    loadgen(&arguments).unwrap();
    let target = StoreTarget {
        endpoint: store.endpoint.clone(),
        bucket: "results".into(),
        prefix: "traces/made".into(),
        region: "us-east-1".into(),
        path_style: true,
        credentials_dir: String::new(),
        ca_key: None,
    };
    let store = Store::bucket(&target, &credentials());
    runtime().block_on(async {
        // The server may have been started a moment ago.
        while store.ensure().await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    loadgen(&["put", &trace, "s3://results/traces/made"]).unwrap();
    let copied = runtime()
        .block_on(store.get("events.csv.gz"))
        .unwrap()
        .unwrap();
    let bytes = std::fs::read(folder.path().join("trace/events.csv.gz")).unwrap();
    assert!(
        copied == bytes && copied.len() > 5_000_000,
        "{}",
        copied.len()
    );
    assert!(
        loadgen(&["put", &trace, "s3://results/traces/made"])
            .unwrap_err()
            .contains("holds a trace already")
    );
}

/// The table of runs, and beside it a count of what was done to it, by triggers.
fn with_runs(ground: &Ground) {
    ground.ask("CREATE TABLE runs (run_id bigint PRIMARY KEY, seq int NOT NULL, status text NOT NULL, state text)");
    ground.ask(
        "CREATE TABLE counted (act text, run_id bigint, at timestamptz DEFAULT clock_timestamp())",
    );
    ground.ask(
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         INSERT INTO counted VALUES (TG_OP, CASE TG_OP WHEN 'DELETE' THEN OLD.run_id ELSE NEW.run_id END); RETURN NULL; END $$",
    );
    ground.ask("CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON runs FOR EACH ROW EXECUTE FUNCTION note()");
    ground.ask("INSERT INTO runs SELECT n, 0, 'new', 'x' FROM generate_series(1, 500) n");
    ground.ask("TRUNCATE counted");
    ground.ask("CREATE PUBLICATION capture FOR TABLE runs");
}

/// Some lives, from the outside: a hundred runs are created, all that are there move, a quarter goes.
const LIVES: &str = "DO $$ BEGIN \
    FOR round IN 1..20 LOOP \
      INSERT INTO runs SELECT (SELECT max(run_id) FROM runs) + n, 0, 'new', repeat('y', 100) FROM generate_series(1, 100) n; COMMIT; \
      UPDATE runs SET seq = seq + 1, status = 'on' WHERE run_id % 20 = round; COMMIT; \
      DELETE FROM runs WHERE run_id % 40 = round; COMMIT; \
    END LOOP; END $$";

const SLOT: &str =
    "SELECT slot_name FROM pg_replication_slots WHERE confirmed_flush_lsn IS NOT NULL";

#[test]
fn a_table_is_followed_by_what_is_written_to_it() {
    let ground = Ground::new(&["wal_level=logical"]);
    with_runs(&ground);
    let decoding = "decoding --publication capture --primary --value state";
    let refused = |arguments: &str, said: &str| {
        let found = ground.capture("none", arguments).unwrap_err();
        assert!(found.contains(said), "{arguments}: {found}");
    };
    refused(
        "decoding --publication nothing --primary --seconds 5",
        "CREATE PUBLICATION \"nothing\" FOR TABLE",
    );
    refused(
        "decoding --publication capture --seconds 5",
        "say --primary",
    );
    refused(
        &format!("{decoding} --seconds 5 --table public.log"),
        "publication capture has not public.log; it has public.runs",
    );

    refused(
        &format!("{decoding} --seconds 5 --run seq"),
        "name the word that ends a run with --kind and --done, or have the owner",
    );
    refused(
        &format!("{decoding} --seconds 5 --run id"),
        "has no column \"id\" that its publication sends; there are run_id, seq, status, state",
    );
    ground.ask("ALTER TABLE runs REPLICA IDENTITY FULL");
    refused(
        &format!("{decoding} --seconds 5"),
        "name the column of the run with --run",
    );
    ground.ask("ALTER TABLE runs REPLICA IDENTITY DEFAULT");

    let child = ground.recording("trace", &format!("{decoding} --seconds 600 --open-runs"));
    // The second time begins with a key that the first has removed.
    ground.ask(LIVES);
    ground.ask(LIVES);
    let returned = "SELECT count(*) FROM (SELECT FROM counted WHERE act = 'INSERT' GROUP BY run_id HAVING count(*) > 1) again";
    assert!(ground.number(returned) > 0);
    ground.is_followed();
    // As somebody does who has seen enough: what was seen is kept.
    stopped(child);
    let made = whole(&ground.out("trace"));
    let count =
        |act: &str| ground.number(&format!("SELECT count(*) FROM counted WHERE act = '{act}'"));
    assert!(count("DELETE") > 100 && count("UPDATE") > 500);
    assert_eq!(made.counts.created, count("INSERT"));
    assert_eq!(made.counts.transition, count("UPDATE"));
    assert_eq!(made.counts.done, count("DELETE"));
    assert_eq!(made.open.at_start, 500);
    assert_eq!(made.open.at_end, ground.number("SELECT count(*) FROM runs"));
    assert!(made.method.contains("it was stopped"), "{}", made.method);
    ground.nothing_left("at its end");

    // Where a word ends a run the removal of its row does not.
    ground.ask("INSERT INTO runs SELECT 1000000 + n, 0, 'done', 'z' FROM generate_series(1, 3) n");
    let there = ground.number("SELECT count(*) FROM runs WHERE status <> 'done'");
    let child = ground.recording(
        "words",
        "decoding --publication capture --primary --open-runs --kind status --done done --seconds 600",
    );
    ground.ask("INSERT INTO runs SELECT -n, 0, 'new', 'z' FROM generate_series(1, 50) n");
    ground.ask("UPDATE runs SET status = 'done' WHERE run_id < -10");
    ground.ask("DELETE FROM runs WHERE run_id < 0");
    // One comes back, and goes on after the word that ended it: nobody can record this again.
    ground.ask("INSERT INTO runs VALUES (-20, 0, 'new', 'z')");
    ground.ask("UPDATE runs SET status = 'done' WHERE run_id = -20");
    ground.ask("UPDATE runs SET status = 'on' WHERE run_id = -20");
    // One is over as soon as it is there, and says so once more; so does one that was over before.
    ground.ask("INSERT INTO runs VALUES (-60, 0, 'done', 'z')");
    ground.ask("UPDATE runs SET seq = 1 WHERE run_id IN (-60, 1000001)");
    // What was over before comes back, goes on, and goes.
    ground.ask("DELETE FROM runs WHERE run_id = 1000002");
    ground.ask("INSERT INTO runs VALUES (1000002, 0, 'new', 'z')");
    ground.ask("UPDATE runs SET status = 'on' WHERE run_id = 1000003");
    ground.is_followed();
    stopped(child);
    let made = whole(&ground.out("words"));
    // The last one was open at the start after all.
    assert_eq!(made.open.at_start, there + 1);
    assert_eq!((made.counts.created, made.counts.done), (53, 41));
    assert_eq!(made.open.at_end, there + 1 + 53 - 41);
    assert_eq!(made.repaired["afterTheEnd"], 2);
    assert_eq!(made.dropped["afterTheEnd"], 2);
    assert_eq!(made.dropped["rowRemoved"], 51);
    assert_eq!(made.dropped.get("outsideWindow"), None);

    // Its time is up by itself.
    let short = format!("{decoding} --seconds 2 --open-runs");
    let made = ground.capture("short", &short).unwrap();
    assert_eq!(made.span_micros, 2_000_000);
    assert_eq!(made.open.at_end, ground.number("SELECT count(*) FROM runs"));
    ground.nothing_left("at its end");
}

/// Whatever happens to it once it runs, nobody can record the same time again.
#[test]
fn a_recording_that_is_cut_off_keeps_what_it_followed() {
    let ground = Ground::new(&["wal_level=logical"]);
    with_runs(&ground);
    for (out, ends, said) in [
        (
            "killed",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'bakeoff capture'",
            "cut off: ",
        ),
        (
            "altered",
            "ALTER TABLE runs DROP COLUMN state; UPDATE runs SET seq = 0",
            "cut off: a column that is followed is no longer sent",
        ),
        (
            "emptied",
            "TRUNCATE runs",
            "cut off: the table was truncated",
        ),
    ] {
        let value = if out == "emptied" {
            ""
        } else {
            " --value state"
        };
        let there = ground.number("SELECT count(*) FROM runs");
        ground.ask("TRUNCATE counted");
        let child = ground.recording(
            out,
            &format!("decoding --publication capture --primary --open-runs --seconds 600{value}"),
        );
        ground.ask(if out == "emptied" {
            "INSERT INTO runs SELECT -n, 0, 'new' FROM generate_series(1, 100) n"
        } else {
            LIVES
        });
        ground.is_followed();
        let count =
            |act: &str| ground.number(&format!("SELECT count(*) FROM counted WHERE act = '{act}'"));
        let acts = (count("INSERT"), count("UPDATE"), count("DELETE"));
        ground.ask(ends);
        let told = ended(child.wait_with_output().unwrap()).unwrap();
        assert!(told.contains("it ended early: "), "{told}");
        let made = whole(&ground.out(out));
        assert!(made.method.contains(said), "{}", made.method);
        assert!(!made.method.contains("public."), "{}", made.method);
        let counts = made.counts;
        assert_eq!(
            (counts.created, counts.transition, counts.done),
            acts,
            "{out}"
        );
        assert_eq!(made.open.at_start, there, "{out}");
        ground.nothing_left("at its end");
    }
}

/// What is found to be missing at the end is lost: the end is looked at first.
#[test]
fn a_folder_that_holds_a_trace_is_refused_before_a_server_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let (file, out) = (folder.path().join("url"), folder.path().join("out"));
    // Nobody listens there.
    std::fs::write(&file, "postgres://u:p@127.0.0.1:1/postgres?sslmode=disable").unwrap();
    std::fs::create_dir(&out).unwrap();
    std::fs::write(out.join("trace.json"), "{}").unwrap();
    let said = |out: &Path, scratch: &Path, arguments: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
        command
            .args(["trace", "capture"])
            .args(arguments.split(' '));
        command.arg("--url-file").arg(&file);
        command.arg("--out").arg(out).arg("--scratch").arg(scratch);
        ended(command.output().unwrap()).unwrap_err()
    };
    for arguments in [
        "table --table log --primary",
        "decoding --publication capture --primary --seconds 5",
    ] {
        let found = said(&out, folder.path(), arguments);
        assert!(
            found.contains("exists: name a folder without a trace"),
            "{found}"
        );
        let found = said(&folder.path().join("new"), &file, arguments);
        assert!(found.contains("File exists"), "{found}");
        let found = said(&folder.path().join("new"), folder.path(), arguments);
        assert!(found.contains("connecting: "), "{found}");
    }
}

/// By a column outside of the replica identity where a word ends the runs, in a publication whose name is none of plain SQL, of a
/// table that gets another name meanwhile.
#[test]
fn what_is_followed_may_be_called_anything() {
    let ground = Ground::new(&["wal_level=logical"]);
    ground.ask("CREATE TABLE jobs (id bigint PRIMARY KEY, name text, status text)");
    ground.ask("INSERT INTO jobs VALUES (1, 'a', 'new'), (2, NULL, 'new'), (3, 'over', 'done')");
    ground.ask("CREATE PUBLICATION \"Runs of mine\" FOR TABLE jobs");
    let arguments =
        "decoding --primary --open-runs --run name --kind status --done done --seconds 600";
    let mut command = ground.command("trace", arguments);
    let child = ground.follows(command.args(["--publication", "Runs of mine"]));
    ground.ask("INSERT INTO jobs VALUES (10, 'b', 'new'), (11, NULL, 'new'), (12, 'c', 'done')");
    // Of the row before the key is known, and not the run.
    ground.ask("UPDATE jobs SET id = 100 WHERE name = 'a'");
    ground.ask("UPDATE jobs SET status = 'done' WHERE name = 'b'");
    ground.ask("UPDATE jobs SET status = 'done' WHERE name = 'over'");
    ground.ask("CREATE TABLE others (id bigint PRIMARY KEY)");
    ground.ask("ALTER PUBLICATION \"Runs of mine\" ADD TABLE others");
    ground.ask("INSERT INTO others VALUES (1)");
    ground.ask("ALTER TABLE jobs RENAME TO tasks");
    ground.ask("UPDATE tasks SET status = 'on' WHERE name = 'a'");
    ground.ask("DELETE FROM tasks");
    ground.is_followed();
    stopped(child);
    let made = whole(&ground.out("trace"));
    let counts = &made.counts;
    assert_eq!((counts.created, counts.transition, counts.done), (2, 2, 2));
    assert_eq!((made.open.at_start, made.open.at_end), (1, 1));
    assert_eq!(made.dropped["noRun"], 2);
    assert_eq!(made.dropped["afterTheEnd"], 1);
    assert_eq!(made.dropped["rowRemoved"], 6);
}

/// A key is told by the same words when it is read and when it changes, of whichever types it is.
#[test]
fn a_run_that_is_there_is_the_one_that_changes() {
    let ground = Ground::new(&["wal_level=logical"]);
    ground.ask("CREATE TABLE runs (a char(8), b boolean, c inet, seq int, note text, PRIMARY KEY (a, b, c) INCLUDE (note))");
    ground.ask("INSERT INTO runs SELECT 'r' || n, n % 2 = 0, '10.0.0.1', 0, 'x' FROM generate_series(1, 10) n");
    ground.ask("CREATE PUBLICATION capture FOR TABLE runs");
    let decoding = "decoding --publication capture --primary --open-runs --seconds 600";
    let child = ground.recording("trace", decoding);
    ground.ask("UPDATE runs SET seq = 1 WHERE b");
    ground.ask("DELETE FROM runs WHERE NOT b");
    ground.is_followed();
    stopped(child);
    let made = whole(&ground.out("trace"));
    let counts = &made.counts;
    assert_eq!((counts.created, counts.transition, counts.done), (0, 5, 5));
    assert_eq!((made.open.at_start, made.open.at_end), (10, 5));
}

/// The end of the time is read as well, although no commit waits for the log and the log is written late.
#[test]
fn what_is_committed_last_is_no_silence() {
    let ground = Ground::new(&[
        "wal_level=logical",
        "synchronous_commit=off",
        "wal_writer_delay=10s",
    ]);
    with_runs(&ground);
    // Less than until the log is written by itself.
    let decoding = "decoding --publication capture --primary --open-runs --seconds 9";
    // Once it reads it knows when it began.
    let reads = "SELECT extract(epoch FROM backend_start)::text FROM pg_stat_activity \
        WHERE application_name = 'bakeoff capture' AND query ~ 'get_binary_changes|restart_lsn'";
    let inserts = "DO $$ BEGIN FOR n IN 1..20 LOOP INSERT INTO runs VALUES (-n, 0, 'new', 'x'); COMMIT; END LOOP; END $$";
    // A machine that is busy may need longer than that to get as far.
    let made = (0..10).find_map(|attempt| {
        ground.ask("DELETE FROM runs WHERE run_id < 0");
        let out = format!("trace-{attempt}");
        let mut child = ground.begun(&out, decoding);
        let mut began = None;
        while began.is_none() && child.try_wait().unwrap().is_none() {
            began = ground.ask(reads).pop();
        }
        let began = began.unwrap_or_default();
        ground.ask(inserts);
        let within = format!("SELECT 1 WHERE extract(epoch FROM clock_timestamp()) < 0{began} + 9");
        let in_time = !ground.ask(&within).is_empty();
        ended(child.wait_with_output().unwrap()).unwrap();
        in_time.then(|| whole(&ground.out(&out)))
    });
    let made = made.expect("not once within nine seconds");
    assert_eq!((made.counts.created, made.span_micros), (20, 9_000_000));
    assert!(!made.method.contains("cut off"), "{}", made.method);
}

/// A transaction that stays open has the server keep its log, for as long as somebody follows it.
#[test]
fn a_recording_ends_before_the_server_keeps_too_much_for_it() {
    let ground = Ground::new(&["wal_level=logical", "log_min_messages=warning"]);
    with_runs(&ground);
    let mut child = ground.begun(
        "lag",
        "decoding --publication capture --primary --seconds 600 --most-lag-megabytes 8",
    );
    ground.waits_for("no slot was made", SLOT);
    ground.is_followed();
    ground.ask(LIVES);
    ground.is_followed();
    // Two in one session each: the first is open for as long as the recording runs.
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            ground.ask(
                "DO $$ BEGIN INSERT INTO counted VALUES ('open', 0); \
                 WHILE NOT EXISTS (SELECT FROM counted WHERE act = 'over') LOOP PERFORM pg_sleep(0.05); END LOOP; END $$",
            );
        });
        threads.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                ground.ask("CREATE TABLE other AS SELECT repeat(md5(n::text), 20) t FROM generate_series(1, 20000) n; DROP TABLE other");
            }
        });
        let ended = child.wait().unwrap();
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        ground.ask("INSERT INTO counted VALUES ('over', 0)");
        assert!(ended.success());
    });
    let made = whole(&ground.out("lag"));
    assert!(
        made.method.contains("cut off: the server had to keep"),
        "{}",
        made.method
    );
    assert!(made.counts.created >= 2_000, "{:?}", made.counts);
    ground.nothing_left("at its end");
}

/// Tells it to end; it has to, and well.
fn stopped(child: Child) {
    signal("-TERM", &child);
    ended(child.wait_with_output().unwrap()).unwrap();
}

fn signal(name: &str, child: &Child) {
    let pid = child.id().to_string();
    let told = Command::new("kill").args([name, &pid]).status();
    assert!(told.unwrap().success());
}

/// One that cannot keep up hears that it is to end, and its trace ends where it had read to: what it did not read is no silence.
#[test]
fn a_recording_that_is_behind_can_be_stopped_and_ends_where_it_is() {
    let ground = Ground::new(&["wal_level=logical"]);
    with_runs(&ground);
    ground.ask("ALTER TABLE runs DISABLE TRIGGER note");
    let child = ground.begun(
        "behind",
        "decoding --publication capture --primary --seconds 600 --most-lag-megabytes 4000",
    );
    ground.waits_for("no slot was made", SLOT);
    signal("-STOP", &child);
    let read = ground.ask("SELECT confirmed_flush_lsn::text FROM pg_replication_slots");
    ground.ask(
        "DO $$ BEGIN FOR round IN 1..25 LOOP \
           INSERT INTO runs SELECT round * 100000 + n, 0, 'new', 'x' FROM generate_series(1, 20000) n; COMMIT; \
           PERFORM pg_sleep(0.1); COMMIT; \
         END LOOP; END $$",
    );
    signal("-CONT", &child);
    ground.waits_for(
        "nothing was read",
        &format!(
            "SELECT 1 FROM pg_replication_slots WHERE confirmed_flush_lsn > '{}'::pg_lsn + 1000000",
            read[0]
        ),
    );
    stopped(child);
    let folder = ground.out("behind");
    let made = whole(&folder);
    assert!(made.method.contains("it was stopped"), "{}", made.method);
    let created = made.counts.created;
    assert!((1..500_000).contains(&created), "{created}");
    assert_eq!(created % 20_000, 0, "transactions are read whole");
    let mut trace = Trace::open(&folder).unwrap();
    let last = trace.events().unwrap().last().unwrap().unwrap();
    assert!(
        made.span_micros - last.at_micros < 1_000,
        "the last commit at {} of {}",
        last.at_micros,
        made.span_micros
    );
    ground.nothing_left("at its end");
}

/// What is there at the start is told as of one moment, while others write and no commit waits for the log.
#[test]
fn runs_that_are_there_are_told_while_others_write() {
    let ground = Ground::new(&[
        "wal_level=logical",
        "synchronous_commit=off",
        "wal_writer_delay=500ms",
    ]);
    with_runs(&ground);
    let done = std::sync::atomic::AtomicBool::new(false);
    let made = std::thread::scope(|threads| {
        let writing = threads.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                ground.ask(LIVES);
            }
        });
        ground.waits_for("nobody writes", "SELECT 1 FROM counted LIMIT 1");
        let child = ground.begun(
            "trace",
            "decoding --publication capture --primary --open-runs --seconds 600",
        );
        ground.waits_for("no slot was made", SLOT);
        // What was there is read after what was written until then, and before what is written from then on.
        ground.is_followed();
        ground.is_followed();
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        writing.join().unwrap();
        ground.is_followed();
        stopped(child);
        whole(&ground.out("trace"))
    });
    assert!(
        made.open.at_start >= 500 && made.counts.created > 0,
        "{made:?}"
    );
    assert_eq!(made.open.at_end, ground.number("SELECT count(*) FROM runs"));
}

#[test]
fn a_server_without_logical_decoding_is_told_so() {
    let ground = Ground::new(&[]);
    with_runs(&ground);
    let said = ground
        .capture(
            "none",
            "decoding --publication capture --primary --seconds 5",
        )
        .unwrap_err();
    assert!(said.contains("wal_level of the server is replica: logical decoding needs logical, which takes a restart"), "{said}");
    ground.nothing_left("never");
}

/// The process is gone in an instant, wherever it was; the server is as it was.
#[test]
fn a_capture_that_is_killed_leaves_nothing_on_the_server() {
    let ground = Ground::new(&["wal_level=logical"]);
    with_runs(&ground);
    let killed = |child: &mut Child| {
        let _ = child.kill();
        let _ = child.wait();
    };
    let decoding = "decoding --publication capture --primary --open-runs --seconds 60";
    let slow = ground.out("slow.sql");
    std::fs::write(&slow, "SELECT n AS run, now() + n * interval '1s' AS time FROM generate_series(1, 1000) n, pg_sleep(60)").unwrap();
    let query = format!("query --query-file {} --primary", slow.display());
    for (round, wait) in [0, 30, 60, 120, 250, 500, 1_000, 2_000]
        .into_iter()
        .enumerate()
    {
        for (kind, arguments) in [("decoding", decoding), ("query", &query)] {
            let mut child = ground.begun(&format!("{kind}{round}"), arguments);
            std::thread::sleep(Duration::from_millis(wait));
            killed(&mut child);
            ground.nothing_left(&format!("{wait} ms into {kind}"));
            assert!(
                !ground
                    .out(&format!("{kind}{round}"))
                    .join("trace.json")
                    .exists()
            );
        }
    }
    // With certainty while the slot is there, and while the query runs.
    let mut child = ground.begun("slot", decoding);
    ground.waits_for("no slot was made", SLOT);
    killed(&mut child);
    ground.nothing_left("with a slot");
    let mut child = ground.begun("running", &query);
    ground.waits_for("no query ran", "SELECT 1 FROM pg_stat_activity WHERE application_name = 'bakeoff capture' AND query LIKE 'COPY%' AND state = 'active'");
    killed(&mut child);
    ground.nothing_left("with a query");
}

/// What `headRow` does is captured from its table and replayed: as many operations a second, as many open runs, the same mix.
#[test]
fn a_run_of_head_row_is_captured_and_replayed_as_it_was() {
    let ground = Ground::new(&["wal_level=logical", "synchronous_commit=off"]);
    let on = backend(&ground.server);
    let head = json!({"name": "head", "headRow": {
        "activeRuns": [1_000], "fillfactor": [100], "sleeperPercent": 10, "minTransitions": 2, "maxTransitions": 6,
        "load": {"open": {"ratePerSecond": [200], "maxInFlight": 8}}}});
    let trials = json!({"blocks": 1, "warmupSeconds": 1, "windowSeconds": 25, "drainSeconds": 10});
    let head = plan(head, trials, &on);
    std::fs::create_dir_all(ground.out("traces")).unwrap();
    let (recorded, trace) = std::thread::scope(|threads| {
        let ran = threads.spawn(|| measured(head, on, &|_| {}));
        ground.waits_for(
            "nothing moves",
            "SELECT 1 FROM pg_stat_user_tables WHERE schemaname = 'bakeoff' AND n_tup_upd > 100",
        );
        ground.ask("CREATE PUBLICATION capture FOR TABLE bakeoff.runs");
        let decoding = "decoding --publication capture --table bakeoff.runs --primary --open-runs --seconds 12";
        let trace = ground.capture("traces/t", decoding).unwrap();
        (ran.join().unwrap().records.remove(0), trace)
    });
    assert_eq!(recorded.load.failed, 0, "{:?}", recorded.load);

    let on = backend(&ground.server);
    let again = json!({"name": "again", "replay": {"trace": {"path": "t"}, "speedPercent": [100], "connections": 8}});
    let trials = json!({"blocks": 1, "warmupSeconds": 1, "windowSeconds": 10, "drainSeconds": 10});
    let mut again = plan(again, trials, &on);
    again.results.bucket = ground.folder.path().to_str().unwrap().to_owned();
    let replayed = measured(again, on, &|_| {}).records.remove(0);
    let load = &replayed.load;
    assert_eq!(
        (load.completed, load.orphaned),
        (load.planned, 0),
        "{load:?}"
    );
    // What the trace has of the window, to the last one; and it has as many a second as there were, but for what a busy machine
    // put off for a while.
    let options = PlanOptions {
        speed: Ratio::new(1, 1).unwrap(),
        copies: 1,
        shift: Shift::Spread,
    };
    let mut planned = Plan::open(Trace::open(&ground.out("traces/t")).unwrap(), options).unwrap();
    let planned = planned
        .window(1_000_000_000, 11_000_000_000)
        .unwrap()
        .count();
    assert_eq!(load.planned, planned as i64);
    let (was, is) = (recorded.load.achieved_per_second, load.achieved_per_second);
    assert!(
        (0.75..1.33).contains(&(is / was)),
        "{was} a second, then {is}"
    );
    let open = replayed.figures[&Figure::OpenRunsMean];
    assert!((950.0..1_050.0).contains(&open), "{open}, {:?}", trace.open);
    for kind in ["create", "transition", "complete"] {
        let share = |record: &TrialRecord| {
            let count = |kind: &str| record.operations[kind].count as f64;
            count(kind) / count("operation")
        };
        let (was, is) = (share(&recorded), share(&replayed));
        assert!((was - is).abs() < 0.04, "{kind}: {was} of all, then {is}");
    }
}
