//! What a report is made of.

use bakeoff_crds::history::RegressionStatus;
use bakeoff_crds::run::Manifest;

use crate::index::Entry;
use crate::summary::Summary;

/// What a report is made of.
#[derive(Clone, Copy, Debug)]
pub struct ReportInput<'a> {
    /// The summary of the run.
    pub summary: &'a Summary,
    /// `manifest.json`.
    pub manifest: &'a Manifest,
    /// The files that the report links to, relative to its own place: raw data and `summary.json`.
    pub files: &'a [Entry],
    /// What the run says of the history that it belongs to.
    pub history: Option<&'a RegressionStatus>,
    /// Raw data that an earlier index lists otherwise, a sentence each.
    pub altered: &'a [String],
}
