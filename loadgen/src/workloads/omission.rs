//! Whether a stall of the server shows in the response time, for every workload whose load is planned: the
//! proof that its clock starts at the plan. The server is a real one on a socket, which stops as a whole for
//! a tenth of the time; the workload runs as it does in a trial.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bakeoff_crds::schedule;
use bakeoff_crds::spec::ExperimentSpec;
use serde_json::{Value, json};

use super::{Alone, Context, Part};
use crate::access::Access;
use crate::pg::Connector;
use crate::record::decode;
use crate::s3::Target;
use crate::s3::conn::Dialer;
use crate::sigv4::Credentials;
use crate::stall::Stall;
use crate::{null_postgres, null_s3};

const STALL: Stall = Stall {
    length: Duration::from_millis(100),
    every: Duration::from_secs(1),
};
const TIMEOUT: Duration = Duration::from_secs(5);

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

fn server(postgres: bool) -> Access {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        let told = move |address| sender.send(address).unwrap();
        runtime().block_on(async {
            if postgres {
                null_postgres::serve(local, STALL, told).await
            } else {
                null_s3::serve(local, 0, 0, STALL, told).await
            }
        })
    });
    let address = receiver.recv().unwrap();
    let credentials = Credentials {
        access_key_id: "null".into(),
        secret_access_key: "null".into(),
        session_token: None,
    };
    if postgres {
        let endpoint = format!("postgres://{address}");
        return Access::Postgres(Connector::new(&endpoint, "null", &credentials, TIMEOUT).unwrap());
    }
    let endpoint = format!("http://{address}");
    let target = Target::new(&endpoint, "null", "null", true, credentials).unwrap();
    Access::S3(Dialer::new(Arc::new(target), TIMEOUT, false).unwrap())
}

/// Two seconds of a workload at 400/s on at most eight connections.
fn part(workload: Value, access: Access) -> Part {
    let backend = match access {
        Access::Postgres(_) => json!({"name": "b", "postgres": {"version": "18.4"}}),
        Access::S3(_) => json!({"name": "b", "minio": {"version": "RELEASE.2025-09-07T16-13-09Z"}}),
    };
    let spec: ExperimentSpec = serde_json::from_value(json!({
        "backends": [backend],
        "workloads": [workload],
        "trials": {"blocks": 1, "warmupSeconds": 0, "windowSeconds": 2, "drainSeconds": 5},
    }))
    .unwrap();
    let trials = schedule::trials(&spec);
    let context = Context {
        spec: &spec,
        trial: &trials[0],
        attempt: 1,
        access,
        lock: None,
        prefix: String::new(),
        generator: 0,
        generators: 1,
        rate: None,
        live: Arc::default(),
    };
    tokio::task::LocalSet::new()
        .block_on(&runtime(), super::run(&context, &Alone))
        .unwrap()
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

/// Sixty-four writers, so that the load has to be high enough for most of what is due in a stall to wait.
#[test]
fn a_stall_shows_in_the_response_of_batches() {
    let batching = json!({"name": "w", "batching": {"snapshotsPerObject": [1], "arrivalsPerSecond": [2_000],
        "snapshotSize": "100"}});
    the_stall_shows(&part(batching, server(false)), "append");
}
