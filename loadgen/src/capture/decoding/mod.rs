//! Follows a table by logical decoding, for a while. (I/O.)
//!
//! The slot is temporary: it belongs to the session and goes with it, however that ends, and the server ends the session of a client
//! that is gone. It is asked for what it has once a second, through SQL. What it holds back of the log is looked at as often.
//!
//! Nobody can record the same hour again. What would go wrong later is looked for before the recording begins, and whatever goes
//! wrong once it has begun ends it where it is: what was followed until then is written.

mod clock;
mod slot;
mod start;
mod taker;

use std::path::Path;
use std::time::Duration;

use bakeoff_trace::builder::{Builder, Settings};
use bakeoff_trace::format::Source as MadeFrom;
use bakeoff_trace::import::Options;
use bakeoff_trace::{Error, Manifest};
use futures::pin_mut;

use super::pgoutput::{Decoder, Followed};
use super::{Bounds, CaptureError, session};
use crate::drivers::postgres::Connector;
use clock::Time;
use slot::Slot;
use taker::Taker;

/// Between two questions.
const PAUSE: Duration = Duration::from_secs(1);
/// For how long after the end of a recording a standby may not have replayed what was before it, microseconds.
const STANDBY_PATIENCE_MICROS: i64 = 60_000_000;

/// What is followed.
#[derive(Clone, Debug)]
pub struct Decoding {
    /// A publication that is there: what it has of a table is what can be followed.
    pub publication: String,
    /// The table, as schema and name; absent: the only one of the publication.
    pub table: Option<(String, String)>,
    /// The column that tells runs apart; absent: those of the replica identity.
    pub run: Option<String>,
    /// The column with the word that says how far a run is.
    pub kind: Option<String>,
    /// The column with the state, whose length is kept.
    pub value: Option<String>,
    /// Which words end a run; where none are named, the removal of its row does.
    pub options: Options,
    /// For how long, seconds.
    pub seconds: u32,
    /// Whether the runs that are there at the start are read, for which the whole table is.
    pub open_runs: bool,
    /// The most that the slot may hold back of the log, bytes: beyond it the recording ends.
    pub most_lag_bytes: i64,
}

/// What a recording came to.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The trace.
    pub manifest: Manifest,
    /// Why it ended before its time, if it did.
    pub cut_off: Option<String>,
}

/// Follows a table and writes the trace into `out`; sorts in files of `scratch`. `stop` ends it early, and what was seen is kept; so
/// does an error of the server, or a change of the table with which it cannot be followed any more.
///
/// # Errors
/// Before anything is followed: the server does not answer or refuses, is a primary where that was not allowed, has no such
/// publication, or rows that cannot be told apart. Afterwards: there was nothing to follow, or the files of the trace cannot be
/// written. No trace is written then.
pub async fn decode(
    connector: &Connector,
    bounds: &Bounds,
    decoding: &Decoding,
    (out, scratch): (&Path, &Path),
    stop: impl Future<Output = ()>,
) -> Result<Recorded, CaptureError> {
    let client = session::open(connector, bounds).await?;
    let table = start::table(&client, decoding).await?;
    let slot = Slot::create(&client, &decoding.publication).await?;
    let span = Span::new(clock::start(&client).await?, decoding.seconds);
    let settings = Settings {
        repair: decoding.options.repair,
        of_rows: true,
        window: (Some(span.start), Some(span.end)),
        ..Settings::default()
    };
    let decoder = Decoder::new(Followed {
        table: table.oid,
        run: table.run.clone(),
        kind: decoding.kind.clone(),
        value: decoding.value.clone(),
        removals: decoding.options.done.is_empty(),
    });
    let builder = Builder::new(scratch, settings);
    let mut taker = Taker::new(builder, decoder, &decoding.options, span.start);
    if decoding.open_runs {
        start::open_runs(connector, bounds, (decoding, &table), &slot, &mut taker).await?;
    }
    let cut = follow(&slot, span, decoding.most_lag_bytes, &mut taker, stop).await?;
    slot.drop().await;
    drop(client);
    written(taker.builder, cut, out)
}

