//! The head table, made anew and loaded.

use std::time::SystemTime;

use bakeoff_crds::rng::SplitMix64;
use futures::pin_mut;
use tokio_postgres::Client;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{ToSql, Type};

use super::lives::Population;
use crate::clock::{self, SECOND};
use crate::pg::failure;
use crate::s3::Failure;

/// The figure of a loading: rows a second.
pub(in crate::workloads) const LOAD_ROWS_PER_SECOND: &str = "loadRowsPerSecond";

/// Makes the table anew and loads the population by binary COPY; answers the rows a second of the COPY alone.
pub(in crate::workloads) async fn load(
    client: &Client,
    population: &Population,
    fillfactor: u64,
    state_bytes: usize,
) -> Result<f64, Failure> {
    let sql = format!(
        "CREATE SCHEMA IF NOT EXISTS bakeoff; CREATE EXTENSION IF NOT EXISTS pgstattuple; \
         DROP TABLE IF EXISTS bakeoff.runs; \
         CREATE TABLE bakeoff.runs (run_id bigint PRIMARY KEY, seq integer NOT NULL, state smallint NOT NULL, \
         created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL, payload bytea NOT NULL) \
         WITH (fillfactor = {fillfactor}); \
         ALTER TABLE bakeoff.runs ALTER COLUMN payload SET STORAGE PLAIN"
    );
    let fail = |error: tokio_postgres::Error| failure(&error);
    client.batch_execute(&sql).await.map_err(fail)?;
    let begin = clock::now();
    let sink = client
        .copy_in(
            "COPY bakeoff.runs (run_id, seq, state, created_at, updated_at, payload) FROM STDIN (FORMAT binary)",
        )
        .await
        .map_err(fail)?;
    let types = [
        Type::INT8,
        Type::INT4,
        Type::INT2,
        Type::TIMESTAMPTZ,
        Type::TIMESTAMPTZ,
        Type::BYTEA,
    ];
    let writer = BinaryCopyInWriter::new(sink, &types);
    pin_mut!(writer);
    let now = SystemTime::now();
    let mut payload = vec![0_u8; state_bytes];
    let mut rng = SplitMix64::new(population.seed);
    for id in 0..population.active {
        let run = population.run(id);
        for chunk in payload.chunks_mut(8) {
            let word = rng.next_u64().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
        let state = i16::try_from(run.left.rem_euclid(8)).unwrap_or(0);
        let row: [&(dyn ToSql + Sync); 6] = [&run.id, &run.seq, &state, &now, &now, &payload];
        writer.as_mut().write(&row).await.map_err(fail)?;
    }
    writer.finish().await.map_err(fail)?;
    let took = clock::now().saturating_sub(begin).max(1);
    let rate = population.active as f64 / (took as f64 / SECOND as f64);
    // Hint bits, visibility map and statistics as they are in a table that has lived, and nothing of the
    // load left for the checkpointer to write in the window.
    client
        .batch_execute("VACUUM (ANALYZE, FREEZE) bakeoff.runs")
        .await
        .map_err(fail)?;
    client.batch_execute("CHECKPOINT").await.map_err(fail)?;
    Ok(rate.round())
}
