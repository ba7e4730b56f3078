//! The tables of the report. Each figure carries the place in `summary.json` that it was made of.

mod conformance;
mod cost;
mod decision;
mod latency;
mod place;
mod race;
mod trust;

pub(super) use conformance::conformance;
pub(super) use cost::costs;
pub(super) use decision::{comparisons, inputs, objectives};
pub(super) use latency::{capacities, percentiles};
pub(super) use place::{durability, files, nodes, operation, pods};
pub(super) use race::races;
pub(super) use trust::{checks, drift, excluded, flagged, generators};

use bakeoff_crds::schedule::{Cell, factor};

use super::datum::Datum;
use super::model::Table;
use crate::measured::WorkloadSummary;
use crate::metric::Metric;

/// Factors that come first where levels are listed: what is done before how much of it at once.
const FIRST: [&str; 3] = [
    factor::OBJECT_SIZE,
    factor::OBJECTS_PER_RUN,
    factor::SNAPSHOTS_PER_OBJECT,
];

/// The factors of a cell in the order in which people read them.
pub(super) fn ordered(cell: &Cell) -> Vec<(&str, &str)> {
    let mut levels: Vec<(&str, &str)> = cell
        .iter()
        .map(|(name, level)| (name.as_str(), level.as_str()))
        .collect();
    levels.sort_by_key(|(name, _)| !FIRST.contains(name));
    levels
}

/// `4Ki · 8`
pub(super) fn short(cell: &Cell) -> String {
    let levels: Vec<&str> = ordered(cell).into_iter().map(|(_, level)| level).collect();
    if levels.is_empty() {
        "all".to_owned()
    } else {
        levels.join(" · ")
    }
}

/// `objectSize · concurrency`
pub(super) fn factors(workload: &WorkloadSummary) -> String {
    let names: Vec<&str> = workload
        .cells
        .first()
        .map(|cell| {
            ordered(&cell.levels)
                .into_iter()
                .map(|(name, _)| name)
                .collect()
        })
        .unwrap_or_default();
    if names.is_empty() {
        "cell".to_owned()
    } else {
        names.join(" · ")
    }
}

/// "1.31× – 1.55×", from `low` and `high` at a place of the summary.
fn interval(
    place: &str,
    low: Option<f64>,
    high: Option<f64>,
    show: impl Fn(f64) -> String,
) -> Datum {
    match (low, high) {
        (Some(low), Some(high)) => Datum::range(
            show(low),
            format!("{place}/low"),
            show(high),
            format!("{place}/high"),
        ),
        _ => Datum::none(),
    }
}

/// A figure that may be absent.
fn dash(value: Option<String>, place: &str) -> Datum {
    value.map_or_else(Datum::none, |text| Datum::figure(text, place))
}

/// Removes the columns in which no row says anything.
fn drop_empty(table: &mut Table) {
    for column in (0..table.columns.len()).rev() {
        if table
            .rows
            .iter()
            .all(|row| row.get(column).is_none_or(Datum::is_none))
        {
            table.columns.remove(column);
            for row in &mut table.rows {
                if column < row.len() {
                    row.remove(column);
                }
            }
        }
    }
}

/// Whether a ratio speaks for the subject, for the words at the ends of a forest.
pub(super) fn ends(metric: Metric, subject: &str, base: &str) -> (String, String) {
    if metric.more_is_better() {
        (format!("{base} better"), format!("{subject} better"))
    } else {
        (format!("{subject} better"), format!("{base} better"))
    }
}
