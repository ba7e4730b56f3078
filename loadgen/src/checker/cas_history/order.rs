//! Whether the operations of a run can be put into one order that explains every answer.
//!
//! A run without a named anomaly has at most one way through each life: its insert, then one attempt for
//! each version, then perhaps a delete. Let τ₀ ≤ τ₁ ≤ … be the instants at which these took effect.
//! Every answer bounds them:
//!
//! - an attempt itself: invoke ≤ τ ≤ complete (no upper end when its outcome is unknown);
//! - a read of the version that lives from τₖ to τₖ₊₁: τₖ ≤ complete and invoke ≤ τₖ₊₁;
//! - a failure, which needs an instant at which that version was *not* there: invoke ≤ τₖ or
//!   τₖ₊₁ ≤ complete; a read that finds no row says the same of a whole life, and an insert that
//!   finds the key taken says it of the time between two lives.
//!
//! The last kind is an *or*, but a tame one: given τₖ, it only bounds τₖ₊₁ from above by a completion
//! that lies after τₖ, and the later τₖ is, the weaker is that bound. So the latest instants that the
//! upper bounds allow, taken from the first to the last, are the best ones at every place, and an order
//! exists exactly if these obey the lower bounds. Upper ends of later operations count for earlier
//! ones as well, so they are handed down beforehand.
//!
//! What is left to choose: which life comes next where two may, and what attempts of unknown outcome
//! did after the last version that is certain. These choices are tried in depth.

use super::Outcome;
use super::run::{Attempt, Life, RunHistory, Write};

/// Choices tried for one run before it counts as uncertain.
pub(super) const ATTEMPTS: usize = 1_000_000;

/// Before every instant; those of the history are moved up by one.
const DAWN: u64 = 0;
/// After every instant.
const NEVER: u64 = u64::MAX;

fn instant(nanoseconds: u64) -> u64 {
    nanoseconds.saturating_add(1)
}

/// Spans that must not lie between two neighbouring effects.
#[derive(Debug, Default)]
struct Fence {
    invokes: Vec<u64>,
    /// The earliest completion among those invoked at or after each.
    completes: Vec<u64>,
}

impl Fence {
    fn new(spans: impl Iterator<Item = super::Span>) -> Self {
        let mut spans: Vec<(u64, u64)> = spans
            .map(|span| (instant(span.invoke), instant(span.complete)))
            .collect();
        spans.sort_unstable();
        let mut earliest = NEVER;
        for (_, complete) in spans.iter_mut().rev() {
            earliest = earliest.min(*complete);
            *complete = earliest;
        }
        let (invokes, completes) = spans.into_iter().unzip();
        Self { invokes, completes }
    }

    /// The latest instant for the later effect when the earlier one is at `effect`.
    fn limit(&self, effect: u64) -> u64 {
        let before = self.invokes.partition_point(|invoke| *invoke <= effect);
        self.completes.get(before).copied().unwrap_or(NEVER)
    }
}

/// One effect of a life that is certain: where it may lie.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    earliest: u64,
    latest: u64,
}

/// A version and how it may be left.
#[derive(Debug, Default)]
struct Version {
    /// Attempts to leave it that were told that it was not there.
    failures: Fence,
    /// The earliest invocations of a step and of a delete of unknown outcome.
    unknown_step: Option<u64>,
    unknown_delete: Option<u64>,
}

/// A life of the row.
#[derive(Debug)]
struct Path {
    /// Whether it certainly was.
    needed: bool,
    /// The effects that make versions 0 to the last certain one, and an acknowledged delete after them.
    effects: Vec<Bounds>,
    deleted: bool,
    /// The versions, also those that only unknown outcomes lead to.
    versions: Vec<Version>,
    /// The latest invocation of a read of the last certain version.
    last_read: u64,
}

