//! The lock of a run: a lease, which ends by time whatever its holder does.

use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Statement};

use super::patiently;
use crate::pg::failure;
use crate::s3::Failure;

/// A lock that can be lost: by time, or because somebody deletes it.
pub(super) trait Lease {
    /// Takes the lock of a run unless another holds it; `holder` is new each time.
    fn acquire(&self, run: i64, holder: i64) -> impl Future<Output = Result<bool, Failure>>;

    /// Lets it go; answers whether it was still held.
    fn release(&self, run: i64, holder: i64) -> impl Future<Output = Result<bool, Failure>>;
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
pub(super) async fn create(client: &Client, table: &str) -> Result<(), Failure> {
    let sql = format!(
        "DROP TABLE IF EXISTS {table}; CREATE TABLE {table} \
         (run_id bigint PRIMARY KEY, holder bigint NOT NULL, expires timestamptz NOT NULL) WITH (fillfactor = 50)"
    );
    client
        .batch_execute(&sql)
        .await
        .map_err(|error| failure(&error))
}
