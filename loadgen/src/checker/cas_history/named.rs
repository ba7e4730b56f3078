//! The anomalies that have a name, each a pattern that no order of the operations can contain.

use super::run::{Attempt, Life, Read, RunHistory, Write};
use super::{Checks, Outcome, Span, name};

/// Looks for all of them.
pub(super) fn check(run: &RunHistory, checks: &mut Checks) {
    for (&incarnation, life) in &run.lives {
        winners(run, incarnation, life, checks);
        gaps(run, incarnation, life, checks);
        phantoms(run, life, checks);
    }
    inserts(run, checks);
    let zones = Zones::new(run, checks);
    reads(run, &zones, checks);
}

fn of<'a>(run: &'a RunHistory, indices: &'a [usize]) -> impl Iterator<Item = &'a Attempt> {
    indices.iter().map(|&index| &run.attempts[index])
}

/// Whether an attempt won in the life that it believed in. One that won in another is a fault already,
/// and nothing is concluded from it.
fn won(attempt: &Attempt) -> bool {
    attempt.outcome == Outcome::Ok && attempt.life == Some(attempt.believed)
}

/// More than one attempt that left the same version, or began the same life.
fn winners(run: &RunHistory, incarnation: u64, life: &Life, checks: &mut Checks) {
    let number = run.number;
    let steps = life
        .leaving
        .iter()
        .map(|(version, list)| (Some(*version), list));
    for (version, list) in std::iter::once((None, &life.inserts)).chain(steps) {
        let step = || {
            version.map_or_else(
                || format!("run {number}: the insert of incarnation {incarnation}"),
                |version| format!("run {number}: step {version} of incarnation {incarnation}"),
            )
        };
        let won = of(run, list).filter(|attempt| won(attempt)).count();
        if won > 0 {
            checks.checked(name::DUPLICATE_WINNERS);
        }
        for _ in 1..won {
            checks.violation(name::DUPLICATE_WINNERS, || {
                format!("{} has {won} winners", step())
            });
        }
        // A value that was read beside that of the winner, or beside another one.
        let found = of(run, list)
            .filter(|attempt| attempt.outcome == Outcome::Unknown && attempt.seen)
            .count();
        for _ in usize::from(won == 0)..found {
            checks.violation(name::FORKS, || {
                format!(
                    "{} went on in {} ways, by what was read",
                    step(),
                    won + found
                )
            });
        }
    }
}

/// Versions that must have been there though nobody wrote them.
fn gaps(run: &RunHistory, incarnation: u64, life: &Life, checks: &mut Checks) {
    if !life.firm {
        return;
    }
    let number = run.number;
    let mut jumps = false;
    for attempt in life.making.values().flat_map(|list| of(run, list)) {
        if !attempt.applied() {
            continue;
        }
        checks.checked(name::GAPS);
        if attempt.jumps() {
            jumps = true;
            checks.violation(name::GAPS, || {
                format!("run {number}: {} leaves out steps", attempt.words())
            });
        }
    }
    if jumps {
        return;
    }
    let top = life.top(&run.attempts);
    let mut next = Some(0);
    let missing = |checks: &mut Checks, from: u64, to: u64| {
        checks.violation(name::GAPS, || {
            let steps = if from == to { from.to_string() } else { format!("{from} to {to}") };
            format!("run {number}: nobody wrote step {steps} of incarnation {incarnation}, and {top} was there")
        });
    };
    for (&version, list) in life.making.range(..=top) {
        if let Some(from) = next.filter(|from| *from < version) {
            missing(checks, from, version - 1);
        }
        next = version.checked_add(1);
        if of(run, list).any(Attempt::applied) {
            continue;
        }
        if of(run, list).any(Attempt::possible) {
            checks.uncertain(name::GAPS);
        } else {
            checks.violation(name::PHANTOM_FAILURES, || {
                format!("run {number}: step {version} of incarnation {incarnation} was there, and whoever could have written it was told that it had lost")
            });
        }
    }
    if let Some(from) = next.filter(|from| *from <= top) {
        missing(checks, from, top);
    }
}

