//! One writer: a connection, and a turn after another.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use bakeoff_crds::rng::SplitMix64;
use bakeoff_crds::spec::GuardMode;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Statement};

use super::journal::{Journal, under_way};
use super::lease::{AnyLease, Lease, Place};
use super::{COMPLETE, CREATE, OPERATION, READ, TRANSITION, Tally, patiently};
use crate::checker::cas_history::{Event, Outcome, Row, Span};
use crate::drivers::postgres::Connector;
use crate::failure::{Failure, FailureClass};
use crate::instrument::clock::{self, SECOND};
use crate::instrument::drive::Worker;
use crate::instrument::pacer::Due;
use crate::instrument::record::{Operation, Recorder, Sample};
use crate::workloads::mover::reached;

/// A writer is paused once in so many nanoseconds on average.
const BETWEEN_PAUSES: f64 = 5.0 * SECOND as f64;

/// What all writers of this generator have in common.
#[derive(Debug)]
pub(super) struct Rules {
    pub mode: GuardMode,
    /// The step at which a run is deleted.
    pub last: u64,
    /// The runs of this generator.
    pub runs: Vec<u64>,
    /// For how long a writer is paused; zero: never.
    pub pause: Duration,
    pub lease_milliseconds: i32,
    /// The table of the rows.
    pub rows: String,
    /// Where the leases are kept.
    pub leases: Place,
}

impl Rules {
    fn locks(&self) -> bool {
        matches!(self.mode, GuardMode::Guarded | GuardMode::LockOnly)
    }
}

/// What a writer does about the row that it read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Intent {
    /// Begin another life.
    Insert,
    /// Move on from what was read.
    Advance(Row),
    /// End the life.
    Delete(Row),
}

/// (Pure.)
fn intent(row: Option<Row>, last: u64) -> Intent {
    match row {
        None => Intent::Insert,
        Some(row) if row.seq < last => Intent::Advance(row),
        Some(row) => Intent::Delete(row),
    }
}

struct Open {
    client: Rc<Client>,
    read: Statement,
    insert: Statement,
    advance: Statement,
    delete: Statement,
    lease: AnyLease,
}

/// A writer.
pub(super) struct Racer {
    pub connector: Connector,
    pub rules: Rc<Rules>,
    pub rng: SplitMix64,
    pub journal: Rc<RefCell<Journal>>,
    pub recorder: Rc<RefCell<Recorder>>,
    pub tally: Rc<Tally>,
    /// The server's process behind the connection, for whoever kills it; 0 when there is none.
    pub process: Rc<Cell<i32>>,
    number: u32,
    open: Option<Open>,
    next_pause: u64,
    /// The run of the next turn, and whether the writer goes ahead without the lock.
    turn: (u64, bool),
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// The row of an answer, if there is one.
pub(super) fn row(answer: Option<tokio_postgres::Row>) -> Result<Option<Row>, Failure> {
    let Some(answer) = answer else {
        return Ok(None);
    };
    let column = |index: usize| {
        answer
            .try_get::<_, i64>(index)
            .map(unsigned)
            .map_err(|error| crate::drivers::postgres::failure(&error))
    };
    Ok(Some(Row {
        incarnation: column(0)?,
        seq: column(1)?,
        value: column(2)?,
    }))
}

/// The statement that reads a run.
pub(super) fn read_sql(table: &str) -> String {
    format!("SELECT incarnation, seq, value FROM {table} WHERE run_id = $1")
}

impl Racer {
    #[allow(clippy::too_many_arguments)] // Each is a part of its own; a struct of them would be this one.
    pub fn new(
        connector: Connector,
        rules: Rc<Rules>,
        mut rng: SplitMix64,
        journal: Rc<RefCell<Journal>>,
        recorder: Rc<RefCell<Recorder>>,
        tally: Rc<Tally>,
        process: Rc<Cell<i32>>,
        start: u64,
    ) -> Self {
        let number = journal.borrow_mut().writer();
        let next_pause = start.saturating_add(interval(&mut rng));
        Self {
            connector,
            rules,
            rng,
            journal,
            recorder,
            tally,
            process,
            number,
            open: None,
            next_pause,
            turn: (0, false),
        }
    }

