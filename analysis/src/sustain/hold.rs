//! Whether a hold held, and if not, why not; and what it did not see. (Pure.)

use std::collections::BTreeMap;

use bakeoff_crds::figure::Figure;
use bakeoff_crds::spec::Sustain;

use super::Observation;
use crate::measured::CellBackend;

/// Planned operations of each fifth that must end well within the objective, percent: what makes it a p99.
const WITHIN_PERCENT: f64 = 99.0;
/// Bytes below which a growth is some pages more or less.
const SOME_PAGES: f64 = 1_048_576.0;
/// Runs of autovacuum before which a table that grows shows nothing: it grows once by what is dead between two of them.
const VACUUMED: f64 = 2.0;
/// Turnovers before which an index that grows shows nothing, see `SoakPlateau`: three in the second half.
const REPLACED: f64 = 6.0;

/// How far the stretch of a trace may be from the mean of the trace to speak for its rate, percent.
const TYPICAL_PERCENT: f64 = 10.0;

/// Why a hold was not held, in the order in which they are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// Too few of the planned operations ended well.
    Served,
    /// In some fifth too many ended too late.
    Latency,
    /// Dead rows went on rising.
    Dead,
    /// The table went on growing.
    Table,
    /// The indexes went on growing.
    Index,
}

impl Why {
    /// In a few words, for tables.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Served => "not served",
            Self::Latency => "p99 in a fifth",
            Self::Dead => "dead rows rise",
            Self::Table => "table grows",
            Self::Index => "index grows",
        }
    }
}

/// What a hold came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    /// The block it was.
    pub block: i32,
    /// Its rate.
    pub rate: u32,
    /// Why it was not held; empty when it was.
    pub why: Vec<Why>,
    /// What it did not see of what a hold has to; empty when it was long enough.
    pub unseen: Vec<String>,
}

impl Held {
    /// Whether it was held.
    #[must_use]
    pub fn held(&self) -> bool {
        self.why.is_empty()
    }

    /// As the search takes it.
    #[must_use]
    pub fn observation(&self) -> Observation {
        Observation {
            rate: self.rate,
            held: Some(self.held()),
        }
    }
}

/// Judges a hold by the figures of its window; nothing where it states no rate. What was not measured is not satisfied.
#[must_use]
pub fn judge(block: i32, figures: &BTreeMap<Figure, f64>, spec: &Sustain) -> Option<Held> {
    let figure = |name: Figure| figures.get(&name).copied();
    let rate = figure(Figure::OfferedPerSecond)?.round() as u32;
    let objective = &spec.objective;
    let mut why = Vec::new();
    let served = f64::from(objective.served_per_mille) / 10.0;
    if figure(Figure::ServedPercent).is_none_or(|percent| percent < served) {
        why.push(Why::Served);
    }
    if figure(Figure::FifthWithinPercent).is_none_or(|percent| percent < WITHIN_PERCENT) {
        why.push(Why::Latency);
    }
    // One that is too short for a trend has none; what it has not seen is said.
    if figure(Figure::DeadRisePercent)
        .is_some_and(|points| points > f64::from(objective.dead_percent))
    {
        why.push(Why::Dead);
    }
    let grows = |percent: Figure, bytes: Figure| {
        let (Some(percent), Some(bytes)) = (figure(percent), figure(bytes)) else {
            return false;
        };
        let grown = bytes * (1.0 - 1.0 / (1.0 + percent / 100.0));
        percent > f64::from(objective.growth_percent) && grown >= SOME_PAGES
    };
    let seen = |name: Figure| figure(name).unwrap_or(0.0);
    if seen(Figure::Autovacuums) >= VACUUMED
        && grows(Figure::LateTableGrowthPercent, Figure::TableBytes)
    {
        why.push(Why::Table);
    }
    if seen(Figure::Turnovers) >= REPLACED
        && grows(Figure::LateIndexGrowthPercent, Figure::IndexBytes)
    {
        why.push(Why::Index);
    }
    let atypical = figure(Figure::PlannedPercent)
        .filter(|percent| (percent - 100.0).abs() > TYPICAL_PERCENT)
        .map(|percent| format!("{percent:.0} % of the operations of its rate, for its stretch of the trace is not as the whole"));
    let unseen = [
        (Figure::Turnovers, spec.hold.turnovers, "turnovers"),
        (
            Figure::Autovacuums,
            spec.hold.autovacuums,
            "runs of autovacuum",
        ),
        (Figure::Checkpoints, spec.hold.checkpoints, "checkpoints"),
    ]
    .into_iter()
    .filter(|(name, least, _)| seen(*name) < f64::from(*least))
    .map(|(name, least, words)| match figure(name) {
        Some(seen) if seen.fract() == 0.0 => format!("{seen:.0} of {least} {words}"),
        Some(seen) => format!("{seen:.2} of {least} {words}"),
        None => format!("{words}, which the server does not tell"),
    })
    .chain(atypical)
    .collect();
    Some(Held {
        block,
        rate,
        why,
        unseen,
    })
}

