//! Whether the machines of a run are those of the runs before it. (Pure.)

use bakeoff_crds::history::RunRecord;

/// How far a figure of the machine may lie outside all before it.
const TOLERANCE: f64 = 1.2;

/// The first figure of the calibration that lies outside those of the baseline by more than a fifth, in words.
pub(super) fn differs(before: &[&RunRecord], run: &RunRecord) -> Option<String> {
    run.machine.iter().find_map(|(name, value)| {
        let known: Vec<f64> = before
            .iter()
            .filter_map(|record| record.machine.get(name).copied())
            .collect();
        let low = known.iter().copied().fold(f64::INFINITY, f64::min);
        let high = known.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let outside = *value > high * TOLERANCE || *value < low / TOLERANCE;
        (!known.is_empty() && outside).then(|| {
            format!("{name} is {value:.1}, and was {low:.1} to {high:.1} in the runs before")
        })
    })
}
