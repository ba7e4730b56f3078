//! Systems under test.
//!
//! What there is to know of a kind stands in its own file. The table below names the members of the union once; the
//! lists in admission rules follow from it.

mod garage;
mod minio;
mod postgres;
mod postgres_url;
mod rules;
mod s3;
mod s3_server;
mod seaweedfs;
mod topology;
mod versitygw;

pub use garage::{GarageBackend, GarageDurability};
pub use minio::{MinioBackend, MinioDurability};
pub use postgres::{HARMLESS_TEXT, PostgresBackend, REFUSED_SETTINGS, SettingValue};
pub use postgres_url::{CaSecretRef, PostgresSslMode, PostgresUrlBackend, SecretKeyRef};
pub use s3::S3Backend;
pub use s3_server::{EnvVariable, S3ServerBackend, ServerCredentials, ServerMetrics};
pub use seaweedfs::{Replication, SeaweedfsBackend, SeaweedfsDurability};
pub use topology::{Member, Share, SplitError, Topology};
pub use versitygw::VersitygwBackend;

use super::{Equipment, Ground, Version};
use crate::durability::DurabilityClass;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is true of every backend that sets the same member.
#[derive(Debug)]
pub struct BackendTraits {
    /// The member of the spec's union.
    pub name: &'static str,
    /// What can be measured on it.
    pub ground: Ground,
    /// Whether it was there before the experiment and stays after it.
    pub external: bool,
}

