use super::{judge, rank};
use bakeoff_crds::EndReason;
use bakeoff_crds::history::{RUN_RECORD_SCHEMA, RegressionState, RegressionStatus, RunRecord};
use bakeoff_crds::identity::Identity;
use bakeoff_crds::rng::SplitMix64;
use bakeoff_crds::spec::{ResultClass, Series};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeMap;

/// How often each number of inversions occurs among all ways to choose which of `n + m` ranks come after.
fn enumerate(n: usize, m: usize) -> Vec<u128> {
    let mut counts = vec![0; n * m + 1];
    for chosen in 0_u32..1 << (n + m) {
        if chosen.count_ones() as usize != m {
            continue;
        }
        let mut later = 0;
        let mut inversions = 0;
        for rank in 0..n + m {
            if chosen >> rank & 1 == 1 {
                later += 1;
            } else {
                // Each value before that stands above a later one: a pair in which the later one is not worse.
                inversions += later;
            }
        }
        counts[inversions] += 1;
    }
    counts
}

#[test]
fn arrangements_are_those_that_enumeration_finds() {
    for n in 1..=10 {
        for m in 1..=4 {
            assert_eq!(rank::arrangements(n, m), enumerate(n, m), "{n} and {m}");
        }
    }
    let all: u128 = rank::arrangements(60, 6).iter().sum();
    assert_eq!(all, 90_858_768, "66 over 6");
    assert!((rank::p_value(3, 2, 0) - 0.1).abs() < 1e-12);
    assert!((rank::p_value(3, 2, 6) - 1.0).abs() < 1e-12);
}

