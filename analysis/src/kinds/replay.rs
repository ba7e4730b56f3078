//! Replay: the life of runs in one head table, as a trace recorded it.

use bakeoff_crds::figure::{Counter, Figure};
use bakeoff_crds::schedule::factor;

use super::head_row::FIGURES;
use super::{Column, Kind, Over, Scaling, State, joined};
use crate::metric::Metric;
use crate::vocabulary::ROWS_MISSED;

/// What there is to know of the kind.
pub(super) static KIND: Kind = Kind {
    operations: &["operation", "create", "transition", "complete"],
    counters: &[Counter::Orphaned, Counter::OwnRunWaits, Counter::PutIn],
    counters_are_shown: true,
    checks: &[ROWS_MISSED],
    figures: &{
        let own = [
            Figure::SpeedPercent,
            Figure::Copies,
            Figure::OpenRunsMean,
            Figure::BurstPeakPerSecond,
            Figure::OwnRunWaitPercent,
            Figure::GrowthPerTurn,
        ];
        joined::<{ 6 + FIGURES.len() }>(&own, &FIGURES)
    },
    headline: Some("operation"),
    charted: "transition",
    forests: |_| &[("operation", Metric::P50), ("operation", Metric::P99)],
    scaling: Some(Scaling {
        groups: factor::FILLFACTOR,
        title: |fillfactor| format!("Response p99 by speed or rate, fillfactor {fillfactor}"),
        operation: "operation",
        metric: Metric::P99,
        over: Over::Throughput(&[factor::SPEED_PERCENT, factor::RATE_PER_SECOND]),
    }),
    rate_over_window: true,
    state: Some(State {
        columns: &[
            Column::of(Figure::SpeedPercent, "Speed"),
            Column::of(Figure::Copies, "Copies"),
            Column::of(Figure::OpenRunsMean, "Open runs, mean"),
            Column::of(Figure::BurstPeakPerSecond, "Busiest second"),
            Column::of(Figure::OwnRunWaitPercent, "Waited for own run"),
            Column::of(Figure::HotPercent, "HOT updates"),
            Column::of(Figure::TableBloatPercent, "Table bloat"),
            Column::of(Figure::IndexLeafDensityPercent, "Index density"),
            Column::of(Figure::DeadPeakPercent, "Dead rows, most"),
            Column::of(Figure::Autovacuums, "Autovacuums")
                .with_most(Figure::AutovacuumLongestSeconds),
            Column::of(Figure::Turnovers, "Turnovers"),
            Column::of(Figure::WalBytesPerUpdate, "WAL per update"),
        ],
        words: "Speed, copies, open runs and the busiest second are those of the plan. Percent of: the recorded speed (speed), events that were due (waited for own run), updates (HOT), bytes of the table beyond what the fillfactor reserves (bloat), room in leaf pages (density), runs that were loaded (dead rows). In brackets the longest run of autovacuum, by the server's log.",
    }),
    ..Kind::of("operation")
};
