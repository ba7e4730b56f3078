//! The figures of a trace as a table for a terminal.

use std::fmt::Write as _;

use super::{Busiest, Inspection};
use crate::format::{Counts, Quantiles};

/// A duration for people.
fn duration(micros: u64) -> String {
    let units = [
        (86_400_000_000, "d"),
        (3_600_000_000, "h"),
        (60_000_000, "min"),
        (1_000_000, "s"),
        (1_000, "ms"),
    ];
    let unit = units.into_iter().find(|(unit, _)| micros >= *unit);
    unit.map_or_else(
        || format!("{micros} us"),
        |(unit, name)| format!("{:.1} {name}", micros as f64 / unit as f64),
    )
}

impl Inspection {
    /// The figures: what each is, and the figure.
    #[must_use]
    pub fn rows(&self) -> Vec<(&'static str, String)> {
        let Counts {
            open,
            created,
            transition,
            done,
        } = self.counts;
        let quantiles = |quantiles: Option<Quantiles>, show: &dyn Fn(u64) -> String| match quantiles
        {
            None => "-".to_owned(),
            Some(Quantiles { p50, p90, p99, max }) => {
                format!(
                    "{} / {} / {} / {}",
                    show(p50),
                    show(p90),
                    show(p99),
                    show(max)
                )
            }
        };
        let busiest = |busiest: Busiest| {
            format!(
                "{} events, {:.1} times the mean, after {}",
                busiest.events,
                busiest.times_mean,
                duration(busiest.at_micros)
            )
        };
        vec![
            ("length", duration(self.span_micros)),
            ("runs", self.runs.to_string()),
            (
                "events",
                format!("{created} created, {transition} transitions, {done} done"),
            ),
            (
                "events per second",
                format!("{:.3}", self.events_per_second),
            ),
            ("busiest second", busiest(self.busiest_second)),
            ("busiest minute", busiest(self.busiest_minute)),
            ("busiest hour", busiest(self.busiest_hour)),
            (
                "open",
                format!("{open} at the start, {} at the end", self.open.at_end),
            ),
            (
                "open over time",
                format!(
                    "mean {:.1}, peak {}",
                    self.open.mean_thousandths as f64 / 1e3,
                    self.open.peak
                ),
            ),
            (
                "never end",
                format!("{:.1} % of the runs", self.never_end_percent),
            ),
            ("gaps of no time", format!("{:.1} %", self.zero_gap_percent)),
            (
                "events per run, p50/p90/p99/max",
                quantiles(self.quantiles.events_per_run, &|number| number.to_string()),
            ),
            (
                "gap, p50/p90/p99/max",
                quantiles(self.quantiles.gap_micros, &duration),
            ),
            (
                "life, p50/p90/p99/max",
                quantiles(self.quantiles.life_micros, &duration),
            ),
        ]
    }

    /// The figures as a table for a terminal, with the rate over time as bars.
    #[must_use]
    pub fn table(&self) -> String {
        let most = self
            .bins
            .iter()
            .map(|bin| bin.events)
            .max()
            .unwrap_or(0)
            .max(1);
        let bars: String = self
            .bins
            .chunks(4)
            .map(|bins| bar(bins.iter().map(|bin| bin.events).max().unwrap_or(0), most))
            .collect();
        let mut rows = self.rows();
        rows.push(("rate over time", bars));
        let mut table = String::new();
        for (name, value) in rows {
            // Writing to a string cannot fail.
            let _ = writeln!(table, "{}", format!("{name:<32} {value}").trim_end());
        }
        table
    }
}

/// A number as a character: the emptier, the lower.
fn bar(number: u64, most: u64) -> char {
    const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let height = (u128::from(number) * 8).div_ceil(u128::from(most)) as usize;
    BARS.get(height).copied().unwrap_or('█')
}
