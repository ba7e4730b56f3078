//! What the null server answers to which statement. (Pure.)

use bakeoff_crds::names;

use Column::{Bool, Enough, Float8, Int4, Int8, Process, Text};

/// A column of a row, by what stands in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Bool,
    Int4,
    Int8,
    Float8,
    Text,
    /// As much as anybody needs: of what there is a limit.
    Enough,
    /// Which process answers this connection.
    Process,
}

impl Column {
    /// The type, by its object id in `pg_type`.
    pub(super) fn oid(self) -> u32 {
        match self {
            Self::Bool => 16,
            Self::Int8 | Self::Enough => 20,
            Self::Int4 | Self::Process => 23,
            Self::Text => 25,
            Self::Float8 => 701,
        }
    }

    fn number(self, process: i32) -> i32 {
        match self {
            Self::Enough => 1_000_000,
            Self::Process => process,
            _ => 0,
        }
    }

    pub(super) fn binary(self, process: i32) -> Vec<u8> {
        let number = self.number(process);
        match self {
            Self::Bool => vec![0],
            Self::Text => Vec::new(),
            Self::Int4 | Self::Process => number.to_be_bytes().to_vec(),
            Self::Int8 | Self::Enough => i64::from(number).to_be_bytes().to_vec(),
            Self::Float8 => f64::from(number).to_be_bytes().to_vec(),
        }
    }

    pub(super) fn text(self, process: i32) -> Vec<u8> {
        match self {
            Self::Bool => b"f".to_vec(),
            Self::Text => Vec::new(),
            _ => self.number(process).to_string().into_bytes(),
        }
    }
}

/// What a statement is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// A command tag and no rows.
    Tag(&'static str),
    /// So many rows of these columns.
    Rows {
        columns: &'static [Column],
        rows: u8,
    },
    /// COPY from the client.
    CopyIn,
    /// Not known here.
    Refused,
}

/// The queries by which the instrument observes a server: a word that only that query has (the first that fits counts), and its
/// columns. Tests run them all: a trial, and a run with all that is asked before and after it.
const KNOWN: [(&str, Answer); 22] = [
    ("set_config", rows(&[Text], 0)),
    ("pg_is_in_recovery", rows(&[Bool, Bool], 1)),
    // No commit waits for a standby.
    ("'synchronous_standby_names'", rows(&[Text], 0)),
    ("pg_extension", rows(&[Text, Bool, Bool], 0)),
    ("pg_available_extensions", rows(&[Int4], 1)),
    // All sessions that were to end are gone.
    ("pg_terminate_backend", rows(&[Bool], 0)),
    // It has no log to read.
    (names::SERVER_LOG_SETTING, rows(&[Text], 0)),
    // There is no schema of a run.
    ("'pg_namespace'", rows(&[Text], 0)),
    ("obj_description", rows(&[Text], 1)),
    ("pg_reload_conf", rows(&[Bool], 1)),
    ("SELECT run_id, seq FROM", rows(&[Int8, Int4], 0)),
    ("pg_total_relation_size", rows(&[Int8], 1)),
    ("SELECT count(*) FROM bakeoff.runs", rows(&[Int8], 1)),
    ("SELECT 1 FROM bakeoff.runs", rows(&[Int4], 1)),
    ("'server_version_num'", rows(&[Int4], 1)),
    ("pg_settings", rows(&[Text, Text], 0)),
    ("'server_version'", rows(&[Text], 1)),
    ("pg_postmaster_start_time", rows(&[Float8], 1)),
    (
        "pgstattuple(",
        rows(&[Int8, Int8, Int8, Int8, Int8, Float8, Float8], 1),
    ),
    (
        "pg_stat_user_tables",
        rows(
            &[
                Int8, Int8, Int8, Int8, Int8, Int8, Int8, Int8, Int8, Int8, Int8, Int8, Int8, Int8,
                Int8, Int8, Int8, Int8, Int8, Int8, Int8, Bool,
            ],
            1,
        ),
    ),
    // The rights of the user and what connections there are.
    (
        "'max_connections'",
        rows(
            &[
                Text, Bool, Bool, Bool, Bool, Enough, Int8, Int8, Enough, Enough, Int8, Int8, Int8,
            ],
            1,
        ),
    ),
    // Last, for many a query leaves out its own process.
    ("pg_backend_pid", rows(&[Process], 1)),
];

const fn rows(columns: &'static [Column], rows: u8) -> Answer {
    Answer::Rows { columns, rows }
}

/// The answer to a statement, or to the last of several of a simple query.
pub(super) fn answer(sql: &str) -> Answer {
    let sql = sql.rsplit("; ").next().unwrap_or(sql);
    let word = sql.split_whitespace().next().unwrap_or("");
    let starts = |with: &str| word.eq_ignore_ascii_case(with);
    if starts("select") || starts("with") {
        let known = KNOWN.iter().find(|(mark, _)| sql.contains(mark));
        return known.map_or(Answer::Refused, |(_, answer)| *answer);
    }
    for (verb, tag) in [
        ("insert", "INSERT 0 1"),
        ("update", "UPDATE 1"),
        ("delete", "DELETE 1"),
    ] {
        if starts(verb) {
            return Answer::Tag(tag);
        }
    }
    if starts("copy") {
        return Answer::CopyIn;
    }
    Answer::Tag("OK")
}