/// From when to when is recorded, microseconds since 1970.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: i64,
    end: i64,
    /// When it is over by the clock on the wall, which a standby that lags behind is later than.
    wall_end: i64,
}

impl Span {
    fn new(start: Time, seconds: u32) -> Self {
        let micros = i64::from(seconds) * 1_000_000;
        Self {
            start: start.log,
            end: start.log + micros,
            wall_end: start.wall + micros,
        }
    }
}

/// Where a recording ended before its time, and why.
#[derive(Debug)]
struct Cut {
    at: i64,
    why: CaptureError,
}

/// Follows until the time is up, or until it cannot go on: then with what it has.
///
/// # Errors
/// The files of the trace cannot be written, and nothing else.
async fn follow(
    slot: &Slot<'_>,
    span: Span,
    most_lag_bytes: i64,
    taker: &mut Taker<'_>,
    stop: impl Future<Output = ()>,
) -> Result<Option<Cut>, CaptureError> {
    pin_mut!(stop);
    // Until when all was read, as far as the clock says. The last commit that was read may be later.
    let mut read = span.start;
    loop {
        let why = match look(slot, span, most_lag_bytes, &mut read, taker).await {
            Ok(None) => return Ok(None),
            Ok(Some(pause)) => tokio::select! {
                // Heard as well where there is always more to read.
                biased;
                () = &mut stop => CaptureError::Refused("it was stopped".to_owned()),
                () = tokio::time::sleep(pause) => continue,
            },
            Err(error @ CaptureError::Trace(_)) => return Err(error),
            // What went wrong came after the end.
            Err(_) if taker.committed() >= span.end => return Ok(None),
            Err(error) => error,
        };
        let reached = read.max(taker.committed());
        return Ok(Some(Cut {
            at: reached.clamp(span.start + 1, span.end),
            why,
        }));
    }
}

/// Reads what there is and looks whether to go on: after which pause, or not, where the time is up and all of it was read. `read` is
/// moved to where nothing is left to be read.
///
/// # Errors
/// It cannot go on, for whichever reason.
async fn look(
    slot: &Slot<'_>,
    span: Span,
    most_lag_bytes: i64,
    read: &mut i64,
    taker: &mut Taker<'_>,
) -> Result<Option<Duration>, CaptureError> {
    // Asked before it is read: what comes between the two is no silence.
    let time = clock::now(slot.client).await?;
    let up = time.log >= span.end;
    let written = if up {
        slot::flushed(slot.client).await.map(|_| true)
    } else {
        Ok(time.written)
    };
    let whole = slot.changes(None, |message| taker.take(message)).await?;
    // Where reads never are whole, the commits say that the time is up.
    if taker.committed() >= span.end {
        return Ok(None);
    }
    if written? && whole {
        *read = time.log.max(*read);
    }
    if up && whole {
        return Ok(None);
    }
    let behind = slot.behind().await?;
    if behind > most_lag_bytes {
        return Err(CaptureError::Refused(format!(
            "the server had to keep {} MB of its log: changes come faster than they are read, or a transaction is open all the while",
            behind >> 20
        )));
    }
    if !up && time.wall - span.wall_end > STANDBY_PATIENCE_MICROS {
        return Err(CaptureError::Refused(
            "the standby lags behind: a minute after the end it had not replayed what was committed before it".to_owned(),
        ));
    }
    Ok(Some(if whole { PAUSE } else { Duration::ZERO }))
}

/// Writes the trace.
fn written(mut builder: Builder, cut: Option<Cut>, out: &Path) -> Result<Recorded, CaptureError> {
    let mut method = "capture by logical decoding; times are those of the commits".to_owned();
    if let Some(cut) = &cut {
        method.push_str("; cut off: ");
        method.push_str(&cut.why.without_names());
        builder.end_early(cut.at);
    }
    match (builder.finish(out, MadeFrom::Capture, method), cut) {
        (Ok(manifest), cut) => Ok(Recorded {
            manifest,
            cut_off: cut.map(|cut| cut.why.to_string()),
        }),
        // Why there is nothing is what has to be known.
        (Err(Error::Empty(_)), Some(Cut { why, .. })) => Err(why.of_nothing()),
        (Err(error), _) => Err(error.into()),
    }
}
