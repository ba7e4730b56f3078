//! Follows a table by logical decoding, for a while. (I/O.)
//!
//! The slot is temporary: it belongs to the session and goes with it, however that ends, and the server ends the session of a client
//! that is gone. It is asked for what it has once a second, through SQL. What it holds back of the log is looked at as often.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use bakeoff_trace::Manifest;
use bakeoff_trace::builder::{Builder, Raw, Settings, What};
use bakeoff_trace::format::Source as MadeFrom;
use bakeoff_trace::import::Options;
use bakeoff_trace::{Place, Reason};
use futures::{TryStreamExt as _, pin_mut};
use tokio_postgres::Client;
use tokio_postgres::types::{FromSql, PgLsn, ToSql, Type};

use super::pgoutput::{Act, Change, Decoder, Followed, key};
use super::rows::what;
use super::{Bounds, CaptureError, session};
use crate::drivers::postgres::{Connector, identifier};

/// Changes that are asked for at once; a transaction is never cut.
const CHANGES: i32 = 20_000;
/// How long the server may take to write its log.
const FLUSH_PATIENCE: Duration = Duration::from_secs(10);
/// Between two questions.
const PAUSE: Duration = Duration::from_secs(1);

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

/// Follows a table and writes the trace into `out`; sorts in files of `scratch`. `stop` ends it early, and what was seen is kept.
///
/// # Errors
/// The server does not answer or refuses, is a primary where that was not allowed, has no such publication, or the trace cannot be
/// written. No trace is written then.
pub async fn decode(
    connector: &Connector,
    bounds: &Bounds,
    decoding: &Decoding,
    (out, scratch): (&Path, &Path),
    stop: impl Future<Output = ()>,
) -> Result<Recorded, CaptureError> {
    let client = session::open(connector, bounds).await?;
    let table = followed_table(&client, decoding).await?;
    let slot = Slot::create(&client, decoding).await?;
    let start = clock(&client).await?;
    let end = start + i64::from(decoding.seconds) * 1_000_000;
    let settings = Settings {
        repair: decoding.options.repair,
        keys_return: true,
        window: (Some(start), Some(end)),
        ..Settings::default()
    };
    let mut taker = Taker {
        builder: Builder::new(scratch, settings),
        decoder: Decoder::new(Followed {
            table: decoding.table.clone(),
            run: decoding.run.clone(),
            kind: decoding.kind.clone(),
            value: decoding.value.clone(),
        }),
        options: &decoding.options,
        seen: None,
        number: 0,
        last: start,
    };
    if decoding.open_runs {
        open_runs(connector, bounds, (decoding, &table), &slot, &mut taker).await?;
    }
    pin_mut!(stop);
    let cut_off = loop {
        let whole = slot.changes(None, &mut taker).await?;
        let now = clock(&client).await?;
        if now >= end && whole {
            break None;
        }
        // Where more is to be read, the recording reaches to the last commit that was.
        let reached = if whole { now } else { taker.last };
        let behind = slot.behind().await?;
        if behind > decoding.most_lag_bytes {
            break Some((
                reached,
                format!(
                    "the server had to keep {} MB of its log: changes come faster than they are read, or a transaction is open all the while",
                    behind >> 20
                ),
            ));
        }
        let pause = if whole { PAUSE } else { Duration::ZERO };
        tokio::select! {
            // Heard as well where there is always more to read.
            biased;
            () = &mut stop => break Some((reached, "it was stopped".to_owned())),
            () = tokio::time::sleep(pause) => {}
        }
    };
    slot.drop().await?;
    drop(client);
    let mut method = "capture by logical decoding; times are those of the commits".to_owned();
    if let Some((_, why)) = &cut_off {
        method.push_str("; cut off: ");
        method.push_str(why);
    }
    let mut builder = taker.builder;
    if let Some((at, _)) = &cut_off {
        builder.end_early(*at);
    }
    let manifest = builder.finish(out, MadeFrom::Capture, method)?;
    Ok(Recorded {
        manifest,
        cut_off: cut_off.map(|(_, why)| why),
    })
}

/// A place in the log of a primary, or how far a standby has replayed it, in SQL.
fn place_in_log(primary: &str) -> String {
    format!("CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE {primary} END")
}

/// The time of the server, microseconds since 1970.
async fn clock(client: &Client) -> Result<i64, CaptureError> {
    let row = client
        .query_one(
            "SELECT floor(extract(epoch FROM clock_timestamp())::numeric * 1000000)::bigint",
            &[],
        )
        .await
        .map_err(CaptureError::server("asking for the time"))?;
    Ok(row.get(0))
}

