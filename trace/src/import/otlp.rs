//! Spans of OpenTelemetry as JSON: a trace of spans is a run, the start of a span an event.

use super::csv::shown;
use super::input::Input;
use super::json::{self, Search};
use super::options::{Ends, Options};
use crate::Error;
use crate::builder::{Builder, Raw, What};
use crate::grammar::Reason;
use crate::time::{self, Unit};

/// Each name in the two spellings that the JSON of protocol buffers has.
const SEARCH: Search<'_> = Search {
    // The second one had another name until 2022.
    route: &[
        &["resourceSpans", "resource_spans"],
        &[
            "scopeSpans",
            "scope_spans",
            "instrumentationLibrarySpans",
            "instrumentation_library_spans",
        ],
        &["spans"],
    ],
    around: &[],
    fields: &[
        "traceId",
        "parentSpanId",
        "startTimeUnixNano",
        "endTimeUnixNano",
        "trace_id",
        "parent_span_id",
        "start_time_unix_nano",
        "end_time_unix_nano",
    ],
};

pub(super) fn import(
    input: &mut Input<'_>,
    options: &Options,
    builder: &mut Builder,
) -> Result<(), Error> {
    json::each(input, &SEARCH, &mut |span| {
        let [run, parent, start, end, others @ ..] = span.fields else {
            return Ok(());
        };
        let [run_, parent_, start_, end_] = others else {
            return Ok(());
        };
        let (run, parent) = (
            run.as_ref().or(run_.as_ref()),
            parent.as_ref().or(parent_.as_ref()),
        );
        let (start, end) = (
            start.as_ref().or(start_.as_ref()),
            end.as_ref().or(end_.as_ref()),
        );
        let Some(run) = run.map(String::as_str).filter(|run| !run.is_empty()) else {
            return builder.misfit(span.place, Reason::NoRun, "no traceId");
        };
        let written = start.map(String::as_str).unwrap_or_default();
        // 0 is how a missing time is written.
        let Some(at_micros) = time::parse(written, Unit::Nanoseconds).filter(|at| *at > 0) else {
            return builder.misfit(span.place, Reason::NoTime, &shown(written));
        };
        let raw = Raw {
            run: run.as_bytes(),
            at_micros,
            order: None,
            what: What::Unknown {
                ends: options.ends == Ends::Last,
            },
            value: None,
            place: span.place,
        };
        builder.push(raw)?;
        let is_root = parent
            .map(String::as_str)
            .unwrap_or_default()
            .bytes()
            .all(|byte| byte == b'0');
        let over = end.and_then(|end| time::parse(end, Unit::Nanoseconds));
        match over.filter(|over| is_root && options.ends != Ends::Never && *over >= at_micros) {
            Some(at_micros) => builder.push(Raw {
                at_micros,
                what: What::Unknown { ends: true },
                ..raw
            }),
            None => Ok(()),
        }
    })
}
