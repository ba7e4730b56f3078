//! What stands beside a server and tells it what its command line cannot.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bakeoff_loadgen::net;
use bytes::Bytes;

use crate::support;

const RULE: &str = r#"{"version":1,"locations":[{"locationPrefix":"/buckets/","fsync":true}]}"#;

struct Beside(Child);

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn status(url: &str) -> Option<u16> {
    let answer = net::request(http::Method::GET, url, Duration::from_secs(5)).await;
    answer.ok().map(|(status, _)| status)
}

/// Waits until it is answered with this status; a minute is far more than any of it takes.
async fn until(url: &str, expected: u16) {
    let patience = Instant::now() + Duration::from_secs(60);
    while status(url).await != Some(expected) {
        assert!(
            Instant::now() < patience,
            "{url} does not answer {expected}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[test]
fn seaweedfs_has_its_rule_before_it_is_called_ready_and_keeps_it() {
    let mut weed = support::seaweedfs();
    let url = format!("{}/etc/seaweedfs/filer.conf", weed.filer);
    let listen = format!("127.0.0.1:{}", support::free_port());
    let ready = format!("http://{listen}/readyz");
    let _beside = Beside(
        Command::new(env!("CARGO_BIN_EXE_loadgen"))
            .args([
                "set",
                "--url",
                &url,
                "--body",
                RULE,
                "--settle-seconds",
                "1",
                "--listen",
                &listen,
            ])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    support::runtime().block_on(async {
        // The server is only about to start, so nothing can be in force yet.
        until(&ready, 503).await;
        until(&ready, 200).await;
        let (status, there) = net::request(http::Method::GET, &url, Duration::from_secs(5))
            .await
            .unwrap();
        assert_eq!((status, there), (200, Bytes::from(RULE)));
        weed.restart();
        until(&url, 200).await;
        assert_eq!(rule_at(&url).await, RULE, "it survives a restart");
    });
}

async fn rule_at(url: &str) -> Bytes {
    let answer = net::request(http::Method::GET, url, Duration::from_secs(5)).await;
    answer.unwrap().1
}
