//! Looking at the data before the last block without paying for it with false verdicts.
//!
//! Whoever tests after every block and stops at the first p below 0.05 is wrong far more often than
//! one time in twenty: each look is another chance. Here the looks are fixed beforehand, and the
//! 5 % are divided among them: each look tests at a level of its own, and the levels add up to 5 %.
//! By Bonferroni's inequality the chance of a false verdict at *any* look is then at most 5 %,
//! whatever the dependence between the looks and whatever the noise, because the sign-flip test at
//! each look is exact by itself.
//!
//! How much each look gets follows the spending function of O'Brien and Fleming's type (Lan and
//! DeMets, Biometrika 70:3, 1983): `alpha(t) = 2 - 2 Phi(z / sqrt t)` with `t` the share of the
//! blocks that is there. Early looks get little, so that only a clear difference stops a run, and
//! the last keeps most: a run that goes to its end loses little for having been looked at. Group
//! sequential boundaries for normal data would be a little less strict; with six to twenty blocks
//! and an exact test their approximation is not worth the gain.

use super::{ALPHA, power, special};

/// The two-sided 5 % point of the standard normal distribution.
const Z: f64 = 1.959_963_985;

/// A look at the data.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Look {
    /// Complete blocks at which it is taken.
    pub blocks: i32,
    /// The level at which every test and interval of this look is taken, two-sided, 0 to 0.05.
    pub level: f64,
}

/// The looks of a run, planned before it begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Looks {
    looks: Vec<Look>,
}

impl Looks {
    /// A run without early looks: one look at the end, at 5 %.
    #[must_use]
    pub fn at_end(blocks: i32) -> Self {
        let level = ALPHA;
        Self {
            looks: vec![Look { blocks, level }],
        }
    }

    /// `looks` looks (the one at the end included), evenly spaced from `first` to `last` blocks.
    ///
    /// A look at which the sign-flip test could not reach its level even if all blocks agreed
    /// (`2 / 2^n` is the smallest p-value) would spend for nothing and is left out; so are looks
    /// that coincide. With one look left it is [`Looks::at_end`]. Where the level of a look is divided among several
    /// questions (`share`, at least 1), the test has to reach its share.
    #[must_use]
    pub fn new(first: i32, last: i32, looks: i32, share: usize) -> Self {
        let (last, looks) = (last.max(1), looks.clamp(1, 100));
        let first = first.clamp(1, last);
        let mut at: Vec<i32> = (0..looks)
            .map(|index| match looks {
                1 => last,
                // Whole blocks, rounded down: a look may come early but never twice.
                _ => first + (last - first) * index / (looks - 1),
            })
            .collect();
        at.dedup();
        loop {
            let planned = spend(&at, last);
            let reachable = |look: &Look| {
                let level = look.level / share.max(1) as f64;
                usize::try_from(look.blocks).unwrap_or(0) >= power::least_blocks(level)
            };
            let useless = planned.iter().position(|look| !reachable(look));
            match useless {
                // The last one stays: what keeps it from its level is the one before it.
                Some(index) if at.len() > 1 => {
                    at.remove(index.min(at.len() - 2));
                }
                _ => return Self { looks: planned },
            }
        }
    }

    /// The looks, in order.
    #[must_use]
    pub fn looks(&self) -> &[Look] {
        &self.looks
    }

    /// The level at which data of so many complete blocks are judged.
    ///
    /// Between two looks (a run that was cancelled) no level was set aside, so the strictest of the
    /// plan is taken.
    #[must_use]
    pub fn level(&self, blocks: i32) -> f64 {
        let planned = self.looks.iter().find(|look| look.blocks == blocks);
        planned.map_or_else(
            || self.looks.iter().map(|l| l.level).fold(ALPHA, f64::min),
            |look| look.level,
        )
    }

    /// Whether the data may be looked at after so many complete blocks, before the last.
    #[must_use]
    pub fn is_early_look(&self, blocks: i32) -> bool {
        let early = self.looks.split_last().map_or(&[][..], |(_, early)| early);
        early.iter().any(|look| look.blocks == blocks)
    }
}

