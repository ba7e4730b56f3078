//! Tables of RFC 4180, with a header that names their columns.

use super::input::{Input, MOST_BYTES};
use super::options::Options;
use crate::builder::{Builder, Raw};
use crate::error::{Error, Place};
use crate::grammar::Reason;
use crate::time;

/// A record: its fields one after the other, and where each ends.
#[derive(Default)]
struct Record {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Record {
    fn field(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends.get(index)?;
        let start = index
            .checked_sub(1)
            .and_then(|before| self.ends.get(before))
            .copied()
            .unwrap_or(0);
        self.bytes.get(start..end)
    }

    fn text(&self, index: Option<usize>) -> Option<&str> {
        std::str::from_utf8(self.field(index?)?).ok()
    }

    fn end_field(&mut self) {
        self.ends.push(self.bytes.len());
    }
}

/// Reads the next record; false at the end. A quoted field may hold separators, quotes (doubled) and ends of lines.
fn read(
    input: &mut Input<'_>,
    separator: u8,
    line: &mut Vec<u8>,
    record: &mut Record,
) -> Result<bool, Error> {
    record.bytes.clear();
    record.ends.clear();
    let place = input.place();
    let mut quoted = false;
    while input.line(line)? {
        let mut bytes = line.iter().copied().peekable();
        while let Some(byte) = bytes.next() {
            match byte {
                b'"' if quoted && bytes.peek() == Some(&b'"') => {
                    bytes.next();
                    record.bytes.push(b'"');
                }
                b'"' if quoted => quoted = false,
                // Only at the beginning of a field; anywhere else it is a character like others.
                b'"' if record.bytes.len() == record.ends.last().copied().unwrap_or(0) => {
                    quoted = true
                }
                byte if quoted => record.bytes.push(byte),
                byte if byte == separator => record.end_field(),
                b'\n' => {}
                b'\r' if bytes.peek() == Some(&b'\n') => {}
                byte => record.bytes.push(byte),
            }
        }
        if record.bytes.len() + record.ends.len() * size_of::<usize>() > 8 * MOST_BYTES {
            return Err(Error::input(
                place,
                "the record is too long: a quote is missing?",
            ));
        }
        if !quoted {
            record.end_field();
            return Ok(true);
        }
    }
    if quoted {
        return Err(Error::input(
            place,
            "a quoted field begins in this record and never ends",
        ));
    }
    Ok(false)
}

/// Where the columns are.
struct Columns {
    run: usize,
    time: usize,
    kind: Option<usize>,
    value: Option<usize>,
}

fn columns(header: &Record, place: Place, options: &Options) -> Result<Columns, Error> {
    let find = |name: &str| {
        let places = 0..header.ends.len();
        let found = places.into_iter().find(|index| {
            header
                .text(Some(*index))
                .is_some_and(|text| text.trim() == name)
        });
        found.ok_or_else(|| {
            let names: Vec<_> = (0..header.ends.len().min(20))
                .filter_map(|index| header.text(Some(index)))
                .collect();
            let names: String = names.join(", ").chars().take(400).collect();
            Error::input(
                place,
                format!("the header has no column {name:?}; it has {names}"),
            )
        })
    };
    let fields = &options.fields;
    Ok(Columns {
        run: find(&fields.run)?,
        time: find(&fields.time)?,
        kind: fields.kind.as_deref().map(find).transpose()?,
        value: fields.value.as_deref().map(find).transpose()?,
    })
}

pub(super) fn import(
    input: &mut Input<'_>,
    options: &Options,
    builder: &mut Builder,
) -> Result<(), Error> {
    let (mut line, mut record) = (Vec::new(), Record::default());
    let place = input.place();
    if !read(input, options.separator, &mut line, &mut record)? {
        return Ok(());
    }
    let columns = columns(&record, place, options)?;
    loop {
        let place = input.place();
        if !read(input, options.separator, &mut line, &mut record)? {
            return Ok(());
        }
        // An empty line.
        if record.bytes.is_empty() && record.ends.len() == 1 {
            continue;
        }
        let Some(run) = record.field(columns.run).filter(|run| !run.is_empty()) else {
            builder.misfit(place, Reason::NoRun, "")?;
            continue;
        };
        let written = record.text(Some(columns.time)).unwrap_or_default();
        let Some(at_micros) = time::parse(written, options.unit) else {
            builder.misfit(place, Reason::NoTime, &shown(written))?;
            continue;
        };
        let value = match super::options::value(record.text(columns.value)) {
            Ok(value) => value,
            Err(reason) => {
                builder.misfit(place, reason, "")?;
                continue;
            }
        };
        builder.push(Raw {
            run,
            at_micros,
            order: None,
            what: options.what(record.text(columns.kind)),
            value,
            place,
        })?;
    }
}

/// A little of a text, for a message.
pub(super) fn shown(text: &str) -> String {
    format!("{:?}", text.chars().take(40).collect::<String>())
}
