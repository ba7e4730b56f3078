//! The raw data of a run, as its summary is made of.

use bakeoff_crds::capacity::CapacityRecord;
use bakeoff_crds::conformance::ConformanceRecord;
use bakeoff_crds::result::TrialRecord;
use bakeoff_crds::run::Manifest;
use bakeoff_crds::schedule::Trial;

/// The raw data of one run.
#[derive(Clone, Copy, Debug)]
pub struct RunData<'a> {
    /// `manifest.json`.
    pub manifest: &'a Manifest,
    /// Every attempt that ended, in any order.
    pub records: &'a [TrialRecord],
    /// Attempts that a lost generator left unfinished.
    pub interrupted: &'a [Interrupted],
    /// What the searches for capacities found, in any order.
    pub capacities: &'a [CapacityRecord],
    /// What of S3 the stores keep, in any order; of runs of earlier versions nothing.
    pub conformance: &'a [ConformanceRecord],
}

impl<'a> RunData<'a> {
    /// A run of which nothing is left but its manifest and the attempts that ended.
    #[must_use]
    pub fn new(manifest: &'a Manifest, records: &'a [TrialRecord]) -> Self {
        Self {
            manifest,
            records,
            interrupted: &[],
            capacities: &[],
            conformance: &[],
        }
    }
}

/// An attempt that a generator left unfinished. Nothing of it is merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interrupted {
    /// What was planned.
    pub trial: Trial,
    /// The attempt, from 1.
    pub attempt: i32,
    /// Why nothing is known of its end.
    pub cause: Cause,
}

/// Why nothing is known of the end of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The generator was told to stop.
    OnDemand,
    /// The generator was lost.
    Lost,
    /// Its record is there and cannot be read: this file, for this reason.
    Damaged(String),
}
