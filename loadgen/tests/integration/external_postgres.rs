//! A Postgres server that was there before, by the URL in a Secret. Needs BAKEOFF_POSTGRES, as `postgres.rs` does, and
//! `openssl` for the certificates.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use crate::support;
use crate::support::postgres::Postgres;
use crate::support::{KEY, SECRET, runner, runtime};
use bakeoff_crds::result::{InvalidCode, TrialRecord, Verdict};
use bakeoff_crds::run::{Manifest, ResolvedBackend, RunPlan};
use bakeoff_loadgen::failure::FailureClass;
use bakeoff_loadgen::run::control::Control;
use bakeoff_loadgen::run::{self, Backend, Run, RunError};
use bakeoff_loadgen::store::Store;
use serde_json::json;
use tokio::sync::watch;

/// The folder of a Secret with this URL, as it is mounted.
pub fn secret(url: &str, authorities: Option<&Path>) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("url"), format!("{url}\n")).unwrap();
    if let Some(file) = authorities {
        std::fs::copy(file, folder.path().join("ca.crt")).unwrap();
    }
    folder
}

/// As the operator describes it.
pub fn resolved(server: &Postgres, secret: &tempfile::TempDir, uid: &str) -> ResolvedBackend {
    ResolvedBackend {
        endpoint: String::new(),
        bucket: String::new(),
        prefix: format!("bakeoff/{uid}"),
        credentials_dir: secret.path().display().to_string(),
        provisioned: false,
        ..server.resolved("theirs")
    }
}

pub fn url(server: &Postgres, host: &str, mode: &str) -> String {
    let port = server.resolved("x").endpoint;
    let port = port.rsplit_once(':').unwrap().1.to_owned();
    format!("postgres://{KEY}:{SECRET}@{host}:{port}/postgres?sslmode={mode}")
}

/// A short race, with the heads of rows beside it, which take the other way to the server. The warm-up is there for the
/// connections, which take their time to be encrypted and signed in on a machine that is busy.
fn plan(backend: &Backend, window: i32) -> RunPlan {
    let mut plan = runner::plan(
        json!({"name": "race", "casRace": {"writers": 2, "modes": ["Guarded"]}}),
        json!({"blocks": 1, "warmupSeconds": 1, "windowSeconds": window}),
        backend,
    );
    let head = json!({"name": "head", "headRow": {
        "activeRuns": [1_000], "fillfactor": [90], "load": {"closed": {"concurrency": [2]}}}});
    plan.spec
        .workloads
        .push(serde_json::from_value(head).unwrap());
    plan.backends[0].endpoint = String::new();
    plan.spec.backends[0].name = "theirs".into();
    // On port 1 nobody listens, however long one waits.
    let nowhere = backend.resolved.endpoint.ends_with(":1");
    plan.spec.limits.provision_seconds = if nowhere { 5 } else { 60 };
    plan.spec.validity.repeat_budget = 0;
    plan
}

pub type Measured = (Result<Vec<TrialRecord>, RunError>, Option<Manifest>);

pub fn measured(backend: &Backend) -> Measured {
    let empty = |record: &TrialRecord| match &record.verdict {
        Verdict::Valid => false,
        Verdict::Invalid(reasons) => reasons
            .iter()
            .any(|reason| reason.code == InvalidCode::NoOperations),
    };
    let enough = |ran: &Measured| ran.0.as_ref().map_or(true, |all| !all.iter().any(empty));
    runner::given_time(1, |window| measured_for(backend, window), enough)
}

fn measured_for(backend: &Backend, window: i32) -> Measured {
    carried_out(backend, plan(backend, window))
}

/// Carries out a plan on a server that was there before.
pub fn carried_out(backend: &Backend, plan: RunPlan) -> Measured {
    let folder = tempfile::tempdir().unwrap();
    let records = std::cell::RefCell::new(Vec::new());
    let (_sender, stop) = watch::channel(false);
    let mut run = Run {
        plan,
        backends: vec![backend.clone()],
        lock: None,
        traces: Default::default(),
        store: Store::Folder(folder.path().into()),
        index: 0,
        generators: 1,
        node: String::new(),
        control: Arc::new(Control::default()),
        stop,
    };
    let ended = runtime().block_on(run.lead(&|record| records.borrow_mut().push(record.clone())));
    let manifest = std::fs::read(folder.path().join("manifest.json")).ok();
    let manifest = manifest.map(|bytes| serde_json::from_slice(&bytes).unwrap());
    (ended.map(|_| records.into_inner()), manifest)
}

