//! Which runs there are, who owns which, and what comes next. (Pure.)

use crate::instrument::record::Operation;
use bakeoff_crds::rng::SplitMix64;

pub(in crate::workloads) const CREATE: Operation = Operation::Create;
pub(in crate::workloads) const TRANSITION: Operation = Operation::Transition;
pub(in crate::workloads) const COMPLETE: Operation = Operation::Complete;

/// An open run of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::workloads) struct OpenRun {
    pub id: i64,
    pub seq: i32,
    /// Transitions until it is completed.
    pub left: i32,
}

/// Open runs in eight bytes each, for a generator may hold twenty million of them: its number, and below it how far it
/// is. How far it has to go follows from its number.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::workloads) struct Runs(Vec<u64>);

impl Runs {
    /// Bits of `seq`, beyond which no run goes; the others are for the number.
    const SEQ_BITS: u32 = 16;
    /// How many more there is room for whenever there is none left. A vector that doubles would take three times what it
    /// holds while it grows.
    const MORE: usize = 4_096;
    /// Bytes that a run takes.
    pub const BYTES_EACH: u64 = 8;

    /// None yet, and room for so many.
    pub fn with_room(runs: usize) -> Self {
        Self(Vec::with_capacity(runs))
    }

    fn packed(id: i64, seq: i32) -> u64 {
        let most = (1 << Self::SEQ_BITS) - 1;
        (id.unsigned_abs() << Self::SEQ_BITS) | u64::from(seq.unsigned_abs()).min(most)
    }

    pub fn push(&mut self, id: i64, seq: i32) {
        if self.0.len() == self.0.capacity() {
            self.0.reserve_exact(Self::MORE);
        }
        self.0.push(Self::packed(id, seq));
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Number and progress of the run at this place.
    fn at(&self, position: usize) -> (i64, i32) {
        let packed = self.0[position];
        let seq = packed & ((1 << Self::SEQ_BITS) - 1);
        let id = i64::try_from(packed >> Self::SEQ_BITS).unwrap_or(i64::MAX);
        (id, i32::try_from(seq).unwrap_or(i32::MAX))
    }

    fn advance(&mut self, position: usize) {
        let (id, seq) = self.at(position);
        self.0[position] = Self::packed(id, seq + 1);
    }

    fn remove(&mut self, position: usize) {
        self.0.swap_remove(position);
    }
}

/// Which runs there are at the start and who owns which: a pure function of the seed, so that every
/// generator knows its share without asking.
#[derive(Clone, Copy, Debug)]
pub(in crate::workloads) struct Population {
    pub seed: u64,
    pub active: u64,
    pub sleeper_percent: u64,
    pub transitions: (i32, i32),
}

impl Population {
    fn draw(&self, id: u64) -> SplitMix64 {
        SplitMix64::new(self.seed ^ id.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    fn length(&self, rng: &mut SplitMix64) -> i32 {
        let (low, high) = self.transitions;
        let span = u64::try_from(high - low + 1).unwrap_or(1);
        low + i32::try_from(rng.below(span)).unwrap_or(0)
    }

    /// Transitions of the run with this number, from its creation to its completion.
    pub fn transitions_of(&self, id: u64) -> i32 {
        let mut rng = self.draw(id);
        let _ = rng.below(100);
        self.length(&mut rng)
    }

    /// Whether the run with this number is one of those that never move.
    pub fn sleeps(&self, id: u64) -> bool {
        id < self.active && self.draw(id).below(100) < self.sleeper_percent
    }

    /// The run with this number as it is loaded: somewhere between its creation and its completion.
    pub fn run(&self, id: u64) -> OpenRun {
        let mut rng = self.draw(id);
        let _ = rng.below(100);
        let length = self.length(&mut rng);
        let seq = i32::try_from(rng.below(u64::try_from(length + 1).unwrap_or(1))).unwrap_or(0);
        OpenRun {
            id: i64::try_from(id).unwrap_or(i64::MAX),
            seq,
            left: length - seq,
        }
    }

    /// The runs that worker `slot` of `slots` moves.
    pub fn share(&self, slot: u64, slots: u64) -> Runs {
        let awake = || {
            (slot..self.active)
                .step_by(usize::try_from(slots).unwrap_or(1).max(1))
                .filter(|&id| !self.sleeps(id))
        };
        // Counted first, so that no more is taken than is held.
        let mut runs = Runs::with_room(awake().count());
        for run in awake().map(|id| self.run(id)) {
            runs.push(run.id, run.seq);
        }
        runs
    }

    /// The run of this number that is so far.
    fn of(&self, (id, seq): (i64, i32)) -> OpenRun {
        let left = (self.transitions_of(id.unsigned_abs()) - seq).max(0);
        OpenRun { id, seq, left }
    }
}

/// What a worker does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::workloads) enum Move {
    Create(OpenRun),
    Transition(usize),
    Complete(usize),
}

impl Move {
    pub fn kind(self) -> Operation {
        match self {
            Self::Create(_) => CREATE,
            Self::Transition(_) => TRANSITION,
            Self::Complete(_) => COMPLETE,
        }
    }
}

/// The open runs of one worker and what comes next. (Pure.)
#[derive(Debug)]
pub(in crate::workloads) struct Lives {
    pub population: Population,
    pub rng: SplitMix64,
    pub runs: Runs,
    /// How many runs are to be created before others move again; below 0 there are more than there should be, and
    /// so many complete without a successor.
    pub owed: i64,
    pub next_id: i64,
    pub stride: i64,
}

impl Lives {
    pub fn next(&mut self) -> Move {
        if self.owed > 0 || self.runs.is_empty() {
            let id = self.next_id;
            self.next_id += self.stride;
            // By its number alone, so that whoever finds it in the table knows how long it lives.
            let left = self.population.transitions_of(id.unsigned_abs());
            return Move::Create(OpenRun { id, seq: 0, left });
        }
        let position = usize::try_from(self.rng.below(self.runs.len() as u64)).unwrap_or(0);
        if self.run(position).left > 0 {
            Move::Transition(position)
        } else {
            Move::Complete(position)
        }
    }

