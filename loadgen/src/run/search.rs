//! The search for the highest rate that a backend sustains: which rate comes next. (Pure.)
//!
//! Short open-loop steps ramp the rate up by a factor until one breaks the objective, then a few
//! bisection steps (on the logarithm, as rates are compared by ratio) narrow it down. A rate is
//! broken when two of its steps are: one hiccup must not halve a backend's capacity. Each backend is
//! treated alike, so whatever bias is left in "the highest rate that passed" falls on all.

use bakeoff_crds::capacity::{CapacityLimit, CapacityStep};
use bakeoff_crds::result::Verdict;
use bakeoff_crds::spec::CapacityLoad;

use crate::instrument::record::{RecordError, decode};
use crate::run::assemble::PartRecord;
use crate::run::judge::Judgement;

/// Bisection steps after the ramp.
const BISECTIONS: u32 = 3;
/// Bounds closer than this ratio are not narrowed further.
const CLOSE: f64 = 1.05;
/// Share of the planned operations that must end well within the objective: what makes it a p99.
const WITHIN_PER_MILLE: f64 = 990.0;
/// Share that may fail, and share that may never be started, thousandths.
const LOST_PER_MILLE: f64 = 1.0;
/// How often a rate must show the same before it is believed: one hiccup proves nothing.
const BELIEVED: u32 = 2;

/// What a step showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// The objective was met.
    Met,
    /// It was not.
    Broken,
    /// Nothing, for a reason that is not the backend's.
    Void,
}

/// A search in progress.
#[derive(Clone, Debug)]
pub struct Search {
    growth: f64,
    ceiling: f64,
    low: f64,
    high: Option<f64>,
    rate: f64,
    /// Steps at this rate that broke the objective. They are counted apart from the void ones: a
    /// hiccup of the generator is no second witness against the backend, nor the other way about.
    broken: u32,
    /// Steps at this rate that showed nothing.
    void: u32,
    bisections: u32,
    ended: Option<CapacityLimit>,
}

impl Search {
    /// A search with the bounds of a load.
    #[must_use]
    pub fn new(load: &CapacityLoad) -> Self {
        let ceiling = f64::from(load.max_rate_per_second.max(1));
        Self {
            growth: 1.0 + f64::from(load.growth_percent.max(1)) / 100.0,
            ceiling,
            low: 0.0,
            high: None,
            rate: f64::from(load.start.max(1)).min(ceiling),
            broken: 0,
            void: 0,
            bisections: 0,
            ended: None,
        }
    }

    /// The rate of the next step, whole operations per second; `None` when the search has ended.
    #[must_use]
    pub fn next(&self) -> Option<f64> {
        self.ended.is_none().then_some(self.rate)
    }

    /// The highest rate that met the objective and what ended the search.
    #[must_use]
    pub fn found(&self) -> (f64, CapacityLimit) {
        let limit = self.ended.unwrap_or(CapacityLimit::NoRate);
        (self.low, limit)
    }

    /// Notes what the step at [`Self::next`] showed.
    pub fn note(&mut self, shown: Shown) {
        let seen = match shown {
            Shown::Met => BELIEVED,
            Shown::Broken => {
                self.broken += 1;
                self.broken
            }
            Shown::Void => {
                self.void += 1;
                self.void
            }
        };
        if seen < BELIEVED {
            return;
        }
        (self.broken, self.void) = (0, 0);
        match shown {
            Shown::Met => {
                self.low = self.rate;
                match self.high {
                    Some(high) => self.narrow(high),
                    None if self.rate >= self.ceiling => {
                        self.ended = Some(CapacityLimit::MaxRate);
                    }
                    None => {
                        let next = (self.rate * self.growth).round().max(self.rate + 1.0);
                        self.rate = next.min(self.ceiling);
                    }
                }
            }
            Shown::Broken => {
                let high = self.rate;
                self.high = Some(high);
                if self.low > 0.0 {
                    self.narrow(high);
                } else if high <= 1.0 {
                    self.ended = Some(CapacityLimit::NoRate);
                } else {
                    // The start was too high: down until a rate passes.
                    self.rate = (high / 2.0).floor().max(1.0);
                }
            }
            Shown::Void => {
                self.ended = Some(if self.low > 0.0 {
                    CapacityLimit::Generator
                } else {
                    CapacityLimit::NoRate
                });
            }
        }
    }

