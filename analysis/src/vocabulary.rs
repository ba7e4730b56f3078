//! The names of operations, counters and checks, by kind of workload.
//!
//! Raw data carries these names, objectives are written with them and the report prints them, so
//! they stand in one place. The load generator writes no other.

use bakeoff_crds::spec::WorkloadKind;

/// Reads that did not return an acknowledged write.
pub const READ_AFTER_WRITE_MISSES: &str = "readAfterWriteMisses";
/// Acknowledged keys that a later LIST left out.
pub const LIST_MISSES: &str = "listMisses";
/// Reads that returned a version older than one acknowledged before.
pub const STALE_READS: &str = "staleReads";
/// Keys of a LIST that were not strictly ascending by bytes, or not after the marker.
pub const ORDER_VIOLATIONS: &str = "orderViolations";
/// Keys that one scan returned twice.
pub const PAGE_DUPLICATES: &str = "pageDuplicates";
/// Deleted objects that came back.
pub const RESURRECTED_DELETES: &str = "resurrectedDeletes";
/// Objects whose body was neither of the versions written.
pub const TORN_OBJECTS: &str = "tornObjects";
/// Writes that were seen without their predecessor.
pub const TAIL_GAPS: &str = "tailGaps";
/// Acknowledged writes that the final read-back did not find.
pub const LOST_WRITES: &str = "lostWrites";

/// A statement that did not touch exactly the one row that its connection owned.
pub const ROWS_MISSED: &str = "rowsMissed";
/// Runs that retention must keep and that are not there exactly once, unchanged.
pub const ROWS_LOST: &str = "rowsLost";
/// Runs that retention must remove and that are still there.
pub const ROWS_LEFT: &str = "rowsLeft";
/// A retention of which the server refused a step.
pub const RETENTION_FAILED: &str = "retentionFailed";

/// Steps that more than one writer was told to have won.
pub const DUPLICATE_WINNERS: &str = "duplicateWinners";
/// Steps that must have been there though nobody wrote them.
pub const GAPS: &str = "gaps";
/// Rows read that continue one step in two ways, or that nobody wrote.
pub const FORKS: &str = "forks";
/// Attempts that were told to have lost though they took effect, or though nothing was in their way.
pub const PHANTOM_FAILURES: &str = "phantomFailures";
/// Runs that were written or read after their delete was acknowledged.
pub const RESURRECTED_RUNS: &str = "resurrectedRuns";
/// Writers that won on another incarnation of a run than the one that they had read.
pub const ABA_WINS: &str = "abaWins";
/// Runs whose answers no order of the operations explains.
pub const IMPOSSIBLE_ORDERS: &str = "impossibleOrders";

/// Counter: steps that were won while another writer's attempt at the same step was under way.
pub const CONTENDED_STEPS: &str = "contendedSteps";
/// Counter: locks that had run out and been taken by another, or been deleted, when their holder had written
/// and was about to let them go.
pub const LOCKS_EXPIRED: &str = "locksExpired";

/// The checks of a race, in the order of the report.
pub const CAS_CHECKS: &[&str] = &[
    DUPLICATE_WINNERS,
    GAPS,
    FORKS,
    PHANTOM_FAILURES,
    LOST_WRITES,
    STALE_READS,
    RESURRECTED_RUNS,
    ABA_WINS,
    IMPOSSIBLE_ORDERS,
];

/// The names that one kind of workload records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vocabulary {
    /// The operation that stands for the workload where none is named.
    pub main: &'static str,
    /// Kinds of operation.
    pub operations: &'static [&'static str],
    /// Counters.
    pub counters: &'static [&'static str],
    /// Correctness checks.
    pub checks: &'static [&'static str],
    /// Figures of the backend's state over a window.
    pub figures: &'static [&'static str],
}

/// Figures that every operation has, in objectives. Latencies are microseconds of the response.
pub const METRICS: &[&str] = &[
    "p50",
    "p90",
    "p99",
    "p999",
    "max",
    "perSecond",
    "count",
    "failures",
];

