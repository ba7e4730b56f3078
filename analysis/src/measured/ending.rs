//! How a run ended, as a summary says it.

use bakeoff_crds::EndReason;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What stands in place of a reason while a run goes on.
const RUNNING: &str = "Running";

/// How a run ended, or that it has not: one word in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "String", into = "String")]
#[schemars(inline)]
pub enum RunEnding {
    /// It goes on.
    Running,
    /// It has.
    Ended(EndReason),
}

impl RunEnding {
    /// The word.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Running => RUNNING,
            Self::Ended(reason) => reason.as_str(),
        }
    }

    /// Whether all that was meant to be measured was.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        matches!(self, Self::Ended(reason) if reason.succeeded())
    }

    /// Whether it ended before that.
    #[must_use]
    pub fn is_early(&self) -> bool {
        matches!(self, Self::Ended(reason) if !reason.succeeded())
    }
}

impl From<String> for RunEnding {
    fn from(word: String) -> Self {
        if word == RUNNING {
            Self::Running
        } else {
            Self::Ended(word.into())
        }
    }
}

impl From<RunEnding> for String {
    fn from(ending: RunEnding) -> Self {
        ending.as_str().to_owned()
    }
}
