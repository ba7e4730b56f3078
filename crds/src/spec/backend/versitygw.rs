//! A versitygw server that is provisioned.

use super::{BackendTraits, Origin, Product, Release};
use crate::spec::{Ground, Version};
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// A versitygw server: one gateway before a folder, whose files are the objects and whose extended attributes are their metadata. It
/// never flushes, so its class is `PageCache`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct VersitygwBackend {
    /// A release of the chart's catalogue, for example `"1.8.0"`. Quote it, it is a string.
    pub version: Version,
}

impl VersitygwBackend {
    pub(super) fn origin(&self) -> Origin {
        Origin::Provisioned(Release::of(Product::Versitygw, &self.version))
    }
}

pub(super) const TRAITS: BackendTraits = BackendTraits {
    name: "versitygw",
    ground: Ground::S3,
    external: false,
};
