//! Ratios with intervals, one row for each cell.

use super::{WIDTH, escape, label, n};
use crate::format;

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
    /// A sign before the ratio where it is only a bound: "≥ ", "≤ " or "? "; else empty.
    pub sign: &'static str,
    /// The place of the ratio in `summary.json`, a JSON pointer; empty where it has none.
    pub from: String,
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

impl Forest {
    const ROW: f64 = 17.0;
    const TOP: f64 = 8.0;

    pub(super) fn height(&self) -> f64 {
        Self::TOP + Self::ROW * self.rows.len() as f64 + 36.0
    }

    pub(super) fn body(&self) -> String {
        let axis = self.axis();
        let bottom = Self::TOP + Self::ROW * self.rows.len() as f64;
        let mut body = self.band(&axis, bottom);
        for tick in ratio_ticks(axis.reach, axis.right - axis.left) {
            let at = axis.x(tick);
            let class = if tick == 1.0 { "unity" } else { "grid" };
            body.push_str(&format!(
                "<path d=\"M{} {}V{}\" class=\"{class}\"/>",
                n(at),
                n(Self::TOP - 4.0),
                n(bottom)
            ));
            let text = format!("{tick}×");
            body.push_str(&label(at, bottom + 12.0, "middle", "tick", &text));
        }
        for (index, row) in self.rows.iter().enumerate() {
            let y = Self::TOP + Self::ROW * (index as f64 + 0.5);
            body.push_str(&row.drawn(&axis, y));
        }
        let (low, high) = (format!("← {}", self.ends.0), format!("{} →", self.ends.1));
        body.push_str(&label(2.0, bottom + 28.0, "start", "end", &low));
        body.push_str(&label(WIDTH - 2.0, bottom + 28.0, "end", "end", &high));
        body
    }

    /// Symmetric around 1, so that a glance sees which side the rows lie on; the margin is inside.
    fn axis(&self) -> Axis {
        let letters = self.rows.iter().map(|row| row.label.chars().count());
        let left = 8.0 + 5.6 * letters.max().unwrap_or(0) as f64;
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
        Axis {
            left: left.clamp(56.0, 150.0),
            right: WIDTH - 44.0,
            reach,
        }
    }

    /// The margin of the decision.
    fn band(&self, axis: &Axis, bottom: f64) -> String {
        if self.margin <= 1.0 {
            return String::new();
        }
        let (from, to) = (axis.x(1.0 / self.margin), axis.x(self.margin));
        format!(
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" class=\"band\"/>",
            n(from),
            n(Self::TOP - 4.0),
            n(to - from),
            n(bottom - Self::TOP + 4.0)
        )
    }
}

impl ForestRow {
    /// Its label, its interval, its marker and its figure, around this height.
    fn drawn(&self, axis: &Axis, y: f64) -> String {
        let mut drawn = label(axis.left - 8.0, y + 3.5, "end", "row", &self.label);
        if let Some((low, high)) = self.interval {
            drawn.push_str(&format!(
                "<path d=\"M{} {}H{}\" class=\"whisker\"/>",
                n(axis.x(low.max(1e-9))),
                n(y),
                n(axis.x(high))
            ));
        }
        let class = if self.shown == Shown::Corrected {
            "point"
        } else {
            "point hollow"
        };
        let at = axis.x(self.ratio);
        let circle = |radius: &str, class: &str| {
            format!(
                "<circle cx=\"{}\" cy=\"{}\" r=\"{radius}\" class=\"{class}\"/>",
                n(at),
                n(y)
            )
        };
        drawn.push_str(&circle("3.8", class));
        if self.shown == Shown::Alone {
            drawn.push_str(&circle("1.3", "point"));
        }
        let text = format!("{}{}", self.sign, format::ratio(self.ratio));
        let class = if self.from.is_empty() {
            "value".to_owned()
        } else {
            format!("value\" data-from=\"{}", escape(&self.from))
        };
        drawn.push_str(&label(WIDTH - 2.0, y + 3.5, "end", &class, &text));
        drawn
    }
}

/// Where ratios lie, by their logarithms.
struct Axis {
    left: f64,
    right: f64,
    /// The logarithm at its right end.
    reach: f64,
}

impl Axis {
    fn x(&self, value: f64) -> f64 {
        let Self { left, right, reach } = self;
        left + (right - left) * (value.ln().clamp(-reach, *reach) + reach) / (2.0 * reach)
    }
}

fn ratio_ticks(reach: f64, width: f64) -> Vec<f64> {
    let candidates: &[f64] = if reach < 0.7 && width < 190.0 {
        &[0.67, 1.0, 1.5]
    } else if reach < 0.7 {
        &[0.67, 0.8, 1.0, 1.25, 1.5]
    } else if reach < 1.4 {
        &[0.5, 1.0, 2.0]
    } else if reach < 2.31 {
        &[0.25, 1.0, 4.0]
    } else {
        &[0.1, 1.0, 10.0]
    };
    candidates
        .iter()
        .copied()
        .filter(|tick| tick.ln().abs() <= reach)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_have_room_and_frame_what_is_drawn() {
        for width in [WIDTH - 44.0 - 150.0, WIDTH - 44.0 - 56.0] {
            for reach in (20..=450).map(|reach| f64::from(reach) / 100.0) {
                let ticks = ratio_ticks(reach, width);
                assert!(ticks.contains(&1.0), "{reach}: {ticks:?}");
                assert!(reach < 0.45 || ticks.len() >= 3, "{reach}: {ticks:?}");
                for pair in ticks.windows(2) {
                    let apart = (pair[1] / pair[0]).ln() / (2.0 * reach) * width;
                    let letters = format!("{}×{}×", pair[0], pair[1]).chars().count() as f64;
                    assert!(apart >= letters / 2.0 * 6.0, "{reach}, {width}: {ticks:?}");
                }
            }
        }
    }
}
