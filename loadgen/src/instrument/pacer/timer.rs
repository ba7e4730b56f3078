//! What wakes the pacer.

use std::os::fd::OwnedFd;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::instrument::clock::{self, SECOND};

/// How long before an instant the timer is set, for a sleeping thread runs only some time after its timer fires. It
/// follows the quarter of the wakes that are quickest: then three in four come a little after the instant, and
/// the fourth passes the rest of the time awake, which is short.
#[derive(Debug, Default)]
struct Lead {
    nanos: u64,
}

impl Lead {
    /// A machine whose wakes are later than this is late for other reasons, and nobody should be awake for so long.
    const MOST: u64 = 100_000;
    /// How far one wake moves it. Where the steps down are three times as long as those up, it comes to rest
    /// where a quarter of the wakes are quicker.
    const STEP: u64 = 250;

    /// Learns from a wake that came so long after its timer was to fire.
    fn learn(&mut self, late: u64) {
        self.nanos = if late > self.nanos {
            (self.nanos + Self::STEP).min(Self::MOST)
        } else {
            self.nanos.saturating_sub(3 * Self::STEP)
        };
    }
}

/// A timer of the kernel for absolute instants of the monotonic clock.
pub(super) struct Timer {
    fd: AsyncFd<OwnedFd>,
    lead: Lead,
}

impl Timer {
    // The constructor that replaces this one is unsafe, because a type may change the descriptor that it answers
    // with; an OwnedFd keeps its own.
    #[expect(deprecated)]
    pub fn new() -> std::io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let fd = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Ok(Self {
            fd: AsyncFd::with_interest(fd, Interest::READABLE)?,
            lead: Lead::default(),
        })
    }

    /// Waits until the instant, and never less; one that is past is waited for no longer.
    pub async fn until(&mut self, instant: u64) -> std::io::Result<()> {
        let early = instant.saturating_sub(self.lead.nanos);
        if clock::now() < early {
            let woke = self.sleep_until(early).await?;
            self.lead.learn(woke - early);
        }
        // The other tasks of the thread have their turns meanwhile, so no answer waits for this.
        while clock::now() < instant {
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Sleeps until the instant, which is not past; answers when that was over.
    async fn sleep_until(&self, instant: u64) -> std::io::Result<u64> {
        let spec = Itimerspec {
            it_interval: Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
            it_value: Timespec {
                tv_sec: i64::try_from(instant / SECOND).unwrap_or(i64::MAX),
                tv_nsec: i64::try_from(instant % SECOND).unwrap_or(0),
            },
        };
        timerfd_settime(&self.fd, TimerfdTimerFlags::ABSTIME, &spec)?;
        loop {
            // Setting it anew takes back an expiry that nobody read, but not one that was announced.
            self.fd.readable().await?.clear_ready();
            let now = clock::now();
            if now >= instant {
                return Ok(now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bakeoff_crds::rng::SplitMix64;

    #[test]
    fn the_lead_is_what_the_quickest_quarter_of_the_wakes_takes() {
        let mut rng = SplitMix64::new(7);
        let mut lead = Lead::default();
        let mut quicker = 0;
        for wake in 0..20_000 {
            // 40 to 80 microseconds, and one in fifty a stall.
            let late = if rng.below(50) == 0 {
                5_000_000
            } else {
                40_000 + rng.below(40_000)
            };
            quicker += u64::from(wake >= 10_000 && late <= lead.nanos);
            lead.learn(late);
        }
        assert!((47_000..53_000).contains(&lead.nanos), "{lead:?}");
        assert!((2_200..2_800).contains(&quicker), "{quicker} of 10000");
    }

    #[test]
    fn a_machine_that_is_always_late_gets_no_more_than_the_most() {
        let mut lead = Lead::default();
        for _ in 0..10_000 {
            lead.learn(50_000_000);
        }
        assert_eq!(lead.nanos, Lead::MOST);
        for _ in 0..10_000 {
            lead.learn(0);
        }
        assert_eq!(lead.nanos, 0);
    }
}
