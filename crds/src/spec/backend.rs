//! Systems under test.

use super::Equipment;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A system under test. Exactly one of `minio`, `seaweedfs`, `postgres`, `postgresUrl` and `s3` is set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.minio), has(self.seaweedfs), has(self.postgres), has(self.postgresUrl), has(self.s3)].filter(x, x).size() == 1").message("a backend sets exactly one of minio, seaweedfs, postgres, postgresUrl and s3"))]
#[x_kube(validation = Rule::new("(!has(self.s3) && !has(self.postgresUrl)) || !has(self.equipment)").message("an external backend (s3, postgresUrl) has no equipment: it runs where it runs"))]
pub struct Backend {
    /// The name used in results, decisions and the names of children: lower-case letters, digits and dashes.
    #[schemars(
        length(min = 1, max = 30),
        regex(pattern = "^[a-z]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,
    /// A MinIO server, provisioned for the experiment and removed after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minio: Option<MinioBackend>,
    /// A SeaweedFS server, provisioned for the experiment and removed after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seaweedfs: Option<SeaweedfsBackend>,
    /// A Postgres server, provisioned for the experiment and removed after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postgres: Option<PostgresBackend>,
    /// A Postgres server that exists already. The schema `bakeoff` is made in its database, refused if there is one,
    /// and dropped after the experiment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postgres_url: Option<PostgresUrlBackend>,
    /// Any S3 endpoint that exists already, AWS included. Test objects are removed after the experiment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Backend>,
    /// States the equipment again. Allowed only when equal to `spec.equipment`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equipment: Option<Equipment>,
}

/// A MinIO server: one node, one drive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!self.version.startsWith('latest')").message("version must be pinned, not latest: pick one of the chart's catalogue (kubectl get configmap -l bakeoff.dev/catalogue -A -o yaml)"))]
pub struct MinioBackend {
    /// A release of the chart's catalogue, for example `RELEASE.2025-09-07T16-13-09Z`.
    #[schemars(
        length(min = 1, max = 64),
        regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    )]
    pub version: String,
}

/// A SeaweedFS server: master, volume, filer and S3 gateway in one process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!self.version.startsWith('latest')").message("version must be pinned, not latest: pick one of the chart's catalogue (kubectl get configmap -l bakeoff.dev/catalogue -A -o yaml)"))]
pub struct SeaweedfsBackend {
    /// A release of the chart's catalogue, for example `"4.48"`. Quote it, it is a string.
    #[schemars(
        length(min = 1, max = 64),
        regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    )]
    pub version: String,
}

/// A Postgres server: one node, data checksums on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!self.version.startsWith('latest')").message("version must be pinned, not latest: pick one of the chart's catalogue (kubectl get configmap -l bakeoff.dev/catalogue -A -o yaml)"))]
pub struct PostgresBackend {
    /// A release of the chart's catalogue, for example `"18.4"`. Quote it, it is a string.
    #[schemars(
        length(min = 1, max = 64),
        regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    )]
    pub version: String,
    /// Server settings by name, as in postgresql.conf, for example `autovacuum_naptime: 15s`. The server
    /// refuses names that it does not know. At most 64. Addresses, files and preloaded libraries are the operator's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    #[x_kube(validation = Rule::new("self.all(name, name.matches('^[a-z][a-z0-9_]{0,62}([.][a-z][a-z0-9_]{0,62})?$'))").message("settings: a name consists of lower-case letters, digits and underscores, as in pg_settings"))]
    #[x_kube(validation = Rule::new("!self.exists(name, name in ['listen_addresses', 'port', 'data_directory', 'config_file', 'hba_file', 'ident_file', 'unix_socket_directories', 'shared_preload_libraries', 'external_pid_file', 'logging_collector', 'log_destination', 'ssl'])").message("settings: addresses, files, logs, ssl and shared_preload_libraries are set by the operator"))]
    pub settings: BTreeMap<String, SettingValue>,
}

/// A Postgres server that exists already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PostgresUrlBackend {
    /// Where its URL is: `postgres://user:password@host:5432/database?sslmode=verify-full`. The mode is `disable`,
    /// `require` (encrypted, whoever answers) or `verify-full` (encrypted, the certificate is checked). The user needs CREATE on the
    /// database.
    pub secret_ref: SecretKeyRef,
    /// The key of the same Secret with the certificate authorities, in PEM, that `verify-full` trusts.
    /// Default: those of the generator's image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub ca_key: Option<String>,
}

