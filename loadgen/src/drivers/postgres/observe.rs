//! What a Postgres server says of itself and of the measured table: one sample a second for the time
//! series, and a closer look before and after the window.
//!
//! The samples read statistics views and file sizes, which is cheap; `pgstattuple` and `pgstatindex`
//! read the whole relation and run only outside the window.

use std::collections::BTreeMap;

use bakeoff_crds::figure::Figure;
use bakeoff_crds::names;
use serde::{Deserialize, Serialize};
use tokio_postgres::{Client, Row};

use super::failure;
pub use super::sample::Sample;
use crate::failure::Failure;
use crate::instrument::clock::{self, SECOND};

/// A close look at table and index, which reads them whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Inspection {
    /// Bytes of the table.
    pub table_bytes: i64,
    /// Bytes of live rows in it.
    pub live_bytes: i64,
    /// Bytes of dead rows in it.
    pub dead_bytes: i64,
    /// Bytes that are free in it, fillfactor's reserve included.
    pub free_bytes: i64,
    /// Bytes of the index of the primary key.
    pub index_bytes: i64,
    /// How full its leaf pages are, percent.
    pub leaf_density: f64,
    /// Share of its leaf pages that are out of order, percent.
    pub leaf_fragmentation: f64,
}

impl Inspection {
    /// Bloat of the table in percent of its size: dead and free bytes beyond what the fillfactor reserves.
    #[must_use]
    pub fn bloat_percent(&self, fillfactor: u64) -> f64 {
        if self.table_bytes <= 0 {
            return 0.0;
        }
        let size = self.table_bytes as f64;
        let reserve = size * (100.0 - fillfactor as f64) / 100.0;
        ((self.dead_bytes + self.free_bytes) as f64 - reserve).max(0.0) / size * 100.0
    }
}

/// The server's version, such as `18.4`, and the settings that differ from its defaults.
///
/// # Errors
/// When the server does not answer.
pub async fn identity(client: &Client) -> Result<BTreeMap<String, String>, Failure> {
    let version = client
        .query_one("SELECT current_setting('server_version')", &[])
        .await
        .map_err(|error| failure(&error))?;
    let mut settings = BTreeMap::from([("server_version".to_owned(), version.get(0))]);
    let rows = client
        .query(
            "SELECT name, current_setting(name) FROM pg_settings \
             WHERE (source NOT IN ('default', 'override', 'client') \
             AND name !~ 'conninfo|command|passphrase|keyfile|primary_slot_name') \
             OR name IN ('fsync', 'synchronous_commit', 'full_page_writes', 'data_checksums', 'autovacuum')",
            &[],
        )
        .await
        .map_err(|error| failure(&error))?;
    settings.extend(rows.iter().map(|row| (row.get(0), row.get(1))));
    Ok(settings)
}

/// When the server's process started, seconds since the epoch.
///
/// # Errors
/// When the server does not answer.
pub async fn started(client: &Client) -> Result<f64, Failure> {
    client
        .query_one(
            "SELECT extract(epoch FROM pg_postmaster_start_time())::float8",
            &[],
        )
        .await
        .map(|row| row.get(0))
        .map_err(|error| failure(&error))
}

/// Reads samples through one connection.
#[derive(Debug)]
pub struct Observer {
    pub(super) client: Client,
    query: tokio_postgres::Statement,
    /// Where the server keeps a log that it can read, if it does.
    pub(super) log: Option<String>,
}

impl Observer {
    /// Prepares the query for the server's version.
    ///
    /// # Errors
    /// When the server does not answer or a view lacks a column.
    pub async fn new(client: Client) -> Result<Self, Failure> {
        let version: i32 = client
            .query_one("SELECT current_setting('server_version_num')::int", &[])
            .await
            .map(|row| row.get(0))
            .map_err(|error| failure(&error))?;
        let query = client
            .prepare(&sample_query(version))
            .await
            .map_err(|error| failure(&error))?;
        let log = log_path(&client).await?;
        Ok(Self { client, query, log })
    }

    /// One sample. `window_start` is on the monotonic clock.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn sample(&self, window_start: u64) -> Result<Sample, Failure> {
        let row = self
            .client
            .query_one(&self.query, &[])
            .await
            .map_err(|error| failure(&error))?;
        let since =
            |a: u64, b: u64| i64::try_from(a.saturating_sub(b) / 1_000_000).unwrap_or(i64::MAX);
        let now = clock::now();
        let at_millis = since(now, window_start) - since(window_start, now);
        Ok(sample(&row, at_millis))
    }

    /// Samples each second until `end`. What cannot be read is left out and said in the log: a gap in the
    /// series shows it.
    pub async fn watch(&self, window_start: u64, end: u64) -> Vec<Sample> {
        let mut samples = Vec::new();
        let mut due = window_start;
        while due <= end {
            clock::sleep_until(due).await;
            match self.sample(window_start).await {
                Ok(sample) => samples.push(sample),
                Err(error) => tracing::warn!(%error, "no sample of the server"),
            }
            due = (due + SECOND).max(clock::now());
        }
        samples
    }

    /// Reads table and index whole.
    ///
    /// # Errors
    /// When the server does not answer or has no pgstattuple.
    pub async fn inspect(&self) -> Result<Inspection, Failure> {
        let row = self
            .client
            .query_one(
                "SELECT t.table_len, t.tuple_len, t.dead_tuple_len, t.free_space, \
                 i.index_size, i.avg_leaf_density, i.leaf_fragmentation \
                 FROM pgstattuple('bakeoff.runs') t, pgstatindex('bakeoff.runs_pkey') i",
                &[],
            )
            .await
            .map_err(|error| failure(&error))?;
        let finite = |value: f64| if value.is_finite() { value } else { 0.0 };
        Ok(Inspection {
            table_bytes: row.get(0),
            live_bytes: row.get(1),
            dead_bytes: row.get(2),
            free_bytes: row.get(3),
            index_bytes: row.get(4),
            leaf_density: finite(row.get(5)),
            leaf_fragmentation: finite(row.get(6)),
        })
    }
}