/// Steps and deletes that were told to have lost while the version that they expected was there all
/// the time.
fn phantoms(run: &RunHistory, life: &Life, checks: &mut Checks) {
    for (version, list) in &life.leaving {
        let empty = Vec::new();
        let made = life.making.get(version).unwrap_or(&empty);
        // With two winners one of them is at fault, and nothing can be said of the losers.
        let winners = |list: &[usize]| of(run, list).filter(|attempt| won(attempt)).count();
        if winners(list) > 1 || winners(made) > 1 {
            continue;
        }
        let proofs = || {
            of(run, made)
                .chain(of(run, list))
                .filter(|attempt| won(attempt))
        };
        let read = life
            .reads
            .get(version)
            .into_iter()
            .flatten()
            .map(|span| span.complete);
        // Where this version was certainly reached, and until when it certainly was not left.
        let reached = proofs()
            .map(|attempt| attempt.span.complete)
            .chain(read)
            .min();
        let proven = proofs()
            .map(|attempt| attempt.span.invoke)
            .max()
            .unwrap_or(0);
        let left = |by: fn(&Attempt) -> bool| {
            let first = of(run, list)
                .filter(|attempt| by(attempt))
                .map(|attempt| attempt.span.invoke);
            first.min().unwrap_or(u64::MAX).max(proven)
        };
        let (until, until_but_for_unknown) = (left(Attempt::possible), left(Attempt::applied));
        for lost in of(run, list).filter(|attempt| !attempt.possible()) {
            checks.checked(name::PHANTOM_FAILURES);
            if reached.is_none_or(|reached| reached >= lost.span.invoke) {
                continue;
            }
            if lost.span.complete < until {
                checks.violation(name::PHANTOM_FAILURES, || {
                    format!(
                        "run {}: {} was told that it had lost while that step was there",
                        run.number,
                        lost.words()
                    )
                });
            } else if lost.span.complete < until_but_for_unknown {
                checks.uncertain(name::PHANTOM_FAILURES);
            }
        }
    }
}

/// Inserts that were told that the key was taken while no row could be there.
fn inserts(run: &RunHistory, checks: &mut Checks) {
    let (firm, all) = (run.lifespans(true), run.lifespans(false));
    for lost in &run.attempts {
        if lost.write != Write::Insert || lost.possible() {
            continue;
        }
        checks.checked(name::PHANTOM_FAILURES);
        if firm.any(lost.span) {
            continue;
        }
        if all.any(lost.span) {
            checks.uncertain(name::PHANTOM_FAILURES);
        } else {
            checks.violation(name::PHANTOM_FAILURES, || {
                format!(
                    "run {}: {} found the key taken when there was no row",
                    run.number,
                    lost.words()
                )
            });
        }
    }
}

/// Times at which one incarnation was certainly there.
#[derive(Clone, Copy, Debug)]
struct Zone {
    from: u64,
    until: u64,
    /// The same if no delete of unknown outcome took effect.
    until_but_for_unknown: u64,
    incarnation: u64,
}

/// The zones of all lives, those that are not empty, by their beginning.
struct Zones {
    /// Whatever the unknown outcomes were: such zones cannot overlap, or there is an anomaly.
    certain: Vec<Zone>,
    /// If no delete of unknown outcome took effect.
    likely: Vec<Zone>,
}

impl Zones {
    fn new(run: &RunHistory, checks: &mut Checks) -> Self {
        let mut zones: Vec<Zone> = run
            .lives
            .iter()
            .filter_map(|(&incarnation, life)| zone(run, incarnation, life))
            .collect();
        zones.sort_by_key(|zone| zone.from);
        let mut likely = zones.clone();
        likely.retain(|zone| zone.from < zone.until_but_for_unknown);
        zones.retain(|zone| zone.from < zone.until);
        let mut open: Option<Zone> = None;
        for zone in &zones {
            if let Some(open) = open.filter(|open| zone.from < open.until) {
                checks.violation(name::DUPLICATE_WINNERS, || {
                    format!(
                        "run {}: incarnations {} and {} were there at the same time",
                        run.number, open.incarnation, zone.incarnation
                    )
                });
            }
            if open.is_none_or(|open| open.until < zone.until) {
                open = Some(*zone);
            }
        }
        Self {
            certain: zones,
            likely,
        }
    }

    /// The life that was there all the time of a span.
    fn around(&self, span: Span) -> Option<u64> {
        let begun = self.certain.partition_point(|zone| zone.from < span.invoke);
        let last = self.certain[..begun].last()?;
        (last.until > span.complete).then_some(last.incarnation)
    }

