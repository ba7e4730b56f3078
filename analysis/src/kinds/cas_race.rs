//! A2: writers that race for the same runs.

use bakeoff_crds::figure::Counter;

use super::Kind;
use crate::vocabulary::CAS_CHECKS;

/// What there is to know of the kind.
pub(super) static KIND: Kind = Kind {
    operations: &["transition", "create", "complete", "read", "operation"],
    counters: &[
        Counter::ContendedSteps,
        Counter::LocksExpired,
        Counter::Steps,
        Counter::LostRaces,
        Counter::UnknownOutcomes,
        Counter::ConnectionsKilled,
        Counter::LocksDeleted,
        Counter::WritersPaused,
    ],
    checks: CAS_CHECKS,
    checks_by_cell: true,
    ..Kind::of("transition")
};
