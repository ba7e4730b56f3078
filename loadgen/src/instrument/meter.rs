//! What the generator itself uses.

use super::{cgroup, clock};

/// What this generator used in the window.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// CPU time of the process, nanoseconds.
    pub cpu: u64,
    /// CPU time of the thread that carries the load, nanoseconds.
    pub thread_cpu: u64,
    /// For how long that thread was ready to run and had no processor, nanoseconds.
    pub run_queue: u64,
    /// CFS periods in which it was throttled.
    pub throttled_periods: u64,
    /// Time for which it was throttled, nanoseconds.
    pub throttled: u64,
    /// Largest resident memory seen so far, bytes.
    pub resident: u64,
}

/// Samples what the generator uses between the borders of a window.
#[derive(Debug)]
pub struct Meter {
    cpu: u64,
    thread_cpu: u64,
    run_queue: u64,
    cgroup: cgroup::Throttling,
}

impl Meter {
    /// Starts now.
    #[must_use]
    pub fn start() -> Self {
        Self {
            cpu: clock::process_cpu(),
            thread_cpu: clock::thread_cpu(),
            run_queue: cgroup::run_queue(),
            cgroup: cgroup::throttling(),
        }
    }

    /// What was used since.
    #[must_use]
    pub fn stop(&self) -> Usage {
        let cgroup = cgroup::throttling();
        Usage {
            cpu: clock::process_cpu().saturating_sub(self.cpu),
            thread_cpu: clock::thread_cpu().saturating_sub(self.thread_cpu),
            run_queue: cgroup::run_queue().saturating_sub(self.run_queue),
            throttled_periods: cgroup.periods.saturating_sub(self.cgroup.periods),
            throttled: cgroup.nanoseconds.saturating_sub(self.cgroup.nanoseconds),
            resident: cgroup::peak_resident(),
        }
    }

    /// Meters a window that lies ahead; to be awaited beside the load.
    pub async fn over(start: u64, end: u64) -> Usage {
        clock::sleep_until(start).await;
        let meter = Self::start();
        clock::sleep_until(end).await;
        meter.stop()
    }
}
