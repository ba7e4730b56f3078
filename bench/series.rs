//! Histories with and without a change, and what the rule of `spec.series` says of each night: for `bench/beside_otava.py`, which asks
//! another tool about the same figures. Prints one line of JSON for each history.

use bakeoff_analysis::series::judge;
use bakeoff_crds::history::{RegressionState, RunRecord};
use bakeoff_crds::rng::SplitMix64;
use bakeoff_crds::spec::Series;
use serde_json::json;

const METRICS: [&str; 4] = ["a", "b", "c", "d"];
/// Nights before a step, and after it.
const BEFORE: usize = 20;
const AFTER: usize = 10;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|text| text != "--bench");
    let mut number = |default: u64| {
        arguments
            .next()
            .and_then(|text| text.parse().ok())
            .unwrap_or(default)
    };
    let (years, steps) = (number(10), number(100));
    for (kind, name) in ["normal", "two modes", "heavy tails"].iter().enumerate() {
        for year in 0..years {
            history(&format!("{name}, no change"), kind, year, 365, None);
        }
    }
    for seed in 0..steps {
        history(
            "normal, a step of four deviations",
            0,
            1_000 + seed,
            BEFORE + AFTER,
            Some(BEFORE),
        );
    }
}

/// Lives through a history, with the confirmations that it asks for, and prints it.
fn history(name: &str, kind: usize, seed: u64, nights: usize, step: Option<usize>) {
    let mut rng = SplitMix64::new(20_261_129 ^ (seed << 8) ^ kind as u64);
    let series = series();
    let (mut records, mut values, mut alarms) = (Vec::<RunRecord>::new(), Vec::new(), Vec::new());
    let (mut was, mut more) = (false, 0);
    for night in 0..nights {
        let mut draw = || {
            let mut drawn: [f64; 4] = std::array::from_fn(|_| noise(kind, &mut rng));
            if step.is_some_and(|step| night >= step) {
                drawn[0] += 12.0;
            }
            drawn
        };
        let first = draw();
        values.push(first);
        let mut state = add(&series, &mut records, run(night, 0, first));
        for number in 1..=3 {
            if state != RegressionState::Suspect {
                break;
            }
            more += 1;
            state = add(&series, &mut records, run(night, number, draw()));
        }
        let is = state == RegressionState::Regressed;
        if is && !was {
            alarms.push(night);
        }
        was = is;
    }
    println!(
        "{}",
        json!({"name": name, "step": step, "values": values, "alarms": alarms, "confirmations": more})
    );
}

fn add(series: &Series, records: &mut Vec<RunRecord>, mut record: RunRecord) -> RegressionState {
    record.verdict = judge(series, records, &record);
    let state = record.verdict.as_ref().map(|verdict| verdict.state);
    records.push(record);
    state.unwrap_or(RegressionState::Baselining)
}

fn series() -> Series {
    let metric = |name: &&str| json!({"name": name, "expression": name, "better": "Lower", "minChangePercent": 1});
    let metrics: Vec<_> = METRICS.iter().map(metric).collect();
    let series = json!({"name": "nightly", "looksPerYear": 365, "regression": {"metrics": metrics, "confirmRuns": 3}});
    read(series)
}

/// Something of the crate, as JSON has it.
fn read<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> T {
    serde_json::from_value(value).unwrap_or_else(|error| {
        eprintln!("it is not as the crate has it: {error}");
        std::process::exit(1)
    })
}

fn run(night: usize, confirmation: i64, values: [f64; 4]) -> RunRecord {
    let start = 1_800_000_000 + i64::try_from(night).unwrap_or_default() * 86_400 + confirmation;
    let name = format!("run-{night}");
    let own = if confirmation > 0 {
        format!("{name}-c{confirmation}")
    } else {
        name.clone()
    };
    let values: std::collections::BTreeMap<_, _> = METRICS.into_iter().zip(values).collect();
    let record = json!({
        "schemaVersion": "catalogue.bakeoff.dev/v1", "experiment": {"namespace": "lab", "name": own, "uid": own},
        "series": "nightly", "confirms": (confirmation > 0).then_some(name),
        "startedAt": jiff::Timestamp::from_second(start).unwrap_or_default(),
        "end": "Completed", "class": "Relative", "design": "d", "results": "", "facts": {}, "values": values,
    });
    read(record)
}

fn uniform(rng: &mut SplitMix64) -> f64 {
    (rng.below(1 << 53) as f64 + 0.5) / (1_u64 << 53) as f64
}

fn normal(rng: &mut SplitMix64) -> f64 {
    (-2.0 * uniform(rng).ln()).sqrt() * (std::f64::consts::TAU * uniform(rng)).cos()
}

/// A figure around 100 of which runs differ by a few per cent: normal, in two modes, and with tails of infinite variance.
fn noise(kind: usize, rng: &mut SplitMix64) -> f64 {
    match kind {
        0 => 100.0 + 3.0 * normal(rng),
        1 => normal(rng) + if rng.below(4) == 0 { 130.0 } else { 100.0 },
        _ => 100.0 * uniform(rng).powf(-1.0 / 1.5),
    }
}
