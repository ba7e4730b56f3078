//! Any server of S3 that is provisioned from a container which the spec describes.

use super::{BackendTraits, Origin, Product, Release};
use crate::durability::DurabilityClass;
use crate::spec::{Ground, Version};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A server of S3 that Bakeoff does not know: one container with one volume, on the equipment of the others. Its image has to be one
/// that whoever installed Bakeoff allows (`experiments.serverImages` of the chart).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.env) || self.env.all(e, e.name != self.credentials.accessKeyIdEnv && e.name != self.credentials.secretAccessKeyEnv)").message("s3Server: the credentials are set by the operator, and not in env"))]
#[x_kube(validation = rules::credentials_are_two_variables_of_their_own())]
#[x_kube(validation = Rule::new("!has(self.env) || self.env.all(e, e.name != 'POD_IP')").message("s3Server: POD_IP is set by the operator, and not in env"))]
#[x_kube(validation = Rule::new("!self.dataPath.matches('^/tmp/*$')").message("s3Server: /tmp is scratch space and loses what is in it; give dataPath another folder"))]
#[x_kube(validation = Rule::new("!has(self.env) || self.env.all(a, self.env.exists_one(b, b.name == a.name))").message("s3Server: env names a variable twice"))]
pub struct S3ServerBackend {
    /// The image, for example `docker.io/rustfs/rustfs@sha256:…`.
    #[schemars(length(min = 1, max = 500), regex(pattern = r"^[a-z0-9][^\s]*$"))]
    pub image: String,
    /// What it is called beside its figures. Default: the tag or digest of the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[A-Za-z0-9][-._A-Za-z0-9]*$")
    )]
    pub version: Option<String>,
    /// The command line in place of the image's own. `$(POD_IP)` stands for the address of its pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 1_000)))]
    pub command: Vec<String>,
    /// Arguments of the image's own command line, or of `command`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 1_000)))]
    pub args: Vec<String>,
    /// Variables of its environment. No secrets: they stand in the manifest of every run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub env: Vec<EnvVariable>,
    /// The port on which it speaks S3 over plain HTTP.
    #[schemars(range(min = 1, max = 65_535))]
    pub port: i32,
    /// How it is told its credentials, which the operator draws.
    pub credentials: ServerCredentials,
    /// The path that answers 200 once it serves. Default: it serves once the port is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 300), regex(pattern = r"^/[^\s]*$"))]
    pub ready_path: Option<String>,
    /// Where its Prometheus metrics are, without credentials. Without them its memory, CPU time and restarts are not seen from inside;
    /// restarts are seen by its pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<ServerMetrics>,
    /// Where its data are: the volume is mounted there, and everything else but `/tmp` is read-only. Default `/data`.
    #[serde(default = "default_data_path")]
    #[schemars(length(min = 2, max = 200), regex(pattern = r"^/[^\s:]+$"))]
    pub data_path: String,
    /// The numeric user that it runs as, not 0. Default 65532.
    #[serde(default = "default_user")]
    #[schemars(range(min = 1, max = 2_000_000_000))]
    pub user: i64,
    /// The region that requests are signed for. Default `us-east-1`.
    #[serde(default = "default_region")]
    #[schemars(length(min = 1, max = 64))]
    pub region: String,
    /// What an acknowledged write survives, as whoever declares the server states it. Nobody tries it, and the report says so. A
    /// server that states nothing is taken for weaker than any other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub durability: Option<DurabilityClass>,
    /// The licence that it may be used under, for example `Apache-2.0`, as the report shows it. Default: not stated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100), regex(pattern = r"^\S[^\r\n]*$"))]
    pub licence: Option<String>,
    /// Who maintains it, and its newest release, as the report shows it. Default: not stated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 300), regex(pattern = r"^\S[^\r\n]*$"))]
    pub maintenance: Option<String>,
}

mod rules {
    use kube::core::Rule;

    /// A container has each variable once, and the operator sets two.
    pub fn credentials_are_two_variables_of_their_own() -> Rule {
        let own = ["accessKeyIdEnv", "secretAccessKeyEnv"]
            .map(|field| format!("!(self.credentials.{field} in ['HOME', 'POD_IP'])"))
            .join(" && ");
        Rule::new(format!(
            "self.credentials.accessKeyIdEnv != self.credentials.secretAccessKeyEnv && {own}"
        ))
        .message("s3Server: credentials name two variables, neither of them HOME or POD_IP, which the operator sets")
    }
}

/// A variable of the environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvVariable {
    /// The name of the variable.
    #[schemars(
        length(min = 1, max = 100),
        regex(pattern = r"^[A-Za-z_][A-Za-z0-9_]*$")
    )]
    pub name: String,
    /// The value of the variable.
    #[schemars(length(max = 1_000))]
    pub value: String,
}

/// The variables of the environment by which a server is told its credentials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerCredentials {
    /// The one for the id of the access key.
    #[schemars(
        length(min = 1, max = 100),
        regex(pattern = r"^[A-Za-z_][A-Za-z0-9_]*$")
    )]
    pub access_key_id_env: String,
    /// The one for the secret access key.
    #[schemars(
        length(min = 1, max = 100),
        regex(pattern = r"^[A-Za-z_][A-Za-z0-9_]*$")
    )]
    pub secret_access_key_env: String,
}

/// Where the Prometheus metrics of a server are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerMetrics {
    /// The port of the metrics, over plain HTTP.
    #[schemars(range(min = 1, max = 65_535))]
    pub port: i32,
    /// The path. Default `/metrics`.
    #[serde(default = "default_metrics_path")]
    #[schemars(length(min = 1, max = 300), regex(pattern = r"^/[^\s]*$"))]
    pub path: String,
}

fn default_data_path() -> String {
    "/data".to_owned()
}
fn default_user() -> i64 {
    65_532
}
fn default_region() -> String {
    "us-east-1".to_owned()
}
fn default_metrics_path() -> String {
    "/metrics".to_owned()
}

impl S3ServerBackend {
    pub(super) fn origin(&self) -> Origin {
        Origin::Provisioned(Release {
            durability: self.durability,
            declared: Some(Box::new(self.clone())),
            ..Release::of(Product::S3Server, &self.called())
        })
    }

    /// The version, or what the image says of it.
    fn called(&self) -> Version {
        let last = self.image.rsplit('/').next().unwrap_or_default();
        let tagged = || match last.split_once('@') {
            Some((_, digest)) => Some(digest.chars().take("sha256:".len() + 12).collect()),
            None => last.split_once(':').map(|(_, tag)| tag.to_owned()),
        };
        Version::from(self.version.clone().or_else(tagged).unwrap_or_default())
    }
}

pub(super) const TRAITS: BackendTraits = BackendTraits {
    name: "s3Server",
    ground: Ground::S3,
    external: false,
};

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_server_is_called_by_its_image_where_nobody_names_it() {
        let called = |image: &str, version: Option<&str>| {
            let server: S3ServerBackend = serde_json::from_value(json!({
                "image": image, "version": version, "port": 9000,
                "credentials": {"accessKeyIdEnv": "A", "secretAccessKeyEnv": "B"},
            }))
            .unwrap();
            server.called().to_string()
        };
        assert_eq!(called("docker.io/rustfs/rustfs:1.0.1", None), "1.0.1");
        assert_eq!(called("localhost:5000/rustfs:1.0.1", Some("x")), "x");
        assert_eq!(called("localhost:5000/rustfs", None), "");
        let digest = format!("docker.io/rustfs/rustfs@sha256:{}", "ab".repeat(32));
        assert_eq!(called(&digest, None), "sha256:abababababab");
    }
}
