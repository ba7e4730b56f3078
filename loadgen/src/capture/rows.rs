//! Rows as COPY sends them, and what they are to their runs. (Pure, but for the copying.)

use bakeoff_trace::builder::{Builder, Raw, What};
use bakeoff_trace::import::Options;
use bakeoff_trace::{Error, Place, Reason};
use futures::{TryStreamExt as _, pin_mut};
use tokio_postgres::Client;

use super::{Bounds, CaptureError};

/// Reads what a statement answers: run, microseconds, kind, bytes, whether it counts.
pub(super) async fn copy(
    client: &Client,
    select: &str,
    options: &Options,
    bounds: &Bounds,
    builder: &mut Builder,
) -> Result<(), CaptureError> {
    let reading = CaptureError::server("reading the events");
    let rows = client
        .copy_out(&format!("COPY ({select}) TO STDOUT"))
        .await
        .map_err(&reading)?;
    pin_mut!(rows);
    let mut lines = Lines::default();
    let mut number = 0;
    while let Some(chunk) = rows.try_next().await.map_err(&reading)? {
        lines.feed(&chunk);
        while let Some(line) = lines.next() {
            number += 1;
            if number > bounds.most_rows {
                return Err(CaptureError::Refused(format!(
                    "there are more than {} rows: narrow the time with --from and --to, or raise --most-rows",
                    bounds.most_rows
                )));
            }
            take(line, number, options, builder)?;
        }
    }
    Ok(())
}

/// Takes a row. (Pure.)
fn take(line: &[u8], number: u64, options: &Options, builder: &mut Builder) -> Result<(), Error> {
    let place = Place {
        line: number,
        byte: 0,
    };
    let mut fields = line.split(|&byte| byte == b'\t').map(unescaped);
    let mut next = || fields.next().flatten();
    let (run, at, kind, value, valid) = (next(), next(), next(), next(), next());
    if valid.as_deref() == Some(b"f") {
        builder.leave_out(Reason::MarkedInvalid);
        return Ok(());
    }
    let Some(run) = run.filter(|run| !run.is_empty()) else {
        return builder.misfit(place, Reason::NoRun, "");
    };
    let text = |field: &Option<Vec<u8>>| {
        String::from_utf8_lossy(field.as_deref().unwrap_or_default()).into_owned()
    };
    let Ok(at_micros) = text(&at).parse::<i64>() else {
        return builder.misfit(place, Reason::NoTime, "");
    };
    let bytes = match &value {
        None => None,
        Some(_) => match text(&value).parse() {
            Ok(bytes) => Some(bytes),
            Err(_) => return builder.misfit(place, Reason::BadValue, &text(&value)),
        },
    };
    let what = what(options, &text(&kind));
    builder.push(Raw {
        run: &run,
        at_micros,
        order: Some(order(at_micros, what)),
        what,
        value: bytes,
        place,
    })
}

/// What an event of this kind is. Where it is said which words create a run, a run that begins with another one was there before.
pub(super) fn what(options: &Options, kind: &str) -> What {
    match options.what(Some(kind)) {
        What::Unknown { ends: false } if !options.created.is_empty() => What::Transition,
        other => other,
    }
}

/// The place of an event within its run. A table has no order of its own: of events at the same time a creation is the first and
/// a completion the last.
fn order(at_micros: i64, what: What) -> u64 {
    let rank = match what {
        What::Created | What::There | What::Over => 0,
        What::Transition | What::Unknown { ends: false } => 1,
        What::Unknown { ends: true } | What::Done => 2,
    };
    // Times before 1970 come first as well.
    (((at_micros << 2) | rank) as u64) ^ (1 << 63)
}

/// A field of COPY: nothing where it says `\N`.
fn unescaped(field: &[u8]) -> Option<Vec<u8>> {
    if field == b"\\N" {
        return None;
    }
    let mut plain = Vec::with_capacity(field.len());
    let mut bytes = field.iter().copied();
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'\\' => match bytes.next() {
                Some(b'b') => 8,
                Some(b'f') => 12,
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                Some(b'v') => 11,
                Some(other) => other,
                None => b'\\',
            },
            byte => byte,
        });
    }
    Some(plain)
}

