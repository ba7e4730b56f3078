//! What of S3 real stores keep, and that a store which does otherwise is seen. Needs BAKEOFF_MINIO and BAKEOFF_WEED.

use std::sync::Arc;

use crate::s3_stores::{LEAST, assumed, client, entries, external};
use crate::support::fault_proxy::{self, Fault, Planted, answer, error, planted};
use crate::support::{self, runner, runtime};
use bakeoff_crds::conformance::{Answer, Check, ConformanceRecord, Weight};
use bakeoff_loadgen::conformance::{examine, table};
use bakeoff_loadgen::report::report;
use bakeoff_loadgen::run::{Backend, standalone};
use bakeoff_loadgen::store::Store;

/// What a store that lists nothing lists.
const NOTHING: &str = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";

async fn examined(endpoint: &str) -> ConformanceRecord {
    let store = external(endpoint);
    let record = examine(&store.access, &store.resolved).await.unwrap();
    let said = table(std::slice::from_ref(&record));
    eprintln!("{said}\n{} requests", record.requests);
    record
}

fn found(record: &ConformanceRecord, check: Check) -> (Answer, String) {
    let one = record.checks.iter().find(|one| one.check == check).unwrap();
    (one.answer, one.seen.clone())
}

/// That these checks differ with these words, and that all others are kept.
#[track_caller]
fn differs_in(record: &ConformanceRecord, wanted: &[(Check, &str)]) {
    let all: Vec<Check> = record.checks.iter().map(|one| one.check).collect();
    assert_eq!(all, Check::ALL);
    for one in &record.checks {
        let words = wanted.iter().find(|(check, _)| *check == one.check);
        let answer = words.map_or(Answer::Kept, |_| Answer::Differs);
        assert_eq!(one.answer, answer, "{}: {}", one.check.name(), one.text());
        let words = words.map_or("", |(_, words)| words);
        assert!(
            one.seen.contains(words),
            "{}: {}",
            one.check.name(),
            one.text()
        );
    }
    assert_eq!(record.left, "");
}

/// What MinIO does otherwise.
const MINIO: [(Check, &str); 4] = [
    (Check::KeyAndChild, "a/b is not listed"),
    (Check::DoubleSlash, "PUT of a//b is answered with 400"),
    (Check::DotSegments, "PUT of a/../b is answered with 400"),
    (Check::LongSegment, "is answered with 400"),
];

#[test]
fn minio_differs_where_it_is_known_to_and_nothing_is_left_there() {
    let minio = support::minio();
    runtime().block_on(async {
        support::backend("minio", &minio.endpoint, None).await;
        let record = examined(&minio.endpoint).await;
        differs_in(&record, &MINIO);
        assert_eq!(record.broken(Weight::Needed).count(), 0);
        assert_eq!(entries(&client(&minio.endpoint)).await, 0);
        // With the rights that the guide names one thing alone cannot be found out, and nothing is left either.
        let confined = assumed(&minio.endpoint, LEAST).await;
        let backend = Backend::new(external(&minio.endpoint).resolved, confined).unwrap();
        let mut record = examine(&backend.access, &backend.resolved).await.unwrap();
        let abort = found(&record, Check::AbortedUpload);
        assert_eq!(abort.0, Answer::Unknown);
        assert!(
            abort.1.ends_with("403 AccessDenied: not allowed"),
            "{}",
            abort.1
        );
        for one in &mut record.checks {
            if one.check == Check::AbortedUpload {
                (one.answer, one.seen) = (Answer::Kept, String::new());
            }
        }
        differs_in(&record, &MINIO);
        assert_eq!(entries(&client(&minio.endpoint)).await, 0);
    });
}

#[test]
fn seaweedfs_differs_where_it_is_known_to() {
    let seaweedfs = support::seaweedfs();
    runtime().block_on(async {
        support::backend("seaweedfs", &seaweedfs.endpoint, None).await;
        let record = examined(&seaweedfs.endpoint).await;
        let known = [
            (Check::OrderOfKeys, "foo/bar before foo+1/bar"),
            (Check::OrderOfPrefixes, "foo/ before foo+1/"),
            (Check::KeyAndFolder, "a"),
            (
                Check::DoubleSlash,
                "a/b has another body than was written to it",
            ),
            (Check::DotSegments, "PUT of a/../b is answered with 400"),
            (Check::LongSegment, "is answered with 400 KeyTooLong"),
            (Check::Backslash, "a\\b is not listed"),
            (Check::PrefixGone, "a/ is still a common prefix"),
        ];
        differs_in(&record, &known);
        // What the workloads rest on is kept: the comparison with MinIO can end in a decision.
        assert_eq!(record.broken(Weight::Needed).count(), 0);
    });
}

#[test]
fn a_store_that_answers_wrongly_is_seen() {
    let minio = support::minio();
    runtime().block_on(async {
        support::backend("minio", &minio.endpoint, None).await;
        for (fault, check, seen) in [
            (Fault::SwapKeys, Check::OrderOfPlainKeys, "before run-"),
            (Fault::SwapKeys, Check::OrderOfCase, "B before A"),
            (Fault::DropKey, Check::Pages, "is not listed"),
            (Fault::DuplicateKey, Check::Pages, "is listed twice"),
            (Fault::StaleGet, Check::ReadAfterWrite, "has another body"),
            (
                Fault::MissingGet,
                Check::ReadAfterWrite,
                "answered with 404",
            ),
            (Fault::Resurrect, Check::ReadAfterWrite, "is read"),
            (Fault::TornGet, Check::ReadAfterWrite, "has another body"),
        ] {
            let proxy = fault_proxy::start(&minio.endpoint, fault).await;
            let record = examined(&proxy).await;
            let (answer, words) = found(&record, check);
            assert_eq!(answer, Answer::Differs, "{fault:?}");
            assert!(words.contains(seen), "{fault:?}: {words}");
            assert!(record.broken(Weight::Needed).count() > 0, "{fault:?}");
        }
    });
}

