//! Passages through a recording.

use std::io::{Read, Seek};
use std::sync::Arc;

use super::blocks::Blocks;
use super::{OpenSet, Position, apply};
use crate::{Error, Event};

/// One passage from the beginning, which knows the runs that are open where it stands.
#[derive(Default)]
pub(super) struct Passage {
    /// The event that comes next.
    pub(super) next: u64,
    pub(super) open: OpenSet,
    block: Option<(Arc<[Event]>, usize)>,
}

impl Passage {
    /// Goes on to where a copy stands: past all events before that moment. Positions come in the order of their places.
    pub(super) fn advance<R: Read + Seek>(
        &mut self,
        position: &Position,
        blocks: &mut Blocks<R>,
    ) -> Result<(), Error> {
        let counts = blocks.manifest().counts;
        // A copy that begins at the beginning begins with the runs that are open there; it is not to put them in.
        let least = if position.lap == 0 { counts.open } else { 0 };
        self.pass(blocks, |next, event| {
            next < least || event.at_micros < position.at_micros
        })
    }

    fn pass<R: Read + Seek>(
        &mut self,
        blocks: &mut Blocks<R>,
        past: impl Fn(u64, &Event) -> bool,
    ) -> Result<(), Error> {
        let lines = blocks.manifest().counts.lines();
        while self.next < lines {
            let (block, place) = match self.block.take() {
                Some((block, place)) if place < block.len() => (block, place),
                _ => blocks.of(self.next)?,
            };
            let mut passed = place;
            while let Some(event) = block.get(passed).filter(|event| past(self.next, event)) {
                apply(&mut self.open, event);
                passed += 1;
                self.next += 1;
            }
            let stopped = passed < block.len();
            self.block = Some((block, passed));
            if stopped {
                break;
            }
        }
        Ok(())
    }
}

/// Where a copy is, with what it will do next.
pub(super) struct Cursor {
    pub(super) lap: u64,
    pub(super) open: OpenSet,
    /// The event after those that were read ahead.
    next: u64,
    ahead: Vec<Event>,
    place: usize,
}

impl Cursor {
    pub(super) fn new(lap: u64, passage: &Passage) -> Self {
        Self {
            lap,
            open: passage.open.clone(),
            next: passage.next,
            ahead: Vec::new(),
            place: 0,
        }
    }

    /// The event that comes next, in the lap that it is of. Reads ahead by at most so many.
    pub(super) fn peek<R: Read + Seek>(
        &mut self,
        ahead: usize,
        blocks: &mut Blocks<R>,
    ) -> Result<Event, Error> {
        loop {
            if let Some(event) = self.ahead.get(self.place) {
                return Ok(*event);
            }
            if self.next >= blocks.manifest().counts.lines() {
                self.lap = self.lap.saturating_add(1);
                self.next = 0;
                // What is still open goes on as what is open at the start, if it does.
                self.open.clear();
            }
            let (block, from) = blocks.of(self.next)?;
            let to = block.len().min(from + ahead);
            self.ahead.clear();
            self.ahead
                .extend_from_slice(block.get(from..to).unwrap_or_default());
            self.place = 0;
            if self.ahead.is_empty() {
                return Err(Error::Manifest(
                    "restartPoints are not those of the events".to_owned(),
                ));
            }
            self.next += self.ahead.len() as u64;
        }
    }

    /// Goes past the event that [`Cursor::peek`] gave; the sequence number of its run afterwards.
    pub(super) fn pass(&mut self, event: &Event) -> u32 {
        self.place += 1;
        apply(&mut self.open, event)
    }
}
