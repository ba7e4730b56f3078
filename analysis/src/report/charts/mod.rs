//! Which charts a summary is drawn as.

mod forests;
mod state;

pub(super) use forests::forests;
pub(super) use state::state;

use bakeoff_crds::schedule::factor;
use bakeoff_crds::spec::{ResultClass, WorkloadKind};

use super::model::Figure;
use super::svg::{Axis, Chart, Lines, Scale, Series};
use super::tables;
use crate::format;
use crate::metric::Metric;
use crate::summary::{CellBackend, CellSummary, Summary, WorkloadSummary};

/// The figures of a workload that its forests show.
fn headline(workload: &WorkloadSummary) -> &'static [(&'static str, Metric)] {
    match workload.kind {
        WorkloadKind::SmallObjectPut if workload.open_load => {
            &[("put", Metric::P50), ("put", Metric::P99)]
        }
        WorkloadKind::SmallObjectPut => &[("put", Metric::PerSecond), ("put", Metric::P99)],
        WorkloadKind::ColdRead => &[("list", Metric::P50)],
        WorkloadKind::Batching => &[("append", Metric::P99)],
        WorkloadKind::HeadRow => &[("operation", Metric::P50), ("operation", Metric::P99)],
        WorkloadKind::Retention => &[("insertBefore", Metric::P99), ("insertDuring", Metric::P99)],
        // Segments of a soak are no repeats: their course is drawn instead.
        WorkloadKind::Consistency | WorkloadKind::CasRace | WorkloadKind::Soak => &[],
    }
}

fn main_operation(kind: WorkloadKind) -> &'static str {
    match kind {
        WorkloadKind::SmallObjectPut | WorkloadKind::Consistency => "put",
        WorkloadKind::ColdRead => "list",
        WorkloadKind::Batching => "append",
        WorkloadKind::HeadRow | WorkloadKind::CasRace | WorkloadKind::Soak => "transition",
        WorkloadKind::Retention => "insertDuring",
    }
}

/// The styles of the backends: the same in every chart.
pub(super) fn legend(summary: &Summary) -> Vec<(String, usize)> {
    summary
        .backends
        .iter()
        .enumerate()
        .map(|(style, backend)| (backend.name.clone(), style))
        .collect()
}

fn class(summary: &Summary) -> &'static str {
    match summary.result_class {
        ResultClass::Relative => "Relative result.",
        ResultClass::Absolute => "Absolute result.",
    }
}

