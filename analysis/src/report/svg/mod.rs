//! Charts as small SVG, the same bytes for the same figures.
//!
//! Colours come from the page as CSS variables, so a chart follows light and dark. No meaning is
//! carried by colour alone: each series has its own marker and dash, each interval its own text
//! in the table beside. Every chart has a title and a text for those who do not see it.

mod forest;
mod lines;

pub use forest::{Forest, ForestRow, Shown};
pub use lines::{Axis, Events, Lines, Scale, Series};

/// A chart of the report.
#[derive(Clone, Debug, PartialEq)]
pub enum Chart {
    /// Ratios with intervals, one row for each cell.
    Forest(Forest),
    /// Lines over two axes.
    Lines(Lines),
}

const WIDTH: f64 = 320.0;
const DASHES: [&str; 6] = ["", "5 3", "1.5 2.5", "7 2 1.5 2", "3 3", "9 3"];

impl Chart {
    /// The chart as an SVG element. `id` is unique on the page; `text` says in words what it shows.
    #[must_use]
    pub fn render(&self, id: &str, text: &str) -> String {
        let (title, height, body) = match self {
            Self::Forest(forest) => (&forest.title, forest.height(), forest.body()),
            Self::Lines(lines) => (&lines.title, 196.0, lines.body()),
        };
        format!(
            "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\"><title id=\"{id}-t\">{}</title><desc id=\"{id}-d\">{}</desc>{body}</svg>",
            escape(title),
            escape(text),
            height = n(height),
        )
    }

    /// What is drawn.
    #[must_use]
    pub fn title(&self) -> &str {
        match self {
            Self::Forest(forest) => &forest.title,
            Self::Lines(lines) => &lines.title,
        }
    }
}

/// The marker of a style, for charts and legends, around a centre.
#[must_use]
pub fn marker(style: usize, x: f64, y: f64, class: &str) -> String {
    let shape = match style % 4 {
        0 => format!("<circle cx=\"{}\" cy=\"{}\" r=\"3.2\"", n(x), n(y)),
        1 => format!(
            "<rect x=\"{}\" y=\"{}\" width=\"5.8\" height=\"5.8\"",
            n(x - 2.9),
            n(y - 2.9)
        ),
        2 => format!("<path d=\"M{} {}l3.8 6.4h-7.6z\"", n(x), n(y - 4.0)),
        _ => format!(
            "<path d=\"M{} {}l3.9 3.9l-3.9 3.9l-3.9-3.9z\"",
            n(x),
            n(y - 3.9)
        ),
    };
    format!("{shape} class=\"{class} s{}\"/>", style % 6)
}

/// A short sample of a line with its marker, for legends.
#[must_use]
pub fn legend_key(style: usize) -> String {
    format!(
        "<svg class=\"key\" viewBox=\"0 0 26 10\" aria-hidden=\"true\"><path d=\"M1 5h24\" class=\"line s{}\"{}/>{}</svg>",
        style % 6,
        dash(style),
        marker(style, 13.0, 5.0, "mark")
    )
}

fn dash(style: usize) -> String {
    match DASHES.get(style % DASHES.len()) {
        Some(pattern) if !pattern.is_empty() => format!(" stroke-dasharray=\"{pattern}\""),
        _ => String::new(),
    }
}

/// A coordinate with one decimal and no trailing zero: short, and the same everywhere.
fn n(value: f64) -> String {
    let text = format!("{value:.1}");
    let text = text.strip_suffix(".0").map_or(text.as_str(), |whole| whole);
    if text == "-0" {
        "0".to_owned()
    } else {
        text.to_owned()
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

fn label(x: f64, y: f64, anchor: &str, class: &str, text: &str) -> String {
    format!(
        "<text x=\"{}\" y=\"{}\" text-anchor=\"{anchor}\" class=\"{class}\">{}</text>",
        n(x),
        n(y),
        escape(text)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_the_same_bytes_and_survives_odd_figures() {
        let lines = |points: Vec<(f64, f64)>, scale| {
            Chart::Lines(Lines {
                title: "a & b".into(),
                x: Axis {
                    label: "x".into(),
                    scale,
                },
                y: Axis {
                    label: "ms".into(),
                    scale: Scale::Log,
                },
                series: vec![Series {
                    name: "one".into(),
                    style: 1,
                    points,
                }],
                markers: true,
                events: Vec::new(),
            })
        };
        for points in [
            vec![],
            vec![(1.0, 1.0)],
            vec![(0.0, 0.0), (1.0, 5.0)],
            vec![(0.5, 1e9), (0.9, 1e-3)],
        ] {
            for scale in [Scale::Linear, Scale::Log, Scale::Nines] {
                let chart = lines(points.clone(), scale);
                let drawn = chart.render("c1", "in words");
                assert_eq!(drawn, chart.render("c1", "in words"));
                assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{drawn}");
                assert!(drawn.contains("a &amp; b"));
            }
        }
    }

    #[test]
    fn a_forest_of_nothing_and_of_open_intervals() {
        let row = ForestRow {
            label: "4Ki".into(),
            ratio: 1.4,
            interval: Some((0.0, f64::INFINITY)),
            shown: Shown::Alone,
            sign: "",
            from: String::new(),
        };
        for rows in [vec![], vec![row]] {
            let forest = Chart::Forest(Forest {
                title: "t".into(),
                ends: ("a".into(), "b".into()),
                rows,
                margin: 1.1,
            });
            let drawn = forest.render("f", "words");
            assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{drawn}");
        }
    }
}
