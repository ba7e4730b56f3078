//! What one generator measured in a trial.

use std::collections::BTreeMap;

use bakeoff_crds::result::CheckRecord;

use crate::checker::cas_history::Event;
use crate::drivers::postgres as pg;
use crate::instrument::clock_offset::ClockOffset;
use crate::instrument::drive::Counts;
use crate::instrument::meter::Usage;
use crate::instrument::record::Recorded;

/// What one generator's part of a trial yields.
#[derive(Debug, Default)]
pub struct Part {
    /// Operations of the window.
    pub counts: Counts,
    /// Planned operations per second of this generator; 0 in a closed load.
    pub offered_per_second: f64,
    /// Latencies, series, counts.
    pub recorded: Recorded,
    /// What was checked.
    pub checks: Vec<CheckRecord>,
    /// The history, JSON lines compressed with gzip; empty where the workload keeps none.
    pub history: Vec<u8>,
    /// A history that can be checked only together with those of the other generators, see [`super::conclude`]; absent
    /// where the workload has none.
    pub events: Option<Vec<Event>>,
    /// The window on the monotonic clock.
    pub window: (u64, u64),
    /// The kind of operation whose send lag judges the generator.
    pub planned_kind: &'static str,
    /// Whether the load was open.
    pub open_loop: bool,
    /// How far after the agreed instant the load began, nanoseconds.
    pub start_skew: u64,
    /// CPU, throttling and memory.
    pub usage: Usage,
    /// Figures of the backend's state over the window, by name; of generator 0 only, so nothing is merged.
    pub figures: BTreeMap<String, f64>,
    /// How the backend's state went over the window, for charts; of generator 0 only as well.
    pub state: Option<bakeoff_crds::result::StateSeries>,
    /// What the backend said of itself each second of the window.
    pub samples: Vec<pg::observe::Sample>,
    /// What its log says of autovacuum in the window, where it can be read.
    pub logged: Option<pg::log::Logged>,
}

impl Part {
    /// The kind of operation that the load plans, whose seconds make the series.
    #[must_use]
    pub fn series_kind(&self) -> &'static str {
        self.recorded.series_kind
    }

    /// What the server's log adds to the figures.
    #[must_use]
    pub fn log_figures(&self) -> BTreeMap<String, f64> {
        let logged = self.logged.as_ref();
        logged.map_or_else(BTreeMap::new, |logged| logged.figures(&self.samples))
    }
}

/// What one generator contributes to a history that all of them have in common.
#[derive(Clone, Debug, Default)]
pub struct Share {
    /// What its workers did, by its own monotonic clock.
    pub events: Vec<Event>,
    /// How that clock differs from generator 0's.
    pub clock: ClockOffset,
}

/// What the histories of all generators say together.
#[derive(Debug, Default)]
pub struct Conclusion {
    /// What was checked.
    pub checks: Vec<CheckRecord>,
    /// Counts of the workload.
    pub counters: BTreeMap<String, i64>,
    /// The history that was checked, JSON lines compressed with gzip.
    pub history: Vec<u8>,
}
