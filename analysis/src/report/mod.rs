//! The one-page report that ends in a decision.
//!
//! [`model`] turns a summary and its manifest into sections of tables, charts and text; [`html`]
//! and [`markdown`] only lay that model out, so that both carry the same content.

mod charts;
pub mod datum;
pub mod html;
pub mod markdown;
pub mod model;
#[cfg(test)]
mod palette;
mod sections;
pub mod state;
pub mod svg;
mod tables;

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
}

/// The self-contained page, `report.html`.
#[must_use]
pub fn report_html(input: &ReportInput<'_>) -> String {
    html::render(&model::build(input))
}

/// The same content for a pull request, `report.md`.
#[must_use]
pub fn report_markdown(input: &ReportInput<'_>) -> String {
    markdown::render(&model::build(input))
}
