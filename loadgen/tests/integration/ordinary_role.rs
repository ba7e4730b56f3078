//! An external Postgres server on which the user is nobody special, or which is not as it should be.

use crate::external_postgres::{asked, carried_out, resolved, secret, url};
use crate::support;
use crate::support::postgres::Postgres;
use crate::support::{KEY, SECRET, runner, runtime};
use bakeoff_crds::figure::Figure;
use bakeoff_crds::result::{HorizonHolder, TrialRecord, Verdict};
use bakeoff_crds::run::Manifest;
use bakeoff_crds::spec::ExperimentSpec;
use bakeoff_loadgen::run::{self, Backend, RunError};
use bakeoff_loadgen::workloads;
use serde_json::json;

/// A role that may make a schema, and nothing else.
fn with_role(server: &Postgres) -> Backend {
    let role = format!("CREATE ROLE bench LOGIN PASSWORD '{SECRET}'");
    asked(server, &role);
    asked(server, "GRANT CREATE ON DATABASE postgres TO bench");
    as_role(server)
}

fn as_role(server: &Postgres) -> Backend {
    let url = url(server, "127.0.0.1", "disable").replace(&format!("{KEY}:"), "bench:");
    let folder = secret(&url, None);
    Backend::of_url(resolved(server, &folder, "u")).unwrap()
}

/// Heads of rows for a moment, within so many seconds of patience.
pub fn tried(backend: &Backend, patience: i32) -> Result<(TrialRecord, Manifest), RunError> {
    let mut plan = runner::plan(
        json!({"name": "head", "headRow": {"activeRuns": [1_000], "fillfactor": [90], "stateBytes": 100,
               "load": {"closed": {"concurrency": [2]}}}}),
        json!({"blocks": 1, "warmupSeconds": 1, "windowSeconds": 4}),
        backend,
    );
    plan.backends[0].endpoint = String::new();
    plan.spec.backends[0].name = "theirs".into();
    plan.spec.limits.provision_seconds = patience;
    plan.spec.validity.repeat_budget = 0;
    let (records, manifest) = carried_out(backend, plan);
    Ok((records?.remove(0), manifest.unwrap()))
}

fn measured(backend: &Backend) -> (TrialRecord, Manifest) {
    let (record, manifest) = tried(backend, 60).unwrap();
    assert_eq!(record.verdict, Verdict::Valid);
    (record, manifest)
}

fn refused(backend: &Backend, reason: &str) -> String {
    let error = tried(backend, 5).unwrap_err();
    assert_eq!(error.reason(), reason, "{error}");
    error.to_string()
}

#[test]
fn pgstattuple_is_asked_for_before_anything_is_measured() {
    let server = Postgres::start(&[]);
    let backend = with_role(&server);
    let missing = refused(&backend, "ExtensionMissing");
    let mend = "CREATE EXTENSION pgstattuple; GRANT pg_stat_scan_tables TO \"bench\";";
    assert!(missing.contains(mend), "{missing}");
    assert!(!missing.contains(SECRET));
    // Wherever it is, and whatever the search path.
    asked(&server, "CREATE SCHEMA \"My extensions\"");
    asked(
        &server,
        "CREATE EXTENSION pgstattuple SCHEMA \"My extensions\"",
    );
    let forbidden = refused(&backend, "ExtensionForbidden");
    let (_, mend) = forbidden.split_once("run there: ").unwrap();
    assert_eq!(mend.matches("GRANT").count(), 2, "{mend}");
    asked(&server, mend);
    let (record, manifest) = measured(&backend);
    assert!(record.figures.contains_key(&Figure::TableBloatPercent));
    // What the role does not see is absent and no 0, and what mends it is named; what it sees stays.
    for unseen in [
        Figure::OldestTransactionMillis,
        Figure::LockWaitsPeak,
        Figure::HorizonAgeMost,
    ] {
        assert!(!record.figures.contains_key(&unseen), "{unseen}");
    }
    for seen in [
        Figure::HotPercent,
        Figure::WalBytesPerUpdate,
        Figure::Checkpoints,
    ] {
        assert!(record.figures.contains_key(&seen), "{seen}");
    }
    let caveats = manifest.plan.backends[0].caveats.join("\n");
    for grant in [
        "GRANT pg_read_all_stats TO \"bench\";",
        "GRANT pg_checkpoint TO \"bench\";",
    ] {
        assert!(caveats.contains(grant), "{caveats}");
    }
    // With the rights there is nothing to say.
    asked(&server, "GRANT pg_read_all_stats, pg_checkpoint TO bench");
    let (record, manifest) = measured(&backend);
    for figure in [Figure::OldestTransactionMillis, Figure::HorizonAgeMost] {
        assert!(record.figures.contains_key(&figure), "{figure}");
    }
    let caveats = manifest.plan.backends[0].caveats.join("\n");
    assert!(!caveats.contains("GRANT"), "{caveats}");
}

