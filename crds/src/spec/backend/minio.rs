//! A MinIO server that is provisioned.

use super::{BackendTraits, Origin, Product, Release, Topology};
use crate::durability::DurabilityClass;
use crate::spec::{Ground, Version};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A MinIO server: one node with one drive, or several nodes or drives that keep each object together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.parity) || self.parity * 2 <= self.servers * (self.servers * self.drivesPerServer <= 16 ? self.drivesPerServer : self.drivesPerServer == 4 && self.servers <= 8 ? 2 : 1)").message("minio.parity may be half of the drives of a set at most: all drives up to 16, else the largest multiple of minio.servers up to 16 that divides them"))]
pub struct MinioBackend {
    /// A release of the chart's catalogue, for example `RELEASE.2025-09-07T16-13-09Z`.
    pub version: Version,
    /// What an acknowledged write survives. Default `FlushedButLastOperation`, which is how the server comes.
    #[serde(default)]
    pub durability: MinioDurability,
    /// How many servers, over the drives of all of which each object is erasure coded. Default 1. All of them together get
    /// `equipment`, evenly; they are spread over the nodes of the pool as far as these suffice.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 16))]
    pub servers: i32,
    /// How many volumes each server has, of one size. Default 1. Up to 16 drives are one erasure set; of more, each object is in one of
    /// several.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 4))]
    pub drives_per_server: i32,
    /// How many drives of a set may be lost without losing an object (`EC:n`), at most half of them. Default, as MinIO's: 1 of 2 or 3
    /// drives, 2 of 4 or 5, 3 of 6 or 7, 4 of more. With half of them writes stop one earlier than reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 8))]
    pub parity: Option<i32>,
}

/// The drives of a set, as MinIO chooses it: as many as divide all of them, not more than this.
const LARGEST_SET: i32 = 16;

/// How many drives of each server are in a set. MinIO takes the largest set with as many of each server; with one of each there is always
/// one. The rule of `parity` above says the same in CEL.
fn per_set(servers: i32, drives: i32) -> i32 {
    let fit = |each: &i32| drives % each == 0 && servers * each <= LARGEST_SET;
    (1..=drives).rev().find(fit).unwrap_or(1)
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
        let (servers, drives) = (self.servers.max(1), self.drives_per_server.max(1));
        if servers * drives == 1 {
            return Topology::Single;
        }
        let set = servers * per_set(servers, drives);
        let usual = match set {
            ..=3 => 1,
            4..=5 => 2,
            6..=7 => 3,
            _ => 4,
        };
        Topology::Erasure {
            servers,
            drives,
            set,
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
    ground: Ground::S3,
    external: false,
};

#[cfg(test)]
mod tests {
    use super::*;

    /// The set that MinIO makes of so many servers with so many drives: what its own `GetAllSets` says of each, by drives per server.
    const SETS: [(i32, [i32; 16]); 4] = [
        (1, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]),
        (
            2,
            [2, 4, 6, 8, 10, 12, 14, 16, 9, 10, 11, 12, 13, 14, 15, 16],
        ),
        (3, [3, 6, 9, 12, 15, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]),
        (
            4,
            [4, 8, 12, 16, 10, 12, 14, 16, 9, 10, 11, 12, 13, 14, 15, 16],
        ),
    ];

    #[test]
    fn sets_and_parity_are_those_that_minio_chooses() {
        for (drives, sets) in SETS {
            for (servers, expected) in (1..).zip(sets) {
                let backend = MinioBackend {
                    version: "R1".into(),
                    durability: MinioDurability::default(),
                    servers,
                    drives_per_server: drives,
                    parity: None,
                };
                // As the rule of admission counts.
                let rule = if servers * drives <= 16 {
                    drives
                } else if drives == 4 && servers <= 8 {
                    2
                } else {
                    1
                };
                assert_eq!(servers * rule, expected, "{servers} with {drives}");
                match backend.topology() {
                    Topology::Single => assert_eq!(servers * drives, 1),
                    Topology::Erasure { set, parity, .. } => {
                        assert_eq!(set, expected, "{servers} with {drives}");
                        assert!(parity > 0 && parity * 2 <= set && parity <= 4);
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }
}
