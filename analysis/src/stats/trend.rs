//! Trends of long runs.

use bakeoff_crds::rng::SplitMix64;

use super::{ALPHA, median, special};

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

/// What the slope of Theil and Sen loses against least squares where errors are normal: its efficiency there is
/// 3/pi squared of the variance (Sen 1968), so its standard error is larger by so much.
const EFFICIENCY: f64 = 1.047;

/// The same slope over the few segments of a soak, with an interval of `1 - alpha` for errors of which each knows something
/// of the one before it: the standard error of a slope from the residuals, times
/// `sqrt((1 + r) / (1 - r))` for the first autocorrelation `r` of the residuals (Bayley and Hammersley 1946), and
/// Student's t at as many degrees of freedom as the points are worth, `n (1 - r) / (1 + r) - 2`. After a
/// fit, `r` comes out too small by about `(1 + 4 r) / n` (Marriott and Pope 1954) and is mended by that. The
/// bootstrap of [`theil_sen`] calls one flat series of ten such points in five a trend; the tests simulate it.
///
/// `None` for fewer than four points or when all share one time.
#[must_use]
pub fn over_segments(points: &[(f64, f64)], alpha: f64) -> Option<Trend> {
    let points = reduce(points);
    let n = points.len() as f64;
    if points.len() < 4 {
        return None;
    }
    let slope = slope_of(&points)?;
    let mean = |of: &dyn Fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / n;
    let (time, rest) = (mean(&|(x, _)| *x), mean(&|(x, y)| y - slope * x));
    let residuals: Vec<f64> = points.iter().map(|(x, y)| y - slope * x - rest).collect();
    let squares: f64 = residuals.iter().map(|one| one * one).sum();
    let spread: f64 = points.iter().map(|(x, _)| (x - time).powi(2)).sum();
    if squares <= 0.0 || spread <= 0.0 {
        // Exactly on a line.
        return Some(Trend {
            slope,
            low: slope,
            high: slope,
        });
    }
    let products: f64 = residuals.windows(2).map(|pair| pair[0] * pair[1]).sum();
    let found = products / squares;
    let memory = (found + (1.0 + 4.0 * found) / n).clamp(0.0, 0.9);
    let error = EFFICIENCY * (squares / (n - 2.0) / spread).sqrt();
    let free = (n * (1.0 - memory) / (1.0 + memory) - 2.0).max(2.0);
    let half = special::student_quantile(1.0 - alpha / 2.0, free)
        * error
        * ((1.0 + memory) / (1.0 - memory)).sqrt();
    Some(Trend {
        slope,
        low: slope - half,
        high: slope + half,
    })
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

    /// A soak has few segments, and each knows a little of the one before it. Nominal are 5 in 100.
    #[test]
    fn correlated_points_are_called_a_trend_hardly_ever() {
        let mut rng = SplitMix64::new(3);
        for (points, memory, most) in [(10, 0.0, 6), (10, 0.3, 11), (24, 0.3, 9), (60, 0.5, 9)] {
            let wrong = (0..400)
                .filter(|_| {
                    let mut last = 0.0;
                    let series: Vec<(f64, f64)> = (0..points)
                        .map(|x| {
                            let noise = (0..12).map(|_| rng.unit()).sum::<f64>() - 6.0;
                            last = memory * last + noise;
                            (f64::from(x), last)
                        })
                        .collect();
                    let trend = over_segments(&series, 0.05).unwrap();
                    trend.low > 0.0 || trend.high < 0.0
                })
                .count();
            assert!(
                wrong <= 4 * most,
                "{points} points, {memory}: {wrong} of 400"
            );
        }
    }

    #[test]
    fn a_real_drift_is_seen_and_a_perfect_line_is_exact() {
        let mut rng = SplitMix64::new(5);
        let drifting: Vec<(f64, f64)> = (0..12)
            .map(|x| (f64::from(x), f64::from(x) + rng.unit()))
            .collect();
        let trend = over_segments(&drifting, 0.05).unwrap();
        assert!(trend.low > 0.7 && trend.high < 1.3, "{trend:?}");
        let line: Vec<(f64, f64)> = (0..8).map(|x| (f64::from(x), 3.0)).collect();
        let flat = over_segments(&line, 0.05).unwrap();
        assert_eq!((flat.low, flat.high), (0.0, 0.0));
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
