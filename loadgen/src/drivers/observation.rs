//! What is seen of a backend's process. (Pure.)

/// A look at a backend's process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observation {
    /// When it started, seconds since the epoch.
    pub start_seconds: f64,
    /// CPU time so far, seconds.
    pub cpu_seconds: f64,
    /// Resident memory, bytes.
    pub resident_bytes: f64,
}

/// Whether another process answers than before. The start time of Linux processes is read from
/// clock ticks, so it is the same to the hundredth of a second; MinIO rounds to whole seconds.
#[must_use]
pub fn restarted(before: &Observation, after: &Observation) -> bool {
    (before.start_seconds - after.start_seconds).abs() > 1.0
}
