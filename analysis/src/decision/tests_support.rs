//! Summaries of runs on Postgres with known figures, for tests.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use bakeoff_crds::figure::{Counter, Figure};
use bakeoff_crds::result::{
    CheckRecord, HorizonHeld, InvalidCode, InvalidReason, TrialRecord, Verdict,
};
use bakeoff_crds::schedule::{self, Trial};
use bakeoff_crds::spec::{ExperimentSpec, GuardMode, RetentionMethod};
use bakeoff_crds::status::DecisionOutcome;
use serde_json::json;

use super::DecisionRecord;
use crate::measured::RunData;
use crate::sample::{self, PLAIN};
use crate::summary::{Summary, summarise};
use crate::vocabulary::CAS_CHECKS;

/// The summary of a run of this spec whose trials ended like this.
fn summary(spec: &ExperimentSpec, ended: impl Fn(&Trial) -> TrialRecord) -> Summary {
    let records: Vec<_> = schedule::trials(spec).iter().map(ended).collect();
    summarise(&RunData::new(&sample::manifest(spec), &records)).unwrap()
}

/// A decision has this outcome, and says these words of why.
#[track_caller]
pub(super) fn says(decision: &DecisionRecord, outcome: DecisionOutcome, words: &str) {
    assert_eq!(decision.outcome, outcome, "{}", decision.reason);
    assert!(decision.reason.contains(words), "{}", decision.reason);
}

#[derive(Clone, Copy)]
pub(super) struct HeadRowFigures {
    pub hot: f64,
    pub growth: f64,
    pub dead: f64,
    pub vacuums: f64,
    pub turnovers: f64,
    pub bytes: f64,
    pub missed: i64,
}

/// A run of experiment A0 with these figures by active runs and fillfactor; they scatter a little over blocks.
pub(super) fn head_row_summary(blocks: i32, of: impl Fn(i64, i64) -> HeadRowFigures) -> Summary {
    held_head_row_summary(blocks, None, of)
}

