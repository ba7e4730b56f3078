//! The table of a trial: made and loaded before it, looked at closely before and after.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bakeoff_crds::result::CheckRecord;
use bakeoff_crds::spec::RetentionMethod;

use super::lives::{ENDED, Expected, Population};
use crate::drivers::postgres::Patient;
use crate::drivers::postgres::extension::{self, Extension};
use crate::failure::Failure;
use crate::workloads::rows;

/// The table; its partitions are called after it.
pub(super) const TABLE: &str = "bakeoff.runs";

/// Partitions that are made ahead: the one that new runs fall into, and the next.
const AHEAD: u64 = 2;

/// The partition of a range, 0 being the oldest.
pub(super) fn partition(range: u64) -> String {
    format!("{TABLE}_p{range:03}")
}

/// Microseconds since the epoch as the client library sends them.
pub(super) fn instant(micros: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

const COLUMNS: &str = "run_id bigint NOT NULL, seq integer NOT NULL, state smallint NOT NULL, \
    created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL, payload bytea NOT NULL";

/// What makes the table anew. A partition that was detached and not dropped is a table of its own, so all
/// of that name go.
fn definition(method: RetentionMethod, population: &Population) -> String {
    let mut sql = "CREATE SCHEMA IF NOT EXISTS bakeoff; \
         DROP TABLE IF EXISTS bakeoff.runs; \
         DO $$ DECLARE left_over regclass; BEGIN FOR left_over IN SELECT oid::regclass FROM pg_class \
         WHERE relnamespace = 'bakeoff'::regnamespace AND relkind = 'r' AND relname ~ '^runs_p[0-9]+$' \
         LOOP EXECUTE 'DROP TABLE ' || left_over; END LOOP; END $$; "
        .to_owned();
    match method {
        RetentionMethod::BulkDelete => {
            sql.push_str(&format!(
                "CREATE TABLE {TABLE} ({COLUMNS}, CONSTRAINT runs_pkey PRIMARY KEY (run_id)); \
                 ALTER TABLE {TABLE} ALTER COLUMN payload SET STORAGE PLAIN"
            ));
        }
        RetentionMethod::DropPartition => {
            // Every unique constraint of a partitioned table contains the key of the partitions, so run_id
            // alone is not unique any more and is not the whole address of a run.
            sql.push_str(&format!(
                "CREATE TABLE {TABLE} ({COLUMNS}, CONSTRAINT runs_pkey PRIMARY KEY (created_at, run_id)) \
                 PARTITION BY RANGE (created_at); \
                 ALTER TABLE {TABLE} ALTER COLUMN payload SET STORAGE PLAIN"
            ));
            for range in 0..population.ranges + AHEAD {
                let bound = |range| population.begins(range) / 1_000_000;
                sql.push_str(&format!(
                    "; CREATE TABLE {} PARTITION OF {TABLE} FOR VALUES FROM (to_timestamp({})) TO (to_timestamp({}))",
                    partition(range),
                    bound(range),
                    bound(range + 1)
                ));
            }
        }
    }
    sql
}

/// Makes the table anew and loads the population by binary COPY.
pub(super) async fn load(
    client: Patient<'_>,
    method: RetentionMethod,
    population: &Population,
    state_bytes: usize,
) -> Result<(), Failure> {
    let sql = definition(method, population);
    rows::make_way(client).await?;
    client.at_length().batch_execute(&sql).await?;
    let rows = (0..population.active).map(|id| {
        let run = population.run(id);
        rows::Row {
            id: run.id,
            seq: run.seq,
            state: run.state(),
            created: instant(run.created),
        }
    });
    let rows = futures::stream::iter(rows.map(Ok));
    rows::copy(client, population.seed, state_bytes, rows).await?;
    rows::settle(client).await
}

/// A close look at the table with all its partitions.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Look {
    pub table_bytes: i64,
    pub dead_bytes: i64,
    pub free_bytes: i64,
    pub index_bytes: i64,
    /// How full the leaf pages of the indexes are, percent; 0 without any.
    pub leaf_density: f64,
}

