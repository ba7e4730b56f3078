//! Every figure on the page is followed back: from the text to the place in `summary.json` that it
//! names, and from there to the raw records, by arithmetic that shares nothing with the code under test
//! but the decoding of a histogram.

// The lints allow this in unit tests; an integration test is a crate of its own to them.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;

use bakeoff_analysis::measured::{CapacitySummary, RunData};
use bakeoff_analysis::merge;
use bakeoff_analysis::report::{ReportInput, report_html};
use bakeoff_analysis::summary::{Summary, summarise};
use bakeoff_crds::capacity::CapacityLimit;
use bakeoff_crds::result::{FailureRecord, TrialRecord};
use bakeoff_crds::run::Manifest;
use serde_json::Value;

/// A figure of the page: the text of its element, and the places of its numbers.
struct Printed {
    text: String,
    from: Vec<String>,
}

/// The figures of a page, and the numeric cells that name no place.
fn printed(html: &str) -> (Vec<Printed>, Vec<String>) {
    let mut figures = Vec::new();
    let mut homeless = Vec::new();
    for element in html.split('<').skip(1) {
        let Some((tag, text)) = element.split_once('>') else {
            continue;
        };
        let text = text
            .replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&amp;", "&");
        match tag.split_once("data-from=\"") {
            Some((_, rest)) => figures.push(Printed {
                text,
                from: rest
                    .split_once('"')
                    .unwrap()
                    .0
                    .split(' ')
                    .map(str::to_owned)
                    .collect(),
            }),
            None if tag == "td class=\"num\"" => homeless.push(text),
            None => {}
        }
    }
    (figures, homeless)
}

/// A number of a text: its value, the unit behind it, and the size of its last digit.
#[derive(Debug)]
struct Number {
    value: f64,
    unit: String,
    step: f64,
    /// "< 0.001": only an upper bound is printed.
    below: bool,
}

fn numbers(text: &str) -> Vec<Number> {
    let characters: Vec<char> = text.chars().collect();
    let mut found = Vec::new();
    let mut at = 0;
    while at < characters.len() {
        if !characters[at].is_ascii_digit() {
            at += 1;
            continue;
        }
        let begin = at;
        let mut digits = String::new();
        while at < characters.len()
            && (characters[at].is_ascii_digit() || matches!(characters[at], '.' | '\u{202f}'))
        {
            if characters[at] != '\u{202f}' {
                digits.push(characters[at]);
            }
            at += 1;
        }
        let before: String = characters[..begin].iter().collect();
        let negative = before.ends_with('−') || before.ends_with('-');
        let unit: String = characters[at..]
            .iter()
            .skip_while(|c| **c == ' ')
            .take_while(|c| c.is_alphabetic() || matches!(**c, '%' | '×'))
            .collect();
        let decimals = digits.split_once('.').map_or(0, |(_, part)| part.len());
        let value: f64 = digits.parse().unwrap();
        found.push(Number {
            value: if negative { -value } else { value },
            unit,
            step: 0.1_f64.powi(i32::try_from(decimals).unwrap()),
            below: before.ends_with("< "),
        });
    }
    found
}

/// What one printed unit is in the unit of the summary.
fn scale(pointer: &str, unit: &str) -> f64 {
    let leaf = pointer.rsplit('/').next().unwrap();
    let bytes = ["B", "KiB", "MiB", "GiB"].iter().position(|u| *u == unit);
    match (leaf, unit) {
        ("missing", "%") => 0.01,
        _ if pointer.contains("/response/") => 1_000.0,
        _ if pointer.contains("/drift/") => 0.01,
        _ if leaf.ends_with("PerMille") => 10.0,
        _ if leaf.to_lowercase().contains("micros") || pointer.contains("cpuMicros") => {
            match unit {
                "s" => 1e6,
                "ms" => 1e3,
                _ => 1.0,
            }
        }
        _ if leaf.ends_with("Bytes") => 1_024.0_f64.powi(bytes.map_or(0, |n| n as i32)),
        _ => 1.0,
    }
}

