//! Speeds and rates as ratios of whole numbers.

use crate::Error;
use crate::format::Manifest;

/// A positive ratio in lowest terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ratio {
    numerator: u64,
    denominator: u64,
}

fn gcd(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

impl Ratio {
    /// One.
    pub const ONE: Self = Self {
        numerator: 1,
        denominator: 1,
    };

    /// A ratio, for example 150 to 100.
    ///
    /// # Errors
    /// One of the two is 0, or exceeds 64 bits in lowest terms.
    pub fn new(numerator: u128, denominator: u128) -> Result<Self, Error> {
        let shared = gcd(numerator, denominator).max(1);
        match (
            u64::try_from(numerator / shared),
            u64::try_from(denominator / shared),
        ) {
            (Ok(numerator @ 1..), Ok(denominator @ 1..)) => Ok(Self {
                numerator,
                denominator,
            }),
            _ => Err(Error::Options(format!(
                "{numerator}/{denominator} is no ratio that can be reckoned with: both are above 0 and below 2^64"
            ))),
        }
    }

    /// What is divided.
    #[must_use]
    pub fn numerator(self) -> u64 {
        self.numerator
    }

    /// By what.
    #[must_use]
    pub fn denominator(self) -> u64 {
        self.denominator
    }

    /// As a speed: when what lies so many microseconds into the recording is due, cut off to nanoseconds. `None` beyond 584 years.
    pub(super) fn due_nanos(self, elapsed: u128) -> Option<u64> {
        let product = elapsed
            .checked_mul(1_000)?
            .checked_mul(u128::from(self.denominator))?;
        u64::try_from(product / u128::from(self.numerator)).ok()
    }

    /// As a speed: the first microsecond of the recording that is due at a moment or later.
    pub(super) fn elapsed_micros(self, nanos: u64) -> u128 {
        // Below 2^128, and 2^74.
        (u128::from(nanos) * u128::from(self.numerator))
            .div_ceil(1_000 * u128::from(self.denominator))
    }

    /// As a speed: how long so many microseconds of the recording take, rounded up.
    pub(super) fn turn_nanos(self, span_micros: u64) -> u128 {
        let nanos = u128::from(span_micros) * 1_000;
        nanos
            .checked_mul(u128::from(self.denominator))
            .map_or(u128::MAX, |product| {
                product.div_ceil(u128::from(self.numerator))
            })
    }
}

/// Copies and speed that give a number of open runs and a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scaled {
    /// How many times the recording is played at the same time.
    pub copies: u32,
    /// Microseconds of the recording in one of the replay.
    pub speed: Ratio,
}

/// Copies and speed for so many open runs and so many events per second, of a recording with so many of both on average: as
/// many copies as reach the open runs, and the speed at which these reach the rate.
///
/// # Errors
/// Something is 0, or there would be more than [`super::MOST_COPIES`] copies.
pub fn scale(
    active_runs: u64,
    rate_per_second: u64,
    mean_open: Ratio,
    mean_rate: Ratio,
) -> Result<Scaled, Error> {
    let copies = (u128::from(active_runs) * u128::from(mean_open.denominator))
        .div_ceil(u128::from(mean_open.numerator));
    let allowed = u32::try_from(copies)
        .ok()
        .filter(|copies| (1..=super::MOST_COPIES).contains(copies));
    let Some(copies) = allowed else {
        return Err(Error::Options(format!(
            "{active_runs} open runs take {copies} copies of this recording: 1 to {} are possible",
            super::MOST_COPIES
        )));
    };
    let speed = Ratio::new(
        u128::from(rate_per_second) * u128::from(mean_rate.denominator),
        u128::from(copies) * u128::from(mean_rate.numerator),
    )?;
    Ok(Scaled { copies, speed })
}

/// [`scale`] with the means of a recording. Its open runs are known to a thousandth of a run.
///
/// # Errors
/// Those of [`scale`]; the recording has no open runs, or no events.
pub fn scale_to(
    active_runs: u64,
    rate_per_second: u64,
    manifest: &Manifest,
) -> Result<Scaled, Error> {
    let events = u128::from(manifest.counts.events());
    if events == 0 || manifest.open.mean_thousandths == 0 {
        return Err(Error::Options(
            "the recording has no events, or hardly ever an open run: it cannot be scaled"
                .to_owned(),
        ));
    }
    let mean_open = Ratio::new(u128::from(manifest.open.mean_thousandths), 1_000)?;
    let mean_rate = Ratio::new(events * 1_000_000, u128::from(manifest.span_micros))?;
    scale(active_runs, rate_per_second, mean_open, mean_rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ratio(numerator: u128, denominator: u128) -> Ratio {
        Ratio::new(numerator, denominator).unwrap()
    }

    #[test]
    fn a_ratio_is_in_lowest_terms_and_positive() {
        assert_eq!(
            (ratio(150, 100).numerator(), ratio(150, 100).denominator()),
            (3, 2)
        );
        for (numerator, denominator) in [(0, 1), (1, 0), (0, 0), (u128::MAX, 1)] {
            assert!(Ratio::new(numerator, denominator).is_err());
        }
    }

    #[test]
    fn a_fraction_of_a_speed_is_not_cut_off() {
        let half_more = ratio(3, 2);
        assert_eq!(half_more.due_nanos(3), Some(2_000));
        assert_eq!(half_more.due_nanos(1), Some(666));
        assert_eq!(ratio(1, 3).due_nanos(1), Some(3_000));
        assert_eq!(half_more.turn_nanos(1_000_000), 666_666_667);
    }

    #[test]
    fn the_first_microsecond_that_is_due_is_the_first() {
        let ratios = [
            (1, 1),
            (3, 2),
            (1, 7),
            (1_000_003, 17),
            (u128::from(u64::MAX), 3),
            (3, u128::from(u64::MAX)),
        ];
        for speed in ratios.map(|(numerator, denominator)| ratio(numerator, denominator)) {
            for nanos in [0, 1, 999, 1_000, 1_001, 123_456_789, u64::MAX] {
                let first = speed.elapsed_micros(nanos);
                assert!(
                    speed.due_nanos(first).is_none_or(|due| due >= nanos),
                    "{speed:?} {nanos}"
                );
                let before = first.checked_sub(1).map(|before| speed.due_nanos(before));
                assert!(
                    before.is_none_or(|due| due.is_some_and(|due| due < nanos)),
                    "{speed:?} {nanos}"
                );
            }
        }
    }

    #[test]
    fn copies_reach_the_open_runs_and_speed_the_rate() {
        // 55 open runs and 0.02 events per second on average.
        let scaled = scale(100_000, 2_000, ratio(55, 1), ratio(2, 100)).unwrap();
        assert_eq!(scaled.copies, 1_819);
        assert_eq!(scaled.speed, ratio(2_000 * 50, 1_819));
        assert!(scale(100_000_000, 1, ratio(1, 1), ratio(1, 1)).is_err());
        assert!(scale(0, 1, ratio(1, 1), ratio(1, 1)).is_err());
        assert!(scale(1, 0, ratio(1, 1), ratio(1, 1)).is_err());
    }
}
