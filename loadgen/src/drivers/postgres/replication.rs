//! The standbys of a server, as the server sees them: which of them a commit waits for, and since when each follows.

use std::collections::BTreeMap;

use tokio_postgres::{Client, SimpleQueryMessage};

use super::{Patient, failure};
use crate::failure::Failure;

/// The standbys that a commit of this session waits for, as `synchronous_standby_names` has them; none where it waits for nobody.
///
/// # Errors
/// When the server does not answer.
pub async fn awaited_standbys(client: &Client) -> Result<Option<String>, Failure> {
    let names = "SELECT current_setting('synchronous_standby_names', true) \
                 WHERE current_setting('synchronous_commit', true) NOT IN ('off', 'local')";
    let answer = client.simple_query(names).await;
    let answer = answer.map_err(|error| failure(&error))?;
    Ok(answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row
            .get(0)
            .filter(|names| !names.is_empty())
            .map(str::to_owned),
        _ => None,
    }))
}

/// Commits a transaction that writes nothing but a message into the WAL, which nobody reads.
///
/// # Errors
/// When the server does not answer.
pub async fn commit(client: &Client) -> Result<(), Failure> {
    let message = "SELECT pg_logical_emit_message(true, 'bakeoff', '')";
    let done = client.simple_query(message).await;
    done.map(|_| ()).map_err(|error| failure(&error))
}

/// When each standby that follows the server began to, seconds since the epoch, by its name.
///
/// # Errors
/// When the server does not answer.
pub async fn followers(client: Patient<'_>) -> Result<BTreeMap<String, f64>, Failure> {
    let rows = client
        .query(
            "SELECT application_name, extract(epoch FROM max(backend_start))::float8 FROM pg_stat_replication \
             WHERE backend_start IS NOT NULL GROUP BY application_name",
            &[],
        )
        .await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}
