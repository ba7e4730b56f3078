//! Whether the figures of a trial may be used, and what it says against its backend.

use serde::{Deserialize, Serialize};

/// Whether the figures of a trial may be used. Invalid is not slow: it says nothing at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// The figures may be used.
    Valid,
    /// The figures may not be used, for these reasons.
    Invalid(Vec<InvalidReason>),
}

impl Verdict {
    /// Whether the figures may be used.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        matches!(self, Self::Valid)
    }
}

/// One reason why a trial is invalid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InvalidReason {
    /// The bound that was broken.
    pub code: InvalidCode,
    /// The figure and the bound, for people.
    pub detail: String,
}

/// The bounds that a trial can break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum InvalidCode {
    /// The backend's process restarted between the start and the end of the trial.
    BackendRestarted,
    /// The backend stopped answering, so that nothing was measured.
    BackendUnavailable,
    /// The backend's process could not be seen before the trial, so that a restart in it would not be.
    BackendUnobserved,
    /// The backend refuses the credentials that it took when the trial began.
    CredentialsRefused,
    /// The generator was throttled by its CPU limit.
    GeneratorThrottled,
    /// The generator sent too late.
    SendLag,
    /// The generator was the bottleneck: it used a whole core, or its memory held too few requests at once.
    GeneratorSaturated,
    /// The generator sent operations before they were due.
    SentEarly,
    /// The pacer lost or added planned operations.
    PlanNotKept,
    /// A generator did not deliver its part.
    GeneratorMissing,
    /// No operation was due in the window, so nothing was measured.
    NoOperations,
    /// Preparation failed.
    PreparationFailed,
}

impl InvalidCode {
    /// The backend was lost in the attempt: what was seen then may be due to that.
    pub const BACKEND_LOST: [Self; 2] = [Self::BackendRestarted, Self::BackendUnavailable];

    /// All of them.
    const ALL: [Self; 12] = [
        Self::BackendRestarted,
        Self::BackendUnavailable,
        Self::BackendUnobserved,
        Self::CredentialsRefused,
        Self::GeneratorThrottled,
        Self::SendLag,
        Self::GeneratorSaturated,
        Self::SentEarly,
        Self::PlanNotKept,
        Self::GeneratorMissing,
        Self::NoOperations,
        Self::PreparationFailed,
    ];

    /// The one that stands so in the raw data; none of a later version.
    #[must_use]
    pub fn named(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == text)
    }

    /// The code as it stands in the raw data.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BackendRestarted => "BackendRestarted",
            Self::BackendUnavailable => "BackendUnavailable",
            Self::BackendUnobserved => "BackendUnobserved",
            Self::CredentialsRefused => "CredentialsRefused",
            Self::GeneratorThrottled => "GeneratorThrottled",
            Self::SendLag => "SendLag",
            Self::GeneratorSaturated => "GeneratorSaturated",
            Self::SentEarly => "SentEarly",
            Self::PlanNotKept => "PlanNotKept",
            Self::GeneratorMissing => "GeneratorMissing",
            Self::NoOperations => "NoOperations",
            Self::PreparationFailed => "PreparationFailed",
        }
    }
}

/// What a trial says against its backend. Such a trial is kept and never repeated: to leave it out would
/// favour a backend that fails. Failed, unfinished and never started operations took at least as long as
/// they were waited for, so a quantile q of the response is exact only while their share of `planned` is
/// below 1 - q, and a lower bound beyond.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What was found.
    pub code: FindingCode,
    /// The figure and the bound, for people.
    pub detail: String,
}

/// What a trial can say against its backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum FindingCode {
    /// More operations failed than the spec allows.
    Failing,
    /// Fewer operations of an open load were started and ended in time than the spec asks for: the rate is
    /// beyond what the backend sustains with the connections it was given.
    Overloaded,
    /// Events of a replay that is faster than its recording waited for those before them of their own run: the compression is
    /// too strong for what a run does to be spread over time as it was.
    TimingDistorted,
}

impl FindingCode {
    /// The code as it stands in the raw data.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failing => "Failing",
            Self::Overloaded => "Overloaded",
            Self::TimingDistorted => "TimingDistorted",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_stands_in_the_raw_data_by_its_name_and_is_known_again() {
        for code in InvalidCode::ALL {
            assert_eq!(serde_json::json!(code), code.as_str());
            assert_eq!(InvalidCode::named(code.as_str()), Some(code));
        }
        for code in InvalidCode::BACKEND_LOST {
            assert!(InvalidCode::ALL.contains(&code));
        }
        assert_eq!(InvalidCode::named("Interrupted"), None);
    }
}
