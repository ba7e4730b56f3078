//! A Postgres server that is provisioned.

use super::{BackendKind, BackendTraits, Origin, Product, Release};
use crate::spec::{Ground, Version};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A Postgres server: one node, data checksums on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PostgresBackend {
    /// A release of the chart's catalogue, for example `"18.4"`. Quote it, it is a string.
    pub version: Version,
    /// Server settings by name, as in postgresql.conf, for example `autovacuum_naptime: 15s`. The server
    /// refuses names that it does not know. At most 64. Addresses, files and preloaded libraries are the operator's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    #[x_kube(validation = Rule::new("self.all(name, name.matches('^[a-z][a-z0-9_]{0,62}([.][a-z][a-z0-9_]{0,62})?$'))").message("settings: a name consists of lower-case letters, digits and underscores, as in pg_settings"))]
    #[x_kube(validation = Rule::new("!self.exists(name, name in ['listen_addresses', 'port', 'data_directory', 'config_file', 'hba_file', 'ident_file', 'unix_socket_directories', 'shared_preload_libraries', 'external_pid_file', 'logging_collector', 'log_destination', 'ssl'])").message("settings: addresses, files, logs, ssl and shared_preload_libraries are set by the operator"))]
    pub settings: BTreeMap<String, SettingValue>,
}

impl PostgresBackend {
    pub(super) fn origin(&self) -> Origin {
        let settings = self.settings.iter();
        Origin::Provisioned(Release {
            settings: settings
                .map(|(name, value)| (name.clone(), value.0.clone()))
                .collect(),
            ..Release::of(Product::Postgres, &self.version)
        })
    }
}

pub(super) const TRAITS: BackendTraits = BackendTraits {
    name: "postgres",
    kind: BackendKind::Postgres,
    ground: Ground::Postgres,
    external: false,
};

/// The value of a server setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct SettingValue(#[schemars(length(max = 200))] pub String);
