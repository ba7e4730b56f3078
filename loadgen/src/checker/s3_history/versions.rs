//! The versions of one key, and what of them may be visible when.

use super::event::{Outcome, Span};

#[derive(Clone, Debug)]
pub(super) struct Write {
    pub(super) value: Option<u64>,
    pub(super) span: Span,
    pub(super) outcome: Outcome,
}

/// The writes of one key by invocation; one writer, so they do not overlap.
#[derive(Clone, Debug, Default)]
pub(super) struct Versions {
    pub(super) writes: Vec<Write>,
    /// Whether any listing had to know of it.
    pub(super) listed: bool,
    /// Whether the last listing at rest that had to know showed it.
    pub(super) at_rest: Option<bool>,
}

/// What a read or listing may show of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    Required,
    Forbidden,
    /// Concurrent with a write: either is right.
    Open,
    /// Only a write of unknown outcome makes the difference.
    Uncertain,
}

impl Versions {
    /// The last write acknowledged before `instant`.
    pub(super) fn settled(&self, instant: u64) -> Option<usize> {
        let candidates = self
            .writes
            .partition_point(|write| write.span.invoke < instant);
        (0..candidates).rev().find(|&index| {
            self.writes[index].outcome == Outcome::Ok && self.writes[index].span.complete < instant
        })
    }

    /// What a listing invoked and completed at these instants must show.
    pub(super) fn presence(&self, span: Span) -> Presence {
        let settled = self.settled(span.invoke);
        let exists = settled.is_some_and(|index| self.writes[index].value.is_some());
        let (mut open, mut uncertain) = (false, false);
        for (index, write) in self.writes.iter().enumerate() {
            if write.span.invoke >= span.complete || write.value.is_some() == exists {
                continue;
            }
            match write.outcome {
                Outcome::Fail => {}
                Outcome::Info => uncertain = true,
                Outcome::Ok => open |= settled.is_none_or(|settled| index > settled),
            }
        }
        match (open, uncertain, exists) {
            (true, _, _) => Presence::Open,
            (false, true, _) => Presence::Uncertain,
            (false, false, true) => Presence::Required,
            (false, false, false) => Presence::Forbidden,
        }
    }

    /// When the write that made the key exist at `instant` was invoked, if it was acknowledged.
    pub(super) fn created(&self, before: u64) -> Option<&Write> {
        self.writes.iter().find(|write| {
            write.value.is_some() && write.outcome == Outcome::Ok && write.span.complete < before
        })
    }
}
