//! How S3 is reached: certificates, addresses, connections, keys, and what listings look like. Needs BAKEOFF_MINIO.

use std::time::{Duration, Instant};

use crate::s3_stores::{LEAST, PREFIX, assumed, external};
use crate::support::fault_proxy::{Planted, planted};
use crate::support::{self, runtime};
use bakeoff_loadgen::credentials::Credentials;
use bakeoff_loadgen::run::Backend;
use bakeoff_loadgen::s3::xml;
use bakeoff_loadgen::store::{self, Store};
use base64::Engine as _;

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

        // Without it: long before patience ends, in words.
        let began = Instant::now();
        let strange = store::credentials(folder, None).unwrap();
        let probed = Backend::new(resolved, strange.clone()).unwrap();
        let probed = support::probe_for(&probed, Duration::from_secs(300)).await;
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
            began.elapsed() < Duration::from_secs(120),
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
        // Every connection is closed 20 ms after an answer, and used again 200 ms after it: each request would fail. On a
        // machine that is held up a close may cross a request, which is then a failure.
        let workload = "workloads:
- {name: put, smallObjectPut: {objectSize: [1Ki], prefixes: 1, load: {open: {ratePerSecond: [5], arrivals: Constant}}}}
";
        for record in crate::backends::measured(workload, vec![backend]).await {
            assert!(record.load.completed > 5, "{:?}", record.load);
            assert!(record.load.failed * 4 < record.load.completed, "{:?}", record.load);
        }
    });
}

/// A folder as a Secret is mounted.
pub fn mounted(folder: &std::path::Path, keys: &Credentials) {
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
