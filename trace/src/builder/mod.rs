//! Makes a trace of events that come in any order.
//!
//! Two sorts on disk: by run, where it is decided what each event is to its run, and by time, where runs get their numbers.
//! Keys of runs are digested as they come in; nothing of them is kept.

mod record;
mod runs;

use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::error::{Error, Place};
use crate::format::{Event, Kind, Manifest, Source};
use crate::grammar::{Reason, Repair, Repairs};
use crate::sort::{Sorter, temporary};
use crate::writer::{Description, Writer};
use record::{ByRun, ByTime};
use runs::Runs;

/// Memory of a sort, by default.
pub const SORT_BYTES: usize = 48 << 20;

/// What an importer knows of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The run was created.
    Created,
    /// The run moved. Where this is its first event it was open at the start.
    Transition,
    /// The run was completed.
    Done,
    /// The run is there, and that is no event: to be told of a time before the window.
    There,
    /// The run is over, and that is no event: to be told of a time before the window, so that what is said of the run later is
    /// not taken for the first that it does.
    Over,
    /// Nothing is said: the first event of a run created it. The last one completed it if `ends` holds for that event, else
    /// the run stays open.
    Unknown {
        /// Whether the run is over if nothing comes after.
        ends: bool,
    },
}

/// An event as an importer finds it.
#[derive(Clone, Copy, Debug)]
pub struct Raw<'a> {
    /// Whatever tells one run from another.
    pub run: &'a [u8],
    /// Microseconds since 1970.
    pub at_micros: i64,
    /// The place within its run where the source numbers its events; without it the time says, and the order of the input
    /// where times are equal.
    pub order: Option<u64>,
    /// What happened.
    pub what: What,
    /// Bytes of the state.
    pub value: Option<u32>,
    /// Where it stands in the input.
    pub place: Place,
}

/// How a trace is made.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What is done about events that do not fit.
    pub repair: Option<Repair>,
    /// Whether events are changes of rows. Then a key that is created after its end is that of another run, as where a row is
    /// removed and inserted again; and an end that is said once more, as where the row of a run that has ended is touched, is
    /// left out and counted.
    pub of_rows: bool,
    /// From when to before when is kept, in microseconds since 1970. Runs that were there before are open at the start.
    pub window: (Option<i64>, Option<i64>),
    /// Memory of a sort, in bytes.
    pub sort_bytes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            repair: None,
            of_rows: false,
            window: (None, None),
            sort_bytes: SORT_BYTES,
        }
    }
}

/// Takes events in any order.
pub struct Builder {
    settings: Settings,
    scratch: std::path::PathBuf,
    by_run: Sorter<ByRun>,
    events: u64,
    repairs: Repairs,
    earliest: i64,
    latest: i64,
}

impl Builder {
    /// Whether a folder takes temporary files: to be asked before anything is read that nobody can read again.
    ///
    /// # Errors
    /// None can be made in it.
    pub fn may_sort_in(scratch: &Path) -> Result<(), Error> {
        temporary(scratch).map(drop)
    }

    /// Sorts in a folder for temporary files.
    #[must_use]
    pub fn new(scratch: &Path, settings: Settings) -> Self {
        Self {
            by_run: Sorter::new(scratch, settings.sort_bytes),
            scratch: scratch.to_owned(),
            settings,
            events: 0,
            repairs: Repairs::default(),
            earliest: i64::MAX,
            latest: i64::MIN,
        }
    }

