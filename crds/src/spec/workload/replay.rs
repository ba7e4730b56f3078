//! Replay: the life of runs in one head table, as a trace recorded it.

use super::{Factor, Levels, Measured, WorkloadTraits, head_row, listed};
use crate::cell::factor;
use crate::spec::Ground;
use crate::spec::cel;
use crate::spec::load::number;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The file of a trace that describes it, as a key of a ConfigMap or an object of a folder.
pub const TRACE_MANIFEST: &str = "trace.json";
/// The file of a trace that holds its events.
pub const TRACE_EVENTS: &str = "events.csv.gz";

/// Replay: the runs of a trace are created, moved and completed in one head table at the times that were recorded, with its
/// bursts, its long runs and those that never end. The statements and what is measured are those of `headRow`. Either
/// recorded timing (`speedPercent`, `copies`) or scaled (`activeRuns` and `ratePerSecond`, from which copies and speed follow).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.speedPercent) != (has(self.activeRuns) || has(self.ratePerSecond)) && has(self.activeRuns) == has(self.ratePerSecond)").message("replay sets either speedPercent, or both of activeRuns and ratePerSecond"))]
#[x_kube(validation = Rule::new("!has(self.copies) || has(self.speedPercent)").message("replay takes copies beside speedPercent alone: with activeRuns and ratePerSecond they follow"))]
pub struct Replay {
    /// The trace.
    pub trace: TraceSource,
    /// Factor: microseconds of the recording in a hundred of the replay, each level 1 to 100000; 100 is the recorded speed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8), inner(range(min = 1, max = 100_000)))]
    #[x_kube(validation = cel::levels_differ("speedPercent"))]
    pub speed_percent: Option<Vec<i32>>,
    /// How many times the trace is played at once, beside `speedPercent`. 1 to 1000000, default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub copies: Option<i32>,
    /// Factor, with `ratePerSecond`: runs that are open on average, each level 1 to 20000000. As many copies as reach them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8), inner(range(min = 1, max = 20_000_000)))]
    #[x_kube(validation = cel::levels_differ("activeRuns"))]
    pub active_runs: Option<Vec<i32>>,
    /// Factor, with `activeRuns`: events per second on average, each level 1 to 100000. The speed at which the copies reach it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8), inner(range(min = 1, max = 100_000)))]
    #[x_kube(validation = cel::levels_differ("ratePerSecond"))]
    pub rate_per_second: Option<Vec<i32>>,
    /// How copies lie against each other. Default `Spread`.
    #[serde(default)]
    pub shift: TraceShift,
    /// Which stretch of the plan each block replays. Default `Same`.
    #[serde(default)]
    pub stretch: Stretch,
    /// Bytes of the state that each event writes, 0 to 2000. Without it those that were recorded, 2000 at most, and 200 where
    /// the trace does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_000))]
    pub state_bytes: Option<i32>,
    /// Factor: fillfactor of the table in percent, each level 10 to 100. Default 100.
    #[serde(default = "default_fillfactor")]
    #[schemars(length(min = 1, max = 8), inner(range(min = 10, max = 100)))]
    #[x_kube(validation = cel::levels_differ("fillfactor"))]
    pub fillfactor: Vec<i32>,
    /// Connections of all generators together. 1 to 200, default 16.
    #[serde(default = "head_row::default_connections")]
    #[schemars(range(min = 1, max = 200))]
    pub connections: i32,
}

/// Where a trace is. Exactly one of `configMapRef` and `path`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = cel::exactly_one("a trace", &["configMapRef", "path"]))]
pub struct TraceSource {
    /// A ConfigMap of the Experiment's namespace with `trace.json` and `events.csv.gz` as data: up to some 900 kB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<ConfigMapRef>,
    /// A folder below `traces/` of the bucket with the results, as `loadgen trace put` writes it: `events.csv.gz` up to 1.5 GiB, some 200 million events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 200),
        regex(pattern = "^[A-Za-z0-9_][-._A-Za-z0-9]*(/[A-Za-z0-9_][-._A-Za-z0-9]*)*$")
    )]
    pub path: Option<String>,
    /// The SHA-256 that `events.csv.gz` is to have, 64 hexadecimal digits. Checked before anything is loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[0-9a-f]{64}$"))]
    pub sha256: Option<String>,
}

/// A ConfigMap in the Experiment's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapRef {
    /// The name of the ConfigMap.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub name: String,
}

/// How copies of a trace lie against each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TraceShift {
    /// Each begins at another place, as evenly spread as can be: bursts do not coincide.
    #[default]
    Spread,
    /// All begin at the beginning: bursts are as many times as high.
    None,
}

/// Which stretch of the plan the blocks of a cell replay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Stretch {
    /// All the same, from the start of the plan: blocks are repeats.
    #[default]
    Same,
    /// Each goes on in the plan where the one before it ended; the table is loaded anew with what is open there.
    Consecutive,
}

pub(super) const TRAITS: WorkloadTraits = WorkloadTraits::new(
    "replay",
    Ground::Postgres,
    &[
        Levels::OptionalList(factor::SPEED_PERCENT),
        Levels::OptionalList("activeRuns"),
        Levels::OptionalList("ratePerSecond"),
        Levels::List("fillfactor"),
    ],
);

