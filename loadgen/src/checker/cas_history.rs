//! Checks what a head table answered to writers that race for the same runs.
//!
//! A run is one row: absent, or present with the *incarnation* that its insert gave it, a `seq` that
//! starts at 0, and a value that no other attempt writes. What every writer relies on:
//!
//! - an insert succeeds when the row is absent, and makes `(incarnation, 0)`;
//! - a compare-and-swap succeeds when the row is exactly what the writer believes, `(incarnation,
//!   expected)`, and makes `(incarnation, expected + 1)`;
//! - a delete succeeds under the same condition, and makes the row absent;
//! - otherwise they touch no row, and a read answers the row.
//!
//! The history is right when all of it can be put into one order that respects real time (Herlihy and
//! Wing, TOPLAS 1990) and in which each answer is the one above. An operation of unknown outcome may
//! have taken effect at any instant after it was sent, for ever, or never.
//!
//! Each version of a row has one writer and one place, so the order of versions is known without a
//! search (the principle of Elle, Kingsbury and Alvaro, VLDB 2020). The checks come in two parts.
//! `run` looks for the anomalies that have names; `order` then decides, for a run without any of
//! them, whether an order exists at all. Both take the time of one sort; only where an unknown outcome
//! leaves open how an incarnation ended, or where lives of two incarnations overlap, is there something
//! to try, up to a bound beyond which the run counts as uncertain.

mod named;
mod order;
mod run;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::Check;
use bakeoff_crds::result::CheckRecord;
use serde::{Deserialize, Serialize};

pub use super::s3_history::Span;

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// One row: it took effect.
    Ok,
    /// No row, a key that exists, or a rollback that the server stated: it certainly had no effect.
    Lost,
    /// The connection died or the wait was given up: it may take effect at any time, or never.
    Unknown,
}

/// A row as a read found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// The life of the run: another value after each insert.
    pub incarnation: u64,
    /// The step.
    pub seq: u64,
    /// The value of the attempt that wrote it.
    pub value: u64,
}

/// One operation of a history. A history holds every insert of the runs that it speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Event {
    /// INSERT of a row with `seq` 0. No two inserts of a run carry the same incarnation.
    #[serde(rename_all = "camelCase")]
    Insert {
        /// Who sent it; a writer gets a new number after an unknown outcome.
        writer: u32,
        /// The run.
        run: u64,
        /// The incarnation that it begins.
        incarnation: u64,
        /// The value, unique over all attempts.
        value: u64,
        /// When.
        #[serde(flatten)]
        span: Span,
        /// What became of it; `Lost` when the key was taken.
        outcome: Outcome,
    },
    /// UPDATE from one step to the next.
    #[serde(rename_all = "camelCase")]
    Cas {
        /// Who sent it.
        writer: u32,
        /// The run.
        run: u64,
        /// The incarnation that the writer believed to be there, whether or not the statement says so.
        incarnation: u64,
        /// The step that the writer believed to be there.
        expected: u64,
        /// The step that it writes: the one after `expected`, or the writer is at fault.
        new: u64,
        /// The value, unique over all attempts.
        value: u64,
        /// When.
        #[serde(flatten)]
        span: Span,
        /// What became of it.
        outcome: Outcome,
    },
    /// DELETE of a run that was at its last step.
    #[serde(rename_all = "camelCase")]
    Delete {
        /// Who sent it.
        writer: u32,
        /// The run.
        run: u64,
        /// The incarnation that the writer believed to be there.
        incarnation: u64,
        /// The step that the writer believed to be there.
        expected: u64,
        /// When.
        #[serde(flatten)]
        span: Span,
        /// What became of it.
        outcome: Outcome,
    },
    /// SELECT that was answered; reads that failed say nothing and are left out.
    #[serde(rename_all = "camelCase")]
    Read {
        /// Who sent it.
        writer: u32,
        /// The run.
        run: u64,
        /// What it found; absent when there was no row.
        row: Option<Row>,
        /// When.
        #[serde(flatten)]
        span: Span,
        /// Whether it belongs to the final read-back, after all writers had come to rest.
        read_back: bool,
    },
}

impl Event {
    /// The run that it speaks of.
    #[must_use]
    pub fn run(&self) -> u64 {
        match *self {
            Self::Insert { run, .. }
            | Self::Cas { run, .. }
            | Self::Delete { run, .. }
            | Self::Read { run, .. } => run,
        }
    }
}

impl Event {
    /// When it was.
    pub fn span_mut(&mut self) -> &mut Span {
        match self {
            Self::Insert { span, .. }
            | Self::Cas { span, .. }
            | Self::Delete { span, .. }
            | Self::Read { span, .. } => span,
        }
    }
}

/// The names of the checks, in the order of the report.
pub mod name {
    pub use bakeoff_analysis::vocabulary::CAS_CHECKS as ALL;
    pub use bakeoff_analysis::vocabulary::{
        ABA_WINS, DUPLICATE_WINNERS, FORKS, GAPS, IMPOSSIBLE_ORDERS, LOST_WRITES, PHANTOM_FAILURES,
        RESURRECTED_RUNS, STALE_READS,
    };
}