    /// Takes an event.
    ///
    /// # Errors
    /// A temporary file cannot be written.
    pub fn push(&mut self, raw: Raw<'_>) -> Result<(), Error> {
        if self
            .settings
            .window
            .1
            .is_some_and(|end| raw.at_micros >= end)
        {
            self.repairs.drop(Reason::OutsideWindow);
            return Ok(());
        }
        self.earliest = self.earliest.min(raw.at_micros);
        self.latest = self.latest.max(raw.at_micros);
        // Sequence 0 is before all events of the input.
        self.events += 1;
        let mut key = [0; 16];
        let digest = Sha256::digest(raw.run);
        key.copy_from_slice(&digest[..16]);
        self.by_run.push(ByRun {
            run: u128::from_be_bytes(key),
            // Times before 1970 come first as well.
            order: raw.order.unwrap_or((raw.at_micros as u64) ^ (1 << 63)),
            sequence: self.events,
            at: raw.at_micros,
            line: raw.place.line,
            value: raw.value,
            what: raw.what.into(),
        })
    }

    /// An event that an importer could not make sense of.
    ///
    /// # Errors
    /// No repair was asked for. Neither kind of repair can do more than leave it out.
    pub fn misfit(&mut self, place: Place, reason: Reason, found: &str) -> Result<(), Error> {
        if self.settings.repair.is_none() {
            let found = if found.is_empty() {
                String::new()
            } else {
                format!(" ({found})")
            };
            return Err(Error::input(
                place,
                format!("{reason}{found}; repair by drop leaves such events out"),
            ));
        }
        self.repairs.drop(reason);
        Ok(())
    }

    /// The recording ended here, before its window does, or with its last event where that is later.
    pub fn end_early(&mut self, at_micros: i64) {
        self.settings.window.1 = Some(at_micros.max(self.latest.saturating_add(1)));
    }

    /// From when on events are kept, where that was said.
    #[must_use]
    pub fn earliest_kept(&self) -> Option<i64> {
        self.settings.window.0
    }

    /// An event that is left out by right, whether a repair was asked for or not.
    pub fn leave_out(&mut self, reason: Reason) {
        self.repairs.drop(reason);
    }

    /// How many events were taken.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Writes the trace into a folder.
    ///
    /// # Errors
    /// Events do not fit and no repair was asked for, there are none, or a file cannot be written.
    pub fn finish(self, folder: &Path, source: Source, method: String) -> Result<Manifest, Error> {
        let (from, to) = self.settings.window;
        let none = || Error::Empty("no event was found, or none within the window".to_owned());
        if self.events == 0 {
            return Err(none());
        }
        let start = from.unwrap_or(self.earliest);
        if to.is_some_and(|to| to <= start) {
            return Err(Error::Options(
                "the window ends before it begins".to_owned(),
            ));
        }
        let mut by_time = Sorter::new(&self.scratch, self.settings.sort_bytes);
        let mut runs = Runs::new(start, &self.settings, self.repairs);
        for record in self.by_run.finish()? {
            runs.push(record?, &mut by_time)?;
        }
        let (repairs, lines) = runs.finish(&mut by_time)?;
        if lines == 0 {
            return Err(none());
        }
        let mut writer = Writer::create(folder)?;
        let mut numbers = std::collections::HashMap::new();
        let mut next = 0_u32;
        for record in by_time.finish()? {
            let ByTime {
                at_micros,
                run,
                kind,
                value,
                ..
            } = record?;
            let number = match (kind, numbers.get(&run)) {
                (Kind::Open | Kind::Created, _) => {
                    let number = next;
                    next = next.wrapping_add(1);
                    numbers.insert(run, number);
                    number
                }
                (Kind::Done, _) => numbers.remove(&run).unwrap_or(u32::MAX),
                (Kind::Transition, number) => number.copied().unwrap_or(u32::MAX),
            };
            writer.push(Event {
                at_micros,
                run: number,
                kind,
                value,
            })?;
        }
        let description = Description {
            source,
            method,
            started_at: jiff::Timestamp::from_microsecond(start)
                .ok()
                .map(|start| start.to_string()),
            span_micros: to.and_then(|to| u64::try_from(to.saturating_sub(start)).ok()),
        };
        writer.finish(description, &repairs)
    }
}

#[cfg(test)]
mod tests;