/// A key of a Secret in the Experiment's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// The name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key. Default `url`.
    #[serde(default = "default_url_key")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

fn default_url_key() -> String {
    "url".to_owned()
}

/// The value of a server setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct SettingValue(#[schemars(length(max = 200))] pub String);

/// An S3 endpoint that exists already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.endpoint.matches('^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?/?$')").message("endpoint must be http:// or https:// and a host, for example https://s3.eu-central-1.amazonaws.com"))]
pub struct S3Backend {
    /// The endpoint, for example `https://s3.eu-central-1.amazonaws.com`: scheme, host and optional port.
    #[schemars(length(min = 8, max = 300))]
    pub endpoint: String,
    /// The region that requests are signed for. Default `us-east-1`.
    #[serde(default = "default_region")]
    #[schemars(length(min = 1, max = 64))]
    pub region: String,
    /// A bucket that exists. Everything is written under a prefix of the experiment's own.
    #[schemars(length(min = 3, max = 63))]
    pub bucket: String,
    /// Whether the bucket stands in the path (most servers) or in the host name (AWS). Default true.
    #[serde(default = "default_path_style")]
    pub path_style: bool,
    /// A Secret in the Experiment's namespace with the keys `accessKeyId`, `secretAccessKey` and,
    /// if needed, `sessionToken`.
    pub credentials_secret_ref: SecretRef,
}

fn default_region() -> String {
    "us-east-1".to_owned()
}

fn default_path_style() -> bool {
    true
}

/// The name of a Secret in the Experiment's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// The name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// What a backend is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum BackendKind {
    /// A provisioned MinIO server.
    Minio,
    /// A provisioned SeaweedFS server.
    Seaweedfs,
    /// A Postgres server, provisioned or external.
    Postgres,
    /// An external S3 endpoint.
    S3,
    /// A provisioned Redis server. It keeps locks beside a backend and is never one itself.
    Redis,
}

impl BackendKind {
    /// The name for people and for keys of the catalogue.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Minio => "minio",
            Self::Seaweedfs => "seaweedfs",
            Self::Postgres => "postgres",
            Self::S3 => "s3",
            Self::Redis => "redis",
        }
    }
}

/// The one member of a backend's union that is set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BackendSpec<'a> {
    /// `minio`
    Minio(&'a MinioBackend),
    /// `seaweedfs`
    Seaweedfs(&'a SeaweedfsBackend),
    /// `postgres`
    Postgres(&'a PostgresBackend),
    /// `postgresUrl`
    PostgresUrl(&'a PostgresUrlBackend),
    /// `s3`
    S3(&'a S3Backend),
}

impl Backend {
    /// The member that is set, or `None` unless exactly one is.
    #[must_use]
    pub fn member(&self) -> Option<BackendSpec<'_>> {
        let members = [
            self.minio.as_ref().map(BackendSpec::Minio),
            self.seaweedfs.as_ref().map(BackendSpec::Seaweedfs),
            self.postgres.as_ref().map(BackendSpec::Postgres),
            self.postgres_url.as_ref().map(BackendSpec::PostgresUrl),
            self.s3.as_ref().map(BackendSpec::S3),
        ];
        let mut set = members.into_iter().flatten();
        set.next().filter(|_| set.next().is_none())
    }

    /// What the backend is, or `None` unless exactly one member is set.
    #[must_use]
    pub fn kind(&self) -> Option<BackendKind> {
        self.member().map(|member| match member {
            BackendSpec::Minio(_) => BackendKind::Minio,
            BackendSpec::Seaweedfs(_) => BackendKind::Seaweedfs,
            BackendSpec::Postgres(_) | BackendSpec::PostgresUrl(_) => BackendKind::Postgres,
            BackendSpec::S3(_) => BackendKind::S3,
        })
    }

    /// The pinned version of a provisioned backend.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        match self.member()? {
            BackendSpec::Minio(minio) => Some(&minio.version),
            BackendSpec::Seaweedfs(seaweedfs) => Some(&seaweedfs.version),
            BackendSpec::Postgres(postgres) => Some(&postgres.version),
            BackendSpec::PostgresUrl(_) | BackendSpec::S3(_) => None,
        }
    }
}
