//! The format `trace.bakeoff.dev/v1`: a folder with `trace.json` and `events.csv.gz`.
//!
//! `events.csv.gz` is a table with the header `at_micros,run,kind,value`, sorted by time. It consists of many gzip members,
//! which every gzip tool reads as one file; `trace.json` lists where they begin, so that reading can begin in the middle.

mod event;
mod manifest;
mod reader;

pub(crate) use event::parse;
pub use event::{Event, HEADER, Kind, MOST_MICROS};
pub(crate) use manifest::MOST_IN_BLOCK;
pub use manifest::{
    API_VERSION, Counts, Distributions, Manifest, Open, Quantiles, RestartPoint, Source,
};
pub use reader::{Events, Trace};

/// The file with the description.
pub const MANIFEST_FILE: &str = "trace.json";
/// The file with the events.
pub const EVENTS_FILE: &str = "events.csv.gz";

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
