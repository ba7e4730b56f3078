//! Which charts a summary is drawn as.

mod forests;
mod state;

pub(super) use forests::{against_the_first, forests};
pub(super) use state::state;

use bakeoff_crds::spec::ResultClass;

use super::model::Drawing;
use super::svg::{Axis, Chart, Lines, Scale, Series};
use super::tables;
use crate::format;
use crate::kinds::{self, Over, Scaling, Typical};
use crate::measured::{CellBackend, CellSummary, OperationSummary, Percentiles, WorkloadSummary};
use crate::metric::Metric;
use crate::summary::Summary;

/// The styles of the backends: the same in every chart.
pub(super) fn legend(summary: &Summary) -> Vec<(String, usize)> {
    summary
        .measured
        .backends
        .iter()
        .enumerate()
        .map(|(style, backend)| (backend.name.clone(), style))
        .collect()
}

pub(super) fn class(summary: &Summary) -> &'static str {
    match summary.measured.result_class {
        ResultClass::Relative => "Relative result.",
        ResultClass::Absolute => "Absolute result.",
    }
}

/// The cell that a single chart of a workload shows.
fn typical(workload: &WorkloadSummary) -> Option<&CellSummary> {
    match kinds::of(workload.kind).typical {
        Typical::MostOf(factor) => workload
            .cells
            .iter()
            .rev()
            .max_by_key(|cell| level(cell, factor)),
        Typical::MiddleLevels => {
            let middle = |factor: &str| -> Option<&str> {
                let mut levels: Vec<&str> = Vec::new();
                for level in workload
                    .cells
                    .iter()
                    .filter_map(|cell| cell.levels.get(factor))
                {
                    if !levels.contains(&level.as_str()) {
                        levels.push(level);
                    }
                }
                levels.get(levels.len().saturating_sub(1) / 2).copied()
            };
            workload.cells.iter().find(|cell| {
                cell.levels
                    .iter()
                    .all(|(factor, level)| middle(factor) == Some(level))
            })
        }
    }
}

fn level(cell: &CellSummary, name: &str) -> i64 {
    cell.levels
        .get(name)
        .and_then(|level| level.parse().ok())
        .unwrap_or(0)
}

fn axis(label: &str, scale: Scale) -> Axis {
    Axis {
        label: label.to_owned(),
        scale,
    }
}

pub(super) fn spectra(summary: &Summary) -> Vec<Drawing> {
    summary
        .measured
        .workloads
        .iter()
        .filter(|workload| !kinds::of(workload.kind).has_rates_of_its_own)
        .filter_map(|workload| {
            let operation = kinds::of(workload.kind).charted;
            let cell = typical(workload)?;
            let series = lines(cell, summary, |on| {
                let points = on.operations.get(operation)?;
                Some(
                    points
                        .spectrum
                        .iter()
                        .map(|p| (p.quantile, p.micros as f64 / 1_000.0))
                        .collect(),
                )
            });
            let words: Vec<String> = cell
                .backends
                .iter()
                .filter_map(|on| Some((on, on.operations.get(operation)?)))
                .map(|(on, found)| format!("{} {}", on.backend, percentiles(found)))
                .collect();
            let title = format!(
                "{} spectrum, {} {}",
                operation.to_uppercase(),
                workload.name,
                tables::short(&cell.levels)
            );
            figure(
                summary,
                title,
                axis("percentile, by number of nines", Scale::Nines),
                axis("response, ms", Scale::Log),
                series,
                false,
                &words.join("; "),
            )
        })
        .collect()
}

/// What stands for a latency where there is none.
const NO_ANSWER: &str = "no answer";

/// A percentile in words, with a sign where it is only a lower bound.
fn percentile(response: &Percentiles, quantile: f64, micros: i64) -> String {
    let sign = if response.knows(quantile) { "" } else { "≥ " };
    format!("{sign}{}", format::duration(micros as f64))
}

fn percentiles(operation: &OperationSummary) -> String {
    if !operation.is_answered() {
        return NO_ANSWER.to_owned();
    }
    let response = &operation.response;
    format!(
        "p50 {} p99 {} max {}",
        percentile(response, 0.5, response.p50),
        percentile(response, 0.99, response.p99),
        percentile(response, 1.0, response.max)
    )
}

