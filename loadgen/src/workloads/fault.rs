//! Where a workload asks for a fault, and hears what came of it.

use std::fmt::Debug;

/// What is known of a fault that was asked for: instants of the monotonic clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultSeen {
    /// When it was made.
    pub made: Option<u64>,
    /// When all servers were ready again.
    pub mended: Option<u64>,
}

/// Who makes faults. Generators have no way to Kubernetes: they say what is due, and whoever asks them for their progress does it.
pub trait FaultDesk: Debug {
    /// Says that the fault of this name is due on this backend.
    fn ask(&self, id: &str, backend: &str);

    /// What is known of the fault of this name.
    fn seen(&self, id: &str) -> FaultSeen;

    /// Nothing is due any more.
    fn withdraw(&self);
}