    /// The run at this place.
    pub fn run(&self, position: usize) -> OpenRun {
        self.population.of(self.runs.at(position))
    }

    /// Takes note of a move. One whose outcome is not known, or that failed, takes its run out of the
    /// worker's hands: what became of it is uncertain for ever. A successor is owed, so that as many move.
    pub fn done(&mut self, next: Move, well: bool) {
        match next {
            Move::Create(run) => {
                if well {
                    self.runs.push(run.id, run.seq);
                    self.owed -= 1;
                }
            }
            Move::Transition(position) if well => self.runs.advance(position),
            Move::Transition(position) | Move::Complete(position) => {
                self.runs.remove(position);
                self.owed += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const POPULATION: Population = Population {
        seed: 7,
        active: 10_000,
        sleeper_percent: 10,
        transitions: (5, 20),
    };

    #[test]
    fn shares_are_disjoint_and_leave_out_the_sleepers() {
        let shares: Vec<Vec<OpenRun>> = (0..5)
            .map(|slot| {
                let runs = POPULATION.share(slot, 5);
                let each = (0..runs.len()).map(|position| POPULATION.of(runs.at(position)));
                each.collect()
            })
            .collect();
        let ids: BTreeSet<i64> = shares.iter().flatten().map(|run| run.id).collect();
        assert_eq!(ids.len(), shares.iter().map(Vec::len).sum::<usize>());
        assert!((8_800..9_200).contains(&ids.len()), "{}", ids.len());
        let all = shares.iter().flatten();
        assert!(
            all.clone()
                .all(|run| run.left >= 0 && (5..=20).contains(&(run.seq + run.left)))
        );
        assert!(all.clone().any(|run| run.seq > 0));
        // What is packed is the whole run.
        assert!(
            all.clone()
                .all(|run| *run == POPULATION.run(run.id.unsigned_abs()))
        );
    }

    /// Nothing is taken that is not held, and a worker that goes on for long takes no more.
    #[test]
    fn runs_take_eight_bytes_each() {
        let bytes = |lives: &Lives| lives.runs.0.capacity() as u64 * 8;
        let mut lives = Lives {
            population: POPULATION,
            rng: SplitMix64::new(1),
            runs: POPULATION.share(0, 1),
            owed: 0,
            next_id: 10_000,
            stride: 1,
        };
        let held = lives.runs.len() as u64 * Runs::BYTES_EACH;
        assert_eq!(bytes(&lives), held);
        for _ in 0..100_000 {
            let next = lives.next();
            lives.done(next, true);
        }
        assert_eq!(bytes(&lives), held);
        // More than there was room for: a little at a time.
        for id in 0..10 {
            lives.runs.push(id, 3);
        }
        assert_eq!(bytes(&lives), held + 4_096 * 8);
    }

    #[test]
    fn the_mix_holds_the_number_of_runs_and_follows_the_transitions() {
        let mut lives = Lives {
            population: POPULATION,
            rng: SplitMix64::new(1),
            runs: POPULATION.share(0, 16),
            owed: 0,
            next_id: 10_000,
            stride: 16,
        };
        let open = lives.runs.len();
        let mut counts = [0_u32; 3];
        let mut created = BTreeSet::new();
        for _ in 0..200_000 {
            let next = lives.next();
            match next {
                Move::Create(run) => {
                    assert!(created.insert(run.id));
                    counts[0] += 1;
                }
                Move::Transition(_) => counts[1] += 1,
                Move::Complete(_) => counts[2] += 1,
            }
            lives.done(next, true);
            assert!(lives.runs.len() + 1 >= open && lives.runs.len() <= open);
        }
        assert!(counts[0].abs_diff(counts[2]) <= 1, "{counts:?}");
        // Runs of 5 to 20 transitions: 12.5 for each creation.
        let each = f64::from(counts[1]) / f64::from(counts[0]);
        assert!((each - 12.5).abs() < 0.6, "{each}");
    }

    #[test]
    fn a_step_that_failed_takes_its_run_out_and_owes_another() {
        let mut lives = Lives {
            population: POPULATION,
            rng: SplitMix64::new(1),
            runs: {
                let mut one = Runs::with_room(1);
                one.push(1, 0);
                one
            },
            owed: 0,
            next_id: 2,
            stride: 1,
        };
        let next = lives.next();
        assert_eq!(next, Move::Transition(0));
        lives.done(next, false);
        let Move::Create(run) = lives.next() else {
            panic!("a successor is owed")
        };
        assert_eq!(run.id, 2);
        lives.done(Move::Create(run), false);
        assert!(matches!(lives.next(), Move::Create(run) if run.id == 3));
    }
}
