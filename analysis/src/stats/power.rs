//! What an experiment of this size can see, and what size would settle it.

use super::special::student_quantile;

/// Largest number of blocks that [`blocks_needed`] considers worth naming.
pub const MOST_BLOCKS: usize = 1_000;

/// Smallest true log-ratio that `blocks` paired blocks with the deviation `deviation` (of their
/// log-ratios) would detect with the probability `power`, two-sided at `alpha`:
/// `(t[1 - alpha/2, n-1] + t[power, n-1]) s / sqrt(n)`.
///
/// `None` below two blocks, where the deviation is unknown.
#[must_use]
pub fn minimum_detectable_effect(
    blocks: usize,
    deviation: f64,
    alpha: f64,
    power: f64,
) -> Option<f64> {
    if blocks < 2 || !deviation.is_finite() {
        return None;
    }
    let freedom = (blocks - 1) as f64;
    let reach = student_quantile(1.0 - alpha / 2.0, freedom) + student_quantile(power, freedom);
    Some(reach * deviation / (blocks as f64).sqrt())
}

/// Fewest blocks with which the sign-flip test can fall to `alpha` at all: `2 / 2^n <= alpha`.
#[must_use]
pub fn least_blocks(alpha: f64) -> usize {
    (1..=64)
        .find(|n| 2.0_f64.powi(1 - *n) <= alpha)
        .map_or(MOST_BLOCKS, |n| n as usize)
}

/// Total blocks with which a true log-ratio `distance` away from the threshold would be told from
/// it with the probability `power`, two-sided at `alpha`, if the blocks scatter as they did.
///
/// `None` when even [`MOST_BLOCKS`] would not do: the figure sits on the threshold, and more
/// blocks are not the answer.
#[must_use]
pub fn blocks_needed(distance: f64, deviation: f64, alpha: f64, power: f64) -> Option<usize> {
    let distance = distance.abs();
    let enough = |n: usize| {
        minimum_detectable_effect(n, deviation, alpha, power)
            .is_some_and(|effect| effect <= distance)
    };
    let least = least_blocks(alpha).max(2);
    if !enough(MOST_BLOCKS) || distance == 0.0 {
        return None;
    }
    // The reach falls with every block, so the first that suffices can be bisected.
    let (mut low, mut high) = (least, MOST_BLOCKS.max(least));
    while low < high {
        let middle = usize::midpoint(low, high);
        if enough(middle) {
            high = middle
        } else {
            low = middle + 1
        }
    }
    Some(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effects_match_the_table_of_the_methodology() {
        // With a deviation of 5 %: 8.3 % at 5 blocks, 6.3 at 7, 5.0 at 10, 3.3 at 20.
        for (n, expected) in [(5, 0.083), (7, 0.063), (10, 0.050), (20, 0.033)] {
            let effect = minimum_detectable_effect(n, 0.05, 0.05, 0.8).unwrap();
            assert!((effect - expected).abs() < 0.000_6, "{n}: {effect}");
        }
        assert_eq!(minimum_detectable_effect(1, 0.05, 0.05, 0.8), None);
    }

    #[test]
    fn ten_comparisons_need_nine_blocks() {
        assert_eq!(least_blocks(0.05), 6);
        assert_eq!(least_blocks(0.005), 9);
    }

    #[test]
    fn the_answer_is_the_first_number_that_suffices() {
        let needed = blocks_needed(0.05, 0.1, 0.05, 0.8).unwrap();
        let reach = |n| minimum_detectable_effect(n, 0.1, 0.05, 0.8).unwrap();
        assert!(reach(needed) <= 0.05 && reach(needed - 1) > 0.05);
        assert_eq!(blocks_needed(-0.05, 0.1, 0.05, 0.8), Some(needed));
        assert_eq!(blocks_needed(0.0, 0.1, 0.05, 0.8), None);
        assert_eq!(blocks_needed(1.0, 0.01, 0.05, 0.8), Some(6));
    }
}
