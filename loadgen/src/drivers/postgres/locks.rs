//! What locks an action holds and makes others wait for, looked at often enough to see it.
//!
//! Locks are seen by samples, so one that is held for less than the interval may be missed. A wait that is
//! seen carries its own beginning (`pg_locks.waitstart`), so its length is known to within one interval.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_postgres::Statement;
use tokio_postgres::types::Type;

use super::Patient;
use crate::failure::Failure;
use crate::instrument::clock::{self, SECOND};

/// Between two looks. Reading `pg_locks` costs the server a fraction of a millisecond.
pub const INTERVAL: Duration = Duration::from_millis(15);
/// Between two looks in the first second, in which a drop is over.
pub const INTERVAL_AT_FIRST: Duration = Duration::from_millis(5);

/// Whose lock it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Holder {
    /// The connection that acts.
    Action,
    /// A worker of autovacuum.
    Autovacuum,
    /// Anybody else.
    Other,
}

/// What one look sees of one lock.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    holder: Holder,
    /// The relation, or the kind of lock where it is on something else.
    on: String,
    mode: String,
    granted: bool,
    waited_millis: f64,
}

/// All looks at one kind of lock: a line of the attempt's history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LockLine {
    /// Whose.
    pub holder: Holder,
    /// The relation, or the kind of lock where it is on something else.
    pub on: String,
    /// The mode, in the server's words.
    pub mode: String,
    /// Whether it was held; else waited for.
    pub granted: bool,
    /// In how many looks.
    pub looks: u64,
    /// The first of them, milliseconds since the action began.
    pub first_millis: f64,
    /// The last of them.
    pub last_millis: f64,
    /// The longest wait seen, milliseconds.
    pub longest_wait_millis: f64,
}

/// What was seen of locks while an action went on. (Pure.)
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Locks {
    looks: u64,
    lines: BTreeMap<(Holder, String, String, bool), LockLine>,
}

/// The lock modes of a table from the weakest to the strongest, as the manual's table of conflicts has them.
const MODES: [&str; 8] = [
    "AccessShareLock",
    "RowShareLock",
    "RowExclusiveLock",
    "ShareUpdateExclusiveLock",
    "ShareLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    "AccessExclusiveLock",
];

/// The strength of a mode, 1 (ACCESS SHARE) to 8 (ACCESS EXCLUSIVE). INSERT, UPDATE and DELETE take 3 and
/// are stopped by 5 and more. `None` for a mode that is not of a table.
#[must_use]
pub fn strength(mode: &str) -> Option<u8> {
    let place = MODES.iter().position(|known| *known == mode)?;
    u8::try_from(place + 1).ok()
}

impl Locks {
    fn look(&mut self, seen: Vec<Seen>, at_millis: f64) {
        self.looks += 1;
        for lock in seen {
            let key = (
                lock.holder,
                lock.on.clone(),
                lock.mode.clone(),
                lock.granted,
            );
            let line = self.lines.entry(key).or_insert_with(|| LockLine {
                holder: lock.holder,
                on: lock.on,
                mode: lock.mode,
                granted: lock.granted,
                looks: 0,
                first_millis: at_millis,
                last_millis: at_millis,
                longest_wait_millis: 0.0,
            });
            line.looks += 1;
            line.last_millis = at_millis;
            line.longest_wait_millis = line.longest_wait_millis.max(lock.waited_millis);
        }
    }

    /// How many looks there were.
    #[must_use]
    pub fn looks(&self) -> u64 {
        self.looks
    }

    /// One line for each kind of lock.
    pub fn lines(&self) -> impl Iterator<Item = &LockLine> {
        self.lines.values()
    }

    /// The longest time that anybody but `Action` and autovacuum was seen to wait for a lock, milliseconds.
    #[must_use]
    pub fn longest_wait_of_others(&self) -> f64 {
        self.longest_wait(Holder::Other)
    }

    /// The longest time that the action itself was seen to wait, milliseconds.
    #[must_use]
    pub fn longest_wait_of_action(&self) -> f64 {
        self.longest_wait(Holder::Action)
    }

    fn longest_wait(&self, holder: Holder) -> f64 {
        self.lines()
            .filter(|line| line.holder == holder && !line.granted)
            .map(|line| line.longest_wait_millis)
            .fold(0.0, f64::max)
    }

    /// The strongest lock that the action, or autovacuum where `with_autovacuum`, held on any relation but
    /// `except` and its indexes. 0 when none was seen.
    #[must_use]
    pub fn strongest(&self, with_autovacuum: bool, except: &str) -> u8 {
        self.lines()
            .filter(|line| line.granted)
            .filter(|line| match line.holder {
                Holder::Action => true,
                Holder::Autovacuum => with_autovacuum,
                Holder::Other => false,
            })
            .filter(|line| except.is_empty() || !line.on.starts_with(except))
            .filter_map(|line| strength(&line.mode))
            .max()
            .unwrap_or(0)
    }
}

