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

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bakeoff_crds::result::CheckRecord;
use serde::{Deserialize, Serialize};

/// What became of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It took effect.
    Ok,
    /// It certainly had no effect.
    Fail,
    /// Unknown.
    Info,
}

/// Where an operation lies in time: monotonic nanoseconds of one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Just before it was sent.
    pub invoke: u64,
    /// Just after its answer, or when it was given up.
    pub complete: u64,
}

/// One operation of a history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Event {
    /// A write of a value that no other write has; `None` deletes.
    Write {
        /// The operation and its client.
        id: u64,
        /// The key.
        key: Arc<str>,
        /// The value; absent for a delete.
        #[serde(skip_serializing_if = "Option::is_none")]
        value: Option<u64>,
        /// When.
        #[serde(flatten)]
        span: Span,
        /// What became of it.
        outcome: Outcome,
        /// The ETag returned, or the failure.
        #[serde(skip_serializing_if = "String::is_empty")]
        detail: String,
    },
    /// A read of one key that was answered; reads that failed say nothing and are left out.
    Read {
        /// The operation and its client.
        id: u64,
        /// The key.
        key: Arc<str>,
        /// The value found; absent when the key was not there. `u64::MAX` stands for a body that
        /// bears no whole stamp.
        value: Option<u64>,
        /// When.
        #[serde(flatten)]
        span: Span,
    },
    /// One page of a scan that was answered.
    Page {
        /// The scan that it belongs to; pages of one scan stand in order.
        scan: u64,
        /// What was listed.
        prefix: Arc<str>,
        /// The exclusive lower bound: start-after, or the last key of the page before.
        after: Arc<str>,
        /// Whether a continuation token was sent, so that the server may answer from a listing
        /// that it made when the scan began.
        by_token: bool,
        /// The keys in the order of the server.
        keys: Vec<Arc<str>>,
        /// Whether the server said that more follow.
        truncated: bool,
        /// When.
        #[serde(flatten)]
        span: Span,
    },
}

#[derive(Clone, Debug)]
struct Write {
    value: Option<u64>,
    span: Span,
    outcome: Outcome,
}

/// The writes of one key by invocation; one writer, so they do not overlap.
#[derive(Clone, Debug, Default)]
struct Versions {
    writes: Vec<Write>,
    /// Whether the last listing that had to know showed it.
    last_seen: Option<bool>,
}

/// What a read or listing may show of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    Required,
    Forbidden,
    /// Concurrent with a write: either is right.
    Open,
    /// Only a write of unknown outcome makes the difference.
    Uncertain,
}

impl Versions {
    /// The last write acknowledged before `instant`.
    fn settled(&self, instant: u64) -> Option<usize> {
        let candidates = self
            .writes
            .partition_point(|write| write.span.invoke < instant);
        (0..candidates).rev().find(|&index| {
            self.writes[index].outcome == Outcome::Ok && self.writes[index].span.complete < instant
        })
    }

    /// What a listing invoked and completed at these instants must show.
    fn presence(&self, span: Span) -> Presence {
        let settled = self.settled(span.invoke);
        let exists = settled.is_some_and(|index| self.writes[index].value.is_some());
        let (mut open, mut uncertain) = (false, false);
        for (index, write) in self.writes.iter().enumerate() {
            if write.span.invoke >= span.complete || write.value.is_some() == exists {
                continue;
            }
            match write.outcome {
                Outcome::Fail => {}
                Outcome::Info => uncertain = true,
                Outcome::Ok => open |= settled.is_none_or(|settled| index > settled),
            }
        }
        match (open, uncertain, exists) {
            (true, _, _) => Presence::Open,
            (false, true, _) => Presence::Uncertain,
            (false, false, true) => Presence::Required,
            (false, false, false) => Presence::Forbidden,
        }
    }

    /// When the write that made the key exist at `instant` was invoked, if it was acknowledged.
    fn created(&self, before: u64) -> Option<&Write> {
        self.writes.iter().find(|write| {
            write.value.is_some() && write.outcome == Outcome::Ok && write.span.complete < before
        })
    }
}

#[derive(Debug, Default)]
struct Check {
    checked: i64,
    violations: i64,
    uncertain: i64,
    examples: Vec<String>,
}

impl Check {
    fn violation(&mut self, example: impl FnOnce() -> String) {
        self.violations += 1;
        if self.examples.len() < 10 {
            self.examples.push(example());
        }
    }
}

