//! What the servers say of their own state over the windows.

use super::charts;
use super::datum::Datum;
use super::model::{Section, Table};
use super::tables::short;
use crate::format;
use crate::kinds;
use crate::measured::{FigureSummary, WorkloadSummary};
use crate::summary::Summary;
use bakeoff_crds::figure::{Figure, Unit};

/// Figures that stand beside each other: with their intervals, more are wider than the page.
const ABREAST: usize = 5;

/// The section; empty when no workload states such figures.
pub(super) fn section(summary: &Summary) -> Section {
    let tables: Vec<(&WorkloadSummary, Table)> = summary
        .measured
        .workloads
        .iter()
        .enumerate()
        .filter_map(|(w, workload)| Some((w, workload, kinds::of(workload.kind).state.as_ref()?)))
        .flat_map(|(w, workload, state)| {
            let parts = state.columns.chunks(ABREAST).enumerate();
            parts.map(move |(part, shown)| (w, workload, part, shown))
        })
        .filter_map(|(w, workload, part, shown)| {
            let in_segments = workload.kind.traits().in_segments;
            let caption = format!(
                "{}: the server over the windows, {}{}",
                workload.name,
                if in_segments {
                    "first → last segment"
                } else {
                    "mean of the blocks"
                },
                if part == 0 { "" } else { ", continued" }
            );
            let mut heads = vec![("Cell", false), ("Backend", false)];
            heads.extend(shown.iter().map(|column| (column.head, true)));
            let mut table = Table::new(&caption, &heads);
            for (c, cell) in workload.cells.iter().enumerate() {
                for (b, on) in cell.backends.iter().enumerate() {
                    if on.figures.is_empty() {
                        continue;
                    }
                    let mut row = vec![short(&cell.levels).into(), on.backend.as_str().into()];
                    row.extend(shown.iter().map(|column| {
                        let place = |figure: Figure| {
                            format!("/workloads/{w}/cells/{c}/backends/{b}/figures/{figure}")
                        };
                        let found = on.figures.get(&column.figure);
                        let (unit, at) = (column.figure.unit(), place(column.figure));
                        let shown = if in_segments {
                            let loaded = on.figures.get(&Figure::TableLoadedAtSeconds);
                            course(found, loaded, unit, &at)
                        } else {
                            datum(found, unit, &at)
                        };
                        match column.most {
                            Some(most) => with_most(shown, on.figures.get(&most), &place(most)),
                            None => shown,
                        }
                    }));
                    table.rows.push(row);
                }
            }
            (!table.rows.is_empty()).then_some((workload, table))
        })
        .collect();
    let figures = charts::state(summary);
    if tables.is_empty() && figures.is_empty() {
        return Section::default();
    }
    let mut intro: Vec<String> = Vec::new();
    for workload in &summary.measured.workloads {
        if let Some(state) = &kinds::of(workload.kind).state
            && !intro.iter().any(|known| known == state.words)
        {
            intro.push(state.words.to_owned());
        }
    }
    let repeats = |(workload, _): &(&WorkloadSummary, _)| !workload.kind.traits().in_segments;
    if tables.iter().any(repeats) {
        let confidence = format::confidence(summary.measured.level);
        intro.push(format!(
            "Half widths of {confidence} intervals over the blocks follow the figures."
        ));
    }
    Section {
        heading: "State of the server".to_owned(),
        intro,
        legend: if figures.is_empty() {
            Vec::new()
        } else {
            charts::legend(summary)
        },
        figures,
        tables: tables.into_iter().map(|(_, table)| table).collect(),
        ..Section::default()
    }
}

/// Behind the number of runs the longest of any block, where the server's log told it.
fn with_most(mut runs: Datum, longest: Option<&FigureSummary>, place: &str) -> Datum {
    let blocks = longest.iter().flat_map(|figure| figure.blocks.iter());
    let most = blocks
        .enumerate()
        .max_by(|(_, a), (_, b)| a.value.total_cmp(&b.value));
    if let Some((at, point)) = most {
        runs.text = format!("{} ({:.2} s)", runs.text, point.value);
        runs.from.push(format!("{place}/blocks/{at}/value"));
    }
    runs
}

