//! A SeaweedFS server that is provisioned.

use super::{BackendKind, BackendTraits, Origin, Product, Release};
use crate::spec::{Ground, Version};
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// A SeaweedFS server: master, volume, filer and S3 gateway in one process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SeaweedfsBackend {
    /// A release of the chart's catalogue, for example `"4.48"`. Quote it, it is a string.
    pub version: Version,
}

impl SeaweedfsBackend {
    pub(super) fn origin(&self) -> Origin {
        Origin::Provisioned(Release::of(Product::Seaweedfs, &self.version))
    }
}

pub(super) const TRAITS: BackendTraits = BackendTraits {
    name: "seaweedfs",
    kind: BackendKind::Seaweedfs,
    ground: Ground::S3,
    external: false,
};
