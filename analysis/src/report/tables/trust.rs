//! Correctness, and how far the figures can be trusted.

use std::collections::BTreeSet;

use super::super::datum::Datum;
use super::super::model::Table;
use super::{dash, drop_empty, short};
use crate::format;
use crate::kinds;
use crate::measured::CheckSummary;
use crate::summary::Summary;
use crate::vocabulary;

pub(super) fn check(check: &CheckSummary, place: &str) -> Datum {
    let mark = if check.violations + check.violations_unsettled > 0 {
        "✗ "
    } else {
        ""
    };
    let mut datum = Datum::figures(
        format!(
            "{mark}{} of {}",
            format::whole(check.violations),
            format::whole(check.checked)
        ),
        vec![format!("{place}/violations"), format!("{place}/checked")],
    );
    for (count, name, words) in [
        (
            check.violations_excluded,
            "violationsExcluded",
            "in excluded attempts",
        ),
        (
            check.violations_unsettled,
            "violationsUnsettled",
            "more while the backend was lost",
        ),
        (check.uncertain, "uncertain", "undecided"),
    ] {
        if count > 0 {
            datum
                .text
                .push_str(&format!(", {} {words}", format::whole(count)));
            datum.from.push(format!("{place}/{name}"));
        }
    }
    datum
}

pub(in super::super) fn checks(summary: &Summary) -> Option<Table> {
    let backends: Vec<&str> = summary
        .measured
        .backends
        .iter()
        .map(|backend| backend.name.as_str())
        .collect();
    let mut columns = vec![("Workload", false), ("Check", false)];
    columns.extend(backends.iter().map(|name| (*name, true)));
    let mut table = Table::new(
        "Checks: violations of facts checked; facts of the valid trials, violations of all attempts",
        &columns,
    );
    for (w, workload) in summary.measured.workloads.iter().enumerate() {
        // Those have tables of their own.
        if kinds::of(workload.kind).checks_by_cell {
            continue;
        }
        let names: BTreeSet<&str> = workload
            .checks
            .iter()
            .map(|check| check.name.as_str())
            .collect();
        for name in names {
            let mut row: Vec<Datum> = vec![
                workload.name.as_str().into(),
                format!("{name}: {}", vocabulary::describe_check(name)).into(),
            ];
            for backend in &backends {
                let found = workload
                    .checks
                    .iter()
                    .position(|check| check.name == name && check.backend == *backend);
                let datum = found
                    .and_then(|index| {
                        let place = format!("/workloads/{w}/checks/{index}");
                        Some(self::check(workload.checks.get(index)?, &place))
                    })
                    .unwrap_or_else(|| "not checked".into());
                row.push(datum);
            }
            table.rows.push(row);
        }
    }
    (!table.rows.is_empty()).then_some(table)
}

pub(in super::super) fn generators(summary: &Summary) -> Table {
    let mut table = Table::new(
        "The load generator, worst of the valid trials",
        &[
            ("Against", false),
            ("Trials", true),
            ("Started of planned", true),
            ("Send lag p50", true),
            ("Send lag p99", true),
            ("Its own lag p99", true),
            ("Waited for a connection", true),
            ("Pacer late p99", true),
            ("CPU, cores", true),
            ("Throttled", true),
            ("Start skew", true),
            ("Memory", true),
        ],
    );
    let lag = |micros: Option<i64>| micros.map(|micros| format::duration(micros as f64));
    for (index, generator) in summary.measured.generators.iter().enumerate() {
        let at = |name: &str| format!("/generators/{index}/{name}");
        table.rows.push(vec![
            generator.backend.as_str().into(),
            Datum::figure(generator.trials.to_string(), at("trials")),
            generator.started_per_mille.map_or_else(
                || "closed load".into(),
                |share| Datum::figure(format!("{:.1} %", share / 10.0), at("startedPerMille")),
            ),
            dash(lag(generator.send_lag_p50_micros), &at("sendLagP50Micros")),
            dash(lag(generator.send_lag_p99_micros), &at("sendLagP99Micros")),
            dash(
                lag(generator.generator_lag_p99_micros),
                &at("generatorLagP99Micros"),
            ),
            dash(generator.queued.map(format::whole), &at("queued")),
            dash(
                lag(generator.pacer_lateness_p99_micros),
                &at("pacerLatenessP99Micros"),
            ),
            Datum::figure(format!("{:.2}", generator.cpu_cores), at("cpuCores")),
            Datum::figure(
                format!("{:.1} %", generator.throttled_per_mille / 10.0),
                at("throttledPerMille"),
            ),
            Datum::figure(
                format::duration(generator.start_skew_micros as f64),
                at("startSkewMicros"),
            ),
            Datum::figure(format::bytes(generator.resident_bytes), at("residentBytes")),
        ]);
    }
    drop_empty(&mut table);
    table
}

