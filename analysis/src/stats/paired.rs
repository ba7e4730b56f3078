//! The comparison of two backends in one cell.

use super::{POWER, bootstrap, mean, permutation, power, standard_deviation};

/// Result of comparing a subject with a base over the blocks in which both have a figure.
///
/// Kept on the natural logarithm, where exchanging the two only changes signs; [`Paired::ratio`]
/// and [`Paired::ratio_interval`] are for people.
#[derive(Clone, Debug, PartialEq)]
pub struct Paired {
    /// `ln(subject / base)` of each block, in the order of the blocks.
    pub log_ratios: Vec<f64>,
    /// Mean of the log-ratios: the logarithm of the geometric mean ratio.
    pub centre: f64,
    /// Lower end of the interval of `centre` (95 % at the usual level); minus infinity with fewer than two blocks.
    pub low: f64,
    /// Upper end of the interval of `centre`; infinity with fewer than two blocks.
    pub high: f64,
    /// Two-sided p-value of the sign-flip test, 0 to 1.
    pub p_value: f64,
    /// Standard deviation of the log-ratios between blocks.
    pub deviation: f64,
    /// Smallest log-ratio that this many blocks would detect with 80 % power; unknown below two.
    pub detectable: Option<f64>,
}

impl Paired {
    /// Number of blocks that entered.
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.log_ratios.len()
    }

    /// Geometric mean of `subject / base`; 1 is no difference.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        self.centre.exp()
    }

    /// The interval of the ratio.
    #[must_use]
    pub fn ratio_interval(&self) -> (f64, f64) {
        (self.low.exp(), self.high.exp())
    }
}

/// Compares `subject` with `base`, pairs of figures of the same block, all above 0. `level` is the
/// two-sided error rate of the interval and of the detectable effect, usually [`super::ALPHA`].
///
/// Pairs with a figure that is zero, negative or not finite carry no ratio and are left out.
/// `None` when none is left. `compare(x, x)` is exactly no difference: ratio 1, interval 1 to 1,
/// p-value 1.
#[must_use]
pub fn compare(pairs: &[(f64, f64)], seed: u64, level: f64) -> Option<Paired> {
    let usable = |value: f64| value > 0.0 && value.is_finite();
    let log_ratios: Vec<f64> = pairs
        .iter()
        .filter(|(subject, base)| usable(*subject) && usable(*base))
        // A difference of logarithms, not the logarithm of a quotient: only this is exactly
        // antisymmetric.
        .map(|(subject, base)| subject.ln() - base.ln())
        .collect();
    from_log_ratios(log_ratios, seed, level)
}

/// As [`compare`], from log-ratios that are already there. `None` for none.
#[must_use]
pub fn from_log_ratios(log_ratios: Vec<f64>, seed: u64, level: f64) -> Option<Paired> {
    if log_ratios.is_empty() {
        return None;
    }
    let (low, high) = bootstrap::interval(&log_ratios, level, seed);
    let deviation = standard_deviation(&log_ratios);
    Some(Paired {
        centre: mean(&log_ratios),
        low,
        high,
        p_value: permutation::sign_flip(&log_ratios, seed),
        deviation,
        detectable: power::minimum_detectable_effect(log_ratios.len(), deviation, level, POWER),
        log_ratios,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::ALPHA;
    use bakeoff_crds::rng::SplitMix64;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn comparing_with_itself_is_exactly_no_difference(values in prop::collection::vec(1e-3_f64..1e6, 2..12), seed: u64) {
            let pairs: Vec<_> = values.iter().map(|value| (*value, *value)).collect();
            let same = compare(&pairs, seed, ALPHA).unwrap();
            prop_assert_eq!(same.ratio(), 1.0);
            prop_assert_eq!(same.ratio_interval(), (1.0, 1.0));
            prop_assert_eq!(same.p_value, 1.0);
        }

        #[test]
        fn exchanging_the_two_inverts(pairs in prop::collection::vec((1e-3_f64..1e6, 1e-3_f64..1e6), 2..12), seed: u64) {
            let exchanged: Vec<_> = pairs.iter().map(|(a, b)| (*b, *a)).collect();
            let there = compare(&pairs, seed, ALPHA).unwrap();
            let back = compare(&exchanged, seed, ALPHA).unwrap();
            prop_assert_eq!(there.centre, -back.centre);
            prop_assert_eq!((there.low, there.high), (-back.high, -back.low));
            prop_assert_eq!(there.p_value, back.p_value);
            prop_assert_eq!(there.detectable, back.detectable);
        }
    }

    #[test]
    fn pairs_without_a_ratio_are_left_out() {
        assert!(compare(&[(0.0, 1.0), (f64::NAN, 1.0)], 1, ALPHA).is_none());
        assert_eq!(
            compare(&[(2.0, 1.0), (0.0, 1.0)], 1, ALPHA)
                .unwrap()
                .blocks(),
            1
        );
    }

    /// Over many resampled comparisons of a backend with itself, at most 5 % may come out
    /// as a difference, also where the noise is skewed and drifts from block to block.
    #[test]
    fn false_verdicts_of_a_with_a_stay_at_five_percent() {
        let mut rng = SplitMix64::stream(21, "a-a");
        for blocks in [6_usize, 8, 10] {
            let rounds = 600;
            let mut false_verdicts = 0;
            for round in 0..rounds {
                let pairs: Vec<(f64, f64)> = (0..blocks)
                    .map(|block| {
                        let drift = 1.0 + block as f64 * 0.2;
                        let mut figure = || drift * (1.0 + 0.3 * rng.unit().powi(4));
                        (figure(), figure())
                    })
                    .collect();
                let paired = compare(&pairs, round, ALPHA).unwrap();
                false_verdicts += u32::from(paired.p_value <= ALPHA);
            }
            // 5 % of 600 is 30; three standard errors of the simulation on top are 16.
            assert!(
                false_verdicts <= 46,
                "{blocks} blocks: {false_verdicts} of {rounds}"
            );
        }
    }
}
