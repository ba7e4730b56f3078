//! B3: runs read back that no cache holds.

use bakeoff_crds::figure::Counter;
use bakeoff_crds::schedule::factor;

use super::{Kind, Over, Scaling, Typical};
use crate::metric::Metric;
use crate::vocabulary::{
    LIST_MISSES, ORDER_VIOLATIONS, PAGE_DUPLICATES, READ_AFTER_WRITE_MISSES, TORN_OBJECTS,
};

/// What there is to know of the kind.
pub(super) static KIND: Kind = Kind {
    operations: &["read", "list", "listPage", "get"],
    counters: &[Counter::Pages, Counter::Keys],
    checks: &[
        LIST_MISSES,
        ORDER_VIOLATIONS,
        PAGE_DUPLICATES,
        TORN_OBJECTS,
        READ_AFTER_WRITE_MISSES,
    ],
    headline: Some("list"),
    charted: "list",
    // A read is compared by its listing; the whole read stands in the fold.
    tabled: Some("list"),
    forests: |_| &[("list", Metric::P50)],
    scaling: Some(Scaling {
        groups: factor::MODE,
        title: |mode| format!("LIST p50 by objects, {mode}"),
        operation: "list",
        metric: Metric::P50,
        over: Over::Factor(factor::OBJECTS_PER_RUN),
    }),
    typical: Typical::MostOf(factor::OBJECTS_PER_RUN),
    ..Kind::of("read")
};
