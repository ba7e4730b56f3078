//! Makes traces of logs that systems have anyway.
//!
//! Inputs are read once and as a stream, compressed by gzip or not. How long a line, a string or a tag may be, and how deep
//! things may lie in each other, is bounded, so that no input takes more than its share of memory.

mod cloudevents;
mod csv;
mod events;
mod input;
mod json;
mod jsonl;
mod options;
mod otlp;
mod temporal;
mod xes;

use std::io::Read;
use std::path::Path;

use crate::builder::Builder;
use crate::error::named;
use crate::format::{Manifest, Source};
use crate::writer::Writer;
use crate::{Error, grammar};

pub use options::{Ends, Fields, Options};

/// What an input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A table with a header.
    Csv,
    /// JSON objects, one after the other or in an array.
    Jsonl,
    /// An event log of IEEE 1849.
    Xes,
    /// CloudEvents 1.0 as JSON, one after the other or as a batch.
    CloudEvents,
    /// Spans of OpenTelemetry as JSON.
    Otlp,
    /// Histories of Temporal as JSON.
    Temporal,
    /// The table of a trace, to be checked or repaired.
    Events,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Csv,
        Self::Jsonl,
        Self::Xes,
        Self::CloudEvents,
        Self::Otlp,
        Self::Temporal,
        Self::Events,
    ];

    /// Its name, as a command line has it, and what a trace calls it.
    fn names(self) -> (&'static str, Source) {
        match self {
            Self::Csv => ("csv", Source::Csv),
            Self::Jsonl => ("jsonl", Source::Jsonl),
            Self::Xes => ("xes", Source::Xes),
            Self::CloudEvents => ("cloudevents", Source::CloudEvents),
            Self::Otlp => ("otlp", Source::Otlp),
            Self::Temporal => ("temporal", Source::Temporal),
            Self::Events => ("events", Source::Events),
        }
    }

    /// Its name, as a command line has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.names().0
    }

    fn source(self) -> Source {
        self.names().1
    }
}

impl std::str::FromStr for Format {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        named(
            "format",
            text,
            &Self::ALL.map(|format| (format.name(), format)),
        )
    }
}

/// What an import came to.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The description of the trace, as it was written.
    pub manifest: Manifest,
}

/// Reads one input and writes its trace into `out`. Sorts in files of `scratch`, which go away by themselves.
///
/// # Errors
/// The input cannot be read as what it is said to be, holds events that do not fit without a repair having been asked for, or
/// the trace cannot be written.
pub fn run(
    format: Format,
    input: impl Read,
    options: &Options,
    out: &Path,
    scratch: &Path,
) -> Result<Imported, Error> {
    run_all(format, [Ok(input)], options, out, scratch)
}

/// Reads several inputs, as if they were one, and writes their trace. Each is asked for when the one before it was read.
///
/// # Errors
/// Those of [`run`]; an input cannot be opened; the format takes one input only.
pub fn run_all<R: Read>(
    format: Format,
    inputs: impl IntoIterator<Item = Result<R, Error>>,
    options: &Options,
    out: &Path,
    scratch: &Path,
) -> Result<Imported, Error> {
    let mut inputs = inputs.into_iter();
    if format == Format::Events {
        let (Some(input), None) = (inputs.next(), inputs.next()) else {
            return Err(Error::Options("events are read from one input".to_owned()));
        };
        return events::import(input?, options, out);
    }
    // The trace is written when all was read and sorted: that it cannot be is said before.
    Writer::may_begin(out)?;
    let mut builder = Builder::new(scratch, options.settings());
    let mut runs = 0;
    for input in inputs {
        feed(format, input?, options, &mut builder, &mut runs)?;
    }
    let manifest = builder.finish(out, format.source(), options.method(format))?;
    Ok(Imported { manifest })
}

/// Reads one input. `runs` counts runs over all inputs, where these have no keys.
fn feed(
    format: Format,
    input: impl Read,
    options: &Options,
    builder: &mut Builder,
    runs: &mut u64,
) -> Result<(), Error> {
    let mut input = input::Input::new(input)?;
    match format {
        Format::Csv => csv::import(&mut input, options, builder),
        Format::Jsonl => jsonl::import(&mut input, options, builder),
        Format::Xes => xes::import(input, options, builder, runs),
        Format::CloudEvents => cloudevents::import(&mut input, options, builder),
        Format::Otlp => otlp::import(&mut input, options, builder),
        Format::Temporal => temporal::import(&mut input, options, builder, runs),
        Format::Events => Ok(()),
    }
}

#[cfg(test)]
mod mutations;
#[cfg(test)]
mod tests;
