//! Condition types and reasons, and how a new condition meets the old one.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The summary of bounded work: Unknown while it goes on, True when it ran to its end.
pub const SUCCEEDED: &str = "Succeeded";
/// Whether the figures pass the objectives.
pub const OBJECTIVES_MET: &str = "ObjectivesMet";
/// Whether the nodes are equal as far as checked.
pub const EQUALISED: &str = "Equalised";
/// kstatus: work is going on.
pub const RECONCILING: &str = "Reconciling";
/// kstatus: work cannot go on.
pub const STALLED: &str = "Stalled";

/// The status of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not.
    False,
    /// It cannot be told yet.
    Unknown,
}

impl Truth {
    /// The word that stands in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// The longest message that the API accepts is 32768; a person reads far less.
const MAX_MESSAGE: usize = 1_024;

/// Sets a condition, keeping the time of the last transition unless the status changes.
pub fn set(
    conditions: &mut Vec<Condition>,
    type_: &str,
    truth: Truth,
    reason: &str,
    message: &str,
    generation: Option<i64>,
    now: Timestamp,
) {
    let message = shorten(message, MAX_MESSAGE);
    if let Some(old) = conditions
        .iter_mut()
        .find(|condition| condition.type_ == type_)
    {
        if old.status != truth.as_str() {
            old.status = truth.as_str().to_owned();
            old.last_transition_time = Time(now);
        }
        old.reason = reason.to_owned();
        old.message = message;
        old.observed_generation = generation;
    } else {
        conditions.push(Condition {
            type_: type_.to_owned(),
            status: truth.as_str().to_owned(),
            reason: reason.to_owned(),
            message,
            observed_generation: generation,
            last_transition_time: Time(now),
        });
    }
}

/// The condition of this type.
#[must_use]
pub fn get<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Cuts a text at a character border and marks the cut.
#[must_use]
pub fn shorten(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let mut end = limit.saturating_sub('…'.len_utf8());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transition_time_moves_only_with_the_status() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut conditions = Vec::new();
        set(
            &mut conditions,
            SUCCEEDED,
            Truth::Unknown,
            "Queued",
            "waits",
            Some(1),
            at(1),
        );
        set(
            &mut conditions,
            SUCCEEDED,
            Truth::Unknown,
            "Running",
            "runs",
            Some(1),
            at(2),
        );
        assert_eq!(conditions[0].last_transition_time, Time(at(1)));
        assert_eq!(conditions[0].reason, "Running");
        set(
            &mut conditions,
            SUCCEEDED,
            Truth::True,
            "Completed",
            "done",
            Some(1),
            at(3),
        );
        assert_eq!(conditions[0].last_transition_time, Time(at(3)));
        assert_eq!(conditions.len(), 1);
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let text = "ä".repeat(600);
        let short = shorten(&text, 1_000);
        assert!(short.len() <= 1_000 && short.ends_with('…'));
        assert_eq!(shorten("short", 10), "short");
    }
}