/// The table that is followed, as SQL names it: one that its publication sends.
async fn followed_table(client: &Client, decoding: &Decoding) -> Result<String, CaptureError> {
    let asking = CaptureError::server("looking at the publication");
    let level: String = client
        .query_one("SHOW wal_level", &[])
        .await
        .map_err(&asking)?
        .get(0);
    if level != "logical" {
        return Err(CaptureError::Refused(format!(
            "wal_level of the server is {level}: logical decoding needs logical, which takes a restart"
        )));
    }
    let tables = client
        .query("SELECT schemaname::text, tablename::text FROM pg_publication_tables WHERE pubname = $1", &[&decoding.publication])
        .await
        .map_err(&asking)?;
    let names: Vec<(String, String)> = tables.iter().map(|row| (row.get(0), row.get(1))).collect();
    let listed: Vec<String> = names
        .iter()
        .map(|(schema, table)| format!("{schema}.{table}"))
        .collect();
    let wrong = match (&decoding.table, names.as_slice()) {
        (_, []) => format!(
            "there is no publication {} with a table in it; whoever owns the table makes it: CREATE PUBLICATION {} FOR TABLE ...",
            decoding.publication,
            identifier(&decoding.publication)
        ),
        (Some(wanted), _) if !names.contains(wanted) => {
            format!(
                "publication {} has not {}.{}; it has {}",
                decoding.publication,
                wanted.0,
                wanted.1,
                listed.join(", ")
            )
        }
        (None, [_, _, ..]) => format!(
            "publication {} has {}: say with --table which of them holds the runs",
            decoding.publication,
            listed.join(", ")
        ),
        (Some((schema, table)), _) | (None, [(schema, table)]) => {
            return Ok(format!("{}.{}", identifier(schema), identifier(table)));
        }
    };
    Err(CaptureError::Refused(wrong))
}

/// A slot that the session takes with it.
struct Slot<'a> {
    client: &'a Client,
    name: String,
    publication: &'a str,
}

impl<'a> Slot<'a> {
    async fn create(client: &'a Client, decoding: &'a Decoding) -> Result<Self, CaptureError> {
        let creating = CaptureError::server(
            "making a temporary slot (which waits for all transactions that are open)",
        );
        // Its name is that of the process: two captures do not meet.
        let row = client
            .query_one("SELECT slot_name::text FROM pg_create_logical_replication_slot('bakeoff_capture_' || pg_backend_pid(), 'pgoutput', true)", &[])
            .await
            .map_err(creating)?;
        Ok(Self {
            client,
            name: row.get(0),
            publication: &decoding.publication,
        })
    }

    /// Takes what there is, up to a place in the log; whether that was all.
    async fn changes(
        &self,
        upto: Option<PgLsn>,
        taker: &mut Taker<'_>,
    ) -> Result<bool, CaptureError> {
        let reading = CaptureError::server("reading changes");
        let most = upto.is_none().then_some(CHANGES);
        let arguments: [&(dyn ToSql + Sync); 4] = [&self.name, &upto, &most, &self.publication];
        let rows = self
            .client
            .query_raw(
                "SELECT data FROM pg_logical_slot_get_binary_changes($1, $2, $3, 'proto_version', '1', 'publication_names', $4)",
                arguments,
            )
            .await
            .map_err(&reading)?;
        pin_mut!(rows);
        let mut count = 0;
        while let Some(row) = rows.try_next().await.map_err(&reading)? {
            let message: Message<'_> = row.try_get(0).map_err(&reading)?;
            taker.take(message.0)?;
            count += 1;
        }
        Ok(count < CHANGES)
    }

    /// How much of the log it holds back, bytes.
    async fn behind(&self) -> Result<i64, CaptureError> {
        let row = self
            .client
            .query_one(
                &format!(
                    "SELECT coalesce(pg_wal_lsn_diff({}, restart_lsn), 0)::bigint FROM pg_replication_slots WHERE slot_name = $1",
                    place_in_log("pg_current_wal_lsn()")
                ),
                &[&self.name],
            )
            .await
            .map_err(CaptureError::server("looking at the slot"))?;
        Ok(row.get(0))
    }

    async fn drop(self) -> Result<(), CaptureError> {
        let dropped = self
            .client
            .execute("SELECT pg_drop_replication_slot($1)", &[&self.name])
            .await;
        dropped
            .map(drop)
            .map_err(CaptureError::server("dropping the slot"))
    }
}

/// The bytes of a message, where they lie.
struct Message<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Message<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(raw))
    }

    fn accepts(of: &Type) -> bool {
        *of == Type::BYTEA
    }
}

/// Makes events of changes.
struct Taker<'a> {
    builder: Builder,
    decoder: Decoder,
    options: &'a Options,
    /// The runs that changed, while they are of interest.
    seen: Option<HashSet<Vec<u8>>>,
    number: u64,
    /// When the last of them was committed, microseconds since 1970.
    last: i64,
}