#[test]
fn what_the_generator_brought_goes_with_its_schema() {
    let server = Postgres::start(&[]);
    let folder = secret(&url(&server, "127.0.0.1", "disable"), None);
    let backend = Backend::of_url(resolved(&server, &folder, "u")).unwrap();
    measured(&backend);
    let cleaned = runtime().block_on(run::cleanup(
        std::slice::from_ref(&backend),
        std::time::Duration::ZERO,
    ));
    assert_eq!(cleaned.unwrap(), 1);
    let left = asked(
        &server,
        "SELECT extname FROM pg_extension WHERE extname = 'pgstattuple'",
    );
    assert!(left.is_empty());
}

/// Each statement that begins to fill an empty table of runs takes half a second, on a machine however fast.
fn slow_to_load(server: &Postgres) {
    asked(
        server,
        "CREATE FUNCTION public.wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           IF NOT EXISTS (SELECT FROM bakeoff.runs) THEN PERFORM pg_sleep(0.5); END IF; RETURN NULL; END $$",
    );
    asked(
        server,
        "CREATE FUNCTION public.slow() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
           IF to_regclass('bakeoff.runs') IS NOT NULL AND NOT EXISTS
             (SELECT FROM pg_trigger WHERE tgrelid = 'bakeoff.runs'::regclass AND tgname = 'wait') THEN
             CREATE TRIGGER wait BEFORE INSERT ON bakeoff.runs FOR EACH STATEMENT EXECUTE FUNCTION public.wait();
           END IF; END $$",
    );
    asked(
        server,
        "CREATE EVENT TRIGGER slow ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION public.slow()",
    );
}

#[test]
fn limits_of_the_role_do_not_cut_off_what_is_long() {
    let server = Postgres::start(&[]);
    let backend = with_role(&server);
    asked(&server, "CREATE EXTENSION pgstattuple");
    asked(&server, "GRANT pg_stat_scan_tables TO bench");
    slow_to_load(&server);
    // Loading takes longer than the short ones. A session that was just opened is idle until it lifts them, on a busy machine for
    // longer than a moment.
    let limits = [
        ("statement_timeout", "300ms"),
        ("lock_timeout", "300ms"),
        ("idle_in_transaction_session_timeout", "2s"),
        ("idle_session_timeout", "2s"),
        ("transaction_timeout", "300ms"),
    ];
    for (limit, most) in limits {
        // Version 16 does not know the last.
        asked(
            &server,
            &format!(
                "DO $$ BEGIN ALTER ROLE bench SET {limit} = '{most}'; \
            EXCEPTION WHEN undefined_object THEN NULL; END $$"
            ),
        );
    }
    let (record, manifest) = tried(&backend, 60).unwrap();
    assert_eq!(record.verdict, Verdict::Valid);
    let settings = &manifest.plan.backends[0].settings;
    assert!(
        settings["statement_timeout"].contains("300 ms otherwise"),
        "{settings:?}"
    );
    // Nothing need be idle for so long within these seconds: each is said to have been lifted.
    for (limit, _) in &limits[..4] {
        let said = &settings[*limit];
        assert!(said.starts_with("0 in the sessions"), "{limit}: {said}");
    }
}

