//! What the servers say of their own state over the windows.

use super::datum::Datum;
use super::format;
use super::model::{Section, Table};
use super::tables::short;
use crate::summary::{FigureSummary, Summary};

/// How a figure is written.
#[derive(Clone, Copy)]
enum Shape {
    Percent,
    Number,
    Bytes,
}

/// The figures of a head row, in the order of the plan's questions.
const HEAD_ROW: [(&str, &str, Shape); 10] = [
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

/// The section; empty when no workload states such figures.
pub(super) fn section(summary: &Summary) -> Section {
    let tables: Vec<Table> = summary
        .workloads
        .iter()
        .enumerate()
        .filter_map(|(w, workload)| {
            let caption = format!(
                "{}: the server over the windows, mean of the blocks",
                workload.name
            );
            let mut columns = vec![("Cell", false), ("Backend", false)];
            columns.extend(HEAD_ROW.map(|(_, head, _)| (head, true)));
            let mut table = Table::new(&caption, &columns);
            for (c, cell) in workload.cells.iter().enumerate() {
                for (b, on) in cell.backends.iter().enumerate() {
                    if on.figures.is_empty() {
                        continue;
                    }
                    let mut row = vec![short(&cell.levels).into(), on.backend.as_str().into()];
                    row.extend(HEAD_ROW.map(|(name, _, shape)| {
                        let place = format!("/workloads/{w}/cells/{c}/backends/{b}/figures/{name}");
                        datum(on.figures.get(name), shape, &place)
                    }));
                    table.rows.push(row);
                }
            }
            (!table.rows.is_empty()).then_some(table)
        })
        .collect();
    if tables.is_empty() {
        return Section::default();
    }
    Section {
        heading: "State of the server".to_owned(),
        intro: vec![
            "Percent of: updates (HOT), bytes of the table beyond what the fillfactor reserves (bloat), room in leaf pages (density), size in the middle of the window (late growth), active runs (dead rows). Half widths of 95 % intervals over the blocks follow the figures.".to_owned(),
        ],
        tables,
        ..Section::default()
    }
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

fn text(figure: Option<&FigureSummary>, shape: Shape) -> String {
    let Some(figure) = figure else {
        return "–".to_owned();
    };
    let half = figure
        .high
        .map(|high| high - figure.value)
        .filter(|half| *half > 0.0);
    let one = |value: f64| match shape {
        Shape::Percent | Shape::Number if value >= 100.0 || value.fract() == 0.0 => {
            format!("{value:.0}")
        }
        Shape::Percent | Shape::Number => format!("{value:.1}"),
        Shape::Bytes => format::whole(value.round() as i64),
    };
    let unit = if matches!(shape, Shape::Percent) {
        " %"
    } else {
        ""
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
}