macro_rules! backends {
    (
        provisioned {
            $($(#[doc = $doc:tt])+ $member:ident: $variant:ident($type:ident) is $words:tt,)+
        }
        external like a provisioned one {
            $($(#[doc = $like_doc:tt])+ $like:ident: $Like:ident($LikeType:ident) as $same:ident,)+
        }
        external {
            $($(#[doc = $own_doc:tt])+ $own:ident: $Own:ident($OwnType:ident) is $own_words:tt,)+
        }
    ) => {
        /// A system under test: one of the kinds below.
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
        #[serde(rename_all = "camelCase")]
        #[x_kube(validation = rules::one_kind_of_backend())]
        #[x_kube(validation = rules::external_backends_have_no_equipment())]
        pub struct Backend {
            /// The name used in results, decisions and the names of children: lower-case letters, digits and dashes.
            #[schemars(
                length(min = 1, max = 30),
                regex(pattern = "^[a-z]([-a-z0-9]*[a-z0-9])?$")
            )]
            pub name: String,
            $(
                $(#[doc = $doc])+
                #[serde(default, skip_serializing_if = "Option::is_none")]
                pub $member: Option<$type>,
            )+
            $(
                $(#[doc = $like_doc])+
                #[serde(default, skip_serializing_if = "Option::is_none")]
                pub $like: Option<$LikeType>,
            )+
            $(
                $(#[doc = $own_doc])+
                #[serde(default, skip_serializing_if = "Option::is_none")]
                pub $own: Option<$OwnType>,
            )+
            /// States the equipment again. Allowed only when equal to `spec.equipment`.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub equipment: Option<Equipment>,
        }

        /// The one member of a backend's union that is set.
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub enum BackendSpec<'a> {
            $($(#[doc = $doc])+ $variant(&'a $type),)+
            $($(#[doc = $like_doc])+ $Like(&'a $LikeType),)+
            $($(#[doc = $own_doc])+ $Own(&'a $OwnType),)+
        }

        impl BackendSpec<'_> {
            /// What is true of every backend of its sort.
            #[must_use]
            pub fn traits(self) -> &'static BackendTraits {
                match self {
                    $(Self::$variant(_) => &$member::TRAITS,)+
                    $(Self::$Like(_) => &$like::TRAITS,)+
                    $(Self::$Own(_) => &$own::TRAITS,)+
                }
            }

            /// What it is in the data of a run.
            #[must_use]
            pub fn kind(self) -> BackendKind {
                match self {
                    $(Self::$variant(_) => BackendKind::$variant,)+
                    $(Self::$Like(_) => BackendKind::$same,)+
                    $(Self::$Own(_) => BackendKind::$Own,)+
                }
            }

            /// Where it comes from.
            #[must_use]
            pub fn origin(self) -> Origin {
                match self {
                    $(Self::$variant(member) => member.origin(),)+
                    $(Self::$Like(member) => member.origin(),)+
                    $(Self::$Own(member) => member.origin(),)+
                }
            }
        }

        /// What a backend is in the data of a run. A server that is there already is of the same kind as a provisioned one of
        /// its program, where there is one.
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
        )]
        pub enum BackendKind {
            $(#[doc = $words] $variant,)+
            $(#[doc = $own_words] $Own,)+
        }

        impl BackendKind {
            /// What can be measured on it.
            #[must_use]
            pub fn ground(self) -> Ground {
                match self {
                    $(Self::$variant => $member::TRAITS.ground,)+
                    $(Self::$Own => $own::TRAITS.ground,)+
                }
            }
        }

        /// A program that the operator can start: of a provisioned backend, or what stands beside one. It is never written
        /// down; what a run measured on is its [`BackendKind`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Product {
            $(#[doc = $words] $variant,)+
            /// Redis. It keeps locks beside a backend and is never one itself.
            Redis,
        }

        impl Product {
            /// The name for people and for keys of the chart's catalogue.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $member::TRAITS.name,)+
                    Self::Redis => "redis",
                }
            }
        }

        /// What is true of the backends that a spec may name, member by member.
        pub(super) const TRAITS: &[&BackendTraits] =
            &[$(&$member::TRAITS,)+ $(&$like::TRAITS,)+ $(&$own::TRAITS,)+];

        impl Backend {
            /// The member that is set, or `None` unless exactly one is.
            #[must_use]
            pub fn member(&self) -> Option<BackendSpec<'_>> {
                let members = [
                    $(self.$member.as_ref().map(BackendSpec::$variant),)+
                    $(self.$like.as_ref().map(BackendSpec::$Like),)+
                    $(self.$own.as_ref().map(BackendSpec::$Own),)+
                ];
                let mut set = members.into_iter().flatten();
                set.next().filter(|_| set.next().is_none())
            }
        }
    };
}

// A new backend that is provisioned is one line here. Each line has the words of its member in the API, and after `is` those of
// its kind in the data of a run.
backends! {
    provisioned {
        /// A MinIO server, provisioned for the experiment and removed after it.
        minio: Minio(MinioBackend) is "A provisioned MinIO server.",
        /// A SeaweedFS server, provisioned for the experiment and removed after it.
        seaweedfs: Seaweedfs(SeaweedfsBackend) is "A provisioned SeaweedFS server.",
        /// A Garage server, provisioned for the experiment and removed after it.
        garage: Garage(GarageBackend) is "A provisioned Garage server.",
        /// A versitygw server, provisioned for the experiment and removed after it.
        versitygw: Versitygw(VersitygwBackend) is "A provisioned versitygw server.",
        /// Any server of S3, as described here, provisioned for the experiment and removed after it.
        s3_server: S3Server(S3ServerBackend) is "A provisioned server of S3 that the spec describes.",
        /// A Postgres server, provisioned for the experiment and removed after it.
        postgres: Postgres(PostgresBackend) is "A Postgres server, provisioned or external.",
    }
    external like a provisioned one {
        /// A Postgres server that exists already. The schema `bakeoff` is made in its database, refused if there is one,
        /// and dropped after the experiment.
        postgres_url: PostgresUrl(PostgresUrlBackend) as Postgres,
    }
    external {
        /// Any S3 endpoint that exists already, AWS included. Test objects are removed after the experiment.
        s3: S3(S3Backend) is "An external S3 endpoint.",
    }
}

impl Backend {
    /// What the backend is, or `None` unless exactly one member is set.
    #[must_use]
    pub fn kind(&self) -> Option<BackendKind> {
        self.member().map(BackendSpec::kind)
    }

    /// Where it comes from, or `None` unless exactly one member is set.
    #[must_use]
    pub fn origin(&self) -> Option<Origin> {
        self.member().map(BackendSpec::origin)
    }
}

/// Where a backend comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Origin {
    /// It is provisioned for the experiment and removed after it.
    Provisioned(Release),
    /// It was there before and stays.
    External(External),
}

/// A server that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// The program.
    pub product: Product,
    /// Its version.
    pub version: Version,
    /// Its settings by name, where they differ from those that the operator sets.
    pub settings: BTreeMap<String, String>,
    /// What it has to promise, where a spec may choose; else what its settings make it promise.
    pub durability: Option<DurabilityClass>,
    /// Of which pods it is made.
    pub topology: Topology,
    /// The container, where the spec describes it; else the operator knows it.
    pub declared: Option<Box<S3ServerBackend>>,
}

impl Release {
    /// A server with the operator's settings alone.
    #[must_use]
    pub fn of(product: Product, version: &Version) -> Self {
        Self {
            product,
            version: version.clone(),
            settings: BTreeMap::new(),
            durability: None,
            topology: Topology::Single,
            declared: None,
        }
    }
}

/// A system that was there before the experiment and stays after it.
#[derive(Clone, Debug, PartialEq)]
pub enum External {
    /// An S3 endpoint.
    S3(S3Backend),
    /// A Postgres server.
    Postgres(PostgresUrlBackend),
}

impl External {
    /// The Secrets in the experiment's namespace by which it is reached, and the keys that are needed of each.
    #[must_use]
    pub fn secrets(&self) -> Vec<(&str, Vec<String>)> {
        match self {
            Self::S3(s3) => vec![s3.secret()],
            Self::Postgres(postgres) => {
                let at = &postgres.secret_ref;
                let keys = [&at.key].into_iter().chain(&postgres.ca_key);
                let mut secrets = vec![(at.name.as_str(), keys.cloned().collect())];
                let authorities = postgres.ca_secret_ref.as_ref();
                secrets.extend(authorities.map(|at| (at.name.as_str(), vec![at.key.clone()])));
                secrets
            }
        }
    }
}

/// The name of a Secret in the Experiment's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// The name of the Secret.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub name: String,
}