#[test]
fn connections_are_counted_before_the_start() {
    let server = Postgres::start(&["max_connections=20"]);
    let backend = with_role(&server);
    asked(&server, "ALTER ROLE bench CONNECTION LIMIT 4");
    let said = refused(&backend, "ConnectionsTooFew");
    assert!(
        said.contains("needs 5 connections") && said.contains("4 are free"),
        "{said}"
    );
    assert!(
        said.contains("ALTER ROLE \"bench\" CONNECTION LIMIT -1"),
        "{said}"
    );
    asked(&server, "ALTER ROLE bench CONNECTION LIMIT -1");
    asked(&server, "ALTER DATABASE postgres CONNECTION LIMIT 4");
    let said = refused(&backend, "ConnectionsTooFew");
    assert!(said.contains("ALTER DATABASE \"postgres\""), "{said}");
    asked(&server, "ALTER DATABASE postgres CONNECTION LIMIT -1");
    asked(&server, "ALTER SYSTEM SET reserved_connections = 13");
    drop(server);
    let small = Postgres::start(&["max_connections=20", "reserved_connections=13"]);
    let said = refused(&with_role(&small), "ConnectionsTooFew");
    assert!(
        said.contains("max_connections 20, of which 16 are reserved"),
        "{said}"
    );
}

/// An open load of two generators with 256 operations in flight each, on a server as the operator makes one for it: all of its
/// connections are had at once.
#[test]
fn a_server_that_is_made_for_a_load_takes_its_connections() {
    let load = json!({"name": "head", "headRow": {
        "load": {"open": {"ratePerSecond": [100], "maxInFlight": 256}}}});
    let spec: ExperimentSpec = serde_json::from_value(json!({
        "backends": [{"name": "pg", "postgres": {"version": "18.4"}}],
        "generators": {"replicas": 2}, "workloads": [load]}))
    .unwrap();
    let asked_of = |most: usize| {
        let server = Postgres::start(&[&format!("max_connections={most}")]);
        // It answers.
        asked(&server, "SELECT 1");
        let own = Backend::new(server.resolved("own"), support::credentials()).unwrap();
        let needs = workloads::needs(&spec, 2);
        runtime().block_on(own.access.driver().prerequisites(needs))
    };
    asked_of(spec.max_connections()).unwrap();
    let said = asked_of(300).unwrap_err().to_string();
    assert!(said.contains("needs 515 connections"), "{said}");
}

#[test]
fn a_server_that_takes_no_writes_is_said_to_be_one() {
    let server = Postgres::start(&[]);
    let backend = with_role(&server);
    asked(
        &server,
        "ALTER ROLE bench SET default_transaction_read_only = on",
    );
    let said = tried(&backend, 30).unwrap_err();
    assert_eq!(said.reason(), "EndpointReadOnly", "{said}");
    assert!(
        said.to_string().contains("default_transaction_read_only"),
        "{said}"
    );

    let standby = Postgres::start_standby();
    // It answers.
    asked(&standby, "SELECT 1");
    let folder = secret(&url(&standby, "127.0.0.1", "disable"), None);
    let backend = Backend::of_url(resolved(&standby, &folder, "u")).unwrap();
    let said = refused(&backend, "EndpointReadOnly");
    assert!(said.contains("is a standby"), "{said}");
    // One that is promoted meanwhile was worth waiting for.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(std::time::Duration::from_secs(3));
            asked(&standby, "SELECT pg_promote()");
        });
        measured(&backend);
    });
}

/// Makes whatever is there older by two thousand transactions, which the load beside it need not do in its few seconds.
const AGED: &str =
    "DO $$ BEGIN FOR n IN 1..2000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$";

