//! A history of runs as a page: each watched figure over the runs, in the style of the report.

use bakeoff_crds::figure::Better;
use bakeoff_crds::history::{RegressionState, RegressionStatus, RunRecord};
use bakeoff_crds::spec::{Regression, RegressionMetric};

use super::datum::Datum;
use super::html;
use super::model::{Drawing, Report, Section, Table};
use super::svg::{Axis, Chart, Events, Lines, Scale, Series};
use crate::format;
use crate::series::held_against;

/// More runs than these are drawn as a line alone.
const MARKED: usize = 120;
/// How many changes of one kind are listed.
const LISTED: usize = 40;

/// What a run says of its history, as a section of its own report.
#[must_use]
pub fn section(verdict: Option<&RegressionStatus>) -> Section {
    let Some(verdict) = verdict else {
        return Section::default();
    };
    let mut list = vec![format!("{}: {}.", word(verdict.state), verdict.message)];
    if let Some(first) = &verdict.first_run {
        list.push(format!("Worse from {first} on."));
    }
    if !verdict.differs.is_empty() {
        let differs = verdict.differs.join("; ");
        list.push(format!("What differs from the last run before: {differs}."));
    }
    if let Some(percent) = verdict.would_see_percent {
        list.push(format!(
            "A change of {} % would probably have been seen: three standard deviations of the runs before, and no less than what matters.",
            format::three(percent)
        ));
    }
    Section {
        heading: "Against earlier runs".to_owned(),
        intro: vec![format!(
            "Held against {} comparable runs by an exact rank test; trend.html shows them all.",
            verdict.baseline_runs
        )],
        list,
        ..Section::default()
    }
}

fn word(state: RegressionState) -> &'static str {
    match state {
        RegressionState::Baselining => "Too early",
        RegressionState::NoRegression => "No regression",
        RegressionState::Suspect => "Suspected",
        RegressionState::Regressed => "Regressed",
        RegressionState::Recovered => "Recovered",
        RegressionState::NotComparable => "Not comparable",
        RegressionState::Autocorrelated => "Not independent",
    }
}

/// The page of a history. `records` are its runs in the order of their starts, confirmations among them.
#[must_use]
pub fn trend_html(name: &str, regression: &Regression, records: &[RunRecord]) -> String {
    html::render(&page(name, regression, records))
}

fn page(name: &str, regression: &Regression, records: &[RunRecord]) -> Report {
    let runs: Vec<&RunRecord> = records
        .iter()
        .filter(|record| record.confirms.is_none())
        .collect();
    let told = records
        .iter()
        .rev()
        .find_map(|record| record.verdict.as_ref());
    let sections = [
        courses(regression, &runs, records),
        changes(&runs),
        table(regression, records),
    ];
    let last = runs.last();
    let count = |state| {
        records
            .iter()
            .filter(|record| is(record, state))
            .count()
            .to_string()
    };
    let facts = vec![
        ("runs".to_owned(), runs.len().to_string().into()),
        (
            "confirmations".to_owned(),
            (records.len() - runs.len()).to_string().into(),
        ),
        (
            "suspected".to_owned(),
            count(RegressionState::Suspect).into(),
        ),
        (
            "verdict".to_owned(),
            told.map_or_else(Datum::none, |verdict| word(verdict.state).into()),
        ),
    ];
    Report {
        name: name.to_owned(),
        started_at: last.map_or_else(String::new, |record| record.started_at.to_string()),
        class: Some(last.map(|record| record.class).unwrap_or_default()),
        question: told.map_or_else(
            || format!("Has {name} got worse?"),
            |verdict| format!("Has {name} got worse? {}", word(verdict.state)),
        ),
        decision: None,
        facts,
        sections: sections
            .into_iter()
            .filter(|section| !section.heading.is_empty())
            .collect(),
        footer: format!("Bakeoff · {} runs of {name}", runs.len()),
    }
}

fn is(record: &RunRecord, state: RegressionState) -> bool {
    record
        .verdict
        .as_ref()
        .is_some_and(|verdict| verdict.state == state)
}