/// Cells whose rate drifted over the window by more than a tenth, shown with an interval off zero.
pub(in super::super) fn drift(summary: &Summary) -> Option<Table> {
    let mut table = Table::new(
        "Not steady: cells whose rate drifted by a tenth or more over the window",
        &[
            ("Cell", false),
            ("Backend", false),
            ("Change over the window (Theil-Sen)", true),
            ("95 % interval", true),
        ],
    );
    for (w, workload) in summary.measured.workloads.iter().enumerate() {
        if kinds::of(workload.kind).ends_with_its_work {
            continue;
        }
        for (c, cell) in workload.cells.iter().enumerate() {
            for (b, on) in cell.backends.iter().enumerate() {
                let Some(drift) = on
                    .drift
                    .filter(|d| d.share.abs() >= 0.1 && (d.low > 0.0 || d.high < 0.0))
                else {
                    continue;
                };
                let place = format!("/workloads/{w}/cells/{c}/backends/{b}/drift");
                let percent = |share: f64| format!("{:+.0} %", share * 100.0);
                table.rows.push(vec![
                    format!("{} {}", workload.name, short(&cell.levels)).into(),
                    on.backend.as_str().into(),
                    Datum::figure(percent(drift.share), format!("{place}/share")),
                    super::interval(&place, Some(drift.low), Some(drift.high), percent),
                ]);
            }
        }
    }
    (!table.rows.is_empty()).then_some(table)
}

pub(in super::super) fn excluded(summary: &Summary) -> Option<Table> {
    let mut table = Table::new(
        "Attempts whose latencies and rates count for nothing",
        &[
            ("Trial", false),
            ("Attempt", true),
            ("Reason", false),
            ("Detail", false),
            ("Made good", false),
        ],
    );
    for (index, excluded) in summary.measured.excluded.iter().enumerate() {
        let mut details = excluded.details.join("; ");
        if excluded.violations > 0 {
            details.push_str(&format!(
                "; showed {} correctness violations",
                excluded.violations
            ));
        }
        let good = if excluded.made_good {
            "by a later attempt"
        } else {
            "no: the block lacks it"
        };
        table.rows.push(vec![
            excluded.describe.as_str().into(),
            Datum::figure(
                excluded.attempt.to_string(),
                format!("/excluded/{index}/attempt"),
            ),
            excluded.codes.join(", ").into(),
            details.into(),
            good.into(),
        ]);
    }
    (!table.rows.is_empty()).then_some(table)
}

/// Valid trials that speak against their backend.
pub(in super::super) fn flagged(summary: &Summary) -> Option<Table> {
    let mut table = Table::new(
        "Trials in which a backend failed or was overloaded: they count, and are not repeated",
        &[("Trial", false), ("Finding", false), ("Detail", false)],
    );
    for flagged in &summary.measured.flagged {
        table.rows.push(vec![
            flagged.describe.as_str().into(),
            flagged.codes.join(", ").into(),
            flagged.details.join("; ").into(),
        ]);
    }
    if table.rows.len() > 8 {
        table = table.folded();
    }
    (!table.rows.is_empty()).then_some(table)
}
