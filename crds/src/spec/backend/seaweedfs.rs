//! A SeaweedFS server that is provisioned.

use super::{BackendKind, BackendTraits, Origin, Product, Release};
use crate::durability::DurabilityClass;
use crate::spec::{Ground, Version};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A SeaweedFS server: master, volume, filer and S3 gateway in one process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SeaweedfsBackend {
    /// A release of the chart's catalogue, for example `"4.48"`. Quote it, it is a string.
    pub version: Version,
    /// What an acknowledged write survives. Default `PageCache`, which is how the server comes.
    #[serde(default)]
    pub durability: SeaweedfsDurability,
}

/// What an acknowledged write of a SeaweedFS server survives.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum SeaweedfsDurability {
    /// Nothing is flushed before the acknowledgement: a power cut can lose all of the last seconds.
    #[default]
    PageCache,
    /// The data are flushed by a rule for all buckets, the entries of the filer by SQLite (WAL, `synchronous=FULL`) in place
    /// of LevelDB, and the index of each volume is made anew from its data before every start.
    Flushed,
}

impl SeaweedfsDurability {
    fn class(self) -> DurabilityClass {
        match self {
            Self::PageCache => DurabilityClass::PageCache,
            Self::Flushed => DurabilityClass::Flushed,
        }
    }
}

impl SeaweedfsBackend {
    pub(super) fn origin(&self) -> Origin {
        Origin::Provisioned(Release {
            durability: Some(self.durability.class()),
            ..Release::of(Product::Seaweedfs, &self.version)
        })
    }
}

pub(super) const TRAITS: BackendTraits = BackendTraits {
    name: "seaweedfs",
    kind: BackendKind::Seaweedfs,
    ground: Ground::S3,
    external: false,
};