    fn narrow(&mut self, high: f64) {
        let middle = (self.low * high).sqrt().round();
        let apart = middle > self.low && middle < high && high / self.low > CLOSE;
        if self.bisections >= BISECTIONS || !apart {
            self.ended = Some(CapacityLimit::Objective);
        } else {
            self.bisections += 1;
            self.rate = middle;
        }
    }
}

/// What a step measured, against the objective.
///
/// # Errors
/// When a histogram cannot be decoded.
pub fn step(
    number: i32,
    rate: f64,
    whole: &PartRecord,
    judgement: &Judgement,
    load: &CapacityLoad,
) -> Result<CapacityStep, RecordError> {
    let counts = &whole.load;
    let response = match whole.operations.get(&whole.series_kind) {
        Some(operation) => decode(&operation.response)?,
        None => decode(&Default::default())?,
    };
    let objective = u64::try_from(load.p99_milliseconds).unwrap_or(0) * 1_000;
    let per_mille = |part: f64| part * 1_000.0 / (counts.planned.max(1)) as f64;
    let void = match &judgement.verdict {
        Verdict::Valid => Vec::new(),
        Verdict::Invalid(reasons) => reasons
            .iter()
            .map(|reason| format!("{}: {}", reason.code.as_str(), reason.detail))
            .collect(),
    };
    let mut step = CapacityStep {
        number,
        rate_per_second: rate,
        planned: counts.planned,
        within_per_mille: per_mille(response.count_between(0, objective) as f64),
        failed_per_mille: per_mille(counts.failed as f64),
        not_started_per_mille: per_mille(counts.not_started as f64),
        response_p99_micros: i64::try_from(response.value_at_quantile(0.99)).unwrap_or(i64::MAX),
        void,
        met: false,
    };
    step.met = step.void.is_empty()
        && step.within_per_mille >= WITHIN_PER_MILLE
        && step.failed_per_mille <= LOST_PER_MILLE
        && step.not_started_per_mille <= LOST_PER_MILLE;
    Ok(step)
}

