//! CloudEvents 1.0 as JSON: the subject is the run, the type says what happened.

use super::csv::shown;
use super::input::Input;
use super::json::{self, Search};
use super::options::Options;
use crate::Error;
use crate::builder::{Builder, Raw};
use crate::grammar::Reason;
use crate::time::{self, Unit};

pub(super) fn import(
    input: &mut Input<'_>,
    options: &Options,
    builder: &mut Builder,
) -> Result<(), Error> {
    let search = Search {
        route: &[],
        around: &[],
        fields: &["subject", "time", "type"],
    };
    json::each(input, &search, &mut |event| {
        let [subject, written, kind] = event.fields else {
            return Ok(());
        };
        let Some(subject) = subject.as_deref().filter(|subject| !subject.is_empty()) else {
            return builder.misfit(event.place, Reason::NoRun, "no subject");
        };
        let written = written.as_deref().unwrap_or_default();
        let Some(at_micros) = time::parse(written, Unit::Auto) else {
            return builder.misfit(event.place, Reason::NoTime, &shown(written));
        };
        builder.push(Raw {
            run: subject.as_bytes(),
            at_micros,
            order: None,
            what: options.what(kind.as_deref()),
            value: None,
            place: event.place,
        })
    })
}