#[test]
fn what_is_ignored_refused_or_not_answered_is_told_from_what_is_kept() {
    let minio = support::minio();
    runtime().block_on(async {
        support::backend("minio", &minio.endpoint, None).await;
        let proxy = planted(&minio.endpoint, |head| {
            let query = head.uri.query().unwrap_or_default();
            let method = &head.method;
            if method == http::Method::PUT && head.headers.contains_key("if-none-match") {
                // As a store that does not read the condition.
                return answer(200, &[("etag", "\"0\"")], "");
            }
            if head.headers.contains_key("if-match") {
                return error(501, "NotImplemented");
            }
            if query.contains("start-after") {
                return answer(200, &[], NOTHING);
            }
            if query.contains("uploads=") {
                return error(403, "AccessDenied");
            }
            if method == http::Method::GET && !head.headers.contains_key("authorization") {
                return answer(200, &[], "a");
            }
            Planted::Pass
        });
        let record = examined(&proxy.await).await;
        for (check, wanted, words) in [
            (Check::IfNoneMatch, Answer::Differs, "it is written: 200"),
            (Check::RaceOfCreators, Answer::Differs, "16 of 16"),
            (Check::IfMatchWrong, Answer::NotOffered, "501"),
            (
                Check::StartAfterWithin,
                Answer::Differs,
                "run-001/00000010 is not listed",
            ),
            (Check::StartAfterBeyond, Answer::Kept, ""),
            (
                Check::PartsInOrder,
                Answer::Unknown,
                "403 AccessDenied: not allowed",
            ),
            (Check::Anonymous, Answer::Differs, "it is read"),
            (Check::WrongSecret, Answer::Kept, ""),
        ] {
            let (answer, said) = found(&record, check);
            assert_eq!(answer, wanted, "{}: {said}", check.name());
            assert!(said.contains(words), "{}: {said}", check.name());
        }
        let needed: Vec<Check> = record.broken(Weight::Needed).map(|one| one.check).collect();
        assert_eq!(needed, [Check::StartAfterWithin]);

        let silent = planted(&minio.endpoint, |_| error(500, "InternalError"));
        let record = examined(&silent.await).await;
        assert!(
            record
                .checks
                .iter()
                .all(|one| one.answer == Answer::Unknown)
        );
        assert!(!record.left.is_empty());
    });
}

#[test]
fn what_a_store_does_not_list_is_removed_by_its_name() {
    let minio = support::minio();
    runtime().block_on(async {
        support::backend("minio", &minio.endpoint, None).await;
        let blind = planted(&minio.endpoint, |head| {
            let query = head.uri.query().unwrap_or_default();
            if query.contains("list-type=2") {
                return answer(200, &[], NOTHING);
            }
            if query.starts_with("versions") {
                return error(501, "NotImplemented");
            }
            Planted::Pass
        });
        let record = examined(&blind.await).await;
        assert_eq!(found(&record, Check::Pages).0, Answer::Differs);
        assert_eq!(found(&record, Check::ReadAfterWrite).0, Answer::Kept);
        assert_eq!(entries(&client(&minio.endpoint)).await, 0);
    });
}

#[test]
fn a_run_asks_once_and_its_report_says_what_was_found() {
    let minio = support::minio();
    let workload = "workloads: [{name: put, smallObjectPut: {objectSize: [1Ki], load: {closed: {concurrency: [1]}}}}]\n\
                    trials: {blocks: 1, warmupSeconds: 0, windowSeconds: 1}\n";
    let spec = standalone::spec("test", workload, &["minio"]).unwrap();
    let backend = runtime().block_on(support::backend("minio", &minio.endpoint, None));
    let plan = runner::run_plan(spec, std::slice::from_ref(&backend));
    let ran = runner::measured(plan.clone(), backend.clone(), &|_| {});
    let store = Store::Folder(ran.folder.path().into());
    let name = "conformance/minio.json";
    let written = runtime().block_on(store.get(name)).unwrap().unwrap();
    runtime().block_on(async {
        let record: ConformanceRecord = serde_json::from_slice(&written).unwrap();
        differs_in(&record, &MINIO);
        let reported = report(&store, None, false, None).await.unwrap();
        let index = store.get("index.json").await.unwrap().unwrap();
        assert!(String::from_utf8(index).unwrap().contains(name));
        assert!(reported.markdown.contains("a/b is not listed"));
    });
    // A run that goes on does not ask again, and one that was begun without it goes on without it.
    let led = || {
        runner::led(
            plan.clone(),
            backend.clone(),
            store.clone(),
            Arc::default(),
            &|_| {},
        )
    };
    assert_eq!(led().len(), 0);
    let kept = runtime().block_on(store.get(name)).unwrap().unwrap();
    assert!(kept == written);
    std::fs::remove_file(ran.folder.path().join(name)).unwrap();
    assert_eq!(led().len(), 0);
    assert!(runtime().block_on(store.get(name)).unwrap().is_none());
    // Before the first trial a record that was cut off is made again.
    let folder = tempfile::tempdir().unwrap();
    let store = Store::Folder(folder.path().into());
    runtime().block_on(store.put(name, b"{".to_vec())).unwrap();
    let records = runner::led(plan, backend, store.clone(), Arc::default(), &|_| {});
    assert_eq!(records.len(), 1);
    let made = runtime().block_on(store.get(name)).unwrap().unwrap();
    differs_in(&serde_json::from_slice(&made).unwrap(), &MINIO);
}
