//! S3 as others serve it: a proxy before MinIO answers as they do. Needs BAKEOFF_MINIO.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::support::fault_proxy::{Planted, answer, error, planted};
use crate::support::{self, runtime};
use aws_sdk_s3::Client;
use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use bakeoff_loadgen::credentials::Credentials;
use bakeoff_loadgen::drivers::s3::sigv4::{Request, Signer, sha256_hex};
use bakeoff_loadgen::instrument::clock;
use bakeoff_loadgen::run::Backend;
use bakeoff_loadgen::store::{self, Store};

pub const PREFIX: &str = "bakeoff/test/";

/// An endpoint that nobody provisioned for the experiment.
pub fn external(endpoint: &str) -> Backend {
    let mut resolved = support::s3("outside", endpoint);
    resolved.provisioned = false;
    Backend::new(resolved, support::credentials()).unwrap()
}

pub fn client(endpoint: &str) -> Client {
    store::client(endpoint, "us-east-1", true, &support::credentials())
}

pub async fn write(client: &Client, count: usize) {
    for number in 0..count {
        let put = client.put_object().bucket("bakeoff");
        put.key(format!("{PREFIX}{number}")).send().await.unwrap();
    }
}

pub async fn entries(client: &Client) -> usize {
    let listed = client.list_object_versions().bucket("bakeoff").send();
    let listed = listed.await.unwrap();
    listed.versions().len() + listed.delete_markers().len()
}

fn is_batch(head: &http::request::Parts) -> bool {
    head.method == http::Method::POST
        && head
            .uri
            .query()
            .is_some_and(|query| query.starts_with("delete"))
}

#[test]
fn what_cannot_be_deleted_in_a_batch_is_deleted_one_by_one() {
    let minio = support::minio();
    runtime().block_on(async {
        support::backend("minio", &minio.endpoint, None).await;
        let direct = client(&minio.endpoint);
        let each = "<DeleteResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">".to_owned()
            + &(0..30)
                .map(|number| {
                    format!(
                        "<Error><Key>{PREFIX}{number}</Key><Code>AccessDenied</Code><Message>no</Message></Error>"
                    )
                })
                .collect::<String>()
            + "</DeleteResult>";
        for refusal in [
            "501 NotImplemented",
            "400 MissingContentMD5",
            "403 AccessDenied",
            "405 MethodNotAllowed",
            "500 InternalError",
            "200",
        ] {
            write(&direct, 30).await;
            let each = each.clone();
            let proxy = planted(&minio.endpoint, move |head| match refusal.split_once(' ') {
                _ if !is_batch(head) => Planted::Pass,
                Some((status, code)) => error(status.parse().unwrap(), code),
                None => answer(200, &[], &each),
            });
            let backend = external(&proxy.await);
            let removed = backend.remove(PREFIX).await;
            assert_eq!(removed.unwrap(), 30, "{refusal}");
            assert_eq!(entries(&direct).await, 0, "{refusal}");
        }
    });
}

#[test]
fn what_may_not_be_deleted_at_all_is_said() {
    let minio = support::minio();
    runtime().block_on(async {
        support::backend("minio", &minio.endpoint, None).await;
        write(&client(&minio.endpoint), 3).await;
        let proxy = planted(&minio.endpoint, |head| {
            if is_batch(head) || head.method == http::Method::DELETE {
                return error(403, "AccessDenied");
            }
            Planted::Pass
        });
        let left = external(&proxy.await).remove(PREFIX).await.unwrap_err();
        assert_eq!(left.reason(), "ObjectsLeft");
        let said = left.to_string();
        for part in ["3 objects stay", PREFIX, "AccessDenied", "s3:DeleteObject"] {
            assert!(said.contains(part), "{said}");
        }
    });
}