/// What does not agree between the page and the summary.
fn disagreements(html: &str, summary: &Value) -> Vec<String> {
    let (figures, homeless) = printed(html);
    let mut wrong: Vec<String> = homeless
        .into_iter()
        .filter(|text| {
            !matches!(
                text.as_str(),
                "–" | "not measured" | "closed load" | "not checked"
            )
        })
        .map(|text| format!("{text:?} names no place in the summary"))
        .collect();
    for figure in figures {
        let numbers = numbers(&figure.text);
        if numbers.len() != figure.from.len() {
            wrong.push(format!(
                "{:?} has not one place for each number",
                figure.text
            ));
            continue;
        }
        for (number, pointer) in numbers.iter().zip(&figure.from) {
            let at = |pointer: &str| summary.pointer(pointer).and_then(Value::as_f64);
            let value = match pointer.split_once("-/") {
                Some((a, b)) => at(a).zip(at(&format!("/{b}"))).map(|(a, b)| a - b),
                None => at(pointer),
            };
            let Some(value) = value else {
                wrong.push(format!("{pointer} is no number of the summary"));
                continue;
            };
            if number.below {
                if value >= number.value {
                    wrong.push(format!("{:?} but {pointer} is {value}", figure.text));
                }
                continue;
            }
            let scale = scale(pointer, &number.unit);
            // Half of the last digit that is printed; whole numbers may be rounded to three digits.
            let three = 0.5 * 10.0_f64.powf(number.value.abs().max(1e-9).log10().floor() - 2.0);
            let exact = summary.pointer(pointer).is_some_and(Value::is_i64) && scale == 1.0;
            let slack = if exact {
                0.0
            } else {
                (0.5 * number.step).max(if number.step == 1.0 { three } else { 0.0 }) * scale
            };
            if (number.value * scale - value).abs() > slack * 1.000_1 {
                wrong.push(format!("{:?} but {pointer} is {value}", figure.text));
            }
        }
    }
    wrong
}

/// The records of a run, seen without any code of the crate but the decoding of histograms.
struct Raw<'a> {
    manifest: &'a Manifest,
    records: &'a [TrialRecord],
    summary: &'a Summary,
}

