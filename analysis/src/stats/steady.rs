//! Whether a window was steady: the load had settled before it and nothing drifted within it.
//!
//! Two looks at the seconds of a window, at its throughput and at the p99 of its response. Neither
//! alone is enough: halves that differ may be chance, and a trend that is certain may be too small
//! to matter. A series drifts when its halves differ by more than a stated tolerance *and* the
//! interval of its trend excludes zero. A cycle shorter than the window (compaction, checkpoints)
//! is no drift, and rightly so: the window covers it.

use bakeoff_crds::result::{SecondPoint, SeriesDrift, Steadiness};

use super::{median, trend};

/// Seconds that a window needs: halves of fewer than four points say nothing.
pub const LEAST_SECONDS: usize = 8;
/// By how much the throughput of the halves may differ.
pub const THROUGHPUT_TOLERANCE: f64 = 0.10;
/// By how much the p99 of the halves may differ; a percentile of one second is noisier than a count.
pub const P99_TOLERANCE: f64 = 0.25;

/// Looks at the seconds of a window. `None` when there are fewer than [`LEAST_SECONDS`], or too few
/// of them had operations. `seed` feeds the resampling of the trend's interval.
#[must_use]
pub fn steadiness(series: &[SecondPoint], seed: u64) -> Option<Steadiness> {
    if series.len() < LEAST_SECONDS {
        return None;
    }
    let at = |point: &SecondPoint| f64::from(point.second);
    let throughput: Vec<(f64, f64)> = series
        .iter()
        .map(|point| (at(point), point.completed as f64))
        .collect();
    // A second without operations has no percentile.
    let p99: Vec<(f64, f64)> = series
        .iter()
        .filter(|point| point.p99_micros > 0)
        .map(|point| (at(point), point.p99_micros as f64))
        .collect();
    let throughput = drift(&throughput, THROUGHPUT_TOLERANCE, seed)?;
    let p99 = drift(&p99, P99_TOLERANCE, seed)?;
    Some(Steadiness {
        seconds: i32::try_from(series.len()).unwrap_or(i32::MAX),
        steady: !(throughput.drifts || p99.drifts),
        throughput,
        p99,
    })
}

fn drift(points: &[(f64, f64)], tolerance: f64, seed: u64) -> Option<SeriesDrift> {
    if points.len() < LEAST_SECONDS {
        return None;
    }
    let (first, second) = points.split_at(points.len() / 2);
    let half = |points: &[(f64, f64)]| {
        let mut values: Vec<f64> = points.iter().map(|(_, value)| *value).collect();
        median(&mut values)
    };
    let (first, second, whole) = (half(first), half(second), half(points));
    if first <= 0.0 || whole <= 0.0 {
        return None;
    }
    let trend = trend::theil_sen(points, 0, seed)?;
    let length = points.last()?.0 - points.first()?.0;
    // Over the whole window, as a share of the median: comparable between cells.
    let change = |slope: f64| super::round(slope * length / whole);
    let halves = second / first;
    let certain = trend.low > 0.0 || trend.high < 0.0;
    Some(SeriesDrift {
        halves: super::round(halves),
        change: change(trend.slope),
        change_low: change(trend.low),
        change_high: change(trend.high),
        drifts: certain && halves.ln().abs() > (1.0 + tolerance).ln(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bakeoff_crds::rng::SplitMix64;

    /// Twenty seconds whose throughput and p99 follow these shapes, with noise of ±5 %.
    fn look(seed: u64, throughput: fn(f64) -> f64, p99: fn(f64) -> f64) -> Steadiness {
        let mut rng = SplitMix64::new(seed);
        let mut noisy = |value: f64| value * (0.95 + 0.1 * rng.unit());
        let series: Vec<SecondPoint> = (0..20)
            .map(|second| SecondPoint {
                second,
                completed: noisy(throughput(f64::from(second))) as i64,
                p99_micros: noisy(p99(f64::from(second))) as i64,
                ..SecondPoint::default()
            })
            .collect();
        steadiness(&series, 1).unwrap()
    }

    #[test]
    fn a_drift_is_found_in_either_series_and_a_flat_window_is_steady() {
        let flat = look(1, |_| 1_000.0, |_| 5_000.0);
        assert!(flat.steady, "{flat:?}");
        let slowing = look(2, |second| 1_000.0 - 20.0 * second, |_| 5_000.0);
        assert!(
            slowing.throughput.drifts && !slowing.p99.drifts,
            "{slowing:?}"
        );
        assert!(slowing.throughput.change < -0.3, "{slowing:?}");
        let rising = look(3, |_| 1_000.0, |second| 5_000.0 + 300.0 * second);
        assert!(rising.p99.drifts && !rising.steady, "{rising:?}");
        // Warm-up that was too short: a step early in the window.
        let step = look(
            4,
            |second| if second < 8.0 { 500.0 } else { 1_000.0 },
            |_| 5_000.0,
        );
        assert!(step.throughput.drifts, "{step:?}");
    }

    #[test]
    fn a_cycle_that_the_window_covers_is_no_drift_and_small_certain_trends_neither() {
        let cycle = |second: f64| 1_000.0 + 400.0 * (second * std::f64::consts::TAU / 5.0).sin();
        let cyclic = look(5, cycle, |_| 5_000.0);
        assert!(cyclic.steady, "{cyclic:?}");
        let small = look(6, |second| 1_000.0 + 4.0 * second, |_| 5_000.0);
        assert!(small.steady, "{small:?}");
    }

    #[test]
    fn flat_windows_are_seldom_called_unsteady() {
        let wrong = (0..200)
            .filter(|&seed| !look(100 + seed, |_| 1_000.0, |_| 5_000.0).steady)
            .count();
        assert!(wrong <= 4, "{wrong} of 200");
    }

    #[test]
    fn too_few_seconds_say_nothing() {
        let series = vec![
            SecondPoint {
                completed: 10,
                p99_micros: 10,
                ..SecondPoint::default()
            };
            7
        ];
        assert_eq!(steadiness(&series, 1), None);
        assert_eq!(steadiness(&[SecondPoint::default(); 20], 1), None);
    }
}
