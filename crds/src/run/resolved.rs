//! The servers of a run, as they were found or made.

use crate::durability::Durability;
use crate::quantity::Quantity;
use crate::spec::{BackendKind, Member, Resources};
use crate::upkeep::Upkeep;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A backend that answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResolvedBackend {
    /// The name in the spec.
    pub name: String,
    /// What it is.
    pub kind: BackendKind,
    /// The version in the spec; empty for an external one.
    #[serde(default)]
    pub version: String,
    /// The image that was asked for; empty for an external one.
    #[serde(default)]
    pub image: String,
    /// The image that runs, by digest.
    #[serde(default)]
    pub image_id: String,
    /// Its size as its node reports it, bytes; unknown where no node lists it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_bytes: Option<i64>,
    /// `http://host:port` or `https://host`; `postgres://host:port` of a Postgres server. Empty in the plan of an
    /// external Postgres server, whose URL is in a file beside its credentials; the manifest has it.
    pub endpoint: String,
    /// The region that requests are signed for.
    pub region: String,
    /// What holds all that is written: the bucket, created by the generator on provisioned backends; of a Postgres
    /// server the database, see [`Self::database`].
    pub bucket: String,
    /// The prefix of everything written there; empty on provisioned backends.
    #[serde(default)]
    pub prefix: String,
    /// Whether the bucket stands in the path.
    pub path_style: bool,
    /// The folder with `accessKeyId`, `secretAccessKey` and perhaps `sessionToken`; of a Postgres server
    /// these are user and password.
    pub credentials_dir: String,
    /// The file of that folder with the authorities that are trusted beside those of the system; of S3 alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_key: Option<String>,
    /// Whether the SHA-256 of each body is signed; of S3 alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sign_payload: bool,
    /// Where its Prometheus metrics are; absent for an external one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics_url: Option<String>,
    /// The pods of one that has several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pods: Vec<ResolvedPod>,
    /// Bytes that it stores for each byte of an object, where there are several copies or shards of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_stored_per_byte: Option<f64>,
    /// Whether the experiment provisioned it.
    pub provisioned: bool,
    /// What "acknowledged" means there.
    #[serde(deserialize_with = "crate::durability::recorded")]
    pub durability: Durability,
    /// Its licence and who maintains it; absent of an external one and from plans of earlier versions.
    #[serde(default, skip_serializing_if = "Upkeep::is_empty")]
    pub upkeep: Upkeep,
    /// Settings that differ from the server's defaults, and the command line.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
    /// The node it runs on.
    #[serde(default)]
    pub node: String,
    /// Seconds from the creation of its pod until it was ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_to_ready_seconds: Option<i64>,
    /// Warnings that stand beside every figure of it, for example its maintenance status.
    #[serde(default)]
    pub caveats: Vec<String>,
}

/// A pod of a backend that has several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResolvedPod {
    /// Its name, which the pod that takes its place has as well.
    pub name: String,
    /// What it is to the backend.
    pub member: Member,
    /// Its share of the equipment.
    pub resources: Resources,
    /// Its share of the storage; absent where it keeps nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Quantity>,
    /// Where its Prometheus metrics are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics_url: Option<String>,
    /// The image that runs, by digest.
    #[serde(default)]
    pub image_id: String,
    /// The node it runs on.
    #[serde(default)]
    pub node: String,
}

impl ResolvedBackend {
    /// The key of the command line among the settings.
    pub const COMMAND: &str = "command";

    /// Whether it shows when each of its processes began.
    #[must_use]
    pub fn shows_its_process(&self) -> bool {
        let shows = |pod: &ResolvedPod| pod.metrics_url.is_some();
        self.metrics_url.is_some() || (!self.pods.is_empty() && self.pods.iter().all(shows))
    }

    /// The prefix of everything that the run writes there: empty, or ending with a slash.
    #[must_use]
    pub fn folder(&self) -> String {
        match self.prefix.trim_matches('/') {
            "" => String::new(),
            prefix => format!("{prefix}/"),
        }
    }

    /// The database of a Postgres server. Plans have it where they have the bucket of others: either holds all that is
    /// written.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.bucket
    }
}

/// A Redis server that keeps the locks of races. Nothing is measured on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResolvedLock {
    /// The version in the spec; empty for one that was not provisioned.
    #[serde(default)]
    pub version: String,
    /// The image that was asked for; empty for one that was not provisioned.
    #[serde(default)]
    pub image: String,
    /// The image that runs, by digest.
    #[serde(default)]
    pub image_id: String,
    /// `redis://host:port`.
    pub endpoint: String,
    /// The folder with `accessKeyId` and `secretAccessKey`; the latter is the password.
    #[serde(default)]
    pub credentials_dir: String,
    /// Its command line, and the version that it states.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
    /// The node it runs on.
    #[serde(default)]
    pub node: String,
}