/// The query of a sample, summed over the partitions where the table has some. Version 16 counts updates that left their page, version 17 moved the
/// checkpoints to a view of their own.
fn sample_query(version: i32) -> String {
    let new_page = if version >= 160_000 {
        "n_tup_newpage_upd"
    } else {
        "0::bigint"
    };
    let checkpoints = if version >= 170_000 {
        "SELECT num_timed + num_requested FROM pg_stat_checkpointer"
    } else {
        "SELECT checkpoints_timed + checkpoints_req FROM pg_stat_bgwriter"
    };
    let autovacuum_millis = if version >= 180_000 {
        "total_autovacuum_time"
    } else {
        "0"
    };
    format!(
        "SELECT t.table_bytes, t.index_bytes, t.live, t.dead, t.updates, t.hot, t.deletes, t.new_page, \
         t.autovacuums, t.autoanalyzes, t.seq_scans, t.idx_scans, \
         d.blks_hit, d.blks_read, \
         pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint, ({checkpoints}), \
         (SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'), \
         (SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)) * 1000, 0)::bigint \
            FROM pg_stat_activity WHERE xact_start IS NOT NULL AND pid <> pg_backend_pid() \
            AND backend_type = 'client backend'), \
         (SELECT age(datfrozenxid)::bigint FROM pg_database WHERE datname = current_database()), \
         (SELECT coalesce(max(age(relfrozenxid)), 0)::bigint FROM pg_class \
            WHERE oid = ANY (t.relids) AND relkind = 'r'), \
         t.autovacuum_millis, \
         EXISTS (SELECT 1 FROM pg_stat_progress_vacuum WHERE relid = ANY (t.relids)) \
         FROM (SELECT array_agg(relid) AS relids, \
            coalesce(sum(pg_relation_size(relid)), 0)::bigint AS table_bytes, \
            coalesce(sum(pg_indexes_size(relid)), 0)::bigint AS index_bytes, \
            sum(n_live_tup)::bigint AS live, sum(n_dead_tup)::bigint AS dead, \
            sum(n_tup_upd)::bigint AS updates, sum(n_tup_hot_upd)::bigint AS hot, \
            sum(n_tup_del)::bigint AS deletes, sum({new_page})::bigint AS new_page, \
            sum(autovacuum_count)::bigint AS autovacuums, sum(autoanalyze_count)::bigint AS autoanalyzes, \
            coalesce(sum(seq_scan), 0)::bigint AS seq_scans, coalesce(sum(idx_scan), 0)::bigint AS idx_scans, \
            sum({autovacuum_millis})::bigint AS autovacuum_millis \
            FROM pg_stat_user_tables WHERE relid = 'bakeoff.runs'::regclass \
            OR relid IN (SELECT relid FROM pg_partition_tree('bakeoff.runs'))) t, pg_stat_database d \
         WHERE d.datname = current_database()"
    )
}

fn sample(row: &Row, at_millis: i64) -> Sample {
    Sample {
        at_millis,
        table_bytes: row.get(0),
        index_bytes: row.get(1),
        live_tuples: row.get(2),
        dead_tuples: row.get(3),
        updates: row.get(4),
        hot_updates: row.get(5),
        deletes: row.get(6),
        new_page_updates: row.get(7),
        autovacuums: row.get(8),
        autoanalyzes: row.get(9),
        sequential_scans: row.get(10),
        index_scans: row.get(11),
        blocks_hit: row.get(12),
        blocks_read: row.get(13),
        wal_bytes: row.get(14),
        checkpoints: row.get(15),
        lock_waits: row.get(16),
        oldest_transaction_millis: row.get(17),
        frozen_age: row.get(18),
        table_frozen_age: row.get(19),
        autovacuum_millis: row.get(20),
        vacuuming: row.get(21),
    }
}

