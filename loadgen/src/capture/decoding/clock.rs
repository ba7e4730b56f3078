//! What the server says of the time. (I/O.)

use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::Client;

use super::slot::{is_written, place_in_log};
use crate::capture::CaptureError;

/// A standby whose last commit came longer ago, microseconds, may be one to which nothing comes but what is no commit.
const OLD_MICROS: i64 = 1_000_000;
/// How long is waited until a standby knows better.
const PATIENCE: Duration = Duration::from_secs(2);

/// A time, microseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(super) struct Time {
    /// By the clock on the wall.
    pub wall: i64,
    /// Until when the server knows what was committed. On a primary that is now, and on a standby to which its primary sends and
    /// that has replayed what it was sent. On another standby it is when the last commit was that it has replayed.
    pub log: i64,
    /// Whether all that was committed until then is written to the log. What no commit waits for is written a little later.
    pub written: bool,
}

/// A time in SQL as microseconds since 1970.
fn micros(time: &str) -> String {
    format!("floor(extract(epoch FROM {time})::numeric * 1000000)::bigint")
}

/// The time of the server.
pub(super) async fn now(client: &Client) -> Result<Time, CaptureError> {
    // The time comes first: what the standby has replayed by the time that it is asked for that, it has replayed.
    let log = "CASE WHEN NOT pg_is_in_recovery() THEN wall \
               WHEN pg_last_wal_receive_lsn() <= pg_last_wal_replay_lsn() AND EXISTS (SELECT FROM pg_stat_wal_receiver) THEN wall \
               ELSE least(wall, pg_last_xact_replay_timestamp()) END";
    let asked = format!(
        "SELECT {}, {}, {}, {} FROM clock_timestamp() wall",
        micros("wall"),
        micros(log),
        place_in_log("pg_current_wal_insert_lsn()"),
        place_in_log("pg_current_wal_flush_lsn()")
    );
    let asking = CaptureError::server("asking for the time");
    let row = client.query_one(&asked, &[]).await.map_err(&asking)?;
    let place = |column: usize| row.try_get(column).map_err(&asking);
    Ok(Time {
        wall: row.try_get(0).map_err(&asking)?,
        log: row.try_get(1).map_err(&asking)?,
        written: is_written(place(2)?, place(3)?),
    })
}

/// When a recording begins. The last commit of a standby may have been an hour ago, for the instant in which it has received
/// something that is none and has not replayed it yet: it is asked again.
pub(super) async fn start(client: &Client) -> Result<Time, CaptureError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let time = now(client).await?;
        if time.wall - time.log < OLD_MICROS || Instant::now() >= deadline {
            return Ok(time);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
