//! Cells of an experiment: the combinations of the levels of its factors.

use std::collections::BTreeMap;

/// One combination of factor levels, by factor name, as they stand in the spec.
pub type Cell = BTreeMap<String, String>;

/// A cell for people and for the names of objectives: `concurrency=8 objectSize=4Ki`; empty without factors.
#[must_use]
pub fn label(levels: &Cell) -> String {
    let levels = levels
        .iter()
        .map(|(factor, level)| format!("{factor}={level}"));
    levels.collect::<Vec<_>>().join(" ")
}

/// Factor names, as they stand in cells.
pub mod factor {
    /// Bytes of an object.
    pub const OBJECT_SIZE: &str = "objectSize";
    /// Clients of a closed load.
    pub const CONCURRENCY: &str = "concurrency";
    /// Planned operations per second of an open load.
    pub const RATE_PER_SECOND: &str = "ratePerSecond";
    /// Per cent of the weakest backend's capacity.
    pub const CAPACITY_PERCENT: &str = "capacityPercent";
    /// Objects of one run.
    pub const OBJECTS_PER_RUN: &str = "objectsPerRun";
    /// How a cold read lists, and what guards the steps of a race.
    pub const MODE: &str = "mode";
    /// Snapshots per object.
    pub const SNAPSHOTS_PER_OBJECT: &str = "snapshotsPerObject";
    /// Snapshots per second.
    pub const ARRIVALS_PER_SECOND: &str = "arrivalsPerSecond";
    /// Runs that are open at the same time.
    pub const ACTIVE_RUNS: &str = "activeRuns";
    /// Fillfactor of the table, percent.
    pub const FILLFACTOR: &str = "fillfactor";
    /// Runs that begin in a month.
    pub const RUNS_PER_MONTH: &str = "runsPerMonth";
    /// How old runs leave the table.
    pub const METHOD: &str = "method";
    /// The profile of autovacuum settings.
    pub const AUTOVACUUM: &str = "autovacuum";
    /// Whether another transaction holds a snapshot.
    pub const SNAPSHOT: &str = "snapshot";
    /// Time of the recording in a hundredth of that of its replay.
    pub const SPEED_PERCENT: &str = "speedPercent";
}