impl Look {
    /// Dead and free bytes in percent of the table. Rows are loaded with fillfactor 100, so nothing of it
    /// is a reserve.
    pub fn bloat_percent(&self) -> f64 {
        if self.table_bytes <= 0 {
            return 0.0;
        }
        (self.dead_bytes + self.free_bytes) as f64 / self.table_bytes as f64 * 100.0
    }
}

/// Reads tables and indexes whole: outside the window only.
pub(super) async fn look(client: Patient<'_>) -> Result<Look, Failure> {
    // An action that was given up may still be dropping.
    let reading = client.reading(rows::bytes(client.at_length()).await?);
    let found = extension::found(client).await?;
    let found = found.unwrap_or_else(Extension::own);
    let (of_table, of_index) = (found.function("pgstattuple"), found.function("pgstatindex"));
    let row = reading
        .query_one(
            &format!("WITH tables AS MATERIALIZED (SELECT oid FROM pg_class WHERE relnamespace = 'bakeoff'::regnamespace \
               AND relkind = 'r' AND relname ~ '^runs(_p[0-9]+)?$'), \
             heap AS (SELECT sum(t.table_len) AS bytes, sum(t.dead_tuple_len) AS dead, sum(t.free_space) AS free \
               FROM tables, LATERAL {of_table}(tables.oid::regclass) t), \
             leaves AS (SELECT i.index_size, i.leaf_pages, \
                 CASE WHEN i.leaf_pages > 0 THEN i.avg_leaf_density ELSE 0 END AS density \
               FROM tables JOIN pg_index x ON x.indrelid = tables.oid, \
               LATERAL {of_index}(x.indexrelid::regclass) i) \
             SELECT coalesce(bytes, 0)::bigint, coalesce(dead, 0)::bigint, coalesce(free, 0)::bigint, \
               (SELECT coalesce(sum(index_size), 0)::bigint FROM leaves), \
               (SELECT coalesce(sum(density * leaf_pages) / nullif(sum(leaf_pages), 0), 0)::float8 FROM leaves) \
             FROM heap"),
            &[],
        )
        .await?;
    Ok(Look {
        table_bytes: row.get(0),
        dead_bytes: row.get(1),
        free_bytes: row.get(2),
        index_bytes: row.get(3),
        leaf_density: row.get(4),
    })
}

/// What is there of a stretch of runs.
struct Found {
    rows: i64,
    distinct: i64,
    sums: Expected,
}

async fn found(client: Patient<'_>, from: u64, to: u64, open_only: bool) -> Result<Found, Failure> {
    let number = |id: u64| i64::try_from(id).unwrap_or(i64::MAX);
    let row = client
        .query_one(
            "SELECT count(*), count(DISTINCT run_id), coalesce(sum(run_id), 0)::text, coalesce(sum(seq), 0)::text \
             FROM bakeoff.runs WHERE run_id >= $1 AND run_id < $2 AND (state <> $3 OR NOT $4)",
            &[&number(from), &number(to), &ENDED, &open_only],
        )
        .await?;
    let sum = |column: usize| row.get::<_, String>(column).parse().unwrap_or(i128::MIN);
    Ok(Found {
        rows: row.get(0),
        distinct: row.get(1),
        sums: Expected {
            rows: row.get(0),
            ids: sum(2),
            seqs: sum(3),
        },
    })
}

/// How far what is there is from what must be there: rows missing or too many, doubled ones, and one more
/// where the numbers agree and the rows do not. (Pure.)
fn astray(found: &Found, expected: &Expected) -> i64 {
    let off = (expected.rows - found.distinct).abs() + (found.rows - found.distinct);
    if off == 0 && found.sums != *expected {
        1
    } else {
        off
    }
}

