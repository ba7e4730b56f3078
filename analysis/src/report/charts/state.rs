//! How a server's state went over a window, with what it did meanwhile.

use bakeoff_crds::result::{StateLine, StateMark, StateSeries};

use super::{axis, class, lines, typical};
use crate::measured::CellBackend;
use crate::report::model::Drawing;
use crate::report::svg::{Chart, Events, Lines, Scale};
use crate::report::tables;
use crate::summary::Summary;

const MEBIBYTE: f64 = 1024.0 * 1024.0;

/// What is drawn: a title, the axis, and the value at a point.
type Drawn = (&'static str, &'static str, fn(&StateSeries, usize) -> f64);

const DRAWN: [Drawn; 2] = [
    ("Dead rows", "dead rows", |series, index| {
        series.value(StateLine::DeadRows, index)
    }),
    ("Size of table and indexes", "MiB", |series, index| {
        let table = series.value(StateLine::TableBytes, index);
        (table + series.value(StateLine::IndexBytes, index)) / MEBIBYTE
    }),
];

/// The letters of the marks, as the axis explains them.
const MARKS: [(StateMark, char); 2] = [(StateMark::Autovacuum, 'v'), (StateMark::Checkpoint, 'c')];

/// The charts, for the typical cell of each workload whose backends were asked.
pub(in crate::report) fn state(summary: &Summary) -> Vec<Drawing> {
    let mut figures = Vec::new();
    for workload in &summary.measured.workloads {
        let Some(cell) = typical(workload) else {
            continue;
        };
        let asked: Vec<(&CellBackend, &StateSeries)> = cell
            .backends
            .iter()
            .filter_map(|on| Some((on, &on.state.as_ref()?.series)))
            .collect();
        let Some((first, _)) = asked.first() else {
            continue;
        };
        let in_segments = workload.kind.traits().in_segments;
        let block = first.state.as_ref().map_or(0, |state| state.block) + 1;
        // Marks of several servers could not be told apart; each server's are in the words.
        let events: Vec<Events> = if asked.len() == 1 {
            MARKS
                .iter()
                .map(|&(mark, letter)| Events {
                    letter,
                    at: asked[0].1.marks(mark).to_vec(),
                })
                .collect()
        } else {
            Vec::new()
        };
        for (what, unit, of) in DRAWN {
            let series = lines(cell, summary, |on| {
                let series = &on.state.as_ref()?.series;
                let at = series.at_seconds.iter().enumerate();
                Some(
                    at.map(|(index, second)| (*second, of(series, index)))
                        .collect(),
                )
            });
            let part = if in_segments {
                String::new()
            } else {
                format!(", block {block}")
            };
            let title = format!(
                "{what}, {} {}{part}",
                workload.name,
                tables::short(&cell.levels)
            );
            let words: Vec<String> = asked
                .iter()
                .map(|(on, series)| words(on, series, unit, of))
                .collect();
            figures.push(Drawing {
                text: format!("{} {title}: {}.", class(summary), words.join("; ")),
                chart: Chart::Lines(Lines {
                    title,
                    x: axis(
                        match (in_segments, events.is_empty()) {
                            (false, true) => "second of the window",
                            (false, false) => "second of the window; v: autovacuum, c: checkpoint",
                            (true, true) => "second, block after block",
                            (true, false) => {
                                "second, block after block; v: autovacuum, c: checkpoint"
                            }
                        },
                        Scale::Linear,
                    ),
                    y: axis(unit, Scale::Linear),
                    series,
                    markers: false,
                    events: events.clone(),
                }),
            });
        }
    }
    figures
}

fn words(
    on: &CellBackend,
    series: &StateSeries,
    unit: &str,
    of: fn(&StateSeries, usize) -> f64,
) -> String {
    let values = || (0..series.at_seconds.len()).map(|index| of(series, index));
    let most = values().fold(f64::NEG_INFINITY, f64::max);
    let last = values().next_back().unwrap_or(0.0);
    format!(
        "{} at most {most:.0} {unit}, {last:.0} at the end, {} autovacuums and {} checkpoints ended",
        on.backend,
        series.marks(StateMark::Autovacuum).len(),
        series.marks(StateMark::Checkpoint).len()
    )
}
