//! Whether a stall of the server shows in the response time, for every workload whose load is planned: the
//! proof that its clock starts at the plan. The server is a real one on a socket, which stops as a whole for
//! a tenth of the time; the workload runs as it does in a trial.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bakeoff_trace::format::Source;
use bakeoff_trace::{Description, Writer};
use bakeoff_trace::{Event, Kind, grammar::Repairs};
use serde_json::{Value, json};

use super::Part;
use crate::drivers::access::Access;
use crate::drivers::s3::Target;
use crate::drivers::s3::dialer::Dialer;
use crate::drivers::s3::null as null_s3;
use crate::drivers::stall::Stall;
use crate::instrument::record::decode;
use crate::testing;

const STALL: Stall = Stall {
    length: Duration::from_millis(100),
    every: Duration::from_secs(1),
};

fn server(postgres: bool) -> Access {
    if postgres {
        return Access::Postgres(testing::null_postgres(STALL));
    }
    let address = testing::serving(|listen, told| null_s3::serve(listen, 0, 0, STALL, told));
    let endpoint = format!("http://{address}");
    let target = Target::new(&endpoint, "null", "null", true, testing::anybody()).unwrap();
    Access::S3(Dialer::new(Arc::new(target), testing::TIMEOUT, false).unwrap())
}

/// Two seconds of a workload at 400/s on at most eight connections.
fn part(workload: Value, access: Access) -> Part {
    let backend = match access {
        Access::Postgres(_) => json!({"name": "b", "postgres": {"version": "18.4"}}),
        Access::S3(_) => json!({"name": "b", "minio": {"version": "RELEASE.2025-09-07T16-13-09Z"}}),
    };
    let trials = json!({"blocks": 1, "warmupSeconds": 0, "windowSeconds": 2, "drainSeconds": 60});
    testing::first_trial(backend, workload, trials, access)
}

/// A tenth of the operations are due while the server stands still. Only eight of them are sent then, one
/// on each connection: a clock that starts at the send sees one slow operation in fifty. A busy machine makes
/// the response longer and never shorter.
fn the_stall_shows(part: &Part, kind: &str) {
    let counts = part.counts;
    assert_eq!(
        (counts.completed, counts.not_started, counts.failed),
        (counts.expected, 0, 0),
        "{counts:?}"
    );
    let operation = &part.recorded.operations[kind];
    let response = decode(&operation.response).unwrap().value_at_quantile(0.95);
    assert!(
        response > 30_000,
        "{kind}: p95 of the response is {response} µs"
    );
}

fn load() -> Value {
    json!({"open": {"ratePerSecond": [400], "arrivals": "Constant", "maxInFlight": 8}})
}

#[test]
fn a_stall_shows_in_the_response_of_puts() {
    let put = json!({"name": "w", "smallObjectPut": {"objectSize": ["1Ki"], "load": load()}});
    the_stall_shows(&part(put, server(false)), "put");
}

#[test]
fn a_stall_shows_in_the_response_of_the_life_of_runs() {
    let head = json!({"name": "w", "headRow": {"activeRuns": [1_000], "fillfactor": [90], "load": load()}});
    let part = part(head, server(true));
    the_stall_shows(&part, "operation");
    the_stall_shows(&part, "transition");
}

/// Four hundred events a second, evenly; each moves a run of its own.
fn trace(folder: &Path) {
    let out = folder.join("even");
    std::fs::create_dir(&out).unwrap();
    let mut writer = Writer::create(&out).unwrap();
    let event = |at_micros, run, kind| Event {
        at_micros,
        run,
        kind,
        // Of a run that is open: how far it is.
        value: (kind == Kind::Open).then_some(1),
    };
    for run in 0..800 {
        writer.push(event(0, run, Kind::Open)).unwrap();
    }
    for run in 0..800 {
        let at = u64::from(run) * 2_500;
        writer.push(event(at, run, Kind::Transition)).unwrap();
    }
    let description = Description {
        source: Source::Synthetic,
        method: "even".to_owned(),
        started_at: None,
        span_micros: Some(2_000_000),
    };
    writer.finish(description, &Repairs::default()).unwrap();
}

fn replayed(access: Access, trial_seconds: i32) -> Part {
    let folder = tempfile::tempdir().unwrap();
    trace(folder.path());
    let replay = json!({"name": "w", "replay": {"trace": {"configMapRef": {"name": "even"}}, "speedPercent": [100],
        "connections": 8}});
    let backend = json!({"name": "b", "postgres": {"version": "18.4"}});
    let trials = json!({"blocks": 1, "warmupSeconds": 0, "windowSeconds": trial_seconds, "drainSeconds": 60});
    let at = Some(folder.path().to_owned());
    testing::first_trial_with(backend, replay, trials, access, at)
}

#[test]
fn a_stall_shows_in_the_response_of_a_replay() {
    let part = replayed(server(true), 2);
    assert_eq!(part.counts.expected, 800);
    the_stall_shows(&part, "operation");
    the_stall_shows(&part, "transition");
}

/// Sixty-four writers, so that the load has to be high enough for most of what is due in a stall to wait.
#[test]
fn a_stall_shows_in_the_response_of_batches() {
    let batching = json!({"name": "w", "batching": {"snapshotsPerObject": [1], "arrivalsPerSecond": [2_000],
        "snapshotSize": "100"}});
    the_stall_shows(&part(batching, server(false)), "append");
}
