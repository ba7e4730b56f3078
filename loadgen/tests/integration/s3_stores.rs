//! S3 as others serve it: a proxy before MinIO answers as they do. Needs BAKEOFF_MINIO.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::support::fault_proxy::{Planted, answer, error, planted};
use crate::support::{self, runtime};
use aws_sdk_s3::Client;
use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use bakeoff_loadgen::credentials::Credentials;
use bakeoff_loadgen::drivers::probe::ProbeError;
use bakeoff_loadgen::drivers::s3::sigv4::{Request, Signer, sha256_hex};
use bakeoff_loadgen::drivers::s3::xml;
use bakeoff_loadgen::instrument::clock;
use bakeoff_loadgen::run::Backend;
use bakeoff_loadgen::store::{self, Store};
use base64::Engine as _;

const PREFIX: &str = "bakeoff/test/";

/// An endpoint that nobody provisioned for the experiment.
fn external(endpoint: &str) -> Backend {
    let mut resolved = support::s3("outside", endpoint);
    resolved.provisioned = false;
    Backend::new(resolved, support::credentials()).unwrap()
}

fn client(endpoint: &str) -> Client {
    store::client(endpoint, "us-east-1", true, &support::credentials())
}

async fn write(client: &Client, count: usize) {
    for number in 0..count {
        let put = client.put_object().bucket("bakeoff");
        put.key(format!("{PREFIX}{number}")).send().await.unwrap();
    }
}

async fn entries(client: &Client) -> usize {
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

/// What the probe says of an endpoint whose every answer is planted, and how long it took.
async fn refusal(
    minio: &str,
    plant: impl Fn(&http::request::Parts) -> Planted + Send + Sync + 'static,
) -> ProbeError {
    let began = Instant::now();
    let refused = support::probe(&external(&planted(minio, plant).await)).await;
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "{:?}",
        began.elapsed()
    );
    refused.unwrap_err()
}

/// What the results store says of the same.
async fn store_refusal(
    minio: &str,
    plant: impl Fn(&http::request::Parts) -> Planted + Send + Sync + 'static,
) -> store::StoreError {
    let endpoint = planted(minio, plant).await;
    Store::bucket(&support::store_at(&endpoint), &support::credentials())
        .ensure()
        .await
        .unwrap_err()
}

