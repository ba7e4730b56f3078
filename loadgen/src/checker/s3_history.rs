//! Checks what an object store answered against what it had acknowledged.
//!
//! Each key has one writer, each write a unique value, so the order of a key's versions is known
//! and no search is needed (the principle of Elle, Kingsbury and Alvaro, VLDB 2020; the outcomes
//! and the classification of list elements follow Jepsen). An operation whose outcome is unknown
//! (`Info`) may take effect at any later time, for ever: what only it can explain is counted as
//! uncertain and never as a violation.
//!
//! Let *L* be the last write of a key that was acknowledged before a read was invoked. The read may
//! answer L, any write of the key invoked after L and before the read's completion, and any write of
//! unknown outcome invoked before that completion.

mod event;
mod listing;
#[cfg(test)]
mod tests;
mod versions;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bakeoff_analysis::vocabulary;
use bakeoff_crds::result::CheckRecord;

pub use self::event::{Event, Outcome, Span};
use self::versions::{Versions, Write};
use super::Check;

/// The checks, in the order of the report.
const CHECKS: [&str; 9] = [
    vocabulary::READ_AFTER_WRITE_MISSES,
    vocabulary::STALE_READS,
    vocabulary::TORN_OBJECTS,
    vocabulary::RESURRECTED_DELETES,
    vocabulary::LIST_MISSES,
    vocabulary::ORDER_VIOLATIONS,
    vocabulary::PAGE_DUPLICATES,
    vocabulary::TAIL_GAPS,
    vocabulary::LOST_WRITES,
];

/// What a history says.
#[derive(Debug, Default)]
pub struct Report {
    /// Every check, also those without a violation.
    pub checks: Vec<CheckRecord>,
    /// The longest time after its acknowledgement at which a key was still missing from a listing,
    /// nanoseconds; 0 when none was.
    pub longest_stale: u64,
    /// Keys that were missing from a listing at first and then appeared.
    pub stale_keys: u64,
    /// Acknowledged keys that no listing ever had to show.
    pub never_listed: u64,
    /// Keys that pages asked for by token left out, or still showed, though acknowledged or deleted
    /// before the page, but not before its scan, was invoked: the server answers later pages from
    /// a listing made when the scan began. Not a violation, since S3 promises nothing else.
    pub old_token_pages: u64,
}

struct Checker {
    keys: BTreeMap<Arc<str>, Versions>,
    /// When the last write had ended: what is listed later is listed at rest.
    rest: u64,
    checks: BTreeMap<&'static str, Check>,
    missed: BTreeSet<Arc<str>>,
    longest_stale: u64,
    stale: BTreeSet<Arc<str>>,
    old_token_pages: u64,
}

/// Checks a history. The events may come in any order, except that the pages of one scan stand in
/// the order in which they were read.
#[must_use]
pub fn check(history: &[Event]) -> Report {
    let mut checker = Checker {
        keys: BTreeMap::new(),
        rest: 0,
        checks: CHECKS
            .into_iter()
            .map(|name| (name, Check::default()))
            .collect(),
        missed: BTreeSet::new(),
        longest_stale: 0,
        stale: BTreeSet::new(),
        old_token_pages: 0,
    };
    for event in history {
        if let Event::Write {
            key,
            value,
            span,
            outcome,
            ..
        } = event
        {
            checker.rest = checker.rest.max(span.complete);
            let write = Write {
                value: *value,
                span: *span,
                outcome: *outcome,
            };
            checker
                .keys
                .entry(key.clone())
                .or_default()
                .writes
                .push(write);
        }
    }
    for versions in checker.keys.values_mut() {
        versions.writes.sort_by_key(|write| write.span.invoke);
    }
    let mut scans: BTreeMap<u64, Vec<&Event>> = BTreeMap::new();
    for event in history {
        match event {
            Event::Write { .. } => {}
            Event::Read {
                key, value, span, ..
            } => checker.read(key, *value, *span),
            Event::Page { scan, .. } => scans.entry(*scan).or_default().push(event),
        }
    }
    // Scans in the order of time, so that "the last listing" means what it says.
    let mut ordered: Vec<Vec<&Event>> = scans.into_values().collect();
    ordered.sort_by_key(|pages| match pages.first() {
        Some(Event::Page { span, .. }) => span.invoke,
        _ => 0,
    });
    for pages in ordered {
        checker.scan(&pages);
    }
    checker.finish()
}

impl Checker {
    fn on(&mut self, name: &'static str) -> &mut Check {
        self.checks.entry(name).or_default()
    }

    fn read(&mut self, key: &str, value: Option<u64>, span: Span) {
        for name in [
            vocabulary::READ_AFTER_WRITE_MISSES,
            vocabulary::STALE_READS,
            vocabulary::TORN_OBJECTS,
        ] {
            self.on(name).checked += 1;
        }
        let versions = self.keys.get(key).cloned().unwrap_or_default();
        let settled = versions.settled(span.invoke);
        let current = settled.and_then(|index| versions.writes[index].value);
        if value == current {
            return;
        }
        let explained = |outcome| {
            versions.writes.iter().enumerate().any(|(index, write)| {
                write.value == value
                    && write.outcome == outcome
                    && write.span.invoke < span.complete
                    && (outcome == Outcome::Info || settled.is_none_or(|settled| index > settled))
            })
        };
        // Before the first write the key is absent: right as long as nothing settled.
        if explained(Outcome::Ok) || (value.is_none() && settled.is_none()) {
            return;
        }
        let name = match value {
            None => vocabulary::READ_AFTER_WRITE_MISSES,
            Some(found)
                if !versions
                    .writes
                    .iter()
                    .any(|write| write.value == Some(found)) =>
            {
                vocabulary::TORN_OBJECTS
            }
            Some(_) if current.is_none() && settled.is_some() => vocabulary::RESURRECTED_DELETES,
            Some(_) => vocabulary::STALE_READS,
        };
        if explained(Outcome::Info) {
            self.on(name).uncertain += 1;
            return;
        }
        self.on(name).violation(|| {
            let show = |value: Option<u64>| {
                value.map_or("nothing".to_owned(), |value| format!("write {value}"))
            };
            format!(
                "GET {key} at {} answered {}, not {}",
                span.invoke,
                show(value),
                show(current)
            )
        });
    }

    fn finish(mut self) -> Report {
        let mut never_listed = 0;
        let mut lost = Check::default();
        for (key, versions) in &self.keys {
            let lives = versions
                .settled(u64::MAX)
                .is_some_and(|index| versions.writes[index].value.is_some());
            if !lives {
                continue;
            }
            never_listed += u64::from(!versions.listed);
            lost.checked += 1;
            match versions.at_rest {
                Some(true) => {}
                Some(false) => lost.violation(|| {
                    format!("{key} was acknowledged and is missing from the last listing")
                }),
                // No listing at rest was answered, or an unknown delete may explain what it shows: an older one tells nothing
                // of the end.
                None => lost.uncertain += 1,
            }
        }
        self.checks.insert(vocabulary::LOST_WRITES, lost);
        let checks = CHECKS
            .into_iter()
            .filter_map(|name| {
                let check = self.checks.remove(name)?;
                Some(check.into_record(name))
            })
            .collect();
        Report {
            checks,
            longest_stale: self.longest_stale,
            stale_keys: self.stale.len() as u64,
            never_listed,
            old_token_pages: self.old_token_pages,
        }
    }
}