/// Temporary credentials with a policy, as MinIO's STS gives them.
pub async fn assumed(endpoint: &str, policy: &str) -> Credentials {
    let body = form(&[
        ("Action", "AssumeRole"),
        ("DurationSeconds", "900"),
        ("Policy", policy),
        ("Version", "2011-06-15"),
    ]);
    let host = endpoint.trim_start_matches("http://");
    let seconds = i64::try_from(clock::wall() / clock::SECOND).unwrap();
    let mut signer = Signer::new(support::credentials(), "us-east-1", "sts");
    let date = signer.date(seconds).to_owned();
    let hash = sha256_hex(&[body.as_bytes()]);
    let authorization = signer.authorization(
        seconds,
        &Request {
            method: "POST",
            path: "/",
            query: "",
            headers: &[
                ("host", host),
                ("x-amz-content-sha256", &hash),
                ("x-amz-date", &date),
            ],
            payload_hash: &hash,
        },
    );
    let said = std::process::Command::new("curl")
        .args(["-sS", "-X", "POST", endpoint, "-d", &body])
        .args(["-H", &format!("x-amz-content-sha256: {hash}")])
        .args(["-H", &format!("x-amz-date: {date}")])
        .args(["-H", &format!("authorization: {authorization}")])
        .output()
        .unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    let of = |name: &str| {
        let (_, rest) = said
            .split_once(&format!("<{name}>"))
            .unwrap_or_else(|| panic!("{said}"));
        rest.split_once('<').unwrap().0.to_owned()
    };
    Credentials {
        user: of("AccessKeyId"),
        secret: of("SecretAccessKey"),
        session_token: Some(of("SessionToken")),
        authorities: None,
    }
}

fn form(fields: &[(&str, &str)]) -> String {
    let encode = |text: &str| {
        text.bytes()
            .map(|byte| format!("%{byte:02X}"))
            .collect::<String>()
    };
    let fields = fields
        .iter()
        .map(|(name, value)| format!("{name}={}", encode(value)));
    fields.collect::<Vec<_>>().join("&")
}

/// What the guide asks for: to list, read, write and delete below `bakeoff/`, and nothing else.
pub const LEAST: &str = r#"{"Version":"2012-10-17","Statement":[
 {"Effect":"Allow","Action":["s3:ListBucket"],"Resource":["arn:aws:s3:::bakeoff"],
  "Condition":{"StringLike":{"s3:prefix":["bakeoff/*"]}}},
 {"Effect":"Allow","Action":["s3:GetObject","s3:PutObject","s3:DeleteObject"],"Resource":["arn:aws:s3:::bakeoff/bakeoff/*"]}]}"#;

#[test]
fn the_rights_that_the_guide_names_are_enough() {
    let minio = support::minio();
    runtime().block_on(async {
        support::backend("minio", &minio.endpoint, None).await;
        let confined = assumed(&minio.endpoint, LEAST).await;
        let whole = store::client(&minio.endpoint, "us-east-1", true, &confined);
        assert!(
            whole
                .list_objects_v2()
                .bucket("bakeoff")
                .send()
                .await
                .is_err()
        );
        let mut backend = external(&minio.endpoint);
        backend = Backend::new(backend.resolved, confined.clone()).unwrap();
        support::probe(&backend).await.unwrap();
        write(&whole, 2).await;
        assert_eq!(backend.remove(PREFIX).await.unwrap(), 2);
        let mut target = support::store_at(&minio.endpoint);
        target.bucket = "bakeoff".into();
        target.prefix = "bakeoff/results".into();
        let store = Store::bucket(&target, &confined);
        store.ensure().await.unwrap();
        store.put("a.json", b"{}".to_vec()).await.unwrap();
        assert_eq!(store.list("").await.unwrap(), ["a.json"]);
    });
}

pub async fn versioned(client: &Client) {
    let enabled = VersioningConfiguration::builder();
    let enabled = enabled.status(BucketVersioningStatus::Enabled).build();
    let put = client.put_bucket_versioning().bucket("bakeoff");
    put.versioning_configuration(enabled).send().await.unwrap();
}