#[test]
fn who_keeps_dead_rows_from_being_removed_is_named() {
    let server = Postgres::start(&["max_prepared_transactions=5"]);
    let folder = secret(&url(&server, "127.0.0.1", "disable"), None);
    let backend = Backend::of_url(resolved(&server, &folder, "u")).unwrap();
    let (record, _) = measured(&backend);
    assert_eq!(record.horizon, None);
    asked(&server, "CREATE TABLE t (a int)");
    asked(
        &server,
        "BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION 'left open'",
    );
    asked(&server, AGED);
    let (record, _) = measured(&backend);
    let held = record.horizon.unwrap();
    assert_eq!(held.kind, HorizonHolder::PreparedTransaction);
    assert_eq!(held.name, "left open");
    assert!(held.age > 1_000, "{}", held.age);
    assert!(record.figures[&Figure::HorizonAgeMost] >= held.age as f64);
}

/// It keeps rows of the catalogue, and none of the measured tables.
#[test]
fn a_logical_slot_holds_nothing_of_the_tables() {
    let server = Postgres::start(&["wal_level=logical"]);
    let folder = secret(&url(&server, "127.0.0.1", "disable"), None);
    let backend = Backend::of_url(resolved(&server, &folder, "u")).unwrap();
    asked(
        &server,
        "SELECT pg_create_logical_replication_slot('theirs', 'pgoutput')",
    );
    asked(&server, AGED);
    let (record, _) = measured(&backend);
    assert_eq!(record.horizon, None);
    let held = asked(
        &server,
        "SELECT (age(catalog_xmin) > 1000)::text FROM pg_replication_slots",
    );
    assert_eq!(held, ["true"], "the slot was as old as a holder is");
}

#[test]
fn a_server_without_the_contrib_modules_is_said_to_lack_them() {
    // From 18 on a server can be made to look for them elsewhere.
    let server = Postgres::start(&["extension_control_path=/nowhere"]);
    let said = refused(&with_role(&server), "ExtensionMissing");
    assert!(
        said.contains("no package of the extension pgstattuple")
            && said.contains("install the contrib modules"),
        "{said}"
    );
}

/// A view of the same name, before the server's own in the search path, lacks columns as those of forks do.
#[test]
fn a_view_without_a_column_costs_only_the_figures_made_of_it() {
    let server = Postgres::start(&[]);
    let backend = with_role(&server);
    asked(&server, "CREATE EXTENSION pgstattuple");
    asked(
        &server,
        "GRANT pg_stat_scan_tables, pg_read_all_stats, pg_checkpoint TO bench",
    );
    asked(
        &server,
        "CREATE SCHEMA fork; GRANT USAGE ON SCHEMA fork TO bench",
    );
    for view in [
        "pg_stat_checkpointer",
        "pg_stat_bgwriter",
        "pg_stat_progress_vacuum",
    ] {
        asked(
            &server,
            &format!(
                "CREATE VIEW fork.{view} AS SELECT 1 AS other; GRANT SELECT ON fork.{view} TO bench"
            ),
        );
    }
    asked(
        &server,
        "CREATE FUNCTION fork.pg_current_wal_lsn() RETURNS pg_lsn LANGUAGE plpgsql AS \
        $$ BEGIN RAISE 'not here' USING ERRCODE = 'feature_not_supported'; END $$",
    );
    asked(
        &server,
        "ALTER ROLE bench SET search_path = fork, pg_catalog",
    );
    let (record, manifest) = measured(&backend);
    for lost in [Figure::Checkpoints, Figure::WalBytesPerUpdate] {
        assert!(!record.figures.contains_key(&lost), "{lost}");
    }
    for kept in [
        Figure::HotPercent,
        Figure::OldestTransactionMillis,
        Figure::CacheHitPercent,
    ] {
        assert!(record.figures.contains_key(&kept), "{kept}");
    }
    let caveats = manifest.plan.backends[0].caveats.join("\n");
    assert!(
        caveats.contains("does not tell: bytes of WAL, checkpoints, ")
            && caveats.contains("whether autovacuum is at the table"),
        "{caveats}"
    );
}
