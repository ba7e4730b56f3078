//! Ratios by cell.

use std::collections::BTreeMap;

use super::super::model::Drawing;
use super::super::svg::{Chart, Forest, ForestRow, Shown};
use super::super::tables;
use super::class;
use crate::format;
use crate::kinds;
use crate::measured::{Finding, WorkloadSummary};
use crate::metric::Metric;
use crate::summary::Summary;

/// The most backends of which every pair has its charts. Of more, those with the first backend do: ten pairs of five would be a
/// page of charts by themselves, and the tables have them all.
const MOST_IN_PAIRS: usize = 3;

/// Whether only pairs with the first backend have charts.
pub(in super::super) fn against_the_first(summary: &Summary) -> bool {
    summary.measured.backends.len() > MOST_IN_PAIRS
}

pub(in super::super) fn forests(summary: &Summary) -> Vec<Drawing> {
    let mut figures = Vec::new();
    for (w, workload) in summary.measured.workloads.iter().enumerate() {
        for (operation, metric) in (kinds::of(workload.kind).forests)(workload.open_load) {
            let mut pairs: BTreeMap<(usize, usize), Vec<ForestRow>> = BTreeMap::new();
            let position = |name: &str| {
                summary
                    .measured
                    .backends
                    .iter()
                    .position(|backend| backend.name == name)
            };
            for (c, cell) in workload.cells.iter().enumerate() {
                for (index, comparison) in cell.comparisons.iter().enumerate() {
                    if comparison.operation != *operation || comparison.metric != *metric {
                        continue;
                    }
                    let (Some(subject), Some(base)) =
                        (position(&comparison.subject), position(&comparison.base))
                    else {
                        continue;
                    };
                    if base != 0 && against_the_first(summary) {
                        continue;
                    }
                    pairs.entry((base, subject)).or_default().push(ForestRow {
                        label: tables::short(&cell.levels),
                        ratio: comparison.estimate.ratio,
                        interval: comparison.estimate.low.zip(comparison.estimate.high),
                        shown: match comparison.finding {
                            Finding::SubjectBetter | Finding::BaseBetter => Shown::Corrected,
                            _ if comparison.estimate.p_value <= summary.measured.level
                                && comparison.censored.is_none() =>
                            {
                                Shown::Alone
                            }
                            Finding::Equivalent | Finding::NotShown => Shown::Not,
                        },
                        sign: comparison
                            .censored
                            .map_or("", |c| c.sign(metric.more_is_better())),
                        from: format!("/workloads/{w}/cells/{c}/comparisons/{index}/ratio"),
                    });
                }
            }
            for ((base, subject), rows) in pairs {
                let (Some(base), Some(subject)) = (
                    summary.measured.backends.get(base),
                    summary.measured.backends.get(subject),
                ) else {
                    continue;
                };
                figures.push(forest(
                    summary,
                    workload,
                    operation,
                    *metric,
                    (&subject.name, &base.name),
                    rows,
                ));
            }
        }
    }
    figures
}

fn forest(
    summary: &Summary,
    workload: &WorkloadSummary,
    operation: &str,
    metric: Metric,
    (subject, base): (&str, &str),
    rows: Vec<ForestRow>,
) -> Drawing {
    let by_ratio = |a: &&ForestRow, b: &&ForestRow| a.ratio.total_cmp(&b.ratio);
    let printed = |row: &ForestRow| format!("{}{}", row.sign, format::ratio(row.ratio));
    let least = rows.iter().min_by(by_ratio).map(printed);
    let most = rows.iter().max_by(by_ratio).map(printed);
    let shown = rows
        .iter()
        .filter(|row| row.shown == Shown::Corrected)
        .count();
    let alone = rows.iter().filter(|row| row.shown == Shown::Alone).count();
    let text = format!(
        "{} {operation} {} of {subject} divided by {base}, by {}: from {} to {} over {} cells; a difference is shown in {shown} after Holm and in {alone} more by themselves.",
        class(summary),
        metric.as_str(),
        tables::factors(workload),
        least.unwrap_or_default(),
        most.unwrap_or_default(),
        rows.len()
    );
    // Only the small-object rule compares ratios with its margin; other rules bound latencies.
    let margin = summary
        .decision
        .as_ref()
        .filter(|decision| decision.rule == bakeoff_crds::spec::DecisionRule::SmallObjectBackend)
        .map_or(1.0, |decision| decision.margin);
    Drawing {
        chart: Chart::Forest(Forest {
            title: format!(
                "{} {}, {subject} / {base}",
                operation.to_uppercase(),
                metric.as_str()
            ),
            ends: tables::ends(metric, subject, base),
            rows,
            margin,
        }),
        text,
    }
}
