//! A fault for the null servers: they stop as a whole for a while, again and again, as a server does that
//! checkpoints, collects garbage or fails over. A clock that starts at the send hides it.

use std::time::Duration;

use crate::instrument::clock;

/// For how long a server stops at the start of every period. The periods count from the origin of the
/// monotonic clock, so that all connections stop together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stall {
    /// How long it stops; zero: never.
    pub length: Duration,
    /// How often.
    pub every: Duration,
}

impl Stall {
    /// How long what arrives at `now` has to wait, nanoseconds. (Pure.)
    fn left(self, now: u64) -> u64 {
        let (length, every) = (self.length.as_nanos(), self.every.as_nanos().max(1));
        let since = u128::from(now) % every;
        u64::try_from(length.saturating_sub(since)).unwrap_or(u64::MAX)
    }

    /// Waits until the server goes on; at once where it does not stand still.
    pub async fn pass(self) {
        if self.length.is_zero() {
            return;
        }
        let now = clock::now();
        let left = self.left(now);
        if left > 0 {
            clock::sleep_until(now.saturating_add(left)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stands_still_at_the_start_of_every_period() {
        let stall = Stall {
            length: Duration::from_nanos(100),
            every: Duration::from_nanos(1_000),
        };
        assert_eq!(
            [0, 40, 99, 100, 999, 3_040].map(|now| stall.left(now)),
            [100, 60, 1, 0, 0, 60]
        );
        assert_eq!(Stall::default().left(7), 0);
    }
}
