//! Histories of Temporal as JSON: a history is a run, in the order of its event ids.

use super::csv::shown;
use super::input::Input;
use super::json::{self, Search};
use super::options::{Ends, Options};
use crate::Error;
use crate::builder::{Builder, Raw, What};
use crate::grammar::Reason;
use crate::time::{self, Unit};

const SEARCH: Search<'_> = Search {
    route: &[&["events"]],
    around: &["history"],
    // Each in the two spellings that the JSON of protocol buffers has.
    fields: &[
        "eventId",
        "eventTime",
        "eventType",
        "event_id",
        "event_time",
        "event_type",
    ],
};
/// Events after which a workflow is over.
const CLOSING: [&str; 6] = [
    "workflowexecutioncompleted",
    "workflowexecutionfailed",
    "workflowexecutiontimedout",
    "workflowexecutionterminated",
    "workflowexecutioncanceled",
    "workflowexecutioncontinuedasnew",
];

/// Reads histories. `runs` counts runs over all inputs.
pub(super) fn import(
    input: &mut Input<'_>,
    options: &Options,
    builder: &mut Builder,
    runs: &mut u64,
) -> Result<(), Error> {
    let before = *runs;
    // Of the history that is being read.
    let mut place_in_history = 0;
    json::each(input, &SEARCH, &mut |event| {
        let run = before + event.group;
        if run != *runs {
            (*runs, place_in_history) = (run, 0);
        }
        place_in_history += 1;
        let [id, written, kind, id_, written_, kind_] = event.fields else {
            return Ok(());
        };
        let (id, kind) = (
            id.as_ref().or(id_.as_ref()),
            kind.as_ref().or(kind_.as_ref()),
        );
        let written = written
            .as_ref()
            .or(written_.as_ref())
            .map(String::as_str)
            .unwrap_or_default();
        let Some(at_micros) = time::parse(written, Unit::Auto) else {
            return builder.misfit(event.place, Reason::NoTime, &shown(written));
        };
        let order = id
            .and_then(|id| id.parse().ok())
            .unwrap_or(place_in_history);
        builder.push(Raw {
            run: &run.to_be_bytes(),
            at_micros,
            order: Some(order),
            what: what(kind.map(String::as_str).unwrap_or_default(), options),
            value: None,
            place: event.place,
        })
    })
}

/// `EVENT_TYPE_WORKFLOW_EXECUTION_STARTED` and `WorkflowExecutionStarted` are the same.
fn what(kind: &str, options: &Options) -> What {
    let plain = kind
        .strip_prefix("EVENT_TYPE_")
        .unwrap_or(kind)
        .replace('_', "")
        .to_ascii_lowercase();
    match options.ends {
        _ if plain == "workflowexecutionstarted" => What::Created,
        Ends::Stated if CLOSING.contains(&plain.as_str()) => What::Done,
        Ends::Stated | Ends::Never => What::Unknown { ends: false },
        Ends::Last => What::Unknown { ends: true },
    }
}
