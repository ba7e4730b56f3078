//! A Garage server that is provisioned.

use super::{BackendKind, BackendTraits, Origin, Product, Release};
use crate::durability::DurabilityClass;
use crate::spec::{Ground, Version};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A Garage server: one node, one copy, metadata in LMDB.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct GarageBackend {
    /// A release of the chart's catalogue, for example `"2.5.0"`. Quote it, it is a string.
    pub version: Version,
    /// What an acknowledged write survives. Default `PageCache`, which is how the server comes.
    #[serde(default)]
    pub durability: GarageDurability,
}

/// What an acknowledged write of a Garage server survives.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum GarageDurability {
    /// Nothing is flushed before the acknowledgement: a power cut can lose all of the last seconds.
    #[default]
    PageCache,
    /// Data and metadata are flushed (`data_fsync`, `metadata_fsync`), and the page of LMDB that makes the last transaction valid is not: a
    /// power cut can undo it. It is the most that Garage offers.
    FlushedButLastOperation,
}

impl GarageDurability {
    fn class(self) -> DurabilityClass {
        match self {
            Self::PageCache => DurabilityClass::PageCache,
            Self::FlushedButLastOperation => DurabilityClass::FlushedButLastOperation,
        }
    }
}

impl GarageBackend {
    pub(super) fn origin(&self) -> Origin {
        Origin::Provisioned(Release {
            durability: Some(self.durability.class()),
            ..Release::of(Product::Garage, &self.version)
        })
    }
}

pub(super) const TRAITS: BackendTraits = BackendTraits {
    name: "garage",
    kind: BackendKind::Garage,
    ground: Ground::S3,
    external: false,
};
