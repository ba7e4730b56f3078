//! A MinIO server that is provisioned.

use super::{BackendKind, BackendTraits, Origin, Product, Release};
use crate::durability::DurabilityClass;
use crate::spec::{Ground, Version};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A MinIO server: one node, one drive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct MinioBackend {
    /// A release of the chart's catalogue, for example `RELEASE.2025-09-07T16-13-09Z`.
    pub version: Version,
    /// What an acknowledged write survives. Default `FlushedButLastOperation`, which is how the server comes.
    #[serde(default)]
    pub durability: MinioDurability,
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
    pub(super) fn origin(&self) -> Origin {
        Origin::Provisioned(Release {
            durability: Some(self.durability.class()),
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