/// The figures of a trial, by name, from the samples of its window and the look after it. (Pure.)
#[must_use]
pub fn figures(
    samples: &[Sample],
    after: &Inspection,
    fillfactor: u64,
    active: u64,
) -> BTreeMap<Figure, f64> {
    let mut figures = BTreeMap::new();
    let mut put = |figure: Figure, value: f64| {
        if value.is_finite() {
            figures.insert(figure, (value * 1e6).round() / 1e6);
        }
    };
    let active = active.max(1) as f64;
    put(Figure::TableBloatPercent, after.bloat_percent(fillfactor));
    put(Figure::IndexLeafDensityPercent, after.leaf_density);
    put(
        Figure::BytesPerActiveRun,
        (after.table_bytes + after.index_bytes) as f64 / active,
    );
    put(Figure::TableBytes, after.table_bytes as f64);
    put(Figure::IndexBytes, after.index_bytes as f64);
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else {
        return figures;
    };
    let rise = |of: fn(&Sample) -> i64| (of(last) - of(first)) as f64;
    let updates = rise(|s| s.updates);
    if updates > 0.0 {
        put(
            Figure::HotPercent,
            rise(|s| s.hot_updates) / updates * 100.0,
        );
        put(
            Figure::NewPagePercent,
            rise(|s| s.new_page_updates) / updates * 100.0,
        );
        put(Figure::WalBytesPerUpdate, rise(|s| s.wal_bytes) / updates);
    }
    put(Figure::Turnovers, rise(|s| s.deletes) / active);
    put(Figure::Autovacuums, rise(|s| s.autovacuums));
    put(Figure::Checkpoints, rise(|s| s.checkpoints));
    let blocks = rise(|s| s.blocks_hit) + rise(|s| s.blocks_read);
    if blocks > 0.0 {
        put(
            Figure::CacheHitPercent,
            rise(|s| s.blocks_hit) / blocks * 100.0,
        );
    }
    let peak = |of: fn(&Sample) -> i64| samples.iter().map(of).max().unwrap_or(0) as f64;
    put(
        Figure::DeadPeakPercent,
        peak(|s| s.dead_tuples) / active * 100.0,
    );
    put(Figure::LockWaitsPeak, peak(|s| s.lock_waits));
    put(
        Figure::OldestTransactionMillis,
        peak(|s| s.oldest_transaction_millis),
    );
    let total = |s: &Sample| (s.table_bytes + s.index_bytes) as f64;
    // Against the middle of the window: the first versions of the rows have to go somewhere, so the
    // table grows once before it is steady.
    if let Some(middle) = samples.get(samples.len() / 2) {
        put(
            Figure::LateGrowthPercent,
            (total(last) / total(middle).max(1.0) - 1.0) * 100.0,
        );
    }
    put(
        Figure::GrowthPercent,
        (total(last) / total(first).max(1.0) - 1.0) * 100.0,
    );
    figures
}

/// Where the server keeps its log, if it says so.
///
/// # Errors
/// When the server does not answer.
async fn log_path(client: &Client) -> Result<Option<String>, Failure> {
    // A setting that nobody made is null; one that was reset is empty.
    let sql = format!(
        "SELECT current_setting('{}', true)",
        names::SERVER_LOG_SETTING
    );
    let row = client
        .query_opt(&sql, &[])
        .await
        .map_err(|error| failure(&error))?;
    let path = row.and_then(|row| row.get::<_, Option<String>>(0));
    Ok(path.filter(|path| !path.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_of_the_fillfactor_is_not_bloat() {
        let look = Inspection {
            table_bytes: 1_000,
            live_bytes: 650,
            dead_bytes: 50,
            free_bytes: 300,
            ..Inspection::default()
        };
        assert!((look.bloat_percent(70) - 5.0).abs() < 1e-9);
        assert!((look.bloat_percent(100) - 35.0).abs() < 1e-9);
        assert!(Inspection::default().bloat_percent(70).abs() < 1e-9);
    }

    #[test]
    fn figures_are_differences_over_the_window() {
        let at = |second: i64| Sample {
            at_millis: second * 1_000,
            table_bytes: 1_000 + 10 * second.min(2),
            updates: 1_000 * second,
            hot_updates: 900 * second,
            dead_tuples: 100 * second,
            autovacuums: second / 2,
            ..Sample::default()
        };
        let samples: Vec<Sample> = (0..=4).map(at).collect();
        let figures = figures(&samples, &Inspection::default(), 100, 1_000);
        assert_eq!(
            (figures[&Figure::HotPercent], figures[&Figure::Autovacuums]),
            (90.0, 2.0)
        );
        assert_eq!(figures[&Figure::DeadPeakPercent], 40.0);
        assert_eq!(
            (
                figures[&Figure::GrowthPercent],
                figures[&Figure::LateGrowthPercent]
            ),
            (2.0, 0.0)
        );
        assert!(
            !figures.contains_key(&Figure::CacheHitPercent),
            "nothing was read"
        );
    }

    #[test]
    fn the_query_follows_the_version() {
        assert!(sample_query(160_004).contains("pg_stat_bgwriter"));
        let query = sample_query(180_001);
        assert!(query.contains("pg_stat_checkpointer") && query.contains("sum(n_tup_newpage_upd)"));
        assert!(sample_query(150_000).contains("sum(0::bigint)"));
    }
}
