//! Statistics for comparing backends.
//!
//! The unit of replication is the *block*, never the operation: each block gives one figure per
//! backend, the pair of figures gives one log-ratio, and everything here works on that short list
//! of log-ratios. Ratios are compared on the logarithm because a latency that doubles and one that
//! halves are the same distance from "no difference", and because it makes `compare(a, b)` the
//! exact negative of `compare(b, a)`.
//!
//! | question | function | source |
//! |---|---|---|
//! | how large is the difference | [`paired::compare`] | geometric mean of the ratios of a block |
//! | how sure is it | [`bootstrap::interval`] | expanded percentile bootstrap, Hesterberg 2015 |
//! | could it be chance | [`permutation::sign_flip`], [`permutation::wilcoxon`] | Fisher; Wilcoxon 1945 |
//! | many cells at once | [`multiple::holm`] | Holm 1979 |
//! | what would have been seen | [`power::minimum_detectable_effect`] | paired t, 80 % power |
//! | are they the same | [`equivalence::tost`] | Schuirmann 1987 |
//! | may it be stopped early | [`sequential::Looks`] | Bonferroni over looks, spending of Lan and DeMets 1983 |
//! | does it drift | [`trend::theil_sen`] | Theil 1950, Sen 1968 |
//! | was the window steady | [`steady::steadiness`] | halves of the window and its trend |
//! | how sure is a figure of whole windows | [`interval::student`] | Student's t, Gosset 1908 |
//! | how sure is a percentile | [`tail::rank_interval`] | binomial ranks |
//! | nothing was lost | [`tail::zero_event_bound`] | rule of three |

pub mod bootstrap;
pub mod equivalence;
pub mod interval;
pub mod multiple;
pub mod paired;
pub mod permutation;
pub mod power;
pub mod sequential;
pub mod special;
pub mod steady;
pub mod tail;
pub mod trend;

/// Error rate that every interval and test of a report uses, two-sided.
pub const ALPHA: f64 = 0.05;

/// Power at which the minimum detectable effect and the blocks still needed are stated.
pub const POWER: f64 = 0.80;

/// Arithmetic mean; 0 for an empty slice. Only ever applied to log-ratios, never to latencies.
#[must_use]
pub fn mean(values: &[f64]) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    values.iter().sum::<f64>() / values.len() as f64
}

/// Sample standard deviation (divisor `n - 1`); 0 for fewer than two values.
#[must_use]
pub fn standard_deviation(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let centre = mean(values);
    let squares: f64 = values.iter().map(|value| (value - centre).powi(2)).sum();
    (squares / (values.len() - 1) as f64).sqrt()
}

/// Median of the values, the mean of the middle two when their number is even; 0 for none.
/// Reorders the slice.
pub fn median(values: &mut [f64]) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    let middle = values.len() / 2;
    let (below, upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    let upper = *upper;
    if below.len() < middle || values.len() % 2 == 1 {
        return upper;
    }
    let lower = values[..middle]
        .iter()
        .copied()
        .fold(f64::NEG_INFINITY, f64::max);
    (lower + upper) / 2.0
}

/// Rounds to six significant digits.
///
/// `exp` and `ln` may differ in the last bit between C libraries; a figure is stored rounded so
/// that the same raw data gives the same bytes everywhere.
#[must_use]
pub fn round(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return if value == 0.0 { 0.0 } else { value };
    }
    // Formatting is correctly rounded, so this is exact where scaling by a power of ten is not.
    format!("{value:.5e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_even_and_empty() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [4.0, 1.0, 3.0, 2.0]), 2.5);
        assert_eq!(median(&mut []), 0.0);
    }

    #[test]
    fn rounding_is_symmetric_and_keeps_six_digits() {
        assert_eq!(round(1.234_567_8), 1.234_57);
        assert_eq!(round(-1.234_567_8), -1.234_57);
        assert_eq!(round(123_456_789.0), 123_457_000.0);
        assert_eq!(round(-0.0).to_bits(), 0.0_f64.to_bits());
        assert!(round(f64::NAN).is_nan());
    }

    #[test]
    fn deviation_of_a_known_sample() {
        // 2, 4, 4, 4, 5, 5, 7, 9 has the sample variance 32/7.
        let sample = [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0];
        assert!((standard_deviation(&sample) - (32.0_f64 / 7.0).sqrt()).abs() < 1e-12);
        assert_eq!(standard_deviation(&[1.0]), 0.0);
    }
}
