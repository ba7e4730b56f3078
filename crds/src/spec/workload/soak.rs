//! Soak: one head table over hours or days.

use super::head_row;
use super::{Factor, Levels, Measured, WorkloadTraits, listed};
use crate::cell::factor;
use crate::spec::cel;
use crate::spec::load::number;
use crate::spec::{Ground, SettingValue};
use kube::KubeSchema;
use kube::core::Rule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The most seconds of one segment of a soak: what a segment measured is held in memory until it ends.
pub const MOST_SEGMENT_SECONDS: i32 = 3_600;

/// Soak: one head table lives for hours or days at a steady rate. Each block is a segment, and each
/// segment goes on with the table that the one before it left, so that dead rows, index bloat and freeze age
/// show how they go over the whole time, and an interruption costs one segment. The segments of a
/// cell follow each other; each cell begins with a table of its own. Measures what `headRow` measures, and
/// its course.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.ratePerSecond) != has(self.runsPerMonth)").message("soak sets exactly one of ratePerSecond and runsPerMonth"))]
#[x_kube(validation = Rule::new("self.minTransitions <= self.maxTransitions").message("minTransitions must not exceed maxTransitions"))]
pub struct Soak {
    /// Runs that are open at the same time, sleepers included. The table of each cell is loaded with them
    /// once. 1000 to 20000000, default 1000000.
    #[serde(default = "default_active_runs")]
    #[schemars(range(min = 1_000, max = 20_000_000))]
    pub active_runs: i32,
    /// Factor: fillfactor of the table in percent, each level 10 to 100. Default 100.
    #[serde(default = "default_fillfactor")]
    #[schemars(length(min = 1, max = 8), inner(range(min = 10, max = 100)))]
    #[x_kube(validation = cel::levels_differ("fillfactor"))]
    pub fillfactor: Vec<i32>,
    /// Factor: how autovacuum is set for the measured table. Default one profile, `Default`, that changes nothing.
    #[serde(default = "default_autovacuum")]
    #[schemars(length(min = 1, max = 8))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, a.name == b.name))").message("autovacuum lists a profile twice"))]
    pub autovacuum: Vec<AutovacuumProfile>,
    /// Factor: whether another transaction holds a snapshot open through each segment. Default `None`.
    #[serde(default = "default_snapshots")]
    #[schemars(length(min = 1, max = 2))]
    #[x_kube(validation = cel::levels_differ("snapshots"))]
    #[x_kube(validation = Rule::new("'None' in self").message("snapshots must contain None: what a held snapshot does is shown against it"))]
    pub snapshots: Vec<SnapshotHeld>,
    /// Share of the open runs that sleep: they are there and never move. Percent, 0 to 99, default 10.
    #[serde(default = "head_row::default_sleepers")]
    #[schemars(range(min = 0, max = 99))]
    pub sleeper_percent: i32,
    /// Fewest transitions of a run between its creation and its completion. 1 to 1000, default 5.
    #[serde(default = "head_row::default_min_transitions")]
    #[schemars(range(min = 1, max = 1_000))]
    pub min_transitions: i32,
    /// Most transitions of a run. 1 to 1000, default 20.
    #[serde(default = "head_row::default_max_transitions")]
    #[schemars(range(min = 1, max = 1_000))]
    pub max_transitions: i32,
    /// Bytes of the state that each transition rewrites. 0 to 2000, default 200.
    #[serde(default = "head_row::default_state_bytes")]
    #[schemars(range(min = 0, max = 2_000))]
    pub state_bytes: i32,
    /// Operations per second, Poisson: creations, transitions and completions together, in the mix that holds
    /// the number of open runs. 1 to 100000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub rate_per_second: Option<i32>,
    /// In place of `ratePerSecond`: runs that begin in a month, 1000000 to 100000000000. The rate is
    /// runs per second times the operations of a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1_000_000, max = 100_000_000_000_i64))]
    pub runs_per_month: Option<i64>,
    /// Connections that carry the load. 1 to 200, default 16.
    #[serde(default = "head_row::default_connections")]
    #[schemars(range(min = 1, max = 200))]
    pub connections: i32,
}

pub(super) const TRAITS: WorkloadTraits = WorkloadTraits {
    in_segments: true,
    ..WorkloadTraits::new(
        "soak",
        Ground::Postgres,
        &[
            Levels::List("fillfactor"),
            Levels::List("autovacuum"),
            Levels::List("snapshots"),
        ],
    )
};