impl Raw<'_> {
    /// The first valid attempt at each trial.
    fn valid(&self) -> Vec<&TrialRecord> {
        let mut first: BTreeMap<i32, &TrialRecord> = BTreeMap::new();
        for record in self.records.iter().filter(|r| r.verdict.is_valid()) {
            let kept = first.entry(record.trial.index).or_insert(record);
            if record.attempt < kept.attempt {
                *kept = record;
            }
        }
        first.into_values().collect()
    }

    fn cell(&self, workload: usize, cell: usize, backend: &str) -> Vec<&TrialRecord> {
        let name = &self.manifest.plan.spec.workloads[workload].name;
        self.valid()
            .into_iter()
            .filter(|r| {
                &r.trial.workload == name
                    && r.trial.cell_index == i32::try_from(cell).unwrap()
                    && r.trial.backend == backend
            })
            .collect()
    }

    fn backend(&self, index: usize) -> &str {
        &self.manifest.plan.spec.backends[index].name
    }

    /// The share of planned operations without an answer.
    fn missing(record: &TrialRecord, operation: &str) -> f64 {
        let part = &record.operations[operation];
        let failed: i64 = part.failures.values().map(|f| f.count).sum();
        let own = failed as f64 / (part.count + failed).max(1) as f64;
        let load = &record.load;
        let trial =
            (load.failed + load.unfinished + load.not_started) as f64 / load.planned.max(1) as f64;
        own.max(trial)
    }

    /// The percentile over the planned operations of several trials: the completed ones in ascending
    /// order, the others behind them.
    fn percentile(records: &[&TrialRecord], operation: &str, quantile: f64) -> (f64, f64) {
        let mut values: BTreeMap<u64, u64> = BTreeMap::new();
        let mut planned = 0.0;
        for record in records {
            let part = &record.operations[operation];
            for value in merge::decode(&part.response).unwrap().iter_recorded() {
                *values.entry(value.value_iterated_to()).or_default() +=
                    value.count_since_last_iteration();
            }
            planned += part.count as f64 / (1.0 - Self::missing(record, operation));
        }
        let count: u64 = values.values().sum();
        let missing = 1.0 - count as f64 / planned;
        let of = if missing <= 1.0 - quantile + 1e-9 {
            planned
        } else {
            count as f64
        };
        let rank = (quantile * of - 1e-6).ceil().clamp(1.0, count as f64) as u64;
        let mut seen = 0;
        for (value, count) in &values {
            seen += count;
            if seen >= rank {
                return (*value as f64, missing);
            }
        }
        (0.0, missing)
    }

    /// Log-ratios by block of one figure, for one cell or averaged over several.
    fn log_ratios(
        &self,
        workload: usize,
        cells: &[usize],
        operation: &str,
        metric: &str,
        (subject, base): (&str, &str),
    ) -> Vec<f64> {
        let figure = |record: &TrialRecord| match metric {
            "perSecond" => {
                record.operations[operation].count as f64 / (record.window.micros as f64 / 1e6)
            }
            "p50" => Self::percentile(&[record], operation, 0.5).0,
            _ => Self::percentile(&[record], operation, 0.99).0,
        };
        let blocks = self.manifest.plan.spec.trials.blocks;
        (0..blocks)
            .filter_map(|block| {
                let mut sum = 0.0;
                for cell in cells {
                    let of = |backend: &str| {
                        self.cell(workload, *cell, backend)
                            .into_iter()
                            .find(|r| r.trial.block == block)
                            .map(figure)
                    };
                    sum += (of(subject)? / of(base)?).ln();
                }
                Some(sum / cells.len() as f64)
            })
            .collect()
    }

    /// The value at a place of the summary, made of the records; `None` where this test has no
    /// arithmetic of its own for it.
    fn recompute(&self, pointer: &str) -> Option<f64> {
        let parts: Vec<&str> = pointer.split('/').skip(1).collect();
        let n = |text: &str| text.parse::<usize>().unwrap();
        match parts.as_slice() {
            ["trials", "planned"] => {
                Some(bakeoff_crds::schedule::trials(&self.manifest.plan.spec).len() as f64)
            }
            ["trials", "invalid"] => Some(
                self.records
                    .iter()
                    .filter(|r| !r.verdict.is_valid())
                    .count() as f64,
            ),
            [
                "workloads",
                w,
                "cells",
                c,
                "backends",
                b,
                "operations",
                operation,
                rest @ ..,
            ] => {
                let records = self.cell(n(w), n(c), self.backend(n(b)));
                let count: i64 = records.iter().map(|r| r.operations[*operation].count).sum();
                let seconds: f64 = records.iter().map(|r| r.window.micros as f64 / 1e6).sum();
                let at = |quantile| Some(Self::percentile(&records, operation, quantile));
                match rest {
                    ["count"] => Some(count as f64),
                    ["perSecond"] => Some(count as f64 / seconds),
                    ["response", "p50"] => Some(at(0.5)?.0),
                    ["response", "p90"] => Some(at(0.9)?.0),
                    ["response", "p99"] => Some(at(0.99)?.0),
                    // Of a bound is known that it is not below a lower percentile.
                    ["response", "p999"] => Some(at(0.999)?.0.max(at(0.99)?.0)),
                    ["response", "max"] => Some(at(1.0)?.0),
                    ["response", "missing"] => Some(at(0.5)?.1),
                    _ => None,
                }
            }
            ["workloads", w, "cells", c, "comparisons", index, figure] => {
                let comparison =
                    &self.summary.measured.workloads[n(w)].cells[n(c)].comparisons[n(index)];
                let metric = serde_json::to_value(comparison.metric).unwrap();
                let ratios = self.log_ratios(
                    n(w),
                    &[n(c)],
                    &comparison.operation,
                    metric.as_str().unwrap(),
                    (&comparison.subject, &comparison.base),
                );
                match *figure {
                    "ratio" => Some((ratios.iter().sum::<f64>() / ratios.len() as f64).exp()),
                    "blocks" => Some(ratios.len() as f64),
                    "pValue" => Some(all_signs(&ratios)),
                    _ => None,
                }
            }
            ["workloads", w, "checks", index, figure] => {
                let check = &self.summary.measured.workloads[n(w)].checks[n(index)];
                let sum =
                    |records: Vec<&TrialRecord>,
                     of: fn(&bakeoff_crds::result::CheckRecord) -> i64| {
                        records
                            .iter()
                            .filter(|r| {
                                r.trial.backend == check.backend
                                    && r.trial.workload
                                        == self.summary.measured.workloads[n(w)].name
                            })
                            .flat_map(|r| &r.checks)
                            .filter(|c| c.name == check.name)
                            .map(of)
                            .sum::<i64>() as f64
                    };
                match *figure {
                    "checked" => Some(sum(self.valid(), |c| c.checked)),
                    "violations" => Some(sum(self.records.iter().collect(), |c| c.violations)),
                    _ => None,
                }
            }
            ["generators", index, figure] => {
                let mine: Vec<_> = self
                    .valid()
                    .into_iter()
                    .filter(|r| r.trial.backend == self.backend(n(index)))
                    .collect();
                let most =
                    |of: &dyn Fn(&TrialRecord, &bakeoff_crds::result::GeneratorUsage) -> f64| {
                        mine.iter()
                            .flat_map(|r| r.generators.iter().map(|g| of(r, g)))
                            .fold(0.0, f64::max)
                    };
                match *figure {
                    "trials" => Some(mine.len() as f64),
                    "cpuCores" => Some(most(&|r, g| g.cpu_micros as f64 / r.window.micros as f64)),
                    "residentBytes" => Some(most(&|_, g| g.resident_bytes as f64)),
                    "startSkewMicros" => Some(most(&|_, g| g.start_skew_micros as f64)),
                    _ => None,
                }
            }
            ["backends", index, figure] => {
                let own = self
                    .valid()
                    .into_iter()
                    .filter(|r| r.trial.backend == self.backend(n(index)));
                let cpu: i64 = own
                    .clone()
                    .filter_map(|r| r.backend.as_ref())
                    .map(|usage| usage.cpu_micros)
                    .sum();
                let done: i64 = own.clone().map(|r| r.load.completed).sum();
                match *figure {
                    "cpuMicros" => Some(cpu as f64),
                    "cpuMicrosPerOperation" => Some(cpu as f64 / done as f64),
                    "residentBytes" => own
                        .filter_map(|r| r.backend.as_ref())
                        .map(|usage| usage.resident_bytes as f64)
                        .reduce(f64::max),
                    _ => None,
                }
            }
            ["backends", index, "cpuMicrosPerOperationOf", workload] => {
                let backend = self.backend(n(index));
                let own = self.valid().into_iter();
                let own =
                    own.filter(|r| r.trial.backend == backend && r.trial.workload == *workload);
                let cpu: i64 = own
                    .clone()
                    .filter_map(|r| r.backend.as_ref())
                    .map(|usage| usage.cpu_micros)
                    .sum();
                let done: i64 = own.map(|r| r.load.completed).sum();
                Some(cpu as f64 / done as f64)
            }
            ["decision", "inputs", index, "value"] => {
                let input = &self.summary.decision.as_ref()?.inputs[n(index)];
                let pair = ("seaweedfs", "minio");
                let all = |w: usize| {
                    (0..self.summary.measured.workloads[w].cells.len()).collect::<Vec<_>>()
                };
                let ratios = match input.name.as_str() {
                    "PUT throughput" => self.log_ratios(0, &all(0), "put", "perSecond", pair),
                    "PUT p99" => self.log_ratios(0, &all(0), "put", "p99", pair),
                    "LIST latency (p50) at all object counts" => {
                        self.log_ratios(1, &all(1), "list", "p50", pair)
                    }
                    _ => return None,
                };
                Some((ratios.iter().sum::<f64>() / ratios.len() as f64).exp())
            }
            _ => None,
        }
    }
}