    async fn ready(&mut self) -> Result<(), Failure> {
        if self
            .open
            .as_ref()
            .is_some_and(|open| !open.client.is_closed())
        {
            return Ok(());
        }
        self.gone();
        let client = Rc::new(self.connector.connect().await?);
        let patience = self.connector.timeout();
        let rules = &self.rules;
        let prepare = async |sql: &str, parameters: usize| {
            let types = vec![Type::INT8; parameters];
            patiently(patience, client.prepare_typed(sql, &types)).await
        };
        let rows = &rules.rows;
        let insert = format!(
            "INSERT INTO {rows} (run_id, incarnation, seq, value) VALUES ($1, $2, 0, $3) ON CONFLICT DO NOTHING"
        );
        // The control's statements are what is left of the others without the guard.
        let guard = match rules.mode {
            GuardMode::Guarded => " AND incarnation = $2 AND seq = $3",
            _ => "",
        };
        let advance = match rules.mode {
            GuardMode::Guarded => {
                format!("UPDATE {rows} SET seq = seq + 1, value = $4 WHERE run_id = $1{guard}")
            }
            _ => format!("UPDATE {rows} SET seq = $2, value = $3 WHERE run_id = $1"),
        };
        let delete = format!("DELETE FROM {rows} WHERE run_id = $1{guard}");
        let guarded = rules.mode == GuardMode::Guarded;
        let process = patiently(patience, client.query_one("SELECT pg_backend_pid()", &[])).await?;
        let process: i32 = process
            .try_get(0)
            .map_err(|error| crate::drivers::postgres::failure(&error))?;
        let open = Open {
            read: prepare(&read_sql(rows), 1).await?,
            insert: prepare(&insert, 3).await?,
            advance: prepare(&advance, if guarded { 4 } else { 3 }).await?,
            delete: prepare(&delete, if guarded { 3 } else { 1 }).await?,
            lease: rules
                .leases
                .open(&client, rules.lease_milliseconds, patience)
                .await?,
            client: Rc::clone(&client),
        };
        self.open = Some(open);
        self.process.set(process);
        self.tally.processes.borrow_mut().insert(process);
        Ok(())
    }

    /// Leaves the connection. Its last write may yet take effect, so whoever goes on is another writer.
    fn gone(&mut self) {
        self.process.set(0);
        if self.open.take().is_some() {
            self.number = self.journal.borrow_mut().writer();
        }
    }

    fn record(&self, kind: Operation, member: u64, span: Span) {
        let sample = Sample {
            member,
            planned: span.invoke,
            sent: span.invoke,
            ended: span.complete,
            bytes: 0,
            queued: false,
        };
        self.recorder.borrow_mut().success(kind, sample);
    }

    async fn turn(&mut self, open: &Open, planned: u64) -> Result<(), Failure> {
        let (run, impatient) = self.turn;
        let mut holder = None;
        if self.rules.locks() {
            let name = signed(self.journal.borrow_mut().unique());
            if open.lease.acquire(signed(run), name).await? {
                holder = Some(name);
            } else if !(impatient && self.rules.mode == GuardMode::Guarded) {
                return Ok(());
            }
        }
        let patience = self.connector.timeout();
        let invoke = clock::now();
        let answer = patiently(patience, open.client.query_opt(&open.read, &[&signed(run)])).await;
        let span = Span {
            invoke,
            complete: clock::now(),
        };
        let found = row(answer?)?;
        self.record(READ, planned, span);
        self.journal
            .borrow_mut()
            .read(self.number, run, found, span, false);
        if !self.rules.pause.is_zero() && span.complete >= self.next_pause {
            self.tally.paused.set(self.tally.paused.get() + 1);
            tokio::time::sleep(self.rules.pause).await;
            self.next_pause = clock::now().saturating_add(interval(&mut self.rng));
        }
        self.write(open, run, intent(found, self.rules.last), planned)
            .await?;
        if let Some(holder) = holder
            && !open.lease.release(signed(run), holder).await?
        {
            self.tally.expired.set(self.tally.expired.get() + 1);
        }
        Ok(())
    }

