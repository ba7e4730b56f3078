//! What the null server answers to which statement. (Pure.)

use bakeoff_crds::names;

/// Types of columns and parameters, by their object id in `pg_type`.
pub(super) const BOOL: u32 = 16;
pub(super) const INT8: u32 = 20;
pub(super) const INT4: u32 = 23;
pub(super) const TEXT: u32 = 25;
pub(super) const FLOAT8: u32 = 701;

/// What a statement is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// A command tag and no rows.
    Tag(&'static str),
    /// `rows` rows of zeros, with columns of these types.
    Rows { columns: &'static [u32], rows: u8 },
    /// COPY from the client.
    CopyIn,
    /// Not known here.
    Refused,
}

/// The queries by which the instrument observes a server: a word that only that query has, and its
/// columns. They are in `pg::observe` and in the workloads; tests run them all.
const KNOWN: [(&str, Answer); 15] = [
    ("set_config", rows(&[TEXT], 0)),
    ("pg_is_in_recovery", rows(&[BOOL, BOOL], 1)),
    ("pg_extension", rows(&[TEXT, BOOL, BOOL], 0)),
    ("pg_terminate_backend", rows(&[BOOL], 0)),
    // It has no log to read.
    (names::SERVER_LOG_SETTING, rows(&[TEXT], 0)),
    ("obj_description", rows(&[TEXT], 1)),
    ("pg_reload_conf", rows(&[BOOL], 1)),
    ("SELECT run_id, seq FROM", rows(&[INT8, INT4], 0)),
    ("SELECT count(*) FROM bakeoff.runs", rows(&[INT8], 1)),
    ("'server_version_num'", rows(&[INT4], 1)),
    ("pg_settings", rows(&[TEXT, TEXT], 0)),
    ("'server_version'", rows(&[TEXT], 1)),
    ("pg_postmaster_start_time", rows(&[FLOAT8], 1)),
    (
        "pgstattuple(",
        rows(&[INT8, INT8, INT8, INT8, INT8, FLOAT8, FLOAT8], 1),
    ),
    (
        "pg_stat_user_tables",
        rows(
            &[
                INT8, INT8, INT8, INT8, INT8, INT8, INT8, INT8, INT8, INT8, INT8, INT8, INT8, INT8,
                INT8, INT8, INT8, INT8, INT8, INT8, INT8, BOOL,
            ],
            1,
        ),
    ),
];

const fn rows(columns: &'static [u32], rows: u8) -> Answer {
    Answer::Rows { columns, rows }
}

/// The answer to a statement, or to several of a simple query.
pub(super) fn answer(sql: &str) -> Answer {
    let word = sql.split_whitespace().next().unwrap_or("");
    let starts = |with: &str| word.eq_ignore_ascii_case(with);
    if starts("select") {
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
