//! A SeaweedFS server that is provisioned.

use super::{BackendTraits, Origin, Product, Release, Topology};
use crate::durability::DurabilityClass;
use crate::spec::{Ground, Version};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A SeaweedFS server: master, volume, filer and S3 gateway in one process, or each role in pods of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(self.replication == '000' ? 1 : self.replication == '001' ? 2 : 3) <= self.volumeServers").message("seaweedfs.replication needs a volume server for each copy: 2 of them for 001, 3 for 002"))]
#[x_kube(validation = Rule::new("self.masters == 1 || self.masters == 3").message("seaweedfs.masters is 1 or 3: two masters agree no better than one"))]
pub struct SeaweedfsBackend {
    /// A release of the chart's catalogue, for example `"4.48"`. Quote it, it is a string.
    pub version: Version,
    /// What an acknowledged write survives. Default `PageCache`, which is how the server comes.
    #[serde(default)]
    pub durability: SeaweedfsDurability,
    /// How many volume servers. With one, one master and no copies, which is the default, all roles are in one process; else each role
    /// has pods of its own. All of them together get `equipment`: a master 100m of CPU and 128Mi, the rest evenly by program (the filer's
    /// pod has the gateway as well, so it gets two shares), and storage evenly over volume servers and filer. There is one filer, which
    /// is a single point of failure: filers with stores of their own answer differently under load.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 16))]
    pub volume_servers: i32,
    /// How many masters: 1 or 3. Default 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 3))]
    pub masters: i32,
    /// Copies of each object beside the first, on other volume servers. A write is acknowledged when all have it. Default `000`.
    #[serde(default)]
    pub replication: Replication,
}

fn one() -> i32 {
    1
}

/// Copies of each object, as SeaweedFS writes it: in other data centres, in other racks, on other servers of the rack.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Replication {
    /// One copy.
    #[default]
    #[serde(rename = "000")]
    None,
    /// Two copies, on two servers.
    #[serde(rename = "001")]
    One,
    /// Three copies, on three servers.
    #[serde(rename = "002")]
    Two,
}

impl Replication {
    fn copies(self) -> i32 {
        match self {
            Self::None => 1,
            Self::One => 2,
            Self::Two => 3,
        }
    }
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
    fn topology(&self) -> Topology {
        let copies = self.replication.copies();
        if self.volume_servers <= 1 && self.masters <= 1 && copies == 1 {
            return Topology::Single;
        }
        Topology::Roles {
            masters: self.masters,
            volume_servers: self.volume_servers,
            copies,
        }
    }

    pub(super) fn origin(&self) -> Origin {
        Origin::Provisioned(Release {
            durability: Some(self.durability.class()),
            topology: self.topology(),
            ..Release::of(Product::Seaweedfs, &self.version)
        })
    }
}

pub(super) const TRAITS: BackendTraits = BackendTraits {
    name: "seaweedfs",
    ground: Ground::S3,
    external: false,
};