    /// Whether only a delete of unknown outcome can have ended a life in time.
    fn likely_around(&self, span: Span) -> bool {
        let begun = self.likely.partition_point(|zone| zone.from < span.invoke);
        let last = self.likely[..begun].last();
        last.is_some_and(|zone| zone.until_but_for_unknown > span.complete)
    }
}

fn zone(run: &RunHistory, incarnation: u64, life: &Life) -> Option<Zone> {
    let all = || life.inserts.iter().chain(life.leaving.values().flatten());
    let proofs = || {
        all()
            .map(|&index| &run.attempts[index])
            .filter(|attempt| won(attempt))
    };
    let from = proofs().map(|attempt| attempt.span.complete).min()?;
    let proven = proofs()
        .map(|attempt| attempt.span.invoke)
        .max()
        .unwrap_or(0);
    let deleted = |unknown: bool| {
        all()
            .map(|&index| &run.attempts[index])
            .filter(|attempt| matches!(attempt.write, Write::Delete { .. }))
            .filter(|attempt| {
                attempt.outcome == Outcome::Ok || (unknown && attempt.outcome == Outcome::Unknown)
            })
            .map(|attempt| attempt.span.invoke)
            .min()
            .unwrap_or(u64::MAX)
            .max(proven)
    };
    Some(Zone {
        from,
        until: deleted(true),
        until_but_for_unknown: deleted(false),
        incarnation,
    })
}

/// The acknowledged steps of one life, by acknowledgement, with the highest version so far.
fn acknowledged(run: &RunHistory, life: &Life) -> Vec<(u64, u64)> {
    let mut steps: Vec<(u64, u64)> = life
        .making
        .iter()
        .flat_map(|(version, list)| of(run, list).map(move |attempt| (attempt, *version)))
        .filter(|(attempt, _)| won(attempt))
        .map(|(attempt, version)| (attempt.span.complete, version))
        .collect();
    steps.sort_unstable();
    let mut highest = 0;
    for (_, version) in &mut steps {
        highest = highest.max(*version);
        *version = highest;
    }
    steps
}

/// Reads that show less than had been acknowledged before they were sent.
fn reads(run: &RunHistory, zones: &Zones, checks: &mut Checks) {
    let number = run.number;
    let first_death = run.lives.values().filter_map(|life| life.died).min();
    let steps: std::collections::BTreeMap<u64, Vec<(u64, u64)>> = run
        .lives
        .iter()
        .map(|(incarnation, life)| (*incarnation, acknowledged(run, life)))
        .collect();
    for &Read {
        row,
        span,
        read_back,
    } in &run.reads
    {
        let check = if read_back {
            name::LOST_WRITES
        } else {
            name::STALE_READS
        };
        checks.checked(check);
        if first_death.is_some_and(|died| died < span.invoke) {
            checks.checked(name::RESURRECTED_RUNS);
        }
        let around = zones.around(span);
        let Some(row) = row else {
            if let Some(incarnation) = around {
                checks.violation(check, || {
                    format!("run {number}: a read at {} finds no row, and incarnation {incarnation} was there", span.invoke)
                });
            } else if zones.likely_around(span) {
                checks.uncertain(check);
            }
            continue;
        };
        let shown = || {
            format!(
                "run {number}: a read at {} shows step {} of incarnation {}",
                span.invoke, row.seq, row.incarnation
            )
        };
        let died = run.lives.get(&row.incarnation).and_then(|life| life.died);
        if died.is_some_and(|died| died < span.invoke) {
            checks.violation(name::RESURRECTED_RUNS, || {
                format!("{}, whose delete had been acknowledged", shown())
            });
            continue;
        }
        let steps = steps.get(&row.incarnation).map_or(&[][..], Vec::as_slice);
        let before = steps.partition_point(|(complete, _)| *complete < span.invoke);
        let newest = before.checked_sub(1).map(|last| steps[last].1);
        if let Some(newest) = newest.filter(|newest| row.seq < *newest) {
            checks.violation(check, || {
                format!("{}, and step {newest} had been acknowledged", shown())
            });
            continue;
        }
        if let Some(other) = around.filter(|other| *other != row.incarnation) {
            checks.violation(check, || {
                format!("{}, and incarnation {other} was there", shown())
            });
        }
    }
}
