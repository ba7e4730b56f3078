//! The table of a trace itself, compressed or not: checked, repaired, and written anew.

use std::io::Read;
use std::path::Path;

use super::input::Input;
use super::{Format, Imported, Options, Writer, grammar};
use crate::Error;
use crate::format::{Events, Source};
use crate::writer::Description;

pub(super) fn import(input: impl Read, options: &Options, out: &Path) -> Result<Imported, Error> {
    let mut events = Events::new(Input::new(input)?)?;
    let mut checker = grammar::Checker::new(options.repair);
    let mut writer = Writer::create(out)?;
    while let Some(event) = events.next() {
        if let Some(step) = checker.admit(events.line(), event?)? {
            writer.push(step.event)?;
        }
    }
    if checker.shortest_span() == 0 {
        return Err(Error::Empty(
            "the table has a header and nothing else".to_owned(),
        ));
    }
    let description = Description {
        source: Source::Events,
        method: options.method(Format::Events),
        started_at: None,
        span_micros: None,
    };
    let manifest = writer.finish(description, checker.repairs())?;
    Ok(Imported { manifest })
}
