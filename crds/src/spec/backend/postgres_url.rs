//! A Postgres server that exists already.

use super::{BackendTraits, External, Origin};
use crate::spec::Ground;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A Postgres server that exists already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.caKey) && has(self.caSecretRef))").message("postgresUrl: the authorities are named once, by caKey or by caSecretRef"))]
pub struct PostgresUrlBackend {
    /// Where its URL is: `postgres://user:password@host:5432/database?sslmode=verify-full`. The mode is `disable`,
    /// `require` (encrypted, whoever answers), `verify-ca` (the certificate is checked) or `verify-full` (and the host's name in
    /// it); a URL that names none is completed by `sslMode`. The user needs CREATE on the database.
    pub secret_ref: SecretKeyRef,
    /// How connections are encrypted, for a URL that names no `sslmode`; one that names another is refused. Default: as the URL
    /// says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssl_mode: Option<PostgresSslMode>,
    /// The key of the same Secret with the certificate authorities, in PEM, that `verify-ca` and `verify-full` trust.
    /// Default: those of the generator's image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub ca_key: Option<String>,
    /// Where the authorities are when they are in another Secret, as CloudNativePG has them in `CLUSTER-ca`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<CaSecretRef>,
}

/// How connections are encrypted, in the words of URLs, for a URL that names no `sslmode`; one that names another is refused.
/// Default: as the URL says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PostgresSslMode {
    /// With whoever answers.
    Require,
    /// With a server whose certificate is signed by an authority.
    VerifyCa,
    /// The same, and the certificate bears the host's name.
    VerifyFull,
}

impl PostgresSslMode {
    /// The name in a URL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

/// A key of a Secret in the Experiment's namespace, with certificate authorities.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CaSecretRef {
    /// The name of the Secret.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub name: String,
    /// The key. Default `ca.crt`.
    #[serde(default = "default_ca_key")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

fn default_ca_key() -> String {
    "ca.crt".to_owned()
}

impl PostgresUrlBackend {
    pub(super) fn origin(&self) -> Origin {
        Origin::External(External::Postgres(self.clone()))
    }
}

pub(super) const TRAITS: BackendTraits = BackendTraits {
    name: "postgresUrl",
    ground: Ground::Postgres,
    external: true,
};

/// A key of a Secret in the Experiment's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// The name of the Secret.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub name: String,
    /// The key. Default `url`.
    #[serde(default = "default_url_key")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

fn default_url_key() -> String {
    "url".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_cloud_native_pg_keeps_in_two_secrets_is_asked_of_both() {
        let stated = json!({
            "secretRef": {"name": "shop-app", "key": "uri"}, "sslMode": "verify-full",
            "caSecretRef": {"name": "shop-ca"},
        });
        let postgres: PostgresUrlBackend = serde_json::from_value(stated).unwrap();
        assert_eq!(postgres.ssl_mode.unwrap().as_str(), "verify-full");
        let external = External::Postgres(postgres);
        let expected = [
            ("shop-app", vec!["uri".to_owned()]),
            ("shop-ca", vec!["ca.crt".to_owned()]),
        ];
        assert_eq!(external.secrets(), expected);
    }

    #[test]
    fn the_modes_are_called_as_in_urls() {
        use PostgresSslMode::{Require, VerifyCa, VerifyFull};
        for mode in [Require, VerifyCa, VerifyFull] {
            assert_eq!(serde_json::to_value(mode).unwrap(), json!(mode.as_str()));
        }
        let clear = serde_json::from_value::<PostgresSslMode>(json!("disable"));
        assert!(clear.is_err(), "it is said in the URL alone");
    }
}