/// The two-sided p-value of the sign-flip test by counting in binary.
fn all_signs(values: &[f64]) -> f64 {
    let observed = values.iter().sum::<f64>().abs() * (1.0 - 1e-9);
    let extreme = (0..1_u32 << values.len())
        .filter(|signs| {
            let sum: f64 = values
                .iter()
                .enumerate()
                .map(|(bit, value)| {
                    if signs >> bit & 1 == 1 {
                        -value
                    } else {
                        *value
                    }
                })
                .sum();
            sum.abs() >= observed
        })
        .count();
    extreme as f64 / f64::from(1_u32 << values.len())
}

fn page(summary: &Summary, manifest: &Manifest) -> String {
    report_html(&ReportInput {
        summary,
        manifest,
        files: &[],
        history: None,
        altered: &[],
    })
}

/// The sample with operations that failed, so that percentiles have something to leave out.
fn sample() -> (Manifest, Vec<TrialRecord>) {
    let (manifest, mut records) = common::phase1_c();
    for (index, record) in records.iter_mut().enumerate() {
        if record.trial.workload != "put" {
            continue;
        }
        let share = [0.0, 0.002, 0.006, 0.03][index % 4];
        let lost = (record.load.completed as f64 * share) as i64;
        record.load.failed += lost;
        record.load.planned += lost;
        let failure = FailureRecord {
            count: lost,
            response: common::histogram([900]),
            example: "503".to_owned(),
        };
        let put = record.operations.get_mut("put").unwrap();
        put.failures.insert("throttled".to_owned(), failure);
    }
    (manifest, records)
}

