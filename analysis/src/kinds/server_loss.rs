//! The loss of a server in the middle of a window.

use bakeoff_crds::figure::{Counter, Figure};

use super::{Column, Kind, State};
use crate::metric::Metric;
use crate::vocabulary::{LOST_WRITES, READ_AFTER_WRITE_MISSES};

/// What there is to know of the kind.
pub(super) static KIND: Kind = Kind {
    operations: &["put", "putBefore", "putDuring", "putAfter"],
    counters: &[Counter::Puts],
    checks: &[READ_AFTER_WRITE_MISSES, LOST_WRITES],
    figures: &[
        Figure::OutageMilliseconds,
        Figure::RecoveryMilliseconds,
        Figure::Recovered,
        Figure::FailedDuring,
        Figure::ReadBackObjects,
        Figure::FaultDelayMilliseconds,
    ],
    headline: Some("putDuring"),
    charted: "putDuring",
    forests: |_| &[("putBefore", Metric::P99), ("putDuring", Metric::P99)],
    rate_over_window: true,
    state: Some(State {
        columns: &[
            Column::of(Figure::OutageMilliseconds, "No PUT for"),
            Column::of(Figure::FailedDuring, "Failed"),
            Column::of(Figure::RecoveryMilliseconds, "All back after"),
            Column::of(Figure::Recovered, "Back"),
            Column::of(Figure::ReadBackObjects, "Read again"),
        ],
        words: "A server was killed (SIGKILL) in the middle of each window: the longest time after it in which no PUT ended well, PUTs that failed from then on, how long until all servers were ready again (where they were not, how long was waited; back: 1 yes, 0 no), and acknowledged objects that were read again after that; what they had lost is among the checks.",
    }),
    ..Kind::of("put")
};
