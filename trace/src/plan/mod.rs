//! Which event a replay performs when. (Pure, but for reading the recording.)
//!
//! **Two knobs.** Speed compresses time: at twice the speed there are twice the events per second, and as many open runs as
//! before, since runs live half as long. Copies multiply both. [`scale`] finds the two that give so many open runs and so
//! many events per second. All of it is whole numbers: no rate is cut off, and no plan depends on rounding.
//!
//! **Copies are shifted** against each other, by the golden section of the recording, so that its bursts do not coincide. Each
//! copy goes round in the recording: it begins at its shift, and begins anew when the recording ends. A *lap* is one passage
//! through the recording, a *turn* the time in which a copy comes back to where it began. In a turn, each creation, transition
//! and completion of the recording comes once in each copy.
//!
//! **Runs are told apart** by copy, run and lap: the second time a copy comes by a run, that is a new run.
//! - A run that a copy begins in the middle of is open when the replay begins, with the sequence number that it has reached
//!   ([`Plan::initial`]). What is left of it comes first, as lap 0. What it had done before comes at the end of the turn, as
//!   the beginning of a new run of lap 1, which is left where the other one was met: the open runs after a turn are those of
//!   the start, with a lap more.
//! - A run that is open at the end of the recording goes on, in the next lap, as one that is open at its start: the two are
//!   halves of runs of which the recording saw one each. It keeps its copy, run and lap, and its sequence number goes on. One
//!   that is open throughout is one run in all laps. Nothing is put in or taken away at the seam.
//! - Where more runs are open at the end than at the start, those that have not moved for the longest time stay open for good.
//!   Each lap leaves them behind once more ([`Plan::growth_per_turn`]), as such a system would grow. A recording without
//!   runs at the start, and with runs that never end, is of that kind; one in which all runs end leaves none.
//! - Where more are open at the start, those that find no other half are planned as [`Kind::Open`] at the beginning of each
//!   later lap, to be put in with their sequence number.
//!
//! The place in the recording follows from the time alone, so that a plan can be begun anywhere: what is planned up to a
//! moment and what is planned from it are together what is planned without a break.

mod blocks;
mod cursor;
mod initial;
mod ratio;
mod seam;
mod window;

use std::collections::HashMap;
use std::io::{Read, Seek};

use crate::format::{Kind, Manifest, Trace};
use crate::grammar::Checker;
use crate::{Error, Event};
use blocks::Blocks;
pub use initial::Initial;
pub use ratio::{Ratio, Scaled, scale, scale_to};
use seam::Seam;
pub use window::Window;

/// The most copies.
pub const MOST_COPIES: u32 = 1_000_000;

/// How copies lie against each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shift {
    /// Copy `i` begins at the fraction of `i · 0.618…` of the recording: as evenly spread as can be, for any number of copies.
    #[default]
    Spread,
    /// All begin at the beginning: bursts coincide, and are as many times as high.
    None,
}

impl Shift {
    /// How much of a whole lies before the place at which a copy begins.
    #[must_use]
    pub fn before(self, copy: u32, whole: u64) -> u64 {
        match self {
            Self::None => 0,
            Self::Spread => {
                // The golden section in 64 bits after the point; whole turns fall off at the top.
                let fraction = u64::from(copy).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                ((u128::from(fraction) * u128::from(whole)) >> 64) as u64
            }
        }
    }
}

/// How a recording is replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanOptions {
    /// Microseconds of the recording in a microsecond of the replay.
    pub speed: Ratio,
    /// How many times it is played at the same time. 1 to [`MOST_COPIES`].
    pub copies: u32,
    /// How the copies lie against each other.
    pub shift: Shift,
}

/// An event that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Planned {
    /// Nanoseconds since the start of the replay, cut off.
    pub at_nanos: u64,
    /// Its copy, from 0.
    pub copy: u32,
    /// Its run, as the recording numbers it.
    pub run: u32,
    /// Its lap, from 0. Copy, run and lap together tell runs apart.
    pub lap: u64,
    /// What is done. [`Kind::Open`]: a run is put in as it was at the start of the recording.
    pub kind: Kind,
    /// The sequence number that the run has afterwards: 0 by creation, one more with each event.
    pub seq: u32,
    /// Bytes of the state, where the recording knows them.
    pub value: Option<u32>,
}

/// A run that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OpenRun {
    /// Its copy.
    pub copy: u32,
    /// Its run.
    pub run: u32,
    /// Its lap.
    pub lap: u64,
    /// The sequence number that it has reached.
    pub seq: u32,
}

/// A recording that is to be replayed.
pub struct Plan<R> {
    blocks: Blocks<R>,
    options: PlanOptions,
    seam: Seam,
}

