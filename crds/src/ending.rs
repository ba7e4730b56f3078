//! How an experiment ends, and what follows from it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How an experiment ends: the reason of the condition `Succeeded` once it has ended. In JSON it is one word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "String", into = "String")]
#[schemars(inline)]
pub enum EndReason {
    /// Every trial has an outcome, or the decision was settled early.
    Completed,
    /// `spec.cancel` was set.
    Cancelled,
    /// `spec.activeDeadlineSeconds` have passed since the start.
    DeadlineExceeded,
    /// The backends did not answer within `limits.provisionSeconds`.
    ProvisionTimeout,
    /// A backend went away in the middle of the run and did not come back.
    BackendLost,
    /// Generators failed more often than `generators.backoffLimit` allows.
    GeneratorFailed,
    /// The generators did not run within `limits.startSeconds`.
    GeneratorNotStarted,
    /// Everything was measured, but the report could not be written.
    ReportFailed,
    /// Everything was measured, and nothing of it counts.
    NoValidTrial,
    /// A failure that a pod, a generator or the check of the spec has a word of its own for.
    Failed(String),
}

impl EndReason {
    /// Those that have a meaning of their own.
    const NAMED: [Self; 9] = [
        Self::Completed,
        Self::Cancelled,
        Self::DeadlineExceeded,
        Self::ProvisionTimeout,
        Self::BackendLost,
        Self::GeneratorFailed,
        Self::GeneratorNotStarted,
        Self::ReportFailed,
        Self::NoValidTrial,
    ];

    /// The word in conditions, events and results.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Completed => "Completed",
            Self::Cancelled => "Cancelled",
            Self::DeadlineExceeded => "DeadlineExceeded",
            Self::ProvisionTimeout => "ProvisionTimeout",
            Self::BackendLost => "BackendLost",
            Self::GeneratorFailed => "GeneratorFailed",
            Self::GeneratorNotStarted => "GeneratorNotStarted",
            Self::ReportFailed => "ReportFailed",
            Self::NoValidTrial => "NoValidTrial",
            Self::Failed(word) => word,
        }
    }

    /// Whether the experiment ran as asked: the status of the condition `Succeeded`.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        *self == Self::Completed
    }

    /// Whether a report is owed, given whether trials may be done: one of nothing says nothing, unless nothing is all that
    /// there was to say.
    #[must_use]
    pub fn owes_report(&self, trials_may_be_done: bool) -> bool {
        self.succeeded() || trials_may_be_done
    }

    /// The ending when its report could not be written: what had failed before stays the reason.
    #[must_use]
    pub fn without_report(self) -> Self {
        if self.succeeded() {
            Self::ReportFailed
        } else {
            self
        }
    }
}

impl From<&str> for EndReason {
    fn from(word: &str) -> Self {
        let mut named = Self::NAMED.into_iter();
        named
            .find(|reason| reason.as_str() == word)
            .unwrap_or_else(|| Self::Failed(word.to_owned()))
    }
}

impl From<String> for EndReason {
    fn from(word: String) -> Self {
        Self::from(word.as_str())
    }
}

impl From<EndReason> for String {
    fn from(reason: EndReason) -> Self {
        reason.as_str().to_owned()
    }
}

impl std::fmt::Display for EndReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_back() {
        let failed = EndReason::Failed("ImagePullFailed".to_owned());
        for reason in EndReason::NAMED.into_iter().chain([failed]) {
            let json = serde_json::to_value(&reason).unwrap();
            assert_eq!(json, reason.as_str());
            assert_eq!(serde_json::from_value::<EndReason>(json).unwrap(), reason);
        }
    }

    #[test]
    fn what_follows_from_an_ending() {
        assert!(EndReason::Completed.succeeded() && !EndReason::Cancelled.succeeded());
        assert!(EndReason::Completed.owes_report(false));
        assert!(!EndReason::Cancelled.owes_report(false) && EndReason::Cancelled.owes_report(true));
        assert_eq!(
            EndReason::Completed.without_report(),
            EndReason::ReportFailed
        );
        assert_eq!(EndReason::Cancelled.without_report(), EndReason::Cancelled);
    }
}
