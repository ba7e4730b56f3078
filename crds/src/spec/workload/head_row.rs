//! A0: the life of runs in one head table.

use super::{Factor, Levels, Measured, WorkloadTraits, listed, of_load};
use crate::cell::factor;
use crate::spec::cel;
use crate::spec::load::number;
use crate::spec::{Ground, Load};
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Seconds of a month: a twelfth of 365.25 days. Rates per month are turned into rates per second by it.
pub const SECONDS_PER_MONTH: f64 = 365.25 * 86_400.0 / 12.0;

/// A0: the life of runs in one head table. A run is created (INSERT), moves through its transitions
/// (compare-and-swap UPDATE on `seq`) and is completed (DELETE), with the number of open runs held
/// constant; sleepers are open for the whole window and never move. Measures the latency of each step,
/// the share of HOT updates, the bloat of table and index, and how autovacuum keeps up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.load) != has(self.runsPerMonth)").message("headRow sets exactly one of load and runsPerMonth"))]
#[x_kube(validation = Rule::new("!has(self.load) || !has(self.load.capacity)").message("headRow takes no load.capacity, whose search would load the table anew for each step: state the rates with load.open"))]
#[x_kube(validation = Rule::new("self.minTransitions <= self.maxTransitions").message("minTransitions must not exceed maxTransitions"))]
pub struct HeadRow {
    /// Factor: runs that are open at the same time, sleepers included, each level 1000 to 20000000. The
    /// table is loaded with them before each trial. Default 100000.
    #[serde(default = "default_active_runs")]
    #[schemars(length(min = 1, max = 8), inner(range(min = 1_000, max = 20_000_000)))]
    #[x_kube(validation = cel::levels_differ("activeRuns"))]
    pub active_runs: Vec<i32>,
    /// Factor: fillfactor of the table in percent, each level 10 to 100. Default 100, 90, 80, 70.
    #[serde(default = "default_fillfactor")]
    #[schemars(length(min = 1, max = 8), inner(range(min = 10, max = 100)))]
    #[x_kube(validation = cel::levels_differ("fillfactor"))]
    pub fillfactor: Vec<i32>,
    /// Share of the open runs that sleep: they are there and never move. Percent, 0 to 99, default 10.
    #[serde(default = "default_sleepers")]
    #[schemars(range(min = 0, max = 99))]
    pub sleeper_percent: i32,
    /// Fewest transitions of a run between its creation and its completion. 1 to 1000, default 5.
    #[serde(default = "default_min_transitions")]
    #[schemars(range(min = 1, max = 1_000))]
    pub min_transitions: i32,
    /// Most transitions of a run. 1 to 1000, default 20.
    #[serde(default = "default_max_transitions")]
    #[schemars(range(min = 1, max = 1_000))]
    pub max_transitions: i32,
    /// Bytes of the state that each transition rewrites. 0 to 2000, default 200.
    #[serde(default = "default_state_bytes")]
    #[schemars(range(min = 0, max = 2_000))]
    pub state_bytes: i32,
    /// How the operations arrive: creations, transitions and completions together, in the mix that
    /// holds the number of open runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<Load>,
    /// Factor, in place of `load`: runs that begin in a month. Each level 1000000 to 100000000000. The
    /// operations arrive as Poisson at the rate that follows: runs per second times the operations of a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 8),
        inner(range(min = 1_000_000, max = 100_000_000_000_i64))
    )]
    pub runs_per_month: Option<Vec<i64>>,
    /// Connections of all generators together where operations arrive by `runsPerMonth`. 1 to 200, default 16.
    #[serde(default = "default_connections")]
    #[schemars(range(min = 1, max = 200))]
    pub connections: i32,
}

pub(super) const TRAITS: WorkloadTraits = WorkloadTraits::new(
    "headRow",
    Ground::Postgres,
    &[
        Levels::List("activeRuns"),
        Levels::List("fillfactor"),
        Levels::ListOrLoad("runsPerMonth"),
    ],
);

impl Measured for HeadRow {
    fn factors(&self) -> Vec<Factor> {
        let arrivals = match (&self.runs_per_month, &self.load) {
            (Some(months), _) => listed(factor::RUNS_PER_MONTH, months),
            (None, Some(load)) => of_load(load),
            (None, None) => (factor::RATE_PER_SECOND, Vec::new()),
        };
        vec![
            listed(factor::ACTIVE_RUNS, &self.active_runs),
            listed(factor::FILLFACTOR, &self.fillfactor),
            arrivals,
        ]
    }

    fn is_open(&self) -> bool {
        self.load.as_ref().is_none_or(|load| load.open.is_some())
    }

    fn sessions(&self, generators: usize) -> usize {
        match &self.load {
            Some(load) => load.sessions(generators),
            None => number(self.connections).max(generators),
        }
    }
}

fn default_active_runs() -> Vec<i32> {
    vec![100_000]
}
fn default_fillfactor() -> Vec<i32> {
    vec![100, 90, 80, 70]
}
pub(super) fn default_sleepers() -> i32 {
    10
}
pub(super) fn default_min_transitions() -> i32 {
    5
}
pub(super) fn default_max_transitions() -> i32 {
    20
}
pub(super) fn default_state_bytes() -> i32 {
    200
}
pub(super) fn default_connections() -> i32 {
    16
}

/// Operations of a run on average: its creation, its transitions and its completion.
pub(super) fn operations((fewest, most): (i32, i32)) -> f64 {
    2.0 + f64::from(fewest + most) / 2.0
}

/// Operations per second that follow from runs per month with so many transitions.
pub(super) fn rate(runs_per_month: u64, transitions: (i32, i32)) -> f64 {
    runs_per_month as f64 / SECONDS_PER_MONTH * operations(transitions)
}

impl HeadRow {
    /// Operations of a run on average: its creation, its transitions and its completion.
    #[must_use]
    pub fn operations_per_run(&self) -> f64 {
        operations((self.min_transitions, self.max_transitions))
    }

    /// Operations per second that follow from runs per month.
    #[must_use]
    pub fn rate(&self, runs_per_month: u64) -> f64 {
        rate(runs_per_month, (self.min_transitions, self.max_transitions))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_billion_runs_a_month_are_five_and_a_half_thousand_operations_a_second() {
        let spec: HeadRow =
            serde_json::from_value(serde_json::json!({"runsPerMonth": [1_000_000_000_i64]}))
                .unwrap();
        assert!((spec.operations_per_run() - 14.5).abs() < 1e-9);
        assert!(
            (spec.rate(1_000_000_000) - 5_513.7).abs() < 0.1,
            "{}",
            spec.rate(1_000_000_000)
        );
        assert!(spec.is_open());
    }
}
