//! Waits until a Postgres server answers and takes writes.

use std::time::Duration;

use tokio_postgres::Client;

use super::observe::{self, Writable};
use super::{Connector, identifier, replication};
use crate::drivers::probe::{ProbeError, wait_until};
use crate::failure::{Failure, FailureClass};

/// The longest that a commit may take while nobody works with the server. Shorter than a try of the wait.
const COMMIT_PATIENCE: Duration = Duration::from_secs(5);
const NO_STANDBY: &str = "a commit waits for a standby";
const STANDBY: &str = "the server is a standby";
const READ_ONLY: &str = "its transactions are read-only";

/// Waits until a Postgres server answers a query of the experiment's user, and a commit where that waits for standbys.
///
/// # Errors
/// When it does not within `patience`, or refuses the user.
pub async fn wait(
    backend: &str,
    connector: &Connector,
    patience: Duration,
) -> Result<(), ProbeError> {
    wait_until(backend, connector.address(), patience, async || {
        let client = connector.bare().await?;
        match observe::writable(&client).await? {
            Writable::Yes => commits(connector, &client).await,
            // It may be promoted, or another take its place behind its name.
            Writable::Standby => Err(Failure::new(FailureClass::Server, STANDBY)),
            Writable::ReadOnly => Err(Failure::new(FailureClass::Client, READ_ONLY)),
        }
    })
    .await
    .map_err(|error| match error {
        ProbeError::Unreachable {
            backend,
            endpoint,
            seconds,
            last,
        } if last.contains(STANDBY) => ProbeError::Standby {
            backend,
            endpoint,
            seconds,
        },
        ProbeError::Unreachable {
            backend,
            endpoint,
            seconds,
            last,
        } if last.contains(NO_STANDBY) => ProbeError::StandbyMissing {
            backend,
            endpoint,
            seconds,
            said: last,
        },
        ProbeError::Unauthorised {
            backend,
            endpoint,
            said,
        } if said.contains(READ_ONLY) => ProbeError::ReadOnly {
            backend,
            endpoint,
            user: identifier(connector.user()),
        },
        other => other,
    })
}

/// Tries a commit, of a server whose commits wait for others. What waits is cancelled: it would stay there, as nothing else ends it.
async fn commits(connector: &Connector, client: &Client) -> Result<(), Failure> {
    let Some(names) = replication::awaited_standbys(client).await? else {
        return Ok(());
    };
    match tokio::time::timeout(COMMIT_PATIENCE, replication::commit(client)).await {
        Ok(Ok(())) => Ok(()),
        // That it may not be tried by this user says nothing of other commits.
        Ok(Err(failure)) if failure.class == FailureClass::Client => Ok(()),
        Ok(Err(failure)) => Err(failure),
        Err(_) => {
            connector.cancel(client).await?;
            Err(Failure::new(
                FailureClass::Server,
                format!("{NO_STANDBY}, synchronous_standby_names = {names}"),
            ))
        }
    }
}