#[test]
fn the_smallest_histories_are_those_of_the_design() {
    // One false alarm a year, four metrics.
    let needed = |m: usize, looks: f64| rank::needed(m, 1.0 / (4.0 * looks)).unwrap();
    assert_eq!(
        [
            needed(2, 365.0),
            needed(3, 365.0),
            needed(4, 365.0),
            needed(5, 365.0)
        ],
        [53, 19, 12, 9]
    );
    assert_eq!((needed(4, 52.0), needed(4, 8_784.0)), (6, 28));
    assert_eq!(
        rank::needed(1, 1.0 / 1_460.0),
        None,
        "sixty runs and no confirmation are too few"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// The p-value of values that chance alone orders is not smaller than it says, ties or not.
    #[test]
    fn p_is_super_uniform(seed in any::<u64>(), n in 5_usize..20, m in 1_usize..5, coarse in any::<bool>()) {
        let mut rng = SplitMix64::new(seed);
        let mut draw = || if coarse { rng.below(6) as f64 } else { rng.below(1 << 40) as f64 };
        let (draws, mut small) = (2_000, [0_u32; 3]);
        for _ in 0..draws {
            let before: Vec<f64> = (0..n).map(|_| draw()).collect();
            let after: Vec<f64> = (0..m).map(|_| draw()).collect();
            let deficit = rank::deficit(&before, &after, |x, b| x > b);
            let p = rank::p_value(n, m, deficit);
            for (count, level) in small.iter_mut().zip([0.02, 0.1, 0.5]) {
                *count += u32::from(p <= level);
            }
        }
        for (count, level) in small.iter().zip([0.02_f64, 0.1, 0.5]) {
            let expected = level * f64::from(draws);
            // Five standard deviations of a count.
            prop_assert!(f64::from(*count) <= expected + 5.0 * expected.sqrt(), "{count} of {draws} at {level}");
        }
    }
}

fn series(looks: i32, confirmations: i32) -> Series {
    let metric = |name: &str| json!({"name": name, "expression": name, "better": "Lower", "minChangePercent": 1});
    serde_json::from_value(json!({
        "name": "nightly", "looksPerYear": looks,
        "regression": {"metrics": [metric("a"), metric("b"), metric("c"), metric("d")], "confirmRuns": confirmations},
    }))
    .unwrap()
}

fn run(number: i64, values: &[f64]) -> RunRecord {
    let start = Timestamp::from_second(1_800_000_000 + number * 86_400).unwrap();
    let names = ["a", "b", "c", "d"].map(str::to_owned);
    RunRecord {
        schema_version: RUN_RECORD_SCHEMA.to_owned(),
        experiment: Identity {
            namespace: "lab".into(),
            name: format!("run-{number}"),
            uid: format!("{number}").into(),
        },
        series: Some("nightly".to_owned()),
        confirms: None,
        started_at: start,
        end: Some(EndReason::Completed),
        class: ResultClass::Relative,
        decision: None,
        objectives_met: None,
        design: "d".to_owned(),
        facts: BTreeMap::from([("version of postgres".to_owned(), "18.4".to_owned())]),
        machine: BTreeMap::from([("fsync p50 in µs".to_owned(), 100.0)]),
        regression: None,
        values: names.into_iter().zip(values.iter().copied()).collect(),
        verdict: None,
        results: String::new(),
    }
}

/// A history that goes on run by run, with the confirmations that it asks for.
struct Nights<F> {
    series: Series,
    records: Vec<RunRecord>,
    number: i64,
    draw: F,
    alarms: u32,
    alarmed: bool,
}

impl<F: FnMut() -> [f64; 4]> Nights<F> {
    fn new(series: Series, draw: F) -> Self {
        Self {
            series,
            records: Vec::new(),
            number: 0,
            draw,
            alarms: 0,
            alarmed: false,
        }
    }

    fn add(&mut self, mut record: RunRecord) -> RegressionStatus {
        let verdict = judge(&self.series, &self.records, &record).unwrap();
        record.verdict = Some(verdict.clone());
        self.records.push(record);
        verdict
    }

    /// One night, and what it leads to.
    fn night(&mut self) -> RegressionStatus {
        self.number += 1;
        let trigger = run(self.number, &(self.draw)());
        let mut verdict = self.add(trigger.clone());
        for number in 1..=self.series.regression.as_ref().unwrap().confirm_runs {
            if verdict.state != RegressionState::Suspect {
                break;
            }
            let mut record = run(self.number, &(self.draw)());
            record.experiment.name = format!("run-{}-c{number}", self.number);
            record.experiment.uid = record.experiment.name.clone().into();
            record.started_at += SignedDuration::from_secs(i64::from(number));
            record.confirms = Some(trigger.experiment.name.clone());
            verdict = self.add(record);
        }
        let regressed = verdict.state == RegressionState::Regressed;
        self.alarms += u32::from(regressed && !self.alarmed);
        self.alarmed = regressed;
        verdict
    }

    /// Forgets what lies so far back that nothing looks at it.
    fn forget(&mut self) {
        if self.records.len() > 120 && !self.alarmed {
            self.records.drain(..60);
        }
    }
}

fn uniform(rng: &mut SplitMix64) -> f64 {
    (rng.below(1 << 53) as f64 + 0.5) / (1_u64 << 53) as f64
}

fn normal(rng: &mut SplitMix64) -> f64 {
    (-2.0 * uniform(rng).ln()).sqrt() * (std::f64::consts::TAU * uniform(rng)).cos()
}

/// A figure around 100 of which runs differ by a few per cent, in three ways.
fn noise(kind: usize, rng: &mut SplitMix64) -> f64 {
    match kind {
        0 => 100.0 + 3.0 * normal(rng),
        // A server falls into one of two modes for its whole life.
        1 => normal(rng) + if rng.below(4) == 0 { 130.0 } else { 100.0 },
        // Of infinite variance.
        _ => 100.0 * uniform(rng).powf(-1.0 / 1.5),
    }
}

#[test]
fn in_ten_thousand_years_there_are_no_more_false_alarms_than_promised() {
    for kind in 0..3 {
        let (looks, years) = (52, 3_334);
        let mut rng = SplitMix64::new(20_261_129 + kind as u64);
        let mut nights = Nights::new(series(looks, 3), || {
            std::array::from_fn(|_| noise(kind, &mut rng))
        });
        for _ in 0..years * looks {
            nights.night();
            nights.forget();
        }
        let alarms = nights.alarms;
        assert!(
            alarms <= u32::try_from(years).unwrap(),
            "noise {kind}: {alarms} in {years} years"
        );
        assert!(
            alarms > 0,
            "noise {kind}: so many years without one are too many to be believed"
        );
    }
}

#[test]
fn a_step_of_four_deviations_is_found_at_the_first_look() {
    let mut found = 0;
    for seed in 0..200 {
        let mut rng = SplitMix64::new(seed);
        let step = std::cell::Cell::new(0.0);
        let mut nights = Nights::new(series(365, 3), || {
            let mut values: [f64; 4] = std::array::from_fn(|_| 100.0 + 3.0 * normal(&mut rng));
            values[0] += step.get();
            values
        });
        for _ in 0..20 {
            nights.night();
        }
        nights.records.retain(|record| record.confirms.is_none());
        nights
            .records
            .iter_mut()
            .for_each(|record| record.verdict = None);
        step.set(4.0 * 3.0);
        let verdict = nights.night();
        found += u32::from(
            verdict.state == RegressionState::Regressed && verdict.metric.as_deref() == Some("a"),
        );
    }
    assert!(found >= 180, "{found} of 200");
}

/// A quiet history in which `a` follows a list, and the rest stays as it is.
fn story(list: Vec<f64>) -> Vec<RegressionStatus> {
    let mut numbers = list.into_iter().enumerate();
    let length = numbers.len();
    let mut nights = Nights::new(series(365, 3), move || {
        let (at, value) = numbers.next().unwrap_or((0, f64::NAN));
        // Not in step with the nights, so that no run follows the one before it.
        let wobble = ((at * 7) % 11) as f64 / 10.0;
        [value + wobble, 10.0 + wobble, 10.0 + wobble, 10.0 + wobble]
    });
    let mut told = Vec::new();
    while nights.records.len() < length {
        told.push(nights.night());
    }
    told
}

#[test]
fn a_regression_is_told_once_confirmed_named_and_recovers() {
    let mut list = vec![100.0; 15];
    list.extend([150.0; 8]);
    list.extend([100.0; 6]);
    let told = story(list);
    let states: Vec<RegressionState> = told.iter().map(|status| status.state).collect();
    assert!(
        states[..12]
            .iter()
            .all(|state| *state == RegressionState::Baselining),
        "{states:?}"
    );
    assert_eq!(told[3].message, "3 of 12 comparable runs");
    assert_eq!(states[12..15], [RegressionState::NoRegression; 3]);
    let alarm = &told[15];
    assert_eq!(
        (alarm.state, alarm.metric.as_deref()),
        (RegressionState::Regressed, Some("a"))
    );
    assert_eq!(alarm.first_run.as_deref(), Some("run-16"));
    assert!(
        alarm.message.starts_with("a went from 100 to 15"),
        "{}",
        alarm.message
    );
    assert!(alarm.p.unwrap() <= alarm.alpha.unwrap());
    // It stays so, and is not told again; the last runs are as before.
    assert!(
        told[16].message.contains("told already"),
        "{}",
        told[16].message
    );
    assert_eq!(told.last().unwrap().state, RegressionState::NoRegression);
    assert_eq!(
        states
            .iter()
            .filter(|state| **state == RegressionState::Recovered)
            .count(),
        1,
        "{states:?}"
    );
}

#[test]
fn what_is_a_little_worse_than_all_before_has_recovered() {
    let mut list = vec![100.0; 15];
    list.extend([150.0; 4]);
    // Below 1 % of the median, and above all of the baseline.
    list.extend([100.3; 4]);
    let told = story(list);
    let states: Vec<RegressionState> = told.iter().map(|status| status.state).collect();
    assert_eq!(states[15], RegressionState::Regressed);
    assert!(states.contains(&RegressionState::Recovered), "{states:?}");
}

#[test]
fn what_confirmations_refute_stays_in_the_history() {
    let mut list = vec![100.0; 14];
    list.extend([150.0, 100.0, 100.0, 100.0]);
    list.extend([100.0; 3]);
    let told = story(list);
    let refuted = &told[14];
    assert_eq!(refuted.state, RegressionState::NoRegression);
    assert!(refuted.message.contains("do not"), "{}", refuted.message);
    assert_eq!(
        told.last().unwrap().baseline_runs,
        17,
        "the run that was suspected is in it, its confirmations are not"
    );
}

#[test]
fn what_differs_is_named_and_another_machine_is_no_regression() {
    let spec = series(365, 0);
    let mut spec = spec;
    spec.regression.as_mut().unwrap().false_alarms_per_year = 52;
    let known: Vec<RunRecord> = (0..20)
        .map(|number| run(number, &[100.0 + ((number * 7) % 11) as f64 / 10.0; 4]))
        .collect();
    let mut worse = run(20, &[150.0; 4]);
    worse
        .facts
        .insert("version of postgres".to_owned(), "18.5".to_owned());
    worse.facts.insert(
        "autovacuum_naptime of postgres".to_owned(),
        "60s".to_owned(),
    );
    // Without confirmations one run of twenty-one is too little at this level.
    let verdict = judge(&spec, &known, &worse).unwrap();
    assert_eq!(verdict.state, RegressionState::Baselining);
    assert!(
        verdict.message.contains("no alarm is possible"),
        "{}",
        verdict.message
    );

    let mut told = Nights::new(series(365, 3), || [150.0; 4]);
    told.records = known.clone();
    told.number = 19;
    let mut trigger = worse.clone();
    trigger.verdict = judge(&told.series, &known, &trigger);
    assert_eq!(
        trigger.verdict.as_ref().unwrap().state,
        RegressionState::Suspect
    );
    told.records.push(trigger);
    for number in 1..=3 {
        let mut record = run(20, &[150.0; 4]);
        record.experiment.name = format!("run-20-c{number}");
        record.experiment.uid = record.experiment.name.clone().into();
        record.started_at += SignedDuration::from_secs(number);
        record.confirms = Some("run-20".to_owned());
        let verdict = told.add(record);
        if number == 3 {
            assert_eq!(verdict.state, RegressionState::Regressed);
            assert_eq!(
                verdict.differs,
                [
                    "autovacuum_naptime of postgres: none and 60s",
                    "version of postgres: 18.4 and 18.5"
                ]
            );
        } else {
            assert_eq!(verdict.state, RegressionState::Suspect);
        }
    }

    let mut elsewhere = run(20, &[150.0; 4]);
    elsewhere
        .machine
        .insert("fsync p50 in µs".to_owned(), 130.0);
    let verdict = judge(&series(365, 3), &known, &elsewhere).unwrap();
    assert_eq!(verdict.state, RegressionState::NotComparable);
    assert!(verdict.message.contains("fsync"), "{}", verdict.message);
}

/// Runs in which nothing happened.
fn quiet(count: i64) -> Vec<RunRecord> {
    let wobble = |number: i64| ((number * 7) % 11) as f64 / 10.0;
    (0..count)
        .map(|number| run(number, &[100.0 + wobble(number); 4]))
        .collect()
}

/// The same run on a node whose disk is three times as slow.
fn on_a_slow_disk(mut record: RunRecord) -> RunRecord {
    let fsync = "fsync p50 in µs".to_owned();
    record.machine.insert(fsync, 300.0);
    record
}

#[test]
fn a_run_on_another_machine_is_no_part_of_the_baseline() {
    let mut nights = Nights::new(series(365, 3), || [f64::NAN; 4]);
    nights.records = quiet(20);
    let elsewhere = nights.add(on_a_slow_disk(run(20, &[150.0; 4])));
    assert_eq!(elsewhere.state, RegressionState::NotComparable);
    let said = &elsewhere.message;
    assert!(said.contains("regression.since"), "{said}");
    // Back on the old node: what was slow elsewhere hides nothing.
    let verdict = nights.add(run(21, &[140.0; 4]));
    assert_eq!(verdict.state, RegressionState::Suspect);
    assert_eq!(verdict.baseline_runs, 20);
    // Nor does it make the other machine a known one.
    let again = on_a_slow_disk(run(22, &[100.0; 4]));
    let accepted = again.started_at;
    assert_eq!(nights.add(again).state, RegressionState::NotComparable);

    // Who moves for good says from when on, and the runs there are the baseline.
    let regression = nights.series.regression.as_mut().unwrap();
    regression.since = Some(accepted);
    let verdict = nights.add(on_a_slow_disk(run(23, &[100.0; 4])));
    assert_eq!(
        (verdict.state, verdict.baseline_runs),
        (RegressionState::Baselining, 1)
    );
}

/// A confirmation of run 20 that is as bad as that.
fn confirmation(number: i64) -> RunRecord {
    let mut record = run(20, &[150.0; 4]);
    record.experiment.name = format!("run-20-c{number}");
    record.experiment.uid = record.experiment.name.clone().into();
    record.started_at += SignedDuration::from_secs(number);
    record.confirms = Some("run-20".to_owned());
    record
}

#[test]
fn what_is_slow_elsewhere_confirms_nothing() {
    // All of them on the slow node, and the second alone.
    for slow in [[true; 3], [false, true, false]] {
        let mut nights = Nights::new(series(365, 3), || [f64::NAN; 4]);
        nights.records = quiet(20);
        let suspected = nights.add(run(20, &[150.0; 4]));
        assert_eq!(suspected.state, RegressionState::Suspect);
        let told: Vec<RegressionStatus> = (1..)
            .zip(slow)
            .map(|(number, slow)| {
                let record = confirmation(number);
                nights.add(if slow { on_a_slow_disk(record) } else { record })
            })
            .collect();
        assert_eq!(told[2].state, RegressionState::NotComparable, "{slow:?}");
        let said = &told[2].message;
        assert!(said.contains("the machine of run-20-c"), "{said}");
        if !slow[0] {
            assert_eq!(told[0].state, RegressionState::Suspect);
        }
    }
}

#[test]
fn what_is_quick_elsewhere_has_not_recovered() {
    let mut nights = Nights::new(series(365, 3), || [150.0; 4]);
    nights.records = quiet(20);
    nights.number = 19;
    assert_eq!(nights.night().state, RegressionState::Regressed);
    for number in 21..=26 {
        let verdict = nights.add(on_a_slow_disk(run(number, &[100.0; 4])));
        assert_eq!(verdict.state, RegressionState::NotComparable);
    }
    // As many as were needed for the alarm, on the machine that it was about.
    for number in 27..=29 {
        let verdict = nights.add(run(number, &[100.0; 4]));
        assert_eq!(verdict.state, RegressionState::Regressed);
    }
    let verdict = nights.add(run(30, &[100.0; 4]));
    assert_eq!(verdict.state, RegressionState::Recovered);
}

#[test]
fn a_figure_that_the_runs_before_do_not_have_says_nothing() {
    let spec = series(365, 3);
    let said =
        |known: &[RunRecord], values: [f64; 4]| judge(&spec, known, &run(20, &values)).unwrap();
    let needed = usize::try_from(said(&quiet(20), [100.0; 4]).needed_runs).unwrap();
    // Watched since yesterday: as many of the runs before have it as are given.
    let new = |having: usize| {
        let mut known = quiet(20);
        for record in known.iter_mut().rev().skip(having) {
            record.values.remove("d");
        }
        known
    };
    for having in [0, 1, needed - 1] {
        for d in [100.0, 900.0] {
            let verdict = said(&new(having), [100.0, 100.0, 100.0, d]);
            assert_eq!(verdict.state, RegressionState::Baselining, "{having} {d}");
            let message = format!("{having} of {needed} comparable runs have d");
            assert_eq!(verdict.message, message);
        }
        // What the others say is said all the same.
        let verdict = said(&new(having), [150.0, 100.0, 100.0, 100.0]);
        assert_eq!(verdict.state, RegressionState::Suspect, "{having}");
    }
    let verdict = said(&new(needed), [100.0, 100.0, 100.0, 900.0]);
    assert_eq!(verdict.state, RegressionState::Suspect);
}

#[test]
fn an_alarm_ends_with_the_figure_that_it_is_about() {
    let mut nights = Nights::new(series(365, 3), || [150.0, 100.0, 100.0, 100.0]);
    nights.records = quiet(20);
    nights.number = 19;
    assert_eq!(nights.night().state, RegressionState::Regressed);
    // Another expression by the same name.
    nights.series.regression.as_mut().unwrap().metrics[0].expression = "a2".to_owned();
    let night = |number: i64| {
        let mut record = run(number, &[100.0; 4]);
        record.values.insert("a2".to_owned(), 1.0);
        record
    };
    let verdict = nights.add(night(21));
    assert_eq!(verdict.state, RegressionState::Recovered);
    assert!(
        verdict.message.contains("is not what was worse"),
        "{}",
        verdict.message
    );
    let verdict = nights.add(night(22));
    assert_eq!(
        verdict.state,
        RegressionState::Baselining,
        "{}",
        verdict.message
    );
}

#[test]
fn no_change_is_said_to_be_seen_that_would_not_matter() {
    let mut spec = series(365, 3);
    let metric = &mut spec.regression.as_mut().unwrap().metrics[0];
    metric.min_change_percent = Some(10);
    let verdict = judge(&spec, &quiet(20), &run(20, &[100.0; 4])).unwrap();
    assert_eq!(verdict.state, RegressionState::NoRegression);
    assert_eq!(verdict.would_see_percent, Some(10.0));
}

#[test]
fn designs_failures_missing_figures_and_drifts_are_told_apart() {
    let spec = series(365, 3);
    let known: Vec<RunRecord> = (0..20)
        .map(|number| run(number, &[100.0 + ((number * 7) % 11) as f64 / 10.0; 4]))
        .collect();
    let state = |run: &RunRecord, known: &[RunRecord]| judge(&spec, known, run).unwrap().state;
    let mut other = run(20, &[150.0; 4]);
    other.design = "another".to_owned();
    assert_eq!(
        state(&other, &known),
        RegressionState::Baselining,
        "a new design begins anew"
    );
    let mut failed = run(20, &[150.0; 4]);
    failed.end = Some(EndReason::BackendLost);
    assert_eq!(state(&failed, &known), RegressionState::NotComparable);
    let mut partial = run(20, &[100.0; 4]);
    partial.values.remove("b");
    assert_eq!(state(&partial, &known), RegressionState::NotComparable);
    let drifting: Vec<RunRecord> = (0..20)
        .map(|number| run(number, &[100.0 + number as f64; 4]))
        .collect();
    assert_eq!(
        state(&run(20, &[150.0; 4]), &drifting),
        RegressionState::Autocorrelated
    );
    let mut unknown = run(20, &[150.0; 4]);
    unknown.confirms = Some("run-99".to_owned());
    assert_eq!(state(&unknown, &known), RegressionState::NotComparable);

    // What is accepted in Git is the level from there on.
    let mut accepted = spec.clone();
    accepted.regression.as_mut().unwrap().since = Some(known[15].started_at);
    let verdict = judge(&accepted, &known, &run(20, &[150.0; 4])).unwrap();
    assert_eq!(
        (verdict.state, verdict.baseline_runs),
        (RegressionState::Baselining, 5)
    );
    let mut nothing = spec.clone();
    nothing.regression = None;
    assert_eq!(judge(&nothing, &known, &run(20, &[150.0; 4])), None);
}
