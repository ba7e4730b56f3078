//! What there is to follow, and which runs are there at the start. (I/O; what tells runs apart is decided purely.)

use futures::{TryStreamExt as _, pin_mut};
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

use super::Decoding;
use super::slot::{Slot, flushed};
use super::taker::Taker;
use crate::capture::pgoutput::key;
use crate::capture::{Bounds, CaptureError, session};
use crate::drivers::postgres::{Connector, identifier};

/// The table that is followed.
pub(super) struct Table {
    /// The number that the server has for it.
    pub oid: u32,
    /// Its name in SQL.
    name: String,
    /// The columns that tell runs apart.
    pub run: Vec<String>,
}

/// A column.
struct Column {
    name: String,
    /// Whether the replica identity has it, so that a removal says what was in it.
    identity: bool,
}

/// The columns of a table that are sent.
struct Sent {
    columns: Vec<Column>,
    /// Whether the replica identity is all of them.
    full: bool,
}

/// The table that is followed: one that its publication sends, with what is asked for.
pub(super) async fn table(client: &Client, decoding: &Decoding) -> Result<Table, CaptureError> {
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
    // Servers before 15 send all columns, and have no list of them.
    let tables = client
        .query(
            "SELECT schemaname::text, tablename::text, \
             ARRAY(SELECT jsonb_array_elements_text(nullif(to_jsonb(t) -> 'attnames', 'null'))) \
             FROM pg_publication_tables t WHERE pubname = $1",
            &[&decoding.publication],
        )
        .await
        .map_err(&asking)?;
    let names: Vec<(String, String)> = tables.iter().map(|row| (row.get(0), row.get(1))).collect();
    let place = chosen(decoding, &names).map_err(CaptureError::Refused)?;
    let (Some((schema, table)), Some(row)) = (names.get(place), tables.get(place)) else {
        return Err(CaptureError::Refused("the publication is empty".to_owned()));
    };
    let name = format!("{}.{}", identifier(schema), identifier(table));
    let listed: Vec<String> = row.get(2);
    let (oid, mut sent) = columns(client, &name).await?;
    if !listed.is_empty() {
        sent.columns.retain(|column| listed.contains(&column.name));
    }
    let run = told_apart(&name, &sent, decoding).map_err(CaptureError::Refused)?;
    Ok(Table { oid, name, run })
}

/// Which of the tables of the publication is followed.
fn chosen(decoding: &Decoding, names: &[(String, String)]) -> Result<usize, String> {
    let publication = &decoding.publication;
    let listed = || {
        let listed = names
            .iter()
            .map(|(schema, table)| format!("{schema}.{table}"));
        listed.collect::<Vec<_>>().join(", ")
    };
    match (&decoding.table, names) {
        (_, []) => Err(format!(
            "there is no publication {publication} with a table in it; whoever owns the table makes it: CREATE PUBLICATION {} FOR TABLE ...",
            identifier(publication)
        )),
        (Some(wanted), _) => names.iter().position(|name| name == wanted).ok_or_else(|| {
            format!(
                "publication {publication} has not {}.{}; it has {}",
                wanted.0,
                wanted.1,
                listed()
            )
        }),
        (None, [_]) => Ok(0),
        (None, _) => Err(format!(
            "publication {publication} has {}: say with --table which of them holds the runs",
            listed()
        )),
    }
}

/// The number of a table and its columns, in their order.
async fn columns(client: &Client, table: &str) -> Result<(u32, Sent), CaptureError> {
    // Of an index the columns that it merely includes tell nothing apart, and one that is checked late is none.
    let rows = client
        .query(
            "SELECT c.oid, c.relreplident = 'f', a.attname::text, CASE c.relreplident WHEN 'f' THEN true WHEN 'n' THEN false \
             ELSE coalesce(a.attnum = ANY((i.indkey::int2[])[0:i.indnkeyatts - 1]), false) END \
             FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
             LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indimmediate \
             AND CASE c.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END \
             WHERE c.oid = $1::text::regclass ORDER BY a.attnum",
            &[&table],
        )
        .await
        .map_err(CaptureError::server("looking at the replica identity"))?;
    let Some(first) = rows.first() else {
        let said = format!("{table} has no column: name another one with --table");
        return Err(CaptureError::Refused(said));
    };
    let columns = rows.iter().map(|row| Column {
        name: row.get(2),
        identity: row.get(3),
    });
    let sent = Sent {
        columns: columns.collect(),
        full: first.get(1),
    };
    Ok((first.get(0), sent))
}

