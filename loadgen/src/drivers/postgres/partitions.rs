//! Range partitions: taking one away from a table that goes on living.
//!
//! `DETACH PARTITION … CONCURRENTLY` (version 14 and later) works in two transactions. The first marks the
//! partition as going, then it waits for every transaction that may still see it, and the second takes it
//! away; both hold SHARE UPDATE EXCLUSIVE on the parent, which lets reads and writes through. Interrupted
//! between the two, it leaves the partition marked, and only `FINALIZE` gets the table out of that state:
//! at most one partition of a table can be in it. The command is refused while there is a DEFAULT
//! partition, whose constraint would have to change, and within a transaction block.

use tokio_postgres::Client;

use super::{Connector, failure};
use crate::failure::{Failure, FailureClass};
use crate::instrument::clock;

/// How a partition was detached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Detached {
    /// From the command until the partition was a table of its own, nanoseconds.
    pub nanoseconds: u64,
    /// Whether the command was interrupted and `FINALIZE` had to complete it.
    pub finalized: bool,
}

/// Refuses a table that has a DEFAULT partition, and names it.
///
/// # Errors
/// When there is one, or the server does not answer.
pub async fn refuse_default(client: &Client, parent: &str) -> Result<(), Failure> {
    let row = client
        .query_opt(
            "SELECT partdefid::regclass::text FROM pg_partitioned_table \
             WHERE partrelid = to_regclass($1) AND partdefid <> 0",
            &[&parent],
        )
        .await
        .map_err(|error| failure(&error))?;
    let Some(row) = row else { return Ok(()) };
    let default: String = row.get(0);
    Err(Failure::new(
        FailureClass::Client,
        format!(
            "{parent} has the DEFAULT partition {default}: Postgres refuses to detach concurrently beside one, \
             because its constraint would change under a stronger lock; move its rows to partitions of \
             their own and drop it"
        ),
    ))
}

/// The partition of `parent` whose detaching was interrupted, if there is one.
///
/// # Errors
/// When the server does not answer.
pub async fn pending(client: &Client, parent: &str) -> Result<Option<String>, Failure> {
    client
        .query_opt(
            "SELECT inhrelid::regclass::text FROM pg_inherits \
             WHERE inhparent = to_regclass($1) AND inhdetachpending",
            &[&parent],
        )
        .await
        .map(|row| row.map(|row| row.get(0)))
        .map_err(|error| failure(&error))
}

/// Completes the detaching that was interrupted and answers which partition that was; does nothing where
/// none was. Like the command itself it waits for transactions that may still see the partition.
///
/// # Errors
/// When the server does not answer or refuses.
pub async fn finalize(client: &Client, parent: &str) -> Result<Option<String>, Failure> {
    let Some(partition) = pending(client, parent).await? else {
        return Ok(None);
    };
    client
        .batch_execute(&format!(
            "ALTER TABLE {parent} DETACH PARTITION {partition} FINALIZE"
        ))
        .await
        .map_err(|error| failure(&error))?;
    Ok(Some(partition))
}

async fn attached(client: &Client, parent: &str, partition: &str) -> Result<bool, Failure> {
    client
        .query_one(
            "SELECT EXISTS (SELECT 1 FROM pg_inherits \
             WHERE inhparent = to_regclass($1) AND inhrelid = to_regclass($2))",
            &[&parent, &partition],
        )
        .await
        .map(|row| row.get(0))
        .map_err(|error| failure(&error))
}

/// Detaches a partition concurrently. What an earlier attempt left half done is completed first, and so is
/// this one when it is interrupted: by `FINALIZE`, on a new connection where the old one is gone, which
/// then stands in `client`. `on_connection` is told of such a connection before it is used.
///
/// # Errors
/// When there is a DEFAULT partition, when the server refuses, or when the partition is still attached and
/// not half detached after an error.
pub async fn detach(
    connector: &Connector,
    client: &mut Client,
    parent: &str,
    partition: &str,
    mut on_connection: impl AsyncFnMut(&Client) -> Result<(), Failure>,
) -> Result<Detached, Failure> {
    refuse_default(client, parent).await?;
    let mut finalized = finalize(client, parent).await?.is_some();
    let begun = clock::now();
    if attached(client, parent, partition).await? {
        let command = format!("ALTER TABLE {parent} DETACH PARTITION {partition} CONCURRENTLY");
        if let Err(error) = client.batch_execute(&command).await {
            // A process that was ended says so before its connection is seen to be gone.
            if client.is_closed() || failure(&error).class == FailureClass::Transport {
                *client = connector.connect().await?;
                on_connection(client).await?;
            }
            finalized |= finalize(client, parent).await?.is_some();
            if attached(client, parent, partition).await? {
                return Err(failure(&error));
            }
        }
    }
    Ok(Detached {
        nanoseconds: clock::now().saturating_sub(begun),
        finalized,
    })
}
