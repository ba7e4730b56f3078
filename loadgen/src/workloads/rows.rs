//! What the workloads over a table of runs have in common: its loading, and the check that each statement touched
//! the one row that its client owned.

use std::time::{Duration, SystemTime};

use bakeoff_analysis::vocabulary;
use bakeoff_crds::result::CheckRecord;
use bakeoff_crds::rng::SplitMix64;
use futures::{Stream, TryStreamExt, pin_mut};
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};

use crate::checker::Check;
use crate::drivers::postgres::{Patient, end_sessions};
use crate::failure::Failure;
use crate::instrument::record::Operation;

/// How long connections that were left may take to end.
pub(super) const REST_PATIENCE: Duration = Duration::from_secs(10);
/// How long a checkpoint may take. It writes out what the whole server has changed, for others as well.
const FLUSHING: Duration = Duration::from_secs(3_600);

/// A run as it is loaded.
pub(super) struct Row {
    pub id: i64,
    pub seq: i32,
    pub state: i16,
    pub created: SystemTime,
}

/// Ends what earlier generators left behind on the server, before a table is made: they may hold the one that is dropped, or wait
/// to drop the one that is made. No other generator of the trial is connected by then; captures and standbys have other names, and
/// another user's sessions are left alone. What does not end is waited for as any lock.
pub(super) async fn make_way(client: Patient<'_>) -> Result<(), Failure> {
    let left = end_sessions(client, None, REST_PATIENCE).await?;
    if left > 0 {
        tracing::warn!(left, "connections of earlier generators do not end");
    }
    Ok(())
}

/// Fills `bakeoff.runs` by binary COPY, each row with fresh bytes of a state; answers how many there were.
pub(super) async fn copy(
    client: Patient<'_>,
    seed: u64,
    state_bytes: usize,
    rows: impl Stream<Item = Result<Row, Failure>>,
) -> Result<u64, Failure> {
    // Of each row and of the end: the whole may take as long as it does, as long as it gets on.
    let client = client.at_length();
    let sql = "COPY bakeoff.runs (run_id, seq, state, created_at, updated_at, payload) FROM STDIN (FORMAT binary)";
    let sink = client.wait(client.client().copy_in(sql)).await?;
    let types = [
        Type::INT8,
        Type::INT4,
        Type::INT2,
        Type::TIMESTAMPTZ,
        Type::TIMESTAMPTZ,
        Type::BYTEA,
    ];
    let writer = BinaryCopyInWriter::new(sink, &types);
    pin_mut!(writer, rows);
    let mut count = 0_i64;
    let mut payload = vec![0_u8; state_bytes];
    let mut rng = SplitMix64::new(seed);
    while let Some(row) = rows.try_next().await? {
        count += 1;
        for chunk in payload.chunks_mut(8) {
            let word = rng.next_u64().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
        let values: [&(dyn ToSql + Sync); 6] = [
            &row.id,
            &row.seq,
            &row.state,
            &row.created,
            &row.created,
            &payload,
        ];
        client.wait(writer.as_mut().write(&values)).await?;
    }
    // What was sent may wait in buffers on the way.
    let bytes = i64::try_from(state_bytes).unwrap_or(i64::MAX);
    let loading = client.reading(bytes.saturating_mul(count));
    loading.wait(writer.finish()).await?;
    Ok(count.unsigned_abs())
}

/// Hint bits, visibility map and statistics as they are in a table that has lived, and nothing of the load left
/// for the checkpointer to write in the window.
pub(super) async fn settle(client: Patient<'_>) -> Result<(), Failure> {
    // It reads the rows, logs them and writes them.
    let settling = client.reading(bytes(client).await?.saturating_mul(3));
    settling
        .batch_execute("VACUUM (ANALYZE, FREEZE) bakeoff.runs")
        .await?;
    let refused = Some(SqlState::INSUFFICIENT_PRIVILEGE.code());
    let flushing = client.at_most(FLUSHING);
    match flushing.batch_execute("CHECKPOINT").await {
        // Said once, before the start: a caveat of the backend.
        Err(failure) if failure.code.as_deref() == refused => Ok(()),
        done => done,
    }
}

/// Asks for the bytes of the table with its partitions and indexes, as files.
pub(super) const BYTES: &str = "SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class \
    WHERE relnamespace = 'bakeoff'::regnamespace AND relkind = 'r' AND relname ~ '^runs(_p[0-9]+)?$'";

/// How many they are.
pub(super) async fn bytes(client: Patient<'_>) -> Result<i64, Failure> {
    Ok(client.query_one(BYTES, &[]).await?.get(0))
}

/// Fresh bytes, so that no page compresses better than another.
pub(super) fn freshen(payload: &mut [u8], rng: &mut SplitMix64) {
    let word = rng.next_u64().to_le_bytes();
    for (byte, new) in payload.iter_mut().zip(word.iter().cycle()) {
        *byte = byte.wrapping_mul(31) ^ new;
    }
}

/// Statements that did not touch exactly the one row that their client owned, of all clients, with examples.
#[derive(Debug, Default)]
pub(super) struct Missed(Check);

impl Missed {
    /// Notes a statement that touched so many rows.
    pub fn note(&mut self, kind: Operation, rows: u64, step: &dyn std::fmt::Debug) {
        self.0.checked += 1;
        if rows != 1 {
            self.0
                .violation(|| format!("{kind} touched {rows} rows: {step:?}"));
        }
    }

    /// The check as it is recorded.
    pub fn into_check(self) -> CheckRecord {
        self.0.into_record(vocabulary::ROWS_MISSED)
    }
}