/// The same, with somebody who keeps dead rows from being removed.
pub(super) fn held_head_row_summary(
    blocks: i32,
    held: Option<HorizonHeld>,
    of: impl Fn(i64, i64) -> HeadRowFigures,
) -> Summary {
    let spec: ExperimentSpec = serde_json::from_value(json!({
        "backends": [{"name": "pg", "postgres": {"version": "18.4"}}],
        "workloads": [{"name": "head", "headRow": {
            "activeRuns": [1_000, 100_000], "fillfactor": [100, 80], "load": {"closed": {"concurrency": [8]}}}}],
        "trials": {"blocks": blocks},
        "objectives": [{"name": "old", "expression": "head.oldestTransactionMillis < 1000"}],
        "decision": {"rule": "SimpleSchema"}
    }))
    .unwrap();
    summary(&spec, |trial| {
        let level = |name: &str| trial.cell[name].parse::<i64>().unwrap();
        let figures = of(level("activeRuns"), level("fillfactor"));
        let jitter = 1.0 + 0.01 * f64::from(trial.block % 3);
        let mut record = sample::record(trial, PLAIN, 7);
        record.horizon.clone_from(&held);
        record.figures = BTreeMap::from(
            [
                (Figure::HotPercent, figures.hot),
                (Figure::LateGrowthPercent, figures.growth * jitter),
                (Figure::DeadPeakPercent, figures.dead * jitter),
                (Figure::Autovacuums, figures.vacuums),
                (Figure::Turnovers, figures.turnovers),
                (Figure::BytesPerActiveRun, figures.bytes * jitter),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        for check in &mut record.checks {
            check.violations = figures.missed;
        }
        record
    })
}

/// What one method of retention shows.
#[derive(Clone, Copy, Debug)]
pub(super) struct RetentionFigures {
    /// p99 of inserts before, microseconds.
    pub before: f64,
    /// And while retention goes on.
    pub during: f64,
    pub inserts: f64,
    /// Milliseconds of detaching and dropping.
    pub drop: Option<f64>,
    pub wait: f64,
    pub lock: f64,
    pub looks: f64,
    pub rise: f64,
    pub complete: f64,
    pub lost: i64,
}

/// A run of experiment A1 with these figures by method; they scatter a little over blocks. The margin is
/// 50 %.
pub(super) fn retention_summary(
    blocks: i32,
    of: impl Fn(RetentionMethod) -> RetentionFigures,
) -> Summary {
    let workloads = json!([{"name": "old", "retention": {
        "activeRuns": [60_000], "load": {"open": {"ratePerSecond": [300]}}}}]);
    retention_summary_of(blocks, &workloads, |_, method| of(method))
}

/// The same of other workloads, with figures by trial as well.
pub(super) fn retention_summary_of(
    blocks: i32,
    workloads: &serde_json::Value,
    of: impl Fn(&Trial, RetentionMethod) -> RetentionFigures,
) -> Summary {
    let spec: ExperimentSpec = serde_json::from_value(json!({
        "backends": [{"name": "pg", "postgres": {"version": "18.4"}}],
        "workloads": workloads,
        "trials": {"blocks": blocks},
        "decision": {"rule": "DropOrDelete", "marginPercent": 50}
    }))
    .unwrap();
    summary(&spec, |trial| {
        let method = RetentionMethod::parse(&trial.cell["method"]).unwrap();
        let figures = of(trial, method);
        let jitter = 1.0 + 0.01 * f64::from(trial.block % 3);
        let mut record = sample::record(trial, PLAIN, 7);
        for (name, p99) in [
            ("insertBefore", figures.before),
            ("insertDuring", figures.during * jitter),
        ] {
            let part = record.operations.get_mut(name).unwrap();
            // One latency for all: the p99 is that and nothing else.
            part.response = sample::histogram(vec![p99 as u64; 500]);
            part.count = 500;
        }
        let mut put = |figure: Figure, value: f64| {
            record.figures.insert(figure, value);
        };
        put(Figure::InsertsDuring, figures.inserts);
        put(Figure::LongestLockWaitMilliseconds, figures.wait * jitter);
        put(Figure::VacuumingRisePercent, figures.rise);
        put(Figure::ReclaimComplete, figures.complete);
        put(Figure::StrongestLock, figures.lock);
        put(Figure::LockLooks, figures.looks);
        if let Some(drop) = figures.drop {
            put(Figure::DropMilliseconds, drop * jitter);
        }
        if method == RetentionMethod::DropPartition {
            put(Figure::RowsMoved, 900.0);
            put(Figure::MicrosecondsPerRowMoved, 25.0);
        }
        for check in &mut record.checks {
            check.violations = figures.lost;
        }
        record
    })
}

/// What one trial of a race says.
#[derive(Clone, Copy)]
pub(super) struct Race {
    /// Facts of each check, how many of them are uncertain, and violations of the faulty one.
    pub checked: i64,
    pub violations: i64,
    pub uncertain: i64,
    pub faulty: Option<&'static str>,
    pub contended: i64,
    pub expired: i64,
    /// Why the trials are void, if they are.
    pub void: Option<InvalidCode>,
}

/// A run of experiment A2 of two blocks, by mode.
pub(super) fn race_summary(modes: &[GuardMode], of: impl Fn(GuardMode) -> Race) -> Summary {
    let names: Vec<&str> = modes.iter().map(|mode| mode.as_str()).collect();
    let spec: ExperimentSpec = serde_json::from_value(json!({
        "backends": [{"name": "pg", "postgres": {"version": "18.4"}}],
        "workloads": [{"name": "race", "casRace": {"modes": names}}],
        "trials": {"blocks": 2},
        "decision": {"rule": "CasIsBackstop"}
    }))
    .unwrap();
    summary(&spec, |trial| {
        let mode = modes
            .iter()
            .find(|mode| mode.as_str() == trial.cell["mode"])
            .unwrap();
        let race = of(*mode);
        let mut record = sample::record(trial, PLAIN, 7);
        record.counters = BTreeMap::from([
            (Counter::ContendedSteps, race.contended),
            (Counter::LocksExpired, race.expired),
        ]);
        record.checks = CAS_CHECKS
            .iter()
            .map(|name| {
                let faulty = race.faulty == Some(name);
                CheckRecord {
                    name: (*name).to_owned(),
                    checked: race.checked,
                    violations: if faulty { race.violations } else { 0 },
                    uncertain: race.uncertain,
                    examples: if faulty {
                        vec!["planted".to_owned()]
                    } else {
                        Vec::new()
                    },
                }
            })
            .collect();
        if let Some(code) = race.void {
            record.verdict = Verdict::Invalid(vec![InvalidReason {
                code,
                detail: "planted".to_owned(),
            }]);
        }
        record
    })
}

/// What the segments of a soak show; each lasts a quarter of an hour.
#[derive(Clone, Copy)]
pub(super) struct SoakFigures {
    pub dead: f64,
    pub dead_per_hour: f64,
    pub peak: f64,
    pub index_mib: f64,
    pub index_mib_per_hour: f64,
    pub turnovers: f64,
    pub autovacuums: f64,
    pub missed: i64,
}

/// A soak with these figures by fillfactor and by whether a snapshot is held; they scatter a little. The
/// first `lost` segments are on a table that was loaded before, four times as large.
pub(super) fn soak_summary(
    blocks: i32,
    lost: i32,
    of: impl Fn(i64, bool) -> SoakFigures,
) -> Summary {
    const MIB: f64 = 1024.0 * 1024.0;
    let spec: ExperimentSpec = serde_json::from_value(json!({
        "backends": [{"name": "pg", "postgres": {"version": "18.4"}}],
        "workloads": [{"name": "long", "soak": {
            "ratePerSecond": 500, "fillfactor": [100, 80], "snapshots": ["None", "WholeSegment"]}}],
        "trials": {"blocks": blocks},
        "decision": {"rule": "SoakPlateau"}
    }))
    .unwrap();
    summary(&spec, |trial| {
        let held = trial.cell["snapshot"] == "WholeSegment";
        let soak = of(trial.cell["fillfactor"].parse().unwrap(), held);
        let gone = trial.block < lost;
        let hours = 0.25 * (f64::from(trial.block - if gone { 0 } else { lost }) + 0.5);
        let size = if gone { 4.0 } else { 1.0 };
        let jitter = 1.0 + 0.004 * f64::from(trial.block * 7 % 5 - 2);
        let mut record = sample::record(trial, PLAIN, 7);
        record.figures = BTreeMap::from(
            [
                (Figure::TableAgeHours, hours),
                (
                    Figure::TableLoadedAtSeconds,
                    if gone { 1_000.0 } else { 9_000.0 },
                ),
                (
                    Figure::DeadMeanPercent,
                    (soak.dead + soak.dead_per_hour * hours) * jitter,
                ),
                (Figure::DeadPeakPercent, soak.peak),
                (
                    Figure::IndexBytes,
                    (soak.index_mib + soak.index_mib_per_hour * hours) * MIB * size * jitter,
                ),
                (Figure::TableBytes, 300.0 * MIB * size * jitter),
                (Figure::Turnovers, soak.turnovers),
                (Figure::Autovacuums, soak.autovacuums),
                (Figure::FrozenAgeMost, 1e6 * hours),
                (Figure::Freezes, 0.0),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        for check in &mut record.checks {
            check.violations = soak.missed;
        }
        record
    })
}

/// What a hold shows.
#[derive(Clone, Copy)]
pub(super) struct SustainFigures {
    pub within: f64,
    pub turnovers: f64,
    pub missed: i64,
}

impl SustainFigures {
    pub fn held_if(held: bool) -> Self {
        Self {
            within: if held { 99.9 } else { 80.0 },
            turnovers: 2.0,
            missed: 0,
        }
    }
}

/// A search of so many holds at two active sets, by what a hold at each rate shows; on stated equipment or not.
pub(super) fn sustain_summary(
    blocks: i32,
    stated: bool,
    target: &serde_json::Value,
    of: impl Fn(u32) -> SustainFigures,
) -> Summary {
    let class = if stated { "Absolute" } else { "Relative" };
    let spec: ExperimentSpec = serde_json::from_value(json!({
        "resultClass": class,
        "environment": {"description": "two machines of a rack", "hardware": "known", "region": "here", "durability": "full"},
        "backends": [{"name": "pg", "postgres": {"version": "18.4"}}],
        "workloads": [{"name": "most", "sustain": {"activeRuns": [10_000, 100_000], "target": target}}],
        "trials": {"blocks": blocks},
        "decision": {"rule": "ShardThreshold"}
    }))
    .unwrap();
    let bounds = crate::sustain::Bounds {
        ramp: 1_200.0,
        top: 50_000,
        close: 1.1,
    };
    let seen: std::cell::RefCell<BTreeMap<i32, Vec<crate::sustain::Observation>>> =
        std::cell::RefCell::default();
    summary(&spec, |trial| {
        let mut seen = seen.borrow_mut();
        let seen = seen.entry(trial.cell_index).or_default();
        let rate = crate::sustain::next(&bounds, seen);
        let figures = of(rate);
        let held = Some(figures.within >= 99.0);
        seen.push(crate::sustain::Observation { rate, held });
        let mut record = sample::record(trial, PLAIN, 7);
        record.figures = BTreeMap::from([
            (Figure::OfferedPerSecond, f64::from(rate)),
            (Figure::ServedPercent, 100.0),
            (Figure::FifthWithinPercent, figures.within),
            (Figure::FifthP99Milliseconds, 12.0),
            (Figure::Turnovers, figures.turnovers),
            (Figure::Autovacuums, 6.0),
            (Figure::Checkpoints, 2.0),
        ]);
        for check in &mut record.checks {
            check.violations = figures.missed;
        }
        record
    })
}
