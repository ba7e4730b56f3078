//! Event logs of IEEE 1849 (XES): a trace of the log is a run.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event as Xml};

use super::csv::shown;
use super::input::{Input, MOST_BYTES};
use super::options::{Ends, Options};
use crate::builder::{Builder, Raw, What};
use crate::error::{Error, Place};
use crate::grammar::Reason;
use crate::time;

/// Elements that lie in each other at most.
const MOST_DEPTH: usize = 64;
/// Steps of the life of an activity after which it is over.
const OVER: [&str; 8] = [
    "complete",
    "autoskip",
    "manualskip",
    "withdraw",
    "ate_abort",
    "pi_abort",
    "skip",
    "abort",
];

/// An event that is being read.
#[derive(Default)]
struct Found {
    at_micros: Option<i64>,
    /// A time that could not be read.
    unread: Option<String>,
    /// What the event is called.
    name: Option<String>,
    transition: Option<String>,
}

/// Reads a log. `runs` counts runs over all inputs.
pub(super) fn import(
    input: Input<'_>,
    options: &Options,
    builder: &mut Builder,
    runs: &mut u64,
) -> Result<(), Error> {
    let mut reader = Reader::from_reader(input);
    reader.config_mut().expand_empty_elements = true;
    let mut buffer = Vec::new();
    // The names of the elements that are open, as what they are to us.
    let mut open: Vec<Element> = Vec::new();
    let mut found = Found::default();
    loop {
        buffer.clear();
        let place = reader.get_ref().place();
        reader.get_mut().allow(MOST_BYTES);
        let xml = reader.read_event_into(&mut buffer).map_err(|error| {
            Error::input(place, format!("the document cannot be read: {error}"))
        })?;
        match xml {
            Xml::Start(start) => {
                let element = Element::of(&start);
                let inside = open.last().copied();
                match element {
                    Element::Trace => *runs += 1,
                    Element::Event => found = Found::default(),
                    Element::Other if inside == Some(Element::Event) => {
                        attribute(&start, place, options, &mut found)?
                    }
                    Element::Other => {}
                }
                if open.len() >= MOST_DEPTH {
                    return Err(Error::input(
                        place,
                        format!("elements lie deeper than {MOST_DEPTH}"),
                    ));
                }
                open.push(element);
            }
            Xml::End(_) => {
                let in_run = open.iter().rev().nth(1) == Some(&Element::Trace);
                if open.pop() == Some(Element::Event) && in_run {
                    take(&found, place, *runs, options, builder)?;
                }
            }
            Xml::Eof if open.is_empty() => return Ok(()),
            Xml::Eof => {
                return Err(Error::input(
                    place,
                    "the document ends in the middle: the file is cut off",
                ));
            }
            _ => {}
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Element {
    Trace,
    Event,
    Other,
}

impl Element {
    fn of(start: &BytesStart<'_>) -> Self {
        match start.local_name().as_ref() {
            b"trace" => Self::Trace,
            b"event" => Self::Event,
            _ => Self::Other,
        }
    }
}

/// Reads an attribute of an event, where it is one of those that matter.
fn attribute(
    start: &BytesStart<'_>,
    place: Place,
    options: &Options,
    found: &mut Found,
) -> Result<(), Error> {
    let text = |name: &str| match start.try_get_attribute(name) {
        Ok(None) => Ok(None),
        Ok(Some(attribute)) => attribute
            .unescape_value()
            .map(|value| Some(value.into_owned())),
        Err(error) => Err(error.into()),
    };
    let broken = |error: quick_xml::Error| {
        Error::input(place, format!("an attribute cannot be read: {error}"))
    };
    // Only values that are used are read: others may hold what they like.
    let Some(key) = text("key").map_err(broken)? else {
        return Ok(());
    };
    if !matches!(
        key.as_str(),
        "time:timestamp" | "concept:name" | "lifecycle:transition"
    ) {
        return Ok(());
    }
    let value = text("value").map_err(broken)?.unwrap_or_default();
    match key.as_str() {
        "time:timestamp" => match time::parse(&value, options.unit) {
            Some(at_micros) => found.at_micros = Some(at_micros),
            None => found.unread = Some(shown(&value)),
        },
        "concept:name" => found.name = Some(value),
        _ => found.transition = Some(value),
    }
    Ok(())
}

fn take(
    found: &Found,
    place: Place,
    run: u64,
    options: &Options,
    builder: &mut Builder,
) -> Result<(), Error> {
    let Some(at_micros) = found.at_micros else {
        return builder.misfit(
            place,
            Reason::NoTime,
            found.unread.as_deref().unwrap_or("no time:timestamp"),
        );
    };
    builder.push(Raw {
        run: &run.to_be_bytes(),
        at_micros,
        order: None,
        what: what(found, options),
        value: None,
        place,
    })
}

/// Words that were named are looked for in the names of events. Else a run is over when its last activity is.
fn what(found: &Found, options: &Options) -> What {
    if options.ends != Ends::Stated || !options.done.is_empty() {
        return options.what(found.name.as_deref());
    }
    match options.what(found.name.as_deref()) {
        What::Created => What::Created,
        _ => What::Unknown {
            ends: found
                .transition
                .as_deref()
                .is_some_and(|step| OVER.iter().any(|over| step.eq_ignore_ascii_case(over))),
        },
    }
}
