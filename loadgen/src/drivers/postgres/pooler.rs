//! Whether each connection is a session of its own. A pooler that gives a session to one transaction or one statement after the
//! other breaks what is measured: prepared statements and settings are lost, and what waits for a session is taken for the
//! server's time.
//!
//! No word of the pooler is asked for, as each has others. One connection notes the process that answers it, and others hold
//! transactions open. Where sessions are shared, one of the others is given the first one's process, or the first one another
//! than before: it is idle between transactions, and a pooler opens a new session only where none is idle. Where a session
//! belongs to its connection neither can be, however the pooler chooses and whoever else uses it.

use std::time::Duration;

use futures::stream::{StreamExt, TryStreamExt};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::{CONNECT_PATIENCE, Connector, Patient, end_sessions, failure, in_time};
use crate::drivers::error::PrerequisiteError;
use crate::failure::{Failure, FailureClass};

const PROCESS: &str = "SELECT pg_backend_pid()";
/// How many hold a transaction at once: more than one, in case the pooler has several idle sessions and takes the one that was
/// idle for longest, or any.
const HOLDERS: usize = 8;
/// How many connections are opened at a time where all are tried.
const AT_A_TIME: usize = 16;
/// The longest that sessions may take to be gone.
const GONE: Duration = Duration::from_secs(10);

/// Why the next connection was not had.
enum Stopped {
    /// By what cannot be helped here.
    Failed(Failure),
    /// The server takes no more. How many there are is counted elsewhere, and said with its reasons.
    Full,
    /// It was let in and nobody answers it.
    Waits,
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        match failure.class {
            FailureClass::Throttled => Self::Full,
            _ => Self::Failed(failure),
        }
    }
}

/// Refuses an address behind which connections share sessions.
///
/// # Errors
/// When they do, or the server does not answer.
pub async fn check(connector: &Connector) -> Result<(), PrerequisiteError> {
    let failed = |failure| unanswered(connector, failure);
    let first = connector.bare().await.map_err(failed)?;
    let own = process(&first).await.map_err(failed)?;
    let shared = |said: String| {
        let address = connector.address().to_owned();
        Err(PrerequisiteError::SessionsShared { address, said })
    };
    let mut held = Vec::new();
    for _ in 0..HOLDERS {
        let (next, its) = match answered(connector, "BEGIN; SELECT pg_backend_pid()").await {
            Ok(next) => next,
            // Servers take transactions.
            Err(Stopped::Failed(failure)) if refuses_transactions(&failure) => {
                return shared(format!("BEGIN is answered with: {failure}"));
            }
            Err(Stopped::Failed(failure)) => return Err(failed(failure)),
            Err(Stopped::Full | Stopped::Waits) => break,
        };
        if its == own {
            return shared(format!(
                "two connections were answered by the same process, {own}"
            ));
        }
        let again = process(&first).await.map_err(failed)?;
        if again != own {
            return shared(format!(
                "one connection was answered by two processes, {own} and {again}"
            ));
        }
        held.push((next, its));
    }
    gone(&first, held).await.map_err(failed)
}

/// Opens as many connections as are needed, and lets them go again: a pooler that gives each a session has a number of these that
/// nobody tells. To be asked once the server's own numbers are known to be enough.
///
/// # Errors
/// When fewer are had at once, or the server does not answer.
pub async fn carries(
    connector: &Connector,
    first: &Client,
    needed: usize,
) -> Result<(), PrerequisiteError> {
    let opened = std::cell::Cell::new(1_i64);
    let opening = (1..needed).map(|_| async {
        let next = answered(connector, PROCESS).await?;
        opened.set(opened.get() + 1);
        Ok(next)
    });
    let all = futures::stream::iter(opening)
        .buffer_unordered(AT_A_TIME)
        .try_collect();
    let held = match all.await {
        Ok(held) => held,
        Err(Stopped::Failed(failure)) => return Err(unanswered(connector, failure)),
        Err(Stopped::Full | Stopped::Waits) => {
            return Err(PrerequisiteError::Connections {
                needed: i64::try_from(needed).unwrap_or(i64::MAX),
                free: opened.get(),
                of_what: "more are not answered, though the server has room: a pooler is before it".to_owned(),
                mend: "raise the size of the pool (default_pool_size of PgBouncer), or name the server's own address"
                    .to_owned(),
            });
        }
    };
    let gone = gone(first, held).await;
    gone.map_err(|failure| unanswered(connector, failure))
}

fn unanswered(connector: &Connector, failure: Failure) -> PrerequisiteError {
    PrerequisiteError::Unanswered {
        address: connector.address().to_owned(),
        failure,
    }
}

/// A pooler that gives out statements says so in its own words, under the code of a breach of the protocol.
fn refuses_transactions(failure: &Failure) -> bool {
    let of = [
        SqlState::PROTOCOL_VIOLATION,
        SqlState::FEATURE_NOT_SUPPORTED,
    ];
    of.iter()
        .any(|state| failure.code.as_deref() == Some(state.code()))
}

/// The server process that answers.
async fn process(client: &Client) -> Result<i32, Failure> {
    in_time(asked(client, PROCESS)).await
}

/// Another connection, and the server process that answers it.
async fn answered(connector: &Connector, sql: &str) -> Result<(Client, i32), Stopped> {
    let asking = async {
        let client = connector.opened().await?;
        let process = asked(&client, sql).await?;
        Ok::<_, Failure>((client, process))
    };
    match tokio::time::timeout(CONNECT_PATIENCE, asking).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Stopped::Waits),
    }
}

/// The number that a statement answers. Without a prepared statement, which a pooler may not find again.
async fn asked(client: &Client, sql: &str) -> Result<i32, Failure> {
    let answer = client.simple_query(sql).await;
    let answer = answer.map_err(|error| failure(&error))?;
    let number = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok(),
        _ => None,
    });
    number.ok_or_else(|| Failure::new(FailureClass::Server, "pg_backend_pid() is no number"))
}

/// Lets connections go and waits until the server has noticed: what follows counts those that are free.
async fn gone(first: &Client, held: Vec<(Client, i32)>) -> Result<(), Failure> {
    let (clients, processes): (Vec<_>, Vec<_>) = held.into_iter().unzip();
    drop(clients);
    end_sessions(Patient::of(first), Some(&processes), GONE)
        .await
        .map(|_| ())
}