impl Measured for Soak {
    fn factors(&self) -> Vec<Factor> {
        let profiles: Vec<&str> = self.autovacuum.iter().map(|p| p.name.as_str()).collect();
        let held: Vec<&str> = self.snapshots.iter().map(|one| one.as_str()).collect();
        vec![
            listed(factor::FILLFACTOR, &self.fillfactor),
            listed(factor::AUTOVACUUM, &profiles),
            listed(factor::SNAPSHOT, &held),
        ]
    }

    fn is_open(&self) -> bool {
        true
    }

    /// Its workers, and the one that may hold a snapshot.
    fn sessions(&self, _generators: usize) -> usize {
        number(self.connections) + 1
    }
}

fn default_active_runs() -> i32 {
    1_000_000
}
fn default_fillfactor() -> Vec<i32> {
    vec![100]
}
fn default_autovacuum() -> Vec<AutovacuumProfile> {
    vec![AutovacuumProfile {
        name: "Default".to_owned(),
        table: BTreeMap::new(),
        server: BTreeMap::new(),
    }]
}
fn default_snapshots() -> Vec<SnapshotHeld> {
    vec![SnapshotHeld::None]
}
fn rule_vacuum_names() -> Rule {
    Rule::new("self.all(name, name.matches('^(autovacuum|vacuum|toast[.]autovacuum)_[a-z_]{1,50}$'))")
        .message("an autovacuum profile holds settings whose names begin with autovacuum_ or vacuum_; set others in backends[].postgres.settings")
}

/// Settings of autovacuum under a name. The server refuses names and values that it does not know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AutovacuumProfile {
    /// The level of the factor, as results and report name it: letters, digits and dashes.
    #[schemars(
        length(min = 1, max = 20),
        regex(pattern = "^[A-Za-z]([-A-Za-z0-9]*[A-Za-z0-9])?$")
    )]
    pub name: String,
    /// Storage parameters of the measured table, as in ALTER TABLE, for example
    /// `autovacuum_vacuum_scale_factor: "0.01"` or `autovacuum_freeze_max_age: "100000"`. At most 16.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    #[x_kube(validation = rule_vacuum_names())]
    pub table: BTreeMap<String, SettingValue>,
    /// Settings of the server that take effect without a restart, for example `autovacuum_naptime: 15s`. They
    /// are set before the cell's first segment and reset before the next cell. At most 16.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    #[x_kube(validation = rule_vacuum_names())]
    pub server: BTreeMap<String, SettingValue>,
}

/// Whether another transaction keeps old row versions from being removed.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum SnapshotHeld {
    /// None does: sleepers are rows that nobody moves, and each transition is a short transaction of its own.
    None,
    /// A transaction that does nothing holds its snapshot from the beginning of each segment to its end.
    WholeSegment,
}

impl SnapshotHeld {
    /// The name as it stands in a spec.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::WholeSegment => "WholeSegment",
        }
    }
}

impl Soak {
    /// Operations per second of all connections together.
    #[must_use]
    pub fn rate(&self) -> f64 {
        match (self.rate_per_second, self.runs_per_month) {
            (Some(rate), _) => f64::from(rate),
            (None, months) => head_row::rate(
                months.unwrap_or(0).unsigned_abs(),
                (self.min_transitions, self.max_transitions),
            ),
        }
    }

    /// The profile with this name.
    #[must_use]
    pub fn profile(&self, name: &str) -> Option<&AutovacuumProfile> {
        self.autovacuum.iter().find(|profile| profile.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::HeadRow;
    use serde_json::json;

    #[test]
    fn the_rate_is_the_one_of_the_head_row() {
        let soak: Soak =
            serde_json::from_value(json!({"runsPerMonth": 1_000_000_000_i64})).unwrap();
        let head: HeadRow =
            serde_json::from_value(json!({"runsPerMonth": [1_000_000_000_i64]})).unwrap();
        assert!((soak.rate() - head.rate(1_000_000_000)).abs() < 1e-9);
        let stated: Soak = serde_json::from_value(json!({"ratePerSecond": 200})).unwrap();
        assert!((stated.rate() - 200.0).abs() < 1e-9);
        assert_eq!(stated.profile("Default"), stated.autovacuum.first());
    }
}
