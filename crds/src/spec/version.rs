//! Pinned versions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The version of a program, as the chart's catalogue has it: letters, digits, dots, dashes and underscores.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline, extend("x-kubernetes-validations" = [{
    "rule": "!self.startsWith('latest')",
    "message": "version must be pinned, not latest: pick one of the chart's catalogue (kubectl get configmap -l bakeoff.dev/catalogue -A -o yaml)",
}]))]
pub struct Version(
    #[schemars(
        length(min = 1, max = 64),
        regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    )]
    String,
);

impl std::ops::Deref for Version {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<String> for Version {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Version {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}
