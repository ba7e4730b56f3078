//! The interval of a mean over few blocks.

use super::{mean, special, standard_deviation};

/// Mean and two-sided interval of the values at `1 - alpha` by Student's t (Gosset 1908): for figures
/// that are already a state of a whole window, such as a share in percent, one for each block. `None`
/// for fewer than two values. Equal values give an interval of no width.
#[must_use]
pub fn student(values: &[f64], alpha: f64) -> Option<(f64, f64, f64)> {
    if values.len() < 2 || values.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let centre = mean(values);
    let n = values.len() as f64;
    let half = special::student_quantile(1.0 - alpha / 2.0, n - 1.0) * standard_deviation(values)
        / n.sqrt();
    Some((centre, centre - half, centre + half))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bakeoff_crds::rng::SplitMix64;

    #[test]
    fn agrees_with_the_textbook() {
        // t(0.975, 3) = 3.1824; the deviation of 1, 2, 3, 4 is 1.2910.
        let (centre, low, high) = student(&[1.0, 2.0, 3.0, 4.0], 0.05).unwrap();
        assert!((centre - 2.5).abs() < 1e-12);
        assert!((high - 2.5 - 3.1824 * 1.2910 / 2.0).abs() < 1e-3, "{high}");
        assert!((low + high - 5.0).abs() < 1e-12);
        assert_eq!(student(&[7.0; 3], 0.05), Some((7.0, 7.0, 7.0)));
        assert_eq!(student(&[7.0], 0.05), None);
        assert_eq!(student(&[7.0, f64::NAN], 0.05), None);
    }

    #[test]
    fn covers_the_truth_as_often_as_it_says() {
        let mut rng = SplitMix64::new(3);
        // The sum of twelve uniforms is close to normal with deviation one.
        let mut normal = || (0..12).map(|_| rng.unit()).sum::<f64>() - 6.0;
        let covered = (0..4_000)
            .filter(|_| {
                let values: Vec<f64> = (0..6).map(|_| normal()).collect();
                let (_, low, high) = student(&values, 0.05).unwrap();
                low <= 0.0 && 0.0 <= high
            })
            .count();
        assert!((3_750..3_850).contains(&covered), "{covered} of 4000");
    }
}
