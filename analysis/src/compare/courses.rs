//! Two soaks side by side: each is one course, so figures of the whole are set beside each other and nothing is tested.

use serde::{Deserialize, Serialize};

use crate::format;
use crate::measured::{CellBackend, Measured};

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
    /// The figure: `transition p99`, `growthPercent`.
    pub figure: String,
    /// The base's, over its whole course.
    pub base: f64,
    /// The subject's.
    pub subject: f64,
}

/// The figures that both courses have: latencies and rates of each operation over the whole course, and the figures of the table
/// as the report prints them, its growth and what is left of it late in the course among them.
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
            rows.extend(
                figures(before, after)
                    .into_iter()
                    .map(|(figure, base, subject)| CourseRow {
                        workload: workload.to_owned(),
                        cell: new.label.clone(),
                        backend: after.backend.clone(),
                        figure,
                        base,
                        subject,
                    }),
            );
        }
    }
    rows
}

fn figures(before: &CellBackend, after: &CellBackend) -> Vec<(String, f64, f64)> {
    let mut found = Vec::new();
    for (operation, ours) in &after.operations {
        let Some(theirs) = before.operations.get(operation) else {
            continue;
        };
        let (a, b) = (&theirs.response, &ours.response);
        found.extend([
            (format!("{operation} p50 µs"), a.p50 as f64, b.p50 as f64),
            (format!("{operation} p99 µs"), a.p99 as f64, b.p99 as f64),
            (
                format!("{operation} perSecond"),
                theirs.per_second,
                ours.per_second,
            ),
        ]);
    }
    for (figure, ours) in &after.figures {
        if let Some(theirs) = before.figures.get(figure) {
            found.push((figure.to_string(), theirs.value, ours.value));
        }
    }
    found
}

/// The table, with what it cannot say; empty without courses.
pub(super) fn markdown(rows: &[CourseRow]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut text = "\n## Soaks\n\nA soak is one course: its segments follow from each other and are no blocks that could be paired. Two \
        courses show no variance between runs, so nothing is tested here, and a difference may be chance. A series of runs \
        (spec.series) tells a regression from noise.\n\n\
        | Cell | Backend | Figure | Base | Subject | Change |\n| --- | --- | --- | ---: | ---: | ---: |\n"
        .to_owned();
    for row in rows {
        let change = if row.base == 0.0 {
            "–".to_owned()
        } else {
            format!(
                "{:+.1} %",
                (row.subject - row.base) / row.base.abs() * 100.0
            )
        };
        text.push_str(&format!(
            "| {} {} | {} | {} | {} | {} | {change} |\n",
            row.workload,
            row.cell,
            row.backend,
            row.figure,
            format::three(row.base),
            format::three(row.subject),
        ));
    }
    text
}
