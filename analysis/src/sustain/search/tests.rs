//! Simulated servers with a known frontier.

use super::*;
use bakeoff_crds::rng::SplitMix64;
use proptest::prelude::*;

const CLOSE: f64 = 1.1;
/// Holds within which both ends are close and tried three times each, where the frontier is from a fifth of the ramp's rate
/// to a third beyond it.
const HOLDS: usize = 14;

fn bounds(ramp: f64, top: u32) -> Bounds {
    Bounds {
        ramp,
        top,
        close: CLOSE,
    }
}

/// So many holds on a server that says of each whether it held.
fn searched(
    bounds: &Bounds,
    holds: usize,
    mut server: impl FnMut(u32) -> Option<bool>,
) -> Vec<Observation> {
    let mut seen = Vec::new();
    for _ in 0..holds {
        let rate = next(bounds, &seen);
        let held = server(rate);
        seen.push(Observation { rate, held });
    }
    seen
}

proptest! {
    #[test]
    fn the_interval_contains_the_truth_and_is_close_within_the_stated_holds(
        ramp in 50.0_f64..40_000.0, share in 0.2_f64..1.3,
    ) {
        let truth = ramp * share;
        let seen = searched(&bounds(ramp, 200_000), HOLDS, |rate| Some(f64::from(rate) <= truth));
        let found = frontier(&seen);
        let (low, high) = (found.held.unwrap(), found.not_held.unwrap());
        prop_assert!(f64::from(low) <= truth && truth < f64::from(high));
        prop_assert!(high == low + 1 || found.ratio().unwrap() <= CLOSE + 0.03, "{found:?}");
        prop_assert!(found.held_times >= 3 && found.not_held_times >= 3, "{found:?}");
        prop_assert!(found.mixed.is_empty());
    }

    /// What a crash cost changes nothing: the rate follows from the outcomes, in whatever order they are read.
    #[test]
    fn a_search_goes_on_from_its_outcomes_alone(truth in 100.0_f64..2_000.0, cut in 1_usize..12) {
        let bounds = bounds(1_000.0, 5_000);
        let whole = searched(&bounds, 12, |rate| Some(f64::from(rate) <= truth));
        let mut read: Vec<Observation> = whole[..cut].to_vec();
        read.reverse();
        prop_assert_eq!(whole.get(cut).map(|one| one.rate), (cut < 12).then(|| next(&bounds, &read)));
    }

    /// A server that holds by chance near its frontier: no rate that failed once is below the lower end, none that held once
    /// above the upper one, and all that is in between is named.
    #[test]
    fn noise_widens_the_interval_and_is_said(seed in 0_u64..500) {
        let mut rng = SplitMix64::new(seed);
        // Always held up to 900, never from 1100 on.
        let seen = searched(&bounds(1_200.0, 5_000), 20, |rate| {
            Some(rng.unit() > (f64::from(rate) - 900.0) / 200.0)
        });
        let found = frontier(&seen);
        let low = found.held.unwrap_or(0);
        let high = found.not_held.unwrap_or(u32::MAX);
        prop_assert!(low < 1_100 && high > 900, "{found:?}");
        for one in &seen {
            match one.held {
                Some(true) => prop_assert!(one.rate < high),
                _ => prop_assert!(one.rate > low),
            }
            if one.rate > low && one.rate < high {
                prop_assert!(found.mixed.contains(&one.rate));
            }
        }
    }

    #[test]
    fn there_is_always_a_rate_and_it_is_within_the_bounds(
        seen in prop::collection::vec((1_u32..3_000, prop::option::of(any::<bool>())), 0..30),
        ramp in 0.0_f64..3_000.0, top in 1_u32..3_000,
    ) {
        let seen: Vec<Observation> = seen.into_iter().map(|(rate, held)| Observation { rate, held }).collect();
        let rate = next(&bounds(ramp, top), &seen);
        prop_assert!((1..=top).contains(&rate));
    }
}

#[test]
fn a_server_that_never_holds_has_no_lower_end() {
    let seen = searched(&bounds(1_000.0, 5_000), 12, |_| Some(false));
    let found = frontier(&seen);
    assert_eq!(found.held, None);
    assert_eq!(found.not_held, seen.iter().map(|one| one.rate).min());
    assert!(found.not_held.unwrap() < 10, "{found:?}");
}

#[test]
fn a_server_that_holds_all_is_held_at_the_top_and_has_no_upper_end() {
    let seen = searched(&bounds(1_000.0, 2_000), 12, |_| Some(true));
    let rates: Vec<u32> = seen.iter().take(4).map(|one| one.rate).collect();
    assert_eq!(rates, [700, 850, 1_000, 1_150]);
    let found = frontier(&seen);
    assert_eq!((found.held, found.not_held), (Some(2_000), None));
    assert!(found.held_times >= 3);
}

/// The ramp saw seconds and took the burst for the frontier; a hold sees minutes.
#[test]
fn a_server_that_degrades_after_minutes_is_found_far_below_the_ramp() {
    let seen = searched(&bounds(9_000.0, 50_000), HOLDS, |rate| Some(rate <= 2_000));
    let found = frontier(&seen);
    let (low, high) = (found.held.unwrap(), found.not_held.unwrap());
    assert!(low <= 2_000 && high > 2_000, "{found:?}");
    assert!(found.ratio().unwrap() <= CLOSE + 0.01, "{found:?}");
}

#[test]
fn one_hiccup_is_undone_by_the_repeats() {
    let mut holds = 0;
    let seen = searched(&bounds(1_000.0, 5_000), 20, |rate| {
        holds += 1;
        Some(rate <= 950 && holds != 2)
    });
    let found = frontier(&seen);
    assert_eq!(
        seen[1],
        Observation {
            rate: 850,
            held: Some(false)
        }
    );
    // What failed once cannot be the lower end any more; it is said, and held rates above it are.
    assert!(found.mixed.contains(&850), "{found:?}");
    assert!(
        found.held.unwrap() < 850 && found.not_held.unwrap() > 950,
        "{found:?}"
    );
}

/// A generator that cannot offer a rate says nothing of the server: no upper end comes of it.
#[test]
fn what_the_generator_cannot_offer_is_no_upper_end() {
    let seen = searched(&bounds(1_000.0, 5_000), 12, |rate| {
        (rate < 900).then_some(true)
    });
    let found = frontier(&seen);
    assert_eq!(found.not_held, None);
    assert!(
        found.held.unwrap() >= 850 && found.held_times >= 3,
        "{found:?}"
    );
    let none = searched(&bounds(1_000.0, 5_000), 12, |_| None);
    assert_eq!(frontier(&none), Frontier::default());
}

#[test]
fn what_was_void_once_is_repeated_at_its_rate() {
    let mut holds = 0;
    let seen = searched(&bounds(1_000.0, 5_000), 3, |_| {
        holds += 1;
        (holds != 2).then_some(true)
    });
    let rates: Vec<u32> = seen.iter().map(|one| one.rate).collect();
    assert_eq!(rates, [700, 850, 850]);
}
