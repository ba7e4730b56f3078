//! What is done to a backend in the middle of a window, on purpose.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is done to a backend in the middle of a window, on purpose: what fails, for how long, and what is lost is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// When, in percent of the window. 10 to 90. The operator acts within seconds of it; the record has the instant.
    #[schemars(range(min = 10, max = 90))]
    pub at: i32,
    /// What is taken away.
    pub kill: FaultTarget,
}

/// What a fault takes away.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum FaultTarget {
    /// One pod of the backend, drawn by the seed: its process gets SIGKILL and no time to end well, its volume stays, and Kubernetes
    /// starts the pod anew. Of a backend whose roles are apart it is a volume server; of one with a single pod it is all of it.
    Server,
}