type Case = (&'static str, &'static [&'static str], fn() -> Planted);

#[test]
fn each_refusal_says_what_it_is_and_what_to_change() {
    const PAGE: &str =
        "<html><head><title>403 Forbidden</title></head><body>a web server</body></html>";
    let cases: [Case; 9] = [
        (
            "EndpointRefused",
            &["HTTP 403", "Forbidden a web server"],
            || answer(403, &[], PAGE),
        ),
        ("EndpointRefused", &["HTTP 413", "Too Large"], || {
            answer(413, &[], "<h1>Request Entity Too Large</h1>")
        }),
        ("EndpointRefused", &["HTTP 407", "proxy"], || {
            answer(407, &[], "who are you")
        }),
        (
            "EndpointRefused",
            &["HTTP 404", "404 page not found"],
            || answer(404, &[], "404 page not found"),
        ),
        (
            "EndpointElsewhere",
            &["region eu-west-1", "s3.eu-west-1.example.org"],
            || {
                let body = "<Error><Code>PermanentRedirect</Code><Message>m</Message><Endpoint>s3.eu-west-1.example.org</Endpoint></Error>";
                answer(301, &[("x-amz-bucket-region", "eu-west-1")], body)
            },
        ),
        ("EndpointElsewhere", &["https://other.example.org"], || {
            answer(
                307,
                &[("location", "https://other.example.org/bakeoff")],
                "",
            )
        }),
        ("EndpointElsewhere", &["region eu-central-1"], || {
            let body = "<Error><Code>AuthorizationHeaderMalformed</Code><Message>m</Message><Region>eu-central-1</Region></Error>";
            answer(400, &[], body)
        }),
        ("BucketNameInvalid", &["name of the bucket"], || {
            error(400, "InvalidBucketName")
        }),
        (
            "EndpointUnauthorized",
            &["SignatureDoesNotMatch", "credentials"],
            || error(403, "SignatureDoesNotMatch"),
        ),
    ];
    let minio = support::minio();
    runtime().block_on(async {
        for (reason, parts, plant) in cases {
            let probed = refusal(&minio.endpoint, move |_| plant()).await;
            let stored = store_refusal(&minio.endpoint, move |_| plant()).await;
            for (found, said) in [
                (probed.reason(), probed.to_string()),
                (stored.reason(), stored.to_string()),
            ] {
                assert_eq!(found, reason, "{said}");
                for part in parts {
                    assert!(said.contains(part), "{said}");
                }
            }
            assert!(!stored.retryable() && !probed.retryable(), "{stored}");
        }
    });
}

/// A page of a web server in place of a listing is no listing.
#[test]
fn a_page_with_status_200_is_no_store() {
    let minio = support::minio();
    runtime().block_on(async {
        let page = || {
            answer(
                200,
                &[("content-type", "text/html")],
                "<html><body>Console</body></html>",
            )
        };
        let probed = refusal(&minio.endpoint, move |_| page()).await;
        assert_eq!(probed.reason(), "EndpointRefused", "{probed}");
        assert!(probed.to_string().contains("Console"), "{probed}");
        let stored = store_refusal(&minio.endpoint, move |_| page()).await;
        assert_eq!(stored.reason(), "EndpointRefused", "{stored}");
    });
}

#[test]
fn clocks_that_differ_are_said_to_and_by_how_much() {
    let minio = support::minio();
    runtime().block_on(async {
        let behind = jiff::Timestamp::now() - jiff::SignedDuration::from_mins(20);
        let date = behind.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let skewed = move || {
            let body = "<Error><Code>RequestTimeTooSkewed</Code><Message>m</Message></Error>";
            answer(403, &[("date", &date)], body)
        };
        let again = skewed.clone();
        let probed = refusal(&minio.endpoint, move |_| skewed()).await;
        assert_eq!(probed.reason(), "ClocksDiffer", "{probed}");
        assert!(probed.to_string().contains("120"), "{probed}");
        let stored = store_refusal(&minio.endpoint, move |_| again()).await;
        assert_eq!(stored.reason(), "ClocksDiffer", "{stored}");
        assert!(
            stored.to_string().contains("s ahead of the server's"),
            "{stored}"
        );
    });
}

#[test]
fn a_put_that_wants_more_is_no_matter_of_credentials() {
    let minio = support::minio();
    runtime().block_on(async {
        support::backend("minio", &minio.endpoint, None).await;
        let on_put = |head: &http::request::Parts, planted: fn() -> Planted| {
            if head.method == http::Method::PUT { planted() } else { Planted::Pass }
        };
        let lock = refusal(&minio.endpoint, move |head| {
            on_put(head, || {
                let message = "Content-MD5 HTTP header is required for Put Object requests with Object Lock parameters";
                answer(400, &[], &format!("<Error><Code>InvalidRequest</Code><Message>{message}</Message></Error>"))
            })
        });
        let lock = lock.await;
        assert_eq!(lock.reason(), "BucketLocked", "{lock}");
        assert!(lock.to_string().contains("Object Lock"), "{lock}");
        let unsigned = refusal(&minio.endpoint, |head| {
            let hash = head.headers.get("x-amz-content-sha256");
            if hash.is_some_and(|hash| hash == "UNSIGNED-PAYLOAD") {
                error(403, "AccessDenied")
            } else {
                Planted::Pass
            }
        });
        let unsigned = unsigned.await;
        for part in ["x-amz-content-sha256: UNSIGNED-PAYLOAD", "signPayload: true", "writing an object"] {
            assert!(unsigned.to_string().contains(part), "{unsigned}");
        }
    });
}

/// A store that refuses unsigned bodies is measured where they are signed, and what was sent says so.
#[test]
fn signed_payloads_are_taken_where_unsigned_ones_are_not() {
    let minio = support::minio();
    runtime().block_on(async {
        support::backend("minio", &minio.endpoint, None).await;
        let proxy = planted(&minio.endpoint, |head| {
            let hash = head.headers.get("x-amz-content-sha256");
            if hash.is_some_and(|hash| hash == "UNSIGNED-PAYLOAD") {
                error(403, "AccessDenied")
            } else {
                Planted::Pass
            }
        });
        let mut backend = external(&proxy.await);
        backend.resolved.sign_payload = true;
        let backend = Backend::new(backend.resolved, support::credentials()).unwrap();
        support::probe(&backend).await.unwrap();
        let (_, habits) = backend.access.driver().habits();
        assert!(habits.contains("SHA-256 of each body"), "{habits}");
    });
}

/// Temporary credentials with a policy, as MinIO's STS gives them.
async fn assumed(endpoint: &str, policy: &str) -> Credentials {
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
const LEAST: &str = r#"{"Version":"2012-10-17","Statement":[
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

async fn versioned(client: &Client) {
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

/// Throttling of two seconds in five, and a listing in three that fails.
#[test]
fn a_store_that_wants_time_while_data_are_prepared_gets_it() {
    use bakeoff_crds::figure::Counter;
    let minio = support::minio();
    runtime().block_on(async {
        support::backend("minio", &minio.endpoint, None).await;
        let began = Instant::now();
        let lists = Arc::new(AtomicU64::new(0));
        let proxy = planted(&minio.endpoint, move |head| {
            let preparing = began.elapsed() < Duration::from_secs(8);
            let listing = head
                .uri
                .query()
                .is_some_and(|query| query.contains("list-type"));
            let dataset = head.uri.path().contains("/d/")
                || head
                    .uri
                    .query()
                    .is_some_and(|query| query.contains("%2Fd%2F"));
            if !preparing || !dataset {
                return Planted::Pass;
            }
            if listing && lists.fetch_add(1, Ordering::Relaxed).is_multiple_of(3) {
                return error(500, "InternalError");
            }
            if head.method == http::Method::PUT && began.elapsed().as_millis() % 5_000 < 2_000 {
                let body = "<Error><Code>SlowDown</Code><Message>less</Message></Error>";
                return answer(503, &[("retry-after", "1")], body);
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
        assert!(
            record.counters[&Counter::ThrottledPreparing] > 0,
            "{:?}",
            record.counters
        );
    });
}

/// MinIO with a certificate of an authority of one's own, and the folder with both.
fn encrypted() -> (support::Server, tempfile::TempDir) {
    let pki = tempfile::tempdir().unwrap();
    support::certificates(pki.path(), "IP:127.0.0.1,DNS:localhost");
    let served = pki.path().join("served");
    std::fs::create_dir(&served).unwrap();
    std::fs::copy(pki.path().join("server.crt"), served.join("public.crt")).unwrap();
    std::fs::copy(pki.path().join("server.key"), served.join("private.key")).unwrap();
    (support::minio_at("https", "127.0.0.1", Some(served)), pki)
}

#[test]
fn an_authority_of_ones_own_is_trusted_where_it_is_given() {
    let (minio, pki) = encrypted();
    std::fs::write(pki.path().join("accessKeyId"), support::KEY).unwrap();
    std::fs::write(pki.path().join("secretAccessKey"), support::SECRET).unwrap();
    let folder = pki.path().to_str().unwrap();
    runtime().block_on(async {
        let trusting = store::credentials(folder, Some("ca.crt")).unwrap();
        let resolved = support::s3("tls", &minio.endpoint);
        let backend = Backend::new(resolved.clone(), trusting.clone()).unwrap();
        support::probe(&backend).await.unwrap();
        assert_eq!(backend.remove(PREFIX).await.unwrap(), 0);
        let mut target = support::store_at(&minio.endpoint);
        target.credentials_dir = folder.to_owned();
        target.ca_key = Some("ca.crt".to_owned());
        let store = Store::open(&target).unwrap();
        store.ensure().await.unwrap();
        store.put("a.json", b"{}".to_vec()).await.unwrap();

        // Without it: within seconds, in words.
        let began = Instant::now();
        let strange = store::credentials(folder, None).unwrap();
        let probed = support::probe(&Backend::new(resolved, strange.clone()).unwrap()).await;
        let probed = probed.unwrap_err();
        let stored = Store::bucket(&target, &strange).ensure().await.unwrap_err();
        for (reason, said) in [
            (probed.reason(), probed.to_string()),
            (stored.reason(), stored.to_string()),
        ] {
            assert_eq!(reason, "AuthorityUnknown", "{said}");
            assert!(
                said.contains("caKey") && said.contains("--ca-file"),
                "{said}"
            );
        }
        assert!(!stored.retryable());
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "{:?}",
            began.elapsed()
        );

        // The other scheme, both ways round.
        let plain = minio.endpoint.replace("https://", "http://");
        let probed = support::probe(&external(&plain)).await.unwrap_err();
        assert_eq!(probed.reason(), "EndpointRefused", "{probed}");
        let other = support::minio();
        support::backend("plain", &other.endpoint, None).await;
        let https = other.endpoint.replace("http://", "https://");
        let probed = support::probe(&external(&https)).await.unwrap_err();
        assert_eq!(probed.reason(), "EndpointRefused", "{probed}");
        assert!(probed.to_string().contains("http and https"), "{probed}");
    });
}

/// The command line, with the credentials in its environment.
fn loadgen(arguments: &[&str]) -> std::process::Output {
    std::process::Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(arguments)
        .env("AWS_ACCESS_KEY_ID", support::KEY)
        .env("AWS_SECRET_ACCESS_KEY", support::SECRET)
        .env_remove("AWS_CA_BUNDLE")
        .output()
        .unwrap()
}

#[test]
fn commands_take_an_authority_of_ones_own() {
    let (minio, pki) = encrypted();
    let authority = pki.path().join("ca.crt");
    let authority = authority.to_str().unwrap();
    let workload = pki.path().join("w.yaml");
    std::fs::write(
        &workload,
        "workloads:\n- {name: put, smallObjectPut: {objectSize: [1Ki], load: {closed: {concurrency: [1]}}}}\n\
         trials: {blocks: 1, warmupSeconds: 0, windowSeconds: 1}\n",
    )
    .unwrap();
    let out = pki.path().join("out");
    let endpoint = format!("a={}", minio.endpoint);
    let run = [
        "run",
        "-f",
        workload.to_str().unwrap(),
        "--endpoint",
        &endpoint,
        "--create-bucket",
    ];
    let run = [&run[..], &["--out", out.to_str().unwrap()]].concat();
    let strange = loadgen(&run);
    let said = String::from_utf8_lossy(&strange.stderr).into_owned();
    assert_eq!(strange.status.code(), Some(1), "{said}");
    assert!(said.contains("--ca-file"), "{said}");
    std::fs::remove_dir_all(&out).ok();
    let trusted = loadgen(&[&run[..], &["--ca-file", authority]].concat());
    let said = String::from_utf8_lossy(&trusted.stderr).into_owned();
    // What was measured may be void on a machine that is busy with other tests.
    assert!(matches!(trusted.status.code(), Some(0 | 5)), "{said}");
    let at = [
        "compare",
        "s3://bakeoff/none",
        "s3://bakeoff/none",
        "--endpoint",
        &minio.endpoint,
    ];
    let reached = loadgen(&[&at[..], &["--ca-file", authority]].concat());
    let said = String::from_utf8_lossy(&reached.stderr).into_owned();
    assert!(said.contains("no summary.json"), "{said}");
    let said = String::from_utf8_lossy(&loadgen(&at).stderr).into_owned();
    assert!(said.contains("authority"), "{said}");
}

#[test]
fn addresses_of_ipv6_are_reached() {
    use bakeoff_loadgen::drivers::redis::LockServer;
    use bakeoff_loadgen::net;
    let minio = support::minio_at("http", "[::1]", None);
    runtime().block_on(async {
        let backend = support::backend("six", &minio.endpoint, Some(&minio.metrics)).await;
        let driver = backend.access.driver();
        assert!(driver.observe(&backend.resolved).await.is_some());
        assert_eq!(backend.remove(PREFIX).await.unwrap(), 0);
        let mut target = support::store_at(&minio.endpoint);
        target.bucket = "bakeoff".into();
        let store = Store::bucket(&target, &support::credentials());
        store.put("a.json", b"{}".to_vec()).await.unwrap();
        assert_eq!(store.list("").await.unwrap(), ["a.json"]);
        // What listens on every address of the machine is reached by both kinds.
        let listener = net::listen("[::]:0".parse().unwrap()).unwrap();
        let port = listener.local_addr().unwrap().port();
        for address in [format!("127.0.0.1:{port}"), format!("[::1]:{port}")] {
            std::net::TcpStream::connect(&address).unwrap();
            let lock = format!("redis://{address}");
            let lock = LockServer::new(&lock, &support::credentials(), Duration::from_secs(1));
            assert_eq!(lock.unwrap().address(), address);
        }
    });
}

/// Changes the listings of objects below the prefix.
async fn listings(minio: &str, change: fn(&http::request::Parts, String) -> String) -> String {
    planted(minio, move |head| {
        if !head
            .uri
            .query()
            .is_some_and(|query| query.contains("list-type"))
        {
            return Planted::Pass;
        }
        let copy = http::Request::builder()
            .uri(head.uri.clone())
            .body(())
            .unwrap();
        let (copy, ()) = copy.into_parts();
        Planted::Change(Box::new(move |body| {
            change(&copy, String::from_utf8(body.to_vec()).unwrap()).into()
        }))
    })
    .await
}

#[test]
fn listings_are_read_as_other_stores_write_them() {
    type Change = fn(&http::request::Parts, String) -> String;
    let dialects: [(&str, Change); 3] = [
        ("another namespace", |_, body| {
            body.replace(
                "http://s3.amazonaws.com/doc/2006-03-01/",
                "http://obs.example.org/doc",
            )
        }),
        ("keys that are encoded though nobody asked", |_, body| {
            let body = body.replace(
                "<IsTruncated>",
                "<EncodingType>url</EncodingType><IsTruncated>",
            );
            let mut parts = body.split("<Key>");
            let mut all = parts.next().unwrap().to_owned();
            for part in parts {
                let (key, rest) = part.split_once("</Key>").unwrap();
                let key: String = key.bytes().map(|byte| format!("%{byte:02X}")).collect();
                all.push_str(&format!("<Key>{key}</Key>{rest}"));
            }
            all
        }),
        (
            "an empty page first, that says that more follow",
            |head, body| {
                let query = head.uri.query().unwrap_or_default();
                if query.contains("continuation-token")
                    || query.contains("start-after")
                    || query.contains("max-keys=1&")
                {
                    return body;
                }
                let (start, _) = body.split_once("<Contents>").unwrap_or((&body, ""));
                if start.len() == body.len() {
                    return body;
                }
                // MinIO takes any key below the prefix as the place to go on from.
                let prefix = query
                    .split('&')
                    .find_map(|field| field.strip_prefix("prefix="));
                let prefix = xml::decoded(prefix.unwrap_or_default()).unwrap();
                let token = base64::engine::general_purpose::STANDARD.encode(prefix);
                let token = format!("<NextContinuationToken>{token}</NextContinuationToken>");
                let start = start.replace("<IsTruncated>false", "<IsTruncated>true");
                let start = start
                    .replace("<NextContinuationToken>", "<Was>")
                    .replace("</NextContinuationToken>", "</Was>");
                format!("{start}{token}</ListBucketResult>")
            },
        ),
    ];
    let minio = support::minio();
    runtime().block_on(async {
        support::backend("minio", &minio.endpoint, None).await;
        for (what, change) in dialects {
            let backend = support::backend("proxied", &listings(&minio.endpoint, change).await, None).await;
            let workloads = "workloads:
- {name: read, coldRead: {objectsPerRun: [30], modes: [ListPrefix, StartAfter, TokenPaging], pageSize: 7}}
- {name: check, consistency: {writers: 2, listers: 1, operations: 60, pageSizes: [100], keyShapes: [Flat]}}
";
            for record in crate::backends::measured(workloads, vec![backend]).await {
                let found: Vec<_> = record.checks.iter().filter(|check| check.violations > 0).collect();
                assert!(record.verdict.is_valid() && found.is_empty(), "{what}: {record:?}");
                assert_eq!(record.load.failed, 0, "{what}: {:?}", record.load);
            }
        }
    });
}

#[test]
fn a_connection_that_was_closed_between_two_requests_is_no_failure() {
    let minio = support::minio();
    runtime().block_on(async {
        support::backend("minio", &minio.endpoint, None).await;
        let proxy = planted(&minio.endpoint, |_| Planted::Close).await;
        let backend = support::backend("proxied", &proxy, None).await;
        // Every connection is closed 2 ms after an answer, and used again 100 ms after it.
        let workload = "workloads:
- {name: put, smallObjectPut: {objectSize: [1Ki], prefixes: 1, load: {open: {ratePerSecond: [20]}}}}
";
        for record in crate::backends::measured(workload, vec![backend]).await {
            assert!(record.load.completed > 20, "{:?}", record.load);
            assert_eq!(record.load.failed, 0, "{:?}", record.load);
        }
    });
}

/// A folder as a Secret is mounted.
fn mounted(folder: &std::path::Path, keys: &Credentials) {
    std::fs::write(folder.join("accessKeyId"), &keys.user).unwrap();
    std::fs::write(folder.join("secretAccessKey"), &keys.secret).unwrap();
    if let Some(token) = &keys.session_token {
        std::fs::write(folder.join("sessionToken"), token).unwrap();
    }
}

#[test]
fn keys_that_were_changed_are_read_again() {
    let minio = support::minio();
    let folder = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        support::backend("minio", &minio.endpoint, None).await;
        // Of these the store knows nothing.
        let old = Credentials {
            user: "gone".into(),
            ..support::credentials()
        };
        mounted(folder.path(), &old);
        let path = folder.path().to_str().unwrap();
        let mut target = support::store_at(&minio.endpoint);
        target.bucket = "bakeoff".into();
        target.prefix = "bakeoff/results".into();
        target.credentials_dir = path.to_owned();
        let store = Store::open(&target).unwrap();
        let rotated = async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            mounted(folder.path(), &assumed(&minio.endpoint, LEAST).await);
        };
        let put = store.put("a.json", b"{}".to_vec());
        let (put, ()) = tokio::join!(put, rotated);
        put.unwrap();
    });
}
