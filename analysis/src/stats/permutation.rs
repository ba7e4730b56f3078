//! Exact tests of "no difference" for paired log-ratios.
//!
//! Both rest on the randomised order of the backends inside a block: if they are equal, each
//! log-ratio was as likely to come out with the other sign. Nothing is assumed about the shape of
//! the noise, so the error rate is exact for any number of blocks. The smallest possible two-sided
//! p-value with `n` blocks is `2 / 2^n`: five blocks cannot reach 0.05.

use bakeoff_crds::rng::SplitMix64;

/// Up to this many blocks every assignment of signs is enumerated.
pub const EXACT_LIMIT: usize = 20;

/// Sign assignments drawn beyond [`EXACT_LIMIT`].
pub const MONTE_CARLO: u32 = 100_000;

/// Two-sided p-value of the sign-flip permutation test on the sum of the log-ratios.
///
/// Exact up to [`EXACT_LIMIT`] blocks, then seeded Monte Carlo with the `(hits + 1) / (draws + 1)`
/// rule of Phipson and Smyth (2010), which never understates. 1 when there is no value or all are
/// zero.
#[must_use]
pub fn sign_flip(values: &[f64], seed: u64) -> f64 {
    // A block without a difference adds nothing under either sign, so leaving it out keeps p.
    let magnitudes: Vec<f64> = values
        .iter()
        .map(|value| value.abs())
        .filter(|value| *value > 0.0)
        .collect();
    if magnitudes.is_empty() {
        return 1.0;
    }
    let total: f64 = magnitudes.iter().sum();
    // Sums of the same numbers in another order differ in the last bits; those are ties.
    let observed = values.iter().sum::<f64>().abs() - total * 1e-12;
    if magnitudes.len() <= EXACT_LIMIT {
        let hits = count_extreme(&magnitudes, 0.0, observed);
        return hits as f64 / (1_u64 << magnitudes.len()) as f64;
    }
    let mut rng = SplitMix64::stream(seed, "sign-flip");
    let hits = (0..MONTE_CARLO)
        .filter(|_| {
            let sum: f64 = magnitudes
                .iter()
                .map(|m| if rng.next_u64() >> 63 == 0 { *m } else { -m })
                .sum();
            sum.abs() >= observed
        })
        .count();
    (hits as f64 + 1.0) / (f64::from(MONTE_CARLO) + 1.0)
}

/// Number of sign assignments of `rest` for which `|start + sum|` reaches `observed`.
fn count_extreme(rest: &[f64], start: f64, observed: f64) -> u64 {
    match rest {
        [] => u64::from(start.abs() >= observed),
        [first, rest @ ..] => {
            count_extreme(rest, start + first, observed)
                + count_extreme(rest, start - first, observed)
        }
    }
}

/// Two-sided p-value of Wilcoxon's signed-rank test, exact, with average ranks for ties and zeros
/// left out.
///
/// The distribution is built by dynamic programming over doubled ranks (so that the average of
/// two ranks is a whole number), for up to 60 values; beyond that the normal approximation is
/// exact to four digits and is used.
#[must_use]
pub fn wilcoxon(values: &[f64]) -> f64 {
    let mut sorted: Vec<f64> = values
        .iter()
        .copied()
        .filter(|value| *value != 0.0)
        .collect();
    sorted.sort_unstable_by(|a, b| a.abs().total_cmp(&b.abs()));
    let n = sorted.len();
    if n == 0 {
        return 1.0;
    }
    let mut doubled_ranks = vec![0_usize; n];
    let mut start = 0;
    while start < n {
        let tied = sorted[start..]
            .iter()
            .take_while(|value| value.abs() == sorted[start].abs())
            .count();
        // Ranks start + 1 ..= start + tied, doubled average.
        doubled_ranks[start..start + tied].fill(2 * start + tied + 1);
        start += tied;
    }
    let total: usize = doubled_ranks.iter().sum();
    let positive: usize = sorted
        .iter()
        .zip(&doubled_ranks)
        .filter(|(value, _)| **value > 0.0)
        .map(|(_, rank)| rank)
        .sum();
    let smaller = positive.min(total - positive);
    if n > 60 {
        let variance: f64 = doubled_ranks
            .iter()
            .map(|rank| (*rank as f64).powi(2))
            .sum::<f64>()
            / 4.0;
        let z = (smaller as f64 - total as f64 / 2.0) / variance.sqrt();
        return (2.0 * super::special::normal_cdf(z)).min(1.0);
    }
    // ways[s]: share of the sign assignments whose positive ranks sum to s.
    let mut ways = vec![0.0_f64; total + 1];
    ways[0] = 1.0;
    for rank in doubled_ranks {
        for sum in (0..=total).rev() {
            let with = if sum >= rank { ways[sum - rank] } else { 0.0 };
            ways[sum] = f64::midpoint(ways[sum], with);
        }
    }
    (2.0 * ways[..=smaller].iter().sum::<f64>()).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn smallest_p_values_are_two_in_two_to_the_n() {
        for (n, expected) in [
            (5, 0.0625),
            (6, 0.03125),
            (8, 0.007_812_5),
            (10, 0.001_953_125),
        ] {
            let values: Vec<f64> = (1..=n).map(|i| 0.1 + f64::from(i) * 0.01).collect();
            assert_eq!(sign_flip(&values, 1), expected);
            assert_eq!(wilcoxon(&values), expected);
        }
    }

    #[test]
    fn fishers_analysis_of_darwins_maize() {
        // Fisher, "The Design of Experiments" (1935), section 21: fifteen paired differences of
        // height in eighths of an inch; 863 of the 32 768 assignments reach the observed sum on one
        // side, 5.267 % on both.
        let darwin = [
            49.0, -67.0, 8.0, 16.0, 6.0, 23.0, 28.0, 41.0, 14.0, 29.0, 56.0, 24.0, 75.0, 60.0,
            -48.0,
        ];
        assert!((sign_flip(&darwin, 1) - 2.0 * 863.0 / 32_768.0).abs() < 1e-12);
        // scipy.stats.wilcoxon(darwin, mode="exact"): statistic 24, p 0.04126.
        assert!((wilcoxon(&darwin) - 0.041_259_765_625).abs() < 1e-12);
    }

    #[test]
    fn monte_carlo_agrees_with_enumeration() {
        let mut rng = SplitMix64::new(5);
        let values: Vec<f64> = (0..20).map(|_| rng.unit() - 0.35).collect();
        let exact = sign_flip(&values, 1);
        // A twenty-first block that hardly moves the sum switches to sampling.
        let mut more = values;
        more.push(1e-9);
        assert!((sign_flip(&more, 1) - exact).abs() < 0.003, "{exact}");
    }

    proptest! {
        #[test]
        fn p_values_are_probabilities_and_ignore_the_sign(values in prop::collection::vec(-1.0_f64..1.0, 0..12)) {
            let negated: Vec<f64> = values.iter().map(|value| -value).collect();
            for (p, q) in [(sign_flip(&values, 2), sign_flip(&negated, 2)), (wilcoxon(&values), wilcoxon(&negated))] {
                prop_assert!(p > 0.0 && p <= 1.0);
                prop_assert!((p - q).abs() < 1e-12);
            }
        }
    }
}