/// Where a copy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Position {
    /// Microseconds since the start of the recording.
    at_micros: u64,
    lap: u64,
    copy: u32,
}

/// Sequence numbers of the runs that are open.
type OpenSet = HashMap<u32, u32>;

/// Takes an event; the sequence number of its run afterwards.
fn apply(open: &mut OpenSet, event: &Event) -> u32 {
    match event.kind {
        Kind::Open | Kind::Created => {
            let seq = event
                .value
                .filter(|_| event.kind == Kind::Open)
                .unwrap_or(0);
            open.insert(event.run, seq);
            seq
        }
        Kind::Transition => {
            let seq = open.entry(event.run).or_default();
            *seq = seq.saturating_add(1);
            *seq
        }
        Kind::Done => open.remove(&event.run).unwrap_or(0).saturating_add(1),
    }
}

impl<R: Read + Seek> Plan<R> {
    /// Reads a recording once from one end to the other, and checks it: what a replay is planned with holds.
    ///
    /// # Errors
    /// The recording cannot be read, is empty, is not what its description says, or there are no copies or too many.
    pub fn open(mut trace: Trace<R>, options: PlanOptions) -> Result<Self, Error> {
        if !(1..=MOST_COPIES).contains(&options.copies) {
            return Err(Error::Options(format!(
                "copies are 1 to {MOST_COPIES}, not {}",
                options.copies
            )));
        }
        let mut checker = Checker::new(None);
        let mut at_start = Vec::new();
        let mut events = trace.events()?;
        while let Some(event) = events.next() {
            let line = events.line();
            let step = checker.admit(line, event?)?;
            at_start.extend(
                step.filter(|step| step.event.kind == Kind::Open)
                    .map(|step| step.seq),
            );
        }
        drop(events);
        let manifest = trace.manifest();
        let span = manifest.span_micros;
        let shortest = checker.shortest_span();
        let seam = Seam::new(at_start, checker.still_open());
        let measured = checker.finish(span);
        if shortest == 0 {
            return Err(Error::Empty(
                "a trace without events cannot be replayed".to_owned(),
            ));
        }
        if measured.counts != manifest.counts || shortest > span {
            return Err(Error::Manifest(
                "counts or spanMicros are not those of the events".to_owned(),
            ));
        }
        Ok(Self {
            blocks: Blocks::new(trace),
            options,
            seam,
        })
    }

    /// What the recording is.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        self.blocks.manifest()
    }

    /// Nanoseconds in which each copy comes back to where it began, rounded up.
    #[must_use]
    pub fn turn_nanos(&self) -> u128 {
        self.options.speed.turn_nanos(self.span())
    }

    /// Runs that each turn leaves open for good, in all copies together.
    #[must_use]
    pub fn growth_per_turn(&self) -> u64 {
        self.seam.left().len() as u64 * u64::from(self.options.copies)
    }

    /// The events that are due from a moment to before another one, in nanoseconds since the start of the replay, in the order
    /// of their times; at equal times in the order of their copies, and within a copy in that of the recording.
    ///
    /// Reads the recording up to the furthest place at which a copy stands, for the sequence numbers of the runs that are open.
    /// Memory grows with those, and is bounded otherwise (some 100 MiB, or 400 bytes a copy where that is more).
    ///
    /// # Errors
    /// The recording cannot be read.
    pub fn window(&mut self, from_nanos: u64, to_nanos: u64) -> Result<Window<'_, R>, Error> {
        Window::new(self, from_nanos, to_nanos)
    }

    /// The runs that are open at a moment, before anything that is due at it; at 0, with which the replay begins.
    ///
    /// Copy by copy, but in no order that means anything. Reads the recording on the way.
    #[must_use]
    pub fn initial(&mut self, at_nanos: u64) -> Initial<'_, R> {
        Initial::new(self, at_nanos)
    }

    fn span(&self) -> u64 {
        self.blocks.manifest().span_micros
    }

    /// Where a copy begins.
    fn shift(&self, copy: u32) -> u64 {
        self.options.shift.before(copy, self.span())
    }

    /// Where all copies are, so many microseconds of the recording after the start, in the order in which they lie in it.
    fn positions(&self, elapsed: u128) -> Vec<Position> {
        let span = u128::from(self.span());
        let mut positions: Vec<_> = (0..self.options.copies)
            .map(|copy| {
                let place = elapsed + u128::from(self.shift(copy));
                Position {
                    at_micros: (place % span) as u64,
                    lap: u64::try_from(place / span).unwrap_or(u64::MAX),
                    copy,
                }
            })
            .collect();
        positions.sort_unstable();
        positions
    }
}

#[cfg(test)]
mod tests;
