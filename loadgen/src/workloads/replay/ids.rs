//! Which number a run of a replay has in the table, and which generator moves it. (Pure.)

use bakeoff_trace::plan::Shift;

/// Numbers of runs: a function of copy, run and lap, different for each three of them.
///
/// They ascend about as runs are created, as numbers of a sequence do: what a copy creates first has about the number of what
/// the others create at that time. Numbers in the order of the copies would make an insert at as many places of the index as
/// there are copies, which no system of the recorded kind has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ids {
    runs: u64,
    copies: u64,
    shift: Shift,
}

impl Ids {
    /// Those of so many runs and copies, for so many laps.
    ///
    /// # Errors
    /// There are more than the column takes.
    pub fn new(runs: u64, copies: u32, shift: Shift, laps: u128) -> Result<Self, String> {
        let runs = runs.max(1);
        let copies = u64::from(copies.max(1));
        // A lap more for what the shift takes off.
        let numbers = laps
            .saturating_add(2)
            .saturating_mul(u128::from(runs))
            .saturating_mul(u128::from(copies));
        if numbers > i64::MAX.unsigned_abs().into() {
            return Err(format!(
                "{runs} runs in {copies} copies and {laps} passages through the recording are more than a bigint can number: \
                 take fewer copies, less speed, or stretch: Same"
            ));
        }
        Ok(Self {
            runs,
            copies,
            shift,
        })
    }

    /// The number of a run.
    pub fn of(&self, copy: u32, run: u32, lap: u64) -> i64 {
        let before = self.shift.before(copy, self.runs);
        let place = lap * self.runs + u64::from(run) + (self.runs - before);
        i64::try_from(place * self.copies + u64::from(copy)).unwrap_or(i64::MAX)
    }
}

/// The generator, of so many, that moves a run in all its laps.
pub(super) fn owner(copy: u32, run: u32, generators: usize) -> usize {
    let mixed = (u64::from(copy) << 32 | u64::from(run)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    usize::try_from((u128::from(mixed) * generators as u128) >> 64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    proptest! {
        #[test]
        fn numbers_are_positive_and_differ(runs in 1_u64..60, copies in 1_u32..20, laps in 1_u64..6, spread: bool) {
            let shift = if spread { Shift::Spread } else { Shift::None };
            let ids = Ids::new(runs, copies, shift, laps.into()).unwrap();
            let mut seen = HashSet::new();
            for copy in 0..copies {
                for lap in 0..laps {
                    for run in 0..runs {
                        let id = ids.of(copy, run as u32, lap);
                        prop_assert!(id >= 0 && seen.insert(id), "{copy} {run} {lap}: {id}");
                    }
                }
            }
        }

        /// At the edge of what is admitted nothing wraps.
        #[test]
        fn what_is_admitted_fits(runs in 1_u64..u64::from(u32::MAX), copies in 1_u32..1_000_000, laps in 0_u64..1 << 40) {
            if let Ok(ids) = Ids::new(runs, copies, Shift::Spread, laps.into()) {
                let last = ids.of(copies - 1, (runs - 1) as u32, laps);
                prop_assert!((0..i64::MAX).contains(&last));
            }
        }
    }

    #[test]
    fn what_cannot_be_numbered_is_refused_in_words() {
        let said = Ids::new(u32::MAX.into(), 1_000_000, Shift::Spread, 3_000).unwrap_err();
        assert!(said.contains("more than a bigint can number"), "{said}");
        assert!(Ids::new(1, 1, Shift::None, u128::MAX).is_err());
    }

    /// Copies that stand at the same time create runs with about the same numbers.
    #[test]
    fn numbers_ascend_as_runs_are_created() {
        let (runs, copies) = (10_000, 50);
        let ids = Ids::new(runs, copies, Shift::Spread, 4).unwrap();
        // Evenly created: at the time t each copy creates the run that lies so far behind its place.
        let at = |time: u64| {
            (0..copies).map(move |copy| {
                let place = Shift::Spread.before(copy, runs) + time;
                ids.of(copy, (place % runs) as u32, place / runs)
            })
        };
        for time in 0..1_000 {
            let most = at(time).max().unwrap();
            assert!(at(time + 2).all(|id| id > most), "{time}");
        }
    }

    #[test]
    fn shares_are_even() {
        for generators in 1..8 {
            let mut shares = vec![0; generators];
            for copy in 0..10 {
                for run in 0..1_000 {
                    shares[owner(copy, run, generators)] += 1;
                }
            }
            let even = 10_000 / generators;
            assert!(
                shares
                    .iter()
                    .all(|share: &usize| share.abs_diff(even) < even / 10 + 1),
                "{shares:?}"
            );
        }
    }
}