/// Asks the server as its owner, and in clear.
pub fn asked(server: &Postgres, sql: &str) -> Vec<String> {
    let own = Backend::new(server.resolved("own"), support::credentials()).unwrap();
    let connector = own.access.postgres().unwrap().clone();
    runtime().block_on(async {
        // It may have been started a moment ago.
        let client = loop {
            match connector.connect().await {
                Ok(client) => break client,
                Err(failure) if failure.class == FailureClass::Connect => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(failure) => panic!("{failure}"),
            }
        };
        let rows = client.simple_query(sql).await.unwrap();
        rows.into_iter()
            .filter_map(|message| match message {
                tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                _ => None,
            })
            .collect()
    })
}

const SCHEMAS: &str = "SELECT nspname FROM pg_namespace WHERE nspname = 'bakeoff'";

#[test]
fn its_schema_is_made_measured_in_and_dropped_and_a_foreign_one_is_left_alone() {
    let server = Postgres::start(&["work_mem=5MB"]);
    let folder = secret(&url(&server, "127.0.0.1", "disable"), None);
    let backend = Backend::of_url(resolved(&server, &folder, "first")).unwrap();
    let (records, manifest) = measured(&backend);
    let records = records.unwrap();
    let found: Vec<_> = records.iter().map(|record| &record.findings).collect();
    assert_eq!(records.len(), 2, "{found:?}");
    for record in &records {
        assert_eq!(record.verdict, Verdict::Valid, "{}", record.trial.workload);
    }
    // What the plan did not know stands in the manifest, and the password nowhere.
    let manifest = manifest.unwrap();
    let at = &manifest.plan.backends[0];
    assert_eq!(at.endpoint, server.resolved("x").endpoint);
    assert_eq!(
        (at.bucket.as_str(), at.settings["sslmode"].as_str()),
        ("postgres", "disable")
    );
    assert_eq!(at.settings["work_mem"], "5MB");
    assert!(at.settings.contains_key("server_version"));
    assert!(
        at.durability.text.contains("is flushed"),
        "{:?}",
        at.durability
    );
    assert!(!serde_json::to_string(&manifest).unwrap().contains(SECRET));
    assert_eq!(asked(&server, SCHEMAS), ["bakeoff"]);

    // Another run meets a schema that is not its own: it neither works in it nor drops it.
    let other = Backend::of_url(resolved(&server, &folder, "second")).unwrap();
    let error = measured(&other).0.unwrap_err();
    assert_eq!(error.reason(), "SchemaTaken");
    assert!(!error.retryable());
    assert!(error.to_string().contains("bakeoff/first"), "{error}");
    let cleaned = runtime().block_on(run::cleanup(std::slice::from_ref(&other), Duration::ZERO));
    assert_eq!(cleaned.unwrap(), 0);
    assert_eq!(asked(&server, SCHEMAS), ["bakeoff"]);

    // The first one may go on, and leaves nothing.
    assert_eq!(measured(&backend).0.unwrap().len(), 2);
    let clean = |patience| {
        let backends = std::slice::from_ref(&backend);
        runtime().block_on(run::cleanup(backends, patience))
    };
    // A server that is away for a while is waited for, as long as there is patience.
    let (pid, again) = (server.pid(), server.again());
    support::postgres::kill(pid);
    let away = clean(Duration::ZERO).unwrap_err();
    assert!(away.retryable(), "{away}");
    let _second = std::thread::scope(|scope| {
        let restarted = scope.spawn(move || {
            std::thread::sleep(Duration::from_secs(2));
            again.when_gone(pid)
        });
        assert_eq!(clean(Duration::from_secs(300)).unwrap(), 1);
        restarted.join().unwrap()
    });
    assert_eq!(clean(Duration::ZERO).unwrap(), 0);
    assert!(asked(&server, SCHEMAS).is_empty());
    // A schema of the user's own was never ours.
    asked(&server, "CREATE SCHEMA bakeoff");
    let error = measured(&other).0.unwrap_err();
    assert!(error.to_string().contains("without a comment"), "{error}");
}