/// The names that a kind of workload records.
#[must_use]
pub fn of(kind: WorkloadKind) -> Vocabulary {
    match kind {
        WorkloadKind::SmallObjectPut => Vocabulary {
            main: "put",
            operations: &["put"],
            counters: &["puts"],
            checks: &[],
            figures: &[],
        },
        WorkloadKind::ColdRead => Vocabulary {
            main: "read",
            operations: &["read", "list", "listPage", "get"],
            counters: &["pages", "keys"],
            checks: &[LIST_MISSES, ORDER_VIOLATIONS, PAGE_DUPLICATES, TORN_OBJECTS],
            figures: &[],
        },
        WorkloadKind::Consistency => Vocabulary {
            main: "put",
            operations: &["put", "get", "list", "listPage", "delete"],
            counters: &[
                "pages",
                "keys",
                "staleKeys",
                "longestStaleMicros",
                "neverListed",
                "oldTokenPages",
            ],
            checks: &[
                READ_AFTER_WRITE_MISSES,
                LIST_MISSES,
                STALE_READS,
                ORDER_VIOLATIONS,
                PAGE_DUPLICATES,
                RESURRECTED_DELETES,
                TORN_OBJECTS,
                TAIL_GAPS,
                LOST_WRITES,
            ],
            figures: &[],
        },
        WorkloadKind::HeadRow => Vocabulary {
            main: "operation",
            operations: &["operation", "create", "transition", "complete"],
            counters: &[],
            checks: &[ROWS_MISSED],
            figures: &[
                "hotPercent",
                "newPagePercent",
                "tableBloatPercent",
                "indexLeafDensityPercent",
                "bytesPerActiveRun",
                "tableBytes",
                "indexBytes",
                "growthPercent",
                "lateGrowthPercent",
                "deadPeakPercent",
                "turnovers",
                "loadRowsPerSecond",
                "autovacuums",
                "autovacuumsLogged",
                "autovacuumLoggedSeconds",
                "autovacuumLongestSeconds",
                "autovacuumDeadKept",
                "serverLogUnreadBytes",
                "checkpoints",
                "cacheHitPercent",
                "walBytesPerUpdate",
                "lockWaitsPeak",
                "oldestTransactionMillis",
            ],
        },
        WorkloadKind::Soak => Vocabulary {
            main: "operation",
            operations: &["operation", "create", "transition", "complete"],
            counters: &[],
            checks: &[ROWS_MISSED],
            figures: &[
                "tableAgeHours",
                "tableLoadedAtSeconds",
                "deadMeanPercent",
                "deadLowPercent",
                "deadPeakPercent",
                "hotPercent",
                "newPagePercent",
                "tableBloatPercent",
                "indexLeafDensityPercent",
                "bytesPerActiveRun",
                "tableBytes",
                "indexBytes",
                "growthPercent",
                "lateGrowthPercent",
                "turnovers",
                "loadRowsPerSecond",
                "autovacuums",
                "autovacuumSeconds",
                "autovacuumsLogged",
                "autovacuumLoggedSeconds",
                "autovacuumLongestSeconds",
                "autovacuumDeadKept",
                "serverLogUnreadBytes",
                "vacuumingPercent",
                "frozenAgeMost",
                "freezes",
                "checkpoints",
                "cacheHitPercent",
                "walBytesPerUpdate",
                "walBytesPerSecond",
                "lockWaitsPeak",
                "oldestTransactionMillis",
            ],
        },
        WorkloadKind::CasRace => Vocabulary {
            main: "transition",
            operations: &["transition", "create", "complete", "read", "operation"],
            counters: &[
                CONTENDED_STEPS,
                LOCKS_EXPIRED,
                "steps",
                "lostRaces",
                "unknownOutcomes",
                "connectionsKilled",
                "locksDeleted",
                "writersPaused",
            ],
            checks: CAS_CHECKS,
            figures: &[],
        },
        WorkloadKind::Retention => Vocabulary {
            main: "insert",
            operations: &[
                "operation",
                "insert",
                "transition",
                "insertBefore",
                "insertDuring",
                "insertAfter",
            ],
            counters: &[],
            checks: &[ROWS_MISSED, ROWS_LOST, ROWS_LEFT, RETENTION_FAILED],
            figures: &[
                "reclaimMilliseconds",
                "reclaimComplete",
                "detachMilliseconds",
                "detachFinalized",
                "dropMilliseconds",
                "rowsMoved",
                "microsecondsPerRowMoved",
                "rowsDeleted",
                "microsecondsPerRowDeleted",
                "deleteMilliseconds",
                "deleteStatements",
                "longestLockWaitMilliseconds",
                "actionLockWaitMilliseconds",
                "strongestLock",
                "lockLooks",
                "bytesReclaimed",
                "bytesReturned",
                "tableBloatPercent",
                "indexLeafDensityPercent",
                "tableBytes",
                "indexBytes",
                "insertsDuring",
                "vacuumingRisePercent",
                "autovacuums",
                "checkpoints",
                "oldestTransactionMillis",
            ],
        },
        WorkloadKind::Batching => Vocabulary {
            main: "append",
            operations: &["append", "put"],
            counters: &["puts", "snapshots"],
            checks: &[],
            figures: &[],
        },
    }
}

