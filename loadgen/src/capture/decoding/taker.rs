//! Makes events of changes, and of the rows that are there at the start. (Pure, but for the files in which is sorted.)

use std::collections::HashSet;

use bakeoff_trace::builder::{Builder, Raw, What};
use bakeoff_trace::import::Options;
use bakeoff_trace::{Place, Reason};

use crate::capture::CaptureError;
use crate::capture::pgoutput::{Act, Change, Decoder};
use crate::capture::rows::what;

/// Makes events of changes.
pub(super) struct Taker<'a> {
    pub builder: Builder,
    decoder: Decoder,
    options: &'a Options,
    /// When the recording began, microseconds since 1970.
    start: i64,
    /// The runs that changed, while they are of interest.
    seen: Option<HashSet<Vec<u8>>>,
    /// Events so far.
    number: u64,
}

impl<'a> Taker<'a> {
    pub fn new(builder: Builder, decoder: Decoder, options: &'a Options, start: i64) -> Self {
        Self {
            builder,
            decoder,
            options,
            start,
            seen: None,
            number: 0,
        }
    }

    /// When the last transaction was committed that was taken, microseconds since 1970.
    pub fn committed(&self) -> i64 {
        self.decoder.committed()
    }

    /// Takes a message.
    pub fn take(&mut self, message: &[u8]) -> Result<(), CaptureError> {
        let mut changes = Vec::new();
        let taken = self.decoder.take(message, |change| changes.push(change));
        taken.map_err(|error| CaptureError::Refused(error.to_string()))?;
        for change in changes {
            self.event(change)?;
        }
        Ok(())
    }

    /// Remembers from now on which runs change.
    pub fn watch(&mut self) {
        self.seen = Some(HashSet::new());
    }

    /// Does not remember any more which runs change.
    pub fn watched(&mut self) {
        self.seen = None;
    }

    /// Takes a row that is there at the start: its run, and the word that says how far that is, where one does. What a run did
    /// while it was watched speaks for itself.
    pub fn row(&mut self, run: Option<&[u8]>, word: Option<&str>) -> Result<(), CaptureError> {
        let Some(run) = run else {
            self.builder.leave_out(Reason::NoRun);
            return Ok(());
        };
        if self.seen.as_ref().is_some_and(|seen| seen.contains(run)) {
            return Ok(());
        }
        let over = self.ends(word);
        self.number += 1;
        self.builder.push(Raw {
            run,
            at_micros: self.start - 1,
            order: Some(0),
            what: if over { What::Over } else { What::There },
            value: None,
            place: place(self.number),
        })?;
        Ok(())
    }

    /// Whether a word ends a run.
    fn ends(&self, word: Option<&str>) -> bool {
        let words = !self.options.done.is_empty();
        words && word.is_some_and(|word| what(self.options, word) == What::Done)
    }

    fn event(&mut self, change: Change) -> Result<(), CaptureError> {
        if change.act == Act::Delete && !self.options.done.is_empty() {
            self.builder.leave_out(Reason::RowRemoved);
            return Ok(());
        }
        let Some(run) = change.run else {
            self.builder.leave_out(Reason::NoRun);
            return Ok(());
        };
        let ends = self.ends(change.kind.as_deref());
        let (first, then) = match change.act {
            // One that is over as soon as it is there.
            Act::Insert => (What::Created, ends.then_some(What::Done)),
            Act::Update if ends => (What::Done, None),
            Act::Update => (What::Transition, None),
            Act::Delete => (What::Done, None),
        };
        self.push(&run, change.at_micros, first, change.value)?;
        if let Some(then) = then {
            self.push(&run, change.at_micros, then, None)?;
        }
        if let Some(seen) = &mut self.seen {
            seen.insert(run);
        }
        Ok(())
    }

    fn push(
        &mut self,
        run: &[u8],
        at_micros: i64,
        what: What,
        value: Option<u32>,
    ) -> Result<(), CaptureError> {
        self.number += 1;
        self.builder.push(Raw {
            run,
            at_micros,
            order: Some(self.number),
            what,
            value,
            place: place(self.number),
        })?;
        Ok(())
    }
}

fn place(line: u64) -> Place {
    Place { line, byte: 0 }
}
