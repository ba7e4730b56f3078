//! Charts as small SVG, the same bytes for the same figures.
//!
//! Colours come from the page as CSS variables, so a chart follows light and dark. No meaning is
//! carried by colour alone: each series has its own marker and dash, each interval its own text
//! in the table beside. Every chart has a title and a text for those who do not see it.

use super::format;

/// A chart of the report.
#[derive(Clone, Debug, PartialEq)]
pub enum Chart {
    /// Ratios with intervals, one row for each cell.
    Forest(Forest),
    /// Lines over two axes.
    Lines(Lines),
}

/// Ratios with intervals.
#[derive(Clone, Debug, PartialEq)]
pub struct Forest {
    /// What is compared.
    pub title: String,
    /// Words at the ends of the axis: who is better there.
    pub ends: (String, String),
    /// One row for each cell.
    pub rows: Vec<ForestRow>,
    /// The margin of the decision, as a ratio above 1; 1 draws none.
    pub margin: f64,
}

/// One ratio with its interval.
#[derive(Clone, Debug, PartialEq)]
pub struct ForestRow {
    /// The cell.
    pub label: String,
    /// The ratio.
    pub ratio: f64,
    /// Its interval, where there is one.
    pub interval: Option<(f64, f64)>,
    /// How far a difference was shown.
    pub shown: Shown,
}

/// How far a difference was shown; each has its own marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Also after correction for the other cells: filled.
    Corrected,
    /// Only when the cell is looked at by itself: a ring with a dot.
    Alone,
    /// Not at all: a ring.
    Not,
}

/// Lines over two axes.
#[derive(Clone, Debug, PartialEq)]
pub struct Lines {
    /// What is drawn.
    pub title: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// The lines.
    pub series: Vec<Series>,
    /// Whether to mark each point.
    pub markers: bool,
}

/// An axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// Its name with the unit.
    pub label: String,
    /// How values are laid out.
    pub scale: Scale,
}

/// How values are laid out along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Even steps, from 0.
    Linear,
    /// Even factors.
    Log,
    /// Shares from 0 to 1 by the number of nines: HDR's percentile axis, `1 / (1 - q)` on a logarithm.
    Nines,
}

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// Which style, from 0; the same backend has the same style everywhere.
    pub style: usize,
    /// Its points, in order.
    pub points: Vec<(f64, f64)>,
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

impl Forest {
    const ROW: f64 = 17.0;
    const TOP: f64 = 8.0;

    fn height(&self) -> f64 {
        Self::TOP + Self::ROW * self.rows.len() as f64 + 36.0
    }

    fn body(&self) -> String {
        let left = 8.0
            + 5.6
                * self
                    .rows
                    .iter()
                    .map(|row| row.label.chars().count())
                    .max()
                    .unwrap_or(0) as f64;
        let left = left.clamp(56.0, 150.0);
        let right = WIDTH - 44.0;
        // Symmetric around 1, so that a glance sees which side the rows lie on; the margin is inside.
        let reach = self
            .rows
            .iter()
            .flat_map(|row| {
                let (low, high) = row.interval.unwrap_or((row.ratio, row.ratio));
                [
                    row.ratio,
                    low.max(row.ratio / 4.0),
                    high.min(row.ratio * 4.0),
                ]
            })
            .chain([self.margin, 1.2])
            .filter(|value| *value > 0.0 && value.is_finite())
            .map(|value| value.ln().abs())
            .fold(0.0, f64::max)
            .min(64.0_f64.ln())
            * 1.06;
        let x = |value: f64| {
            left + (right - left) * (value.ln().clamp(-reach, reach) + reach) / (2.0 * reach)
        };
        let bottom = Self::TOP + Self::ROW * self.rows.len() as f64;
        let mut body = String::new();
        if self.margin > 1.0 {
            let (from, to) = (x(1.0 / self.margin), x(self.margin));
            body.push_str(&format!(
                "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" class=\"band\"/>",
                n(from),
                n(Self::TOP - 4.0),
                n(to - from),
                n(bottom - Self::TOP + 4.0)
            ));
        }
        for tick in ratio_ticks(reach, right - left) {
            let at = x(tick);
            let class = if tick == 1.0 { "unity" } else { "grid" };
            body.push_str(&format!(
                "<path d=\"M{} {}V{}\" class=\"{class}\"/>",
                n(at),
                n(Self::TOP - 4.0),
                n(bottom)
            ));
            body.push_str(&label(
                at,
                bottom + 12.0,
                "middle",
                "tick",
                &format!("{tick}×"),
            ));
        }
        for (index, row) in self.rows.iter().enumerate() {
            let y = Self::TOP + Self::ROW * (index as f64 + 0.5);
            body.push_str(&label(left - 8.0, y + 3.5, "end", "row", &row.label));
            if let Some((low, high)) = row.interval {
                body.push_str(&format!(
                    "<path d=\"M{} {}H{}\" class=\"whisker\"/>",
                    n(x(low.max(1e-9))),
                    n(y),
                    n(x(high))
                ));
            }
            let class = if row.shown == Shown::Corrected {
                "point"
            } else {
                "point hollow"
            };
            let at = x(row.ratio);
            body.push_str(&format!(
                "<circle cx=\"{}\" cy=\"{}\" r=\"3.8\" class=\"{class}\"/>",
                n(at),
                n(y)
            ));
            if row.shown == Shown::Alone {
                body.push_str(&format!(
                    "<circle cx=\"{}\" cy=\"{}\" r=\"1.3\" class=\"point\"/>",
                    n(at),
                    n(y)
                ));
            }
            body.push_str(&label(
                WIDTH - 2.0,
                y + 3.5,
                "end",
                "value",
                &format::ratio(row.ratio),
            ));
        }
        body.push_str(&label(
            2.0,
            bottom + 28.0,
            "start",
            "end",
            &format!("← {}", self.ends.0),
        ));
        body.push_str(&label(
            WIDTH - 2.0,
            bottom + 28.0,
            "end",
            "end",
            &format!("{} →", self.ends.1),
        ));
        body
    }
}