#[test]
fn versions_and_delete_markers_are_removed() {
    let minio = support::minio();
    runtime().block_on(async {
        support::backend("minio", &minio.endpoint, None).await;
        let client = client(&minio.endpoint);
        versioned(&client).await;
        write(&client, 5).await;
        write(&client, 5).await;
        let gone = client.delete_object().bucket("bakeoff");
        gone.key(format!("{PREFIX}0")).send().await.unwrap();
        assert_eq!(entries(&client).await, 11);
        external(&minio.endpoint).remove(PREFIX).await.unwrap();
        assert_eq!(entries(&client).await, 0);
    });
}

/// MinIO is not among them: it takes a prefix for the whole name of an upload, and removes those that nobody ends itself after a day.
#[test]
fn an_upload_that_nobody_ended_goes_with_the_objects_and_no_other_does() {
    for server in [support::seaweedfs(), support::versitygw()] {
        runtime().block_on(async {
            support::backend("store", &server.endpoint, None).await;
            let client = client(&server.endpoint);
            for key in ["a", "b/c", "b/d"].map(|key| format!("{PREFIX}{key}")) {
                let begun = client.create_multipart_upload().bucket("bakeoff").key(key);
                begun.send().await.unwrap();
            }
            let other = client.create_multipart_upload().bucket("bakeoff");
            other.key("other/a").send().await.unwrap();
            external(&server.endpoint).remove(PREFIX).await.unwrap();
            let listed = client.list_multipart_uploads().bucket("bakeoff");
            let listed = listed.send().await.unwrap();
            let keys: Vec<_> = listed.uploads().iter().map(|one| one.key()).collect();
            assert_eq!(keys, [Some("other/a")]);
        });
    }
}

#[test]
fn uploads_go_whatever_else_stays_and_hold_nothing_up() {
    let server = support::seaweedfs();
    runtime().block_on(async {
        support::backend("store", &server.endpoint, None).await;
        let client = client(&server.endpoint);
        write(&client, 3).await;
        let begun = client.create_multipart_upload().bucket("bakeoff");
        begun.key(format!("{PREFIX}a")).send().await.unwrap();
        let refusing = |deletes: bool, status, code| {
            planted(&server.endpoint, move |head| {
                let query = head.uri.query().unwrap_or_default();
                let of_upload = query.contains("uploadId=");
                let deletes_it = head.method == http::Method::DELETE && of_upload != deletes;
                if deletes_it || deletes && is_batch(head) {
                    return error(status, code);
                }
                Planted::Pass
            })
        };
        let uploads = async || {
            let listed = client.list_multipart_uploads().bucket("bakeoff");
            listed.send().await.unwrap().uploads().len()
        };
        // Who may not abort them is told so in the log, and one that is gone meanwhile is not counted.
        let unaborted = refusing(false, 403, "AccessDenied").await;
        assert_eq!(external(&unaborted).remove(PREFIX).await.unwrap(), 3);
        let gone = refusing(false, 404, "NoSuchUpload").await;
        assert_eq!(external(&gone).remove(PREFIX).await.unwrap(), 0);
        assert_eq!(uploads().await, 1);
        write(&client, 3).await;
        let undeleted = refusing(true, 403, "AccessDenied").await;
        let left = external(&undeleted).remove(PREFIX).await.unwrap_err();
        assert_eq!(left.reason(), "ObjectsLeft", "{left}");
        assert!(left.to_string().contains("s3:DeleteObject there"), "{left}");
        assert_eq!(uploads().await, 0);
    });
}

#[test]
fn versions_that_stay_are_said_to_with_the_right_that_is_missing() {
    let minio = support::minio();
    runtime().block_on(async {
        support::backend("minio", &minio.endpoint, None).await;
        let client = client(&minio.endpoint);
        versioned(&client).await;
        write(&client, 5).await;
        // MinIO gives these rights with those of objects.
        for (refused, count) in [("versions", "5 versions"), ("versionId=", "10 versions")] {
            let proxy = planted(&minio.endpoint, move |head| {
                let query = head.uri.query().unwrap_or_default();
                if query.starts_with("versions") && refused == "versions"
                    || query.contains("versionId=") && refused == "versionId="
                    || is_batch(head) && refused == "versionId="
                {
                    return error(403, "AccessDenied");
                }
                Planted::Pass
            });
            let left = external(&proxy.await).remove(PREFIX).await.unwrap_err();
            assert_eq!(left.reason(), "ObjectsLeft", "{left}");
            let said = left.to_string();
            for part in [count, "s3:ListBucketVersions", "s3:DeleteObjectVersion"] {
                assert!(said.contains(part), "{said}");
            }
        }
    });
}