/// `None`: a version is missing, which is reported by its name.
fn path(run: &RunHistory, life: &Life) -> Option<Path> {
    let of = |list: Option<&Vec<usize>>| -> Vec<Attempt> {
        list.into_iter()
            .flatten()
            .map(|&index| run.attempts[index])
            .collect()
    };
    let bounds = |attempt: &Attempt| Bounds {
        earliest: instant(attempt.span.invoke),
        latest: if attempt.outcome == Outcome::Ok {
            instant(attempt.span.complete)
        } else {
            NEVER
        },
    };
    // The one that certainly did it, or else the one of unknown outcome that could do so first.
    let choose = |list: &[Attempt]| -> Option<Bounds> {
        let certain = list.iter().find(|attempt| attempt.applied());
        let unknown = || {
            list.iter()
                .filter(|attempt| attempt.possible())
                .min_by_key(|attempt| attempt.span.invoke)
        };
        certain.or_else(unknown).map(bounds)
    };
    let top = life.top(&run.attempts);
    let mut effects = Vec::new();
    let mut versions = Vec::new();
    let mut last_read = DAWN;
    for number in 0.. {
        let made = choose(&of(life.making.get(&number)));
        // Beyond the last certain version only unknown outcomes lead on.
        let Some(mut effect) = made else {
            if number <= top {
                return None;
            }
            break;
        };
        if number <= top {
            effect.earliest = effect.earliest.max(last_read);
            last_read = DAWN;
            for span in life.reads.get(&number).into_iter().flatten() {
                effect.latest = effect.latest.min(instant(span.complete));
                last_read = last_read.max(instant(span.invoke));
            }
            effects.push(effect);
        }
        let leaving = of(life.leaving.get(&number));
        let unknown = |delete: bool| {
            leaving
                .iter()
                .filter(|attempt| attempt.outcome == Outcome::Unknown)
                .filter(|attempt| matches!(attempt.write, Write::Delete { .. }) == delete)
                .map(|attempt| instant(attempt.span.invoke))
                .min()
        };
        versions.push(Version {
            failures: Fence::new(
                leaving
                    .iter()
                    .filter(|attempt| !attempt.possible())
                    .map(|attempt| attempt.span),
            ),
            unknown_step: unknown(false),
            unknown_delete: unknown(true),
        });
    }
    let end = of(life.leaving.get(&top))
        .into_iter()
        .find(|attempt| attempt.makes().is_none() && attempt.outcome == Outcome::Ok);
    if let Some(mut end) = end.as_ref().map(bounds) {
        end.earliest = end.earliest.max(last_read);
        effects.push(end);
    }
    // What comes later must not lie before what comes earlier.
    let mut latest = NEVER;
    for effect in effects.iter_mut().rev() {
        latest = latest.min(effect.latest);
        effect.latest = latest;
    }
    Some(Path {
        needed: life.firm,
        effects,
        deleted: end.is_some(),
        versions,
        last_read,
    })
}

impl Path {
    fn first(&self) -> Bounds {
        self.effects.first().copied().unwrap_or(Bounds {
            earliest: DAWN,
            latest: NEVER,
        })
    }
}

/// A place on the way through the history, each with the latest instant of the last effect.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// No row.
    Absent(u64),
    /// About to begin a life, from no row.
    Begin(usize, u64),
    /// At a version with nothing certain after it; a delete must not be later than `limit`.
    Open {
        path: usize,
        version: usize,
        effect: u64,
        limit: u64,
    },
}

struct Search {
    paths: Vec<Path>,
    /// Needed lives by their latest beginning, then all lives by their earliest.
    by_latest: Vec<usize>,
    by_earliest: Vec<usize>,
    used: Vec<bool>,
    /// Needed lives that have not begun.
    missing: usize,
    /// The lives begun, in order.
    trail: Vec<usize>,
    /// Reads that found no row.
    absent: Fence,
    /// Inserts that found the key taken.
    taken: Fence,
}

/// Whether an order exists; `None` when that was not settled within so many choices.
pub(super) fn exists(run: &RunHistory, attempts: usize) -> Option<bool> {
    let mut paths = Vec::new();
    for life in run.lives.values() {
        match path(run, life) {
            Some(path) if !path.effects.is_empty() => paths.push(path),
            Some(_) => {}
            None if life.firm => return Some(false),
            None => {}
        }
    }
    let needed = |paths: &[Path]| {
        (0..paths.len())
            .filter(|&path| paths[path].needed)
            .collect::<Vec<_>>()
    };
    let mut by_latest = needed(&paths);
    by_latest.sort_by_key(|&path| paths[path].first().latest);
    let mut by_earliest: Vec<usize> = (0..paths.len()).collect();
    by_earliest.sort_by_key(|&path| paths[path].first().earliest);
    let found = |wanted: &RunHistory| {
        let reads = wanted.reads.iter().filter(|read| read.row.is_none());
        reads.map(|read| read.span).collect::<Vec<_>>()
    };
    let taken = run
        .attempts
        .iter()
        .filter(|attempt| attempt.write == Write::Insert && !attempt.possible())
        .map(|attempt| attempt.span);
    let search = Search {
        used: vec![false; paths.len()],
        missing: by_latest.len(),
        trail: Vec::new(),
        absent: Fence::new(found(run).into_iter()),
        taken: Fence::new(taken),
        paths,
        by_latest,
        by_earliest,
    };
    search.run(attempts)
}

/// What is left to try: a place, how long the trail was there, and how much of the lists was used up.
type Pending = (Place, usize, (usize, usize));

