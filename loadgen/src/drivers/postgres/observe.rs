//! What a Postgres server says of itself and of the measured table: one sample a second for the time
//! series, and a closer look before and after the window.
//!
//! The samples read statistics views and file sizes, which is cheap; `pgstattuple` and `pgstatindex`
//! read the whole relation and run only outside the window.

use std::collections::BTreeMap;
use std::time::Duration;

use bakeoff_crds::figure::Figure;
use bakeoff_crds::names;
use serde::{Deserialize, Serialize};
use tokio_postgres::{Client, Row, SimpleQueryMessage};

use super::extension::{self, Extension};
use super::horizon;
use super::patient::PATIENCE;
use super::sample::Holder;
pub use super::sample::Sample;
use super::sample_query::Askable;
use super::{Patient, failure, patiently, session, within};
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
pub async fn identity(client: Patient<'_>) -> Result<BTreeMap<String, String>, Failure> {
    let version = client
        .query_one("SELECT current_setting('server_version')", &[])
        .await?;
    let mut settings = BTreeMap::from([("server_version".to_owned(), version.get(0))]);
    let rows = client
        .query(
            "SELECT name, current_setting(name) FROM pg_settings \
             WHERE (source NOT IN ('default', 'override', 'client', 'session') \
             AND name !~ 'conninfo|command|passphrase|keyfile|primary_slot_name') \
             OR name IN ('fsync', 'synchronous_commit', 'full_page_writes', 'data_checksums', 'autovacuum')",
            &[],
        )
        .await?;
    settings.extend(rows.iter().map(|row| (row.get(0), row.get(1))));
    let lifted = client.query(&session::lifted(), &[]).await?;
    settings.extend(lifted.iter().map(|row| (row.get(0), row.get(1))));
    Ok(settings)
}

/// When the server's process started, seconds since the epoch.
///
/// # Errors
/// When the server does not answer.
pub async fn started(client: Patient<'_>) -> Result<f64, Failure> {
    let sql = "SELECT extract(epoch FROM pg_postmaster_start_time())::float8";
    Ok(client.query_one(sql, &[]).await?.get(0))
}

/// Whether a session may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writable {
    /// It may.
    Yes,
    /// The server is in recovery: a standby.
    Standby,
    /// The role, the database or the server makes its transactions read-only.
    ReadOnly,
}

/// Asks whether this session may write.
///
/// # Errors
/// When the server does not answer.
pub async fn writable(client: &Client) -> Result<Writable, Failure> {
    // Without a prepared statement: a pooler that loses them is named later, and in other words.
    let answer = client
        .simple_query("SELECT pg_is_in_recovery(), current_setting('transaction_read_only') = 'on'")
        .await
        .map_err(|error| failure(&error))?;
    let yes = |at| {
        answer.iter().any(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(at) == Some("t"),
            _ => false,
        })
    };
    Ok(match (yes(0), yes(1)) {
        (true, _) => Writable::Standby,
        (_, true) => Writable::ReadOnly,
        _ => Writable::Yes,
    })
}

/// Reads samples through one connection.
#[derive(Debug)]
pub struct Observer {
    pub(super) client: Client,
    query: tokio_postgres::Statement,
    /// The query of what holds back the removal of dead rows, where anything can be asked.
    horizon: Option<tokio_postgres::Statement>,
    sees_others: bool,
    extension: Extension,
    /// Where the server keeps a log that it can read, if it does.
    pub(super) log: Option<String>,
    /// How long each question waits for its answer.
    pub(super) patience: Duration,
}

impl Observer {
    /// Prepares what the server can be asked.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn new(client: Client) -> Result<Self, Failure> {
        within(PATIENCE, Self::prepared(client)).await
    }

    async fn prepared(client: Client) -> Result<Self, Failure> {
        let asking = Patient::of(&client);
        let askable = Askable::of(asking).await?;
        let query = asking.prepare(&askable.query()).await?;
        let horizon = match askable.horizon() {
            Some(sql) => Some(asking.prepare(&sql).await?),
            None => None,
        };
        let found = extension::found(asking).await?;
        let log = log_path(asking).await?;
        Ok(Self {
            client,
            query,
            horizon,
            sees_others: askable.sees_others,
            extension: found.unwrap_or_else(Extension::own),
            log,
            patience: PATIENCE,
        })
    }

    /// One sample. `window_start` is on the monotonic clock.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn sample(&self, window_start: u64) -> Result<Sample, Failure> {
        let asked = async {
            let row = self.client.query_one(&self.query, &[]).await?;
            let holder = match &self.horizon {
                Some(query) => self.client.query_opt(query, &[]).await?,
                None => None,
            };
            Ok::<_, tokio_postgres::Error>((row, holder))
        };
        let (row, holder) = patiently(self.patience, asked).await?;
        let since =
            |a: u64, b: u64| i64::try_from(a.saturating_sub(b) / 1_000_000).unwrap_or(i64::MAX);
        let now = clock::now();
        let at_millis = since(now, window_start) - since(window_start, now);
        let mut sample = sample(&row, at_millis, holder.as_ref().and_then(horizon::holder));
        // Of what is not seen nothing can be said, also where something younger is.
        if self.sees_others && self.horizon.is_some() {
            sample.horizon_age = Some(sample.horizon.as_ref().map_or(0, |holder| holder.age));
        }
        Ok(sample)
    }

    /// Samples each second until `end`, and waits for the last no longer than for any other. What cannot be read is left
    /// out and said in the log: a gap in the series shows it.
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
        // A server that is frozen is told from one that has much to read.
        let asking = Patient::new(&self.client, self.patience);
        let awake = asking.query_one(&self.query, &[]).await?;
        let (table, index): (i64, i64) = (awake.get(0), awake.get(1));
        let sql = format!(
            "SELECT t.table_len, t.tuple_len, t.dead_tuple_len, t.free_space, \
             i.index_size, i.avg_leaf_density, i.leaf_fragmentation \
             FROM {}('bakeoff.runs'::regclass) t, {}('bakeoff.runs_pkey'::regclass) i",
            self.extension.function("pgstattuple"),
            self.extension.function("pgstatindex")
        );
        let reading = asking.reading(table.saturating_add(index));
        let row = reading.query_one(&sql, &[]).await?;
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

