//! How a server is asked outside the measured path: what prepares a trial, looks at it and clears up after it.
//!
//! A server that is frozen keeps its connections and says nothing, so that who waits for its answer waits for ever, and the
//! trial with it. An operation has the timeout of the experiment; what prepares and inspects is asked through a [`Patient`], which
//! bounds each wait. Captures bound their statements on the server alone, and one that is frozen holds them up.
//!
//! A server goes on with a statement whose client is gone. So where the wait is long it is told to give up itself, a little before
//! its client does.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row, SimpleQueryMessage, Statement, ToStatement};

use super::failure;
use crate::failure::{Failure, FailureClass};

/// How long the server has for an answer. What locks the table may hold it up for some seconds.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// How long it has where it changes something or reads a table, beside the time that a slow disk takes for the bytes: a
/// checkpoint, a vacuum or the removal of large files may hold up one that is well for minutes.
const AT_LENGTH: Duration = Duration::from_secs(600);
/// Bytes a second that the slowest disk is expected to read.
const SLOWEST_READ: u64 = 16 << 20;
/// How much longer the client waits than the server may take, at most: the server's word says more.
const GRACE: Duration = Duration::from_secs(10);
/// After so long the server says that a lock is not to be had, and is asked anew: one that is frozen does not say it.
const LOCK: Duration = Duration::from_secs(60);
/// How long a lock is asked for. A vacuum against wraparound yields to nobody, and reads and writes the whole table.
const LOCKED: Duration = Duration::from_secs(3_600);

/// A client that waits for an answer, but not for ever.
#[derive(Clone, Copy, Debug)]
pub struct Patient<'a> {
    client: &'a Client,
    patience: Duration,
    /// What [`Self::at_length`] waits.
    length: Duration,
    /// How long locks are asked for, where the server is told to give up a statement at the end of the patience.
    locked: Option<Duration>,
}

impl<'a> Patient<'a> {
    /// One for short questions.
    #[must_use]
    pub fn of(client: &'a Client) -> Self {
        Self::new(client, PATIENCE)
    }

    /// One that waits so long for each answer.
    #[must_use]
    pub fn new(client: &'a Client, patience: Duration) -> Self {
        Self {
            client,
            patience,
            length: AT_LENGTH,
            locked: None,
        }
    }

    /// One that is in a hurry at length as well.
    #[cfg(test)]
    pub(crate) fn hurried(client: &'a Client, patience: Duration) -> Self {
        let length = patience;
        Self {
            length,
            ..Self::new(client, patience)
        }
    }

    /// The same for what changes tables, settings or the catalogue.
    #[must_use]
    pub fn at_length(self) -> Self {
        self.reading(0)
    }

    /// The same for what reads so many bytes. It is for a server that was just seen to be awake: it waits long.
    #[must_use]
    pub fn reading(self, bytes: i64) -> Self {
        let bytes = u64::try_from(bytes).unwrap_or(0);
        Self {
            patience: self.length + Duration::from_secs(bytes / SLOWEST_READ),
            locked: Some(LOCKED),
            ..self
        }
    }

    /// The same for what has so long in all, locks included.
    #[must_use]
    pub fn at_most(self, patience: Duration) -> Self {
        Self {
            patience,
            locked: Some(Duration::ZERO),
            ..self
        }
    }

