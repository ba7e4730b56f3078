//! A pooler before an external Postgres server. Needs BAKEOFF_PGBOUNCER beside BAKEOFF_POSTGRES.

use crate::external_postgres::{asked, carried_out, resolved, secret};
use crate::support::pgbouncer::PgBouncer;
use crate::support::postgres::Postgres;
use crate::support::{runner, runtime};
use bakeoff_crds::result::{TrialRecord, Verdict};
use bakeoff_loadgen::run::{self, Backend, RunError};
use serde_json::json;

const SCHEMAS: &str = "SELECT nspname FROM pg_namespace WHERE nspname = 'bakeoff'";

fn backend(server: &Postgres, pooler: &PgBouncer) -> Backend {
    let folder = secret(&pooler.url(), None);
    Backend::of_url(resolved(server, &folder, "u")).unwrap()
}

fn tried(backend: &Backend) -> Result<TrialRecord, RunError> {
    let mut plan = runner::plan(
        json!({"name": "head", "headRow": {"activeRuns": [1_000], "fillfactor": [90], "stateBytes": 100,
               "load": {"closed": {"concurrency": [4]}}}}),
        json!({"blocks": 1, "warmupSeconds": 1, "windowSeconds": 4}),
        backend,
    );
    plan.backends[0].endpoint = String::new();
    plan.spec.backends[0].name = "theirs".into();
    plan.spec.limits.provision_seconds = 60;
    plan.spec.validity.repeat_budget = 0;
    let (records, _) = carried_out(backend, plan);
    Ok(records?.remove(0))
}

fn refused(server: &Postgres, pooler: &PgBouncer, reason: &str) -> String {
    let error = tried(&backend(server, pooler)).unwrap_err();
    assert_eq!(error.reason(), reason, "{error}");
    assert!(!error.retryable());
    // Before anything was made.
    assert!(asked(server, SCHEMAS).is_empty() || reason == "ConnectionsTooFew");
    error.to_string()
}

#[test]
fn a_pooler_that_shares_sessions_is_refused_before_anything_is_made() {
    let server = Postgres::start(&[]);
    // Whether it gives out the session that was used last or that was idle for longest, and with more idle ones than
    // are asked for.
    let several = "server_round_robin = 1\nmin_pool_size = 12";
    for (mode, more) in [
        ("transaction", ""),
        ("transaction", several),
        ("statement", ""),
        ("statement", several),
    ] {
        let pooler = PgBouncer::start(&server, mode, 20, more);
        let said = refused(&server, &pooler, "SessionsShared");
        assert!(said.contains("pool_mode = session"), "{said}");
        assert!(said.contains("the server's own address"), "{said}");
    }
    // Where all sessions but one are in use by others.
    let pooler = PgBouncer::start(&server, "transaction", 1, "");
    refused(&server, &pooler, "SessionsShared");
}

#[test]
fn a_pooler_that_keeps_a_session_for_each_connection_is_measured_through() {
    let server = Postgres::start(&[]);
    let pooler = PgBouncer::start(&server, "session", 20, "");
    let through = backend(&server, &pooler);
    let record = tried(&through).unwrap();
    assert_eq!(record.verdict, Verdict::Valid);
    let cleaned = runtime().block_on(run::cleanup(
        std::slice::from_ref(&through),
        std::time::Duration::ZERO,
    ));
    assert_eq!(cleaned.unwrap(), 1);
    // Four workers and what is beside them do not find room in this one.
    let small = PgBouncer::start(&server, "session", 5, "");
    let said = refused(&server, &small, "ConnectionsTooFew");
    assert!(
        said.contains("needs 7 connections at once and 5 are free"),
        "{said}"
    );
    assert!(said.contains("default_pool_size"), "{said}");
}
