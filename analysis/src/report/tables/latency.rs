//! Percentiles and rates.

use std::collections::BTreeSet;

use bakeoff_crds::capacity::CapacityLimit;

use super::super::datum::Datum;
use super::super::model::Table;
use super::{drop_empty, factors, short};
use crate::format;
use crate::kinds;
use crate::measured::{OperationSummary, WorkloadSummary};
use crate::summary::Summary;

/// One table for each workload with its main operations, and a folded one with all others.
pub(in super::super) fn percentiles(summary: &Summary) -> Vec<Table> {
    let mut tables = Vec::new();
    for (index, workload) in summary.measured.workloads.iter().enumerate() {
        let kind = kinds::of(workload.kind);
        if kind.has_rates_of_its_own {
            continue;
        }
        let present = |name: &str| {
            workload
                .cells
                .iter()
                .flat_map(|cell| &cell.backends)
                .any(|on| on.operations.contains_key(name))
        };
        let main = kind
            .tabled
            .filter(|name| present(name))
            .unwrap_or(kind.main);
        tables.extend(latencies(
            index,
            workload,
            &if workload.name == main {
                main.to_owned()
            } else {
                format!("{}: {main}", workload.name)
            },
            |name| name == main,
        ));
        tables.extend(
            latencies(
                index,
                workload,
                &format!("{}: other operations", workload.name),
                |name| name != main,
            )
            .map(Table::folded),
        );
    }
    tables
}

/// The highest rate that each backend sustained.
pub(in super::super) fn capacities(summary: &Summary) -> Option<Table> {
    let mut table = Table::new(
        "Highest sustained rate",
        &[
            ("Workload", false),
            ("Backend", false),
            ("Operations a second", true),
            ("What ended the search", false),
            ("Steps", true),
        ],
    );
    for (index, found) in summary.measured.capacities.iter().enumerate() {
        let place = |name: &str| format!("/capacities/{index}/{name}");
        let ended = match found.limit {
            CapacityLimit::Objective => "a higher rate broke the objective",
            CapacityLimit::MaxRate => "maxRatePerSecond: it sustains at least this",
            CapacityLimit::Generator => {
                "the generator could offer no more: it sustains at least this"
            }
            CapacityLimit::NoRate => "no rate met the objective",
        };
        table.rows.push(vec![
            format!("{} {}", found.workload, short(&found.levels)).into(),
            found.backend.as_str().into(),
            Datum::figure(
                format::three(found.sustained_per_second),
                place("sustainedPerSecond"),
            ),
            ended.into(),
            Datum::figure(found.steps.to_string(), place("steps")),
        ]);
    }
    (!table.rows.is_empty()).then_some(table)
}

/// A percentile in milliseconds; with a sign where it is only a lower bound.
fn percentile(operation: &OperationSummary, quantile: f64, micros: i64, place: &str) -> Datum {
    if !operation.is_answered() {
        return Datum::none();
    }
    let sign = if operation.response.knows(quantile) {
        ""
    } else {
        "≥ "
    };
    Datum::figure(format!("{sign}{}", format::millis(micros)), place)
}

fn latencies(
    w: usize,
    workload: &WorkloadSummary,
    caption: &str,
    wanted: impl Fn(&str) -> bool,
) -> Option<Table> {
    let factors = factors(workload);
    let mut columns = vec![
        (factors.as_str(), false),
        ("Operation", false),
        ("Backend", false),
        ("p50 ms", true),
        ("p90", true),
        ("p99", true),
        ("p99.9", true),
        ("max", true),
        ("Done /s", true),
        ("Operations", true),
        ("No answer", true),
        ("Errors", false),
    ];
    if workload.open_load {
        columns.insert(8, ("Offered /s", true));
        columns.push(("Not started", true));
    }
    columns.push(("Unfinished", true));
    let mut table = Table::new(&format!("{caption}, response in milliseconds"), &columns);
    for (c, cell) in workload.cells.iter().enumerate() {
        for (b, on) in cell.backends.iter().enumerate() {
            let place = format!("/workloads/{w}/cells/{c}/backends/{b}");
            for (name, operation) in on.operations.iter().filter(|(name, _)| wanted(name)) {
                let response = &operation.response;
                let classes: Vec<String> = operation
                    .failures
                    .iter()
                    .filter(|(_, count)| **count > 0)
                    .map(|(class, count)| format!("{class} {count}"))
                    .collect();
                let own = format!("{place}/operations/{name}");
                let at = |figure: &str| format!("{own}/response/{figure}");
                let mut row = vec![
                    short(&cell.levels).into(),
                    name.into(),
                    on.backend.as_str().into(),
                    percentile(operation, 0.5, response.p50, &at("p50")),
                    percentile(operation, 0.9, response.p90, &at("p90")),
                    percentile(operation, 0.99, response.p99, &at("p99")),
                    response.p999.map_or_else(Datum::none, |p999| {
                        percentile(operation, 0.999, p999, &at("p999"))
                    }),
                    percentile(operation, 1.0, response.max, &at("max")),
                    Datum::figure(
                        format::three(operation.per_second),
                        format!("{own}/perSecond"),
                    ),
                    Datum::figure(format::whole(operation.count), format!("{own}/count")),
                    if response.missing > 0.0 {
                        Datum::figure(
                            format!("{} %", format::three(response.missing * 100.0)),
                            at("missing"),
                        )
                    } else {
                        Datum::none()
                    },
                    if classes.is_empty() {
                        Datum::none()
                    } else {
                        classes.join(", ").into()
                    },
                ];
                let load = format!("{place}/load");
                let lost = |count: i64, name: &str| match count {
                    0 => Datum::none(),
                    some => Datum::figure(format::whole(some), format!("{load}/{name}")),
                };
                if workload.open_load {
                    let offered = format::three(on.load.offered_per_second);
                    row.insert(
                        8,
                        Datum::figure(offered, format!("{load}/offeredPerSecond")),
                    );
                    row.push(lost(on.load.not_started, "notStarted"));
                }
                row.push(lost(on.load.unfinished, "unfinished"));
                table.rows.push(row);
            }
        }
    }
    let operations: BTreeSet<&str> = table
        .rows
        .iter()
        .filter_map(|row| row.get(1).map(|datum| datum.text.as_str()))
        .collect();
    if operations.len() == 1 {
        // The caption names it already.
        table.columns.remove(1);
        table.rows.iter_mut().for_each(|row| drop(row.remove(1)));
    }
    drop_empty(&mut table);
    (!table.rows.is_empty()).then_some(table)
}