/// The checks of a history, by name.
#[derive(Debug)]
struct Checks(BTreeMap<&'static str, Check>);

impl Checks {
    fn new() -> Self {
        Self(
            name::ALL
                .iter()
                .map(|&name| (name, Check::default()))
                .collect(),
        )
    }

    fn checked(&mut self, name: &'static str) {
        self.0.entry(name).or_default().checked += 1;
    }

    fn uncertain(&mut self, name: &'static str) {
        self.0.entry(name).or_default().uncertain += 1;
    }

    fn violation(&mut self, name: &'static str, example: impl FnOnce() -> String) {
        self.0.entry(name).or_default().violation(example);
    }

    fn violations(&self) -> i64 {
        self.0.values().map(|check| check.violations).sum()
    }

    fn records(mut self) -> Vec<CheckRecord> {
        name::ALL
            .iter()
            .filter_map(|&name| {
                let check = self.0.remove(name)?;
                Some(check.into_record(name))
            })
            .collect()
    }
}

/// What a history says.
#[derive(Debug, Default)]
pub struct Report {
    /// Every check, also those without a violation. `uncertain` counts those of the facts checked
    /// that only an unknown outcome can explain.
    pub checks: Vec<CheckRecord>,
    /// Steps that were won, deletes included.
    pub steps: u64,
    /// Those of them for which another writer's attempt was under way at the same time as the
    /// winner's: the only ones at which a race could go wrong.
    pub contended_steps: u64,
    /// Attempts that certainly had no effect.
    pub lost_races: u64,
    /// Attempts of unknown outcome.
    pub unknown_outcomes: u64,
}

/// The clocks that a history was dated by.
#[derive(Clone, Copy)]
pub struct Clocks<'a> {
    /// The clock of a writer, as its place in `errors`.
    pub of: &'a dyn Fn(u32) -> usize,
    /// By how much each may be wrong, nanoseconds: every span dated by it has been made longer by that at both
    /// ends.
    pub errors: &'a [u64],
}

impl std::fmt::Debug for Clocks<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clocks")
            .field("errors", &self.errors)
            .finish_non_exhaustive()
    }
}

impl Clocks<'_> {
    /// One clock for all, which is right.
    const ONE: Self = Self {
        of: &|_| 0,
        errors: &[],
    };

    /// Whether the attempts of two writers were certainly under way at the same time. By one clock spans count as
    /// they were, whatever its error; by two each is made shorter by as much as it was made longer.
    fn met(&self, (one, a): (u32, Span), (other, b): (u32, Span)) -> bool {
        let (first, second) = ((self.of)(one), (self.of)(other));
        let error = |clock: usize| self.errors.get(clock).copied().unwrap_or(0);
        let times = if first == second { 1 } else { 2 };
        let shorter = |span: Span, clock: usize| {
            let by = error(clock).saturating_mul(times);
            (
                span.invoke.saturating_add(by),
                span.complete.saturating_sub(by),
            )
        };
        let (a, b) = (shorter(a, first), shorter(b, second));
        a.0 <= b.1 && b.0 <= a.1
    }
}

/// Checks a history that was dated by one clock, in any order of its events.
#[must_use]
pub fn check(history: &[Event]) -> Report {
    check_within(history, &Clocks::ONE, order::ATTEMPTS)
}

/// Checks a history that was dated by several clocks, whose spans allow for what these may be wrong.
#[must_use]
pub fn check_by(history: &[Event], clocks: &Clocks<'_>) -> Report {
    check_within(history, clocks, order::ATTEMPTS)
}

/// The same with a bound of attempts at ordering one run.
fn check_within(history: &[Event], clocks: &Clocks<'_>, attempts: usize) -> Report {
    let mut runs: BTreeMap<u64, Vec<&Event>> = BTreeMap::new();
    for event in history {
        runs.entry(event.run()).or_default().push(event);
    }
    let mut checks = Checks::new();
    let mut report = Report::default();
    for (number, events) in runs {
        let before = checks.violations();
        let mut run = run::RunHistory::new(number, &events);
        run.resolve(&mut checks);
        named::check(&run, &mut checks);
        run.count(&mut report, clocks);
        // What has a name is not reported a second time without one.
        if checks.violations() > before {
            continue;
        }
        checks.checked(name::IMPOSSIBLE_ORDERS);
        match order::exists(&run, attempts) {
            Some(true) => {}
            Some(false) => checks.violation(name::IMPOSSIBLE_ORDERS, || {
                format!(
                    "run {number}: no order of its {} operations explains the answers",
                    events.len()
                )
            }),
            None => checks.uncertain(name::IMPOSSIBLE_ORDERS),
        }
    }
    report.checks = checks.records();
    report
}
