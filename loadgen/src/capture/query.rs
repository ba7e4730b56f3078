//! Which statement reads the events. (Pure, but for asking the server what the columns are.)

use bakeoff_trace::time::Unit;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::{CaptureError, Reading};
use crate::drivers::postgres::{identifier, literal};

/// Where events are.
#[derive(Clone, Debug)]
pub enum Source {
    /// A table with a row for each event, by its name as SQL has it, and its columns.
    Table(String, Columns),
    /// What a query answers, and its columns.
    Query(String, Columns),
    /// The table in which Trigger.dev keeps what its runs went through.
    TriggerDev,
}

/// The columns of a table of events, by name.
#[derive(Clone, Debug)]
pub struct Columns {
    /// What tells one run from another.
    pub run: String,
    /// When.
    pub time: String,
    /// What happened.
    pub kind: Option<String>,
    /// The state or its bytes: of a number that many, of anything else as long as it is.
    pub value: Option<String>,
    /// Whether the event counts.
    pub valid: Option<String>,
}

/// The table of Trigger.dev: one row for each execution snapshot.
const TRIGGER_DEV: &str = "\"TaskRunExecutionSnapshot\"";

impl Source {
    /// What it is, without names of it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Table(..) => "a table",
            Self::Query(..) => "a query",
            Self::TriggerDev => "execution snapshots of Trigger.dev",
        }
    }

    fn columns(&self) -> Columns {
        match self {
            Self::Table(_, columns) | Self::Query(_, columns) => columns.clone(),
            Self::TriggerDev => Columns {
                run: "runId".to_owned(),
                time: "createdAt".to_owned(),
                kind: Some("executionStatus".to_owned()),
                value: None,
                valid: Some("isValid".to_owned()),
            },
        }
    }

    /// What stands behind FROM.
    fn from(&self) -> String {
        match self {
            Self::Table(name, _) => name.clone(),
            Self::Query(sql, _) => format!("({})", sql.trim().trim_end_matches(';')),
            Self::TriggerDev => TRIGGER_DEV.to_owned(),
        }
    }
}

/// A column that is there.
struct Found {
    sql: String,
    of: Type,
}

/// The columns that the server says there are.
struct Known(Vec<(String, Type)>);

impl Known {
    fn find(&self, name: &str) -> Result<Found, CaptureError> {
        let found = self.0.iter().find(|(known, _)| known == name);
        let Some((_, of)) = found else {
            let names: Vec<&str> = self
                .0
                .iter()
                .take(30)
                .map(|(name, _)| name.as_str())
                .collect();
            return Err(CaptureError::Refused(format!(
                "there is no column {name:?}; there are {}",
                names.join(", ")
            )));
        };
        Ok(Found {
            sql: format!("q.{}", identifier(name)),
            of: of.clone(),
        })
    }
}

/// How a column says when.
struct Clock {
    sql: String,
    /// Microseconds of one of its units, where it holds numbers; `None` where it holds times.
    per_unit: Option<(i64, i64)>,
    /// Whether it holds dates alone, as which an instant would be cut off.
    dates: bool,
}

/// To which side an instant goes that the column cannot say.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Round {
    Down,
    Up,
}

impl Clock {
    fn of(column: Found, unit: Unit) -> Result<Self, CaptureError> {
        let dates = column.of == Type::DATE;
        let per_unit = match column.of {
            Type::TIMESTAMPTZ | Type::TIMESTAMP | Type::DATE => None,
            Type::INT2 | Type::INT4 | Type::INT8 | Type::NUMERIC | Type::FLOAT4 | Type::FLOAT8 => {
                Some(match unit {
                    Unit::Seconds => (1_000_000, 1),
                    Unit::Milliseconds => (1_000, 1),
                    Unit::Microseconds => (1, 1),
                    Unit::Nanoseconds => (1, 1_000),
                    Unit::Auto => {
                        return Err(CaptureError::Refused(format!(
                            "{} holds numbers: say with --unit whether they are s, ms, us or ns",
                            column.sql
                        )));
                    }
                })
            }
            other => {
                return Err(CaptureError::Refused(format!(
                    "{} is of type {other}, which is no time: cast it in a query",
                    column.sql
                )));
            }
        };
        Ok(Self {
            sql: column.sql,
            per_unit,
            dates,
        })
    }

