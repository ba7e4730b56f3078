//! Which runs there are, who owns which, and what comes next. (Pure.)

use bakeoff_crds::rng::SplitMix64;

use super::mover::{COMPLETE, CREATE, TRANSITION};

/// An open run of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::workloads) struct Run {
    pub id: i64,
    pub seq: i32,
    /// Transitions until it is completed.
    pub left: i32,
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
    pub fn run(&self, id: u64) -> Run {
        let mut rng = self.draw(id);
        let _ = rng.below(100);
        let length = self.length(&mut rng);
        let seq = i32::try_from(rng.below(u64::try_from(length + 1).unwrap_or(1))).unwrap_or(0);
        Run {
            id: i64::try_from(id).unwrap_or(i64::MAX),
            seq,
            left: length - seq,
        }
    }

    /// The runs that worker `slot` of `slots` moves.
    pub fn share(&self, slot: u64, slots: u64) -> Vec<Run> {
        (slot..self.active)
            .step_by(usize::try_from(slots).unwrap_or(1).max(1))
            .filter(|&id| !self.sleeps(id))
            .map(|id| self.run(id))
            .collect()
    }
}

/// What a worker does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::workloads) enum Step {
    Create(Run),
    Transition(usize),
    Complete(usize),
}

impl Step {
    pub fn kind(self) -> &'static str {
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
    pub runs: Vec<Run>,
    /// How many runs are to be created before others move again; below 0 there are more than there should be, and
    /// so many complete without a successor.
    pub owed: i64,
    pub next_id: i64,
    pub stride: i64,
}

impl Lives {
    pub fn next(&mut self) -> Step {
        if self.owed > 0 || self.runs.is_empty() {
            let id = self.next_id;
            self.next_id += self.stride;
            // By its number alone, so that whoever finds it in the table knows how long it lives.
            let left = self.population.transitions_of(id.unsigned_abs());
            return Step::Create(Run { id, seq: 0, left });
        }
        let position = usize::try_from(self.rng.below(self.runs.len() as u64)).unwrap_or(0);
        if self.runs[position].left > 0 {
            Step::Transition(position)
        } else {
            Step::Complete(position)
        }
    }

    /// Takes note of a step. One whose outcome is not known, or that failed, takes its run out of the
    /// worker's hands: what became of it is uncertain for ever. A successor is owed, so that as many move.
    pub fn done(&mut self, step: Step, well: bool) {
        match step {
            Step::Create(run) => {
                if well {
                    self.runs.push(run);
                    self.owed -= 1;
                }
            }
            Step::Transition(position) if well => {
                let run = &mut self.runs[position];
                run.seq += 1;
                run.left -= 1;
            }
            Step::Transition(position) | Step::Complete(position) => {
                self.runs.swap_remove(position);
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
        let shares: Vec<Vec<Run>> = (0..5).map(|slot| POPULATION.share(slot, 5)).collect();
        let ids: BTreeSet<i64> = shares.iter().flatten().map(|run| run.id).collect();
        assert_eq!(ids.len(), shares.iter().map(Vec::len).sum::<usize>());
        assert!((8_800..9_200).contains(&ids.len()), "{}", ids.len());
        let all = shares.iter().flatten();
        assert!(
            all.clone()
                .all(|run| run.left >= 0 && (5..=20).contains(&(run.seq + run.left)))
        );
        assert!(all.clone().any(|run| run.seq > 0));
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
            let step = lives.next();
            match step {
                Step::Create(run) => {
                    assert!(created.insert(run.id));
                    counts[0] += 1;
                }
                Step::Transition(_) => counts[1] += 1,
                Step::Complete(_) => counts[2] += 1,
            }
            lives.done(step, true);
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
            runs: vec![Run {
                id: 1,
                seq: 0,
                left: 3,
            }],
            owed: 0,
            next_id: 2,
            stride: 1,
        };
        let step = lives.next();
        assert_eq!(step, Step::Transition(0));
        lives.done(step, false);
        let Step::Create(run) = lives.next() else {
            panic!("a successor is owed")
        };
        assert_eq!(run.id, 2);
        lives.done(Step::Create(run), false);
        assert!(matches!(lives.next(), Step::Create(run) if run.id == 3));
    }
}
