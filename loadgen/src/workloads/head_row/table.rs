//! The head table, made anew and loaded.

use std::time::SystemTime;

use tokio_postgres::Client;

use super::lives::Population;
use crate::drivers::postgres::failure;
use crate::failure::Failure;
use crate::instrument::clock::{self, SECOND};
use crate::workloads::rows;

/// Makes the table anew and loads the population by binary COPY; answers the rows a second of the COPY alone.
pub(in crate::workloads) async fn load(
    client: &Client,
    population: &Population,
    fillfactor: u64,
    state_bytes: usize,
) -> Result<f64, Failure> {
    let sql = format!(
        "CREATE SCHEMA IF NOT EXISTS bakeoff; \
         DROP TABLE IF EXISTS bakeoff.runs; \
         CREATE TABLE bakeoff.runs (run_id bigint PRIMARY KEY, seq integer NOT NULL, state smallint NOT NULL, \
         created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL, payload bytea NOT NULL) \
         WITH (fillfactor = {fillfactor}); \
         ALTER TABLE bakeoff.runs ALTER COLUMN payload SET STORAGE PLAIN"
    );
    client
        .batch_execute(&sql)
        .await
        .map_err(|error| failure(&error))?;
    let begin = clock::now();
    let now = SystemTime::now();
    let rows = (0..population.active).map(|id| {
        let run = population.run(id);
        rows::Row {
            id: run.id,
            seq: run.seq,
            state: i16::try_from(run.left.rem_euclid(8)).unwrap_or(0),
            created: now,
        }
    });
    rows::copy(client, population.seed, state_bytes, rows).await?;
    let took = clock::now().saturating_sub(begin).max(1);
    let rate = population.active as f64 / (took as f64 / SECOND as f64);
    rows::settle(client).await?;
    Ok(rate.round())
}
