//! Bakeoff's arithmetic: from raw trial records to a summary, objectives, a decision and a page.
//!
//! Everything here is a synchronous, pure function of its arguments: no file, network, clock or
//! environment is read, and the same input gives the same bytes.
//!
//! ```text
//! records ──merge──> measured ──objective──> met or not ─────────┐
//!                        └──────decision───> Go, NoGo, Inconclusive ┴─> summary ──report───> report.html, report.md
//!                                                                          └───outcome──> status
//! ```

pub mod compare;
pub mod decision;
pub mod early_stop;
pub mod format;
pub mod handover;
pub mod index;
pub mod kinds;
pub mod measured;
pub mod merge;
pub mod metric;
pub mod objective;
pub mod report;
pub mod series;
pub mod stats;
pub mod summary;
pub mod sustain;
pub mod vocabulary;

#[cfg(test)]
#[path = "../tests/common/mod.rs"]
mod sample;