fn datum(figure: Option<&FigureSummary>, unit: Unit, place: &str) -> Datum {
    let Some(figure) = figure else {
        return Datum::none();
    };
    let mut from = vec![format!("{place}/value")];
    if half(figure).is_some() {
        from.push(format!("{place}/high-{place}/value"));
    }
    Datum::figures(text(figure, unit), from)
}

/// Half of the interval, where there is one.
fn half(figure: &FigureSummary) -> Option<f64> {
    let half = figure.high? - figure.value;
    (half > 0.0).then_some(half)
}

/// Segments of a soak are no repeats, so a mean over them with an interval would say nothing: where the figure began
/// and where it ended.
fn course(
    figure: Option<&FigureSummary>,
    loaded: Option<&FigureSummary>,
    unit: Unit,
    place: &str,
) -> Datum {
    // Of the table that was there at the end: one that was lost has a course of its own.
    let table = |block: i32| {
        let mut points = loaded?.blocks.iter();
        points
            .find(|point| point.block == block)
            .map(|point| point.value)
    };
    let ends = figure.and_then(|figure| {
        let last = figure.blocks.last()?;
        let mut of = figure.blocks.iter().enumerate();
        let (at, first) = of.find(|(_, point)| table(point.block) == table(last.block))?;
        Some((at, first, last))
    });
    let Some((from, first, last)) = ends else {
        return Datum::none();
    };
    let one = |value: f64| {
        let figure = FigureSummary {
            value,
            low: None,
            high: None,
            blocks: Vec::new(),
        };
        text(&figure, unit)
    };
    let at = figure.map_or(0, |figure| figure.blocks.len().saturating_sub(1));
    Datum::figures(
        format!("{} → {}", one(first.value), one(last.value)),
        vec![
            format!("{place}/blocks/{from}/value"),
            format!("{place}/blocks/{at}/value"),
        ],
    )
}

fn text(figure: &FigureSummary, unit: Unit) -> String {
    let one = |value: f64| match unit {
        Unit::Bytes => format::whole(value.round() as i64),
        _ if value >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        _ => format!("{value:.1}"),
    };
    // Of the others the head of the column says it.
    let unit = match unit {
        Unit::Percent => " %",
        Unit::Milliseconds => " ms",
        Unit::Number | Unit::Bytes | Unit::Seconds => "",
    };
    match half(figure) {
        Some(half) => format!("{} ± {}{unit}", one(figure.value), one(half)),
        None => format!("{}{unit}", one(figure.value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_carry_their_interval_and_what_is_missing_is_a_dash() {
        let figure = |value: f64, high: Option<f64>| FigureSummary {
            value,
            low: high.map(|high| 2.0 * value - high),
            high,
            blocks: Vec::new(),
        };
        assert_eq!(
            text(&figure(65.44, Some(69.0)), Unit::Percent),
            "65.4 ± 3.6 %"
        );
        assert_eq!(text(&figure(100.0, Some(100.0)), Unit::Percent), "100 %");
        assert_eq!(text(&figure(417.2, None), Unit::Bytes), "417");
        assert!(datum(None, Unit::Number, "").is_none());
    }

    #[test]
    fn the_longest_run_of_any_block_stands_behind_their_number() {
        let point = |block, value| crate::measured::FigurePoint { block, value };
        let longest = FigureSummary {
            value: 0.2,
            low: None,
            high: None,
            blocks: vec![point(0, 0.1), point(1, 0.314), point(2, 0.19)],
        };
        let runs = || Datum::figure("12", "/a/autovacuums/value");
        let both = with_most(runs(), Some(&longest), "/a/x");
        assert_eq!(both.text, "12 (0.31 s)");
        assert_eq!(both.from, ["/a/autovacuums/value", "/a/x/blocks/1/value"]);
        assert_eq!(with_most(runs(), None, "/a/x"), runs());
    }
}
