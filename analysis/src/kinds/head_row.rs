//! A0: the life of runs in one head table.

use bakeoff_crds::figure::Figure;
use bakeoff_crds::schedule::factor;

use super::{Column, Kind, Over, Scaling, State};
use crate::metric::Metric;
use crate::vocabulary::ROWS_MISSED;

/// What every window over a head table states of it and of its server.
pub(super) const FIGURES: [Figure; 23] = [
    Figure::HotPercent,
    Figure::NewPagePercent,
    Figure::TableBloatPercent,
    Figure::IndexLeafDensityPercent,
    Figure::BytesPerActiveRun,
    Figure::TableBytes,
    Figure::IndexBytes,
    Figure::GrowthPercent,
    Figure::LateGrowthPercent,
    Figure::DeadPeakPercent,
    Figure::Turnovers,
    Figure::LoadRowsPerSecond,
    Figure::Autovacuums,
    Figure::AutovacuumsLogged,
    Figure::AutovacuumLoggedSeconds,
    Figure::AutovacuumLongestSeconds,
    Figure::AutovacuumDeadKept,
    Figure::ServerLogUnreadBytes,
    Figure::Checkpoints,
    Figure::CacheHitPercent,
    Figure::WalBytesPerUpdate,
    Figure::LockWaitsPeak,
    Figure::OldestTransactionMillis,
];

/// What there is to know of the kind.
pub(super) static KIND: Kind = Kind {
    operations: &["operation", "create", "transition", "complete"],
    checks: &[ROWS_MISSED],
    figures: &FIGURES,
    headline: Some("operation"),
    charted: "transition",
    forests: |_| &[("operation", Metric::P50), ("operation", Metric::P99)],
    scaling: Some(Scaling {
        groups: factor::ACTIVE_RUNS,
        title: |active| format!("Transition p99 by fillfactor, {active} active runs"),
        operation: "transition",
        metric: Metric::P99,
        over: Over::Factor(factor::FILLFACTOR),
    }),
    rate_over_window: true,
    state: Some(State {
        // In the order of the plan's questions.
        columns: &[
            Column::of(Figure::HotPercent, "HOT updates"),
            Column::of(Figure::TableBloatPercent, "Table bloat"),
            Column::of(Figure::IndexLeafDensityPercent, "Index density"),
            Column::of(Figure::LateGrowthPercent, "Late growth"),
            Column::of(Figure::DeadPeakPercent, "Dead rows, most"),
            Column::of(Figure::Autovacuums, "Autovacuums")
                .with_most(Figure::AutovacuumLongestSeconds),
            Column::of(Figure::Turnovers, "Turnovers"),
            Column::of(Figure::BytesPerActiveRun, "Bytes per run"),
            Column::of(Figure::WalBytesPerUpdate, "WAL per update"),
            Column::of(Figure::CacheHitPercent, "Cache hits"),
        ],
        words: "Percent of: updates (HOT), bytes of the table beyond what the fillfactor reserves (bloat), room in leaf pages (density), size in the middle of the window (late growth), active runs (dead rows). In brackets the longest run of autovacuum, by the server's log.",
    }),
    ..Kind::of("operation")
};