/// The columns that tell runs apart. What a recording would stumble over later is said now: later it cannot be mended any more.
fn told_apart(table: &str, sent: &Sent, decoding: &Decoding) -> Result<Vec<String>, String> {
    let find = |name: &String| {
        let found = sent.columns.iter().find(|column| column.name == *name);
        found.ok_or_else(|| {
            let known = sent.columns.iter().take(30);
            let known: Vec<&str> = known.map(|column| column.name.as_str()).collect();
            format!(
                "{table} has no column {name:?} that its publication sends; there are {}",
                known.join(", ")
            )
        })
    };
    for name in decoding.kind.iter().chain(&decoding.value) {
        find(name)?;
    }
    let words = !decoding.options.done.is_empty();
    let Some(name) = &decoding.run else {
        let identity = sent.columns.iter().filter(|column| column.identity);
        let identity: Vec<String> = identity.map(|column| column.name.clone()).collect();
        if sent.full || identity.is_empty() {
            return Err(format!(
                "{table} has no replica identity of few columns: name the column of the run with --run"
            ));
        }
        return Ok(identity);
    };
    let column = find(name)?;
    if !column.identity && !words {
        return Err(format!(
            "a removal from {table} says nothing of {name:?}, which its replica identity does not hold, so that the end of a run would not \
             be known: name the word that ends a run with --kind and --done, or have the owner of the table say ALTER TABLE {table} \
             REPLICA IDENTITY FULL"
        ));
    }
    Ok(vec![name.clone()])
}

/// A column as it is sent when it changes, in SQL: a cast to text has other words for some types.
fn as_sent(column: &str) -> String {
    let column = identifier(column);
    format!("CASE WHEN {column} IS NULL THEN NULL ELSE format('%s', {column}) END")
}

/// Reads which runs are there, as of one moment. What changed from the slot's beginning to that moment speaks for itself.
pub(super) async fn open_runs(
    connector: &Connector,
    bounds: &Bounds,
    (decoding, table): (&Decoding, &Table),
    slot: &Slot<'_>,
    taker: &mut Taker<'_>,
) -> Result<(), CaptureError> {
    let reading = CaptureError::server("reading which runs are there");
    let other = session::open(connector, bounds).await?;
    // While one of the two sessions reads, the other one waits.
    session::bear(slot.client, bounds.statement_seconds).await;
    session::bear(&other, bounds.statement_seconds).await;
    other
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT 1")
        .await
        .map_err(&reading)?;
    let upto = flushed(&other).await?;
    taker.watch();
    slot.changes(Some(upto), |message| taker.take(message))
        .await?;
    rows(&other, bounds, (decoding, table), taker).await?;
    taker.watched();
    other.batch_execute("COMMIT").await.map_err(&reading)?;
    session::bear(slot.client, 0).await;
    Ok(())
}