    async fn write(
        &mut self,
        open: &Open,
        run: u64,
        what: Intent,
        planned: u64,
    ) -> Result<(), Failure> {
        let rules = Rc::clone(&self.rules);
        let value = self.journal.borrow_mut().unique();
        let writer = self.number;
        let invoke = clock::now();
        let span = under_way(invoke);
        let outcome = Outcome::Unknown;
        let (kind, event) = match what {
            Intent::Insert => (
                CREATE,
                Event::Insert {
                    writer,
                    run,
                    incarnation: value,
                    value,
                    span,
                    outcome,
                },
            ),
            Intent::Advance(row) => (
                TRANSITION,
                Event::Cas {
                    writer,
                    run,
                    incarnation: row.incarnation,
                    expected: row.seq,
                    new: row.seq + 1,
                    value,
                    span,
                    outcome,
                },
            ),
            Intent::Delete(row) => (
                COMPLETE,
                Event::Delete {
                    writer,
                    run,
                    incarnation: row.incarnation,
                    expected: row.seq,
                    span,
                    outcome,
                },
            ),
        };
        let entry = self.journal.borrow_mut().sent(event);
        let result = statement(
            open,
            rules.mode,
            run,
            what,
            signed(value),
            self.connector.timeout(),
        )
        .await;
        let span = Span {
            invoke,
            complete: clock::now(),
        };
        let outcome = match result {
            Ok(true) => Outcome::Ok,
            Ok(false) => Outcome::Lost,
            // Also what the server says in so many words may follow the commit.
            Err(_) => Outcome::Unknown,
        };
        self.journal
            .borrow_mut()
            .ended(entry, span.complete, outcome);
        match result {
            Ok(_) => self.record(kind, planned, span),
            Err(ref failure) => self.recorder.borrow_mut().failure(
                kind,
                planned,
                span.invoke,
                span.complete,
                failure,
            ),
        }
        result.map(|_| ())
    }
}

/// Sends the write; answers whether it took effect.
async fn statement(
    open: &Open,
    mode: GuardMode,
    run: u64,
    what: Intent,
    value: i64,
    patience: Duration,
) -> Result<bool, Failure> {
    let run = signed(run);
    let guarded = mode == GuardMode::Guarded;
    let row = match what {
        Intent::Insert => None,
        Intent::Advance(row) | Intent::Delete(row) => Some(row),
    };
    if let (GuardMode::SelectThenUpdate, Some(believed)) = (mode, row) {
        let now = patiently(patience, open.client.query_opt(&open.read, &[&run])).await?;
        if self::row(now)? != Some(believed) {
            return Ok(false);
        }
    }
    let (incarnation, seq) =
        row.map_or((value, 0), |row| (signed(row.incarnation), signed(row.seq)));
    let next = seq + 1;
    let (statement, parameters): (_, &[&(dyn ToSql + Sync)]) = match what {
        Intent::Insert => (&open.insert, &[&run, &incarnation, &value]),
        Intent::Advance(_) if guarded => (&open.advance, &[&run, &incarnation, &seq, &value]),
        Intent::Advance(_) => (&open.advance, &[&run, &next, &value]),
        Intent::Delete(_) if guarded => (&open.delete, &[&run, &incarnation, &seq]),
        Intent::Delete(_) => (&open.delete, &[&run]),
    };
    Ok(patiently(patience, open.client.execute(statement, parameters)).await? == 1)
}

/// The time to the next of events without memory.
fn interval(rng: &mut SplitMix64) -> u64 {
    (-(1.0 - rng.unit()).ln() * BETWEEN_PAUSES) as u64
}

impl Worker for Racer {
    fn prepare(&mut self) {
        let run = self.rules.runs[self.rng.index(self.rules.runs.len())];
        self.turn = (run, self.rng.below(2) == 0);
    }

    async fn connect(&mut self) {
        let _ = self.ready().await;
    }

    async fn operate(&mut self, due: Due) -> bool {
        let planned = due.planned;
        let ready = self.ready().await;
        let went_out = ready.is_ok();
        let result = match (ready, self.open.take()) {
            (Err(failure), _) => Err(failure),
            (Ok(()), None) => Err(Failure::new(FailureClass::Connect, "no connection")),
            (Ok(()), Some(open)) => {
                let result = self.turn(&open, planned).await;
                self.open = Some(open);
                result
            }
        };
        let ended = clock::now();
        match result {
            Ok(()) => {
                let span = Span {
                    invoke: planned,
                    complete: ended,
                };
                self.record(OPERATION, planned, span);
                true
            }
            Err(failure) => {
                self.recorder
                    .borrow_mut()
                    .failure(OPERATION, planned, planned, ended, &failure);
                // A late answer would be taken for that of the next statement.
                self.gone();
                reached(went_out, &failure)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_decides_what_comes_next() {
        let at = |seq| Row {
            incarnation: 3,
            seq,
            value: 9,
        };
        assert_eq!(intent(None, 12), Intent::Insert);
        assert_eq!(intent(Some(at(0)), 12), Intent::Advance(at(0)));
        assert_eq!(intent(Some(at(11)), 12), Intent::Advance(at(11)));
        assert_eq!(intent(Some(at(12)), 12), Intent::Delete(at(12)));
        // A control may have run beyond its end.
        assert_eq!(intent(Some(at(14)), 12), Intent::Delete(at(14)));
    }

    #[test]
    fn pauses_come_once_in_five_seconds_on_average() {
        let mut rng = SplitMix64::new(5);
        let sum: f64 = (0..20_000).map(|_| interval(&mut rng) as f64).sum();
        let mean = sum / 20_000.0 / SECOND as f64;
        assert!((mean - 5.0).abs() < 0.2, "{mean}");
    }
}
