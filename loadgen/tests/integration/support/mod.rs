//! Real servers on free ports, gone with their guard.

pub mod fault_proxy;
pub mod garage;
pub mod pgbouncer;
pub mod postgres;
pub mod redis;
pub mod runner;

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bakeoff_crds::run::{ResolvedBackend, StoreTarget};
use bakeoff_crds::spec::BackendKind;
use bakeoff_loadgen::credentials::Credentials;
use bakeoff_loadgen::drivers::probe::ProbeError;
use bakeoff_loadgen::run::Backend;

pub const KEY: &str = "bakeoff";
pub const SECRET: &str = "bakeoff-secret";

pub fn credentials() -> Credentials {
    Credentials {
        user: KEY.into(),
        secret: SECRET.into(),
        session_token: None,
        authorities: None,
    }
}

/// The generator's.
pub fn runtime() -> tokio::runtime::LocalRuntime {
    bakeoff_loadgen::instrument::runtime::local().unwrap()
}

/// A server process and its data; killed and removed when dropped.
pub struct Server {
    child: Child,
    folder: tempfile::TempDir,
    pub endpoint: String,
    pub metrics: String,
    /// The filer of SeaweedFS.
    pub filer: String,
    restart: Box<dyn Fn(&Path) -> Command + Send>,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start(
        endpoint: String,
        metrics: String,
        restart: Box<dyn Fn(&Path) -> Command + Send>,
    ) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), endpoint, metrics, restart)
    }

    fn start_in(
        folder: tempfile::TempDir,
        endpoint: String,
        metrics: String,
        restart: Box<dyn Fn(&Path) -> Command + Send>,
    ) -> Self {
        let child = restart(folder.path()).spawn().expect("the server starts");
        Self {
            child,
            folder,
            endpoint,
            metrics,
            filer: String::new(),
            restart,
        }
    }

    /// Where its data are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Kills the server and starts it again over the same data.
    pub fn restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = (self.restart)(self.folder.path()).spawn().unwrap();
    }
}

fn program(variable: &str) -> PathBuf {
    let path = std::env::var(variable)
        .unwrap_or_else(|_| panic!("set {variable} to the path of the server (dev/tools path …)"));
    PathBuf::from(path)
}

/// A port for a server, given to no other test, of this process or of another one beside it: a file says whose it is until the
/// process ends. Below those that the kernel gives to connections: one of these could be taken by a client between the choice and
/// the server's start. SeaweedFS listens 10,000 above its ports as well.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    static OURS: Mutex<Vec<File>> = Mutex::new(Vec::new());
    let first = u16::try_from(std::process::id() % 2_000).unwrap();
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let files = std::env::temp_dir().join("bakeoff-test-ports");
    let _ = std::fs::create_dir_all(&files);
    let ours = |port: u16| {
        // Where somebody else's files are, the port alone tells.
        let Ok(file) = File::create(files.join(port.to_string())) else {
            return true;
        };
        let ours = file.try_lock().is_ok();
        if ours {
            OURS.lock().unwrap().push(file);
        }
        ours
    };
    (0..2_000)
        .map(|_| 20_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 2_000)
        .find(|&port| free(port) && free(port + 10_000) && ours(port))
        .expect("a free port")
}

