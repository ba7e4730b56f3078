//! What one look at a server finds.

use serde::{Deserialize, Serialize};

/// One look at the server and at the table `runs`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sample {
    /// Milliseconds since the window opened; negative before.
    pub at_millis: i64,
    /// Bytes of the table without its indexes.
    pub table_bytes: i64,
    /// Bytes of its indexes.
    pub index_bytes: i64,
    /// Live rows, as the statistics estimate them.
    pub live_tuples: i64,
    /// Dead rows, as the statistics estimate them.
    pub dead_tuples: i64,
    /// Updates since the server started.
    pub updates: i64,
    /// Of these, heap-only ones: no index entry was added.
    pub hot_updates: i64,
    /// Updates that had to go to another page; 0 before version 16.
    pub new_page_updates: i64,
    /// Deletes since the server started: completed runs.
    pub deletes: i64,
    /// Finished runs of autovacuum over the table.
    pub autovacuums: i64,
    /// Finished runs of auto-analyze.
    pub autoanalyzes: i64,
    /// Sequential scans of the table.
    pub sequential_scans: i64,
    /// Index scans of the table.
    pub index_scans: i64,
    /// Blocks of the database found in shared buffers.
    pub blocks_hit: i64,
    /// Blocks of the database read.
    pub blocks_read: i64,
    /// Bytes of WAL written since the server began.
    pub wal_bytes: i64,
    /// Checkpoints, timed and requested.
    pub checkpoints: i64,
    /// Backends that wait for a lock.
    pub lock_waits: i64,
    /// Age of the oldest open transaction, milliseconds.
    pub oldest_transaction_millis: i64,
    /// Transactions since the oldest frozen one of the database.
    pub frozen_age: i64,
    /// Transactions since the oldest frozen one of the table.
    #[serde(default)]
    pub table_frozen_age: i64,
    /// Time that autovacuum spent on the table, milliseconds; 0 before version 18, which does not tell.
    #[serde(default)]
    pub autovacuum_millis: i64,
    /// Whether an autovacuum worker is at the table.
    pub vacuuming: bool,
}