fn ratio_ticks(reach: f64, width: f64) -> Vec<f64> {
    let candidates: &[f64] = if reach < 0.6 && width < 190.0 {
        &[0.67, 1.0, 1.5]
    } else if reach < 0.6 {
        &[0.67, 0.8, 1.0, 1.25, 1.5]
    } else if reach < 1.2 {
        &[0.33, 0.5, 1.0, 2.0, 3.0]
    } else {
        &[0.02, 0.1, 0.25, 1.0, 4.0, 10.0, 50.0]
    };
    candidates
        .iter()
        .copied()
        .filter(|tick| tick.ln().abs() <= reach)
        .collect()
}

impl Lines {
    fn body(&self) -> String {
        let (left, right, top, bottom) = (44.0, WIDTH - 8.0, 18.0, 160.0);
        let all = || self.series.iter().flat_map(|series| &series.points);
        let across = Range::over(self.x.scale, all().map(|point| point.0));
        let up = Range::over(self.y.scale, all().map(|point| point.1));
        let x = |value: f64| left + (right - left) * across.share(value);
        let y = |value: f64| bottom - (bottom - top) * up.share(value);
        let mut body = String::new();
        for (value, text) in up.ticks() {
            let at = y(value);
            body.push_str(&format!(
                "<path d=\"M{} {}H{}\" class=\"grid\"/>",
                n(left),
                n(at),
                n(right)
            ));
            body.push_str(&label(left - 6.0, at + 3.5, "end", "tick", &text));
        }
        let mut last = f64::NEG_INFINITY;
        for (value, text) in across.ticks() {
            let at = x(value);
            // Half the width of this text and of the one before, roughly, must fit between them.
            if at - last < 8.0 + 5.0 * text.chars().count() as f64 {
                continue;
            }
            last = at;
            body.push_str(&format!(
                "<path d=\"M{} {}v4\" class=\"axis\"/>",
                n(at),
                n(bottom)
            ));
            body.push_str(&label(at, bottom + 15.0, "middle", "tick", &text));
        }
        body.push_str(&format!(
            "<path d=\"M{} {}H{}\" class=\"axis\"/>",
            n(left),
            n(bottom),
            n(right)
        ));
        body.push_str(&label(2.0, 9.0, "start", "end", &self.y.label));
        body.push_str(&label(right, bottom + 31.0, "end", "end", &self.x.label));
        for series in &self.series {
            let path: Vec<String> = series
                .points
                .iter()
                .map(|(px, py)| format!("{} {}", n(x(*px)), n(y(*py))))
                .collect();
            if path.len() > 1 {
                body.push_str(&format!(
                    "<path d=\"M{}\" class=\"line s{}\"{}/>",
                    path.join("L"),
                    series.style % 6,
                    dash(series.style)
                ));
            }
            let marked: Vec<&(f64, f64)> = if self.markers {
                series.points.iter().collect()
            } else {
                series.points.last().into_iter().collect()
            };
            for (px, py) in marked {
                body.push_str(&marker(series.style, x(*px), y(*py), "mark"));
            }
        }
        body
    }
}

