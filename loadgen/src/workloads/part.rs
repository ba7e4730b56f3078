//! What one generator measured in a trial.

use std::collections::BTreeMap;

use bakeoff_crds::figure::{Counter, Figure};
use bakeoff_crds::result::CheckRecord;

use crate::checker::cas_history::Event;
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
    /// Raw data to keep beside the record.
    pub artefacts: Vec<RawFile>,
    /// A history that can be checked only together with those of the other generators, see [`super::conclude`]; absent
    /// where the workload has none.
    pub shared_history: Option<Vec<Event>>,
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
    /// Whether a server was killed on purpose: that it began anew is no surprise.
    pub disturbed: bool,
    /// Figures of the backend's state over the window, by name; of generator 0 only, so nothing is merged.
    pub figures: BTreeMap<Figure, f64>,
    /// How the backend's state went over the window, for charts; of generator 0 only as well.
    pub state: Option<bakeoff_crds::result::StateSeries>,
    /// What held back the removal of dead rows over the window; of generator 0 only as well.
    pub horizon: Option<bakeoff_crds::result::HorizonHeld>,
}

impl Part {
    /// The kind of operation that the load plans, whose seconds make the series.
    #[must_use]
    pub fn series_kind(&self) -> &'static str {
        self.recorded.series_kind
    }
}

/// A file of raw data.
#[derive(Clone, Debug)]
pub struct RawFile {
    /// Its name, see [`crate::store::layout`].
    pub name: &'static str,
    /// Whether each generator has one of its own, or generator 0 alone.
    pub of_each: bool,
    /// What it holds; one that is empty is not kept.
    pub bytes: Vec<u8>,
}

impl RawFile {
    /// A file of generator 0 with one line of JSON for each item.
    ///
    /// # Errors
    /// When an item is no JSON.
    pub fn lines<T: serde::Serialize>(name: &'static str, items: &[T]) -> std::io::Result<Self> {
        let mut bytes = Vec::new();
        for item in items {
            serde_json::to_writer(&mut bytes, item).map_err(std::io::Error::other)?;
            bytes.push(b'\n');
        }
        Ok(Self {
            name,
            of_each: false,
            bytes,
        })
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
    pub counters: BTreeMap<Counter, i64>,
    /// The history that was checked.
    pub artefacts: Vec<RawFile>,
}