/// The names of the checks, in the order of the report.
pub mod name {
    /// GET after an acknowledged PUT found nothing.
    pub const READ_AFTER_WRITE: &str = "readAfterWriteMisses";
    /// GET answered a version older than the last acknowledged one.
    pub const STALE_READ: &str = "staleReads";
    /// GET answered a body that nobody wrote under this key.
    pub const TORN: &str = "tornObjects";
    /// GET or LIST showed a key after its delete was acknowledged.
    pub const RESURRECTED: &str = "resurrectedDeletes";
    /// LIST left out a key that was acknowledged before the scan or the page without a token began.
    pub const LIST_MISS: &str = "listMisses";
    /// Keys not strictly ascending by bytes, before the lower bound, or outside the prefix.
    pub const ORDER: &str = "orderViolations";
    /// A key twice in one scan.
    pub const DUPLICATE: &str = "pageDuplicates";
    /// A key shown while one that was acknowledged before its write began is not.
    pub const TAIL_GAP: &str = "tailGaps";
    /// Keys acknowledged, never deleted, and missing from the last listing that had to show them.
    pub const LOST: &str = "lostWrites";
    /// All of them.
    pub const ALL: [&str; 9] = [
        READ_AFTER_WRITE,
        STALE_READ,
        TORN,
        RESURRECTED,
        LIST_MISS,
        ORDER,
        DUPLICATE,
        TAIL_GAP,
        LOST,
    ];
}

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

/// What one page speaks of, and what it and its whole scan show.
#[derive(Clone, Copy)]
struct Page<'a> {
    after: &'a str,
    until: Option<&'a Arc<str>>,
    shown: &'a BTreeSet<&'a str>,
    anywhere: &'a BTreeSet<&'a str>,
}

