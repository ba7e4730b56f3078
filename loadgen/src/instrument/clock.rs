//! The clocks of a measurement.
//!
//! Every duration comes from `CLOCK_MONOTONIC` as whole nanoseconds in a `u64` (584 years of
//! range): the pacer sleeps to absolute instants of the same clock, so no conversion can drift.
//! The wall clock only aligns windows of several generators and dates requests.

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, Timespec, clock_gettime};

/// One second in nanoseconds.
pub const SECOND: u64 = 1_000_000_000;

fn nanoseconds(at: Timespec) -> u64 {
    u64::try_from(at.tv_sec).unwrap_or(0) * SECOND + u64::try_from(at.tv_nsec).unwrap_or(0)
}

/// Now on `CLOCK_MONOTONIC`, in nanoseconds since an arbitrary origin of this machine.
#[must_use]
pub fn now() -> u64 {
    nanoseconds(clock_gettime(ClockId::Monotonic))
}

/// CPU time used by this process so far (user and system, all threads), in nanoseconds.
#[must_use]
pub fn process_cpu() -> u64 {
    nanoseconds(clock_gettime(ClockId::ProcessCPUTime))
}

/// CPU time used by the calling thread so far, in nanoseconds.
#[must_use]
pub fn thread_cpu() -> u64 {
    nanoseconds(clock_gettime(ClockId::ThreadCPUTime))
}

/// The wall clock in nanoseconds since the Unix epoch.
#[must_use]
pub fn wall() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// What tells this machine, since it was started, from every other: empty where the kernel does not say.
#[must_use]
pub fn boot() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

/// The monotonic instant at which the wall clock will read `wall_nanoseconds`, as far as this
/// host's clock is right; an instant already past is answered with the past instant.
#[must_use]
pub fn monotonic_at_wall(wall_nanoseconds: u64) -> u64 {
    let (monotonic, wall) = (now(), wall());
    if wall_nanoseconds >= wall {
        monotonic.saturating_add(wall_nanoseconds - wall)
    } else {
        monotonic.saturating_sub(wall - wall_nanoseconds)
    }
}

/// Waits on the async runtime until a monotonic instant; good to about a millisecond, so for the
/// borders of windows only, never for the instants of operations (those are the pacer's).
pub async fn sleep_until(instant: u64) {
    let left = instant.saturating_sub(now());
    if left > 0 {
        tokio::time::sleep(std::time::Duration::from_nanos(left)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_and_monotonic_agree() {
        let before = now();
        let ahead = monotonic_at_wall(wall() + SECOND);
        // However long the thread was held up between the readings.
        let took = now() - before;
        let distance = ahead.abs_diff(before + SECOND);
        assert!(distance <= took + SECOND / 10, "{distance} ns apart");
    }
}
