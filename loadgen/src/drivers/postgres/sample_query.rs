//! The query of a sample, made of what the server can be asked.
//!
//! Versions and forks differ in their views, and a role may see less than another. Each part that some lack is asked once by
//! itself before the window, and is NULL in the query where the server refuses it: the other figures stay.

use tokio_postgres::SimpleQueryMessage;

use super::Patient;
use crate::failure::Failure;

/// A part of a sample that some servers lack.
struct Piece {
    /// What it tells, in words.
    tells: &'static str,
    /// Whether it is about other people's sessions, which an ordinary role does not see.
    of_others: bool,
    /// Expressions of it, newer versions first; `t.relids` are the table and its partitions.
    sql: &'static [&'static str],
}

/// In the order of the columns of [`query`].
const PIECES: [Piece; 10] = [
    Piece {
        tells: "updates that went to another page",
        of_others: false,
        sql: &[
            "SELECT sum(n_tup_newpage_upd)::bigint FROM pg_stat_user_tables WHERE relid = ANY (t.relids)",
        ],
    },
    Piece {
        tells: "blocks found in the cache and read",
        of_others: false,
        sql: &["SELECT blks_hit FROM pg_stat_database WHERE datname = current_database()"],
    },
    Piece {
        tells: "blocks found in the cache and read",
        of_others: false,
        sql: &["SELECT blks_read FROM pg_stat_database WHERE datname = current_database()"],
    },
    Piece {
        tells: "bytes of WAL",
        of_others: false,
        sql: &["SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint"],
    },
    Piece {
        tells: "checkpoints",
        of_others: false,
        // Version 17 moved them to a view of their own.
        sql: &[
            "SELECT num_timed + num_requested FROM pg_stat_checkpointer",
            "SELECT checkpoints_timed + checkpoints_req FROM pg_stat_bgwriter",
        ],
    },
    Piece {
        tells: "sessions that wait for a lock",
        of_others: true,
        sql: &["SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"],
    },
    Piece {
        tells: "the oldest transaction",
        of_others: true,
        sql: &[
            "SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)) * 1000, 0)::bigint \
             FROM pg_stat_activity WHERE xact_start IS NOT NULL AND pid <> pg_backend_pid() \
             AND backend_type = 'client backend'",
        ],
    },
    Piece {
        tells: "the age of the oldest row that is not frozen",
        of_others: false,
        sql: &[
            "SELECT coalesce(max(age(relfrozenxid)), 0)::bigint FROM pg_class WHERE oid = ANY (t.relids) AND relkind = 'r'",
        ],
    },
    Piece {
        tells: "how long autovacuum was at the table",
        of_others: false,
        sql: &[
            "SELECT sum(total_autovacuum_time)::bigint FROM pg_stat_user_tables WHERE relid = ANY (t.relids)",
        ],
    },
    Piece {
        tells: "whether autovacuum is at the table",
        of_others: true,
        sql: &[
            "SELECT EXISTS (SELECT 1 FROM pg_stat_progress_vacuum WHERE relid = ANY (t.relids))",
        ],
    },
];

/// Where something is that holds back the removal of dead rows: its kind, its name, since which transaction, and its age in
/// transactions. Autovacuum itself, and what the generators hold, are none; a slot's `catalog_xmin` keeps rows of the catalogue
/// only.
const HOLDERS: [Piece; 4] = [
    Piece {
        tells: "replication slots",
        of_others: false,
        sql: &[
            "SELECT 'ReplicationSlot', slot_name::text, xmin::text, age(xmin)::bigint AS age \
             FROM pg_replication_slots WHERE xmin IS NOT NULL",
        ],
    },
    Piece {
        tells: "standbys",
        of_others: true,
        sql: &[
            "SELECT 'Standby', application_name, backend_xmin::text, age(backend_xmin)::bigint AS age \
             FROM pg_stat_replication WHERE backend_xmin IS NOT NULL",
        ],
    },
    Piece {
        tells: "prepared transactions",
        of_others: false,
        sql: &[
            "SELECT 'PreparedTransaction', gid, transaction::text, age(transaction)::bigint AS age \
             FROM pg_prepared_xacts WHERE database = current_database()",
        ],
    },
    Piece {
        tells: "other sessions",
        of_others: true,
        sql: &[
            "SELECT 'Session', 'process ' || pid || ' of ' || coalesce(usename, backend_type), \
             coalesce(backend_xmin, backend_xid)::text, \
             greatest(age(backend_xmin), age(backend_xid))::bigint AS age FROM pg_stat_activity \
             WHERE datname = current_database() AND pid <> pg_backend_pid() \
             AND backend_type NOT IN ('autovacuum worker', 'walsender') \
             AND NOT (application_name = 'bakeoff' AND usename = current_user) \
             AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)",
        ],
    },
];

/// What a server can be asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Askable {
    /// Whether the role sees other sessions.
    pub sees_others: bool,
    pieces: Vec<Option<&'static str>>,
    holders: Vec<&'static str>,
    /// What it does not tell, for another reason than a missing right.
    untold: Vec<&'static str>,
}

impl Askable {
    /// Tries each part.
    ///
    /// # Errors
    /// When the server does not answer at all.
    pub async fn of(client: Patient<'_>) -> Result<Self, Failure> {
        let mut askable = Self {
            sees_others: sees_others(client).await?,
            ..Self::default()
        };
        for piece in &PIECES {
            let chosen = askable.choose(client, piece).await?;
            askable.pieces.push(chosen);
        }
        for holder in &HOLDERS {
            let chosen = askable.choose(client, holder).await?;
            askable.holders.extend(chosen);
        }
        askable.untold.dedup();
        Ok(askable)
    }

