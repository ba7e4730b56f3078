//! Which runs there are and what becomes of them. (Pure.)

use bakeoff_crds::rng::SplitMix64;

/// The state of a run that has ended. Open ones have a smaller one.
pub(super) const ENDED: i16 = 9;

/// Microseconds of one range of `created_at`. Long enough that a window never leaves the newest one.
pub(super) const RANGE_MICROS: i64 = 7 * 86_400 * 1_000_000;

/// A run with its place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RunRow {
    pub id: i64,
    /// `created_at`, microseconds since the epoch: a part of its address where the table is partitioned by it.
    pub created: i64,
    pub seq: i32,
    /// Transitions until it has ended; 0 for one that has.
    pub left: i32,
}

impl RunRow {
    pub fn state(&self) -> i16 {
        if self.left == 0 {
            ENDED
        } else {
            i16::try_from(self.left.rem_euclid(8)).unwrap_or(0)
        }
    }
}

/// The runs that are there at the start: a pure function of the seed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Population {
    pub seed: u64,
    pub active: u64,
    pub ranges: u64,
    pub sleeper_percent: u64,
    pub transitions: i32,
    /// Where the range that new runs fall into begins, microseconds since the epoch.
    pub base: i64,
}

/// What the table must hold of the runs that were loaded: counts and sums that a lost, doubled or
/// changed row shifts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Expected {
    pub rows: i64,
    pub ids: i128,
    pub seqs: i128,
}

impl Population {
    /// The range of a run, 0 being the oldest.
    pub fn range(&self, id: u64) -> u64 {
        id * self.ranges / self.active.max(1)
    }

    /// The first run of a range.
    pub fn first_of(&self, range: u64) -> u64 {
        (range * self.active).div_ceil(self.ranges.max(1))
    }

    /// Where a range begins, microseconds since the epoch; the one after the last is where new runs fall.
    pub fn begins(&self, range: u64) -> i64 {
        let back = i64::try_from(self.ranges).unwrap_or(0) - i64::try_from(range).unwrap_or(0);
        self.base - back * RANGE_MICROS
    }

    /// The run with this number as it is loaded. Those of the newest range are under way; of the others
    /// a few sleep and the rest have ended.
    pub fn run(&self, id: u64) -> RunRow {
        let range = self.range(id);
        let mut rng = SplitMix64::new(self.seed ^ id.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let sleeps = rng.below(100) < self.sleeper_percent;
        let open = sleeps || range + 1 == self.ranges;
        let seq = if open {
            let span = u64::try_from(self.transitions).unwrap_or(1).max(1);
            i32::try_from(rng.below(span)).unwrap_or(0)
        } else {
            self.transitions
        };
        let (first, next) = (self.first_of(range), self.first_of(range + 1));
        // Evenly over the range, in the order of the numbers.
        let step = RANGE_MICROS / i64::try_from((next - first).max(1)).unwrap_or(1);
        RunRow {
            id: i64::try_from(id).unwrap_or(i64::MAX),
            created: self.begins(range) + step * i64::try_from(id - first).unwrap_or(0),
            seq,
            left: self.transitions - seq,
        }
    }

    /// The runs that worker `slot` of `slots` moves: its share of the newest range.
    pub fn share(&self, slot: u64, slots: u64) -> Vec<RunRow> {
        (self.first_of(self.ranges - 1) + slot..self.active)
            .step_by(usize::try_from(slots).unwrap_or(1).max(1))
            .map(|id| self.run(id))
            .collect()
    }

    /// What must be left of the oldest range: its sleepers.
    pub fn sleepers(&self) -> Expected {
        self.expected(0..self.first_of(1), |run| run.left > 0)
    }

    /// What must be left of the ranges between the oldest and the newest: everything.
    pub fn untouched(&self) -> Expected {
        self.expected(self.first_of(1)..self.first_of(self.ranges - 1), |_| true)
    }

    fn expected(&self, ids: std::ops::Range<u64>, which: impl Fn(&RunRow) -> bool) -> Expected {
        let mut sum = Expected::default();
        for run in ids.map(|id| self.run(id)).filter(which) {
            sum.rows += 1;
            sum.ids += i128::from(run.id);
            sum.seqs += i128::from(run.seq);
        }
        sum
    }
}

/// What a worker does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// Inserts a run, whose `created` is set when it is sent.
    Insert(RunRow),
    /// Moves the run at this place.
    Transition(usize),
}

/// The open runs of one worker and what comes next.
#[derive(Debug)]
pub(super) struct Lives {
    pub transitions: i32,
    pub rng: SplitMix64,
    pub runs: Vec<RunRow>,
    /// How many runs are to be inserted before others move again.
    pub owed: usize,
    pub next_id: i64,
    pub stride: i64,
}

