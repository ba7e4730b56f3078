//! The schema `bakeoff` in a database that is not ours: whose it is, and its removal.
//!
//! A comment on the schema names its run. So a schema that was there before is never taken for ours, two experiments
//! do not work in one database at a time, and what is removed afterwards is what the run itself made.

use std::time::Duration;

use super::patient::PATIENCE;
use super::{Connector, Patient, failure, literal};
use crate::drivers::error::{SchemaChange, SchemaError};
use crate::failure::Failure;

/// The comment that names a run.
fn mark(run: &str) -> String {
    format!("Bakeoff run {run}")
}

/// The comment on the schema; the outer `None` when there is no schema.
async fn comment(client: Patient<'_>) -> Result<Option<Option<String>>, Failure> {
    let row = client
        .query_opt(
            "SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = 'bakeoff'",
            &[],
        )
        .await?;
    row.map(|row| row.try_get(0).map_err(|error| failure(&error)))
        .transpose()
}

/// Makes the schema for a run, unless the run has it already.
///
/// # Errors
/// When it is somebody else's, or the server does not let it.
pub async fn claim(connector: &Connector, run: &str) -> Result<(), SchemaError> {
    let refused = |failure| SchemaError::Refused {
        change: SchemaChange::Made,
        failure,
    };
    let client = connector.connect().await.map_err(refused)?;
    let asking = Patient::of(&client);
    match comment(asking).await.map_err(refused)? {
        Some(said) if said.as_deref() == Some(mark(run).as_str()) => Ok(()),
        Some(said) => Err(SchemaError::Taken {
            database: connector.database().to_owned(),
            whose: said.unwrap_or_else(|| "without a comment".to_owned()),
        }),
        None => {
            let said = literal(&mark(run));
            // One message is one transaction: of two that come at once the second fails, and nobody's schema is without its
            // mark. Without BEGIN, so that it can be asked again.
            let sql = format!("CREATE SCHEMA bakeoff; COMMENT ON SCHEMA bakeoff IS {said}");
            let made = asking.at_length().batch_execute(&sql).await;
            made.map_err(refused)
        }
    }
}

/// Drops the schema with all that is in it, if it is this run's; answers how many were dropped, 0 or 1. Whoever works in it may
/// hold that up for as long as `patience`; afterwards the server gives it up.
///
/// # Errors
/// When the server cannot be reached or does not let it.
pub async fn release(
    connector: &Connector,
    run: &str,
    patience: Duration,
) -> Result<u64, SchemaError> {
    let refused = |failure| SchemaError::Refused {
        change: SchemaChange::Dropped,
        failure,
    };
    let client = connector.connect().await.map_err(refused)?;
    let asking = Patient::new(&client, patience.min(PATIENCE));
    let said = comment(asking).await.map_err(refused)?;
    if said.flatten().as_deref() != Some(mark(run).as_str()) {
        return Ok(0);
    }
    let dropping = asking.at_most(patience);
    let dropped = dropping.batch_execute("DROP SCHEMA bakeoff CASCADE").await;
    dropped.map_err(refused)?;
    Ok(1)
}