/// Whether retention kept what it must keep and, when it was `complete`, took what it should: each
/// run that was open or of a younger range is there exactly once and unchanged, no other of the oldest is.
pub(super) async fn checks(
    client: Patient<'_>,
    population: &Population,
    complete: bool,
) -> Result<[CheckRecord; 2], Failure> {
    let client = client.reading(rows::bytes(client.at_length()).await?);
    let border = population.first_of(1);
    let newest = population.first_of(population.ranges - 1);
    let mut kept = CheckRecord {
        name: bakeoff_analysis::vocabulary::ROWS_LOST.to_owned(),
        checked: 0,
        violations: 0,
        uncertain: 0,
        examples: Vec::new(),
    };
    for (what, from, to, open_only, expected) in [
        (
            "open runs of the oldest range",
            0,
            border,
            true,
            population.sleepers(),
        ),
        (
            "runs of younger ranges",
            border,
            newest,
            false,
            population.untouched(),
        ),
    ] {
        let found = found(client, from, to, open_only).await?;
        let off = astray(&found, &expected);
        kept.checked += expected.rows;
        kept.violations += off;
        if off > 0 {
            kept.examples.push(format!(
                "{what}: {} rows of {} runs, expected {} of each",
                found.rows, found.distinct, expected.rows
            ));
        }
    }
    let ended = i64::try_from(border).unwrap_or(i64::MAX) - population.sleepers().rows;
    let mut left = CheckRecord {
        name: bakeoff_analysis::vocabulary::ROWS_LEFT.to_owned(),
        checked: 0,
        violations: 0,
        uncertain: 0,
        examples: Vec::new(),
    };
    if complete {
        let all = found(client, 0, border, false).await?.rows;
        let open = found(client, 0, border, true).await?.rows;
        left.checked = ended;
        left.violations = all - open;
        if left.violations > 0 {
            left.examples.push(format!(
                "{} ended runs of the oldest range are still there",
                all - open
            ));
        }
    } else {
        left.uncertain = ended;
    }
    Ok([kept, left])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::FailureClass;
    use crate::testing::{Planted, freezing_postgres, local, planted_postgres};

    #[test]
    fn a_server_that_freezes_is_not_looked_at_for_ever() {
        local(async {
            let (connector, freeze) = freezing_postgres().await;
            let client = connector.connect().await.unwrap();
            let asking = Patient::hurried(&client, Duration::from_millis(200));
            assert!(rows::bytes(asking).await.is_ok());
            freeze.notify_one();
            let looking = tokio::time::timeout(Duration::from_secs(20), look(asking));
            let failure = looking.await.unwrap().unwrap_err();
            assert_eq!(failure.class, FailureClass::Timeout);
        });
    }

    #[test]
    fn a_server_that_freezes_while_it_reads_the_table_is_not_waited_for_for_ever() {
        local(async {
            let connector = planted_postgres("pgstattuple(", &[Planted::Silence]).await;
            let client = connector.connect().await.unwrap();
            let asking = Patient::hurried(&client, Duration::from_millis(200));
            let looking = tokio::time::timeout(Duration::from_secs(20), look(asking));
            let failure = looking.await.unwrap().unwrap_err();
            assert_eq!(failure.class, FailureClass::Timeout);
            assert!(failure.detail.contains("frozen"), "{failure}");
        });
    }

    #[test]
    fn what_is_lost_doubled_or_changed_is_astray() {
        let expected = Expected {
            rows: 10,
            ids: 45,
            seqs: 20,
        };
        let found = |rows, distinct, seqs| Found {
            rows,
            distinct,
            sums: Expected {
                rows,
                ids: 45,
                seqs,
            },
        };
        assert_eq!(astray(&found(10, 10, 20), &expected), 0);
        assert_eq!(astray(&found(9, 9, 18), &expected), 1);
        assert_eq!(astray(&found(11, 10, 22), &expected), 1);
        assert_eq!(astray(&found(10, 10, 21), &expected), 1, "another step");
    }

    #[test]
    fn partitions_are_made_for_every_range_and_ahead() {
        let population = Population {
            seed: 1,
            active: 1_000,
            ranges: 3,
            sleeper_percent: 0,
            transitions: 5,
            base: 1_800_000_000_000_000,
        };
        let sql = definition(RetentionMethod::DropPartition, &population);
        assert_eq!(sql.matches("PARTITION OF").count(), 5);
        assert!(sql.contains("FROM (to_timestamp(1800000000))"), "{sql}");
        assert!(!sql.contains("DEFAULT"));
        let plain = definition(RetentionMethod::BulkDelete, &population);
        assert!(plain.contains("PRIMARY KEY (run_id)") && !plain.contains("PARTITION"));
    }
}
