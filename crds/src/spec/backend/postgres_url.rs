//! A Postgres server that exists already.

use super::{BackendKind, BackendTraits, External, Origin};
use crate::spec::Ground;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

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

impl PostgresUrlBackend {
    pub(super) fn origin(&self) -> Origin {
        Origin::External(External::Postgres(self.clone()))
    }
}

pub(super) const TRAITS: BackendTraits = BackendTraits {
    name: "postgresUrl",
    kind: BackendKind::Postgres,
    ground: Ground::Postgres,
    external: true,
};

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
