//! Everything that differs between the programs that are provisioned: a new one is one more arm. (Pure.)

use super::USER;
use bakeoff_crds::spec::{Equipment, Product, Release, Resources};
use bakeoff_crds::{durability, names};
use std::collections::BTreeMap;

/// The user of Postgres' public images; initdb wants one that has a name.
const POSTGRES_USER: i64 = 999;
/// The database that is measured.
pub const DATABASE: &str = "postgres";

/// How a server says that it takes connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// This path answers 200.
    Http(&'static str),
    /// The port is open. Whether a signed or authenticated request is answered, the generators find out.
    Open,
}

/// What differs between the programs that are provisioned.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The name of the port that is measured.
    pub port_name: &'static str,
    /// The port that is measured.
    pub port: i32,
    /// The scheme of its address.
    pub scheme: &'static str,
    /// The bucket or database that is measured.
    pub bucket: &'static str,
    /// The port and path of the Prometheus metrics, where it has them.
    pub metrics: Option<(i32, &'static str)>,
    /// What runs before the server, in the same image with the same volumes.
    pub prepare: Option<Vec<String>>,
    /// The command line.
    pub command: Vec<String>,
    /// A script of the shell that starts the command line, which are its arguments.
    pub starter: Option<&'static str>,
    /// Settings that differ from the server's defaults.
    pub settings: BTreeMap<String, String>,
    /// Environment variables in clear.
    pub env: Vec<(&'static str, &'static str)>,
    /// Environment variables from the credentials Secret: name and key.
    pub secret_env: Vec<(&'static str, &'static str)>,
    /// How it says that it is ready.
    pub ready: Ready,
    /// The numeric user that it runs as.
    pub user: i64,
    /// Whether it keeps data, on a volume at `/data`.
    pub keeps_data: bool,
    /// CPU and memory, where they are not those of the equipment.
    pub resources: Option<Resources>,
    /// What "acknowledged" means there.
    pub durability: String,
    /// What stands beside every figure of it.
    pub caveats: Vec<&'static str>,
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

/// The profile of a server on this equipment.
#[must_use]
pub fn profile(release: &Release, equipment: &Equipment) -> Profile {
    match release.product {
        Product::Minio => minio(),
        Product::Seaweedfs => seaweedfs(),
        Product::Postgres => postgres(release, equipment),
        Product::Redis => redis(),
    }
}

fn minio() -> Profile {
    Profile {
        port_name: "s3",
        port: 9_000,
        scheme: "http",
        bucket: "bakeoff",
        metrics: Some((9_000, "/minio/v2/metrics/node")),
        prepare: None,
        command: words("minio server /data --address :9000 --config-dir /tmp/minio"),
        starter: None,
        settings: BTreeMap::new(),
        env: vec![
            ("MINIO_PROMETHEUS_AUTH_TYPE", "public"),
            ("MINIO_BROWSER", "off"),
            ("MINIO_UPDATE", "off"),
            ("HOME", "/tmp"),
        ],
        secret_env: vec![
            ("MINIO_ROOT_USER", names::SECRET_ACCESS_KEY_ID),
            ("MINIO_ROOT_PASSWORD", names::SECRET_SECRET_ACCESS_KEY),
        ],
        ready: Ready::Http("/minio/health/ready"),
        user: USER,
        keeps_data: true,
        resources: None,
        durability: "one node, one drive: object data and metadata are flushed (O_DSYNC or fdatasync) before the acknowledgement".to_owned(),
        caveats: vec![
            "MinIO's community edition is no longer maintained (README of February 2026) and has no image after RELEASE.2025-09-07",
        ],
    }
}

/// Master, volume server and filer talk over loopback; only the gateway and the metrics are
/// reachable. No telemetry, no further gateways, no buckets that appear by themselves.
fn seaweedfs() -> Profile {
    Profile {
        port_name: "s3",
        port: 8_333,
        scheme: "http",
        bucket: "bakeoff",
        metrics: Some((9_324, "/metrics")),
        prepare: None,
        command: words(
            "weed server -dir=/data -ip=127.0.0.1 -ip.bind=127.0.0.1 -master.telemetry=false \
             -master.volumeSizeLimitMB=1024 -volume.max=500 -filer -s3 -s3.ip.bind=0.0.0.0 -s3.port=8333 \
             -s3.port.iceberg=0 -s3.port.lance=0 -s3.iam=false -s3.autoCreateBucket=false \
             -metricsIp=0.0.0.0 -metricsPort=9324",
        ),
        starter: None,
        settings: BTreeMap::new(),
        env: vec![("HOME", "/tmp")],
        secret_env: vec![
            ("AWS_ACCESS_KEY_ID", names::SECRET_ACCESS_KEY_ID),
            ("AWS_SECRET_ACCESS_KEY", names::SECRET_SECRET_ACCESS_KEY),
        ],
        ready: Ready::Http("/healthz"),
        user: USER,
        keeps_data: true,
        resources: None,
        durability: "one node, one copy: acknowledged from the page cache; nothing is flushed before the acknowledgement".to_owned(),
        caveats: vec![
            "SeaweedFS does not flush before it acknowledges an S3 PUT: a power cut can lose acknowledged objects, so its write latencies are of a weaker durability class",
        ],
    }
}

/// Makes the data directory on a fresh volume, and only there: a restarted pod finds its data. It is made
/// beside and renamed, so that one that was cut off is not taken for whole.
const INITDB: &str = "set -eu; umask 077; test ! -e /data/pgdata || exit 0; rm -rf /data/new; \
    printf %s \"$BAKEOFF_PASSWORD\" >/tmp/password; \
    initdb --pgdata=/data/new --username=\"$BAKEOFF_USER\" --pwfile=/tmp/password --auth-host=scram-sha-256 \
    --auth-local=scram-sha-256 --data-checksums --encoding=UTF8 --locale=C; rm /tmp/password; \
    echo 'host all all all scram-sha-256' >>/data/new/pg_hba.conf; mv /data/new /data/pgdata";

/// Where a copy of Postgres' log is, for its own process to read: beside the data, where it costs no room of theirs.
const SERVER_LOG: &str = "/tmp/server.log";

/// Starts Postgres with its log on standard error and in [`SERVER_LOG`]. The shell stays: were Postgres the first
/// process of the container, its end would be that of `tee` as well, and its last words, which say why, would be lost.
/// Either signal asks for a fast stop, so that open connections do not hold it up. A file that is full, at 256 MiB, is
/// written no further; standard error is.
const LOGGED: &str = "rm -f /tmp/log.fifo; mkfifo /tmp/log.fifo || exit; \
    (trap '' XFSZ; ulimit -f 524288; exec tee -a /tmp/server.log) </tmp/log.fifo >&2 & copy=$!; \
    \"$0\" \"$@\" 2>/tmp/log.fifo & server=$!; \
    trap 'kill -INT $server' INT TERM; \
    while :; do wait $server; code=$?; kill -0 $server 2>/dev/null || break; done; \
    wait $copy; exit $code";

/// What the operator sets, before the settings of the spec. A quarter of the memory for shared buffers is
/// the manual's advice for a dedicated server; everything is logged and counted that the experiments read.
fn postgres_settings(release: &Release, equipment: &Equipment) -> BTreeMap<String, String> {
    let memory = equipment.resources.memory.units().unwrap_or(0);
    let buffers = (memory / 4 / (1 << 20)).max(16);
    let own = [
        ("shared_buffers", format!("{buffers}MB")),
        ("max_connections", "300".to_owned()),
        (
            "shared_preload_libraries",
            "pg_stat_statements,auto_explain".to_owned(),
        ),
        ("log_autovacuum_min_duration", "0".to_owned()),
        ("log_checkpoints", "on".to_owned()),
        // The generators read it: `pg::log`.
        ("log_line_prefix", "%n [%p] ".to_owned()),
        (names::SERVER_LOG_SETTING, SERVER_LOG.to_owned()),
        ("track_io_timing", "on".to_owned()),
        ("listen_addresses", "*".to_owned()),
        ("unix_socket_directories", "/tmp".to_owned()),
    ];
    let mut settings: BTreeMap<String, String> =
        own.map(|(name, value)| (name.to_owned(), value)).into();
    settings.extend(release.settings.clone());
    settings
}

fn postgres(release: &Release, equipment: &Equipment) -> Profile {
    let settings = postgres_settings(release, equipment);
    let mut command = words("postgres -D /data/pgdata");
    for (name, value) in &settings {
        command.push("-c".to_owned());
        command.push(format!("{name}={value}"));
    }
    let durability = durability::postgres(|name| settings.get(name).map(String::as_str));
    Profile {
        port_name: "postgres",
        port: 5_432,
        scheme: "postgres",
        bucket: DATABASE,
        metrics: None,
        prepare: Some(vec!["sh".to_owned(), "-c".to_owned(), INITDB.to_owned()]),
        command,
        starter: Some(LOGGED),
        settings,
        env: vec![("HOME", "/tmp"), ("LC_ALL", "C"), ("TZ", "UTC")],
        secret_env: vec![
            ("BAKEOFF_USER", names::SECRET_ACCESS_KEY_ID),
            ("BAKEOFF_PASSWORD", names::SECRET_SECRET_ACCESS_KEY),
        ],
        ready: Ready::Open,
        user: POSTGRES_USER,
        keeps_data: true,
        resources: None,
        durability,
        caveats: Vec::new(),
    }
}

/// Keeps locks beside a backend. In memory alone: a lock that outlives its server would be one more thing that
/// the races do not speak of. Kubernetes puts the password into the command line, so that no manifest has it.
fn redis() -> Profile {
    let mut command = words("redis-server --port 6379 --dir /tmp --appendonly no --save");
    command.extend(["", "--requirepass", "$(BAKEOFF_PASSWORD)"].map(str::to_owned));
    Profile {
        port_name: "redis",
        port: 6_379,
        scheme: "redis",
        bucket: "",
        metrics: None,
        prepare: None,
        command,
        starter: None,
        settings: BTreeMap::new(),
        env: vec![("HOME", "/tmp")],
        secret_env: vec![("BAKEOFF_PASSWORD", names::SECRET_SECRET_ACCESS_KEY)],
        ready: Ready::Open,
        user: USER,
        keeps_data: false,
        resources: Some(Resources {
            cpu: "250m".into(),
            memory: "128Mi".into(),
        }),
        durability: "in memory: locks are lost with the server".to_owned(),
        caveats: Vec::new(),
    }
}