/// Adds a counter of one trial, cell or backend to that of another: by sum, but those named
/// `longest…` are maxima and stay so.
#[must_use]
pub fn add_counter(name: &str, sum: i64, part: i64) -> i64 {
    if name.starts_with("longest") {
        sum.max(part)
    } else {
        sum.saturating_add(part)
    }
}

/// Whether a larger figure is the better one: objectives read the worst over cells and backends.
#[must_use]
pub fn more_is_better(figure: &str) -> bool {
    matches!(
        figure,
        "hotPercent"
            | "indexLeafDensityPercent"
            | "cacheHitPercent"
            | "autovacuums"
            | "autovacuumsLogged"
            | "turnovers"
            | "reclaimComplete"
            | "bytesReclaimed"
            | "bytesReturned"
            | "insertsDuring"
            | "lockLooks"
    )
}

/// What a check counts, for people; the name itself for one that is not known here.
#[must_use]
pub fn describe_check(name: &str) -> &str {
    match name {
        READ_AFTER_WRITE_MISSES => "a read missed an acknowledged write",
        LIST_MISSES => "a LIST left out an acknowledged key",
        STALE_READS => "a read returned an older version",
        ORDER_VIOLATIONS => "a LIST was out of order",
        PAGE_DUPLICATES => "a scan returned a key twice",
        RESURRECTED_DELETES => "a deleted object came back",
        TORN_OBJECTS => "a body was none that was written",
        TAIL_GAPS => "a write was seen without its predecessor",
        ROWS_MISSED => "a statement did not touch exactly its one row",
        ROWS_LOST => "a run that had to stay was lost, doubled or changed",
        ROWS_LEFT => "a run that had to go was still there",
        RETENTION_FAILED => "the server refused a step of the retention",
        LOST_WRITES => "an acknowledged write was gone at the end",
        DUPLICATE_WINNERS => "a step had more than one winner",
        GAPS => "a step is missing that must have been written",
        FORKS => "a step went on in two ways, or nobody wrote what was read",
        PHANTOM_FAILURES => "an attempt was told to have lost without having lost",
        RESURRECTED_RUNS => "a run came back after its delete",
        ABA_WINS => "a writer won on a later incarnation than it had read",
        IMPOSSIBLE_ORDERS => "no order of a run's operations explains the answers",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_add_and_maxima_do_not() {
        assert_eq!(add_counter("pages", 3, 4), 7);
        assert_eq!(add_counter("longestStaleMicros", 3, 4), 4);
    }
}