fn quiet(mut command: Command) -> Command {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

pub fn minio() -> Server {
    minio_at("http", "127.0.0.1", None)
}

/// MinIO at an address of this machine, with the certificate and key of a folder where its scheme is https.
pub fn minio_at(scheme: &str, host: &str, certificates: Option<PathBuf>) -> Server {
    minio_of(
        scheme,
        host,
        certificates,
        Arc::new(Mutex::new(SECRET.to_owned())),
    )
}

/// MinIO whose secret is another after a restart.
pub fn minio_with(secret: Arc<Mutex<String>>) -> Server {
    minio_of("http", "127.0.0.1", None, secret)
}

fn minio_of(
    scheme: &str,
    host: &str,
    certificates: Option<PathBuf>,
    secret: Arc<Mutex<String>>,
) -> Server {
    let program = program("BAKEOFF_MINIO");
    let port = free_port();
    let address = format!("{host}:{port}");
    let endpoint = format!("{scheme}://{address}");
    let metrics = format!("{endpoint}/minio/v2/metrics/node");
    Server::start(
        endpoint,
        metrics,
        Box::new(move |folder| {
            let mut command = Command::new(&program);
            command
                .arg("server")
                .arg(folder)
                .args(["--address", &address])
                .env("HOME", folder)
                .env("MINIO_ROOT_USER", KEY)
                .env("MINIO_ROOT_PASSWORD", &*secret.lock().unwrap())
                .env("MINIO_BROWSER", "off")
                .env("MINIO_PROMETHEUS_AUTH_TYPE", "public");
            if let Some(certificates) = &certificates {
                command.arg("--certs-dir").arg(certificates);
            }
            quiet(command)
        }),
    )
}

/// MinIO with four drives, over which objects are erasure coded, as the operator runs it.
pub fn minio_of_four_drives() -> Server {
    let program = program("BAKEOFF_MINIO");
    let address = format!("127.0.0.1:{}", free_port());
    Server::start(
        format!("http://{address}"),
        String::new(),
        Box::new(move |folder| {
            let mut command = Command::new(&program);
            command
                .arg("server")
                .arg(format!("{}/data{{1...4}}", folder.display()))
                .args(["--address", &address])
                .env("HOME", folder)
                .env("MINIO_ROOT_USER", KEY)
                .env("MINIO_ROOT_PASSWORD", SECRET)
                .env("MINIO_BROWSER", "off")
                .env("MINIO_CI_CD", "1")
                .env("MINIO_STORAGE_CLASS_STANDARD", "EC:2");
            quiet(command)
        }),
    )
}

pub fn seaweedfs() -> Server {
    let program = program("BAKEOFF_WEED");
    let (s3, metrics) = (free_port(), free_port());
    let (master, volume, filer) = (free_port(), free_port(), free_port());
    let mut server = Server::start(
        format!("http://127.0.0.1:{s3}"),
        format!("http://127.0.0.1:{metrics}/metrics"),
        Box::new(move |folder| {
            let mut command = Command::new(&program);
            command
                .arg("server")
                .arg(format!("-dir={}", folder.display()))
                .args([
                    "-ip=127.0.0.1",
                    "-ip.bind=127.0.0.1",
                    "-filer",
                    "-s3",
                    "-s3.iam=false",
                ])
                .args([
                    "-s3.port.iceberg=0",
                    "-s3.port.lance=0",
                    "-master.telemetry=false",
                ])
                .args([
                    "-master.volumeSizeLimitMB=64",
                    "-volume.max=100",
                    "-metricsIp=127.0.0.1",
                ])
                .arg(format!("-s3.port={s3}"))
                .arg(format!("-metricsPort={metrics}"))
                .arg(format!("-master.port={master}"))
                .arg(format!("-volume.port={volume}"))
                .arg(format!("-filer.port={filer}"))
                .env("HOME", folder)
                .env("AWS_ACCESS_KEY_ID", KEY)
                .env("AWS_SECRET_ACCESS_KEY", SECRET);
            quiet(command)
        }),
    );
    server.filer = format!("http://127.0.0.1:{filer}");
    server
}

/// versitygw, which keeps objects as files, and what it knows of them in extended attributes: its folder is below that of the build, as
/// temporary folders may be on a file system without these. It tells no metrics.
pub fn versitygw() -> Server {
    let program = program("BAKEOFF_VERSITYGW");
    let address = format!("127.0.0.1:{}", free_port());
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    for name in ["data", "versions"] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
    }
    Server::start_in(
        folder,
        format!("http://{address}"),
        String::new(),
        Box::new(move |folder| {
            let mut command = Command::new(&program);
            command
                .args(["--port", &address, "--health", "/healthz"])
                .args(["posix", "--versioning-dir"])
                .arg(folder.join("versions"))
                .arg(folder.join("data"))
                .env("HOME", folder)
                .env("ROOT_ACCESS_KEY_ID", KEY)
                .env("ROOT_SECRET_ACCESS_KEY", SECRET);
            quiet(command)
        }),
    )
}

/// A backend with the bucket or database that was provisioned for it, and nothing else known of it.
fn resolved(name: &str, kind: BackendKind, endpoint: &str, bucket: &str) -> ResolvedBackend {
    ResolvedBackend {
        name: name.into(),
        kind,
        version: String::new(),
        image: String::new(),
        image_id: String::new(),
        image_bytes: None,
        endpoint: endpoint.into(),
        region: String::new(),
        bucket: bucket.into(),
        prefix: String::new(),
        path_style: true,
        credentials_dir: String::new(),
        ca_key: None,
        sign_payload: false,
        metrics_url: None,
        pods: Vec::new(),
        bytes_stored_per_byte: None,
        provisioned: true,
        durability: Default::default(),
        upkeep: Default::default(),
        settings: Default::default(),
        node: String::new(),
        time_to_ready_seconds: None,
        caveats: vec![],
    }
}

/// The backend at an endpoint, answering.
pub async fn backend(name: &str, endpoint: &str, metrics: Option<&str>) -> Backend {
    let resolved = ResolvedBackend {
        metrics_url: metrics.map(str::to_owned),
        ..s3(name, endpoint)
    };
    let backend = Backend::new(resolved, credentials()).unwrap();
    probe(&backend).await.unwrap();
    backend
}

/// An S3 server with the bucket that was provisioned for it.
pub fn s3(name: &str, endpoint: &str) -> ResolvedBackend {
    ResolvedBackend {
        region: "us-east-1".into(),
        prefix: "bakeoff/test".into(),
        ..resolved(name, BackendKind::S3, endpoint, "bakeoff")
    }
}

/// Waits for a backend as a run does.
pub async fn probe(backend: &Backend) -> Result<(), ProbeError> {
    probe_for(backend, Duration::from_secs(120)).await
}

/// The same, for so long.
pub async fn probe_for(backend: &Backend, patience: Duration) -> Result<(), ProbeError> {
    let driver = backend.access.driver();
    driver.probe(&backend.resolved, patience).await
}

/// A folder of a bucket as results store.
pub fn store_at(endpoint: &str) -> StoreTarget {
    StoreTarget {
        endpoint: endpoint.into(),
        region: "us-east-1".into(),
        bucket: "results".into(),
        prefix: "run".into(),
        path_style: true,
        credentials_dir: String::new(),
        ca_key: None,
    }
}

/// A certificate authority, and a certificate of these names that it signed, with its key.
pub fn certificates(folder: &Path, names: &str) {
    let openssl = |arguments: &str| {
        let status = Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(status.expect("openssl").success(), "openssl {arguments}");
    };
    std::fs::write(folder.join("names"), format!("subjectAltName={names}")).unwrap();
    openssl(
        "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -subj /CN=authority -days 2",
    );
    openssl("req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=localhost");
    openssl(
        "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out server.crt -days 2 -extfile names",
    );
}