/// A chart for each figure: the runs, the band of the baseline, and what happened.
fn courses(regression: &Regression, runs: &[&RunRecord], records: &[RunRecord]) -> Section {
    let figures = regression
        .metrics
        .iter()
        .map(|metric| course(regression, metric, runs, records));
    Section {
        heading: "The course of each figure".to_owned(),
        intro: vec![
            "Each point is a run. Dashed: the lowest and the highest of the runs that the last one was held against. \
             S: suspected, R: regressed, O: recovered; V: versions or settings changed, M: kernel or nodes changed."
                .to_owned(),
        ],
        figures: figures.collect(),
        legend: vec![("runs".to_owned(), 0), ("baseline".to_owned(), 1)],
        ..Section::default()
    }
}

fn course(
    regression: &Regression,
    metric: &RegressionMetric,
    runs: &[&RunRecord],
    records: &[RunRecord],
) -> Drawing {
    let place = |at: usize| (at + 1) as f64;
    let points: Vec<(f64, f64)> = runs
        .iter()
        .enumerate()
        .filter_map(|(at, record)| Some((place(at), *record.values.get(&metric.expression)?)))
        .collect();
    let held = runs
        .last()
        .map(|last| held_against(regression, records, last));
    let held = held.unwrap_or_default();
    let band: Vec<f64> = held
        .iter()
        .filter_map(|record| record.values.get(&metric.expression).copied())
        .collect();
    let edge = |pick: fn(f64, f64) -> f64| band.iter().copied().reduce(pick);
    let first = held.first().and_then(|first| {
        let mut all = runs.iter();
        all.position(|run| run.experiment.uid == first.experiment.uid)
    });
    let mut series = vec![Series {
        name: metric.name.clone(),
        style: 0,
        points: points.clone(),
    }];
    if let (Some(first), Some(end)) = (first, points.last()) {
        for value in [edge(f64::min), edge(f64::max)].into_iter().flatten() {
            series.push(Series {
                name: "baseline".to_owned(),
                style: 1,
                points: vec![(place(first), value), (end.0, value)],
            });
        }
    }
    let better = match metric.better {
        Better::Less => "less is better",
        Better::More => "more is better",
    };
    let text = match (points.last(), edge(f64::min), edge(f64::max)) {
        (Some(now), Some(low), Some(high)) => format!(
            "{} was {} in the last run; the runs before it lie between {} and {}.",
            metric.name,
            format::three(now.1),
            format::three(low),
            format::three(high)
        ),
        _ => format!("{} over {} runs.", metric.name, points.len()),
    };
    Drawing {
        chart: Chart::Lines(Lines {
            title: format!("{} ({better})", metric.name),
            x: Axis {
                label: "run".to_owned(),
                scale: Scale::Fitted,
            },
            y: Axis {
                label: metric.expression.clone(),
                scale: Scale::Fitted,
            },
            markers: points.len() <= MARKED,
            series,
            events: events(runs, records),
        }),
        text,
    }
}

/// What happened at which run.
fn events(runs: &[&RunRecord], records: &[RunRecord]) -> Vec<Events> {
    let told = |state: RegressionState| -> Vec<f64> {
        let at = |name: &str| runs.iter().position(|run| run.experiment.name == name);
        let mut found: Vec<f64> = Vec::new();
        let mut stands = false;
        for record in records {
            // A regression is marked where it was told, and not at each run that it lasts.
            let now = is(record, state);
            if now && !(stands && state == RegressionState::Regressed) {
                let name = record.confirms.as_ref().unwrap_or(&record.experiment.name);
                found.extend(at(name).map(|at| (at + 1) as f64));
            }
            if record.verdict.is_some() {
                stands = now;
            }
        }
        found.dedup();
        found
    };
    let changed = |machine: bool| -> Vec<f64> {
        let differs = |pair: &[&RunRecord]| {
            differing(pair[0], pair[1])
                .iter()
                .any(|key| is_of_machine(key) == machine)
        };
        let pairs = runs.windows(2).enumerate();
        pairs
            .filter(|(_, pair)| differs(pair))
            .map(|(at, _)| at as f64 + 1.5)
            .collect()
    };
    let regressed = told(RegressionState::Regressed);
    let mut suspected = told(RegressionState::Suspect);
    // What was confirmed was suspected before.
    suspected.retain(|at| !regressed.contains(at));
    let all = [
        ('S', suspected),
        ('R', regressed),
        ('O', told(RegressionState::Recovered)),
        ('V', changed(false)),
        ('M', changed(true)),
    ];
    let happened = all.into_iter().filter(|(_, at)| !at.is_empty());
    happened.map(|(letter, at)| Events { letter, at }).collect()
}

