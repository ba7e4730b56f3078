//! "The same, for our purpose": equivalence against a stated margin.

use super::{mean, special::student_cdf, standard_deviation};

/// P-value of the two one-sided tests (Schuirmann 1987) that the true log-ratio lies within
/// `(-margin, margin)`; `margin` is a log-ratio above 0.
///
/// At most 0.05 means "equivalent within the margin". A large p-value of the difference test is
/// *not* that claim. 1 for fewer than two blocks, for a margin that is not positive, and whenever
/// the mean itself lies outside.
#[must_use]
pub fn tost(log_ratios: &[f64], margin: f64) -> f64 {
    if log_ratios.len() < 2 || margin <= 0.0 || margin.is_nan() {
        return 1.0;
    }
    let centre = mean(log_ratios);
    let n = log_ratios.len() as f64;
    let error = standard_deviation(log_ratios) / n.sqrt();
    if error == 0.0 {
        return if centre.abs() < margin { 0.0 } else { 1.0 };
    }
    // Distance to the nearer border decides: it is the weaker of the two tests.
    1.0 - student_cdf((margin - centre.abs()) / error, n - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_pairs_are_equivalent_and_noisy_ones_are_not() {
        let quiet = [0.01, -0.01, 0.005, -0.004, 0.002, -0.003];
        let noisy = [0.3, -0.28, 0.2, -0.21, 0.25, -0.26];
        let margin = 1.10_f64.ln();
        assert!(tost(&quiet, margin) < 0.001);
        assert!(tost(&noisy, margin) > 0.05);
        assert_eq!(tost(&[0.0; 6], margin), 0.0);
        assert_eq!(tost(&quiet, 0.0), 1.0);
    }

    #[test]
    fn matches_a_hand_calculation() {
        // mean 0.02, s 0.01 (n = 5): (0.05 - 0.02) / (0.01 / sqrt 5) = 6.708; P(t4 > 6.708) = 0.001287
        let d = 0.01;
        let sample = [0.02 - d * 1.0, 0.02 + d * 1.0, 0.02 - d, 0.02 + d, 0.02];
        assert!(
            (tost(&sample, 0.05) - 0.001_286).abs() < 2e-5,
            "{}",
            tost(&sample, 0.05)
        );
    }
}