    async fn choose(
        &mut self,
        client: Patient<'_>,
        piece: &Piece,
    ) -> Result<Option<&'static str>, Failure> {
        if piece.of_others && !self.sees_others {
            return Ok(None);
        }
        for &sql in piece.sql {
            let alone =
                format!("SELECT * FROM (SELECT NULL::oid[] AS relids) t, LATERAL ({sql}) x");
            if asked(client, &alone).await?.is_some() {
                return Ok(Some(sql));
            }
        }
        self.untold.push(piece.tells);
        Ok(None)
    }

    /// What the server does not tell, as a caveat.
    pub fn caveat(&self) -> Option<String> {
        (!self.untold.is_empty()).then(|| {
            format!(
                "this version of the server does not tell: {}. Figures made of that are absent",
                self.untold.join(", ")
            )
        })
    }

    /// The query of a sample, summed over the partitions where the table has some.
    pub fn query(&self) -> String {
        let mut columns = String::new();
        for (at, piece) in PIECES.iter().enumerate() {
            let absent = if piece.sql[0].starts_with("SELECT EXISTS") {
                "NULL::bool"
            } else {
                "NULL::bigint"
            };
            match self.pieces.get(at).copied().flatten() {
                Some(sql) => columns.push_str(&format!(", ({sql})")),
                None => columns.push_str(&format!(", {absent}")),
            }
        }
        format!(
            "SELECT t.table_bytes, t.index_bytes, t.live, t.dead, t.updates, t.hot, t.deletes, \
             t.autovacuums, t.autoanalyzes, t.seq_scans, t.idx_scans, \
             (SELECT age(datfrozenxid)::bigint FROM pg_database WHERE datname = current_database()){columns} \
             FROM (SELECT array_agg(relid) AS relids, \
                coalesce(sum(pg_relation_size(relid)), 0)::bigint AS table_bytes, \
                coalesce(sum(pg_indexes_size(relid)), 0)::bigint AS index_bytes, \
                sum(n_live_tup)::bigint AS live, sum(n_dead_tup)::bigint AS dead, \
                sum(n_tup_upd)::bigint AS updates, sum(n_tup_hot_upd)::bigint AS hot, \
                sum(n_tup_del)::bigint AS deletes, \
                sum(autovacuum_count)::bigint AS autovacuums, sum(autoanalyze_count)::bigint AS autoanalyzes, \
                coalesce(sum(seq_scan), 0)::bigint AS seq_scans, coalesce(sum(idx_scan), 0)::bigint AS idx_scans \
                FROM pg_stat_user_tables WHERE relid = 'bakeoff.runs'::regclass \
                OR relid IN (SELECT relid FROM pg_partition_tree('bakeoff.runs'))) t"
        )
    }

    /// The query of what holds back the removal of dead rows most; `None` where the server tells of nothing that could.
    pub fn horizon(&self) -> Option<String> {
        (!self.holders.is_empty()).then(|| {
            format!(
                "SELECT * FROM ({}) AS held (kind, name, since, age) WHERE age IS NOT NULL ORDER BY age DESC LIMIT 1",
                self.holders.join(" UNION ALL ")
            )
        })
    }
}

/// Whether the role sees what other sessions do. A server without that right shows them to nobody but superusers.
async fn sees_others(client: Patient<'_>) -> Result<bool, Failure> {
    let sql = "SELECT rolsuper OR EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'pg_read_all_stats' \
               AND pg_has_role(current_user, oid, 'USAGE')) FROM pg_roles WHERE rolname = current_user";
    Ok(asked(client, sql).await?.is_some_and(|said| said == "t"))
}

/// The first field of the answer, empty without one; `None` where the server knows no such thing or does not let this role ask.
async fn asked(client: Patient<'_>, sql: &str) -> Result<Option<String>, Failure> {
    match client.simple_query(sql).await {
        Ok(messages) => {
            let first = messages.iter().find_map(|message| match message {
                SimpleQueryMessage::Row(row) => Some(row.try_get(0).ok().flatten().unwrap_or("")),
                _ => None,
            });
            Ok(Some(first.unwrap_or("").to_owned()))
        }
        Err(failure) if lacks(&failure) => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Whether an answer means that the server lacks what it was asked for: names that it does not know (42), what it does not
/// support (0A), or not in this state (55). Whatever else it refuses says nothing of what it has.
fn lacks(failure: &Failure) -> bool {
    let class = failure.code.as_deref().and_then(|code| code.get(..2));
    matches!(class, Some("42" | "0A" | "55"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_lacks_is_null_and_the_rest_stays() {
        let nothing = Askable::default();
        let query = nothing.query();
        assert_eq!(query.matches("NULL::bigint").count(), PIECES.len() - 1);
        assert_eq!(query.matches("NULL::bool").count(), 1);
        assert!(query.contains("sum(n_tup_hot_upd)"));
        assert_eq!((nothing.horizon(), nothing.caveat()), (None, None));
        let some = Askable {
            pieces: vec![Some(PIECES[0].sql[0])],
            holders: vec![HOLDERS[0].sql[0], HOLDERS[2].sql[0]],
            untold: vec!["checkpoints"],
            ..Askable::default()
        };
        assert!(some.query().contains("sum(n_tup_newpage_upd)"));
        assert!(some.horizon().unwrap().contains("UNION ALL"));
        assert!(some.caveat().unwrap().contains("checkpoints"));
    }
}
