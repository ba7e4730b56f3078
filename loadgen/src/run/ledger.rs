//! Which attempt comes next: a pure function of the schedule and of what the store holds.

use std::collections::BTreeMap;

use bakeoff_crds::schedule::Trial;
use bakeoff_crds::status::TrialCounts;

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// It was begun and has no result: a generator was lost, or is at it now.
    Interrupted,
    /// Its figures may be used.
    Valid,
    /// They may not.
    Invalid,
}

/// Every attempt of a run, by trial and number.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    attempts: BTreeMap<String, BTreeMap<i32, Attempt>>,
}

impl Ledger {
    /// Notes an attempt; a later note replaces an earlier one.
    pub fn note(&mut self, trial: &str, number: i32, attempt: Attempt) {
        self.attempts
            .entry(trial.to_owned())
            .or_default()
            .insert(number, attempt);
    }

    /// Notes that an attempt was begun, unless its end is known.
    pub fn note_begun(&mut self, trial: &str, number: i32) {
        let attempts = self.attempts.entry(trial.to_owned()).or_default();
        attempts.entry(number).or_insert(Attempt::Interrupted);
    }

    /// Whether any trial was begun.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        !self.attempts.is_empty()
    }

    fn of(&self, trial: &str) -> impl Iterator<Item = Attempt> {
        self.attempts
            .get(trial)
            .into_iter()
            .flat_map(|attempts| attempts.values().copied())
    }

    /// Attempts that repeated an invalid one: those that ended, beyond the first of each trial.
    fn repeats(&self) -> usize {
        self.attempts
            .values()
            .map(|attempts| {
                attempts
                    .values()
                    .filter(|&&attempt| attempt != Attempt::Interrupted)
                    .count()
            })
            .map(|ended| ended.saturating_sub(1))
            .sum()
    }

    /// The trial to run next and the number of the attempt at it; `None` when all are settled.
    ///
    /// A trial is settled by a valid attempt. An invalid one is repeated at once, within the
    /// budget of the whole run, so that it stays close to the trials that it is compared with;
    /// beyond the budget its last invalid attempt stands. Interrupted attempts are repeated
    /// always: they say nothing.
    #[must_use]
    pub fn next<'a>(&self, schedule: &'a [Trial], budget: usize) -> Option<(&'a Trial, i32)> {
        let may_repeat = self.repeats() < budget;
        let trial = schedule.iter().find(|trial| {
            let ended: Vec<Attempt> = self
                .of(&trial.id)
                .filter(|&a| a != Attempt::Interrupted)
                .collect();
            match ended.contains(&Attempt::Valid) {
                true => false,
                false => ended.is_empty() || may_repeat,
            }
        })?;
        let last = self
            .attempts
            .get(&trial.id)
            .and_then(|attempts| attempts.keys().next_back());
        Some((trial, last.map_or(1, |last| last + 1)))
    }

    /// The counts for status and report.
    #[must_use]
    pub fn counts(&self, schedule: &[Trial], budget: usize) -> TrialCounts {
        let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        let all = || {
            self.attempts
                .values()
                .flat_map(|attempts| attempts.values())
        };
        let may_repeat = self.repeats() < budget;
        let done = schedule
            .iter()
            .filter(|trial| {
                let mut ended = self
                    .of(&trial.id)
                    .filter(|&attempt| attempt != Attempt::Interrupted)
                    .peekable();
                ended.peek().is_some()
                    && (ended.any(|attempt| attempt == Attempt::Valid) || !may_repeat)
            })
            .count();
        TrialCounts {
            planned: number(schedule.len()),
            done: number(done),
            invalid: number(
                all()
                    .filter(|&&attempt| attempt == Attempt::Invalid)
                    .count(),
            ),
            repeated: number(self.repeats()),
            interrupted: number(
                all()
                    .filter(|&&attempt| attempt == Attempt::Interrupted)
                    .count(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bakeoff_crds::spec::WorkloadKind;

    fn schedule() -> Vec<Trial> {
        (0..3)
            .map(|index| Trial {
                index,
                block: 0,
                workload: "put".into(),
                kind: WorkloadKind::SmallObjectPut,
                cell_index: index,
                cell: BTreeMap::new(),
                backend: "a".into(),
                id: format!("t{index}"),
            })
            .collect()
    }

    fn next(ledger: &Ledger, budget: usize) -> Option<(String, i32)> {
        ledger
            .next(&schedule(), budget)
            .map(|(trial, attempt)| (trial.id.clone(), attempt))
    }

    #[test]
    fn resumes_after_what_is_durable_and_repeats_within_the_budget() {
        let mut ledger = Ledger::default();
        assert_eq!(next(&ledger, 1), Some(("t0".into(), 1)));
        ledger.note("t0", 1, Attempt::Valid);
        ledger.note("t1", 1, Attempt::Interrupted);
        // Interrupted: again, under a new number, without touching the budget.
        assert_eq!(next(&ledger, 0), Some(("t1".into(), 2)));
        ledger.note("t1", 2, Attempt::Invalid);
        assert_eq!(next(&ledger, 1), Some(("t1".into(), 3)));
        assert_eq!(next(&ledger, 0), Some(("t2".into(), 1)));
        ledger.note("t1", 3, Attempt::Invalid);
        assert_eq!(next(&ledger, 1), Some(("t2".into(), 1)));
        ledger.note("t2", 1, Attempt::Valid);
        assert_eq!(next(&ledger, 1), None);
        let counts = ledger.counts(&schedule(), 1);
        assert_eq!((counts.planned, counts.done, counts.invalid), (3, 3, 2));
        assert_eq!((counts.repeated, counts.interrupted), (1, 1));
    }
}
