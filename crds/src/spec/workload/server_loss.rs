//! What the loss of a server does to small PUTs.

use super::{Factor, Levels, Measured, WorkloadTraits, listed, of_load};
use crate::cell::factor;
use crate::quantity::Quantity;
use crate::spec::cel;
use crate::spec::{CapacityLoad, Fault, FaultTarget, Ground, Load};
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// The loss of a server: puts small objects as `smallObjectPut` does, and in the middle of each window a server is killed. Measures PUT
/// before, during and after, how long none succeeded, how long until all servers were back, and reads every acknowledged object again.
/// Needs provisioned backends, one generator, and windows of 20 seconds at least.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerLoss {
    /// Factor: bytes of an object, each level 1 to 64Mi. Default 4Ki.
    #[serde(default = "default_sizes")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(validation = cel::sizes("objectSize", "64Mi"))]
    #[x_kube(validation = cel::sizes_differ("objectSize"))]
    pub object_size: Vec<Quantity>,
    /// Prefixes that the keys are spread over, as runs would. 1 to 1000000, default 1000.
    #[serde(default = "default_prefixes")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub prefixes: i32,
    /// How the operations arrive. An open load shows what clients wait for; a closed one only what they could do meanwhile.
    pub load: Load,
    /// What is done in the middle of each window; one for now. Default `[{at: 50, kill: Server}]`.
    #[serde(default = "default_faults")]
    #[schemars(length(min = 1, max = 1))]
    pub faults: Vec<Fault>,
}

pub(super) const TRAITS: WorkloadTraits = WorkloadTraits {
    kills_servers: true,
    ..WorkloadTraits::new(
        "serverLoss",
        Ground::S3,
        &[Levels::List("objectSize"), Levels::Load],
    )
};

impl Measured for ServerLoss {
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
    vec![super::default_object_size()]
}
fn default_prefixes() -> i32 {
    1_000
}
fn default_faults() -> Vec<Fault> {
    vec![Fault {
        at: 50,
        kill: FaultTarget::Server,
    }]
}