impl Search {
    fn run(mut self, attempts: usize) -> Option<bool> {
        let mut pending: Vec<Pending> = vec![(Place::Absent(DAWN), 0, (0, 0))];
        let mut tried = 0;
        while let Some((place, depth, cursors)) = pending.pop() {
            tried += 1;
            if tried > attempts {
                return None;
            }
            for path in self.trail.drain(depth.min(self.trail.len())..) {
                self.used[path] = false;
                self.missing += usize::from(self.paths[path].needed);
            }
            let done = match place {
                Place::Absent(effect) => self.absent(effect, cursors, &mut pending, &mut tried),
                Place::Begin(path, effect) => {
                    self.begin(path, effect, cursors, &mut pending);
                    false
                }
                Place::Open {
                    path,
                    version,
                    effect,
                    limit,
                } => self.open(path, version, effect, limit, cursors, &mut pending),
            };
            if done {
                return Some(true);
            }
        }
        Some(false)
    }

    /// The latest instant of an effect that all lives still needed leave.
    fn others(&self, from: usize) -> u64 {
        let mut left = self.by_latest[from.min(self.by_latest.len())..].iter();
        left.find(|&&path| !self.used[path])
            .map_or(NEVER, |&path| self.paths[path].first().latest)
    }

    fn absent(
        &self,
        effect: u64,
        cursors: (usize, usize),
        pending: &mut Vec<Pending>,
        tried: &mut usize,
    ) -> bool {
        let limit = self.taken.limit(effect);
        if self.missing == 0 && limit == NEVER {
            return true;
        }
        let skip = |list: &[usize], from: usize| {
            let left = list.get(from..).unwrap_or_default();
            from + left.iter().take_while(|&&path| self.used[path]).count()
        };
        let cursors = (
            skip(&self.by_latest, cursors.0),
            skip(&self.by_earliest, cursors.1),
        );
        // No life may begin later than the one that has to begin first.
        let bound = limit.min(self.others(cursors.0));
        let depth = self.trail.len();
        let urgent = self.by_latest.get(cursors.0).copied();
        let mut optional = Vec::new();
        for &path in &self.by_earliest[cursors.1..] {
            if self.paths[path].first().earliest > bound {
                break;
            }
            *tried += 1;
            if self.used[path] || Some(path) == urgent {
                continue;
            }
            let rank = (self.paths[path].needed, path);
            optional.push(rank);
        }
        // The most urgent is tried first, so it is put down last; those not needed are tried last.
        optional.sort_unstable();
        for (_, path) in optional {
            pending.push((Place::Begin(path, effect), depth, cursors));
        }
        if let Some(path) = urgent {
            pending.push((Place::Begin(path, effect), depth, cursors));
        }
        false
    }

    fn begin(
        &mut self,
        index: usize,
        effect: u64,
        cursors: (usize, usize),
        pending: &mut Vec<Pending>,
    ) {
        self.used[index] = true;
        self.trail.push(index);
        let path = &self.paths[index];
        self.missing -= usize::from(path.needed);
        let others = self.others(cursors.0);
        let first = path.first();
        let mut effect = self.taken.limit(effect).min(first.latest).min(others);
        if effect < first.earliest {
            return;
        }
        let limit = self.absent.limit(effect).min(others);
        for (version, bounds) in path.versions.iter().zip(path.effects.iter().skip(1)) {
            effect = version.failures.limit(effect).min(bounds.latest).min(limit);
            if effect < bounds.earliest {
                return;
            }
        }
        let place = if path.deleted {
            Place::Absent(effect)
        } else {
            let version = path.effects.len() - 1;
            Place::Open {
                path: index,
                version,
                effect,
                limit,
            }
        };
        pending.push((place, self.trail.len(), cursors));
    }

    fn open(
        &self,
        index: usize,
        number: usize,
        effect: u64,
        limit: u64,
        cursors: (usize, usize),
        pending: &mut Vec<Pending>,
    ) -> bool {
        let path = &self.paths[index];
        let Some(version) = path.versions.get(number) else {
            return false;
        };
        let bound = version.failures.limit(effect);
        if self.missing == 0 && limit == NEVER && bound == NEVER {
            return true;
        }
        let next = bound.min(limit);
        let read = if number + 1 == path.effects.len() {
            path.last_read
        } else {
            DAWN
        };
        let possible = |invoke: Option<u64>| invoke.is_some_and(|invoke| invoke.max(read) <= next);
        let depth = self.trail.len();
        if possible(version.unknown_step) && number + 1 < path.versions.len() {
            let place = Place::Open {
                path: index,
                version: number + 1,
                effect: next,
                limit,
            };
            pending.push((place, depth, cursors));
        }
        if possible(version.unknown_delete) {
            pending.push((Place::Absent(next), depth, cursors));
        }
        false
    }
}
