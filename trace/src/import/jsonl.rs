//! JSON objects, one for each event.

use super::csv::shown;
use super::input::Input;
use super::json::{self, Search};
use super::options::{Options, value};
use crate::Error;
use crate::builder::{Builder, Raw};
use crate::grammar::Reason;
use crate::time;

pub(super) fn import(
    input: &mut Input<'_>,
    options: &Options,
    builder: &mut Builder,
) -> Result<(), Error> {
    let fields = &options.fields;
    // A field that is not asked for has a path that no object has.
    let paths = [
        fields.run.as_str(),
        fields.time.as_str(),
        fields.kind.as_deref().unwrap_or_default(),
        fields.value.as_deref().unwrap_or_default(),
    ];
    let search = Search {
        route: &[],
        around: &[],
        fields: &paths,
    };
    json::each(input, &search, &mut |object| {
        let [run, written, kind, bytes] = object.fields else {
            return Ok(());
        };
        let Some(run) = run.as_deref().filter(|run| !run.is_empty()) else {
            return builder.misfit(object.place, Reason::NoRun, "");
        };
        let written = written.as_deref().unwrap_or_default();
        let Some(at_micros) = time::parse(written, options.unit) else {
            return builder.misfit(object.place, Reason::NoTime, &shown(written));
        };
        let value = match value(bytes.as_deref()) {
            Ok(value) => value,
            Err(reason) => return builder.misfit(object.place, reason, ""),
        };
        builder.push(Raw {
            run: run.as_bytes(),
            at_micros,
            order: None,
            what: options.what(kind.as_deref()),
            value,
            place: object.place,
        })
    })
}
