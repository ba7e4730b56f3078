//! Which rate is held next, and between which rates the frontier lies. (Pure.)
//!
//! Holds take minutes to hours, so the search begins just below what the ramp found, and what it knows is read from the
//! outcomes of all holds so far and from nothing else. A rate stands for what *all* its holds showed: one that held once and
//! failed once is neither end of the interval but lies between them, so that chance widens the interval and never shifts it.

use std::collections::BTreeMap;

/// The share of the ramp's rate at which the first hold is, and the ones above it while all held, per cent.
const OPENING: [f64; 3] = [70.0, 85.0, 100.0];
/// How much further up each hold goes beyond the ramp's rate.
const BEYOND: f64 = 1.15;
/// How much further down each hold goes while none held; twice of it from the third rate on.
const DOWN: f64 = 0.7;
/// The descent from the third rate on.
const FAR_DOWN: f64 = 0.5;

/// What a hold showed at its rate, whole operations per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The rate.
    pub rate: u32,
    /// Whether it was held; nothing where the generator or the set-up is to blame, which says nothing of the server.
    pub held: Option<bool>,
}

/// Within what is searched.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The highest rate that met the objective in the ramp.
    pub ramp: f64,
    /// Operations per second beyond which no hold goes.
    pub top: u32,
    /// The ratio of the ends below which they are not narrowed further, above 1.
    pub close: f64,
}

/// Between which rates the frontier lies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    /// The highest rate that was held each time, below all that ever were not.
    pub held: Option<u32>,
    /// How often it was.
    pub held_times: usize,
    /// The lowest rate that was not held once, above all that ever were.
    pub not_held: Option<u32>,
    /// How often it was tried.
    pub not_held_times: usize,
    /// Rates between them, or beside the one that is there: held at times, or held above one that was not.
    pub mixed: Vec<u32>,
}

impl Frontier {
    /// How far the ends are apart, where there are two.
    #[must_use]
    pub fn ratio(&self) -> Option<f64> {
        Some(f64::from(self.not_held?) / f64::from(self.held?))
    }
}

/// How often a rate was held, was not, and showed nothing.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    held: usize,
    not: usize,
    void: usize,
}

fn tally(seen: &[Observation]) -> BTreeMap<u32, Tally> {
    let mut rates: BTreeMap<u32, Tally> = BTreeMap::new();
    for one in seen {
        let tally = rates.entry(one.rate).or_default();
        match one.held {
            Some(true) => tally.held += 1,
            Some(false) => tally.not += 1,
            None => tally.void += 1,
        }
    }
    rates
}

/// What the holds so far say of the frontier, in whatever order they were.
#[must_use]
pub fn frontier(seen: &[Observation]) -> Frontier {
    let rates = tally(seen);
    let tested = || rates.iter().filter(|(_, tally)| tally.held + tally.not > 0);
    let lowest_failed = tested().find(|(_, tally)| tally.not > 0);
    let highest_held = tested().rev().find(|(_, tally)| tally.held > 0);
    let held = tested()
        .rev()
        .find(|(rate, tally)| tally.not == 0 && lowest_failed.is_none_or(|(low, _)| *rate < low));
    let not_held = tested()
        .find(|(rate, tally)| tally.held == 0 && highest_held.is_none_or(|(top, _)| *rate > top));
    let between = |rate: &u32| {
        held.is_none_or(|(low, _)| rate > low) && not_held.is_none_or(|(high, _)| rate < high)
    };
    Frontier {
        held: held.map(|(rate, _)| *rate),
        held_times: held.map_or(0, |(_, tally)| tally.held),
        not_held: not_held.map(|(rate, _)| *rate),
        not_held_times: not_held.map_or(0, |(_, tally)| tally.not),
        mixed: tested().map(|(rate, _)| *rate).filter(between).collect(),
    }
}

/// A whole rate, of a number that is one up to rounding.
fn whole(rate: f64) -> u32 {
    // Saturating, as every cast of a float.
    rate.round() as u32
}

/// The rate of the next hold. There always is one: when both ends are close it is one of them again.
#[must_use]
pub fn next(bounds: &Bounds, seen: &[Observation]) -> u32 {
    let found = frontier(seen);
    let rates = tally(seen);
    let top = bounds.top.max(1);
    let silent = || {
        rates
            .iter()
            .filter(|(_, tally)| tally.held + tally.not == 0)
    };
    // Once may be chance, and is repeated.
    if let Some((again, _)) = silent().find(|(_, tally)| tally.void == 1) {
        return (*again).clamp(1, top);
    }
    // A rate at which nothing was shown twice is beyond the generator, and what is above it as well.
    let void = silent().next().map(|(rate, _)| *rate);
    let tested: Vec<u32> = rates
        .iter()
        .filter(|(_, tally)| tally.held + tally.not > 0)
        .map(|(rate, _)| *rate)
        .collect();
    let rate = match (found.held, found.not_held) {
        (Some(low), Some(high)) => between(bounds, &found, &tested, low, high),
        (Some(_), None) => up(bounds, &tested, void),
        (None, Some(_)) | (None, None) => match (tested.first(), void) {
            (Some(&lowest), _) => down(lowest, tested.len()),
            (None, Some(void)) => down(void, 1),
            (None, None) => whole(bounds.ramp * OPENING[0] / 100.0),
        },
    };
    rate.clamp(1, top)
}

/// Further up: by the shares of the ramp, then beyond it; not to where the generator could not follow.
fn up(bounds: &Bounds, tested: &[u32], void: Option<u32>) -> u32 {
    let last = tested.last().copied().unwrap_or(1);
    let shares = OPENING
        .iter()
        .map(|share| whole(bounds.ramp * share / 100.0));
    // At least so far that it is another rate, and not as little as to be none.
    let step = |rate: &u32| f64::from(*rate) > f64::from(last) * 1.02;
    let rate = shares.into_iter().find(step);
    let rate = rate.unwrap_or_else(|| whole(f64::from(last) * BEYOND).max(last.saturating_add(1)));
    match void {
        Some(void) if rate >= void => {
            let middle = whole((f64::from(last) * f64::from(void)).sqrt());
            let apart = f64::from(void) / f64::from(last) > bounds.close;
            if apart && middle > last && middle < void {
                middle
            } else {
                last
            }
        }
        _ => rate,
    }
}

/// Further down from the lowest of so many rates.
fn down(lowest: u32, tested: usize) -> u32 {
    let share = if tested < 3 { DOWN } else { FAR_DOWN };
    whole(f64::from(lowest) * share).max(1)
}

/// Between the two ends; where nothing is left to narrow, the end that was tried less often.
fn between(bounds: &Bounds, found: &Frontier, tested: &[u32], low: u32, high: u32) -> u32 {
    // What lies between is neither: each end is narrowed towards the nearest of it.
    let above = tested
        .iter()
        .copied()
        .find(|&rate| rate > low)
        .unwrap_or(high);
    let below = tested
        .iter()
        .copied()
        .rev()
        .find(|&rate| rate < high)
        .unwrap_or(low);
    let ratio = |(from, to): (u32, u32)| f64::from(to) / f64::from(from.max(1));
    let (lower, upper) = ((low, above), (below, high));
    let wider = if ratio(upper) > ratio(lower) {
        upper
    } else {
        lower
    };
    let middle = whole((f64::from(wider.0) * f64::from(wider.1)).sqrt());
    if ratio(wider) > bounds.close && middle > wider.0 && middle < wider.1 {
        middle
    } else if found.not_held_times < found.held_times {
        high
    } else {
        low
    }
}

#[cfg(test)]
mod tests;