#[test]
fn a_schema_that_is_held_is_left_at_the_end_of_the_patience_and_the_server_gives_it_up() {
    let server = Postgres::start(&[]);
    asked(&server, "SELECT 1");
    let backend = Backend::new(server.resolved("own"), support::credentials()).unwrap();
    let connector = backend.access.postgres().unwrap();
    let driver = backend.access.driver();
    runtime().block_on(async {
        driver.claim("one").await.unwrap();
        let holder = connector.connect().await.unwrap();
        let held = "CREATE TABLE bakeoff.held (a int); BEGIN; SELECT FROM bakeoff.held";
        holder.batch_execute(held).await.unwrap();
        let release = |seconds| driver.release("one", Duration::from_secs(seconds));
        let begun = std::time::Instant::now();
        let left = release(2).await.unwrap_err();
        assert!(begun.elapsed() < Duration::from_secs(60), "{left}");
        assert!(left.retryable(), "{left}");
        let said = left.to_string();
        assert!(
            said.contains("pg_locks") && !said.contains("CREATE"),
            "{said}"
        );
        let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted";
        let waiting: i64 = holder.query_one(waiting, &[]).await.unwrap().get(0);
        assert_eq!(waiting, 0);
        holder.batch_execute("COMMIT").await.unwrap();
        assert_eq!(release(60).await.unwrap(), 1);
    });
}

#[test]
fn what_keeps_it_from_being_used_has_a_name() {
    let server = Postgres::start(&[]);
    let good = url(&server, "127.0.0.1", "disable");
    let reason = |url: &str| {
        let folder = secret(url, None);
        match Backend::of_url(resolved(&server, &folder, "u")) {
            Ok(backend) => measured(&backend).0.unwrap_err(),
            Err(error) => error,
        }
    };
    let wrong = reason(&good.replace(SECRET, "wrong"));
    assert_eq!(wrong.reason(), "EndpointUnauthorized", "{wrong}");
    let open = reason(good.split('?').next().unwrap());
    assert_eq!(open.reason(), "PostgresUrlInvalid");
    assert!(open.to_string().contains("sslmode") && !open.to_string().contains(SECRET));
    let nowhere = reason("postgres://u:p@127.0.0.1:1/postgres?sslmode=disable");
    assert_eq!(nowhere.reason(), "EndpointUnreachable", "{nowhere}");
    // A server that does not encrypt is not spoken to in clear.
    let clear = reason(&good.replace("disable", "require"));
    assert_eq!(clear.reason(), "EndpointUnauthorized", "{clear}");
    assert!(clear.to_string().contains("does not encrypt"), "{clear}");
}

#[test]
fn connections_are_encrypted_as_the_url_says() {
    let pki = tempfile::tempdir().unwrap();
    support::certificates(pki.path(), "DNS:localhost");
    let server = Postgres::start_encrypted(
        &pki.path().join("server.crt"),
        &pki.path().join("server.key"),
    );
    let authority = pki.path().join("ca.crt");
    for (host, mode, trusted) in [
        ("127.0.0.1", "require", None),
        ("localhost", "verify-full", Some(authority.as_path())),
    ] {
        let folder = secret(&url(&server, host, mode), trusted);
        let backend = Backend::of_url(resolved(&server, &folder, "u")).unwrap();
        let connector = backend.access.postgres().unwrap().clone();
        runtime().block_on(async {
            let patience = Duration::from_secs(60);
            let answered = backend
                .access
                .driver()
                .probe(&backend.resolved, patience)
                .await;
            answered.unwrap();
            let client = connector.connect().await.unwrap();
            let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
            let encrypted: bool = client.query_one(sql, &[]).await.unwrap().get(0);
            assert!(encrypted, "{mode}");
        });
        let (records, manifest) = measured(&backend);
        let records = records.unwrap();
        let facts = manifest.unwrap().generator.unwrap();
        assert!(facts.client["postgresEncrypted"].contains("TLS"), "{mode}");
        assert!(facts.network["theirs"].connects > 0, "{mode}");
        for record in &records {
            assert_eq!(
                record.verdict,
                Verdict::Valid,
                "{mode}: {}",
                record.trial.workload
            );
        }
        let cleaned =
            runtime().block_on(run::cleanup(std::slice::from_ref(&backend), Duration::ZERO));
        assert_eq!(cleaned.unwrap(), 1);
    }
    // The authority counts and not the name; and what is said of the idle connection is the kernel's to keep.
    let other = tempfile::tempdir().unwrap();
    support::certificates(other.path(), "DNS:localhost");
    answers(&server, "127.0.0.1", "verify-ca", &authority);
    refuses(
        &server,
        "localhost",
        "verify-ca",
        &other.path().join("ca.crt"),
    );
    // A certificate of another name, or one that nobody trusted has signed, is no good.
    refuses(&server, "127.0.0.1", "verify-full", &authority);
    refuses(
        &server,
        "localhost",
        "verify-full",
        &other.path().join("ca.crt"),
    );
}

