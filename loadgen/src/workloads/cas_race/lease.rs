//! The lock of a run: a lease, which ends by time whatever its holder does. It is kept in a table of the
//! backend, or in a Redis server beside it.

use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Statement};

use super::patiently;
use crate::drivers::postgres::Patient;
use crate::drivers::redis::{LockServer, Locks};
use crate::failure::Failure;

/// Where the leases of a race are kept.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// In this table of the backend.
    Table(String),
    /// In a Redis server, under keys that begin so.
    Redis {
        server: LockServer,
        /// Of this attempt alone: what an earlier one left must not be held against its writers.
        prefix: String,
    },
}

impl Place {
    /// Makes room for the leases.
    pub async fn prepare(&self, client: Patient<'_>) -> Result<(), Failure> {
        match self {
            Self::Table(table) => create(client, table).await,
            // Keys come by themselves; that the server answers is found out before the race begins.
            Self::Redis { server, .. } => server.connect().await.map(|_| ()),
        }
    }

    /// The leases as one writer takes them, which has this connection to the backend.
    pub async fn open(
        &self,
        client: &Rc<Client>,
        milliseconds: i32,
        patience: Duration,
    ) -> Result<AnyLease, Failure> {
        Ok(match self {
            Self::Table(table) => {
                let lease = RowLease::new(Rc::clone(client), table, milliseconds, patience);
                AnyLease::Row(lease.await?)
            }
            Self::Redis { server, prefix } => AnyLease::Key(KeyLease {
                locks: server.connect().await?,
                prefix: prefix.clone(),
                milliseconds,
            }),
        })
    }

    /// Deletes the lease of a run as an operator's mistake would, whoever holds it; answers how many there
    /// were, 0 or 1. `client` is a connection to the backend; one to a Redis server is kept in `open`.
    pub async fn delete(
        &self,
        client: &Client,
        open: &mut Option<Locks>,
        run: i64,
        patience: Duration,
    ) -> Result<u64, Failure> {
        match self {
            Self::Table(table) => {
                let sql = format!("DELETE FROM {table} WHERE run_id = $1");
                patiently(patience, client.execute(&sql, &[&run])).await
            }
            Self::Redis { server, prefix } => {
                let mut locks = match open.take() {
                    Some(locks) => locks,
                    None => server.connect().await?,
                };
                let gone = locks.delete(&key(prefix, run)).await?;
                *open = Some(locks);
                Ok(gone)
            }
        }
    }
}

/// A lock that can be lost: by time, or because somebody deletes it.
pub(super) trait Lease {
    /// Takes the lock of a run unless another holds it; `holder` is new each time.
    fn acquire(&self, run: i64, holder: i64) -> impl Future<Output = Result<bool, Failure>>;

    /// Lets it go; answers whether it was still held.
    fn release(&self, run: i64, holder: i64) -> impl Future<Output = Result<bool, Failure>>;
}

/// A lease, wherever it is kept.
pub(super) enum AnyLease {
    Row(RowLease),
    Key(KeyLease),
}

impl Lease for AnyLease {
    async fn acquire(&self, run: i64, holder: i64) -> Result<bool, Failure> {
        match self {
            Self::Row(lease) => lease.acquire(run, holder).await,
            Self::Key(lease) => lease.acquire(run, holder).await,
        }
    }

    async fn release(&self, run: i64, holder: i64) -> Result<bool, Failure> {
        match self {
            Self::Row(lease) => lease.release(run, holder).await,
            Self::Key(lease) => lease.release(run, holder).await,
        }
    }
}

fn key(prefix: &str, run: i64) -> String {
    format!("{prefix}{run}")
}

/// A lease in a key of Redis, by that server's clock. The key holds who holds the lock.
pub(super) struct KeyLease {
    locks: Locks,
    prefix: String,
    milliseconds: i32,
}

impl Lease for KeyLease {
    async fn acquire(&self, run: i64, holder: i64) -> Result<bool, Failure> {
        let mut locks = self.locks.clone();
        locks
            .take(&key(&self.prefix, run), holder, self.milliseconds)
            .await
    }

    async fn release(&self, run: i64, holder: i64) -> Result<bool, Failure> {
        let mut locks = self.locks.clone();
        locks.let_go(&key(&self.prefix, run), holder).await
    }
}

/// A lease in a row of a table, by the server's clock.
pub(super) struct RowLease {
    client: Rc<Client>,
    acquire: Statement,
    release: Statement,
    milliseconds: f64,
    patience: Duration,
}

impl RowLease {
    pub async fn new(
        client: Rc<Client>,
        table: &str,
        milliseconds: i32,
        patience: Duration,
    ) -> Result<Self, Failure> {
        // Whoever finds it held waits for the row at most as long as another takes to write it.
        let acquire = format!(
            "INSERT INTO {table} AS held (run_id, holder, expires) \
             VALUES ($1, $2, clock_timestamp() + $3 * interval '1 millisecond') \
             ON CONFLICT (run_id) DO UPDATE SET holder = excluded.holder, expires = excluded.expires \
             WHERE held.expires < clock_timestamp()"
        );
        let release =
            format!("UPDATE {table} SET expires = '-infinity' WHERE run_id = $1 AND holder = $2");
        let prepare = async |sql: &str, types: &[Type]| {
            patiently(patience, client.prepare_typed(sql, types)).await
        };
        let acquire = prepare(&acquire, &[Type::INT8, Type::INT8, Type::FLOAT8]).await?;
        let release = prepare(&release, &[Type::INT8, Type::INT8]).await?;
        Ok(Self {
            client,
            acquire,
            release,
            milliseconds: f64::from(milliseconds),
            patience,
        })
    }
}

impl Lease for RowLease {
    async fn acquire(&self, run: i64, holder: i64) -> Result<bool, Failure> {
        let parameters: [&(dyn ToSql + Sync); 3] = [&run, &holder, &self.milliseconds];
        let taking = self.client.execute(&self.acquire, &parameters);
        Ok(patiently(self.patience, taking).await? == 1)
    }

    async fn release(&self, run: i64, holder: i64) -> Result<bool, Failure> {
        let parameters: [&(dyn ToSql + Sync); 2] = [&run, &holder];
        let letting = self.client.execute(&self.release, &parameters);
        Ok(patiently(self.patience, letting).await? == 1)
    }
}

/// The table of the leases.
async fn create(client: Patient<'_>, table: &str) -> Result<(), Failure> {
    let sql = format!(
        "DROP TABLE IF EXISTS {table}; CREATE TABLE {table} \
         (run_id bigint PRIMARY KEY, holder bigint NOT NULL, expires timestamptz NOT NULL) WITH (fillfactor = 50)"
    );
    client.at_length().batch_execute(&sql).await
}