fn spend(at: &[i32], last: i32) -> Vec<Look> {
    let mut spent = 0.0;
    at.iter()
        .map(|blocks| {
            let share = f64::from(*blocks) / f64::from(last);
            let until = if *blocks == last {
                ALPHA
            } else {
                2.0 * special::normal_cdf(-Z / share.sqrt())
            };
            let level = until - spent;
            spent = until;
            Look {
                blocks: *blocks,
                level,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::permutation::sign_flip;
    use bakeoff_crds::rng::SplitMix64;
    use proptest::prelude::*;

    #[test]
    fn spends_as_the_published_function() {
        // Lan and DeMets' alpha(t) at 0.05 two-sided, t = 1/2: 2 - 2 Phi(2.7718) = 0.00557.
        let plan = Looks::new(10, 20, 3, 1);
        let looks = plan.looks();
        assert_eq!(
            looks.iter().map(|l| l.blocks).collect::<Vec<_>>(),
            [10, 15, 20]
        );
        assert!((looks[0].level - 0.005_57).abs() < 1e-5, "{looks:?}");
        assert!(looks.iter().map(|l| l.level).sum::<f64>() <= ALPHA + 1e-12);
        assert!(looks[2].level > 0.02);
        assert!(plan.is_early_look(10) && !plan.is_early_look(20) && !plan.is_early_look(11));
        assert_eq!(plan.level(12), looks[0].level);
    }

    #[test]
    fn looks_that_could_not_show_anything_spend_nothing() {
        // Five of ten blocks cannot reach 0.0056: the least p-value is 0.0625.
        let plan = Looks::new(5, 10, 2, 1);
        assert_eq!(plan, Looks::at_end(10));
        assert_eq!(Looks::new(1, 1, 5, 1), Looks::at_end(1));
    }

    #[test]
    fn looks_at_which_no_share_could_show_anything_spend_nothing() {
        let blocks = |share: usize| -> Vec<i32> {
            let plan = Looks::new(8, 12, 3, share);
            plan.looks().iter().map(|look| look.blocks).collect()
        };
        assert_eq!(blocks(1), [8, 10, 12]);
        // A third of the level at eight blocks is 0.0055, and the least p-value is 0.0078.
        assert_eq!(blocks(3), [10, 12]);
        assert_eq!(Looks::new(8, 12, 3, 0), Looks::new(8, 12, 3, 1));
        // The last look is for all of them: what keeps it from its level goes.
        for (first, last, looks, share) in [(8, 9, 3, 4), (6, 8, 3, 2)] {
            assert_eq!(Looks::new(first, last, looks, share), Looks::at_end(last));
        }
    }

    proptest! {
        #[test]
        fn never_spends_more_than_there_is(first in 0_i32..120, last in 1_i32..=100, looks in 0_i32..12) {
            let plan = Looks::new(first, last, looks, 1);
            let spent: f64 = plan.looks().iter().map(|look| look.level).sum();
            prop_assert!(spent <= ALPHA + 1e-12);
            prop_assert_eq!(plan.looks().last().map(|look| look.blocks), Some(last));
            prop_assert!(plan.looks().windows(2).all(|two| two[0].blocks < two[1].blocks));
            prop_assert!(plan.looks().iter().all(|look| look.level > 0.0));
        }
    }

    /// Log-ratios of a backend with itself: heavy tails, a drift that both share and that therefore
    /// cancels, and a penalty for whoever comes second, which the random order turns into noise.
    fn a_with_a(rng: &mut SplitMix64, blocks: usize) -> Vec<f64> {
        let heavy = |rng: &mut SplitMix64| {
            let unit = rng.unit().max(1e-9);
            (rng.unit() - 0.5) * 0.05 / unit.sqrt()
        };
        let mut drift = 0.0;
        (0..blocks)
            .map(|_| {
                drift = 0.9 * drift + heavy(rng);
                let second = if rng.next_u64() >> 63 == 0 {
                    0.08
                } else {
                    -0.08
                };
                (drift + heavy(rng) + second) - (drift + heavy(rng))
            })
            .collect()
    }

    fn false_verdicts(plan: &Looks, experiments: u64, level: impl Fn(&Look) -> f64) -> f64 {
        let most = plan.looks().last().map_or(0, |look| look.blocks);
        let wrong = (0..experiments)
            .filter(|seed| {
                let mut rng = SplitMix64::stream(*seed, "early-stop");
                let blocks = a_with_a(&mut rng, usize::try_from(most).unwrap());
                plan.looks().iter().any(|look| {
                    let seen = &blocks[..usize::try_from(look.blocks).unwrap()];
                    sign_flip(seen, *seed) <= level(look)
                })
            })
            .count();
        wrong as f64 / experiments as f64
    }

    #[test]
    fn stopping_early_keeps_false_verdicts_at_five_percent() {
        for plan in [
            Looks::new(8, 12, 3, 1),
            Looks::new(7, 14, 8, 1),
            Looks::new(8, 10, 2, 1),
        ] {
            assert!(plan.looks().len() >= 2, "{plan:?}");
            let share = false_verdicts(&plan, 3_000, |look| look.level);
            assert!(share <= 0.05, "{plan:?}: {share}");
        }
        // The planted fault: the same looks, each at 5 %, as whoever peeks at p-values does.
        let peeking = false_verdicts(&Looks::new(7, 14, 8, 1), 3_000, |_| ALPHA);
        assert!(peeking > 0.08, "{peeking}");
    }

    #[test]
    fn a_clear_difference_stops_early() {
        let plan = Looks::new(8, 16, 3, 1);
        let first = plan.looks()[0];
        let clear: Vec<f64> = (0..first.blocks)
            .map(|i| 0.3 + 0.01 * f64::from(i))
            .collect();
        assert!(sign_flip(&clear, 1) <= first.level, "{plan:?}");
    }
}