fn sample(row: &Row, at_millis: i64, horizon: Option<Holder>) -> Sample {
    Sample {
        at_millis,
        table_bytes: row.get(0),
        index_bytes: row.get(1),
        live_tuples: row.get(2),
        dead_tuples: row.get(3),
        updates: row.get(4),
        hot_updates: row.get(5),
        deletes: row.get(6),
        autovacuums: row.get(7),
        autoanalyzes: row.get(8),
        sequential_scans: row.get(9),
        index_scans: row.get(10),
        frozen_age: row.get(11),
        new_page_updates: row.get(12),
        blocks_hit: row.get(13),
        blocks_read: row.get(14),
        wal_bytes: row.get(15),
        checkpoints: row.get(16),
        lock_waits: row.get(17),
        oldest_transaction_millis: row.get(18),
        table_frozen_age: row.get(19),
        autovacuum_millis: row.get(20),
        vacuuming: row.get(21),
        horizon_age: None,
        horizon,
    }
}

/// By how much a count rose over the window; `None` where the server does not tell it.
#[must_use]
pub fn rise(samples: &[Sample], of: fn(&Sample) -> Option<i64>) -> Option<f64> {
    Some((of(samples.last()?)? - of(samples.first()?)?) as f64)
}

/// The most that was seen; `None` where the server did not tell it once.
#[must_use]
pub fn peak(samples: &[Sample], of: fn(&Sample) -> Option<i64>) -> Option<f64> {
    samples.iter().filter_map(of).max().map(|most| most as f64)
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
    let rise = |of: fn(&Sample) -> Option<i64>| rise(samples, of);
    let mut put_some = |figure: Figure, value: Option<f64>| {
        if let Some(value) = value {
            put(figure, value);
        }
    };
    let updates = rise(|s| Some(s.updates)).filter(|&updates| updates > 0.0);
    if let Some(updates) = updates {
        let share = |count: Option<f64>| Some(count? / updates * 100.0);
        put_some(Figure::HotPercent, share(rise(|s| Some(s.hot_updates))));
        put_some(Figure::NewPagePercent, share(rise(|s| s.new_page_updates)));
        let wal = rise(|s| s.wal_bytes);
        put_some(Figure::WalBytesPerUpdate, wal.map(|wal| wal / updates));
    }
    put_some(
        Figure::Turnovers,
        rise(|s| Some(s.deletes)).map(|deletes| deletes / active),
    );
    put_some(Figure::Autovacuums, rise(|s| Some(s.autovacuums)));
    put_some(Figure::Checkpoints, rise(|s| s.checkpoints));
    if let (Some(hit), Some(read)) = (rise(|s| s.blocks_hit), rise(|s| s.blocks_read))
        && hit + read > 0.0
    {
        put_some(Figure::CacheHitPercent, Some(hit / (hit + read) * 100.0));
    }
    let peak = |of: fn(&Sample) -> Option<i64>| peak(samples, of);
    put_some(
        Figure::DeadPeakPercent,
        peak(|s| Some(s.dead_tuples)).map(|dead| dead / active * 100.0),
    );
    put_some(Figure::LockWaitsPeak, peak(|s| s.lock_waits));
    put_some(
        Figure::OldestTransactionMillis,
        peak(|s| s.oldest_transaction_millis),
    );
    put_some(Figure::HorizonAgeMost, peak(|s| s.horizon_age));
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
async fn log_path(client: Patient<'_>) -> Result<Option<String>, Failure> {
    // A setting that nobody made is null; one that was reset is empty.
    let sql = format!(
        "SELECT current_setting('{}', true)",
        names::SERVER_LOG_SETTING
    );
    let row = client.query_opt(&sql, &[]).await?;
    let path = row.and_then(|row| row.get::<_, Option<String>>(0));
    Ok(path.filter(|path| !path.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::FailureClass;
    use crate::testing::{freezing_postgres, local};

    #[test]
    fn a_server_that_freezes_holds_nobody_up() {
        local(async {
            let (connector, freeze) = freezing_postgres().await;
            let client = connector.connect().await.unwrap();
            let mut observer = Observer::new(client).await.unwrap();
            observer.log = Some("log".into());
            assert!(observer.sample(0).await.is_ok());
            observer.patience = Duration::from_millis(200);
            freeze.notify_one();
            let now = clock::now();
            let asked = async {
                assert!(observer.watch(now, now + SECOND).await.is_empty());
                assert_eq!(observer.stretch(now, now).await, None);
                observer.inspect().await.unwrap_err().class
            };
            let class = tokio::time::timeout(Duration::from_secs(20), asked).await;
            assert_eq!(class.unwrap(), FailureClass::Timeout);
        });
    }

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
}
