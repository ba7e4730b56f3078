//! Lines over two axes.

use super::{WIDTH, dash, label, marker, n};

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
    /// What happened at instants of the horizontal axis.
    pub events: Vec<Events>,
}

/// Instants at which something happened, drawn as upright strokes with a letter above.
#[derive(Clone, Debug, PartialEq)]
pub struct Events {
    /// The letter, which the axis label explains.
    pub letter: char,
    /// Where on the horizontal axis.
    pub at: Vec<f64>,
}

/// Strokes of one kind at most that carry their letter: more would run into each other.
const LETTERS: usize = 24;

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
    /// Even steps over the extent of the values, wherever 0 is: for the course of one figure.
    Fitted,
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

impl Lines {
    pub(super) fn body(&self) -> String {
        let (left, right, top, bottom) = (44.0, WIDTH - 8.0, 18.0, 160.0);
        let all = || self.series.iter().flat_map(|series| &series.points);
        let events = self.events.iter().flat_map(|events| &events.at).copied();
        let across = Range::over(self.x.scale, all().map(|point| point.0).chain(events));
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
        for events in &self.events {
            // Many strokes would hide the lines: they shrink to ticks along the upper edge.
            let few = events.at.len() <= LETTERS;
            for &value in &events.at {
                let at = x(value);
                body.push_str(&format!(
                    "<path d=\"M{} {}V{}\" class=\"event\"/>",
                    n(at),
                    n(top),
                    n(if few { bottom } else { top + 6.0 })
                ));
                if few {
                    let letter = events.letter.to_string();
                    body.push_str(&label(at, top - 1.0, "middle", "tick", &letter));
                }
            }
        }
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
            Scale::Fitted => {
                let room = ((high - low) * 0.08).max(high.abs() * 0.01);
                // Nothing but zero has no size of its own.
                let room = if room > 0.0 { room } else { 1.0 };
                Self {
                    scale,
                    low: low - room,
                    high: high + room,
                }
            }
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
            Scale::Linear | Scale::Fitted => value,
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
            Scale::Fitted => {
                let step = nice_step((self.high - self.low) / 4.0);
                let first = (self.low / step).ceil();
                (0..=10)
                    .map(|index| (first + f64::from(index)) * step)
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
    let size = value.abs();
    if size >= 1e6 {
        format!("{}M", trim(value / 1e6))
    } else if size >= 1e3 {
        format!("{}k", trim(value / 1e3))
    } else if size >= 0.01 {
        trim(value)
    } else if size > 1e-12 {
        format!("{value:.1e}")
    } else {
        "0".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_of_a_course_are_told_apart_whatever_its_size() {
        for values in [
            [0.0, 0.0],
            [2e-4, 4e-4],
            [-3.0, 5.0],
            [7.0, 7.0],
            [1e-9, 2e-9],
            [4e6, 9e6],
        ] {
            let ticks = Range::over(Scale::Fitted, values.into_iter()).ticks();
            let mut texts: Vec<&str> = ticks.iter().map(|(_, text)| text.as_str()).collect();
            assert!(texts.len() > 1, "{values:?}: {texts:?}");
            assert!(!texts.contains(&"-0"), "{values:?}: {texts:?}");
            texts.dedup();
            assert_eq!(texts.len(), ticks.len(), "{values:?}: {texts:?}");
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
