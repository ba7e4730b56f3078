//! Soak: one head table over hours or days.

use bakeoff_crds::figure::Figure;

use super::{Column, Kind, State};
use crate::vocabulary::ROWS_MISSED;

/// What there is to know of the kind.
pub(super) static KIND: Kind = Kind {
    operations: &["operation", "create", "transition", "complete"],
    checks: &[ROWS_MISSED],
    figures: &[
        Figure::TableAgeHours,
        Figure::TableLoadedAtSeconds,
        Figure::DeadMeanPercent,
        Figure::DeadLowPercent,
        Figure::DeadPeakPercent,
        Figure::HotPercent,
        Figure::NewPagePercent,
        Figure::TableBloatPercent,
        Figure::IndexLeafDensityPercent,
        Figure::BytesPerActiveRun,
        Figure::TableBytes,
        Figure::IndexBytes,
        Figure::GrowthPercent,
        Figure::LateGrowthPercent,
        Figure::Turnovers,
        Figure::LoadRowsPerSecond,
        Figure::Autovacuums,
        Figure::AutovacuumSeconds,
        Figure::AutovacuumsLogged,
        Figure::AutovacuumLoggedSeconds,
        Figure::AutovacuumLongestSeconds,
        Figure::AutovacuumDeadKept,
        Figure::ServerLogUnreadBytes,
        Figure::VacuumingPercent,
        Figure::FrozenAgeMost,
        Figure::Freezes,
        Figure::Checkpoints,
        Figure::CacheHitPercent,
        Figure::WalBytesPerUpdate,
        Figure::WalBytesPerSecond,
        Figure::LockWaitsPeak,
        Figure::OldestTransactionMillis,
    ],
    headline: Some("operation"),
    charted: "transition",
    state: Some(State {
        // In the order of the plan's questions.
        columns: &[
            Column::of(Figure::DeadMeanPercent, "Dead rows, mean"),
            Column::of(Figure::DeadPeakPercent, "Dead rows, most"),
            Column::of(Figure::VacuumingPercent, "Vacuuming"),
            Column::of(Figure::Autovacuums, "Autovacuums")
                .with_most(Figure::AutovacuumLongestSeconds),
            Column::of(Figure::AutovacuumSeconds, "Their seconds"),
            Column::of(Figure::TableBytes, "Table"),
            Column::of(Figure::TableBloatPercent, "Table bloat"),
            Column::of(Figure::IndexBytes, "Index"),
            Column::of(Figure::IndexLeafDensityPercent, "Index density"),
            Column::of(Figure::HotPercent, "HOT updates"),
            Column::of(Figure::FrozenAgeMost, "Frozen age, most"),
            Column::of(Figure::Freezes, "Freezes"),
            Column::of(Figure::Turnovers, "Turnovers"),
            Column::of(Figure::WalBytesPerUpdate, "WAL per update"),
            Column::of(Figure::OldestTransactionMillis, "Oldest transaction"),
        ],
        words: "Percent of: updates (HOT), active runs (dead rows), the time with autovacuum at the table (vacuuming), bytes of the table beyond what the fillfactor reserves (bloat), room in leaf pages (density). Frozen age: transactions since the oldest row that is not frozen; a freeze is a fall of it. In brackets the longest run of autovacuum in any segment, by the server's log.",
    }),
    ..Kind::of("operation")
};
