//! B1: small objects under many prefixes.

use super::{Factor, Levels, Measured, WorkloadTraits, listed, of_load};
use crate::cell::factor;
use crate::quantity::Quantity;
use crate::spec::cel;
use crate::spec::{CapacityLoad, Ground, Load};
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// B1: puts small objects of incompressible bytes, each under a new key, across many prefixes.
/// Measures the latency, the throughput and the throttling of PUT.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SmallObjectPut {
    /// Factor: bytes of an object, each level 1 to 64Mi. Default 1Ki, 4Ki, 16Ki, 64Ki.
    #[serde(default = "default_sizes")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(validation = cel::sizes("objectSize", "64Mi"))]
    #[x_kube(validation = cel::sizes_differ("objectSize"))]
    pub object_size: Vec<Quantity>,
    /// Prefixes that the keys are spread over, as runs would. 1 to 1000000, default 1000.
    #[serde(default = "default_prefixes")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub prefixes: i32,
    /// How the operations arrive.
    pub load: Load,
}

pub(super) const TRAITS: WorkloadTraits = WorkloadTraits::new(
    "smallObjectPut",
    Ground::S3,
    &[Levels::List("objectSize"), Levels::Load],
);

impl Measured for SmallObjectPut {
    fn factors(&self) -> Vec<Factor> {
        vec![
            listed(factor::OBJECT_SIZE, &self.object_size),
            of_load(&self.load),
        ]
    }

    fn is_open(&self) -> bool {
        self.load.closed.is_none()
    }

    fn capacity(&self) -> Option<CapacityLoad> {
        self.load.capacity.clone()
    }
}

fn default_sizes() -> Vec<Quantity> {
    ["1Ki", "4Ki", "16Ki", "64Ki"].map(Quantity::from).to_vec()
}
fn default_prefixes() -> i32 {
    1_000
}
