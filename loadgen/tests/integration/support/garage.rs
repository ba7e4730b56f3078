//! Nodes of Garage that are to become one cluster, each with what stands beside it.

use std::process::{Child, Command};

use bakeoff_loadgen::credentials::Credentials;
use bakeoff_loadgen::garage::{Joiner, Node, Place};

use super::{free_port, program, quiet};

/// Garage takes no shorter ones.
const KEY: &str = "bakeoff-key";
const SECRET: &str = "bakeoff-secret-of-16";
const TOKEN: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

pub fn credentials() -> Credentials {
    Credentials {
        user: KEY.into(),
        secret: SECRET.into(),
        ..super::credentials()
    }
}

/// A node with its data, which outlive it.
pub struct GarageNode {
    folder: tempfile::TempDir,
    server: Option<Child>,
    beside: Option<Child>,
    rpc: u16,
    admin: u16,
    s3: u16,
    /// Where what stands beside it listens.
    listen: u16,
}

fn end(child: &mut Option<Child>) {
    if let Some(mut child) = child.take() {
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Drop for GarageNode {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Three nodes that run and know nothing of each other.
pub fn three() -> [GarageNode; 3] {
    [(); 3].map(|()| {
        let mut node = GarageNode {
            folder: tempfile::tempdir().unwrap(),
            server: None,
            beside: None,
            rpc: free_port(),
            admin: free_port(),
            s3: free_port(),
            listen: free_port(),
        };
        node.configure();
        node.start();
        node
    })
}

impl GarageNode {
    /// As the operator has it, but for the addresses.
    fn configure(&self) {
        let Self { rpc, admin, s3, .. } = self;
        let folder = self.folder.path().display();
        let settings = format!(
            r#"metadata_dir = "{folder}/meta"
data_dir = "{folder}/blocks"
db_engine = "lmdb"
lmdb_map_size = "1G"
metadata_fsync = false
data_fsync = false
disable_scrub = true
replication_factor = 3
consistency_mode = "consistent"
compression_level = "none"
rpc_bind_addr = "127.0.0.1:{rpc}"
rpc_public_addr = "127.0.0.1:{rpc}"

[s3_api]
api_bind_addr = "127.0.0.1:{s3}"
s3_region = "us-east-1"

[admin]
api_bind_addr = "127.0.0.1:{admin}"
"#
        );
        std::fs::write(self.folder.path().join("garage.toml"), settings).unwrap();
    }

    /// Starts the node over its data.
    pub fn start(&mut self) {
        let mut command = Command::new(program("BAKEOFF_GARAGE"));
        command
            .arg("-c")
            .arg(self.folder.path().join("garage.toml"))
            .arg("server")
            .env("GARAGE_RPC_SECRET", TOKEN)
            .env("GARAGE_ADMIN_TOKEN", TOKEN);
        self.server = Some(quiet(command).spawn().unwrap());
    }

    /// Starts what stands beside it, as the operator does.
    pub fn stand_beside(&mut self, beside: &[String]) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
        command
            .args(["join-garage", "--bucket", "bakeoff"])
            .args(["--region", "us-east-1", "--s3", &self.endpoint()])
            .args(["--admin", &self.admin_url()])
            .args(["--address", &self.address()])
            .args(["--listen", &format!("127.0.0.1:{}", self.listen)])
            .env("GARAGE_ADMIN_TOKEN", TOKEN)
            .env("AWS_ACCESS_KEY_ID", KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET);
        for url in beside {
            command.args(["--beside", url]);
        }
        self.beside = Some(quiet(command).spawn().unwrap());
    }

    /// Kills the node and what stands beside it, with SIGKILL.
    pub fn kill(&mut self) {
        end(&mut self.server);
        end(&mut self.beside);
    }

    /// Has it know no address of another node at its next start.
    pub fn forget_others(&self) {
        let file = self.folder.path().join("meta/peer_list");
        std::fs::remove_file(file).unwrap();
    }

    /// The same function that stands beside it, to be called step by step.
    pub fn joiner(&self, beside: &[String]) -> Joiner {
        let place = Place {
            admin: self.admin_url(),
            token: TOKEN.into(),
            s3: self.endpoint(),
            region: "us-east-1".into(),
            bucket: "bakeoff".into(),
            address: self.address(),
            beside: beside.to_vec(),
        };
        Joiner::new(place, credentials()).unwrap()
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.s3)
    }

    fn admin_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.admin)
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.rpc)
    }

    /// The URL of what stands beside it.
    pub fn beside(&self) -> String {
        format!("http://127.0.0.1:{}", self.listen)
    }

    /// What its admin API says.
    pub async fn said(&self, what: &str) -> serde_json::Value {
        let url = format!("{}/v2/{what}", self.admin_url());
        let headers = [("authorization", format!("Bearer {TOKEN}"))];
        let patience = std::time::Duration::from_secs(20);
        let asked = bakeoff_loadgen::net::send(
            http::Method::GET,
            &url,
            &headers,
            bytes::Bytes::new(),
            patience,
        );
        let (status, body) = asked.await.unwrap();
        assert_eq!(status, 200, "{what}: {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).unwrap()
    }
}

/// Waits until the node answers, and what the others are told of it.
pub async fn known(joiner: &Joiner) -> Node {
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(240);
    loop {
        match joiner.own().await {
            Ok(node) => return node,
            Err(error) => assert!(std::time::Instant::now() < patience, "{error}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}
