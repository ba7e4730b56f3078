//! The names of checks, and of the metrics that objectives ask of an operation.
//!
//! Raw data carries these names, objectives are written with them and the report prints them, so
//! they stand in one place. The load generator writes no other.

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

/// A figure that every operation has, in objectives. Latencies are microseconds of the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationFigure {
    /// The median.
    P50,
    /// The 90th percentile.
    P90,
    /// The 99th percentile.
    P99,
    /// The 99.9th percentile.
    P999,
    /// The longest.
    Max,
    /// Completed operations per second.
    PerSecond,
    /// Completed operations.
    Count,
    /// Failed operations.
    Failures,
}

impl OperationFigure {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::P50,
        Self::P90,
        Self::P99,
        Self::P999,
        Self::Max,
        Self::PerSecond,
        Self::Count,
        Self::Failures,
    ];

    /// The name in objectives.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::P50 => "p50",
            Self::P90 => "p90",
            Self::P99 => "p99",
            Self::P999 => "p999",
            Self::Max => "max",
            Self::PerSecond => "perSecond",
            Self::Count => "count",
            Self::Failures => "failures",
        }
    }
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
