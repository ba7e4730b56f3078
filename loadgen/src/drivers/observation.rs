//! What is seen of a backend's process. (Pure.)

/// A look at a backend's process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observation {
    /// When it started, seconds since the epoch.
    pub start_seconds: f64,
    /// By how much two looks at one process may differ in that, seconds.
    pub start_error_seconds: f64,
    /// CPU time so far, seconds.
    pub cpu_seconds: f64,
    /// Resident memory, bytes.
    pub resident_bytes: f64,
}

/// Whether another process answers than before.
#[must_use]
pub fn restarted(before: &Observation, after: &Observation) -> bool {
    (before.start_seconds - after.start_seconds).abs()
        > before.start_error_seconds.max(after.start_error_seconds)
}
