//! A MinIO server that is provisioned.

use super::{BackendKind, BackendTraits, Origin, Product, Release, Topology};
use crate::durability::DurabilityClass;
use crate::spec::{Ground, Version};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A MinIO server: one node with one drive, or several that keep each object together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.parity) || self.parity * 2 <= self.servers").message("minio.parity may be half of minio.servers at most: each object is split over all of them"))]
pub struct MinioBackend {
    /// A release of the chart's catalogue, for example `RELEASE.2025-09-07T16-13-09Z`.
    pub version: Version,
    /// What an acknowledged write survives. Default `FlushedButLastOperation`, which is how the server comes.
    #[serde(default)]
    pub durability: MinioDurability,
    /// How many servers, each with one drive, over all of which each object is erasure coded. Default 1. All of them together get
    /// `equipment`, evenly; they are spread over the nodes of the pool as far as these suffice.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 16))]
    pub servers: i32,
    /// How many servers may be lost without losing an object (`EC:n`), at most half of them. Default, as MinIO's: 1 of 2 or 3 servers,
    /// 2 of 4 or 5, 3 of 6 or 7, 4 of more. With half of them writes stop one earlier than reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 8))]
    pub parity: Option<i32>,
}

fn one() -> i32 {
    1
}

/// What an acknowledged write of a MinIO server survives.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum MinioDurability {
    /// Data and metadata are flushed before the acknowledgement, the entry in the directory is not: a power cut can lose
    /// what was acknowledged in the last milliseconds.
    #[default]
    FlushedButLastOperation,
    /// The directory as well (`MINIO_FS_OSYNC=on`), by flushing every file system of the node after each write: whatever
    /// else writes on that node pays for it, and is paid for.
    Flushed,
}

impl MinioDurability {
    fn class(self) -> DurabilityClass {
        match self {
            Self::FlushedButLastOperation => DurabilityClass::FlushedButLastOperation,
            Self::Flushed => DurabilityClass::Flushed,
        }
    }
}

impl MinioBackend {
    fn topology(&self) -> Topology {
        if self.servers <= 1 {
            return Topology::Single;
        }
        let usual = match self.servers {
            ..=3 => 1,
            4..=5 => 2,
            6..=7 => 3,
            _ => 4,
        };
        Topology::Erasure {
            servers: self.servers,
            parity: self.parity.unwrap_or(usual),
        }
    }

    pub(super) fn origin(&self) -> Origin {
        Origin::Provisioned(Release {
            durability: Some(self.durability.class()),
            topology: self.topology(),
            ..Release::of(Product::Minio, &self.version)
        })
    }
}

pub(super) const TRAITS: BackendTraits = BackendTraits {
    name: "minio",
    kind: BackendKind::Minio,
    ground: Ground::S3,
    external: false,
};
