//! What one look at a server finds.

use bakeoff_crds::result::HorizonHolder;
use serde::{Deserialize, Serialize};

/// What holds back the removal of dead rows, the oldest of what one look found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Holder {
    /// What it is.
    pub kind: HorizonHolder,
    /// Its name, in the server's words.
    pub name: String,
    /// The transaction since which it holds.
    pub since: String,
    /// Transactions since then.
    pub age: i64,
}

/// One look at the server and at the table `runs`. What the server does not tell, or not this role, is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
    /// Updates that had to go to another page.
    pub new_page_updates: Option<i64>,
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
    pub blocks_hit: Option<i64>,
    /// Blocks of the database read.
    pub blocks_read: Option<i64>,
    /// Bytes of WAL written since the server began.
    pub wal_bytes: Option<i64>,
    /// Checkpoints, timed and requested.
    pub checkpoints: Option<i64>,
    /// Backends that wait for a lock.
    pub lock_waits: Option<i64>,
    /// Age of the oldest open transaction, milliseconds.
    pub oldest_transaction_millis: Option<i64>,
    /// Transactions since the oldest frozen one of the database.
    pub frozen_age: i64,
    /// Transactions since the oldest frozen one of the table.
    #[serde(default)]
    pub table_frozen_age: Option<i64>,
    /// Time that autovacuum spent on the table, milliseconds.
    #[serde(default)]
    pub autovacuum_millis: Option<i64>,
    /// Whether an autovacuum worker is at the table.
    pub vacuuming: Option<bool>,
    /// Transactions for which the removal of dead rows is held back by others than the generators; 0 where by nobody.
    #[serde(default)]
    pub horizon_age: Option<i64>,
    /// What holds it back most, of what is seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub horizon: Option<Holder>,
}
