//! B1: small objects under many prefixes.

use bakeoff_crds::figure::Counter;
use bakeoff_crds::schedule::factor;

use super::{Kind, Over, Scaling};
use crate::metric::Metric;

/// What there is to know of the kind.
pub(super) static KIND: Kind = Kind {
    operations: &["put"],
    counters: &[Counter::Puts],
    headline: Some("put"),
    forests: |open_load| {
        if open_load {
            &[("put", Metric::P50), ("put", Metric::P99)]
        } else {
            &[("put", Metric::PerSecond), ("put", Metric::P99)]
        }
    },
    scaling: Some(Scaling {
        groups: factor::OBJECT_SIZE,
        title: |size| format!("PUT p99 by throughput, {size}"),
        operation: "put",
        metric: Metric::P99,
        over: Over::Throughput(&[
            factor::RATE_PER_SECOND,
            factor::CAPACITY_PERCENT,
            factor::CONCURRENCY,
        ]),
    }),
    rate_over_window: true,
    ..Kind::of("put")
};