/// The extent of an axis.
struct Range {
    scale: Scale,
    low: f64,
    high: f64,
}

impl Range {
    fn over(scale: Scale, values: impl Iterator<Item = f64>) -> Self {
        let usable = |value: &f64| value.is_finite() && (scale != Scale::Log || *value > 0.0);
        let (low, high) = values
            .filter(usable)
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                (low.min(value), high.max(value))
            });
        if low > high {
            return Self {
                scale,
                low: 1.0,
                high: 10.0,
            };
        }
        match scale {
            Scale::Linear => Self {
                scale,
                low: 0.0,
                high: if high > 0.0 { high * 1.08 } else { 1.0 },
            },
            // At least a factor of three, so that noise does not fill the chart.
            Scale::Log => {
                let room = (3.0_f64.ln() - (high / low).ln()).max(0.2) / 2.0;
                Self {
                    scale,
                    low: (low.ln() - room).exp(),
                    high: (high.ln() + room).exp(),
                }
            }
            Scale::Nines => Self {
                scale,
                low: 0.0,
                high: high.max(0.9),
            },
        }
    }

    fn place(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Linear => value,
            Scale::Log => value.max(1e-12).ln(),
            Scale::Nines => -(1.0 - value).max(1e-9).ln(),
        }
    }

    fn share(&self, value: f64) -> f64 {
        let (low, high) = (self.place(self.low), self.place(self.high));
        if high <= low {
            0.5
        } else {
            ((self.place(value) - low) / (high - low)).clamp(0.0, 1.0)
        }
    }

    fn ticks(&self) -> Vec<(f64, String)> {
        match self.scale {
            Scale::Nines => [
                (0.0, "0"),
                (0.5, "50"),
                (0.9, "90"),
                (0.99, "99"),
                (0.999, "99.9"),
                (0.9999, "99.99"),
                (0.99999, "99.999"),
            ]
            .into_iter()
            .filter(|(value, _)| *value <= self.high)
            .map(|(value, text)| (value, text.to_owned()))
            .collect(),
            Scale::Linear => {
                let step = nice_step(self.high / 4.0);
                (0..=10)
                    .map(|index| f64::from(index) * step)
                    .take_while(|value| *value <= self.high)
                    .map(|value| (value, short(value)))
                    .collect()
            }
            Scale::Log => {
                let decades = (self.high / self.low).log10();
                let steps: &[f64] = if decades <= 1.5 {
                    &[1.0, 2.0, 5.0]
                } else {
                    &[1.0]
                };
                let first = self.low.log10().floor() as i32;
                let last = self.high.log10().ceil() as i32;
                (first..=last)
                    .flat_map(|power| steps.iter().map(move |step| step * 10.0_f64.powi(power)))
                    .filter(|value| (self.low..=self.high).contains(value))
                    .map(|value| (value, short(value)))
                    .collect()
            }
        }
    }
}

fn nice_step(rough: f64) -> f64 {
    let power = 10.0_f64.powf(rough.max(1e-12).log10().floor());
    let factor = [1.0, 2.0, 2.5, 5.0, 10.0]
        .into_iter()
        .find(|factor| factor * power >= rough)
        .unwrap_or(10.0);
    factor * power
}

/// `0.5`, `20`, `5k`, `2M`.
fn short(value: f64) -> String {
    let trim = |value: f64| {
        let text = format!("{value:.3}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    if value >= 1e6 {
        format!("{}M", trim(value / 1e6))
    } else if value >= 1e3 {
        format!("{}k", trim(value / 1e3))
    } else {
        trim(value)
    }
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

    #[test]
    fn percentile_axis_spreads_the_tail() {
        let range = Range {
            scale: Scale::Nines,
            low: 0.0,
            high: 0.999,
        };
        assert!((range.share(0.9) - 1.0 / 3.0).abs() < 1e-9);
        assert!((range.share(0.99) - 2.0 / 3.0).abs() < 1e-9);
    }
}
