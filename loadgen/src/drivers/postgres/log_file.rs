//! The stretch of the server's log that was written while a window lasted, read through SQL.
//!
//! A server that keeps its log in a file that it may read says where in a setting of its own; the operator's
//! servers do. No other is asked for more than that setting. Two sizes are asked for at the borders of the window and
//! the stretch is read after it; what cannot be read is left out.

use tokio_postgres::types::ToSql;

use super::log::{self, Logged};
use super::observe::Observer;
use super::patiently;
use crate::instrument::clock;

/// The most of a log that is read for one window: thousands of runs.
const MOST_BYTES: i64 = 4 << 20;

/// From one size of the log to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    from: i64,
    to: i64,
}

impl Observer {
    /// Waits for both ends of a window and answers what the log grew by; `None` where there is none to read.
    pub async fn stretch(&self, start: u64, end: u64) -> Option<Stretch> {
        self.log.as_ref()?;
        clock::sleep_until(start).await;
        let from = self.log_size().await?;
        clock::sleep_until(end).await;
        let to = self.log_size().await?;
        Some(Stretch { from, to })
    }

    async fn log_size(&self) -> Option<i64> {
        let sql = "SELECT (pg_stat_file($1, true)).size";
        let asked = async { self.client.query_one(sql, &[&self.log]).await };
        match patiently(self.patience, asked).await {
            Ok(row) => row.get(0),
            Err(error) => {
                tracing::debug!(%error, "the server's log cannot be read");
                None
            }
        }
    }

    /// The runs of autovacuum in a stretch of the log.
    pub async fn logged(&self, stretch: Stretch) -> Option<Logged> {
        let length = (stretch.to - stretch.from).max(0);
        let read = length.min(MOST_BYTES);
        let sql = "SELECT pg_read_binary_file($1, $2, $3, true)";
        let asked = async {
            let parameters: &[&(dyn ToSql + Sync)] = &[&self.log, &stretch.from, &read];
            self.client.query_one(sql, parameters).await
        };
        let bytes: Option<Vec<u8>> = match patiently(self.patience, asked).await {
            Ok(row) => row.get(0),
            Err(error) => {
                tracing::debug!(%error, "the server's log cannot be read");
                None
            }
        };
        let unread = length - read;
        if unread > 0 {
            tracing::warn!(
                unread,
                "the server's log of this window is too long to be read whole"
            );
        }
        Some(Logged {
            runs: log::vacuums(&bytes?),
            unread,
        })
    }
}
