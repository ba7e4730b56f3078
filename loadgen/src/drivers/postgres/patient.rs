//! How a server is asked outside the measured path: what prepares a trial, looks at it and clears up after it.
//!
//! A server that is frozen keeps its connections and says nothing, so that who waits for its answer waits for ever, and the
//! trial with it. An operation has the timeout of the experiment; all else is asked through a [`Patient`], which bounds each
//! wait.

use std::future::Future;
use std::time::Duration;

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row, SimpleQueryMessage, Statement, ToStatement};

use super::patiently;
use crate::failure::Failure;

/// How long the server has for an answer. What locks the table may hold it up for some seconds.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// How long it has where it changes something or reads a table, beside the time that a slow disk takes for the bytes: a
/// checkpoint, a vacuum or the removal of large files may hold up one that is well for minutes.
const AT_LENGTH: Duration = Duration::from_secs(600);
/// Bytes a second that the slowest disk is expected to read.
const SLOWEST_READ: u64 = 16 << 20;

/// A client that waits for an answer, but not for ever.
#[derive(Clone, Copy, Debug)]
pub struct Patient<'a> {
    client: &'a Client,
    patience: Duration,
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
        Self { client, patience }
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
        let patience = AT_LENGTH + Duration::from_secs(bytes / SLOWEST_READ);
        Self { patience, ..self }
    }

    /// The client itself, for what comes in pieces; each of them is to be awaited with [`Self::wait`].
    pub(crate) fn client(self) -> &'a Client {
        self.client
    }

    /// Waits for an answer, or for a piece of one.
    pub(crate) async fn wait<T>(
        self,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Failure> {
        patiently(self.patience, answer).await
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
        self.wait(self.client.query(statement, parameters)).await
    }

    pub(crate) async fn query_one<T: ?Sized + ToStatement>(
        self,
        statement: &T,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Row, Failure> {
        self.wait(self.client.query_one(statement, parameters))
            .await
    }

    pub(crate) async fn query_opt<T: ?Sized + ToStatement>(
        self,
        statement: &T,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Option<Row>, Failure> {
        self.wait(self.client.query_opt(statement, parameters))
            .await
    }

    pub(crate) async fn simple_query(self, sql: &str) -> Result<Vec<SimpleQueryMessage>, Failure> {
        self.wait(self.client.simple_query(sql)).await
    }

    pub(crate) async fn batch_execute(self, sql: &str) -> Result<(), Failure> {
        self.wait(self.client.batch_execute(sql)).await
    }
}
