//! The samples of a window, thinned to what a chart can show. (Pure.)

use std::collections::BTreeMap;

use bakeoff_crds::result::{StateLine, StateMark, StateSeries};

use super::sample::Sample;

/// Points of a line at most: what a chart of three hundred units across can tell apart.
const POINTS: usize = 120;
/// Marks of one kind at most; beyond it the later ones are left to the samples themselves.
const MARKS: usize = 200;

/// Lines and marks over the window; `None` from fewer than two samples. The whole window is covered: of each
/// stretch that one point stands for, the sample with the most dead rows is taken, so that no sawtooth is lost.
/// A mark stands where a counter first shows a finished autovacuum or a begun checkpoint.
#[must_use]
pub fn series(samples: &[Sample]) -> Option<StateSeries> {
    if samples.len() < 2 {
        return None;
    }
    let stretch = samples.len().div_ceil(POINTS);
    let chosen: Vec<&Sample> = samples
        .chunks(stretch)
        .filter_map(|chunk| chunk.iter().max_by_key(|sample| sample.dead_tuples))
        .collect();
    let line = |of: fn(&Sample) -> i64| chosen.iter().map(|s| of(s) as f64).collect();
    let lines = BTreeMap::from([
        (StateLine::DeadRows, line(|s| s.dead_tuples)),
        (StateLine::TableBytes, line(|s| s.table_bytes)),
        (StateLine::IndexBytes, line(|s| s.index_bytes)),
    ]);
    let marks = BTreeMap::from([
        (
            StateMark::Autovacuum,
            rises(samples, |s| Some(s.autovacuums)),
        ),
        (StateMark::Checkpoint, rises(samples, |s| s.checkpoints)),
    ]);
    Some(StateSeries {
        at_seconds: chosen.iter().map(|s| seconds(s)).collect(),
        lines,
        marks,
    })
}

fn seconds(sample: &Sample) -> f64 {
    sample.at_millis as f64 / 1_000.0
}

fn rises(samples: &[Sample], of: fn(&Sample) -> Option<i64>) -> Vec<f64> {
    samples
        .windows(2)
        .filter(|pair| of(&pair[1]) > of(&pair[0]))
        .map(|pair| seconds(&pair[1]))
        .take(MARKS)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sawtooth of dead rows with a vacuum at each fall, and a checkpoint in the middle.
    fn sawtooth(seconds: i64) -> Vec<Sample> {
        (0..seconds)
            .map(|second| Sample {
                at_millis: second * 1_000,
                dead_tuples: second % 10 * 100,
                autovacuums: second / 10,
                checkpoints: Some(i64::from(second >= seconds / 2)),
                table_bytes: 8_192 * (second + 1),
                ..Sample::default()
            })
            .collect()
    }

    #[test]
    fn peaks_and_marks_survive_the_thinning() {
        let long = series(&sawtooth(1_000)).unwrap();
        assert!(long.at_seconds.len() <= POINTS);
        let dead = long.lines[&StateLine::DeadRows].iter().copied();
        let most = dead.fold(0.0, f64::max);
        assert_eq!(most, 900.0);
        assert_eq!(long.marks(StateMark::Autovacuum).len(), 99);
        assert_eq!(long.marks(StateMark::Autovacuum)[0], 10.0);
        assert_eq!(long.marks(StateMark::Checkpoint), [500.0]);
        assert!(long.at_seconds.windows(2).all(|pair| pair[0] < pair[1]));
        for line in long.lines.values() {
            assert_eq!(line.len(), long.at_seconds.len());
        }
    }

    #[test]
    fn a_short_window_is_kept_whole_and_none_is_none() {
        assert_eq!(series(&sawtooth(30)).unwrap().at_seconds.len(), 30);
        assert!(series(&sawtooth(1)).is_none());
    }
}
