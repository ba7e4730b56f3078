//! The one-page report that ends in a decision.
//!
//! The page is a model of sections with tables, charts and text, made of a summary and its manifest; [`html`]
//! and [`markdown`] only lay that [`model`] out, so that both carry the same content.

mod charts;
pub mod datum;
mod frontier;
pub mod html;
mod input;
pub mod markdown;
pub mod model;
pub mod page;
#[cfg(test)]
mod palette;
pub mod plan;
pub mod recording;
mod sections;
pub mod state;
pub mod svg;
mod tables;
pub mod trend;

pub use input::ReportInput;

/// The self-contained page, `report.html`.
#[must_use]
pub fn report_html(input: &ReportInput<'_>) -> String {
    html::render(&page::build(input))
}

/// The same content for a pull request, `report.md`.
#[must_use]
pub fn report_markdown(input: &ReportInput<'_>) -> String {
    markdown::render(&page::build(input))
}