/// The holds of a cell, in the order of their blocks.
#[must_use]
pub fn holds(on: &CellBackend, spec: &Sustain) -> Vec<Held> {
    let mut blocks: BTreeMap<i32, BTreeMap<Figure, f64>> = BTreeMap::new();
    for (figure, summary) in &on.figures {
        for point in &summary.blocks {
            blocks
                .entry(point.block)
                .or_default()
                .insert(*figure, point.value);
        }
    }
    blocks
        .iter()
        .filter_map(|(block, figures)| judge(*block, figures, spec))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> Sustain {
        serde_json::from_value(serde_json::json!({})).unwrap()
    }

    fn sound() -> BTreeMap<Figure, f64> {
        BTreeMap::from([
            (Figure::OfferedPerSecond, 700.0),
            (Figure::ServedPercent, 100.0),
            (Figure::FifthWithinPercent, 99.9),
            (Figure::DeadRisePercent, 1.0),
            (Figure::LateTableGrowthPercent, 0.5),
            (Figure::LateIndexGrowthPercent, 0.5),
            (Figure::TableBytes, 1e9),
            (Figure::IndexBytes, 1e8),
            (Figure::Turnovers, 7.0),
            (Figure::Autovacuums, 6.0),
            (Figure::Checkpoints, 2.0),
        ])
    }

    fn with(figure: Figure, value: f64) -> Held {
        let mut figures = sound();
        figures.insert(figure, value);
        judge(0, &figures, &spec()).unwrap()
    }

    #[test]
    fn each_bound_is_a_reason_of_its_own() {
        let held = judge(3, &sound(), &spec()).unwrap();
        assert!(held.held() && held.unseen.is_empty(), "{held:?}");
        assert_eq!(
            held.observation(),
            Observation {
                rate: 700,
                held: Some(true)
            }
        );
        for (figure, value, why) in [
            (Figure::ServedPercent, 99.8, Why::Served),
            (Figure::FifthWithinPercent, 98.9, Why::Latency),
            (Figure::DeadRisePercent, 20.1, Why::Dead),
            (Figure::LateTableGrowthPercent, 5.1, Why::Table),
            (Figure::LateIndexGrowthPercent, 5.1, Why::Index),
        ] {
            assert_eq!(with(figure, value).why, [why]);
        }
    }

    #[test]
    fn what_was_not_measured_is_not_satisfied() {
        for (figure, why) in [
            (Figure::ServedPercent, Why::Served),
            (Figure::FifthWithinPercent, Why::Latency),
        ] {
            let mut figures = sound();
            figures.remove(&figure);
            assert_eq!(judge(0, &figures, &spec()).unwrap().why, [why]);
        }
        let mut figures = sound();
        figures.remove(&Figure::Checkpoints);
        let held = judge(0, &figures, &spec()).unwrap();
        assert!(held.held());
        assert_eq!(held.unseen, ["checkpoints, which the server does not tell"]);
        figures.remove(&Figure::OfferedPerSecond);
        assert_eq!(judge(0, &figures, &spec()), None);
    }

    #[test]
    fn a_stretch_that_is_not_as_its_trace_does_not_speak_for_its_rate() {
        for (percent, typical) in [(91.0, true), (109.0, true), (62.0, false), (140.0, false)] {
            let held = with(Figure::PlannedPercent, percent);
            assert!(held.held());
            assert_eq!(held.unseen.is_empty(), typical, "{percent}");
        }
        let held = with(Figure::PlannedPercent, 62.0);
        assert!(held.unseen[0].starts_with("62 % of"), "{held:?}");
    }

    /// A size that may still come to rest, or grew by some pages, is no reason; what was not seen is said.
    #[test]
    fn a_growth_counts_when_it_is_one() {
        for (seen, value) in [(Figure::Autovacuums, 1.0), (Figure::TableBytes, 1e6)] {
            let mut figures = sound();
            figures.insert(Figure::LateTableGrowthPercent, 50.0);
            figures.insert(seen, value);
            assert!(judge(0, &figures, &spec()).unwrap().held());
        }
        let short = with(Figure::Autovacuums, 1.0);
        assert_eq!(short.unseen, ["1 of 5 runs of autovacuum"]);
        let mut figures = sound();
        figures.insert(Figure::LateIndexGrowthPercent, 50.0);
        figures.insert(Figure::Turnovers, 2.0);
        assert!(judge(0, &figures, &spec()).unwrap().held());
    }
}
