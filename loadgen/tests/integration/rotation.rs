//! Keys that are changed while a trial measures. Needs BAKEOFF_MINIO.

use std::sync::{Arc, Mutex};

use crate::s3_reach::mounted;
use crate::support::fault_proxy::{Planted, error, planted};
use crate::support::runner::{Ran, given_time, plan, shown, under_way};
use crate::support::{self, Server, runtime};
use bakeoff_crds::result::{FindingCode, InvalidCode, InvalidReason, Verdict};
use bakeoff_loadgen::credentials::Credentials;
use bakeoff_loadgen::run::Backend;
use bakeoff_loadgen::run::control::Control;
use serde_json::json;

const NEW: &str = "another-secret";

/// MinIO that is given new keys once load is under way, and whether the Secret has them as well.
fn rotated(server: &mut Server, secret: &Mutex<String>, window: i32) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    mounted(folder.path(), &support::credentials());
    let mut resolved = support::s3("minio", &server.endpoint);
    resolved.credentials_dir = folder.path().display().to_string();
    let backend = Backend::new(resolved, support::credentials()).unwrap();
    runtime().block_on(support::probe(&backend)).unwrap();
    let load = json!({"closed": {"concurrency": [2]}});
    let workload = json!({"name": "put", "smallObjectPut": {"objectSize": ["1Ki"], "load": load}});
    let trials = json!({"blocks": 1, "warmupSeconds": 0, "windowSeconds": window});
    let mut plan = plan(workload, trials, &backend);
    plan.spec.backends[0].name = "minio".into();
    plan.spec.validity.repeat_budget = 1;
    let control = Arc::new(Control::default());
    let watched = Arc::clone(&control);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            under_way(&watched, 0, 50);
            NEW.clone_into(&mut secret.lock().unwrap());
            let new = Credentials {
                secret: NEW.into(),
                ..support::credentials()
            };
            mounted(folder.path(), &new);
            server.restart();
        });
        shown(plan, backend, control, &|_| {})
    })
}

fn reasons(verdict: &Verdict) -> Vec<InvalidReason> {
    match verdict {
        Verdict::Valid => Vec::new(),
        Verdict::Invalid(reasons) => reasons.clone(),
    }
}

#[test]
fn a_trial_in_which_the_keys_were_changed_is_void_and_the_next_one_counts() {
    let ran = given_time(
        6,
        |window| {
            let secret = Arc::new(Mutex::new(support::SECRET.to_owned()));
            let mut server = support::minio_with(Arc::clone(&secret));
            rotated(&mut server, &secret, window)
        },
        // It was there again, and refused, before the window ended.
        |ran| ran.records.len() == 2,
    );
    let [first, second] = &ran.records[..] else {
        panic!("{:?}", ran.records)
    };
    let why = reasons(&first.verdict);
    assert_eq!(why.len(), 1, "{why:?}");
    assert_eq!(why[0].code, InvalidCode::CredentialsRefused);
    assert!(why[0].detail.contains("SignatureDoesNotMatch"), "{why:?}");
    assert!(first.load.failed > 0);
    assert_eq!(second.verdict, Verdict::Valid);
    assert_eq!((second.load.failed, second.findings.len()), (0, 0));
}

/// It takes the same keys before and after: nobody changed them.
#[test]
fn a_backend_that_refuses_good_keys_under_load_is_measured_as_one() {
    let minio = support::minio();
    runtime().block_on(async {
        support::backend("minio", &minio.endpoint, None).await;
        let proxy = planted(&minio.endpoint, |head| {
            let probe = head.uri.path().ends_with("/probe");
            if head.method == http::Method::PUT && !probe {
                return error(403, "AccessDenied");
            }
            Planted::Pass
        });
        let backend = support::backend("refusing", &proxy.await, None).await;
        let workload = "workloads:\n- {name: put, smallObjectPut: {objectSize: [1Ki], prefixes: 1, \
                        load: {closed: {concurrency: [2]}}}}\n";
        let records = crate::backends::measured(workload, vec![backend]).await;
        assert_eq!(records.len(), 1);
        assert_eq!(records[0].verdict, Verdict::Valid);
        let codes: Vec<FindingCode> = records[0].findings.iter().map(|one| one.code).collect();
        assert_eq!(codes, [FindingCode::Failing]);
    });
}
