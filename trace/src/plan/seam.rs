//! Where the end of a recording meets its beginning.
//!
//! A run that is open at the end and one that is open at the start are two halves of runs of which the recording saw one each.
//! A copy that goes round joins them: what the second half does is done to the run of the first half. So nothing has to be put
//! in at the beginning of a lap but for halves that find no other one, and nothing is left over but for those.

use std::collections::HashMap;

use crate::grammar::StillOpen;

/// What becomes of a run that is open at the start, when a copy comes to it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goes {
    /// It is open throughout. It is one run in all laps, and has so many more events in each.
    Through { more: u32 },
    /// It goes on where another one, of the lap before, has stopped, with that sequence number.
    On { from: u32, seq: u32 },
    /// It is put in anew: there are more halves of this kind than of the other.
    Anew,
}

/// How the two ends fit together.
#[derive(Debug, Default)]
pub(super) struct Seam {
    /// Of the runs that are open at the start, in their order: the sequence number then, and what becomes of it.
    at_start: Vec<(u32, Goes)>,
    /// Runs that are open at the end, and never again move: those that find no second half. With their sequence number.
    left: Vec<(u32, u32)>,
}

impl Seam {
    /// Joins the runs that are open at the start (their sequence numbers, by run) with those that are open at the end. Those
    /// that have moved last go on first: whoever has not moved for long is the likelier to sleep.
    pub(super) fn new(at_start: Vec<u32>, at_end: impl Iterator<Item = StillOpen>) -> Self {
        let mut halves: Vec<(u64, u32, u32)> = Vec::new();
        let mut through = HashMap::new();
        for run in at_end {
            if (run.number as usize) < at_start.len() {
                through.insert(run.number, run.seq);
            } else {
                halves.push((run.last_micros, run.number, run.seq));
            }
        }
        halves.sort_unstable();
        let at_start = (0_u32..).zip(at_start).map(|(run, seq)| {
            let goes = match through.get(&run) {
                Some(end) => Goes::Through {
                    more: end.saturating_sub(seq),
                },
                None => halves
                    .pop()
                    .map_or(Goes::Anew, |(_, from, seq)| Goes::On { from, seq }),
            };
            (seq, goes)
        });
        let at_start = at_start.collect();
        let mut left: Vec<_> = halves.into_iter().map(|(_, run, seq)| (run, seq)).collect();
        left.sort_unstable();
        Self { at_start, left }
    }

    /// The run, the lap and the sequence number under which a run of the recording is met in a lap.
    pub(super) fn met(&self, run: u32, lap: u64, seq: u32) -> (u32, u64, u32) {
        let Some((start, goes)) = self.at_start.get(run as usize).filter(|_| lap > 0) else {
            return (run, lap, seq);
        };
        match *goes {
            Goes::Through { more } => {
                let before = u64::from(more).saturating_mul(lap);
                (
                    run,
                    0,
                    u32::try_from(before.saturating_add(u64::from(seq))).unwrap_or(u32::MAX),
                )
            }
            Goes::On { from, seq: reached } => (
                from,
                lap - 1,
                reached.saturating_add(seq.saturating_sub(*start)),
            ),
            Goes::Anew => (run, lap, seq),
        }
    }

    /// Whether a run that is open at the start is put in when a copy comes to it in a lap.
    pub(super) fn is_put_in(&self, run: u32, lap: u64) -> bool {
        lap > 0
            && self
                .at_start
                .get(run as usize)
                .is_some_and(|(_, goes)| *goes == Goes::Anew)
    }

    /// The runs that go on from one lap to the next, with the sequence number that they have in the recording then.
    pub(super) fn going_on(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        let runs = (0_u32..).zip(&self.at_start);
        runs.filter(|(_, (_, goes))| *goes != Goes::Anew)
            .map(|(run, (seq, _))| (run, *seq))
    }

    /// The runs that each lap leaves behind for good.
    pub(super) fn left(&self) -> &[(u32, u32)] {
        &self.left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_joined_by_who_moved_last() {
        let still = |number, last_micros, seq| StillOpen {
            number,
            last_micros,
            seq,
        };
        let at_end = [
            still(0, 50, 9),
            still(7, 10, 1),
            still(8, 30, 2),
            still(9, 20, 3),
        ];
        // Run 0 is open throughout; 1 and 2 go on from 8 and 9; 7 is left.
        let seam = Seam::new(vec![4, 5, 6], at_end.into_iter());
        assert_eq!(seam.left(), [(7, 1)]);
        assert_eq!(seam.met(0, 3, 5), (0, 0, 20));
        assert_eq!(seam.met(1, 3, 6), (8, 2, 3));
        assert_eq!(seam.met(2, 1, 6), (9, 0, 3));
        assert_eq!(seam.met(2, 0, 6), (2, 0, 6));
        assert_eq!(seam.met(8, 3, 0), (8, 3, 0));
        assert!((0..10).all(|run| !seam.is_put_in(run, 1)));
        let seam = Seam::new(vec![4, 5], std::iter::once(still(7, 10, 1)));
        assert_eq!(
            (seam.met(0, 1, 4), seam.met(1, 1, 5)),
            ((7, 0, 1), (1, 1, 5))
        );
        assert!(seam.is_put_in(1, 1) && !seam.is_put_in(1, 0) && !seam.is_put_in(0, 1));
        assert_eq!((seam.going_on().count(), seam.left().len()), (1, 0));
    }
}