/// A worker of autovacuum is known by having a database and no user, which every role sees; its type only some do.
/// Locks on relations of the schema that the action or autovacuum holds, and all that anybody waits for
/// but for space to extend a file, which concurrent inserts do among themselves.
const QUERY: &str = "SELECT l.pid = $1, a.usesysid IS NULL, \
    coalesce(c.relname::text, l.locktype), l.mode, l.granted, \
    coalesce(extract(epoch FROM clock_timestamp() - l.waitstart) * 1000, 0)::float8 \
    FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid \
    LEFT JOIN pg_class c ON l.locktype = 'relation' AND c.oid = l.relation AND l.database = a.datid \
    WHERE l.pid <> pg_backend_pid() AND a.datname = current_database() \
    AND ((NOT l.granted AND l.locktype NOT IN ('extend', 'page')) \
      OR (l.granted AND c.relnamespace = 'bakeoff'::regnamespace \
          AND (l.pid = $1 OR a.usesysid IS NULL)))";

/// What a watch asks through a connection of its own, to be had before what is watched begins: a quick action would be over by then.
///
/// # Errors
/// When the server refuses the query.
pub async fn prepare(client: Patient<'_>) -> Result<Statement, Failure> {
    client.prepare_typed(QUERY, &[Type::INT4]).await
}

/// Watches until `done`, and once at least, `pid` being the acting one's process, which may change. What cannot be read is left
/// out: the number of looks shows it. A look that a frozen server does not answer ends all the same.
pub async fn watch(
    (client, query): (Patient<'_>, &Statement),
    pid: &Cell<i32>,
    since: u64,
    done: &Cell<bool>,
) -> Locks {
    let mut locks = Locks::default();
    loop {
        match client.query(query, &[&pid.get()]).await {
            Ok(rows) => {
                let at = clock::now().saturating_sub(since) as f64 / 1e6;
                let seen = rows
                    .iter()
                    .map(|row| Seen {
                        holder: match (row.get(0), row.get(1)) {
                            (true, _) => Holder::Action,
                            (_, true) => Holder::Autovacuum,
                            _ => Holder::Other,
                        },
                        on: row.get(2),
                        mode: row.get(3),
                        granted: row.get(4),
                        waited_millis: row.get(5),
                    })
                    .collect();
                locks.look(seen, at);
            }
            Err(error) => {
                tracing::warn!(%error, "no look at the locks");
                if client.client().is_closed() {
                    break;
                }
            }
        }
        if done.get() {
            break;
        }
        let first = clock::now().saturating_sub(since) < SECOND;
        tokio::time::sleep(if first { INTERVAL_AT_FIRST } else { INTERVAL }).await;
    }
    locks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{freezing_postgres, local};

    #[test]
    fn a_server_that_freezes_is_not_watched_for_ever() {
        local(async {
            let (connector, freeze) = freezing_postgres().await;
            let client = connector.connect().await.unwrap();
            let asking = Patient::new(&client, Duration::from_millis(200));
            let looks = prepare(asking).await.unwrap();
            freeze.notify_one();
            let (pid, done) = (Cell::new(1), Cell::new(true));
            let watched = watch((asking, &looks), &pid, clock::now(), &done);
            let locks = tokio::time::timeout(Duration::from_secs(20), watched).await;
            assert_eq!(locks.unwrap(), Locks::default());
        });
    }

    fn seen(holder: Holder, on: &str, mode: &str, granted: bool, waited_millis: f64) -> Seen {
        Seen {
            holder,
            on: on.into(),
            mode: mode.into(),
            granted,
            waited_millis,
        }
    }

    #[test]
    fn waits_are_maxima_and_strength_is_of_tables_in_use() {
        let mut locks = Locks::default();
        let first = vec![
            seen(
                Holder::Action,
                "runs",
                "ShareUpdateExclusiveLock",
                true,
                0.0,
            ),
            seen(
                Holder::Action,
                "runs_p000",
                "AccessExclusiveLock",
                true,
                0.0,
            ),
            seen(Holder::Other, "runs", "RowExclusiveLock", false, 12.0),
            seen(
                Holder::Autovacuum,
                "runs_p003",
                "AccessExclusiveLock",
                true,
                0.0,
            ),
        ];
        locks.look(first, 5.0);
        let second = vec![
            seen(Holder::Other, "runs", "RowExclusiveLock", false, 27.5),
            seen(Holder::Action, "virtualxid", "ShareLock", false, 400.0),
        ];
        locks.look(second, 20.0);
        assert_eq!(locks.looks(), 2);
        assert_eq!(locks.longest_wait_of_others(), 27.5);
        assert_eq!(locks.longest_wait_of_action(), 400.0);
        assert_eq!(locks.strongest(false, "runs_p000"), 4);
        assert_eq!(locks.strongest(true, "runs_p000"), 8);
        assert_eq!(locks.strongest(false, ""), 8);
        let waits = locks
            .lines()
            .find(|line| line.holder == Holder::Other)
            .unwrap();
        assert_eq!(
            (waits.looks, waits.first_millis, waits.last_millis),
            (2, 5.0, 20.0)
        );
        assert_eq!(Locks::default().strongest(true, ""), 0);
    }

    #[test]
    fn modes_are_ordered_by_what_they_stop() {
        assert_eq!(strength("RowExclusiveLock"), Some(3));
        assert_eq!(strength("AccessExclusiveLock"), Some(8));
        assert_eq!(strength("SIReadLock"), None);
    }
}
