//! What the servers say of their own state over the windows.

use super::charts;
use super::datum::Datum;
use super::model::{Section, Table};
use super::tables::short;
use crate::format;
use crate::summary::{FigureSummary, Summary};
use bakeoff_crds::spec::WorkloadKind;

/// How a figure is written.
#[derive(Clone, Copy)]
enum Shape {
    Percent,
    Number,
    Bytes,
    Millis,
}

/// Figures that stand beside each other: with their intervals, more are wider than the page.
const ABREAST: usize = 5;

/// The figure that stands in brackets behind the number of runs of autovacuum.
const LONGEST: &str = "autovacuumLongestSeconds";

/// A figure by name, the head of its column, how it is written.
type Column = (&'static str, &'static str, Shape);

/// The figures of a head row, in the order of the plan's questions.
const HEAD_ROW: [Column; 10] = [
    ("hotPercent", "HOT updates", Shape::Percent),
    ("tableBloatPercent", "Table bloat", Shape::Percent),
    ("indexLeafDensityPercent", "Index density", Shape::Percent),
    ("lateGrowthPercent", "Late growth", Shape::Percent),
    ("deadPeakPercent", "Dead rows, most", Shape::Percent),
    ("autovacuums", "Autovacuums", Shape::Number),
    ("turnovers", "Turnovers", Shape::Number),
    ("bytesPerActiveRun", "Bytes per run", Shape::Bytes),
    ("walBytesPerUpdate", "WAL per update", Shape::Bytes),
    ("cacheHitPercent", "Cache hits", Shape::Percent),
];

/// The figures of a retention, in the order of the plan's questions.
const RETENTION: [Column; 10] = [
    ("reclaimMilliseconds", "Reclaimed in", Shape::Millis),
    ("dropMilliseconds", "Detach, drop", Shape::Millis),
    ("deleteMilliseconds", "Delete", Shape::Millis),
    ("longestLockWaitMilliseconds", "Lock wait", Shape::Millis),
    ("strongestLock", "Lock", Shape::Number),
    ("bytesReclaimed", "Reclaimed", Shape::Bytes),
    ("tableBloatPercent", "Bloat after", Shape::Percent),
    ("rowsMoved", "Rows moved", Shape::Number),
    ("microsecondsPerRowMoved", "µs each", Shape::Number),
    ("vacuumingRisePercent", "Vacuum, rise", Shape::Percent),
];

/// The figures of a soak, in the order of the plan's questions.
const SOAK: [Column; 15] = [
    ("deadMeanPercent", "Dead rows, mean", Shape::Percent),
    ("deadPeakPercent", "Dead rows, most", Shape::Percent),
    ("vacuumingPercent", "Vacuuming", Shape::Percent),
    ("autovacuums", "Autovacuums", Shape::Number),
    ("autovacuumSeconds", "Their seconds", Shape::Number),
    ("tableBytes", "Table", Shape::Bytes),
    ("tableBloatPercent", "Table bloat", Shape::Percent),
    ("indexBytes", "Index", Shape::Bytes),
    ("indexLeafDensityPercent", "Index density", Shape::Percent),
    ("hotPercent", "HOT updates", Shape::Percent),
    ("frozenAgeMost", "Frozen age, most", Shape::Number),
    ("freezes", "Freezes", Shape::Number),
    ("turnovers", "Turnovers", Shape::Number),
    ("walBytesPerUpdate", "WAL per update", Shape::Bytes),
    (
        "oldestTransactionMillis",
        "Oldest transaction",
        Shape::Millis,
    ),
];

/// What a kind of workload says of its server, and what there is to know about the columns.
fn columns(kind: WorkloadKind) -> Option<(&'static [Column], &'static str)> {
    match kind {
        WorkloadKind::HeadRow => Some((
            &HEAD_ROW,
            "Percent of: updates (HOT), bytes of the table beyond what the fillfactor reserves (bloat), room in leaf pages (density), size in the middle of the window (late growth), active runs (dead rows). In brackets the longest run of autovacuum, by the server's log.",
        )),
        WorkloadKind::Retention => Some((
            &RETENTION,
            "From the start of retention until the space is back (reclaimed in; where that did not end in the window, at least so long), the longest that others were seen to wait for a lock, the strongest lock on the table in use (1 ACCESS SHARE, 3 ROW EXCLUSIVE, 4 SHARE UPDATE EXCLUSIVE, 8 ACCESS EXCLUSIVE; 0 none seen at a look every 5 to 15 ms), bytes given back to the file system or free in it, percentage points more of the time with autovacuum at the table.",
        )),
        WorkloadKind::Soak => Some((
            &SOAK,
            "Percent of: updates (HOT), active runs (dead rows), the time with autovacuum at the table (vacuuming), bytes of the table beyond what the fillfactor reserves (bloat), room in leaf pages (density). Frozen age: transactions since the oldest row that is not frozen; a freeze is a fall of it. In brackets the longest run of autovacuum in any segment, by the server's log.",
        )),
        WorkloadKind::SmallObjectPut
        | WorkloadKind::ColdRead
        | WorkloadKind::Consistency
        | WorkloadKind::Batching
        | WorkloadKind::CasRace => None,
    }
}

