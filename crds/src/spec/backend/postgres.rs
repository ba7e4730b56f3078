//! A Postgres server that is provisioned.

use super::{BackendTraits, Origin, Product, Release, Topology};
use crate::spec::{Ground, Version};
use kube::KubeSchema;
use kube::core::Rule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A Postgres server, data checksums on: one node, or a primary with synchronous standbys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PostgresBackend {
    /// A release of the chart's catalogue, for example `"18.4"`. Quote it, it is a string.
    pub version: Version,
    /// Server settings by name, as in postgresql.conf, for example `autovacuum_naptime: 15s`. The server
    /// refuses names that it does not know. At most 64. Addresses, files, logs and encryption are the
    /// operator's; commands, libraries and other files are refused.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    #[x_kube(validation = Rule::new("self.all(name, name.matches('^[a-z][a-z0-9_]{0,62}([.][a-z][a-z0-9_]{0,62})?$'))").message("settings: a name consists of lower-case letters, digits and underscores, as in pg_settings"))]
    #[x_kube(validation = settings_run_and_read_nothing())]
    pub settings: BTreeMap<String, SettingValue>,
    /// Standbys without which no commit is acknowledged: `FIRST n` of `synchronous_standby_names`, 0 to 2, default 0. For how much of
    /// one a commit waits, `synchronous_commit` says. Primary and standbys split `equipment` evenly; clients talk to the primary.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0, max = 2))]
    pub synchronous_standbys: i32,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde asks for it
fn is_zero(number: &i32) -> bool {
    *number == 0
}

/// The settings that are the operator's, or that would have the server run a command, load a library, or read or write a
/// file of the user's choice: whoever may create Experiments must not thereby run a program in a pod. It holds all
/// settings of the server that are text (`postgres --describe-config`), but for those in [`HARMLESS_TEXT`]; a test holds it
/// against the servers.
pub const REFUSED_SETTINGS: [&str; 55] = [
    "archive_cleanup_command",
    "archive_command",
    "archive_library",
    "bonjour_name",
    "config_file",
    "data_directory",
    "default_tablespace",
    "dynamic_library_path",
    "event_source",
    "extension_control_path",
    "external_pid_file",
    "hba_file",
    "ident_file",
    "jit_provider",
    "krb_server_keyfile",
    "listen_addresses",
    "local_preload_libraries",
    "log_destination",
    "log_directory",
    "log_filename",
    "log_line_prefix",
    "logging_collector",
    "oauth_validator_libraries",
    "port",
    "primary_conninfo",
    "primary_slot_name",
    "recovery_end_command",
    "recovery_target",
    "recovery_target_lsn",
    "recovery_target_name",
    "recovery_target_time",
    "recovery_target_timeline",
    "recovery_target_xid",
    "restore_command",
    "session_preload_libraries",
    "shared_preload_libraries",
    "ssl",
    "ssl_ca_file",
    "ssl_cert_file",
    "ssl_ciphers",
    "ssl_crl_dir",
    "ssl_crl_file",
    "ssl_dh_params_file",
    "ssl_ecdh_curve",
    "ssl_groups",
    "ssl_key_file",
    "ssl_passphrase_command",
    "ssl_tls13_ciphers",
    "synchronized_standby_slots",
    "synchronous_standby_names",
    "syslog_ident",
    "temp_tablespaces",
    "timezone_abbreviations",
    "unix_socket_directories",
    "unix_socket_group",
];

/// Settings that are text and name neither a command nor a library nor a file. (`DateStyle` and `TimeZone` cannot be
/// written in a spec, whose names are lower-case.)
pub const HARMLESS_TEXT: [&str; 14] = [
    "client_encoding",
    "cluster_name",
    "createrole_self_grant",
    "DateStyle",
    "default_table_access_method",
    "default_text_search_config",
    "lc_messages",
    "lc_monetary",
    "lc_numeric",
    "lc_time",
    "log_connections",
    "log_timezone",
    "search_path",
    "TimeZone",
];

fn settings_run_and_read_nothing() -> Rule {
    let names: Vec<String> = REFUSED_SETTINGS
        .iter()
        .map(|name| format!("'{name}'"))
        .collect();
    Rule::new(format!("!self.exists(name, name in [{}] || name.startsWith('bakeoff.'))", names.join(", ")))
        .message("settings: addresses, files, logs, ssl, libraries and commands are not for a spec: the operator sets what is needed of them")
}

impl PostgresBackend {
    fn topology(&self) -> Topology {
        match self.synchronous_standbys {
            ..=0 => Topology::Single,
            standbys => Topology::Standbys { standbys },
        }
    }

    pub(super) fn origin(&self) -> Origin {
        let settings = self.settings.iter();
        Origin::Provisioned(Release {
            settings: settings
                .map(|(name, value)| (name.clone(), value.0.clone()))
                .collect(),
            topology: self.topology(),
            ..Release::of(Product::Postgres, &self.version)
        })
    }
}

pub(super) const TRAITS: BackendTraits = BackendTraits {
    name: "postgres",
    ground: Ground::Postgres,
    external: false,
};

/// The value of a server setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct SettingValue(#[schemars(length(max = 200))] pub String);