/// Reads all rows of the table.
async fn rows(
    other: &Client,
    bounds: &Bounds,
    (decoding, table): (&Decoding, &Table),
    taker: &mut Taker<'_>,
) -> Result<(), CaptureError> {
    let reading = CaptureError::server("reading which runs are there");
    // First the word, where one says that a run has ended although its row is there.
    let word = decoding
        .kind
        .as_ref()
        .filter(|_| !decoding.options.done.is_empty());
    let first = usize::from(word.is_some());
    let listed = word.into_iter().chain(&table.run);
    let listed: Vec<String> = listed.map(|column| as_sent(column)).collect();
    let select = format!("SELECT {} FROM {}", listed.join(", "), table.name);
    let none: [&(dyn ToSql + Sync); 0] = [];
    let rows = other.query_raw(&select, none).await.map_err(&reading)?;
    pin_mut!(rows);
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
        let parts: Result<Vec<Option<&str>>, _> =
            (0..row.len()).map(|place| row.try_get(place)).collect();
        let parts = parts.map_err(&reading)?;
        let (word, run) = parts.split_at_checked(first).unwrap_or_default();
        let run: Option<Vec<&str>> = run.iter().copied().collect();
        let run = run.map(|parts| key(parts.into_iter().map(str::as_bytes)));
        taker.row(run.as_deref(), word.first().copied().flatten())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bakeoff_trace::import::Options;

    fn decoding(run: Option<&str>, words: bool) -> Decoding {
        Decoding {
            publication: "runs".to_owned(),
            table: None,
            run: run.map(str::to_owned),
            kind: words.then(|| "status".to_owned()),
            value: None,
            options: Options {
                done: words.then(|| "done".to_owned()).into_iter().collect(),
                ..Options::default()
            },
            seconds: 1,
            open_runs: false,
            most_lag_bytes: 1,
        }
    }

    fn sent(identity: &[&str], full: bool) -> Sent {
        let columns = ["a", "b", "status"].map(|name| Column {
            name: name.to_owned(),
            identity: full || identity.contains(&name),
        });
        Sent {
            columns: columns.into(),
            full,
        }
    }

    #[test]
    fn what_tells_runs_apart_is_settled_before_anything_is_followed() {
        let of =
            |sent: Sent, run, words| told_apart("\"x\".\"runs\"", &sent, &decoding(run, words));
        assert_eq!(
            of(sent(&["a", "b"], false), None, false).unwrap(),
            ["a", "b"]
        );
        for (identity, full, words) in [
            (&["a", "b"][..], false, false),
            (&[], true, false),
            // A removal means nothing where a word ends a run.
            (&["a"], false, true),
            (&[], false, true),
        ] {
            let found = of(sent(identity, full), Some("b"), words);
            assert_eq!(found.unwrap(), ["b"], "{identity:?} {full} {words}");
        }
        for (identity, full, run, said) in [
            (
                &["a"][..],
                false,
                Some("b"),
                "with --kind and --done, or have the owner",
            ),
            (
                &["a"],
                false,
                Some("c"),
                "no column \"c\" that its publication sends; there are a, b, status",
            ),
            (&[], true, None, "name the column of the run with --run"),
            (&[], false, None, "name the column of the run with --run"),
        ] {
            let found = of(sent(identity, full), run, false).unwrap_err();
            assert!(found.contains(said), "{found}");
        }
        let mut other = decoding(None, false);
        other.value = Some("state".to_owned());
        let found = told_apart("runs", &sent(&["a"], false), &other).unwrap_err();
        assert!(found.contains("no column \"state\""), "{found}");
    }

    #[test]
    fn the_table_is_one_of_the_publication() {
        let names = |names: &[&str]| -> Vec<(String, String)> {
            let names = names
                .iter()
                .map(|&name| ("public".to_owned(), name.to_owned()));
            names.collect()
        };
        let mut one = decoding(None, false);
        let found = |decoding: &Decoding, names: &[(String, String)]| chosen(decoding, names);
        assert_eq!(found(&one, &names(&["runs"])), Ok(0));
        let several = found(&one, &names(&["runs", "steps"])).unwrap_err();
        assert!(
            several.contains("say with --table which of them"),
            "{several}"
        );
        one.table = Some(("public".to_owned(), "steps".to_owned()));
        assert_eq!(found(&one, &names(&["runs", "steps"])), Ok(1));
        assert!(
            found(&one, &names(&["runs"]))
                .unwrap_err()
                .contains("has not public.steps")
        );
        assert!(
            found(&one, &[])
                .unwrap_err()
                .contains("CREATE PUBLICATION \"runs\"")
        );
    }
}