/// What a measured step shows.
#[must_use]
pub fn shown(step: &CapacityStep) -> Shown {
    match (step.void.is_empty(), step.met) {
        (false, _) => Shown::Void,
        (true, true) => Shown::Met,
        (true, false) => Shown::Broken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instrument::record::{encode, histogram};
    use bakeoff_crds::result::{LoadCounts, OperationRecord};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn load(start: i32, max: i32) -> CapacityLoad {
        serde_json::from_value(serde_json::json!({
            "start": start, "growthPercent": 50, "maxRatePerSecond": max, "p99Milliseconds": 100
        }))
        .unwrap()
    }

    /// Runs a search on a backend that sustains exactly `capacity`; answers what was found and how
    /// many steps it took.
    fn search(start: i32, max: i32, capacity: f64) -> (f64, CapacityLimit, usize) {
        let mut search = Search::new(&load(start, max));
        let mut steps = 0;
        while let Some(rate) = search.next() {
            steps += 1;
            assert!(steps < 100);
            search.note(if rate <= capacity {
                Shown::Met
            } else {
                Shown::Broken
            });
        }
        let (low, limit) = search.found();
        (low, limit, steps)
    }

    proptest! {
        #[test]
        fn finds_the_capacity_from_below_within_the_last_bisection(
            start in 1_i32..5_000, capacity in 1.0_f64..50_000.0,
        ) {
            let (found, limit, steps) = search(start, 200_000, capacity);
            prop_assert_eq!(limit, CapacityLimit::Objective);
            prop_assert!(found <= capacity);
            // A ramp of 1.5 in three halvings of its logarithm leaves 1.5^(1/8), a descent by
            // halves 2^(1/8); rates are whole numbers.
            prop_assert!((found + 1.0) * 1.12 >= capacity.floor(), "{found} of {capacity}");
            prop_assert!(steps < 60);
        }
    }

    #[test]
    fn what_ends_a_search_is_told() {
        assert_eq!(search(100, 400, 1e9), (400.0, CapacityLimit::MaxRate, 5));
        let (found, limit, _) = search(100, 400, 0.5);
        assert_eq!((found, limit), (0.0, CapacityLimit::NoRate));
        let mut generator = Search::new(&load(100, 1_000));
        generator.note(Shown::Met);
        generator.note(Shown::Void);
        assert_eq!(generator.next(), Some(150.0));
        generator.note(Shown::Void);
        assert_eq!(generator.next(), None);
        assert_eq!(generator.found(), (100.0, CapacityLimit::Generator));
    }

    #[test]
    fn one_hiccup_does_not_end_the_ramp() {
        let mut search = Search::new(&load(100, 1_000));
        search.note(Shown::Broken);
        assert_eq!(search.next(), Some(100.0));
        search.note(Shown::Met);
        assert_eq!(search.next(), Some(150.0));
    }

    #[test]
    fn a_broken_step_and_a_void_one_do_not_repeat_each_other() {
        for (first, second) in [(Shown::Broken, Shown::Void), (Shown::Void, Shown::Broken)] {
            let mut search = Search::new(&load(100, 1_000));
            search.note(first);
            search.note(second);
            assert_eq!(search.next(), Some(100.0));
            search.note(Shown::Met);
            assert_eq!(search.next(), Some(150.0));
            // What an earlier rate showed does not count against the next.
            search.note(first);
            assert_eq!(search.next(), Some(150.0));
            search.note(second);
            assert_eq!(search.next(), Some(150.0));
        }
        let mut broken = Search::new(&load(100, 1_000));
        broken.note(Shown::Broken);
        broken.note(Shown::Void);
        broken.note(Shown::Broken);
        assert_eq!(broken.next(), Some(50.0));
    }

    /// Operations that failed or never ran are beyond any objective: a p99 over the successes alone
    /// would look best where most is lost.
    #[test]
    fn lost_operations_are_beyond_the_objective() {
        let part = |fast: u64, slow: u64, failed, unfinished, not_started| {
            let mut response = histogram().unwrap();
            response.record_n(5_000, fast).unwrap();
            response.record_n(500_000, slow).unwrap();
            let completed = i64::try_from(fast + slow).unwrap();
            let operation = OperationRecord {
                response: encode(&response).unwrap(),
                ..Default::default()
            };
            PartRecord {
                load: LoadCounts {
                    planned: completed + failed + unfinished + not_started,
                    completed,
                    failed,
                    unfinished,
                    not_started,
                    ..Default::default()
                },
                operations: BTreeMap::from([("put".into(), operation)]),
                series_kind: "put".into(),
                ..Default::default()
            }
        };
        let judgement = Judgement {
            verdict: Verdict::Valid,
            findings: vec![],
        };
        let met = |part: PartRecord| step(1, 100.0, &part, &judgement, &load(1, 1)).unwrap().met;
        assert!(met(part(990, 10, 0, 0, 0)));
        assert!(!met(part(989, 11, 0, 0, 0)));
        assert!(met(part(999, 0, 1, 0, 0)));
        assert!(!met(part(998, 0, 2, 0, 0)));
        assert!(!met(part(998, 0, 0, 0, 2)));
        assert!(!met(part(989, 0, 0, 11, 0)));
    }
}
