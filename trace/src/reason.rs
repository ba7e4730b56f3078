//! Why an event does not fit among those of runs.

use std::fmt;

/// Why an event does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// It is earlier than the event before it.
    TimeRunsBackwards,
    /// Its run was created already, or was open at the start.
    CreatedTwice,
    /// Its run does not exist (yet).
    UnknownRun,
    /// Its run has ended.
    AfterTheEnd,
    /// A run that is open at the start does not come at time 0, before all that happens.
    OpenLate,
    /// A new run does not have the next number.
    NotDense,
    /// It has no time, or one that cannot be read.
    NoTime,
    /// It says not which run it is of.
    NoRun,
    /// It lies more than 3000 years after the start of the recording.
    TooLate,
    /// It has a value that is no number of bytes, or none where a run is open at the start.
    BadValue,
    /// It lies outside the window that was asked for.
    OutsideWindow,
    /// The source itself says that it does not count.
    MarkedInvalid,
    /// The row of a run was removed, and what ends a run there is a word.
    RowRemoved,
}

impl Reason {
    /// The name under which it is counted.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TimeRunsBackwards => "timeRunsBackwards",
            Self::CreatedTwice => "createdTwice",
            Self::UnknownRun => "unknownRun",
            Self::AfterTheEnd => "afterTheEnd",
            Self::OpenLate => "openLate",
            Self::NotDense => "notDense",
            Self::NoTime => "noTime",
            Self::NoRun => "noRun",
            Self::TooLate => "tooLate",
            Self::BadValue => "badValue",
            Self::OutsideWindow => "outsideWindow",
            Self::MarkedInvalid => "markedInvalid",
            Self::RowRemoved => "rowRemoved",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TimeRunsBackwards => "the event is earlier than the one before it",
            Self::CreatedTwice => "its run was there already and is created again",
            Self::UnknownRun => "its run was neither created nor open at the start",
            Self::AfterTheEnd => "its run has ended before",
            Self::OpenLate => {
                "a run that is open at the start comes at time 0, before all that happens"
            }
            Self::NotDense => "a new run takes the next number, which this one does not",
            Self::NoTime => "the event has no time that can be read",
            Self::NoRun => "the event says not which run it is of",
            Self::TooLate => "the event comes more than 3000 years after the start",
            Self::BadValue => "the value is no number below 4294967296, or a run that is open at the start has none",
            Self::OutsideWindow => "the event lies outside the window",
            Self::MarkedInvalid => "the source marks the event as one that does not count",
            Self::RowRemoved => "the row of the run was removed, which is not what ends a run here",
        })
    }
}
