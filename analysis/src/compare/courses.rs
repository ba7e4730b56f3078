//! Two soaks side by side: each is one course, so figures of the whole are set beside each other and nothing is tested.

use bakeoff_crds::figure::Figure;
use serde::{Deserialize, Serialize};

use crate::format;
use crate::measured::{CellBackend, Censored, Measured, OperationSummary, Percentiles};

use super::common_cells;

/// A figure of two courses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CourseRow {
    /// The workload.
    pub workload: String,
    /// The cell.
    pub cell: String,
    /// The backend.
    pub backend: String,
    /// How many segments of the base count.
    pub base_segments: i32,
    /// How many of the subject.
    pub subject_segments: i32,
    /// The figure, and both values of it.
    #[serde(flatten)]
    pub pair: Pair,
}

/// One figure of both courses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pair {
    /// The figure: `transition p99 µs`, `growthPercent`.
    pub figure: String,
    /// The base's, over its whole course; absent where nothing was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<f64>,
    /// The subject's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<f64>,
    /// Whose latency is only a lower bound, because too many of its operations have no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub censored: Option<Censored>,
}

/// When a table was loaded and how old it is say how two runs were begun, and nothing of what they measured.
const OF_THE_CLOCK: [Figure; 2] = [Figure::TableLoadedAtSeconds, Figure::TableAgeHours];

/// The figures that both courses have: latencies and rates of each operation over the whole course, and the figures of the table
/// as means over the segments, its growth and what is left of it late in the course among them.
pub(super) fn rows(base: &Measured, subject: &Measured) -> Vec<CourseRow> {
    let mut rows = Vec::new();
    for (workload, old, new) in common_cells(base, subject, true) {
        for after in &new.backends {
            let Some(before) = old.on(&after.backend) else {
                continue;
            };
            // A course of which no segment counts has no figure.
            if before.blocks == 0 || after.blocks == 0 {
                continue;
            }
            rows.extend(pairs(before, after).into_iter().map(|pair| CourseRow {
                workload: workload.to_owned(),
                cell: new.label.clone(),
                backend: after.backend.clone(),
                base_segments: before.blocks,
                subject_segments: after.blocks,
                pair,
            }));
        }
    }
    rows
}

fn pairs(before: &CellBackend, after: &CellBackend) -> Vec<Pair> {
    let mut found = Vec::new();
    for (operation, ours) in &after.operations {
        let Some(theirs) = before.operations.get(operation) else {
            continue;
        };
        found.extend([
            latency(
                format!("{operation} p50 µs"),
                0.5,
                |of| of.p50,
                theirs,
                ours,
            ),
            latency(
                format!("{operation} p99 µs"),
                0.99,
                |of| of.p99,
                theirs,
                ours,
            ),
            exact(
                format!("{operation} perSecond"),
                theirs.per_second,
                ours.per_second,
            ),
        ]);
    }
    let told = after
        .figures
        .iter()
        .filter(|(figure, _)| !OF_THE_CLOCK.contains(figure));
    for (figure, ours) in told {
        if let Some(theirs) = before.figures.get(figure) {
            found.push(exact(figure.to_string(), theirs.value, ours.value));
        }
    }
    found
}

fn exact(figure: String, base: f64, subject: f64) -> Pair {
    Pair {
        figure,
        base: Some(base),
        subject: Some(subject),
        censored: None,
    }
}

fn latency(
    figure: String,
    quantile: f64,
    of: fn(&Percentiles) -> i64,
    base: &OperationSummary,
    subject: &OperationSummary,
) -> Pair {
    let value = |side: &OperationSummary| side.is_answered().then(|| of(&side.response) as f64);
    let is_open = |side: &OperationSummary| !side.response.knows(quantile);
    Pair {
        figure,
        base: value(base),
        subject: value(subject),
        censored: Censored::when(is_open(subject), is_open(base)),
    }
}

impl Pair {
    /// What is printed of base, subject and the change between them.
    fn cells(&self) -> [String; 3] {
        let cell = |value: Option<f64>, is_bound: bool| {
            let sign = if is_bound { "≥ " } else { "" };
            value.map_or_else(
                || "no answer".to_owned(),
                |value| format!("{sign}{}", format::three(value)),
            )
        };
        let is = |side: Censored| {
            self.censored
                .is_some_and(|found| found == side || found == Censored::Both)
        };
        let change = match (self.base, self.subject) {
            (Some(base), Some(subject)) if base != 0.0 => {
                let sign = self.censored.map_or("", |found| found.sign(false));
                format!("{sign}{:+.1} %", (subject - base) / base.abs() * 100.0)
            }
            _ => "–".to_owned(),
        };
        [
            cell(self.base, is(Censored::Base)),
            cell(self.subject, is(Censored::Subject)),
            change,
        ]
    }
}

/// The table, with what it cannot say; empty without courses.
pub(super) fn markdown(rows: &[CourseRow]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut text = "\n## Soaks\n\nA soak is one course: its segments follow from each other and are no blocks that could be paired. Two \
        courses show no variance between runs, so nothing is tested here, and a difference may be chance. A series of runs \
        (spec.series) tells a regression from noise. Latencies and rates are those of all segments together, figures of the table \
        are means over the segments.\n\n\
        | Cell | Backend | Figure | Base | Subject | Change | Segments |\n| --- | --- | --- | ---: | ---: | ---: | ---: |\n"
        .to_owned();
    for row in rows {
        let [base, subject, change] = row.pair.cells();
        text.push_str(&format!(
            "| {} {} | {} | {} | {base} | {subject} | {change} | {} and {} |\n",
            row.workload,
            row.cell,
            row.backend,
            row.pair.figure,
            row.base_segments,
            row.subject_segments,
        ));
    }
    text
}