    /// Microseconds since 1970; NULL where it says nothing.
    fn micros(&self) -> String {
        let sql = &self.sql;
        match self.per_unit {
            // Without a zone it is read as of UTC. Times without end are none.
            None => format!(
                "CASE WHEN isfinite({sql}) THEN floor(extract(epoch FROM {sql})::numeric * 1000000)::bigint END"
            ),
            Some((times, by)) => format!("floor({sql}::numeric * {times} / {by})::bigint"),
        }
    }

    /// An instant, as the column would say it: so that an index on it is of use.
    fn instant(&self, micros: i64, round: Round) -> String {
        match self.per_unit {
            None => {
                let instant = jiff::Timestamp::from_microsecond(micros).unwrap_or_default();
                let instant = literal(&instant.to_string());
                if self.dates {
                    format!("{instant}::timestamp")
                } else {
                    instant
                }
            }
            Some((times, by)) => {
                let (scaled, times) = (i128::from(micros) * i128::from(by), i128::from(times));
                let more = round == Round::Up && scaled.rem_euclid(times) != 0;
                (scaled.div_euclid(times) + i128::from(more)).to_string()
            }
        }
    }
}

/// The statement that reads the events: run, microseconds, kind, bytes, whether it counts. It asks for one row more than there may be.
pub(super) async fn select(
    client: &Client,
    reading: &Reading,
    most_rows: u64,
) -> Result<String, CaptureError> {
    let from = reading.source.from();
    let described = client
        .prepare(&format!("SELECT q.* FROM {from} q"))
        .await
        .map_err(CaptureError::server("looking at the columns"))?;
    let columns = described.columns().iter();
    let known = Known(
        columns
            .map(|column| (column.name().to_owned(), column.type_().clone()))
            .collect(),
    );
    statement(&from, &reading.source.columns(), &known, reading, most_rows)
}

