//! Sustain: the highest rate that one Postgres primary carries for good, by the active set.

use super::head_row;
use super::{
    Factor, Levels, Measured, Replay, Stretch, TraceShift, TraceSource, WorkloadTraits, listed,
};
use crate::cell::factor;
use crate::spec::cel;
use crate::spec::load::number;
use crate::spec::{Arrivals, CapacityLoad, Ground};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The most seconds of one hold: what it measured is held in memory until it ends, some kilobytes a second.
pub const MOST_HOLD_SECONDS: i32 = 14_400;

/// Sustain: the highest rate that one primary carries for good. A quick ramp finds the rate that meets
/// the objective for seconds; then each block is a hold of `trials.windowSeconds` on a fresh table, at a rate
/// that follows from the holds before it, until the highest rate that held and the lowest that did not are close
/// and repeated. Finds an interval for each level of `activeRuns`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.target) || !has(self.target.activeRuns) || self.target.activeRuns in self.activeRuns").message("target.activeRuns must be one of the levels of activeRuns: the frontier is known at these alone"))]
#[x_kube(validation = Rule::new("!has(self.target) || !has(self.target.runsPerMonth) || !has(self.shape) || !has(self.shape.replay)").message("target.runsPerMonth counts the runs of shape.headRow: with shape.replay set target.ratePerSecond"))]
pub struct Sustain {
    /// Factor: runs that are open at the same time, sleepers included, each level 1000 to 20000000. Default
    /// 100000, 1000000.
    #[serde(default = "default_active_runs")]
    #[schemars(length(min = 1, max = 8), inner(range(min = 1_000, max = 20_000_000)))]
    #[x_kube(validation = cel::levels_differ("activeRuns"))]
    pub active_runs: Vec<i32>,
    /// What is done.
    #[serde(default)]
    pub shape: SustainShape,
    /// The quick ramp before the holds.
    #[serde(default)]
    pub ramp: SustainRamp,
    /// What a hold has to see, and how near the ends of the interval are to come.
    #[serde(default)]
    pub hold: SustainHold,
    /// What it takes to have held.
    #[serde(default)]
    pub objective: SustainObjective,
    /// What the primary is to carry; `ShardThreshold` needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<SustainTarget>,
}

/// What is done. At most one of `headRow`, which is the default, and `replay`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.headRow) || !has(self.replay)").message("shape sets at most one of headRow and replay"))]
pub struct SustainShape {
    /// Runs in one head table, as in `headRow`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_row: Option<SustainRows>,
    /// Runs of a trace, as in `replay`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<SustainReplay>,
}

/// What is done, as one of the ways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SustainLives {
    /// Runs that are made up.
    HeadRow(SustainRows),
    /// Runs that were recorded.
    Replay(SustainReplay),
}

impl SustainShape {
    /// The way that is asked for.
    #[must_use]
    pub fn lives(&self) -> SustainLives {
        match &self.replay {
            Some(replay) => SustainLives::Replay(replay.clone()),
            None => SustainLives::HeadRow(self.head_row.clone().unwrap_or_default()),
        }
    }

    fn connections(&self) -> i32 {
        match self.lives() {
            SustainLives::HeadRow(rows) => rows.connections,
            SustainLives::Replay(replay) => replay.connections,
        }
    }
}

/// The lives of the runs of a trace: as many copies as reach the active runs, at the speed at which they reach the rate, which is
/// the mean over the whole trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SustainReplay {
    /// The trace.
    pub trace: TraceSource,
    /// As in `replay`.
    #[serde(default)]
    pub shift: TraceShift,
    /// As in `replay`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_000))]
    pub state_bytes: Option<i32>,
    /// Fillfactor of the table, percent. 10 to 100, default 100.
    #[serde(default = "default_fillfactor")]
    #[schemars(range(min = 10, max = 100))]
    pub fillfactor: i32,
    /// Connections that carry the load. 1 to 200, default 16.
    #[serde(default = "head_row::default_connections")]
    #[schemars(range(min = 1, max = 200))]
    pub connections: i32,
}

impl SustainReplay {
    /// The replay that a hold is, but for its speed and copies.
    #[must_use]
    pub fn replay(&self) -> Replay {
        Replay {
            trace: self.trace.clone(),
            speed_percent: None,
            copies: None,
            active_runs: None,
            rate_per_second: None,
            shift: self.shift,
            stretch: Stretch::Same,
            state_bytes: self.state_bytes,
            fillfactor: vec![self.fillfactor],
            connections: self.connections,
        }
    }
}

/// The lives of runs in one head table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.minTransitions <= self.maxTransitions").message("minTransitions must not exceed maxTransitions"))]
pub struct SustainRows {
    /// Share of the open runs that never move. Percent, 0 to 99, default 10.
    #[serde(default = "head_row::default_sleepers")]
    #[schemars(range(min = 0, max = 99))]
    pub sleeper_percent: i32,
    /// Fewest transitions of a run. 1 to 1000, default 5.
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
    /// Fillfactor of the table, percent. 10 to 100, default 100.
    #[serde(default = "default_fillfactor")]
    #[schemars(range(min = 10, max = 100))]
    pub fillfactor: i32,
    /// Connections that carry the load. 1 to 200, default 16.
    #[serde(default = "head_row::default_connections")]
    #[schemars(range(min = 1, max = 200))]
    pub connections: i32,
}

