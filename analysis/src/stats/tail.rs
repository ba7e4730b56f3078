//! How far a percentile and a count of zero can be trusted.

/// Operations below which p99.9 is not shown: fewer than ten would lie beyond it.
pub const LEAST_FOR_P999: u64 = 10_000;

/// Whether a percentile (0 to 1) of the planned operations is known when a share `missing` of them
/// (0 to 1) has no latency, because they failed, did not finish or were never started.
///
/// Such operations count as slower than all others, so they take up the top `missing` of the
/// distribution: more than 1 % of them leave p99 unknown, more than 0.1 % p99.9, more than 10 % p90.
#[must_use]
pub fn is_known(quantile: f64, missing: f64) -> bool {
    // Room for the rounding of binary fractions, far below one operation.
    missing <= 1.0 - quantile + 1e-9
}

/// Ranks (1-based, inclusive) between which the true `quantile` of a sample of `count` lies with
/// 95 % confidence: `n q -/+ 1.96 sqrt(n q (1 - q))`, clamped to the sample.
///
/// Assumes independent operations; autocorrelated ones make it too narrow, which is why verdicts
/// rest on blocks and this only describes one window. `None` for an empty sample.
#[must_use]
pub fn rank_interval(count: u64, quantile: f64) -> Option<(u64, u64)> {
    if count == 0 || !(0.0..=1.0).contains(&quantile) {
        return None;
    }
    let n = count as f64;
    let half = 1.959_963_985 * (n * quantile * (1.0 - quantile)).sqrt();
    let low = (n * quantile - half).floor().max(1.0) as u64;
    let high = (n * quantile + half).ceil().min(n) as u64;
    Some((low.max(1), high.max(1)))
}

/// Upper 95 % bound of the rate of an event that was seen 0 times in `trials` independent trials:
/// the exact `1 - 0.05^(1/n)`, which is the rule of three (`3 / n`) for large n. 1 for no trial.
#[must_use]
pub fn zero_event_bound(trials: u64) -> f64 {
    if trials == 0 {
        return 1.0;
    }
    -(0.05_f64.ln() / trials as f64).exp_m1()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_hundred_kills_without_loss_bound_the_rate_at_one_percent() {
        assert!((zero_event_bound(300) - 0.009_936).abs() < 1e-5);
        assert_eq!(zero_event_bound(0), 1.0);
    }

    #[test]
    fn operations_without_a_latency_hide_the_top() {
        for (quantile, share) in [(0.5, 0.5), (0.9, 0.1), (0.99, 0.01), (0.999, 0.001)] {
            assert!(is_known(quantile, share), "{quantile}");
            assert!(!is_known(quantile, share * 1.01), "{quantile}");
        }
    }

    #[test]
    fn ranks_bracket_the_percentile_and_stay_in_the_sample() {
        // 10 000 operations, p99: 9 900 -/+ 19.5.
        assert_eq!(rank_interval(10_000, 0.99), Some((9_880, 9_920)));
        assert_eq!(rank_interval(10, 0.999), Some((9, 10)));
        assert_eq!(rank_interval(0, 0.5), None);
    }
}
