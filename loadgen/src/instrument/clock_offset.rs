//! How the clocks of two machines differ. (Pure.)

use serde::{Deserialize, Serialize};

/// How two clocks differ, nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockOffset {
    /// By how much that of generator 0 is ahead of the own one.
    pub ahead: i64,
    /// By how much this may be wrong: half the round trip.
    pub error: i64,
}

impl ClockOffset {
    /// The offset over a time that was looked at before and after: half-way between both, and as much as they
    /// differ less certain, because clocks of two machines drift.
    #[must_use]
    pub fn over(before: Self, after: Self) -> Self {
        let drift = after.ahead.saturating_sub(before.ahead);
        Self {
            ahead: before.ahead.saturating_add(drift / 2),
            error: before
                .error
                .max(after.error)
                .saturating_add(drift.saturating_abs()),
        }
    }

    /// An instant of the own clock on that of generator 0, nanoseconds.
    #[must_use]
    pub fn shift(self, instant: u64) -> u64 {
        instant.saturating_add_signed(self.ahead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_drift_are_less_certain() {
        let at = |ahead, error| ClockOffset { ahead, error };
        assert_eq!(ClockOffset::over(at(0, 0), at(0, 0)), at(0, 0));
        assert_eq!(
            ClockOffset::over(at(1_000, 30), at(1_000, 50)),
            at(1_000, 50)
        );
        assert_eq!(
            ClockOffset::over(at(1_000, 30), at(1_200, 20)),
            at(1_100, 230)
        );
        assert_eq!(ClockOffset::over(at(-500, 30), at(-700, 20)), at(-600, 230));
        assert_eq!(at(-600, 0).shift(1_000), 400);
        assert_eq!(at(-600, 0).shift(100), 0);
    }
}