/// A search by short steps: from a rate up, until one breaks the latency objective.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.from <= self.to").message("ramp.from must not exceed ramp.to"))]
pub struct SustainRamp {
    /// Operations per second of the first step. 1 to 200000, default 200.
    #[serde(default = "default_from")]
    #[schemars(range(min = 1, max = 200_000))]
    pub from: i32,
    /// Operations per second beyond which neither ramp nor holds go. 1 to 200000, default 50000.
    #[serde(default = "default_to")]
    #[schemars(range(min = 1, max = 200_000))]
    pub to: i32,
    /// By how many per cent each step exceeds the one before. 5 to 400, default 50.
    #[serde(default = "default_growth")]
    #[schemars(range(min = 5, max = 400))]
    pub growth_percent: i32,
    /// Seconds of each step, after one of warm-up. Each loads its table. 1 to 600, default 3.
    #[serde(default = "default_step")]
    #[schemars(range(min = 1, max = 600))]
    pub step_seconds: i32,
}

/// What a hold has to see to speak for good; its length is `trials.windowSeconds`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SustainHold {
    /// Completions in the hold, in multiples of the active runs. 0 to 100, default 1.
    #[serde(default = "default_turnovers")]
    #[schemars(range(min = 0, max = 100))]
    pub turnovers: i32,
    /// Runs of autovacuum that end in it. 0 to 1000, default 5.
    #[serde(default = "default_autovacuums")]
    #[schemars(range(min = 0, max = 1_000))]
    pub autovacuums: i32,
    /// Checkpoints in it. 0 to 100, default 2.
    #[serde(default = "default_checkpoints")]
    #[schemars(range(min = 0, max = 100))]
    pub checkpoints: i32,
    /// Holds at each end of the interval. 1 to 10, default 3.
    #[serde(default = "default_repeats")]
    #[schemars(range(min = 1, max = 10))]
    pub repeats: i32,
    /// Ends that are closer than so many per cent are not narrowed further. 2 to 100, default 10.
    #[serde(default = "default_resolution")]
    #[schemars(range(min = 2, max = 100))]
    pub resolution_percent: i32,
}

/// What it takes to have held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SustainObjective {
    /// In each fifth of the hold 99 of 100 planned operations end well within so many milliseconds. 1 to 10000,
    /// default 50.
    #[serde(default = "default_p99")]
    #[schemars(range(min = 1, max = 10_000))]
    pub p99_milliseconds: i32,
    /// Planned operations that end well, thousandths. 1 to 1000, default 999.
    #[serde(default = "default_served")]
    #[schemars(range(min = 1, max = 1_000))]
    pub served_per_mille: i32,
    /// Points of a percent of the active runs by which dead rows may be shown to rise over the second half. 1
    /// to 1000, default 20.
    #[serde(default = "default_dead")]
    #[schemars(range(min = 1, max = 1_000))]
    pub dead_percent: i32,
    /// By how many per cent table and index may each grow over the second half. 1 to 1000, default 5.
    #[serde(default = "default_size")]
    #[schemars(range(min = 1, max = 1_000))]
    pub growth_percent: i32,
}

/// What one primary is to carry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.ratePerSecond) != has(self.runsPerMonth)").message("target sets exactly one of ratePerSecond and runsPerMonth"))]
pub struct SustainTarget {
    /// Operations per second. 1 to 10000000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub rate_per_second: Option<i32>,
    /// Runs that begin in a month, 1000000 to 100000000000: times the operations of a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1_000_000, max = 100_000_000_000_i64))]
    pub runs_per_month: Option<i64>,
    /// The active set that goes with it, a level of `activeRuns`. Default: the largest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1_000, max = 20_000_000))]
    pub active_runs: Option<i32>,
    /// By how many per cent it grows in a month. 0 to 1000, default 5.
    #[serde(default = "default_growth_per_month")]
    #[schemars(range(min = 0, max = 1_000))]
    pub growth_per_month_percent: i32,
    /// How much more than it is to be carried, percent. 0 to 1000, default 100.
    #[serde(default = "default_headroom")]
    #[schemars(range(min = 0, max = 1_000))]
    pub headroom_percent: i32,
}

pub(super) const TRAITS: WorkloadTraits = WorkloadTraits {
    // Each hold follows from those before it: no two of them are repeats by design.
    in_segments: true,
    ..WorkloadTraits::new("sustain", Ground::Postgres, &[Levels::List("activeRuns")])
};

impl Measured for Sustain {
    fn factors(&self) -> Vec<Factor> {
        vec![listed(factor::ACTIVE_RUNS, &self.active_runs)]
    }

    fn is_open(&self) -> bool {
        true
    }

    fn sessions(&self, _generators: usize) -> usize {
        number(self.shape.connections())
    }

    fn trace(&self) -> Option<&TraceSource> {
        self.shape.replay.as_ref().map(|replay| &replay.trace)
    }

