//! An S3 endpoint that exists already.

use super::{BackendTraits, External, Origin, SecretRef, rules};
use crate::durability::DurabilityClass;
use crate::names;
use crate::spec::Ground;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// An S3 endpoint that exists already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.endpoint.matches('^https?://([A-Za-z0-9.-]+|\\\\[[0-9A-Fa-f:.]+\\\\])(:[0-9]{1,5})?/?$')").message("endpoint must be http:// or https:// and a host, for example https://s3.eu-central-1.amazonaws.com or http://[fd00::1]:9000; a user and a password do not stand in it"))]
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
    #[x_kube(validation = rules::is_a_bucket())]
    pub bucket: String,
    /// Whether the bucket stands in the path (most servers) or in the host name (AWS). Default true.
    #[serde(default = "default_path_style")]
    pub path_style: bool,
    /// Whether the SHA-256 of each body is signed, for stores and policies that refuse `UNSIGNED-PAYLOAD`. It costs
    /// the generators CPU time. Not for results, whose bodies are always signed. Default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sign_payload: bool,
    /// What an acknowledged write survives, as the owner of the endpoint states it. Nobody tries it, and the report says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub durability: Option<DurabilityClass>,
    /// The key of the same Secret with the certificates of authorities, in PEM, that are trusted beside the public
    /// ones. Default: the public ones alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub ca_key: Option<String>,
    /// A Secret in the Experiment's namespace with the keys `accessKeyId`, `secretAccessKey` and,
    /// if needed, `sessionToken`.
    pub credentials_secret_ref: SecretRef,
}

impl S3Backend {
    pub(super) fn origin(&self) -> Origin {
        Origin::External(External::S3(self.clone()))
    }

    /// The Secret with its credentials, and the keys that are needed of it.
    #[must_use]
    pub fn secret(&self) -> (&str, Vec<String>) {
        let keys = [names::SECRET_ACCESS_KEY_ID, names::SECRET_SECRET_ACCESS_KEY];
        let keys = keys.map(str::to_owned).into_iter();
        (
            &self.credentials_secret_ref.name,
            keys.chain(self.ca_key.clone()).collect(),
        )
    }
}

pub(super) const TRAITS: BackendTraits = BackendTraits {
    name: "s3",
    ground: Ground::S3,
    external: true,
};

fn default_region() -> String {
    "us-east-1".to_owned()
}

fn default_path_style() -> bool {
    true
}
