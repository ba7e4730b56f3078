//! A third store, which is nobody's backend of its own: versitygw as an S3 endpoint that was there before. Needs BAKEOFF_VERSITYGW.

use std::collections::BTreeMap;

use crate::backends::{ALL, measured, violations};
use crate::s3_stores::{PREFIX, client, entries, external, versioned, write};
use crate::support::{self, runtime};
use bakeoff_crds::run::ResolvedBackend;
use bakeoff_loadgen::credentials::Credentials;
use bakeoff_loadgen::run::Backend;
use bakeoff_loadgen::store::Store;

#[test]
fn every_workload_runs_on_a_third_store_and_finds_nothing_wrong() {
    let server = support::versitygw();
    runtime().block_on(async {
        let backend = support::backend("versity", &server.endpoint, None).await;
        let records = measured(ALL, vec![backend]).await;
        assert_eq!(records.len(), 7);
        for record in &records {
            let name = record.trial.describe();
            assert!(record.verdict.is_valid(), "{name}: {:?}", record.verdict);
            let load = &record.load;
            let failures: Vec<_> = record
                .operations
                .values()
                .map(|one| &one.failures)
                .collect();
            assert!(
                load.completed > 0 && load.failed == 0,
                "{name}: {load:?} {failures:?}"
            );
        }
        assert_eq!(violations(&records), BTreeMap::new());
        // What cold reads share is left for the end.
        let outside = external(&server.endpoint);
        assert!(outside.remove(PREFIX).await.unwrap() > 0);
        assert_eq!(entries(&client(&server.endpoint)).await, 0);
    });
}

#[test]
fn a_third_store_keeps_results_and_gives_versions_back() {
    let server = support::versitygw();
    runtime().block_on(async {
        support::backend("versity", &server.endpoint, None).await;
        let target = support::store_at(&server.endpoint);
        let store = Store::bucket(&target, &support::credentials());
        store.ensure().await.unwrap();
        store.put("trials/a.json", b"{}".to_vec()).await.unwrap();
        store.put("trials/a.json", b"[]".to_vec()).await.unwrap();
        let kept = store.get("trials/a.json").await.unwrap();
        assert_eq!(kept, Some(b"[]".to_vec()));
        assert_eq!(store.get("trials/b.json").await.unwrap(), None);
        assert_eq!(store.list("trials/").await.unwrap(), ["trials/a.json"]);

        let client = client(&server.endpoint);
        versioned(&client).await;
        write(&client, 5).await;
        write(&client, 5).await;
        let gone = client.delete_object().bucket("bakeoff");
        gone.key(format!("{PREFIX}0")).send().await.unwrap();
        assert_eq!(entries(&client).await, 11);
        external(&server.endpoint).remove(PREFIX).await.unwrap();
        assert_eq!(entries(&client).await, 0);
    });
}

#[test]
fn what_a_third_store_refuses_has_its_name() {
    let server = support::versitygw();
    runtime().block_on(async {
        support::backend("versity", &server.endpoint, None).await;
        let keys = |secret: &str| Credentials {
            secret: secret.into(),
            ..support::credentials()
        };
        let nobody = Credentials {
            user: "nobody".into(),
            ..support::credentials()
        };
        let good = || keys(support::SECRET);
        let here = || external(&server.endpoint).resolved;
        let missing = ResolvedBackend {
            bucket: "missing".into(),
            ..here()
        };
        let far = ResolvedBackend {
            region: "eu-west-1".into(),
            ..here()
        };
        for (resolved, keys, reason) in [
            (here(), keys("wrong"), "EndpointUnauthorized"),
            // It says so with 404.
            (here(), nobody, "EndpointUnauthorized"),
            (missing, good(), "BucketMissing"),
            (far, good(), "EndpointElsewhere"),
        ] {
            let backend = Backend::new(resolved, keys).unwrap();
            let refused = support::probe(&backend).await.unwrap_err();
            assert_eq!(refused.reason(), reason, "{refused}");
        }
    });
}
