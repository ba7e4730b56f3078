//! A slot that goes with its session, and how far the log of the server is. (I/O.)

use std::time::Duration;

use futures::{TryStreamExt as _, pin_mut};
use tokio::time::Instant;
use tokio_postgres::Client;
use tokio_postgres::types::{FromSql, PgLsn, ToSql, Type};

use crate::capture::CaptureError;
use crate::drivers::postgres::identifier;

/// Changes that are asked for at once; a transaction is never cut.
const CHANGES: i32 = 20_000;
/// How long the server may take to write its log. What no commit waits for is written after 15 seconds on a server that is idle.
const FLUSH_PATIENCE: Duration = Duration::from_secs(30);
/// How long is waited for the slot to go.
const DROP_PATIENCE: Duration = Duration::from_secs(10);
/// A page of the log, bytes.
const PAGE: u64 = 8_192;
/// The pages that begin a file of the log begin at a multiple of this.
const FILE: u64 = 1 << 20;

/// A slot that the session takes with it.
pub(super) struct Slot<'a> {
    pub client: &'a Client,
    name: String,
    /// The publication, as a list of names has it.
    publication: String,
}

impl<'a> Slot<'a> {
    pub async fn create(client: &'a Client, publication: &str) -> Result<Self, CaptureError> {
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
            publication: identifier(publication),
        })
    }

    /// Takes what there is, up to a place in the log; whether that was all.
    pub async fn changes(
        &self,
        upto: Option<PgLsn>,
        mut take: impl FnMut(&[u8]) -> Result<(), CaptureError>,
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
            take(message.0)?;
            count += 1;
        }
        Ok(count < CHANGES)
    }

    /// How much of the log it holds back, bytes.
    pub async fn behind(&self) -> Result<i64, CaptureError> {
        let looking = CaptureError::server("looking at the slot");
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
            .map_err(&looking)?;
        row.try_get(0).map_err(&looking)
    }

    /// Lets the server have its log again. Where that does not go well, the slot goes with the session.
    pub async fn drop(self) {
        let name: [&(dyn ToSql + Sync); 1] = [&self.name];
        let dropping = self
            .client
            .execute("SELECT pg_drop_replication_slot($1)", &name);
        let _ = tokio::time::timeout(DROP_PATIENCE, dropping).await;
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

/// A place in the log of a primary, or how far a standby has replayed it, in SQL.
pub(super) fn place_in_log(primary: &str) -> String {
    format!("CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE {primary} END")
}

async fn place(client: &Client, primary: &str) -> Result<PgLsn, CaptureError> {
    let asking = CaptureError::server("asking how far the log is written");
    let asked = format!("SELECT {}", place_in_log(primary));
    let row = client.query_one(&asked, &[]).await.map_err(&asking)?;
    row.try_get(0).map_err(&asking)
}

/// Waits until the log is written as far as there is something in it, and says how far that is. What is visible may not have been
/// written yet, where commits do not wait for it; only what is written is decoded.
pub(super) async fn flushed(client: &Client) -> Result<PgLsn, CaptureError> {
    let inserted = place(client, "pg_current_wal_insert_lsn()").await?;
    let deadline = Instant::now() + FLUSH_PATIENCE;
    loop {
        let written = place(client, "pg_current_wal_flush_lsn()").await?;
        if is_written(inserted, written) {
            return Ok(PgLsn::from(end_of_records(inserted.into())));
        }
        if Instant::now() >= deadline {
            let said = format!(
                "the server did not write its log within {} s: try again once its disk is less busy",
                FLUSH_PATIENCE.as_secs()
            );
            return Err(CaptureError::Refused(said));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Whether all is written that comes before the place where the next record is to be inserted.
pub(super) fn is_written(inserted: PgLsn, written: PgLsn) -> bool {
    u64::from(written) >= end_of_records(inserted.into())
}

/// Where the last record ends, if the next one is to be inserted here. At the beginning of a page that is behind the header of the
/// page, of 24 bytes or, at the beginning of a file, of 40: the record before it ends where the page begins, and so does what is
/// written.
fn end_of_records(inserted: u64) -> u64 {
    let into = inserted % PAGE;
    let header = if inserted % FILE < PAGE { 40 } else { 24 };
    if into <= header {
        inserted - into
    } else {
        inserted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_of_a_page_is_no_record() {
        for (inserted, end) in [
            // In the midst of a page, and where one begins.
            (3 * FILE + 5 * PAGE + 4_096, 3 * FILE + 5 * PAGE + 4_096),
            (3 * FILE + 5 * PAGE, 3 * FILE + 5 * PAGE),
            // Behind its header, which is longer where a file begins.
            (3 * FILE + 5 * PAGE + 24, 3 * FILE + 5 * PAGE),
            (3 * FILE + 40, 3 * FILE),
            // Behind what goes on from the page before.
            (3 * FILE + 5 * PAGE + 32, 3 * FILE + 5 * PAGE + 32),
            (3 * FILE + 48, 3 * FILE + 48),
            (0, 0),
        ] {
            assert_eq!(end_of_records(inserted), end, "{inserted}");
            assert!(is_written(inserted.into(), end.into()));
            let less = end.saturating_sub(8);
            assert_eq!(is_written(inserted.into(), less.into()), end == 0);
        }
    }
}