/// The cell that a single chart of a workload shows: the middle level of each factor for loads, the longest run for cold reads.
fn typical(workload: &WorkloadSummary) -> Option<&CellSummary> {
    match workload.kind {
        WorkloadKind::ColdRead => workload
            .cells
            .iter()
            .rev()
            .max_by_key(|cell| level(cell, factor::OBJECTS_PER_RUN)),
        _ => {
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

pub(super) fn spectra(summary: &Summary) -> Vec<Figure> {
    summary
        .workloads
        .iter()
        .filter_map(|workload| {
            let operation = main_operation(workload.kind);
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
                .filter_map(|on| on.operations.get(operation).map(|o| (on, &o.response)))
                .map(|(on, response)| {
                    format!(
                        "{} p50 {} p99 {} max {}",
                        on.backend,
                        format::duration(response.p50 as f64),
                        format::duration(response.p99 as f64),
                        format::duration(response.max as f64)
                    )
                })
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

fn lines(
    cell: &CellSummary,
    summary: &Summary,
    points: impl Fn(&CellBackend) -> Option<Vec<(f64, f64)>>,
) -> Vec<Series> {
    summary
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
) -> Option<Figure> {
    if series.is_empty() {
        return None;
    }
    let text = if words.is_empty() {
        format!("{} {title}.", class(summary))
    } else {
        format!("{} {title}: {words}.", class(summary))
    };
    Some(Figure {
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
pub(super) fn scaling(summary: &Summary) -> Vec<Figure> {
    let mut figures = Vec::new();
    for workload in &summary.workloads {
        match workload.kind {
            WorkloadKind::SmallObjectPut => {
                let load = [factor::RATE_PER_SECOND, factor::CAPACITY_PERCENT]
                    .into_iter()
                    .find(|name| {
                        let mut cells = workload.cells.iter();
                        cells.any(|cell| cell.levels.contains_key(*name))
                    })
                    .unwrap_or(factor::CONCURRENCY);
                for (size, cells) in groups(workload, factor::OBJECT_SIZE) {
                    figures.extend(over_cells(
                        summary,
                        &format!("PUT p99 by throughput, {size}"),
                        "put",
                        &cells,
                        load,
                        true,
                    ));
                }
            }
            WorkloadKind::ColdRead => {
                for (mode, cells) in groups(workload, factor::MODE) {
                    figures.extend(over_cells(
                        summary,
                        &format!("LIST p50 by objects, {mode}"),
                        "list",
                        &cells,
                        factor::OBJECTS_PER_RUN,
                        false,
                    ));
                }
            }
            WorkloadKind::Batching => {
                for (rate, cells) in groups(workload, factor::ARRIVALS_PER_SECOND) {
                    figures.extend(over_cells(
                        summary,
                        &format!("Append p99 by batch, {rate}/s"),
                        "append",
                        &cells,
                        factor::SNAPSHOTS_PER_OBJECT,
                        false,
                    ));
                }
            }
            WorkloadKind::HeadRow => {
                for (active, cells) in groups(workload, factor::ACTIVE_RUNS) {
                    figures.extend(over_cells(
                        summary,
                        &format!("Transition p99 by fillfactor, {active} active runs"),
                        "transition",
                        &cells,
                        factor::FILLFACTOR,
                        false,
                    ));
                }
            }
            WorkloadKind::Retention
            | WorkloadKind::Consistency
            | WorkloadKind::CasRace
            | WorkloadKind::Soak => {}
        }
    }
    figures
}

/// Cells by one factor, in the order of the schedule.
fn groups<'a>(workload: &'a WorkloadSummary, by: &str) -> Vec<(String, Vec<&'a CellSummary>)> {
    let mut groups: Vec<(String, Vec<&CellSummary>)> = Vec::new();
    for cell in &workload.cells {
        let Some(level) = cell.levels.get(by) else {
            continue;
        };
        match groups.iter_mut().find(|(name, _)| name == level) {
            Some((_, cells)) => cells.push(cell),
            None => groups.push((level.clone(), vec![cell])),
        }
    }
    groups
}

fn over_cells(
    summary: &Summary,
    title: &str,
    operation: &str,
    cells: &[&CellSummary],
    by: &str,
    against_throughput: bool,
) -> Option<Figure> {
    let mut cells: Vec<&CellSummary> = cells.to_vec();
    cells.sort_by_key(|cell| level(cell, by));
    let mut words = Vec::new();
    let mut series = Vec::new();
    for (style, backend) in summary.backends.iter().enumerate() {
        let mut points = Vec::new();
        for cell in &cells {
            let Some(found) = cell
                .on(&backend.name)
                .and_then(|on| on.operations.get(operation))
            else {
                continue;
            };
            let p50 = operation == "list";
            let latency = if p50 {
                found.response.p50
            } else {
                found.response.p99
            } as f64
                / 1_000.0;
            let x = if against_throughput {
                found.per_second
            } else {
                level(cell, by) as f64
            };
            points.push((x, latency));
            words.push(format!(
                "{} at {by}={} {}",
                backend.name,
                level(cell, by),
                format::duration(latency * 1_000.0)
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
    let y = if operation == "list" {
        "p50, ms"
    } else {
        "p99, ms"
    };
    figure(
        summary,
        title.to_owned(),
        x,
        axis(y, Scale::Log),
        series,
        true,
        &words.join("; "),
    )
}

/// The rate over the window, for the typical cell of each load.
pub(super) fn series(summary: &Summary) -> Vec<Figure> {
    summary
        .workloads
        .iter()
        .filter(|workload| {
            matches!(
                workload.kind,
                WorkloadKind::SmallObjectPut
                    | WorkloadKind::Batching
                    | WorkloadKind::HeadRow
                    | WorkloadKind::Retention
            )
        })
        .filter_map(|workload| {
            let cell = typical(workload)?;
            let series = lines(cell, summary, |on| {
                Some(
                    (0..)
                        .zip(&on.completed_by_second)
                        .map(|(second, value)| (f64::from(second), *value))
                        .collect(),
                )
            });
            let words: Vec<String> = cell
                .backends
                .iter()
                .filter_map(|on| {
                    let drift = on.drift?;
                    Some(format!(
                        "{} drifted by {:+.1} % over the window",
                        on.backend,
                        drift.share * 100.0
                    ))
                })
                .collect();
            let title = format!(
                "Rate over the window, {} {}",
                workload.name,
                tables::short(&cell.levels)
            );
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
