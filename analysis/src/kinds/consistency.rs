//! B4: what an S3 server answers, held against what was written.

use bakeoff_crds::figure::Counter;

use super::Kind;
use crate::vocabulary::{
    LIST_MISSES, LOST_WRITES, ORDER_VIOLATIONS, PAGE_DUPLICATES, READ_AFTER_WRITE_MISSES,
    RESURRECTED_DELETES, STALE_READS, TAIL_GAPS, TORN_OBJECTS,
};

/// What there is to know of the kind.
pub(super) static KIND: Kind = Kind {
    operations: &["put", "get", "list", "listPage", "delete"],
    counters: &[
        Counter::Pages,
        Counter::Keys,
        Counter::StaleKeys,
        Counter::LongestStaleMicros,
        Counter::NeverListed,
        Counter::OldTokenPages,
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
    // Its window ends with its work, so its rate falls by nature.
    ends_with_its_work: true,
    counters_are_shown: true,
    tabled: Some("list"),
    ..Kind::of("put")
};
