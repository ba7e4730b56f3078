//! What a generator that runs is asked, and what it answers.

use crate::status::TrialCounts;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What generator 0 is doing, served at `/progress`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// Where it stands.
    pub stage: Stage,
    /// Trials, by outcome.
    pub trials: TrialCounts,
    /// The trial that runs now, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// When the last trial is expected to end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_end: Option<Timestamp>,
    /// When the first operation of the first window was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_operation: Option<Timestamp>,
    /// The fault that is due, or was made and is not mended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<WantedFault>,
}

/// A fault that a generator asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WantedFault {
    /// What it is called: the trial and the attempt at it.
    pub id: String,
    /// The backend of which a server is to be killed.
    pub backend: String,
}

/// What the operator says of a fault when it asks for the progress: the parameters of that request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FaultHeard {
    /// The fault, see [`WantedFault::id`]; empty where none is spoken of.
    #[serde(default)]
    pub fault: String,
    /// How long ago it was made, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_ago: Option<u64>,
    /// How long ago all servers were ready again, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mended_ago: Option<u64>,
}

/// Where a generator stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// Waiting until every backend and the results store answer a signed request.
    #[default]
    Probing,
    /// Running trials.
    Measuring,
    /// All trials are done and durable.
    Done,
}
