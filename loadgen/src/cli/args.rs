//! What several commands take.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bakeoff_crds::names::GENERATOR_PORT;
use clap::Args;

use crate::drivers::stall::Stall;

#[derive(Debug, Args)]
pub(super) struct TerminationArgs {
    /// Where the outcome is written for the operator, at most 4096 bytes.
    #[arg(long)]
    pub(super) termination_log: Option<PathBuf>,
}

/// A planted fault: the server stops as a whole.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct StallArgs {
    /// For how long it stops, milliseconds; 0: never.
    #[arg(long, default_value_t = 0)]
    pub(super) stall_millis: u64,
    /// How often it stops, milliseconds.
    #[arg(long, default_value_t = 10_000)]
    pub(super) stall_every_millis: u64,
}

impl StallArgs {
    pub(super) fn of(self) -> Stall {
        Stall {
            length: Duration::from_millis(self.stall_millis),
            every: Duration::from_millis(self.stall_every_millis),
        }
    }
}

/// How results are reached where they lie in a bucket.
#[derive(Debug, Args)]
pub(super) struct StoreArgs {
    /// The endpoint of s3:// addresses.
    #[arg(
        long,
        env = "AWS_ENDPOINT_URL",
        default_value = "https://s3.amazonaws.com"
    )]
    pub(super) endpoint: String,
    /// The region of s3:// addresses.
    #[arg(long, env = "AWS_REGION", default_value = "us-east-1")]
    pub(super) region: String,
    /// Put the bucket into the host name instead of the path.
    #[arg(long)]
    pub(super) virtual_host: bool,
    /// Certificates of authorities, in PEM, that are trusted beside those of the system.
    #[arg(long, env = "AWS_CA_BUNDLE")]
    pub(super) ca_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// The plan, as the operator writes it.
    #[arg(long, required_unless_present_any = ["file", "resume"], conflicts_with_all = ["file", "resume"])]
    pub(super) plan: Option<PathBuf>,
    /// `http://host:port` of generator 0.
    #[arg(long, requires = "plan")]
    pub(super) barrier: Option<String>,
    /// The address of progress, metrics and barrier; generator 0 of a plan only.
    #[arg(long, default_value_t = SocketAddr::from(([0_u16; 8], GENERATOR_PORT as u16)))]
    pub(super) listen: SocketAddr,
    /// The index of this generator.
    #[arg(long, env = "JOB_COMPLETION_INDEX", default_value_t = 0)]
    pub(super) index: usize,
    /// The node that this generator runs on.
    #[arg(long, env = "NODE_NAME", default_value = "")]
    pub(super) node: String,
    #[command(flatten)]
    pub(super) standalone: StandaloneArgs,
    #[command(flatten)]
    pub(super) termination: TerminationArgs,
}

#[derive(Debug, Args)]
pub(super) struct StandaloneArgs {
    /// Workloads and trials to run without Kubernetes: an Experiment, or its `workloads` and `trials`.
    #[arg(short, long, requires = "endpoint")]
    pub(super) file: Option<PathBuf>,
    /// `[NAME=]URL` of an S3 endpoint; several are compared with each other.
    #[arg(long, conflicts_with = "plan")]
    pub(super) endpoint: Vec<String>,
    /// The folder with a folder for each ConfigMap that holds a trace.
    #[arg(long)]
    pub(super) traces: Option<PathBuf>,
    /// The bucket on each endpoint.
    #[arg(long, default_value = "bakeoff")]
    pub(super) bucket: String,
    /// Create the bucket where it does not exist.
    #[arg(long)]
    pub(super) create_bucket: bool,
    /// The region that requests are signed for.
    #[arg(long, env = "AWS_REGION", default_value = "us-east-1")]
    pub(super) region: String,
    /// Put the bucket into the host name instead of the path.
    #[arg(long)]
    pub(super) virtual_host: bool,
    /// Certificates of authorities, in PEM, that are trusted beside those of the system.
    #[arg(long, env = "AWS_CA_BUNDLE", conflicts_with = "plan")]
    pub(super) ca_file: Option<PathBuf>,
    /// Sign the SHA-256 of each body, for stores that refuse UNSIGNED-PAYLOAD; it costs CPU time.
    #[arg(long, conflicts_with = "plan")]
    pub(super) sign_payload: bool,
    /// The environment variable with the access key id.
    #[arg(long, default_value = "AWS_ACCESS_KEY_ID")]
    pub(super) access_key_env: String,
    /// The environment variable with the secret access key.
    #[arg(long, default_value = "AWS_SECRET_ACCESS_KEY")]
    pub(super) secret_key_env: String,
    /// `[NAME=]URL` of a backend's Prometheus metrics, to see restarts and what it uses.
    #[arg(long)]
    pub(super) metrics: Vec<String>,
    /// `redis://host:port` of the Redis server for races whose lock is in Redis.
    #[arg(long)]
    pub(super) lock: Option<String>,
    /// The environment variable with the password of the lock server; unset: none.
    #[arg(long, default_value = "BAKEOFF_LOCK_PASSWORD")]
    pub(super) lock_password_env: String,
    /// Where results go; an interrupted run is resumed by naming its folder with --resume.
    #[arg(long, default_value = "bakeoff-results")]
    pub(super) out: PathBuf,
    /// Resume the run whose results lie in --out.
    #[arg(long)]
    pub(super) resume: bool,
}