impl Measured for Replay {
    fn factors(&self) -> Vec<Factor> {
        let timing = match (
            &self.speed_percent,
            &self.active_runs,
            &self.rate_per_second,
        ) {
            (Some(speeds), None, None) => vec![listed(factor::SPEED_PERCENT, speeds)],
            (None, Some(runs), Some(rates)) => vec![
                listed(factor::ACTIVE_RUNS, runs),
                listed(factor::RATE_PER_SECOND, rates),
            ],
            // What admission refuses has no cells.
            _ => vec![(factor::SPEED_PERCENT, Vec::new())],
        };
        let fillfactor = listed(factor::FILLFACTOR, &self.fillfactor);
        timing.into_iter().chain([fillfactor]).collect()
    }

    fn is_open(&self) -> bool {
        true
    }

    fn trace(&self) -> Option<&TraceSource> {
        Some(&self.trace)
    }

    /// Each generator has one connection at least.
    fn sessions(&self, generators: usize) -> usize {
        number(self.connections).max(generators)
    }
}

impl Replay {
    /// Where in the plan a block begins, in seconds, with so many seconds of warm-up and window: a function of the block
    /// alone, so that one that is repeated or resumed meets the same events.
    #[must_use]
    pub fn begins_at_seconds(&self, block: i32, trial_seconds: i32) -> u64 {
        let passed = match self.stretch {
            Stretch::Same => 0,
            Stretch::Consecutive => i64::from(block) * i64::from(trial_seconds),
        };
        u64::try_from(passed).unwrap_or(0)
    }
}

fn default_fillfactor() -> Vec<i32> {
    vec![100]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn replay(fields: serde_json::Value) -> Replay {
        let mut all = json!({"trace": {"configMapRef": {"name": "loans"}}});
        for (name, value) in fields.as_object().unwrap() {
            all[name] = value.clone();
        }
        serde_json::from_value(all).unwrap()
    }

    #[test]
    fn the_two_forms_have_their_own_factors() {
        let names = |replay: &Replay| {
            let factors = replay.factors().into_iter();
            factors.map(|(name, _)| name).collect::<Vec<_>>()
        };
        let recorded = replay(json!({"speedPercent": [100, 400]}));
        assert_eq!(names(&recorded), ["speedPercent", "fillfactor"]);
        let scaled = replay(json!({"activeRuns": [1000], "ratePerSecond": [50]}));
        assert_eq!(
            names(&scaled),
            ["activeRuns", "ratePerSecond", "fillfactor"]
        );
        for neither in [
            json!({}),
            json!({"activeRuns": [1]}),
            json!({"speedPercent": [1], "activeRuns": [1], "ratePerSecond": [1]}),
        ] {
            assert!(replay(neither).factors()[0].1.is_empty());
        }
    }

    #[test]
    fn a_block_begins_where_the_one_before_it_ended() {
        let same = replay(json!({"speedPercent": [100]}));
        let on = replay(json!({"speedPercent": [100], "stretch": "Consecutive"}));
        for block in 0..1_000 {
            assert_eq!(same.begins_at_seconds(block, 70), 0);
            assert_eq!(
                on.begins_at_seconds(block, 70) + 70,
                on.begins_at_seconds(block + 1, 70)
            );
        }
        // The longest schedule there is does not overflow.
        assert_eq!(
            on.begins_at_seconds(i32::MAX, i32::MAX),
            (i32::MAX as u64).pow(2)
        );
    }

    /// What the definition's rules say of a replay, by the rules as they are published.
    #[test]
    fn admission_takes_exactly_one_of_the_two_forms() {
        let schema = Replay::json_schema(&mut schemars::SchemaGenerator::default());
        let rules = schema.get("x-kubernetes-validations").unwrap();
        let rules: Vec<String> = rules
            .as_array()
            .unwrap()
            .iter()
            .map(|rule| rule["rule"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(rules.len(), 2);
        let admits = |fields: serde_json::Value| {
            rules.iter().all(|rule| {
                let mut context = ::cel::Context::default();
                context.add_variable("self", &fields).unwrap();
                let program = ::cel::Program::compile(rule).unwrap();
                program.execute(&context).unwrap() == ::cel::Value::Bool(true)
            })
        };
        let (speed, runs, rate) = (json!([100]), json!([1]), json!([1]));
        assert!(admits(json!({"speedPercent": speed})));
        assert!(admits(json!({"speedPercent": speed, "copies": 3})));
        assert!(admits(json!({"activeRuns": runs, "ratePerSecond": rate})));
        for refused in [
            json!({}),
            json!({"activeRuns": runs}),
            json!({"ratePerSecond": rate}),
            json!({"speedPercent": speed, "activeRuns": runs}),
            json!({"speedPercent": speed, "ratePerSecond": rate}),
            json!({"speedPercent": speed, "activeRuns": runs, "ratePerSecond": rate}),
            json!({"activeRuns": runs, "ratePerSecond": rate, "copies": 3}),
        ] {
            assert!(!admits(refused.clone()), "{refused}");
        }
    }
}
