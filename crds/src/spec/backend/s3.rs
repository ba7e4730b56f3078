//! An S3 endpoint that exists already.

use super::{BackendKind, BackendTraits, External, Origin, SecretRef, rules};
use crate::names;
use crate::spec::Ground;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

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
    #[x_kube(validation = rules::is_a_bucket())]
    pub bucket: String,
    /// Whether the bucket stands in the path (most servers) or in the host name (AWS). Default true.
    #[serde(default = "default_path_style")]
    pub path_style: bool,
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
        (
            &self.credentials_secret_ref.name,
            keys.map(str::to_owned).to_vec(),
        )
    }
}

pub(super) const TRAITS: BackendTraits = BackendTraits {
    name: "s3",
    kind: BackendKind::S3,
    ground: Ground::S3,
    external: true,
};

fn default_region() -> String {
    "us-east-1".to_owned()
}

fn default_path_style() -> bool {
    true
}
