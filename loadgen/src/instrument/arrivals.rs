//! When operations are due: planned up front from one seeded stream, independent of how the
//! system under test behaves (Schroeder et al., "Open versus closed", NSDI 2006).

use bakeoff_crds::rng::SplitMix64;
use bakeoff_crds::spec::Arrivals;

use crate::instrument::clock::SECOND;

/// The load that one generator offers in one trial.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// A fixed number of clients; each sends when its last operation has ended.
    Closed {
        /// Clients of this generator.
        clients: usize,
    },
    /// Planned instants.
    Open {
        /// Operations per second of this generator; positive.
        rate: f64,
        /// Their distances.
        arrivals: Arrivals,
        /// Operations in flight beyond which due ones wait.
        max_in_flight: usize,
    },
}

impl Pace {
    /// How many workers, each with its own connection, the load needs.
    #[must_use]
    pub fn workers(&self) -> usize {
        match *self {
            Self::Closed { clients } => clients,
            Self::Open { max_in_flight, .. } => max_in_flight,
        }
    }
}

/// The planned instants of an open load: nanoseconds from its start, ascending, without end.
///
/// The k-th constant instant is computed from k, and Poisson gaps keep their fraction of a
/// nanosecond, so no rate drifts however long the run.
#[derive(Clone, Debug)]
pub struct Instants {
    rate: f64,
    arrivals: Arrivals,
    rng: SplitMix64,
    count: u64,
    whole: u64,
    fraction: f64,
}

impl Instants {
    /// The instants of one trial and generator. `label` names both: other trials get other
    /// instants from the same seed. A rate that is not positive yields none.
    #[must_use]
    pub fn new(rate: f64, arrivals: Arrivals, seed: u64, label: &str) -> Self {
        Self {
            rate,
            arrivals,
            rng: SplitMix64::stream(seed, label),
            count: 0,
            whole: 0,
            fraction: 0.0,
        }
    }
}

impl Iterator for Instants {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        if self.rate.is_nan() || self.rate <= 0.0 {
            return None;
        }
        match self.arrivals {
            Arrivals::Constant => {
                let count = self.count;
                self.count += 1;
                // Whole seconds apart, so that the product stays exact where it matters.
                let seconds = (count as f64 / self.rate).floor();
                let rest = count as f64 - seconds * self.rate;
                Some(
                    (seconds as u64).saturating_mul(SECOND)
                        + (rest / self.rate * SECOND as f64).round() as u64,
                )
            }
            Arrivals::Poisson => {
                // unit() is in [0, 1), so the logarithm's argument is in (0, 1].
                let gap = -(1.0 - self.rng.unit()).ln() / self.rate * SECOND as f64 + self.fraction;
                let whole = gap.floor();
                self.fraction = gap - whole;
                self.whole = self.whole.saturating_add(whole as u64);
                Some(self.whole)
            }
        }
    }
}

/// When the operations of an open load are due: nanoseconds from its start, ascending.
pub enum Offsets {
    /// Drawn from a seed, without end.
    Drawn(Instants),
    /// Planned one by one, with something to be done at each: the index of an instant says which.
    Given(Box<dyn Iterator<Item = u64> + Send>),
}

impl Iterator for Offsets {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        match self {
            Self::Drawn(instants) => instants.next(),
            Self::Given(offsets) => offsets.next(),
        }
    }
}

impl std::fmt::Debug for Offsets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Drawn(instants) => instants.fmt(f),
            Self::Given(_) => f.write_str("Given"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn constant_arrivals_do_not_drift() {
        let late: Vec<u64> = Instants::new(3.0, Arrivals::Constant, 1, "x")
            .take(3_000_001)
            .skip(2_999_999)
            .collect();
        assert_eq!(late, [999_999_666_666_667, 1_000_000_000_000_000]);
    }

    #[test]
    fn poisson_keeps_its_rate_and_is_memoryless() {
        let rate = 5_000.0;
        let instants: Vec<u64> = Instants::new(rate, Arrivals::Poisson, 7, "x")
            .take(200_001)
            .collect();
        let achieved = 200_000.0 / ((instants[200_000] - instants[0]) as f64 / SECOND as f64);
        assert!((achieved / rate - 1.0).abs() < 0.01, "{achieved}");
        // An exponential gap exceeds its mean with probability 1/e.
        let mean = SECOND as f64 / rate;
        let above = instants
            .windows(2)
            .filter(|pair| (pair[1] - pair[0]) as f64 > mean)
            .count();
        assert!(
            (above as f64 / 200_000.0 - (-1.0_f64).exp()).abs() < 0.01,
            "{above}"
        );
    }

    proptest! {
        #[test]
        fn instants_ascend_and_repeat_for_a_seed(rate in 0.1_f64..200_000.0, seed: u64, poisson: bool) {
            let arrivals = if poisson { Arrivals::Poisson } else { Arrivals::Constant };
            let take = || Instants::new(rate, arrivals, seed, "a").take(500).collect::<Vec<_>>();
            let instants = take();
            prop_assert!(instants.windows(2).all(|pair| pair[0] <= pair[1]));
            prop_assert_eq!(instants, take());
        }
    }

    #[test]
    fn a_rate_that_is_not_positive_plans_nothing() {
        for rate in [0.0, -1.0, f64::NAN] {
            assert_eq!(Instants::new(rate, Arrivals::Constant, 1, "x").next(), None);
        }
    }
}