/// Puts pieces together to lines. The server sends a row at a time, but does not promise to.
#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
    read: usize,
}

impl Lines {
    fn feed(&mut self, chunk: &[u8]) {
        self.bytes.drain(..self.read);
        self.read = 0;
        self.bytes.extend_from_slice(chunk);
    }

    fn next(&mut self) -> Option<&[u8]> {
        let ahead = self.bytes.get(self.read..)?;
        let length = ahead.iter().position(|&byte| byte == b'\n')?;
        let start = self.read;
        self.read += length + 1;
        self.bytes.get(start..start + length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bakeoff_trace::builder::Settings;
    use bakeoff_trace::format::Source;
    use bakeoff_trace::import::Ends;
    use bakeoff_trace::{Kind, Manifest, Trace};

    fn options() -> Options {
        Options {
            created: vec!["RUN_CREATED".to_owned()],
            done: vec!["FINISHED".to_owned()],
            ends: Ends::Stated,
            ..Options::default()
        }
    }

    fn traced(rows: &[&str]) -> (Manifest, Vec<Kind>) {
        let folder = tempfile::tempdir().unwrap();
        let mut builder = Builder::new(folder.path(), Settings::default());
        for (number, row) in (1..).zip(rows) {
            take(row.as_bytes(), number, &options(), &mut builder).unwrap();
        }
        let out = folder.path().join("out");
        let manifest = builder
            .finish(&out, Source::Capture, "test".to_owned())
            .unwrap();
        let mut trace = Trace::open(&out).unwrap();
        let kinds = trace
            .events()
            .unwrap()
            .map(|event| event.unwrap().kind)
            .collect();
        (manifest, kinds)
    }

    #[test]
    fn at_equal_times_a_run_is_created_first_and_ends_last() {
        let rows = [
            "a\t100\tFINISHED\t\\N\tt",
            "a\t100\tQUEUED\t7\tt",
            "a\t100\tRUN_CREATED\t9\tt",
            "a\t100\tQUEUED\t7\tf",
        ];
        let (manifest, kinds) = traced(&rows);
        assert_eq!(kinds, [Kind::Created, Kind::Transition, Kind::Done]);
        assert_eq!(manifest.dropped["markedInvalid"], 1);
    }

    #[test]
    fn a_run_that_was_there_before_is_open_at_the_start() {
        let (manifest, kinds) = traced(&[
            "a\t100\tEXECUTING\t\\N\tt",
            "b\\\\\\t\t50\tRUN_CREATED\t\\N\tt",
        ]);
        assert_eq!(kinds, [Kind::Open, Kind::Created, Kind::Transition]);
        assert_eq!(manifest.open.at_start, 1);
    }

    #[test]
    fn rows_that_say_nothing_are_refused_with_their_number() {
        let folder = tempfile::tempdir().unwrap();
        let mut builder = Builder::new(folder.path(), Settings::default());
        let mut said = |row: &str| {
            let taken = take(row.as_bytes(), 7, &options(), &mut builder);
            taken.unwrap_err().to_string()
        };
        assert!(
            said("\\N\t100\tX\t\\N\tt").starts_with("line 7, byte 0: the event says not which run")
        );
        assert!(said("a\t\\N\tX\t\\N\tt").contains("no time"));
        assert!(said("a\t1\tX\t-5\tt").contains("the value is no number"));
        assert!(said("").contains("says not which run"));
    }

    #[test]
    fn lines_are_put_together_from_any_pieces() {
        let whole = b"one\ttwo\nthree\n\nfour\n";
        for size in 1..whole.len() {
            let mut lines = Lines::default();
            let mut found = Vec::new();
            for piece in whole.chunks(size) {
                lines.feed(piece);
                while let Some(line) = lines.next() {
                    found.push(line.to_vec());
                }
            }
            assert_eq!(found, [&b"one\ttwo"[..], b"three", b"", b"four"], "{size}");
        }
    }
}
