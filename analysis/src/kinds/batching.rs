//! B2: snapshots that are collected into one object.

use bakeoff_crds::figure::Counter;
use bakeoff_crds::schedule::factor;

use super::{Kind, Over, Scaling};
use crate::metric::Metric;

/// What there is to know of the kind.
pub(super) static KIND: Kind = Kind {
    operations: &["append", "put"],
    counters: &[Counter::Puts, Counter::Snapshots],
    headline: Some("append"),
    forests: |_| &[("append", Metric::P99)],
    scaling: Some(Scaling {
        groups: factor::ARRIVALS_PER_SECOND,
        title: |rate| format!("Append p99 by batch, {rate}/s"),
        operation: "append",
        metric: Metric::P99,
        over: Over::Factor(factor::SNAPSHOTS_PER_OBJECT),
    }),
    rate_over_window: true,
    ..Kind::of("append")
};
