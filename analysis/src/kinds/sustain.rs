//! Sustain: the highest rate that one primary carries for good, by holds.

use bakeoff_crds::figure::Figure;

use super::head_row::FIGURES;
use super::{Kind, joined};
use crate::vocabulary::ROWS_MISSED;

/// What there is to know of the kind. Its holds run at rates of their own, so no latency of all of them is drawn: the report
/// has a table of them, and the frontier.
pub(super) static KIND: Kind = Kind {
    operations: &["operation", "create", "transition", "complete"],
    checks: &[ROWS_MISSED],
    figures: &{
        let own = [
            Figure::OfferedPerSecond,
            Figure::ServedPercent,
            Figure::FifthP99Milliseconds,
            Figure::FifthWithinPercent,
            Figure::DeadRisePercent,
            Figure::LateTableGrowthPercent,
            Figure::LateIndexGrowthPercent,
            Figure::PlannedPercent,
        ];
        joined::<{ 8 + FIGURES.len() }>(&own, &FIGURES)
    },
    headline: Some("operation"),
    charted: "transition",
    has_rates_of_its_own: true,
    ..Kind::of("operation")
};