fn lines(
    cell: &CellSummary,
    summary: &Summary,
    points: impl Fn(&CellBackend) -> Option<Vec<(f64, f64)>>,
) -> Vec<Series> {
    summary
        .measured
        .backends
        .iter()
        .enumerate()
        .filter_map(|(style, backend)| {
            let points = points(cell.on(&backend.name)?).filter(|points| !points.is_empty())?;
            Some(Series {
                name: backend.name.clone(),
                style,
                points,
            })
        })
        .collect()
}

fn figure(
    summary: &Summary,
    title: String,
    x: Axis,
    y: Axis,
    series: Vec<Series>,
    markers: bool,
    words: &str,
) -> Option<Drawing> {
    if series.is_empty() {
        return None;
    }
    let text = if words.is_empty() {
        format!("{} {title}.", class(summary))
    } else {
        format!("{} {title}: {words}.", class(summary))
    };
    Some(Drawing {
        chart: Chart::Lines(Lines {
            title,
            x,
            y,
            series,
            markers,
            events: Vec::new(),
        }),
        text,
    })
}

/// Throughput against latency over the load points, and latency against the size of what is read.
pub(super) fn scaling(summary: &Summary) -> Vec<Drawing> {
    let mut figures = Vec::new();
    for workload in &summary.measured.workloads {
        let Some(scaling) = &kinds::of(workload.kind).scaling else {
            continue;
        };
        for (title, cells) in groups(workload, scaling) {
            figures.extend(over_cells(summary, scaling, title, &cells));
        }
    }
    figures
}

/// The cells of each chart, in the order of the schedule, with its title: those that differ in nothing but what the chart goes over. Where
/// the workload has a factor besides, a chart is of one level of it.
fn groups<'a>(
    workload: &'a WorkloadSummary,
    scaling: &Scaling,
) -> Vec<(String, Vec<&'a CellSummary>)> {
    let over: &[&str] = match &scaling.over {
        Over::Factor(factor) => std::slice::from_ref(factor),
        Over::Throughput(factors) => factors,
    };
    let besides = |cell: &CellSummary| {
        let levels = cell.levels.iter();
        let kept =
            levels.filter(|(name, _)| *name != scaling.groups && !over.contains(&name.as_str()));
        let kept: Vec<String> = kept
            .map(|(name, level)| format!("{name}={level}"))
            .collect();
        kept.join(" ")
    };
    let mut groups: Vec<((&String, String), Vec<&CellSummary>)> = Vec::new();
    for cell in &workload.cells {
        let Some(level) = cell.levels.get(scaling.groups) else {
            continue;
        };
        let key = (level, besides(cell));
        match groups.iter_mut().find(|(other, _)| *other == key) {
            Some((_, cells)) => cells.push(cell),
            None => groups.push((key, vec![cell])),
        }
    }
    let first = groups.first().map(|((_, besides), _)| besides.clone());
    let alike = groups
        .iter()
        .all(|((_, besides), _)| Some(besides) == first.as_ref());
    let titled = groups.into_iter().map(|((level, besides), cells)| {
        let title = (scaling.title)(level);
        let title = if alike {
            title
        } else {
            format!("{title} · {besides}")
        };
        (title, cells)
    });
    titled.collect()
}