impl Taker<'_> {
    fn take(&mut self, message: &[u8]) -> Result<(), CaptureError> {
        let mut changes = Vec::new();
        let taken = self.decoder.take(message, |change| changes.push(change));
        taken.map_err(|error| CaptureError::Refused(error.to_string()))?;
        for change in changes {
            self.event(change)?;
        }
        Ok(())
    }

    fn event(&mut self, change: Change) -> Result<(), CaptureError> {
        self.number += 1;
        self.last = self.last.max(change.at_micros);
        let words = !self.options.done.is_empty();
        let what = match (change.act, change.kind.as_deref()) {
            (Act::Insert, _) => What::Created,
            (Act::Update, Some(kind)) if words && what(self.options, kind) == What::Done => {
                What::Done
            }
            (Act::Update, _) => What::Transition,
            (Act::Delete, _) if words => {
                self.builder.leave_out(Reason::RowRemoved);
                return Ok(());
            }
            (Act::Delete, _) => What::Done,
        };
        self.builder.push(Raw {
            run: &change.run,
            at_micros: change.at_micros,
            order: Some(self.number),
            what,
            value: change.value,
            place: Place {
                line: self.number,
                byte: 0,
            },
        })?;
        if let Some(seen) = &mut self.seen {
            seen.insert(change.run);
        }
        Ok(())
    }
}

/// Reads which runs are there, as of one moment. What changed from the slot's beginning to that moment speaks for itself.
async fn open_runs(
    connector: &Connector,
    bounds: &Bounds,
    (decoding, table): (&Decoding, &str),
    slot: &Slot<'_>,
    taker: &mut Taker<'_>,
) -> Result<(), CaptureError> {
    let reading = CaptureError::server("reading which runs are there");
    let other = session::open(connector, bounds).await?;
    let columns = match &decoding.run {
        Some(column) => vec![column.clone()],
        None => identity(&other, table).await?,
    };
    other
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT 1")
        .await
        .map_err(&reading)?;
    // What is visible may not have been written to the log yet, where commits do not wait for it; only what is flushed is decoded.
    let upto: PgLsn = other
        .query_one(
            &format!("SELECT {}", place_in_log("pg_current_wal_insert_lsn()")),
            &[],
        )
        .await
        .map_err(&reading)?
        .get(0);
    let flushed = format!(
        "SELECT {} >= $1",
        place_in_log("pg_current_wal_flush_lsn()")
    );
    let deadline = tokio::time::Instant::now() + FLUSH_PATIENCE;
    while !other
        .query_one(&flushed, &[&upto])
        .await
        .map_err(&reading)?
        .get::<_, bool>(0)
    {
        if tokio::time::Instant::now() >= deadline {
            let said =
                "the server does not write its log: what is open at the start cannot be told";
            return Err(CaptureError::Refused(said.to_owned()));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    taker.seen = Some(HashSet::new());
    slot.changes(Some(upto), taker).await?;
    let seen = taker.seen.take().unwrap_or_default();
    // First the word, where one says that a run has ended although its row is there.
    let word = decoding
        .kind
        .as_ref()
        .filter(|_| !decoding.options.done.is_empty());
    let listed: Vec<String> = word
        .into_iter()
        .chain(&columns)
        .map(|column| format!("{}::text", identifier(column)))
        .collect();
    let none: [&(dyn ToSql + Sync); 0] = [];
    let rows = other
        .query_raw(&format!("SELECT {} FROM {table}", listed.join(", ")), none)
        .await
        .map_err(&reading)?;
    pin_mut!(rows);
    let before = taker.builder.earliest_kept().map_or(0, |start| start - 1);
    let mut count = 0_u64;
    while let Some(row) = rows.try_next().await.map_err(&reading)? {
        count += 1;
        if count > bounds.most_rows {
            let said = format!(
                "the table has more than {} rows: raise --most-rows, or leave out --open-runs",
                bounds.most_rows
            );
            return Err(CaptureError::Refused(said));
        }
        let part = |place| {
            row.try_get::<_, Option<&str>>(place)
                .map(Option::unwrap_or_default)
        };
        let first = usize::from(word.is_some());
        if word.is_some() && what(&decoding.options, part(0).map_err(&reading)?) == What::Done {
            continue;
        }
        let parts: Result<Vec<&str>, _> = (first..row.len()).map(part).collect();
        let parts = parts.map_err(&reading)?;
        let run = key(parts.into_iter().map(str::as_bytes));
        if !seen.contains(&run) {
            taker.builder.push(Raw {
                run: &run,
                at_micros: before,
                order: Some(0),
                what: What::There,
                value: None,
                place: Place {
                    line: count,
                    byte: 0,
                },
            })?;
        }
    }
    other.batch_execute("COMMIT").await.map_err(&reading)
}

/// The columns of the replica identity, in the order of the table.
async fn identity(client: &Client, table: &str) -> Result<Vec<String>, CaptureError> {
    let rows = client
        .query(
            "SELECT a.attname::text FROM pg_class c JOIN pg_index i ON i.indrelid = c.oid \
             AND CASE c.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END \
             JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY(i.indkey) \
             WHERE c.oid = $1::text::regclass ORDER BY a.attnum",
            &[&table],
        )
        .await
        .map_err(CaptureError::server("looking at the replica identity"))?;
    if rows.is_empty() {
        let said = format!(
            "{table} has no replica identity of few columns: name the column of the run with --run"
        );
        return Err(CaptureError::Refused(said));
    }
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
