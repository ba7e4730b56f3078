//! How the state of a backend goes over a window.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How a backend's state went over a window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StateSeries {
    /// The instants of the points, seconds since the window opened.
    pub at_seconds: Vec<f64>,
    /// The values at these instants, by name, for example `deadRows`.
    #[schemars(with = "BTreeMap<String, Vec<f64>>")]
    pub lines: BTreeMap<StateLine, Vec<f64>>,
    /// Instants at which something happened, by name, for example `autovacuum`; seconds since the window
    /// opened.
    #[schemars(with = "BTreeMap<String, Vec<f64>>")]
    pub marks: BTreeMap<StateMark, Vec<f64>>,
}

impl StateSeries {
    /// The value of a line at a point; 0 where it has none.
    #[must_use]
    pub fn value(&self, line: StateLine, index: usize) -> f64 {
        let line = self.lines.get(&line);
        line.and_then(|line| line.get(index))
            .copied()
            .unwrap_or(0.0)
    }

    /// When something happened; empty where that is not known.
    #[must_use]
    pub fn marks(&self, mark: StateMark) -> &[f64] {
        self.marks.get(&mark).map_or(&[], Vec::as_slice)
    }
}

/// What of a backend's state has a value at each instant. In the order of raw data, which is that of the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StateLine {
    /// Row versions that nobody needs any more.
    DeadRows,
    /// The size of the indexes.
    IndexBytes,
    /// The size of the table without its indexes.
    TableBytes,
}

/// What happens in a backend at an instant. In the order of raw data, which is that of the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StateMark {
    /// An autovacuum ended.
    Autovacuum,
    /// A checkpoint began.
    Checkpoint,
}
