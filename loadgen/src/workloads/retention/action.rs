//! The act of retention: how the oldest range leaves, timed step by step.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use bakeoff_crds::spec::{Retention, RetentionCleanup, RetentionMethod};
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use super::lives::{ENDED, Population};
use super::table::{TABLE, instant, partition};
use crate::drivers::postgres::{Connector, Patient, failure, partitions};
use crate::failure::Failure;
use crate::instrument::clock;
use crate::workloads::rows;

/// Between two looks whether autovacuum has been there.
const POLL: Duration = Duration::from_millis(50);
/// How long the server may take to give up a statement that was cancelled.
const CANCEL: Duration = Duration::from_secs(5);

/// What the action did, filled in as it goes on, so that one which does not end says how far it came.
/// Durations are nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Done {
    /// When it began, monotonic.
    pub began: u64,
    /// When the space was back, or the action was given up; 0 before.
    pub ended: u64,
    /// Whether the space is back.
    pub complete: bool,
    /// Open runs that were moved out of the way.
    pub moved: u64,
    /// How long that took.
    pub moving: u64,
    /// How long detaching took.
    pub detaching: Option<u64>,
    /// Whether an interrupted detach had to be completed.
    pub finalized: bool,
    /// How long detaching and dropping took.
    pub dropping: Option<u64>,
    /// Rows that were deleted.
    pub deleted: u64,
    /// How long that took.
    pub deleting: Option<u64>,
    /// Statements that it took.
    pub statements: u64,
    /// Bytes of the files before and after.
    pub bytes: (i64, i64),
    /// Why it failed.
    pub error: Option<String>,
}

/// The process that acts, for whoever watches its locks.
pub(super) async fn announce(client: Patient<'_>, pid: &Cell<i32>) -> Result<(), Failure> {
    let row = client.query_one("SELECT pg_backend_pid()", &[]).await?;
    pid.set(row.get(0));
    Ok(())
}

/// The bytes of the files. The whole action has a bound, and what it waits for has none of its own.
async fn bytes(client: &Client) -> Result<i64, Failure> {
    let row = client.query_one(rows::BYTES, &[]).await;
    row.map(|row| row.get(0)).map_err(|error| failure(&error))
}

/// One retention of the oldest range.
pub(super) struct Action<'a> {
    pub connector: &'a Connector,
    pub population: &'a Population,
    pub method: RetentionMethod,
    pub spec: &'a Retention,
    pub pid: &'a Cell<i32>,
    pub done: &'a RefCell<Done>,
}