    /// The ramp.
    fn capacity(&self) -> Option<CapacityLoad> {
        Some(CapacityLoad {
            start: self.ramp.from,
            growth_percent: self.ramp.growth_percent,
            step_seconds: self.ramp.step_seconds,
            p99_milliseconds: self.objective.p99_milliseconds,
            max_rate_per_second: self.ramp.to,
            percent_of_weakest: vec![100],
            arrivals: Arrivals::Poisson,
            max_in_flight: self.shape.connections(),
        })
    }
}

impl Sustain {
    /// Operations of a run on average: its creation, its transitions and its completion. Of a trace it says nothing: that has
    /// its own.
    #[must_use]
    pub fn operations_per_run(&self) -> Option<f64> {
        match self.shape.lives() {
            SustainLives::HeadRow(rows) => Some(head_row::operations((
                rows.min_transitions,
                rows.max_transitions,
            ))),
            SustainLives::Replay(_) => None,
        }
    }
}

impl SustainTarget {
    /// Operations per second, of runs that have so many operations each; 0 where that takes a number that is not known, which
    /// admission refuses.
    #[must_use]
    pub fn rate(&self, operations_per_run: Option<f64>) -> f64 {
        match (self.rate_per_second, self.runs_per_month) {
            (Some(rate), _) => f64::from(rate),
            (None, Some(runs)) => {
                runs.max(0) as f64 / head_row::SECONDS_PER_MONTH * operations_per_run.unwrap_or(0.0)
            }
            (None, None) => 0.0,
        }
    }
}

impl Default for SustainRows {
    fn default() -> Self {
        Self {
            sleeper_percent: head_row::default_sleepers(),
            min_transitions: head_row::default_min_transitions(),
            max_transitions: head_row::default_max_transitions(),
            state_bytes: head_row::default_state_bytes(),
            fillfactor: default_fillfactor(),
            connections: head_row::default_connections(),
        }
    }
}

impl Default for SustainRamp {
    fn default() -> Self {
        Self {
            from: default_from(),
            to: default_to(),
            growth_percent: default_growth(),
            step_seconds: default_step(),
        }
    }
}

impl Default for SustainHold {
    fn default() -> Self {
        Self {
            turnovers: default_turnovers(),
            autovacuums: default_autovacuums(),
            checkpoints: default_checkpoints(),
            repeats: default_repeats(),
            resolution_percent: default_resolution(),
        }
    }
}

impl Default for SustainObjective {
    fn default() -> Self {
        Self {
            p99_milliseconds: default_p99(),
            served_per_mille: default_served(),
            dead_percent: default_dead(),
            growth_percent: default_size(),
        }
    }
}

fn default_active_runs() -> Vec<i32> {
    vec![100_000, 1_000_000]
}
fn default_fillfactor() -> i32 {
    100
}
fn default_from() -> i32 {
    200
}
fn default_to() -> i32 {
    50_000
}
fn default_growth() -> i32 {
    50
}
fn default_step() -> i32 {
    3
}
fn default_turnovers() -> i32 {
    1
}
fn default_autovacuums() -> i32 {
    5
}
fn default_checkpoints() -> i32 {
    2
}
fn default_repeats() -> i32 {
    3
}
fn default_resolution() -> i32 {
    10
}
fn default_p99() -> i32 {
    50
}
fn default_served() -> i32 {
    999
}
fn default_dead() -> i32 {
    20
}
fn default_size() -> i32 {
    5
}
fn default_growth_per_month() -> i32 {
    5
}
fn default_headroom() -> i32 {
    100
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_the_default_and_a_target_per_month_is_a_rate() {
        let spec: Sustain =
            serde_json::from_value(serde_json::json!({"target": {"runsPerMonth": 1_000_000_000}}))
                .unwrap();
        assert_eq!(spec.hold, SustainHold::default());
        let target = spec.target.as_ref().unwrap();
        let rate = target.rate(spec.operations_per_run());
        assert!((rate - 5_513.7).abs() < 0.1, "{rate}");
        assert!(matches!(spec.shape.lives(), SustainLives::HeadRow(_)));
        assert_eq!(
            (target.headroom_percent, target.growth_per_month_percent),
            (100, 5)
        );
        let ramp = spec.capacity().unwrap();
        assert_eq!((ramp.start, ramp.max_in_flight), (200, 16));
    }

    #[test]
    fn the_runs_of_a_trace_have_their_own_number_of_operations() {
        let spec: Sustain = serde_json::from_value(serde_json::json!({
            "shape": {"replay": {"trace": {"path": "loans"}, "connections": 7}},
            "target": {"ratePerSecond": 300}
        }))
        .unwrap();
        assert_eq!(spec.operations_per_run(), None);
        assert_eq!((spec.sessions(1), spec.trace().is_some()), (7, true));
        let target = spec.target.as_ref().unwrap();
        assert_eq!(target.rate(spec.operations_per_run()), 300.0);
        let SustainLives::Replay(replay) = spec.shape.lives() else {
            panic!("a replay")
        };
        assert_eq!(replay.replay().fillfactor, [100]);
    }
}