    /// The client itself, for what comes in pieces; each of them is to be awaited with [`Self::wait`].
    pub(crate) fn client(self) -> &'a Client {
        self.client
    }

    /// Waits for an answer, or for a piece of one. The server is not told to give it up.
    pub(crate) async fn wait<T>(
        self,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Failure> {
        match tokio::time::timeout(self.patience, answer).await {
            Ok(answer) => answer.map_err(|error| failure(&error)),
            Err(_) => {
                let said = format!(
                    "no answer within {} s: the server is frozen, or it waits for a lock (pg_stat_activity, pg_locks)",
                    self.patience.as_secs_f64()
                );
                Err(Failure::new(FailureClass::Timeout, said))
            }
        }
    }

    /// Asks what the server has to give up, where it is told to. Of what is refused for a lock nothing was done.
    async fn asked<T, F>(self, ask: impl Fn() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, tokio_postgres::Error>>,
    {
        let Some(locked) = self.locked else {
            return self.wait(ask()).await;
        };
        let begun = Instant::now();
        loop {
            match self.limited(locked, ask()).await {
                Err(failure) if is_locked(&failure) && begun.elapsed() < locked => {
                    tracing::info!(%failure, "waiting for a lock");
                }
                answer => return answer.map_err(explained),
            }
        }
    }

    /// Sets limits around a statement, in messages of their own: some refuse to be one of several.
    async fn limited<T>(
        self,
        locked: Duration,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Failure> {
        let patience = self.patience.max(Duration::from_millis(1));
        self.limit(patience, LOCK.min(locked)).await?;
        let waiting = Self {
            patience: patience + GRACE.min(patience),
            ..self
        };
        let answer = waiting.wait(answer).await;
        if answer.as_ref().is_err_and(is_silence) {
            return answer;
        }
        // A transaction that failed takes no statement any more, and ends with its session.
        let lifted = self.limit(Duration::ZERO, Duration::ZERO).await;
        let answer = answer?;
        lifted.map(|()| answer)
    }

    /// Limits what follows in this session; nothing is no limit.
    async fn limit(self, statement: Duration, lock: Duration) -> Result<(), Failure> {
        let millis = |time: Duration| i32::try_from(time.as_millis()).unwrap_or(i32::MAX);
        let sql = format!(
            "SET statement_timeout = {}; SET lock_timeout = {}",
            millis(statement),
            millis(lock)
        );
        let asking = Self::new(self.client, self.patience.min(PATIENCE));
        asking.wait(self.client.batch_execute(&sql)).await
    }

    pub(crate) async fn prepare(self, sql: &str) -> Result<Statement, Failure> {
        self.wait(self.client.prepare(sql)).await
    }

    pub(crate) async fn prepare_typed(
        self,
        sql: &str,
        types: &[Type],
    ) -> Result<Statement, Failure> {
        self.wait(self.client.prepare_typed(sql, types)).await
    }

    pub(crate) async fn query<T: ?Sized + ToStatement>(
        self,
        statement: &T,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Failure> {
        self.asked(|| self.client.query(statement, parameters))
            .await
    }

    pub(crate) async fn query_one<T: ?Sized + ToStatement>(
        self,
        statement: &T,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Row, Failure> {
        self.asked(|| self.client.query_one(statement, parameters))
            .await
    }

    pub(crate) async fn query_opt<T: ?Sized + ToStatement>(
        self,
        statement: &T,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Option<Row>, Failure> {
        self.asked(|| self.client.query_opt(statement, parameters))
            .await
    }

    pub(crate) async fn simple_query(self, sql: &str) -> Result<Vec<SimpleQueryMessage>, Failure> {
        self.asked(|| self.client.simple_query(sql)).await
    }

    pub(crate) async fn batch_execute(self, sql: &str) -> Result<(), Failure> {
        self.asked(|| self.client.batch_execute(sql)).await
    }
}

/// Whether the client gave up, and not the server.
fn is_silence(failure: &Failure) -> bool {
    failure.class == FailureClass::Timeout && failure.code.is_none()
}

fn is_locked(failure: &Failure) -> bool {
    failure.code.as_deref() == Some(SqlState::LOCK_NOT_AVAILABLE.code())
}

/// The server says that it gave up, and not what held it up.
fn explained(mut failure: Failure) -> Failure {
    let canceled = failure.code.as_deref() == Some(SqlState::QUERY_CANCELED.code());
    if canceled || is_locked(&failure) {
        failure
            .detail
            .push_str("; pg_stat_activity and pg_locks show who holds what it waits for");
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Planted, local, planted_postgres};

    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn a_lock_is_asked_for_again_unless_there_is_no_time() {
        local(async {
            let connector = planted_postgres("DROP", &[Planted::Locked; 3]).await;
            let client = connector.connect().await.unwrap();
            let asking = Patient::hurried(&client, PATIENCE);
            let once = asking.at_most(PATIENCE).batch_execute("DROP TABLE t");
            let failure = once.await.unwrap_err();
            assert!(is_locked(&failure), "{failure:?}");
            assert!(failure.detail.contains("pg_locks"), "{failure}");
            let again = asking.at_length().batch_execute("DROP TABLE t");
            again.await.unwrap();
        });
    }

    #[test]
    fn who_waits_long_has_the_server_give_up_and_who_does_not_sets_nothing() {
        local(async {
            let connector = planted_postgres("SET statement_timeout", &[Planted::Silence]).await;
            let client = connector.connect().await.unwrap();
            let asking = Patient::hurried(&client, Duration::from_millis(200));
            asking.batch_execute("VACUUM").await.unwrap();
            let vacuum = asking.at_length().batch_execute("VACUUM");
            let failure = vacuum.await.unwrap_err();
            assert!(is_silence(&failure), "{failure:?}");
            assert!(failure.detail.contains("within 0.2 s"), "{failure}");
        });
    }
}
