use super::*;
use crate::drivers::access::Access;
use crate::drivers::postgres::{Connector, Patient, observe};
use crate::failure::FailureClass;
use crate::store::layout;
use crate::testing::{self, local};
use crate::workloads::Part;
use bakeoff_crds::figure::Figure;

/// A connector to a server of its own, which never stalls.
fn null() -> Connector {
    testing::null_postgres(Stall::default())
}

#[test]
fn what_the_instrument_asks_a_server_is_answered() {
    local(async {
        let connector = null();
        let client = connector.connect().await.unwrap();
        let asking = Patient::of(&client);
        assert_eq!(observe::started(asking).await.unwrap(), 0.0);
        let identity = observe::identity(asking).await.unwrap();
        assert!(identity.contains_key("server_version"));
        let observer = observe::Observer::new(client).await.unwrap();
        assert_eq!(observer.sample(0).await.unwrap().updates, 0);
        assert_eq!(observer.inspect().await.unwrap().table_bytes, 0);
    });
}

#[test]
fn an_unknown_query_is_an_error_and_the_next_statement_is_served() {
    local(async {
        let client = null().connect().await.unwrap();
        let error = client.query("SELECT 7", &[]).await.unwrap_err();
        assert_eq!(
            crate::drivers::postgres::failure(&error).class,
            FailureClass::Server
        );
        assert!(client.simple_query("SELECT 7").await.is_err());
        for (sql, rows) in [
            ("UPDATE t SET a = 1", 1),
            ("DELETE FROM t", 1),
            ("VACUUM", 0),
        ] {
            assert_eq!(client.execute(sql, &[]).await.unwrap(), rows, "{sql}");
        }
    });
}

/// Three seconds of a workload.
fn trial_of(workload: serde_json::Value) -> Part {
    let backend = serde_json::json!({"name": "pg", "postgres": {"version": "18.4"}});
    let trials = serde_json::json!({"blocks": 1, "warmupSeconds": 0, "windowSeconds": 3, "drainSeconds": 60});
    testing::first_trial(backend, workload, trials, Access::Postgres(null()))
}

#[test]
fn a_whole_trial_of_runs_passes() {
    let part = trial_of(serde_json::json!({"name": "head", "headRow": {
        "activeRuns": [1000], "fillfactor": [90], "minTransitions": 1000, "maxTransitions": 1000,
        "load": {"closed": {"concurrency": [4]}}}}));
    assert!(part.counts.completed > 100, "{:?}", part.counts);
    assert_eq!(part.counts.expected, part.counts.completed);
    assert_eq!(part.checks[0].violations, 0);
    // With as many transitions, next to all of it is the compare-and-swap.
    let transitions = part.recorded.operations["transition"].count as f64;
    assert!(transitions / part.counts.completed as f64 > 0.99);
    let kept = |name: &str| {
        let mut files = part.artefacts.iter();
        files.any(|file| file.name == name && !file.bytes.is_empty())
    };
    assert!(kept(layout::SAMPLES));
    // A server that names no log is not asked for it.
    assert!(!kept(layout::AUTOVACUUMS));
}

#[test]
fn a_segment_of_a_soak_passes() {
    let part = trial_of(serde_json::json!({"name": "long", "soak": {
        "activeRuns": 1000, "ratePerSecond": 500, "connections": 2, "snapshots": ["WholeSegment"],
        "autovacuum": [{"name": "Eager", "server": {"autovacuum_naptime": "1s"},
            "table": {"autovacuum_vacuum_scale_factor": "0.01"}}]}}));
    assert!(part.counts.completed > 100, "{:?}", part.counts);
    assert_eq!(part.checks[0].violations, 0);
    assert!(part.figures.contains_key(&Figure::TableAgeHours));
}

#[test]
fn messages_come_in_any_pieces() {
    let mut whole = Session::default();
    let mut input = vec![0, 0, 0, 8, 4, 210, 22, 47, 0, 0, 0, 9, 0, 3, 0, 0, 0];
    let statement = b"a\0UPDATE t SET a = 1\0\0\0";
    input.push(b'P');
    input.extend_from_slice(&(statement.len() as u32 + 4).to_be_bytes());
    input.extend_from_slice(statement);
    let mut at = 0;
    while let Some(used) = whole.take(&input[at..]).unwrap() {
        at += used;
    }
    assert_eq!(at, input.len());
    let (mut pieces, mut held, mut seen) = (Session::default(), Vec::new(), 0);
    for byte in input {
        held.push(byte);
        while let Some(used) = pieces.take(&held).unwrap() {
            held.drain(..used);
            seen += 1;
        }
    }
    assert_eq!((seen, pieces.output), (3, whole.output));
    assert!(whole.statements.contains_key(b"a".as_slice()));
    let broken = Session::default().take(&[0xFF; 8]).unwrap_err();
    assert_eq!(broken.kind(), std::io::ErrorKind::InvalidData);
}
