//! Under which terms a program may be used, and who looks after it: what stands beside the figures of a backend where a team picks
//! one. Facts of a day, with their source; nothing is computed from them. (Pure.)

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The licence of a program and who maintains it. What nobody stated is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Upkeep {
    /// The licence, by its SPDX name where it has one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub licence: String,
    /// Who maintains it, and the newest release that is known.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub maintenance: String,
    /// The day on which that was so, `YYYY-MM-DD`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub as_of: String,
    /// Where it was read.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source: String,
}

impl Upkeep {
    /// Whether nobody stated anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// As whoever describes the server in the experiment states it.
    #[must_use]
    pub fn as_the_experiment_states(licence: Option<&str>, maintenance: Option<&str>) -> Self {
        let source = licence.or(maintenance).map_or("", |_| "the experiment");
        Self {
            licence: licence.unwrap_or_default().to_owned(),
            maintenance: maintenance.unwrap_or_default().to_owned(),
            as_of: String::new(),
            source: source.to_owned(),
        }
    }

    /// Who maintains it, with the day and the source; empty where nobody said.
    #[must_use]
    pub fn maintained(&self) -> String {
        let said = self.maintenance.clone();
        match (self.as_of.as_str(), self.source.as_str()) {
            _ if said.is_empty() => said,
            ("", "") => said,
            ("", source) => format!("{said} (says {source})"),
            (day, "") => format!("{said} ({day})"),
            (day, source) => format!("{said} ({day}, {source})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_nobody_states_is_empty_and_is_not_written() {
        let none = Upkeep::as_the_experiment_states(None, None);
        assert!(none.is_empty() && none.maintained().is_empty());
        assert_eq!(serde_json::to_value(&none).unwrap(), json!({}));
        assert_eq!(serde_json::from_value::<Upkeep>(json!({})).unwrap(), none);
    }

    #[test]
    fn who_says_so_stands_beside_it() {
        let stated = Upkeep::as_the_experiment_states(None, Some("we ourselves"));
        assert_eq!(stated.maintained(), "we ourselves (says the experiment)");
        assert_eq!(stated.licence, "");
        let known = Upkeep {
            as_of: "2026-11-28".to_owned(),
            source: "its README".to_owned(),
            ..stated
        };
        assert_eq!(known.maintained(), "we ourselves (2026-11-28, its README)");
    }
}
