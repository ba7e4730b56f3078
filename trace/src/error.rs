//! What can go wrong with a trace, in words that say where and what to do.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::reason::Reason;

/// A place in an input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The line, from 1.
    pub line: u64,
    /// The byte, from 0.
    pub byte: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, byte {}", self.line, self.byte)
    }
}

/// Why a trace cannot be read, written, imported or planned.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or a stream does not do what is asked of it.
    #[error("{what}: {source}")]
    Io {
        /// What was done, and to which file.
        what: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The input cannot be read as what it is said to be.
    #[error("{place}: {problem}")]
    Input {
        /// Where.
        place: Place,
        /// What is wrong there, and what to do.
        problem: String,
    },
    /// The events do not make up runs.
    #[error("line {line}: {reason}; repair by clamp or by drop takes it")]
    Grammar {
        /// The line of the event in its input, from 1.
        line: u64,
        /// What is wrong.
        reason: Reason,
    },
    /// `trace.json` contradicts itself, or the events.
    #[error("trace.json: {0}")]
    Manifest(String),
    /// The events are not those that `trace.json` was written with.
    #[error(
        "events.csv.gz has sha256 {found}, trace.json says {stated}: the file was changed or cut off"
    )]
    Changed {
        /// By `trace.json`.
        stated: String,
        /// Of the file.
        found: String,
    },
    /// There is a trace in the folder already.
    #[error("{0} exists: name a folder without a trace")]
    Exists(PathBuf),
    /// What was asked for makes no sense.
    #[error("{0}")]
    Options(String),
    /// The input holds no event.
    #[error("the input holds no event: {0}")]
    Empty(String),
}

impl Error {
    pub(crate) fn file(what: &str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let what = format!("{what} {}", path.display());
        move |source| Self::Io { what, source }
    }

    pub(crate) fn io(what: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io {
            what: what.to_owned(),
            source,
        }
    }

    pub(crate) fn input(place: Place, problem: impl Into<String>) -> Self {
        Self::Input {
            place,
            problem: problem.into(),
        }
    }
}

/// Finds what a word of a command line means.
pub(crate) fn named<T: Copy>(what: &str, text: &str, names: &[(&str, T)]) -> Result<T, Error> {
    let found = names.iter().find(|(name, _)| *name == text);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<_> = names.iter().map(|(name, _)| *name).collect();
        Error::Options(format!(
            "there is no {what} {text:?}; there are {}",
            names.join(", ")
        ))
    })
}