fn over_cells(
    summary: &Summary,
    scaling: &Scaling,
    title: String,
    cells: &[&CellSummary],
) -> Option<Drawing> {
    let (by, against_throughput) = match scaling.over {
        Over::Factor(factor) => (factor, false),
        Over::Throughput(factors) => {
            let has = |factor: &&&str| cells.iter().any(|cell| cell.levels.contains_key(**factor));
            (*factors.iter().find(has)?, true)
        }
    };
    let mut cells: Vec<&CellSummary> = cells.to_vec();
    cells.sort_by_key(|cell| level(cell, by));
    let mut words = Vec::new();
    let mut series = Vec::new();
    for (style, backend) in summary.measured.backends.iter().enumerate() {
        let mut points = Vec::new();
        for cell in &cells {
            let Some(found) = cell
                .on(&backend.name)
                .and_then(|on| on.operations.get(scaling.operation))
            else {
                continue;
            };
            let response = &found.response;
            let (quantile, micros) = match scaling.metric {
                Metric::P50 => (0.5, response.p50),
                Metric::P99 | Metric::PerSecond => (0.99, response.p99),
            };
            let said = if found.is_answered() {
                let x = if against_throughput {
                    found.per_second
                } else {
                    level(cell, by) as f64
                };
                points.push((x, micros as f64 / 1_000.0));
                percentile(response, quantile, micros)
            } else {
                NO_ANSWER.to_owned()
            };
            words.push(format!(
                "{} at {by}={} {said}",
                backend.name,
                level(cell, by)
            ));
        }
        if !points.is_empty() {
            series.push(Series {
                name: backend.name.clone(),
                style,
                points,
            });
        }
    }
    if cells.len() < 2 {
        return None;
    }
    let x = if against_throughput {
        axis("operations per second", Scale::Linear)
    } else {
        axis(by, Scale::Log)
    };
    figure(
        summary,
        title,
        x,
        axis(&format!("{}, ms", scaling.metric.as_str()), Scale::Log),
        series,
        true,
        &words.join("; "),
    )
}

/// The rate over the window, for the typical cell of each load. Where each operation is planned, the plan is a line as well.
pub(super) fn series(summary: &Summary) -> Vec<Drawing> {
    summary
        .measured
        .workloads
        .iter()
        .filter(|workload| kinds::of(workload.kind).rate_over_window)
        .filter_map(|workload| {
            let cell = typical(workload)?;
            let mut series = lines(cell, summary, |on| Some(by_second(&on.completed_by_second)));
            let planned = planned(cell);
            let words: Vec<String> = match planned {
                Some(planned) => cell
                    .backends
                    .iter()
                    .map(|on| kept_up(on, planned))
                    .collect(),
                None => cell.backends.iter().filter_map(drifted).collect(),
            };
            series.extend(planned.map(|planned| Series {
                name: PLANNED.to_owned(),
                style: summary.measured.backends.len(),
                points: by_second(planned),
            }));
            let what = match planned {
                Some(_) => "Planned and completed over the window",
                None => "Rate over the window",
            };
            let title = format!("{what}, {} {}", workload.name, tables::short(&cell.levels));
            figure(
                summary,
                title,
                axis("second of the window", Scale::Linear),
                axis("per second, by blocks", Scale::Linear),
                series,
                false,
                &words.join("; "),
            )
        })
        .collect()
}

/// The name of the line of a plan.
const PLANNED: &str = "planned";

/// The legend of those charts.
pub(super) fn legend_of_series(summary: &Summary) -> Vec<(String, usize)> {
    let mut legend = legend(summary);
    let mut drawn = summary.measured.workloads.iter().filter_map(typical);
    if drawn.any(|cell| planned(cell).is_some()) {
        legend.push((PLANNED.to_owned(), legend.len()));
    }
    legend
}

fn by_second(values: &[f64]) -> Vec<(f64, f64)> {
    (0..)
        .zip(values)
        .map(|(second, value)| (f64::from(second), *value))
        .collect()
}

/// What was planned for each second of a cell: the same on every backend.
fn planned(cell: &CellSummary) -> Option<&[f64]> {
    let planned = cell.backends.iter().map(|on| &on.planned_by_second[..]);
    planned
        .max_by_key(|planned| planned.len())
        .filter(|planned| !planned.is_empty())
}

fn kept_up(on: &CellBackend, planned: &[f64]) -> String {
    let most = |values: &[f64]| values.iter().copied().fold(0.0, f64::max);
    let sum = |values: &[f64]| values.iter().sum::<f64>();
    format!(
        "{} completed {:.2} % of what was planned, in the busiest second {:.0} of at most {:.0}",
        on.backend,
        sum(&on.completed_by_second) / sum(planned).max(1.0) * 100.0,
        most(&on.completed_by_second),
        most(planned)
    )
}

fn drifted(on: &CellBackend) -> Option<String> {
    let drift = on.drift?;
    Some(format!(
        "{} drifted by {:+.1} % over the window",
        on.backend,
        drift.share * 100.0
    ))
}

#[cfg(test)]
mod tests;