impl Action<'_> {
    /// Acts, and gives up at `deadline` (monotonic) what is not done by then.
    pub async fn run(&self, mut client: Client, deadline: u64) {
        self.done.borrow_mut().began = clock::now();
        let result = tokio::select! {
            result = self.act(&mut client) => Some(result),
            () = clock::sleep_until(deadline) => None,
        };
        let given_up = result.is_none();
        {
            let mut done = self.done.borrow_mut();
            if done.ended == 0 {
                done.ended = clock::now();
            }
            match result {
                Some(Ok(())) => done.complete = true,
                Some(Err(error)) => {
                    tracing::warn!(%error, "retention failed");
                    done.error = Some(error.to_string());
                }
                None => {}
            }
        }
        if given_up {
            // The server goes on with a statement whose client is gone.
            let _ = tokio::time::timeout(CANCEL, self.cancel()).await;
        }
    }

    async fn cancel(&self) -> Result<(), Failure> {
        let client = self.connector.connect().await?;
        client
            .execute("SELECT pg_cancel_backend($1)", &[&self.pid.get()])
            .await
            .map(drop)
            .map_err(|error| failure(&error))
    }

    async fn act(&self, client: &mut Client) -> Result<(), Failure> {
        let before = bytes(client).await?;
        {
            let mut done = self.done.borrow_mut();
            done.bytes = (before, before);
            // The look at the files is not part of it.
            done.began = clock::now();
        }
        match self.method {
            RetentionMethod::DropPartition => self.drop_partition(client).await?,
            RetentionMethod::BulkDelete => self.bulk_delete(client).await?,
        }
        self.done.borrow_mut().ended = clock::now();
        let after = bytes(client).await?;
        self.done.borrow_mut().bytes.1 = after;
        Ok(())
    }

    /// Moves the open runs to the newest range, detaches the oldest partition and drops it.
    async fn drop_partition(&self, client: &mut Client) -> Result<(), Failure> {
        partitions::refuse_default(client, TABLE).await?;
        let oldest = partition(0);
        self.migrate(client, &oldest).await?;
        let begun = clock::now();
        let announced = async |client: &Client| announce(Patient::of(client), self.pid).await;
        let detached =
            partitions::detach(self.connector, client, TABLE, &oldest, announced).await?;
        {
            let mut done = self.done.borrow_mut();
            done.detaching = Some(detached.nanoseconds);
            done.finalized = detached.finalized;
        }
        let detach = clock::now().saturating_sub(begun);
        // What was opened again or came in late while the partition was still attached must not go with
        // it. Nobody but the action sees the table any more.
        self.migrate(client, &oldest).await?;
        let begun = clock::now();
        client
            .batch_execute(&format!("DROP TABLE {oldest}"))
            .await
            .map_err(|error| failure(&error))?;
        self.done.borrow_mut().dropping = Some(detach + clock::now().saturating_sub(begun));
        Ok(())
    }

    /// Moves the open runs of a partition into the newest range, in one statement: no snapshot sees one of
    /// them twice or not at all. Each gets a new `created_at`, which is part of its address: whoever
    /// moves it by the old one finds no row, and has to look it up again.
    async fn migrate(&self, client: &Client, from: &str) -> Result<(), Failure> {
        let begun = clock::now();
        let now = instant(i64::try_from(clock::wall() / 1_000).unwrap_or(i64::MAX));
        let parameters: [&(dyn ToSql + Sync); 2] = [&now, &ENDED];
        let sql = format!(
            "WITH moved AS (DELETE FROM {from} WHERE state <> $2 RETURNING run_id, seq, state, updated_at, payload) \
             INSERT INTO {TABLE} (created_at, run_id, seq, state, updated_at, payload) \
             SELECT $1, run_id, seq, state, updated_at, payload FROM moved"
        );
        let statement = client
            .prepare_typed(&sql, &[Type::TIMESTAMPTZ, Type::INT2])
            .await
            .map_err(|error| failure(&error))?;
        let moved = client
            .execute(&statement, &parameters)
            .await
            .map_err(|error| failure(&error))?;
        let mut done = self.done.borrow_mut();
        done.moved += moved;
        // The second look finds nothing as a rule, and is no part of what a moved row costs.
        if moved > 0 {
            done.moving += clock::now().saturating_sub(begun);
        }
        Ok(())
    }

    /// Deletes the runs of the oldest range that have ended, and waits until their space can be used again.
    async fn bulk_delete(&self, client: &Client) -> Result<(), Failure> {
        let begun = clock::now();
        let border = self.population.begins(1) / 1_000_000;
        let rows = format!("created_at < to_timestamp({border}) AND state = {ENDED}");
        for stretch in self.stretches(client).await? {
            let deleted = client
                .execute(&format!("DELETE FROM {TABLE} WHERE {stretch}{rows}"), &[])
                .await
                .map_err(|error| failure(&error))?;
            let mut done = self.done.borrow_mut();
            done.deleted += deleted;
            done.statements += 1;
        }
        self.done.borrow_mut().deleting = Some(clock::now().saturating_sub(begun));
        match self.spec.cleanup {
            RetentionCleanup::Vacuum => client
                .batch_execute(&format!("VACUUM {TABLE}"))
                .await
                .map_err(|error| failure(&error)),
            RetentionCleanup::Autovacuum => self.autovacuumed(client).await,
        }
    }

    /// Conditions for stretches of the table that hold about as many rows as a batch; one without any for
    /// a delete of everything at once. By place, because an index on `created_at` is one more to maintain
    /// with each insert, and a search from the start would pass all rows deleted before.
    async fn stretches(&self, client: &Client) -> Result<Vec<String>, Failure> {
        let batch = f64::from(self.spec.delete_batch_rows);
        let row = client
            .query_one(
                "SELECT (pg_relation_size('bakeoff.runs') / current_setting('block_size')::int)::bigint, \
                 reltuples::float8, relpages::float8 FROM pg_class WHERE oid = 'bakeoff.runs'::regclass",
                &[],
            )
            .await
            .map_err(|error| failure(&error))?;
        Ok(stretches(row.get(0), row.get(1), row.get(2), batch))
    }

    /// Waits until autovacuum has made the space of the deleted rows reusable: until a run over the table
    /// that began after the delete has ended and has left fewer dead rows than were deleted. One that an
    /// old snapshot held back, or that began before, does not count.
    async fn autovacuumed(&self, client: &Client) -> Result<(), Failure> {
        let sql = "SELECT s.autovacuum_count + s.vacuum_count, s.n_dead_tup, \
            EXISTS (SELECT 1 FROM pg_stat_progress_vacuum p WHERE p.relid = s.relid) \
            FROM pg_stat_user_tables s WHERE s.relid = 'bakeoff.runs'::regclass";
        let query = client.prepare(sql).await.map_err(|error| failure(&error))?;
        let most = i64::try_from(self.done.borrow().deleted / 2).unwrap_or(i64::MAX);
        let mut goal = None;
        loop {
            let row = client
                .query_one(&query, &[])
                .await
                .map_err(|error| failure(&error))?;
            let (runs, dead, under_way): (i64, i64, bool) = (row.get(0), row.get(1), row.get(2));
            // The one under way may have passed the rows before they were deleted.
            let goal = *goal.get_or_insert(runs + 1 + i64::from(under_way));
            if runs >= goal && dead <= most {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

/// The stretches of a table of so many pages, of which the statistics say how many rows are on how many
/// pages. (Pure.)
fn stretches(pages: i64, rows: f64, of_pages: f64, batch: f64) -> Vec<String> {
    if batch <= 0.0 || rows <= 0.0 || of_pages <= 0.0 || pages <= 0 {
        return vec![String::new()];
    }
    let step = ((batch * of_pages / rows).round() as i64).max(1);
    (0..pages)
        .step_by(usize::try_from(step).unwrap_or(1))
        .map(|from| {
            // Open at the end: pages that are added meanwhile hold no row of the oldest range.
            format!(
                "ctid >= '({from},0)'::tid AND ctid < '({},0)'::tid AND ",
                from + step
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_cover_every_page_once() {
        assert_eq!(stretches(100, 3_000.0, 100.0, 0.0), [""]);
        let all = stretches(100, 3_000.0, 100.0, 1_000.0);
        // 30 rows a page: 33 pages hold about a thousand.
        assert_eq!(all.len(), 4);
        assert!(all[0].contains("'(0,0)'") && all[0].contains("'(33,0)'"));
        assert!(all[1].contains(">= '(33,0)'") && all[3].contains("'(132,0)'"));
        assert_eq!(stretches(5, 500.0, 5.0, 1.0).len(), 5, "at least a page");
    }
}