impl Lives {
    pub fn next(&mut self) -> Move {
        if self.owed > 0 || self.runs.is_empty() {
            let id = self.next_id;
            self.next_id += self.stride;
            return Move::Insert(RunRow {
                id,
                created: 0,
                seq: 0,
                left: self.transitions,
            });
        }
        let position = self.rng.below(self.runs.len() as u64);
        Move::Transition(usize::try_from(position).unwrap_or(0))
    }

    /// Takes note of a move. A run that has ended, or whose outcome is not known, leaves the worker's
    /// hands, and a successor is owed.
    pub fn done(&mut self, next: Move, well: bool) {
        match next {
            Move::Insert(run) => {
                self.owed = self.owed.saturating_sub(1);
                if well {
                    self.runs.push(run);
                } else {
                    self.owed += 1;
                }
            }
            Move::Transition(position) => {
                let run = &mut self.runs[position];
                if well {
                    run.seq += 1;
                    run.left -= 1;
                }
                if !well || run.left == 0 {
                    self.runs.swap_remove(position);
                    self.owed += 1;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn population(active: u64, ranges: u64) -> Population {
        Population {
            seed: 7,
            active,
            ranges,
            sleeper_percent: 5,
            transitions: 5,
            base: 1_800_000_000_000_000,
        }
    }

    proptest! {
        #[test]
        fn every_run_lies_in_its_range_and_ranges_are_even(active in 1_000_u64..20_000, ranges in 2_u64..20) {
            let population = population(active, ranges);
            let mut counts = vec![0_u64; usize::try_from(ranges).unwrap()];
            for id in 0..active {
                let range = population.range(id);
                counts[usize::try_from(range).unwrap()] += 1;
                let created = population.run(id).created;
                prop_assert!(created >= population.begins(range));
                prop_assert!(created < population.begins(range + 1));
                prop_assert!(id >= population.first_of(range) && id < population.first_of(range + 1));
            }
            let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            prop_assert!(most - least <= 1, "{:?}", counts);
            prop_assert_eq!(population.begins(ranges), population.base);
        }
    }

    #[test]
    fn the_newest_range_moves_and_of_the_others_a_few_sleep() {
        let population = population(60_000, 6);
        let shares: Vec<Vec<RunRow>> = (0..4).map(|slot| population.share(slot, 4)).collect();
        let ids: BTreeSet<i64> = shares.iter().flatten().map(|run| run.id).collect();
        assert_eq!(ids, (50_000..60_000).collect());
        assert!(
            shares
                .iter()
                .flatten()
                .all(|run| (1..=5).contains(&run.left))
        );
        let sleepers = population.sleepers();
        assert!((400..600).contains(&sleepers.rows), "{sleepers:?}");
        assert_eq!(population.untouched().rows, 40_000);
        assert_eq!(
            population.untouched().ids,
            (10_000..50_000).map(i128::from).sum::<i128>()
        );
    }

    #[test]
    fn the_mix_holds_the_number_of_runs_that_move() {
        let population = population(6_000, 6);
        let mut lives = Lives {
            transitions: 5,
            rng: SplitMix64::new(1),
            runs: population.share(0, 1),
            owed: 0,
            next_id: 6_000,
            stride: 1,
        };
        let open = lives.runs.len();
        let (mut inserts, mut transitions) = (0_u32, 0_u32);
        for _ in 0..100_000 {
            let next = lives.next();
            match next {
                Move::Insert(run) => {
                    assert_eq!((run.seq, run.left), (0, 5));
                    inserts += 1;
                }
                Move::Transition(_) => transitions += 1,
            }
            lives.done(next, true);
            assert!(lives.runs.len() + lives.owed == open);
        }
        let each = f64::from(transitions) / f64::from(inserts);
        assert!((each - 5.0).abs() < 0.3, "{each}");
    }

    #[test]
    fn a_step_that_failed_takes_its_run_out_and_owes_another() {
        let mut lives = Lives {
            transitions: 2,
            rng: SplitMix64::new(1),
            runs: vec![RunRow {
                id: 1,
                created: 5,
                seq: 1,
                left: 1,
            }],
            owed: 0,
            next_id: 2,
            stride: 1,
        };
        let next = lives.next();
        lives.done(next, false);
        let Move::Insert(run) = lives.next() else {
            panic!("a successor is owed")
        };
        lives.done(Move::Insert(run), false);
        assert!(matches!(lives.next(), Move::Insert(run) if run.id == 3));
    }
}