/// The section; empty when no workload states such figures.
pub(super) fn section(summary: &Summary) -> Section {
    let tables: Vec<Table> = summary
        .workloads
        .iter()
        .enumerate()
        .filter_map(|(w, workload)| Some((w, workload, columns(workload.kind)?.0)))
        .flat_map(|(w, workload, shown)| {
            let parts = shown.chunks(ABREAST).enumerate();
            parts.map(move |(part, shown)| (w, workload, part, shown))
        })
        .filter_map(|(w, workload, part, shown)| {
            let soak = workload.kind == WorkloadKind::Soak;
            let caption = format!(
                "{}: the server over the windows, {}{}",
                workload.name,
                if soak {
                    "first → last segment"
                } else {
                    "mean of the blocks"
                },
                if part == 0 { "" } else { ", continued" }
            );
            let mut heads = vec![("Cell", false), ("Backend", false)];
            heads.extend(shown.iter().map(|(_, head, _)| (*head, true)));
            let mut table = Table::new(&caption, &heads);
            for (c, cell) in workload.cells.iter().enumerate() {
                for (b, on) in cell.backends.iter().enumerate() {
                    if on.figures.is_empty() {
                        continue;
                    }
                    let mut row = vec![short(&cell.levels).into(), on.backend.as_str().into()];
                    row.extend(shown.iter().map(|&(name, _, shape)| {
                        let place = format!("/workloads/{w}/cells/{c}/backends/{b}/figures/{name}");
                        let figure = on.figures.get(name);
                        let shown = if soak {
                            course(
                                figure,
                                on.figures.get("tableLoadedAtSeconds"),
                                shape,
                                &place,
                            )
                        } else {
                            datum(figure, shape, &place)
                        };
                        if name == "autovacuums" {
                            let place = place.replace(name, LONGEST);
                            with_longest(shown, on.figures.get(LONGEST), &place)
                        } else {
                            shown
                        }
                    }));
                    table.rows.push(row);
                }
            }
            (!table.rows.is_empty()).then_some(table)
        })
        .collect();
    let figures = charts::state(summary);
    if tables.is_empty() && figures.is_empty() {
        return Section::default();
    }
    let mut intro: Vec<String> = Vec::new();
    for workload in &summary.workloads {
        if let Some((_, words)) = columns(workload.kind)
            && !intro.iter().any(|known| known == words)
        {
            intro.push(words.to_owned());
        }
    }
    if tables.iter().any(|table| !table.caption.contains('→')) {
        intro.push("Half widths of 95 % intervals over the blocks follow the figures.".to_owned());
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
        tables,
        ..Section::default()
    }
}

/// Behind the number of runs the longest of all blocks, where the server's log told it.
fn with_longest(mut runs: Datum, longest: Option<&FigureSummary>, place: &str) -> Datum {
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

fn datum(figure: Option<&FigureSummary>, shape: Shape, place: &str) -> Datum {
    let text = text(figure, shape);
    let mut from = Vec::new();
    if figure.is_some() {
        from.push(format!("{place}/value"));
    }
    if text.contains('±') {
        from.push(format!("{place}/high-{place}/value"));
    }
    Datum { text, from }
}

/// Segments of a soak are no repeats, so a mean over them with an interval would say nothing: where the figure began
/// and where it ended.
fn course(
    figure: Option<&FigureSummary>,
    loaded: Option<&FigureSummary>,
    shape: Shape,
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
        return "–".into();
    };
    let one = |value: f64| {
        let figure = FigureSummary {
            value,
            low: None,
            high: None,
            blocks: Vec::new(),
        };
        text(Some(&figure), shape)
    };
    let at = figure.map_or(0, |figure| figure.blocks.len().saturating_sub(1));
    Datum {
        text: format!("{} → {}", one(first.value), one(last.value)),
        from: vec![
            format!("{place}/blocks/{from}/value"),
            format!("{place}/blocks/{at}/value"),
        ],
    }
}

fn text(figure: Option<&FigureSummary>, shape: Shape) -> String {
    let Some(figure) = figure else {
        return "–".to_owned();
    };
    let half = figure
        .high
        .map(|high| high - figure.value)
        .filter(|half| *half > 0.0);
    let one = |value: f64| match shape {
        Shape::Percent | Shape::Number | Shape::Millis
            if value >= 100.0 || value.fract() == 0.0 =>
        {
            format!("{value:.0}")
        }
        Shape::Percent | Shape::Number | Shape::Millis => format!("{value:.1}"),
        Shape::Bytes => format::whole(value.round() as i64),
    };
    let unit = match shape {
        Shape::Percent => " %",
        Shape::Millis => " ms",
        Shape::Number | Shape::Bytes => "",
    };
    match half {
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
            text(Some(&figure(65.44, Some(69.0))), Shape::Percent),
            "65.4 ± 3.6 %"
        );
        assert_eq!(
            text(Some(&figure(100.0, Some(100.0))), Shape::Percent),
            "100 %"
        );
        assert_eq!(text(Some(&figure(417.2, None)), Shape::Bytes), "417");
        assert_eq!(text(None, Shape::Number), "–");
    }

    #[test]
    fn the_longest_run_of_any_block_stands_behind_their_number() {
        let point = |block, value| crate::summary::FigurePoint { block, value };
        let longest = FigureSummary {
            value: 0.2,
            low: None,
            high: None,
            blocks: vec![point(0, 0.1), point(1, 0.314), point(2, 0.19)],
        };
        let runs = || Datum::figure("12", "/a/autovacuums/value");
        let both = with_longest(runs(), Some(&longest), "/a/x");
        assert_eq!(both.text, "12 (0.31 s)");
        assert_eq!(both.from, ["/a/autovacuums/value", "/a/x/blocks/1/value"]);
        assert_eq!(with_longest(runs(), None, "/a/x"), runs());
    }
}