fn statement(
    from: &str,
    columns: &Columns,
    known: &Known,
    reading: &Reading,
    most_rows: u64,
) -> Result<String, CaptureError> {
    let run = known.find(&columns.run)?.sql;
    let clock = Clock::of(known.find(&columns.time)?, reading.options.unit)?;
    let find = |name: &Option<String>| name.as_deref().map(|name| known.find(name)).transpose();
    let kind = find(&columns.kind)?.map_or("NULL".to_owned(), |kind| format!("{}::text", kind.sql));
    let value = find(&columns.value)?.map_or("NULL".to_owned(), |value| match value.of {
        Type::INT2 | Type::INT4 | Type::INT8 => value.sql,
        Type::BYTEA | Type::TEXT | Type::VARCHAR => format!("octet_length({})", value.sql),
        _ => format!("octet_length({}::text)", value.sql),
    });
    let valid = match find(&columns.valid)? {
        None => "true".to_owned(),
        Some(valid) if valid.of == Type::BOOL => valid.sql,
        Some(valid) => {
            let said = format!(
                "{} is of type {} and says not whether an event counts: it has to be boolean",
                valid.sql, valid.of
            );
            return Err(CaptureError::Refused(said));
        }
    };
    let (start, end) = reading.options.window;
    let start = start.map(|start| start.saturating_sub(reading.reach_back_micros));
    let mut within = Vec::new();
    // What is read on both sides of the window is cut off when the trace is made.
    let first = |start| format!("{} >= {}", clock.sql, clock.instant(start, Round::Down));
    let last = |end| format!("{} < {}", clock.sql, clock.instant(end, Round::Up));
    within.extend(start.map(first));
    within.extend(end.map(last));
    let within = if within.is_empty() {
        String::new()
    } else {
        format!(" WHERE {}", within.join(" AND "))
    };
    Ok(format!(
        "SELECT {run}::text, {}, {kind}, {value}, {valid} FROM {from} q{within} LIMIT {}",
        clock.micros(),
        most_rows.saturating_add(1)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bakeoff_trace::import::Options;

    fn known() -> Known {
        let columns = [
            ("run \"id\"", Type::UUID),
            ("at", Type::TIMESTAMPTZ),
            ("ms", Type::INT8),
            ("day", Type::DATE),
            ("status", Type::TEXT),
            ("state", Type::JSONB),
            ("ok", Type::BOOL),
        ];
        Known(columns.map(|(name, of)| (name.to_owned(), of)).to_vec())
    }

    fn made(change: impl FnOnce(&mut Columns, &mut Reading)) -> Result<String, String> {
        let mut columns = Columns {
            run: "run \"id\"".to_owned(),
            time: "at".to_owned(),
            kind: None,
            value: None,
            valid: None,
        };
        let mut reading = Reading {
            source: Source::TriggerDev,
            options: Options::default(),
            reach_back_micros: 0,
        };
        change(&mut columns, &mut reading);
        statement("log", &columns, &known(), &reading, 10).map_err(|error| error.to_string())
    }

    #[test]
    fn names_are_quoted_and_a_row_more_is_asked_for() {
        let sql = made(|_, _| {}).unwrap();
        assert!(
            sql.starts_with("SELECT q.\"run \"\"id\"\"\"::text, CASE WHEN isfinite(q.\"at\")"),
            "{sql}"
        );
        assert!(
            sql.ends_with("NULL, NULL, true FROM log q LIMIT 11"),
            "{sql}"
        );
    }

    #[test]
    fn the_window_is_said_as_the_column_says_its_times() {
        let window = |columns: &mut Columns, reading: &mut Reading| {
            columns.kind = Some("status".to_owned());
            columns.value = Some("state".to_owned());
            columns.valid = Some("ok".to_owned());
            reading.options.window = (Some(1_700_000_000_500_000), Some(1_700_000_060_000_000));
            reading.reach_back_micros = 1_500_000;
        };
        let sql = made(window).unwrap();
        assert!(
            sql.ends_with(
                "q.\"status\"::text, octet_length(q.\"state\"::text), q.\"ok\" FROM log q WHERE q.\"at\" >= '2023-11-14T22:13:19Z' \
                 AND q.\"at\" < '2023-11-14T22:14:20Z' LIMIT 11"
            ),
            "{sql}"
        );
        let sql = made(|columns, reading| {
            window(columns, reading);
            columns.time = "ms".to_owned();
            reading.options.unit = Unit::Milliseconds;
        })
        .unwrap();
        assert!(
            sql.contains("floor(q.\"ms\"::numeric * 1000 / 1)::bigint"),
            "{sql}"
        );
        assert!(
            sql.contains("q.\"ms\" >= 1699999999000 AND q.\"ms\" < 1700000060000"),
            "{sql}"
        );
    }

    /// A column of whole seconds has events of 14:20.5 at 14:20, and one of dates has those of a day at its beginning.
    #[test]
    fn the_end_of_a_window_is_rounded_up() {
        let until = |time: &str, unit: Unit, end: i64| {
            made(|columns, reading| {
                columns.time = time.to_owned();
                reading.options.unit = unit;
                reading.options.window = (Some(1_700_000_000_500_000), Some(end));
            })
            .unwrap()
        };
        for (time, unit, end, said) in [
            (
                "ms",
                Unit::Seconds,
                1_700_000_060_500_000,
                "q.\"ms\" >= 1700000000 AND q.\"ms\" < 1700000061 ",
            ),
            (
                "ms",
                Unit::Seconds,
                1_700_000_060_000_000,
                "q.\"ms\" >= 1700000000 AND q.\"ms\" < 1700000060 ",
            ),
            (
                "ms",
                Unit::Nanoseconds,
                1_700_000_060_000_001,
                "< 1700000060000001000 ",
            ),
            // Before 1970 up is towards it.
            ("ms", Unit::Seconds, -1_500_000, "< -1 "),
            (
                "day",
                Unit::Auto,
                1_700_000_060_000_000,
                "q.\"day\" < '2023-11-14T22:14:20Z'::timestamp ",
            ),
        ] {
            let sql = until(time, unit, end);
            assert!(sql.contains(said), "{sql}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        for (change, said) in [
            (
                ("when", None),
                "there is no column \"when\"; there are run \"id\", at, ms, day",
            ),
            (
                ("ms", None),
                "say with --unit whether they are s, ms, us or ns",
            ),
            (
                ("status", None),
                "is of type text, which is no time: cast it",
            ),
            (
                ("at", Some("status")),
                "says not whether an event counts: it has to be boolean",
            ),
        ] {
            let (time, valid): (&str, Option<&str>) = change;
            let refused = made(|columns, _| {
                columns.time = time.to_owned();
                columns.valid = valid.map(str::to_owned);
            });
            assert!(refused.clone().unwrap_err().contains(said), "{refused:?}");
        }
    }
}
