//! What is due from one moment to another.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{Read, Seek};

use super::cursor::{Cursor, Passage};
use super::{Plan, Planned};
use crate::format::Kind;
use crate::{Error, Event};

/// Memory for what all copies read ahead.
const AHEAD_BYTES: usize = 32 << 20;

/// Events in the order in which they are due. Ends after its first error.
pub struct Window<'a, R> {
    plan: &'a mut Plan<R>,
    cursors: Vec<Cursor>,
    /// What each copy does next: microseconds of the recording since the start, and the copy.
    next: BinaryHeap<Reverse<(u128, u32)>>,
    /// The first microsecond of the recording that is due too late.
    end: u128,
    ahead: usize,
}

impl<'a, R: Read + Seek> Window<'a, R> {
    pub(super) fn new(
        plan: &'a mut Plan<R>,
        from_nanos: u64,
        to_nanos: u64,
    ) -> Result<Self, Error> {
        let speed = plan.options.speed;
        let copies = plan.options.copies as usize;
        let mut window = Self {
            cursors: Vec::new(),
            next: BinaryHeap::new(),
            end: speed.elapsed_micros(to_nanos.max(from_nanos)),
            ahead: (AHEAD_BYTES / size_of::<Event>() / copies).clamp(16, 8_192),
            plan,
        };
        // With sleepers alone nothing is ever due.
        if window.plan.manifest().counts.events() == 0 {
            return Ok(window);
        }
        let mut cursors: Vec<Option<Cursor>> = Vec::new();
        cursors.resize_with(copies, || None);
        let mut passage = Passage::default();
        for position in window.plan.positions(speed.elapsed_micros(from_nanos)) {
            passage.advance(&position, &mut window.plan.blocks)?;
            cursors[position.copy as usize] = Some(Cursor::new(position.lap, &passage));
        }
        window.cursors = cursors.into_iter().flatten().collect();
        for copy in 0..window.plan.options.copies {
            window.queue(copy)?;
        }
        Ok(window)
    }

    /// Moves the end to a later moment, and goes on where it was: for segments that follow each other, of which none but the
    /// first reads the recording from its beginning.
    pub fn extend(&mut self, to_nanos: u64) {
        self.end = self
            .end
            .max(self.plan.options.speed.elapsed_micros(to_nanos));
    }

    /// Queues what a copy does next.
    fn queue(&mut self, copy: u32) -> Result<(), Error> {
        let cursor = &mut self.cursors[copy as usize];
        let event = cursor.peek(self.ahead, &mut self.plan.blocks)?;
        let place =
            u128::from(cursor.lap) * u128::from(self.plan.span()) + u128::from(event.at_micros);
        let elapsed = place.saturating_sub(u128::from(self.plan.shift(copy)));
        self.next.push(Reverse((elapsed, copy)));
        Ok(())
    }

    fn read(&mut self) -> Result<Option<Planned>, Error> {
        while let Some(Reverse((elapsed, copy))) = self.next.peek().copied() {
            if elapsed >= self.end {
                break;
            }
            self.next.pop();
            let cursor = &mut self.cursors[copy as usize];
            let event = cursor.peek(self.ahead, &mut self.plan.blocks)?;
            let lap = cursor.lap;
            let seq = cursor.pass(&event);
            self.queue(copy)?;
            let seam = &self.plan.seam;
            if event.kind == Kind::Open && !seam.is_put_in(event.run, lap) {
                continue;
            }
            let (run, lap, seq) = seam.met(event.run, lap, seq);
            // Below the end, which is itself a time of 64 bits.
            let Some(at_nanos) = self.plan.options.speed.due_nanos(elapsed) else {
                return Ok(None);
            };
            return Ok(Some(Planned {
                at_nanos,
                copy,
                run,
                lap,
                kind: event.kind,
                seq,
                value: event.value.filter(|_| event.kind != Kind::Open),
            }));
        }
        Ok(None)
    }
}

impl<R: Read + Seek> Iterator for Window<'_, R> {
    type Item = Result<Planned, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let planned = self.read();
        if planned.is_err() {
            self.next.clear();
        }
        planned.transpose()
    }
}