#[test]
fn a_bucket_that_keeps_every_object_is_refused_before_the_first() {
    use aws_sdk_s3::types::{
        DefaultRetention, ObjectLockConfiguration, ObjectLockEnabled, ObjectLockRetentionMode,
        ObjectLockRule,
    };
    let minio = support::minio();
    runtime().block_on(async {
        support::backend("minio", &minio.endpoint, None).await;
        let client = client(&minio.endpoint);
        let create = client.create_bucket().bucket("locked");
        create
            .object_lock_enabled_for_bucket(true)
            .send()
            .await
            .unwrap();
        let mut backend = external(&minio.endpoint);
        backend.resolved.bucket = "locked".into();
        let backend = Backend::new(backend.resolved, support::credentials()).unwrap();
        // Locked or not, without a default retention objects can be removed.
        support::probe(&backend).await.unwrap();
        backend.remove(PREFIX).await.unwrap();
        let retention = DefaultRetention::builder()
            .mode(ObjectLockRetentionMode::Governance)
            .days(1)
            .build();
        let rule = ObjectLockRule::builder()
            .default_retention(retention)
            .build();
        let lock = ObjectLockConfiguration::builder()
            .object_lock_enabled(ObjectLockEnabled::Enabled)
            .rule(rule)
            .build();
        let put = client.put_object_lock_configuration().bucket("locked");
        put.object_lock_configuration(lock).send().await.unwrap();
        let refused = support::probe(&backend).await.unwrap_err();
        assert_eq!(refused.reason(), "BucketLocked", "{refused}");
        assert!(refused.to_string().contains("GOVERNANCE"), "{refused}");
        let listed = client
            .list_object_versions()
            .bucket("locked")
            .send()
            .await
            .unwrap();
        assert!(listed.versions().is_empty());
    });
}

/// The first writes of the data are throttled, and some of their first listings fail: by count, so that it is the same however
/// fast the machine writes them.
#[test]
fn a_store_that_wants_time_while_data_are_prepared_gets_it() {
    use bakeoff_crds::figure::Counter;
    const THROTTLED: u64 = 20;
    let minio = support::minio();
    runtime().block_on(async {
        support::backend("minio", &minio.endpoint, None).await;
        let (puts, lists) = (AtomicU64::new(0), AtomicU64::new(0));
        let proxy = planted(&minio.endpoint, move |head| {
            let query = head.uri.query().unwrap_or_default();
            let written = head.method == http::Method::PUT && head.uri.path().contains("/d/");
            let listed = query.contains("list-type") && query.contains("%2Fd%2F");
            if written && puts.fetch_add(1, Ordering::Relaxed) < THROTTLED {
                let body = "<Error><Code>SlowDown</Code><Message>less</Message></Error>";
                return answer(503, &[("retry-after", "1")], body);
            }
            // Twenty runs are counted before and after they are written: the trial's own listings come far later.
            if listed && matches!(lists.fetch_add(1, Ordering::Relaxed), 0 | 3 | 6) {
                return error(500, "InternalError");
            }
            Planted::Pass
        });
        let backend = support::backend("slow", &proxy.await, None).await;
        let workload =
            "workloads:\n- {name: read, coldRead: {objectsPerRun: [50], modes: [ListPrefix]}}\n";
        let records = crate::backends::measured(workload, vec![backend]).await;
        let [record] = &records[..] else {
            panic!("{} trials", records.len())
        };
        assert!(record.verdict.is_valid(), "{:?}", record.verdict);
        let throttled = record.counters[&Counter::ThrottledPreparing];
        assert_eq!(throttled, THROTTLED as i64);
        assert_eq!(record.load.failed, 0, "{:?}", record.load);
    });
}
