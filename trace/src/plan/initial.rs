//! The runs that are open at a moment.

use std::io::{Read, Seek};

use super::cursor::Passage;
use super::{OpenRun, Plan, Position};
use crate::Error;

/// Runs that are open, copy by copy. Ends after its first error.
pub struct Initial<'a, R> {
    plan: &'a mut Plan<R>,
    positions: std::vec::IntoIter<Position>,
    passage: Passage,
    /// Runs that earlier laps of copies have left open: how many laps of which copy.
    earlier: Vec<(u32, u64)>,
    /// What is handed out next.
    ready: Vec<OpenRun>,
}

impl<'a, R: Read + Seek> Initial<'a, R> {
    pub(super) fn new(plan: &'a mut Plan<R>, at_nanos: u64) -> Self {
        let elapsed = plan.options.speed.elapsed_micros(at_nanos);
        let positions = plan.positions(elapsed);
        let earlier = positions.iter().filter(|position| position.lap > 0);
        Self {
            earlier: earlier
                .map(|position| (position.copy, position.lap))
                .collect(),
            positions: positions.into_iter(),
            passage: Passage::default(),
            ready: Vec::new(),
            plan,
        }
    }

    /// Fills `ready`; false when there is nothing more.
    fn fill(&mut self) -> Result<bool, Error> {
        if let Some(position) = self.positions.next() {
            let Position {
                at_micros,
                lap,
                copy,
            } = position;
            self.passage.advance(&position, &mut self.plan.blocks)?;
            let seam = &self.plan.seam;
            let met = |(run, seq)| {
                let (run, lap, seq) = seam.met(run, lap, seq);
                OpenRun {
                    copy,
                    run,
                    lap,
                    seq,
                }
            };
            if lap > 0 && at_micros == 0 {
                // Before the first line: what goes on is there, what is put in is not yet.
                self.ready.extend(seam.going_on().map(met));
            } else {
                self.ready
                    .extend(self.passage.open.iter().map(|(run, seq)| met((*run, *seq))));
            }
            self.ready.sort_unstable_by(|a, b| b.cmp(a));
            return Ok(true);
        }
        let Some((copy, laps)) = self.earlier.last_mut() else {
            return Ok(false);
        };
        let (copy, lap) = (*copy, *laps - 1);
        *laps = lap;
        if lap == 0 {
            self.earlier.pop();
        }
        let left = self.plan.seam.left().iter();
        self.ready.extend(left.map(|(run, seq)| OpenRun {
            copy,
            run: *run,
            lap,
            seq: *seq,
        }));
        if self.ready.is_empty() {
            // None ever stays: there is nothing to look for in other laps and copies.
            self.earlier.clear();
        }
        Ok(true)
    }
}

impl<R: Read + Seek> Iterator for Initial<'_, R> {
    type Item = Result<OpenRun, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(run) = self.ready.pop() {
                return Some(Ok(run));
            }
            match self.fill() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    self.positions = Vec::new().into_iter();
                    self.earlier.clear();
                    return Some(Err(error));
                }
            }
        }
    }
}
