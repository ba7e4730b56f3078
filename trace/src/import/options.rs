//! What is to be known of an input that it does not say itself.

use super::Format;
use crate::builder::{Settings, What};
use crate::error::{Error, named};
use crate::grammar::Repair;
use crate::time::Unit;

/// When a run counts as completed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ends {
    /// Where the input says so.
    #[default]
    Stated,
    /// By its last event, whatever that is.
    Last,
    /// Never.
    Never,
}

impl std::str::FromStr for Ends {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        named(
            "way to end",
            text,
            &[
                ("stated", Self::Stated),
                ("last", Self::Last),
                ("never", Self::Never),
            ],
        )
    }
}

/// Where a table or an object has what is looked for: the name of a column, or a path of keys with dots between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    /// What tells one run from another.
    pub run: String,
    /// When.
    pub time: String,
    /// What happened, if that is said.
    pub kind: Option<String>,
    /// Bytes of the state, if that is said.
    pub value: Option<String>,
}

impl Default for Fields {
    fn default() -> Self {
        Self {
            run: "run".to_owned(),
            time: "time".to_owned(),
            kind: None,
            value: None,
        }
    }
}

/// How an input is read. The default suits CloudEvents, OTLP, Temporal and XES, which say themselves what is what.
#[derive(Clone, Debug)]
pub struct Options {
    /// Of `csv` and `jsonl`.
    pub fields: Fields,
    /// Between the columns of `csv`.
    pub separator: u8,
    /// What a bare number is that stands for a time.
    pub unit: Unit,
    /// Words of the kind that mean a creation. Where none are named, the first event of a run created it.
    pub created: Vec<String>,
    /// Words of the kind that mean a completion. Where none are named, the last event of a run completed it if its kind is one
    /// of the usual words, see [`Options::what`].
    pub done: Vec<String>,
    /// When a run counts as completed.
    pub ends: Ends,
    /// What is done about events that do not fit.
    pub repair: Option<Repair>,
    /// From when to before when is kept, in microseconds since 1970.
    pub window: (Option<i64>, Option<i64>),
}

impl Default for Options {
    fn default() -> Self {
        Self {
            fields: Fields::default(),
            separator: b',',
            unit: Unit::default(),
            created: Vec::new(),
            done: Vec::new(),
            ends: Ends::default(),
            repair: None,
            window: (None, None),
        }
    }
}

/// What systems call the end of a run.
const USUAL_ENDS: [&str; 11] = [
    "d",
    "done",
    "completed",
    "complete",
    "finished",
    "succeeded",
    "failed",
    "cancelled",
    "canceled",
    "terminated",
    "deleted",
];

/// Whether a kind is this word, or ends with it after a point, a slash or the like: `com.example.run.completed`.
fn is_word(kind: &str, word: &str) -> bool {
    let last = kind.rsplit(['.', '/', ':', '#']).next().unwrap_or(kind);
    kind == word || last.eq_ignore_ascii_case(word)
}

impl Options {
    /// What an event of this kind is to its run.
    #[must_use]
    pub fn what(&self, kind: Option<&str>) -> What {
        let kind = kind.unwrap_or_default().trim();
        let named = |words: &[String]| words.iter().any(|word| is_word(kind, word));
        if named(&self.created) {
            return What::Created;
        }
        match self.ends {
            Ends::Never => What::Unknown { ends: false },
            Ends::Last => What::Unknown { ends: true },
            Ends::Stated if named(&self.done) => What::Done,
            Ends::Stated => What::Unknown {
                ends: self.done.is_empty() && USUAL_ENDS.iter().any(|word| is_word(kind, word)),
            },
        }
    }

    pub(super) fn settings(&self) -> Settings {
        Settings {
            repair: self.repair,
            window: self.window,
            ..Settings::default()
        }
    }

    /// How a trace was made, in words, without names of the source.
    pub(super) fn method(&self, format: Format) -> String {
        let ends = match self.ends {
            Ends::Stated if self.done.is_empty() => "runs end where the input says so",
            Ends::Stated => "runs end at words that were named",
            Ends::Last => "runs end with their last event",
            Ends::Never => "runs do not end",
        };
        let repair = match self.repair {
            None => "no repair",
            Some(Repair::Clamp) => "repair by clamp",
            Some(Repair::Drop) => "repair by drop",
        };
        format!("import of {}; {ends}; {repair}", format.name())
    }
}

/// Bytes of a state, as text; empty where nothing is said.
pub(super) fn value(text: Option<&str>) -> Result<Option<u32>, crate::grammar::Reason> {
    match text.map(str::trim) {
        None | Some("") => Ok(None),
        Some(text) => text
            .parse()
            .map(Some)
            .map_err(|_| crate::grammar::Reason::BadValue),
    }
}