#[test]
fn every_figure_on_the_page_comes_from_the_raw_data() {
    let (manifest, records) = sample();
    let summary = summarise(&RunData::new(&manifest, &records)).unwrap();
    let html = page(&summary, &manifest);
    let value = serde_json::to_value(&summary).unwrap();
    let wrong = disagreements(&html, &value);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    let raw = Raw {
        manifest: &manifest,
        records: &records,
        summary: &summary,
    };
    let (figures, _) = printed(&html);
    let pointers: std::collections::BTreeSet<String> =
        figures.into_iter().flat_map(|figure| figure.from).collect();
    let mut followed = 0;
    let mut wrong = Vec::new();
    for pointer in &pointers {
        let Some(expected) = raw.recompute(pointer) else {
            continue;
        };
        followed += 1;
        let stated = value.pointer(pointer).unwrap().as_f64().unwrap();
        // The summary keeps six digits; a histogram keeps three.
        let slack = if pointer.contains("/response/p") || pointer.contains("/response/max") {
            2e-3
        } else {
            2e-5
        };
        if (stated - expected).abs() > slack * expected.abs().max(1e-9) {
            wrong.push(format!("{pointer}: {stated} stated, {expected} recomputed"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(
        followed * 10 > pointers.len() * 6,
        "only {followed} of {} places are recomputed",
        pointers.len()
    );
}

#[test]
fn what_each_backend_sustained_is_on_the_page_with_what_ended_its_search() {
    let (manifest, records) = sample();
    let mut summary = summarise(&RunData::new(&manifest, &records)).unwrap();
    for (backend, rate, limit) in [
        ("minio", 255.0, CapacityLimit::Objective),
        ("seaweedfs", 5_000.0, CapacityLimit::MaxRate),
        ("broken", 0.0, CapacityLimit::NoRate),
    ] {
        summary.measured.capacities.push(CapacitySummary {
            workload: "put".to_owned(),
            levels: BTreeMap::from([("objectSize".to_owned(), "4Ki".to_owned())]),
            backend: backend.to_owned(),
            sustained_per_second: rate,
            limit,
            steps: 9,
        });
    }
    let html = page(&summary, &manifest);
    let wrong = disagreements(&html, &serde_json::to_value(&summary).unwrap());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for words in [
        "put 4Ki",
        "a higher rate broke the objective",
        "it sustains at least this",
        "no rate met the objective",
    ] {
        assert!(html.contains(words), "{words}");
    }
}

#[test]
fn a_figure_that_was_changed_is_found() {
    let (manifest, records) = sample();
    let data = RunData::new(&manifest, &records);
    let summary = summarise(&data).unwrap();
    let value = serde_json::to_value(&summary).unwrap();
    // The page shows another median than the summary has.
    let mut changed = summary.clone();
    let operation = changed.measured.workloads[0].cells[0].backends[0]
        .operations
        .get_mut("put")
        .unwrap();
    operation.response.p50 += operation.response.p50 / 20;
    assert!(!disagreements(&page(&changed, &manifest), &value).is_empty());
    // A number without a place.
    let html = page(&summary, &manifest)
        .replace("</main>", "<table><td class=\"num\">42</td></table></main>");
    let found = disagreements(&html, &value);
    assert_eq!(found.len(), 1, "{found:?}");
    // The summary states another rate than the records give.
    let raw = Raw {
        manifest: &manifest,
        records: &records,
        summary: &summary,
    };
    let place = "/workloads/0/cells/0/backends/0/operations/put/perSecond";
    let stated = value.pointer(place).unwrap().as_f64().unwrap();
    let recomputed = raw.recompute(place).unwrap();
    assert!((stated - recomputed).abs() < 1e-4 * stated);
    assert!((stated * 1.01 - recomputed).abs() > 1e-4 * stated);
}
