//! The head table, made anew and loaded.

use std::time::SystemTime;

use futures::{Stream, stream};

use super::lives::Population;
use crate::drivers::postgres::Patient;
use crate::failure::Failure;
use crate::instrument::clock::{self, SECOND};
use crate::workloads::rows;

/// Makes the table anew and loads the population by binary COPY; answers the rows a second of the COPY alone.
pub(in crate::workloads) async fn load(
    client: Patient<'_>,
    population: &Population,
    fillfactor: u64,
    state_bytes: usize,
) -> Result<f64, Failure> {
    let now = SystemTime::now();
    let rows = (0..population.active).map(|id| {
        let run = population.run(id);
        Ok(rows::Row {
            id: run.id,
            seq: run.seq,
            state: i16::try_from(run.left.rem_euclid(8)).unwrap_or(0),
            created: now,
        })
    });
    let rows = stream::iter(rows);
    let (_, rate) = filled(client, fillfactor, population.seed, state_bytes, rows).await?;
    Ok(rate)
}

/// Makes the table anew and loads these rows; answers how many they are, and how many a second the COPY alone took in.
pub(in crate::workloads) async fn filled(
    client: Patient<'_>,
    fillfactor: u64,
    seed: u64,
    state_bytes: usize,
    rows: impl Stream<Item = Result<rows::Row, Failure>>,
) -> Result<(u64, f64), Failure> {
    let sql = format!(
        "CREATE SCHEMA IF NOT EXISTS bakeoff; \
         DROP TABLE IF EXISTS bakeoff.runs; \
         CREATE TABLE bakeoff.runs (run_id bigint PRIMARY KEY, seq integer NOT NULL, state smallint NOT NULL, \
         created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL, payload bytea NOT NULL) \
         WITH (fillfactor = {fillfactor}); \
         ALTER TABLE bakeoff.runs ALTER COLUMN payload SET STORAGE PLAIN"
    );
    rows::make_way(client).await?;
    client.at_length().batch_execute(&sql).await?;
    let begin = clock::now();
    let loaded = rows::copy(client, seed, state_bytes, rows).await?;
    let took = clock::now().saturating_sub(begin).max(1);
    let rate = loaded as f64 / (took as f64 / SECOND as f64);
    rows::settle(client).await?;
    Ok((loaded, rate.round()))
}
