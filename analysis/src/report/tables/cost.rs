//! What each backend costs to run, beside what it promises: what a team weighs once the figures have decided.

use bakeoff_crds::conformance::Answer;

use super::super::datum::Datum;
use super::super::model::Table;
use super::{dash, drop_empty};
use crate::format;
use crate::measured::BackendSummary;
use crate::summary::Summary;

const NOT_STATED: &str = "not stated";

/// What each costs, in figures and in words: two tables, as a page is no wider. None where there is nothing to choose between.
pub(in super::super) fn costs(summary: &Summary) -> Vec<Table> {
    if summary.decision.is_none() || summary.measured.backends.len() < 2 {
        return Vec::new();
    }
    vec![figures(summary), terms(summary)]
}

fn figures(summary: &Summary) -> Table {
    let workloads: Vec<&str> = summary
        .measured
        .workloads
        .iter()
        .map(|workload| workload.name.as_str())
        .collect();
    let cpu: Vec<String> = workloads
        .iter()
        .map(|name| format!("CPU, {name}"))
        .collect();
    let mut columns = vec![("Backend", false), ("Pods", true), ("Memory", true)];
    columns.extend(cpu.iter().map(|name| (name.as_str(), true)));
    columns.push(("Image size", true));
    let mut table = Table::new("Pods, memory, CPU time for each operation", &columns);
    for (index, backend) in summary.measured.backends.iter().enumerate() {
        let at = |name: &str| format!("/backends/{index}/{name}");
        let mut row: Vec<Datum> = vec![
            backend.name.as_str().into(),
            dash(
                backend.pod_count.map(|pods| pods.to_string()),
                &at("podCount"),
            ),
            dash(
                backend.resident_bytes.map(format::bytes),
                &at("residentBytes"),
            ),
        ];
        row.extend(workloads.iter().map(|name| {
            let each = backend.cpu_micros_per_operation_of.get(*name).copied();
            let place = at(&format!("cpuMicrosPerOperationOf/{name}"));
            dash(each.map(format::duration), &place)
        }));
        row.push(dash(
            backend.image_bytes.map(format::bytes),
            &at("imageBytes"),
        ));
        table.rows.push(row);
    }
    drop_empty(&mut table);
    table
}

fn terms(summary: &Summary) -> Table {
    let columns = [
        ("Backend", false),
        ("Durability", false),
        ("S3 checks kept", false),
        ("Licence", false),
        ("Maintained by", false),
    ];
    let mut table = Table::new("Promises, licence, maintenance", &columns).described();
    for backend in &summary.measured.backends {
        let class = backend.durability.class;
        table.rows.push(vec![
            backend.name.as_str().into(),
            class.map_or(NOT_STATED, |class| class.as_str()).into(),
            kept(summary, backend),
            or_not_stated(&backend.upkeep.licence),
            or_not_stated(&backend.upkeep.maintained()),
        ]);
    }
    drop_empty(&mut table);
    table
}

fn or_not_stated(text: &str) -> Datum {
    if text.is_empty() { NOT_STATED } else { text }.into()
}

/// Of how many checks it was seen to do as S3 does; a dash where it was not asked.
fn kept(summary: &Summary, backend: &BackendSummary) -> Datum {
    let Some(found) = summary.measured.conformance_of(&backend.name) else {
        return Datum::none();
    };
    let kept = found.checks.iter();
    let kept = kept.filter(|one| one.answer == Answer::Kept).count();
    format!("{kept} of {}", found.checks.len()).into()
}
