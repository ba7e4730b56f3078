//! Traces of what is in a Postgres server, or goes on in one: read, and nothing left behind.
//!
//! Whatever is done to a server that others need is bounded: one statement that reads, for so long and so many rows; or a slot that
//! the server drops with the session. It is a standby unless somebody says otherwise, and no table is read from one end to the
//! other unless somebody says so.

mod decoding;
mod error;
mod pgoutput;
mod query;
mod rows;
mod scan;
mod session;

use std::path::Path;

use bakeoff_trace::Manifest;
use bakeoff_trace::builder::{Builder, Settings};
use bakeoff_trace::format::Source as MadeFrom;
use bakeoff_trace::import::Options;

pub use decoding::{Decoding, decode};
pub use error::CaptureError;
pub use query::{Columns, Source};
pub use session::Bounds;

use crate::drivers::postgres::Connector;

/// What is read from tables.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Where the events are.
    pub source: Source,
    /// Which words mean what, what a bare number is that stands for a time, from when to before when.
    pub options: Options,
    /// How much earlier than the window reading begins, microseconds: runs of that time are known to be open at its start.
    pub reach_back_micros: i64,
}

/// Reads events and writes their trace into `out`; sorts in files of `scratch`.
///
/// # Errors
/// The server does not answer or refuses, is a primary, would have to read a whole table or has more rows than stated, the events
/// do not make up runs, or the trace cannot be written. No trace is written then.
pub async fn read(
    connector: &Connector,
    bounds: &Bounds,
    reading: &Reading,
    (out, scratch): (&Path, &Path),
) -> Result<Manifest, CaptureError> {
    let client = session::open(connector, bounds).await?;
    let select = query::select(&client, reading, bounds.most_rows).await?;
    scan::refuse(&client, &select, bounds).await?;
    let (from, to) = reading.options.window;
    let settings = Settings {
        repair: reading.options.repair,
        window: (from, to),
        ..Settings::default()
    };
    let mut builder = Builder::new(scratch, settings);
    rows::copy(&client, &select, &reading.options, bounds, &mut builder).await?;
    // Nothing is kept open on the server while the trace is sorted and written.
    drop(client);
    let method = format!("capture of {}", reading.source.name());
    Ok(builder.finish(out, MadeFrom::Capture, method)?)
}
