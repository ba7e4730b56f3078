//! A MinIO server that is provisioned.

use super::{BackendKind, BackendTraits, Origin, Product, Release};
use crate::spec::{Ground, Version};
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// A MinIO server: one node, one drive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct MinioBackend {
    /// A release of the chart's catalogue, for example `RELEASE.2025-09-07T16-13-09Z`.
    pub version: Version,
}

impl MinioBackend {
    pub(super) fn origin(&self) -> Origin {
        Origin::Provisioned(Release::of(Product::Minio, &self.version))
    }
}

pub(super) const TRAITS: BackendTraits = BackendTraits {
    name: "minio",
    kind: BackendKind::Minio,
    ground: Ground::S3,
    external: false,
};
