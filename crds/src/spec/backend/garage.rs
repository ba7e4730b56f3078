//! A Garage server that is provisioned.

use super::{BackendTraits, Origin, Product, Release, Topology};
use crate::durability::DurabilityClass;
use crate::spec::{Ground, Version};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A Garage server: one node with one copy, or three with a copy each; metadata in LMDB.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.nodes == 1 || self.nodes == 3").message("garage.nodes is 1 or 3: of two nodes none may be lost, and more than three keep no more copies"))]
pub struct GarageBackend {
    /// A release of the chart's catalogue, for example `"2.5.0"`. Quote it, it is a string.
    pub version: Version,
    /// What an acknowledged write survives. Default `PageCache`, which is how the server comes.
    #[serde(default)]
    pub durability: GarageDurability,
    /// How many nodes: 1 or 3. Default 1. Of three each keeps every object, a write is acknowledged when two have it, and two are asked
    /// for a read (`consistency_mode` consistent). All of them together get `equipment`, evenly.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 3))]
    pub nodes: i32,
}

fn one() -> i32 {
    1
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
    fn topology(&self) -> Topology {
        match self.nodes {
            ..=1 => Topology::Single,
            nodes => Topology::Replicated { nodes },
        }
    }

    pub(super) fn origin(&self) -> Origin {
        Origin::Provisioned(Release {
            durability: Some(self.durability.class()),
            topology: self.topology(),
            ..Release::of(Product::Garage, &self.version)
        })
    }
}

pub(super) const TRAITS: BackendTraits = BackendTraits {
    name: "garage",
    ground: Ground::S3,
    external: false,
};