fn is_of_machine(fact: &str) -> bool {
    matches!(
        fact,
        "the kernel" | "the nodes" | "the container runtime" | "Kubernetes"
    )
}

/// The facts in which two runs differ.
fn differing<'a>(before: &'a RunRecord, after: &'a RunRecord) -> Vec<&'a String> {
    let keys: std::collections::BTreeSet<&String> =
        before.facts.keys().chain(after.facts.keys()).collect();
    keys.into_iter()
        .filter(|key| before.facts.get(*key) != after.facts.get(*key))
        .collect()
}

/// What changed around the runs, the newest first.
fn changes(runs: &[&RunRecord]) -> Section {
    let mut list = Vec::new();
    for pair in runs.windows(2).rev() {
        let (before, after) = (pair[0], pair[1]);
        let of = |record: &RunRecord, key: &String| {
            record
                .facts
                .get(key)
                .cloned()
                .unwrap_or_else(|| "none".to_owned())
        };
        for key in differing(before, after) {
            list.push(format!(
                "{}: {key} from {} to {}.",
                after.experiment.name,
                of(before, key),
                of(after, key)
            ));
        }
    }
    list.truncate(LISTED);
    if list.is_empty() {
        return Section::default();
    }
    Section {
        heading: "What changed around the runs".to_owned(),
        list,
        ..Section::default()
    }
}

fn table(regression: &Regression, records: &[RunRecord]) -> Section {
    let mut columns = vec![("run", false), ("started", false)];
    columns.extend(
        regression
            .metrics
            .iter()
            .map(|metric| (metric.name.as_str(), true)),
    );
    columns.push(("verdict", false));
    let mut table = Table::new("Every run, the newest first", &columns);
    for record in records.iter().rev() {
        let name = match &record.confirms {
            Some(of) => format!("{} (confirms {of})", record.experiment.name),
            None => record.experiment.name.clone(),
        };
        let started = record.started_at.to_string();
        let mut row: Vec<Datum> = vec![
            name.into(),
            started
                .get(..16)
                .unwrap_or(&started)
                .replace('T', " ")
                .into(),
        ];
        for metric in &regression.metrics {
            let value = record.values.get(&metric.expression);
            row.push(value.map_or_else(Datum::none, |value| format::three(*value).into()));
        }
        row.push(
            record
                .verdict
                .as_ref()
                .map_or_else(Datum::none, |verdict| word(verdict.state).into()),
        );
        table.rows.push(row);
    }
    Section {
        heading: "Runs".to_owned(),
        tables: vec![table.folded()],
        ..Section::default()
    }
}

/// The history as CSV with a column for each figure: other programs that look for changes read it (Apache Otava among them).
/// Confirmations are left out, as they are no part of the history.
#[must_use]
pub fn csv(regression: &Regression, records: &[RunRecord]) -> String {
    let mut lines = vec!["time,run".to_owned()];
    for metric in &regression.metrics {
        lines[0].push(',');
        lines[0].push_str(&quoted(&metric.name));
    }
    for record in records.iter().filter(|record| record.confirms.is_none()) {
        let mut line = format!("{},{}", record.started_at, quoted(&record.experiment.name));
        for metric in &regression.metrics {
            line.push(',');
            if let Some(value) = record.values.get(&metric.expression) {
                line.push_str(&value.to_string());
            }
        }
        lines.push(line);
    }
    lines.join("\n") + "\n"
}

fn quoted(text: &str) -> String {
    if text.contains(['"', ',', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}