fn backend_of(server: &Postgres, host: &str, mode: &str, trusted: &Path) -> Backend {
    let folder = secret(&url(server, host, mode), Some(trusted));
    Backend::of_url(resolved(server, &folder, "u")).unwrap()
}

fn answers(server: &Postgres, host: &str, mode: &str, trusted: &Path) {
    let backend = backend_of(server, host, mode, trusted);
    let patience = Duration::from_secs(60);
    let driver = backend.access.driver();
    let answered = runtime().block_on(driver.probe(&backend.resolved, patience));
    answered.unwrap();
}

fn refuses(server: &Postgres, host: &str, mode: &str, trusted: &Path) {
    let error = measured(&backend_of(server, host, mode, trusted))
        .0
        .unwrap_err();
    assert_eq!(error.reason(), "EndpointUnauthorized", "{mode}: {error}");
    assert!(error.to_string().contains("TLS"), "{error}");
}

/// As CloudNativePG hands it out: a URL that names no mode, and the authority in another Secret. The operator mounts both in one
/// folder and states the mode in the plan.
#[test]
fn a_url_without_a_mode_is_completed_by_the_stated_one() {
    let pki = tempfile::tempdir().unwrap();
    support::certificates(pki.path(), "DNS:localhost");
    let server = Postgres::start_encrypted(
        &pki.path().join("server.crt"),
        &pki.path().join("server.key"),
    );
    let full = url(&server, "localhost", "require");
    let bare = full.split('?').next().unwrap();
    let of = |url: &str, mode: &str| {
        let folder = secret(url, Some(&pki.path().join("ca.crt")));
        let mut resolved = resolved(&server, &folder, "u");
        resolved.settings.insert("sslmode".into(), mode.into());
        Backend::of_url(resolved)
    };
    let backend = of(bare, "verify-full").unwrap();
    assert_eq!(backend.resolved.settings["sslmode"], "verify-full");
    let patience = Duration::from_secs(60);
    let driver = backend.access.driver();
    let answered = runtime().block_on(driver.probe(&backend.resolved, patience));
    answered.unwrap();
    // The name is checked: it is no mode of its own that only encrypts.
    let other = of(&bare.replace("localhost", "127.0.0.1"), "verify-full").unwrap();
    let error = measured(&other).0.unwrap_err();
    assert_eq!(error.reason(), "EndpointUnauthorized", "{error}");
    let error = of(&full, "verify-full").unwrap_err();
    assert_eq!(error.reason(), "PostgresUrlInvalid");
    assert!(error.to_string().contains("sslmode=require"), "{error}");
}

/// A certificate that is its own authority, as `openssl req -x509` makes it: libpq takes it, given as what is trusted.
#[test]
fn a_certificate_that_signed_itself_is_trusted_where_it_was_given() {
    let pki = tempfile::tempdir().unwrap();
    let made = Command::new("openssl")
        .args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=db",
        ])
        .args(["-addext", "subjectAltName=DNS:localhost"])
        .args(["-keyout", "server.key", "-out", "server.crt"])
        .current_dir(pki.path())
        .stderr(Stdio::null())
        .status();
    assert!(made.unwrap().success());
    let own = pki.path().join("server.crt");
    let server = Postgres::start_encrypted(&own, &pki.path().join("server.key"));
    answers(&server, "localhost", "verify-full", &own);
    answers(&server, "127.0.0.1", "verify-ca", &own);
    refuses(&server, "127.0.0.1", "verify-full", &own);
    let other = tempfile::tempdir().unwrap();
    support::certificates(other.path(), "DNS:localhost");
    refuses(
        &server,
        "localhost",
        "verify-full",
        &other.path().join("server.crt"),
    );
}
