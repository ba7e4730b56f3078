//! What is said where an S3 endpoint or results store refuses: a proxy before MinIO answers as others do. Needs
//! BAKEOFF_MINIO.

use std::time::{Duration, Instant};

use crate::s3_stores::external;
use crate::support::fault_proxy::{Planted, answer, error, planted};
use crate::support::{self, runtime};
use bakeoff_loadgen::credentials::Credentials;
use bakeoff_loadgen::drivers::probe::ProbeError;
use bakeoff_loadgen::run::Backend;
use bakeoff_loadgen::store::{self, Store};

/// What the probe says of an endpoint whose every answer is planted, long before its patience ends.
async fn refusal(
    minio: &str,
    plant: impl Fn(&http::request::Parts) -> Planted + Send + Sync + 'static,
) -> ProbeError {
    let began = Instant::now();
    let backend = external(&planted(minio, plant).await);
    let refused = support::probe_for(&backend, Duration::from_secs(300)).await;
    assert!(
        began.elapsed() < Duration::from_secs(120),
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
        let at = minio.endpoint.as_str();
        let asked = cases.map(async |(reason, parts, plant)| {
            let probed = refusal(at, move |_| plant()).await;
            let stored = store_refusal(at, move |_| plant()).await;
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
        });
        futures::future::join_all(asked).await;
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

#[test]
fn keys_that_nobody_knows_are_said_to_be_so_however_short_the_patience() {
    let minio = support::minio();
    support::runtime().block_on(async {
        support::backend("minio", &minio.endpoint, None).await;
        let unknown = Credentials {
            user: "nobody".into(),
            ..support::credentials()
        };
        let backend = Backend::new(support::s3("minio", &minio.endpoint), unknown).unwrap();
        // New keys get half a minute to be known everywhere: more than there is here.
        let driver = backend.access.driver();
        let patience = Duration::from_secs(3);
        let refused = driver.probe(&backend.resolved, patience).await.unwrap_err();
        assert_eq!(refused.reason(), "EndpointUnauthorized", "{refused}");
    });
}