struct Checker {
    keys: BTreeMap<Arc<str>, Versions>,
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
        checks: name::ALL
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
        for name in [name::READ_AFTER_WRITE, name::STALE_READ, name::TORN] {
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
            None => name::READ_AFTER_WRITE,
            Some(found)
                if !versions
                    .writes
                    .iter()
                    .any(|write| write.value == Some(found)) =>
            {
                name::TORN
            }
            Some(_) if current.is_none() && settled.is_some() => name::RESURRECTED,
            Some(_) => name::STALE_READ,
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

    fn scan(&mut self, pages: &[&Event]) {
        let Some(Event::Page { span: first, .. }) = pages.first() else {
            return;
        };
        let scan_invoke = first.invoke;
        // A key that stands on another page than its place asks for is out of order, not missing.
        let anywhere: BTreeSet<&str> = pages
            .iter()
            .filter_map(|page| match page {
                Event::Page { keys, .. } => Some(keys.iter().map(AsRef::as_ref)),
                _ => None,
            })
            .flatten()
            .collect();
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        for page in pages {
            let Event::Page {
                prefix,
                after,
                by_token,
                keys,
                truncated,
                span,
                ..
            } = page
            else {
                continue;
            };
            let mut before: &str = after;
            for key in keys {
                self.on(name::ORDER).checked += 1;
                self.on(name::DUPLICATE).checked += 1;
                // At the first key there is no bound unless one was asked for.
                let ascends = before.is_empty() || key.as_bytes() > before.as_bytes();
                if !ascends || !key.starts_with(&**prefix) {
                    self.on(name::ORDER)
                        .violation(|| format!("{key} follows {before} under {prefix}"));
                }
                before = key;
                if !seen.insert(key) {
                    self.on(name::DUPLICATE)
                        .violation(|| format!("{key} twice in one scan of {prefix}"));
                }
            }
            // Up to where the page speaks: to its last key, or to the end of the prefix. The
            // largest, because a page out of order must not hide what it shows.
            let last = keys.iter().max_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
            let until = if *truncated { last } else { None };
            if *truncated && last.is_none() {
                self.on(name::ORDER)
                    .violation(|| format!("an empty page of {prefix} says that more follow"));
                continue;
            }
            let shown: BTreeSet<&str> = keys.iter().map(AsRef::as_ref).collect();
            let page = Page {
                after,
                until,
                shown: &shown,
                anywhere: &anywhere,
            };
            self.page(prefix, &page, *span, by_token.then_some(scan_invoke));
        }
    }

    /// Compares one page with every key that it speaks of.
    fn page(&mut self, prefix: &str, page: &Page<'_>, span: Span, token_scan: Option<u64>) {
        let Page {
            after,
            until,
            shown,
            anywhere,
        } = *page;
        let lower = if after.as_bytes() > prefix.as_bytes() {
            after
        } else {
            prefix
        };
        // Every key of the range, with what the page must show of it.
        let mut range: Vec<(Arc<str>, Presence, bool)> = Vec::new();
        for (key, versions) in self
            .keys
            .range::<str, _>((std::ops::Bound::Included(lower), std::ops::Bound::Unbounded))
        {
            if !key.starts_with(prefix)
                || until.is_some_and(|until| key.as_bytes() > until.as_bytes())
            {
                break;
            }
            if key.as_bytes() > after.as_bytes() {
                range.push((
                    Arc::clone(key),
                    versions.presence(span),
                    shown.contains(&**key),
                ));
            }
        }
        // The latest invocation of a first write among the keys shown: whatever was acknowledged
        // before it must be shown as well.
        let newest = range
            .iter()
            .filter(|(_, _, present)| *present)
            .filter_map(|(key, _, _)| {
                self.keys
                    .get(key)?
                    .writes
                    .iter()
                    .find(|write| write.value.is_some())
            })
            .map(|write| write.span.invoke)
            .max()
            .unwrap_or(0);
        for (key, presence, present) in range {
            let (created, deleted_early) = self.keys.get(&key).map_or((None, false), |versions| {
                let created = versions.created(span.complete).map(|write| write.span);
                let deleted = versions
                    .writes
                    .iter()
                    .any(|write| write.value.is_none() && write.span.invoke < span.complete);
                (created, deleted)
            });
            if let Some(created) = created.filter(|_| !deleted_early) {
                self.on(name::TAIL_GAP).checked += 1;
                if !present && created.complete < newest && !anywhere.contains(&*key) {
                    self.on(name::TAIL_GAP)
                        .violation(|| format!("{key} is missing though a later write shows"));
                }
            }
            self.on(name::RESURRECTED).checked += 1;
            match (presence, present) {
                (Presence::Required, true) => {
                    self.on(name::LIST_MISS).checked += 1;
                    if self.missed.remove(&key) {
                        self.stale.insert(key.clone());
                    }
                    self.seen(&key, true);
                }
                (Presence::Required, false) if anywhere.contains(&*key) => {
                    self.on(name::LIST_MISS).checked += 1;
                    self.seen(&key, true);
                }
                (Presence::Required, false) => {
                    self.on(name::LIST_MISS).checked += 1;
                    let acknowledged = created.map_or(span.invoke, |created| created.complete);
                    let late = span.invoke.saturating_sub(acknowledged);
                    // Was it acknowledged before the scan began, or only before this page?
                    let known_to_scan = token_scan.is_none_or(|scan| {
                        self.keys.get(&key).is_some_and(|versions| {
                            versions.presence(Span {
                                invoke: scan,
                                complete: span.complete,
                            }) == Presence::Required
                        })
                    });
                    if !known_to_scan {
                        self.old_token_pages += 1;
                        continue;
                    }
                    self.longest_stale = self.longest_stale.max(late);
                    self.missed.insert(key.clone());
                    self.seen(&key, false);
                    self.on(name::LIST_MISS).violation(|| {
                        format!(
                            "{key}, acknowledged {} µs before the page was asked for, is missing",
                            late / 1_000
                        )
                    });
                }
                (Presence::Forbidden, true) => {
                    let by_token_of_old_scan = token_scan.is_some_and(|scan| {
                        self.keys.get(&key).is_some_and(|versions| {
                            versions.presence(Span {
                                invoke: scan,
                                complete: span.complete,
                            }) != Presence::Forbidden
                        })
                    });
                    if by_token_of_old_scan {
                        self.old_token_pages += 1;
                    } else {
                        self.on(name::RESURRECTED)
                            .violation(|| format!("LIST shows {key}, which does not exist"));
                    }
                }
                (Presence::Uncertain, true) => self.on(name::RESURRECTED).uncertain += 1,
                (Presence::Uncertain, false) => self.on(name::LIST_MISS).uncertain += 1,
                (Presence::Open, _) | (Presence::Forbidden, false) => {}
            }
        }
        for key in shown.iter().filter(|key| !self.keys.contains_key(**key)) {
            let check = self.checks.entry(name::RESURRECTED).or_default();
            check.violation(|| format!("LIST shows {key}, which was never written"));
        }
    }

    fn seen(&mut self, key: &str, present: bool) {
        if let Some(versions) = self.keys.get_mut(key) {
            versions.last_seen = Some(present);
        }
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
            match versions.last_seen {
                None => never_listed += 1,
                Some(true) => lost.checked += 1,
                Some(false) => {
                    lost.checked += 1;
                    lost.violation(|| {
                        format!("{key} was acknowledged and is missing from the last listing")
                    });
                }
            }
        }
        self.checks.insert(name::LOST, lost);
        let checks = name::ALL
            .into_iter()
            .filter_map(|name| {
                let check = self.checks.remove(name)?;
                Some(CheckRecord {
                    name: name.to_owned(),
                    checked: check.checked,
                    violations: check.violations,
                    uncertain: check.uncertain,
                    examples: check.examples,
                })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, value: u64, invoke: u64, complete: u64, outcome: Outcome) -> Event {
        let span = Span { invoke, complete };
        Event::Write {
            id: value,
            key: key.into(),
            value: Some(value),
            span,
            outcome,
            detail: String::new(),
        }
    }

    fn delete(key: &str, invoke: u64, complete: u64, outcome: Outcome) -> Event {
        let span = Span { invoke, complete };
        Event::Write {
            id: 0,
            key: key.into(),
            value: None,
            span,
            outcome,
            detail: String::new(),
        }
    }

    fn get(key: &str, value: Option<u64>, invoke: u64) -> Event {
        Event::Read {
            id: 0,
            key: key.into(),
            value,
            span: Span {
                invoke,
                complete: invoke + 5,
            },
        }
    }

    fn page(
        scan: u64,
        after: &str,
        token: bool,
        keys: &[&str],
        truncated: bool,
        invoke: u64,
    ) -> Event {
        Event::Page {
            scan,
            prefix: "p/".into(),
            after: after.into(),
            by_token: token,
            keys: keys.iter().map(|&key| key.into()).collect(),
            truncated,
            span: Span {
                invoke,
                complete: invoke + 5,
            },
        }
    }

    fn violations(history: &[Event]) -> Vec<(&'static str, i64)> {
        let report = check(history);
        name::ALL
            .into_iter()
            .zip(&report.checks)
            .filter(|(_, check)| check.violations > 0)
            .map(|(name, check)| (name, check.violations))
            .collect()
    }

    fn uncertain(history: &[Event]) -> i64 {
        check(history)
            .checks
            .iter()
            .map(|check| check.uncertain)
            .sum()
    }

    use Outcome::{Fail, Info, Ok};

    #[test]
    fn a_sound_history_passes() {
        let history = [
            put("p/a", 1, 10, 20, Ok),
            get("p/a", Some(1), 30),
            put("p/b", 2, 40, 50, Ok),
            page(1, "", false, &["p/a", "p/b"], false, 60),
            put("p/a", 3, 70, 80, Ok),
            // Concurrent with the overwrite: both answers are right.
            get("p/a", Some(1), 72),
            get("p/a", Some(3), 72),
            delete("p/b", 90, 100, Ok),
            get("p/b", None, 110),
            page(2, "", false, &["p/a"], true, 120),
            page(2, "p/a", true, &[], false, 130),
        ];
        assert_eq!(violations(&history), []);
        let report = check(&history);
        assert_eq!(
            (report.never_listed, report.stale_keys, report.longest_stale),
            (0, 0, 0)
        );
    }

    #[test]
    fn each_planted_read_fault_is_named() {
        let base = [put("p/a", 1, 10, 20, Ok)];
        let with = |more: &[Event]| [&base[..], more].concat();
        assert_eq!(
            violations(&with(&[get("p/a", None, 30)])),
            [(name::READ_AFTER_WRITE, 1)]
        );
        assert_eq!(
            violations(&with(&[get("p/a", Some(9), 30)])),
            [(name::TORN, 1)]
        );
        let overwritten = with(&[put("p/a", 2, 30, 40, Ok), get("p/a", Some(1), 50)]);
        assert_eq!(violations(&overwritten), [(name::STALE_READ, 1)]);
        let deleted = with(&[delete("p/a", 30, 40, Ok), get("p/a", Some(1), 50)]);
        assert_eq!(violations(&deleted), [(name::RESURRECTED, 1)]);
    }

    #[test]
    fn each_planted_list_fault_is_named() {
        let base = [
            put("p/a", 1, 10, 20, Ok),
            put("p/b", 2, 30, 40, Ok),
            put("p/c", 3, 50, 60, Ok),
        ];
        let with = |more: &[Event]| [&base[..], more].concat();
        assert_eq!(
            violations(&with(&[page(
                1,
                "",
                false,
                &["p/a", "p/b", "p/c"],
                false,
                70
            )])),
            []
        );
        let dropped = with(&[page(1, "", false, &["p/a", "p/c"], false, 70)]);
        assert_eq!(
            violations(&dropped),
            [(name::LIST_MISS, 1), (name::TAIL_GAP, 1), (name::LOST, 1)]
        );
        let twice = with(&[
            page(1, "", false, &["p/a", "p/b"], true, 70),
            page(1, "p/b", true, &["p/b", "p/c"], false, 80),
        ]);
        assert_eq!(violations(&twice), [(name::ORDER, 1), (name::DUPLICATE, 1)]);
        let order = with(&[page(1, "", false, &["p/b", "p/a", "p/c"], false, 70)]);
        assert_eq!(violations(&order), [(name::ORDER, 1)]);
        let foreign = with(&[page(1, "", false, &["p/a", "p/b", "p/c", "p/x"], false, 70)]);
        assert_eq!(violations(&foreign), [(name::RESURRECTED, 1)]);
        let back = with(&[
            delete("p/b", 70, 80, Ok),
            page(1, "", false, &["p/a", "p/b", "p/c"], false, 90),
        ]);
        assert_eq!(violations(&back), [(name::RESURRECTED, 1)]);
        // Skipped between two pages.
        let skipped = with(&[
            page(1, "", false, &["p/a"], true, 70),
            page(1, "p/a", false, &["p/c"], false, 80),
        ]);
        assert_eq!(
            violations(&skipped),
            [(name::LIST_MISS, 1), (name::TAIL_GAP, 1), (name::LOST, 1)]
        );
    }

    #[test]
    fn a_key_on_the_wrong_page_is_out_of_order_and_not_missing() {
        // The order of a tree and not of bytes: what lies below a key comes right after it.
        let history = [
            put("p/a", 1, 10, 20, Ok),
            put("p/a-b", 2, 30, 40, Ok),
            put("p/a/b", 3, 50, 60, Ok),
            page(1, "", false, &["p/a", "p/a/b"], true, 70),
            page(1, "p/a/b", true, &["p/a-b"], false, 80),
        ];
        assert_eq!(violations(&history), [(name::ORDER, 1)]);
    }

    #[test]
    fn a_gap_is_seen_even_among_writes_that_are_still_under_way() {
        // The listing overlaps both writes, so neither must show; but b without a is a gap.
        let history = [
            put("p/a", 1, 10, 20, Ok),
            put("p/b", 2, 22, 30, Ok),
            page(1, "", false, &["p/b"], false, 15),
        ];
        // The page lasts until 20: stretch it over both.
        let mut history = history.to_vec();
        if let Event::Page { span, .. } = &mut history[2] {
            span.complete = 40;
        }
        assert_eq!(violations(&history), [(name::TAIL_GAP, 1)]);
    }

    #[test]
    fn a_page_by_token_may_be_as_old_as_its_scan_and_is_counted_apart() {
        let history = [
            put("p/a", 1, 10, 20, Ok),
            page(1, "", false, &["p/a"], true, 30),
            put("p/b", 2, 40, 50, Ok),
            page(1, "p/a", true, &[], false, 60),
        ];
        assert_eq!(violations(&history), []);
        assert_eq!(check(&history).old_token_pages, 1);
    }

    #[test]
    fn unknown_outcomes_stay_uncertain_for_ever() {
        let put_lost = [
            put("p/a", 1, 10, 20, Info),
            get("p/a", Some(1), 1_000),
            get("p/a", None, 2_000),
        ];
        assert_eq!(violations(&put_lost), []);
        let old_write_lands_late = [
            put("p/a", 1, 10, 20, Info),
            put("p/a", 2, 30, 40, Ok),
            get("p/a", Some(1), 1_000),
            delete("p/a", 2_000, 2_010, Info),
            page(1, "", false, &[], false, 3_000),
        ];
        assert_eq!(violations(&old_write_lands_late), []);
        assert_eq!(uncertain(&old_write_lands_late), 2);
        let failed = [
            put("p/a", 1, 10, 20, Ok),
            put("p/a", 2, 30, 40, Fail),
            get("p/a", Some(2), 50),
        ];
        assert_eq!(violations(&failed), [(name::STALE_READ, 1)]);
    }

    #[test]
    fn a_key_that_appears_late_is_stale_and_not_lost() {
        let history = [
            put("p/a", 1, 10, 20, Ok),
            page(1, "", false, &[], false, 1_020),
            page(2, "", false, &["p/a"], false, 2_000),
        ];
        let report = check(&history);
        assert_eq!(violations(&history), [(name::LIST_MISS, 1)]);
        assert_eq!((report.stale_keys, report.longest_stale), (1, 1_000));
    }
}
