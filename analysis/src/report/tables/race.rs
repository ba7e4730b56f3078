//! What races found, by mode: the same checks are to find nothing in one and something in the others.

use bakeoff_crds::schedule::factor;
use bakeoff_crds::spec::GuardMode;

use super::super::datum::Datum;
use super::super::model::Table;
use super::trust;
use crate::format;
use crate::kinds;
use crate::summary::Summary;
use crate::vocabulary;

/// A table for each race: its modes on each backend against the checks, then what there was to race for.
pub(in super::super) fn races(summary: &Summary) -> Vec<Table> {
    let several = summary.measured.backends.len() > 1;
    let mut tables = Vec::new();
    for (w, workload) in summary.measured.workloads.iter().enumerate() {
        let kind = kinds::of(workload.kind);
        if !kind.checks_by_cell {
            continue;
        }
        let mut heads = Vec::new();
        let mut places = Vec::new();
        for (c, cell) in workload.cells.iter().enumerate() {
            let mode = cell.levels.get(factor::MODE).map_or("", String::as_str);
            let role = if mode == GuardMode::Guarded.as_str() {
                ""
            } else {
                " (control)"
            };
            for (b, on) in cell.backends.iter().enumerate() {
                let whose = if several {
                    format!("{}: ", on.backend)
                } else {
                    String::new()
                };
                heads.push(format!("{whose}{mode}{role}"));
                places.push((format!("/workloads/{w}/cells/{c}/backends/{b}"), on));
            }
        }
        let mut columns = vec![("Check", false)];
        columns.extend(heads.iter().map(|head| (head.as_str(), true)));
        let locks = workload.locks_in.as_deref().unwrap_or("a table");
        let mut table = Table::new(
            &format!(
                "{}: violations of facts checked, locks in {locks}; a control has no guard and has to be caught",
                workload.name
            ),
            &columns,
        );
        for name in kind.checks {
            let mut row: Vec<Datum> =
                vec![format!("{name}: {}", vocabulary::describe_check(name)).into()];
            row.extend(places.iter().map(|(place, on)| {
                let index = on.checks.iter().position(|check| check.name == *name);
                index
                    .and_then(|index| {
                        let check = on.checks.get(index)?;
                        Some(trust::check(check, &format!("{place}/checks/{index}")))
                    })
                    .unwrap_or_else(|| "not checked".into())
            }));
            table.rows.push(row);
        }
        for counter in kind.counters {
            let mut row: Vec<Datum> = vec![counter.as_str().into()];
            row.extend(places.iter().map(|(place, on)| {
                on.counters.get(counter).map_or_else(Datum::none, |count| {
                    Datum::figure(format::whole(*count), format!("{place}/counters/{counter}"))
                })
            }));
            table.rows.push(row);
        }
        tables.push(table);
    }
    tables
}
