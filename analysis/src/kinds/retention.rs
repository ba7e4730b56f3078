//! A1: how old runs leave the table.

use bakeoff_crds::figure::Figure;

use super::{Column, Kind, State};
use crate::metric::Metric;
use crate::vocabulary::{RETENTION_FAILED, ROWS_LEFT, ROWS_LOST, ROWS_MISSED};

/// What there is to know of the kind.
pub(super) static KIND: Kind = Kind {
    operations: &[
        "operation",
        "insert",
        "transition",
        "insertBefore",
        "insertDuring",
        "insertAfter",
    ],
    checks: &[ROWS_MISSED, ROWS_LOST, ROWS_LEFT, RETENTION_FAILED],
    figures: &[
        Figure::ReclaimMilliseconds,
        Figure::ReclaimComplete,
        Figure::DetachMilliseconds,
        Figure::DetachFinalized,
        Figure::DropMilliseconds,
        Figure::RowsMoved,
        Figure::MicrosecondsPerRowMoved,
        Figure::RowsDeleted,
        Figure::MicrosecondsPerRowDeleted,
        Figure::DeleteMilliseconds,
        Figure::DeleteStatements,
        Figure::LongestLockWaitMilliseconds,
        Figure::ActionLockWaitMilliseconds,
        Figure::StrongestLock,
        Figure::LockLooks,
        Figure::BytesReclaimed,
        Figure::BytesReturned,
        Figure::TableBloatPercent,
        Figure::IndexLeafDensityPercent,
        Figure::TableBytes,
        Figure::IndexBytes,
        Figure::InsertsDuring,
        Figure::VacuumingRisePercent,
        Figure::Autovacuums,
        Figure::Checkpoints,
        Figure::OldestTransactionMillis,
    ],
    headline: Some("insertDuring"),
    charted: "insertDuring",
    forests: |_| &[("insertBefore", Metric::P99), ("insertDuring", Metric::P99)],
    rate_over_window: true,
    state: Some(State {
        // In the order of the plan's questions.
        columns: &[
            Column::of(Figure::ReclaimMilliseconds, "Reclaimed in"),
            Column::of(Figure::DropMilliseconds, "Detach, drop"),
            Column::of(Figure::DeleteMilliseconds, "Delete"),
            Column::of(Figure::LongestLockWaitMilliseconds, "Lock wait"),
            Column::of(Figure::StrongestLock, "Lock"),
            Column::of(Figure::BytesReclaimed, "Reclaimed"),
            Column::of(Figure::TableBloatPercent, "Bloat after"),
            Column::of(Figure::RowsMoved, "Rows moved"),
            Column::of(Figure::MicrosecondsPerRowMoved, "µs each"),
            Column::of(Figure::VacuumingRisePercent, "Vacuum, rise"),
        ],
        words: "From the start of retention until the space is back (reclaimed in; where that did not end in the window, at least so long), the longest that others were seen to wait for a lock, the strongest lock on the table in use (1 ACCESS SHARE, 3 ROW EXCLUSIVE, 4 SHARE UPDATE EXCLUSIVE, 8 ACCESS EXCLUSIVE; 0 none seen at a look every 5 to 15 ms), bytes given back to the file system or free in it, percentage points more of the time with autovacuum at the table.",
    }),
    ..Kind::of("insert")
};
