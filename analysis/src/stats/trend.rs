//! Trends of long runs.

use bakeoff_crds::rng::SplitMix64;

use super::{ALPHA, median};

/// Points to which a longer series is reduced (medians of equal stretches) before slopes are
/// taken: pairs grow with the square, and a soak of a day has 86 400 seconds.
pub const MOST_POINTS: usize = 60;

const RESAMPLES: usize = 1_000;

/// A robust linear trend of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trend {
    /// Theil-Sen slope: change of the value per unit of time.
    pub slope: f64,
    /// Lower end of its 95 % interval.
    pub low: f64,
    /// Upper end of its 95 % interval.
    pub high: f64,
}

/// Median of the slopes over all pairs of points (Theil 1950, Sen 1968), with an interval from a
/// moving-block bootstrap of the residuals (Kuensch 1989), which keeps their autocorrelation.
///
/// `block` is the length of such a block in points of the (reduced) series; 0 chooses the cube
/// root rule. `None` for fewer than four points or when all share one time.
#[must_use]
pub fn theil_sen(points: &[(f64, f64)], block: usize, seed: u64) -> Option<Trend> {
    let points = reduce(points);
    let n = points.len();
    if n < 4 {
        return None;
    }
    let slope = slope_of(&points)?;
    let mut residuals: Vec<f64> = points.iter().map(|(x, y)| y - slope * x).collect();
    let centre = median(&mut residuals.clone());
    residuals
        .iter_mut()
        .for_each(|residual| *residual -= centre);
    let block = if block == 0 {
        (n as f64).cbrt().ceil() as usize
    } else {
        block
    }
    .clamp(1, n);
    let mut rng = SplitMix64::stream(seed, "theil-sen");
    let mut slopes: Vec<f64> = (0..RESAMPLES)
        .filter_map(|_| {
            let mut resampled = Vec::with_capacity(n + block);
            while resampled.len() < n {
                let start = rng.index(n - block + 1);
                resampled.extend_from_slice(&residuals[start..start + block]);
            }
            let series: Vec<(f64, f64)> = points
                .iter()
                .zip(resampled)
                .map(|((x, _), residual)| (*x, slope * x + residual))
                .collect();
            slope_of(&series)
        })
        .collect();
    slopes.sort_unstable_by(f64::total_cmp);
    let rank = (ALPHA / 2.0 * slopes.len() as f64) as usize;
    let low = slopes.get(rank).copied()?.min(slope);
    let high = slopes
        .get(slopes.len().checked_sub(1 + rank)?)
        .copied()?
        .max(slope);
    Some(Trend { slope, low, high })
}

fn slope_of(points: &[(f64, f64)]) -> Option<f64> {
    let mut slopes = Vec::with_capacity(points.len() * points.len() / 2);
    for (index, (x, y)) in points.iter().enumerate() {
        slopes.extend(
            points[index + 1..]
                .iter()
                .filter(|(later, _)| later != x)
                .map(|(later, value)| (value - y) / (later - x)),
        );
    }
    (!slopes.is_empty()).then(|| median(&mut slopes))
}

fn reduce(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if points.len() <= MOST_POINTS {
        return points.to_vec();
    }
    (0..MOST_POINTS)
        .map(|part| {
            let stretch =
                &points[part * points.len() / MOST_POINTS..(part + 1) * points.len() / MOST_POINTS];
            let mut times: Vec<f64> = stretch.iter().map(|(x, _)| *x).collect();
            let mut values: Vec<f64> = stretch.iter().map(|(_, y)| *y).collect();
            (median(&mut times), median(&mut values))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_a_worked_example_and_resists_an_outlier() {
        // Pairwise slopes of y = 2x with one wild point: the median is still 2.
        let points: Vec<(f64, f64)> = (0..9)
            .map(|x| {
                (
                    f64::from(x),
                    if x == 4 { 500.0 } else { 2.0 * f64::from(x) },
                )
            })
            .collect();
        assert_eq!(theil_sen(&points, 0, 1).unwrap().slope, 2.0);
    }

    #[test]
    fn flat_noise_has_an_interval_around_zero_and_a_drift_has_not() {
        let mut rng = SplitMix64::new(9);
        let noise: Vec<(f64, f64)> = (0..2_000).map(|x| (f64::from(x), rng.unit())).collect();
        let flat = theil_sen(&noise, 0, 1).unwrap();
        assert!(flat.low <= 0.0 && flat.high >= 0.0, "{flat:?}");
        let drifting: Vec<(f64, f64)> = noise.iter().map(|(x, y)| (*x, y + x * 0.001)).collect();
        let drift = theil_sen(&drifting, 0, 1).unwrap();
        assert!(
            drift.low > 0.0 && (drift.slope - 0.001).abs() < 2e-4,
            "{drift:?}"
        );
        assert_eq!(theil_sen(&noise[..3], 0, 1), None);
    }
}
