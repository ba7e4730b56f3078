//! What the pages of a scan must show.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use bakeoff_analysis::vocabulary;

use super::Checker;
use super::event::{Event, Span};
use super::versions::Presence;
use crate::drivers::s3::MOST_EMPTY_PAGES;

/// What one page speaks of, and what it and its whole scan show.
#[derive(Clone, Copy)]
struct Page<'a> {
    after: &'a str,
    until: Option<&'a Arc<str>>,
    shown: &'a BTreeSet<&'a str>,
    anywhere: &'a BTreeSet<&'a str>,
    span: Span,
    /// When its scan began, where the page continues it by a token.
    token_scan: Option<u64>,
}

impl Page<'_> {
    /// What it shows is no older than this.
    fn as_of(&self) -> u64 {
        self.token_scan.unwrap_or(self.span.invoke)
    }
}

/// A key that a page speaks of.
struct Entry {
    key: Arc<str>,
    /// What the page must show of it.
    presence: Presence,
    /// Whether it shows it.
    present: bool,
}

impl Checker {
    pub(super) fn scan(&mut self, pages: &[&Event]) {
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
        let mut empty = 0;
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
                self.on(vocabulary::ORDER_VIOLATIONS).checked += 1;
                self.on(vocabulary::PAGE_DUPLICATES).checked += 1;
                // At the first key there is no bound unless one was asked for.
                let ascends = before.is_empty() || key.as_bytes() > before.as_bytes();
                if !ascends || !key.starts_with(&**prefix) {
                    self.on(vocabulary::ORDER_VIOLATIONS)
                        .violation(|| format!("{key} follows {before} under {prefix}"));
                }
                before = key;
                if !seen.insert(key) {
                    self.on(vocabulary::PAGE_DUPLICATES)
                        .violation(|| format!("{key} twice in one scan of {prefix}"));
                }
            }
            // Up to where the page speaks: to its last key, or to the end of the prefix. The
            // largest, because a page out of order must not hide what it shows.
            let last = keys.iter().max_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
            let until = if *truncated { last } else { None };
            // Such a page speaks of nothing, and S3 allows it where others follow. Where none does, the next request may
            // have failed: only a scan that gave up by itself found no end.
            if *truncated && last.is_none() {
                empty += 1;
                if empty > MOST_EMPTY_PAGES {
                    self.on(vocabulary::ORDER_VIOLATIONS)
                        .violation(|| format!("empty pages of {prefix} say that more follow"));
                }
                continue;
            }
            empty = 0;
            let shown: BTreeSet<&str> = keys.iter().map(AsRef::as_ref).collect();
            let page = Page {
                after,
                until,
                shown: &shown,
                anywhere: &anywhere,
                span: *span,
                token_scan: by_token.then_some(scan_invoke),
            };
            self.page(prefix, &page);
        }
    }

    /// Compares one page with every key that it speaks of.
    fn page(&mut self, prefix: &str, page: &Page<'_>) {
        let range = self.range(prefix, page);
        let newest = self.newest(&range);
        for entry in &range {
            let created = self.tail_gap(entry, page, newest);
            self.on(vocabulary::RESURRECTED_DELETES).checked += 1;
            match (entry.presence, entry.present) {
                (Presence::Required, present) => self.required(entry, page, present, created),
                (Presence::Forbidden, true) => self.resurrected(&entry.key, page),
                (Presence::Uncertain, true) => {
                    self.on(vocabulary::RESURRECTED_DELETES).uncertain += 1;
                }
                (Presence::Uncertain, false) => {
                    let check = self.on(vocabulary::LIST_MISSES);
                    check.checked += 1;
                    check.uncertain += 1;
                }
                (Presence::Open, _) | (Presence::Forbidden, false) => {}
            }
        }
        let strange = page
            .shown
            .iter()
            .filter(|key| !self.keys.contains_key(**key));
        for key in strange.copied().collect::<Vec<_>>() {
            self.on(vocabulary::RESURRECTED_DELETES)
                .violation(|| format!("LIST shows {key}, which was never written"));
        }
    }

    /// Every key of the range that the page speaks of, with what it must show of it.
    fn range(&self, prefix: &str, page: &Page<'_>) -> Vec<Entry> {
        let after = page.after.as_bytes();
        let lower = if after > prefix.as_bytes() {
            page.after
        } else {
            prefix
        };
        let within = |key: &str| {
            key.starts_with(prefix)
                && page
                    .until
                    .is_none_or(|until| key.as_bytes() <= until.as_bytes())
        };
        self.keys
            .range::<str, _>((Bound::Included(lower), Bound::Unbounded))
            .take_while(|(key, _)| within(key))
            .filter(|(key, _)| key.as_bytes() > after)
            .map(|(key, versions)| Entry {
                key: Arc::clone(key),
                presence: versions.presence(page.span),
                present: page.shown.contains(&**key),
            })
            .collect()
    }

    /// The latest invocation of a first write among the keys shown: whatever was acknowledged before it must be shown as well.
    fn newest(&self, range: &[Entry]) -> u64 {
        let shown = range.iter().filter(|entry| entry.present);
        let first_writes = shown.filter_map(|entry| {
            let writes = &self.keys.get(&entry.key)?.writes;
            writes.iter().find(|write| write.value.is_some())
        });
        let invoked = first_writes.map(|write| write.span.invoke);
        invoked.max().unwrap_or(0)
    }

    /// Whether a key is missing although a later one shows; answers when it was created, where that is certain.
    fn tail_gap(&mut self, entry: &Entry, page: &Page<'_>, newest: u64) -> Option<Span> {
        let key = &entry.key;
        let versions = self.keys.get(key)?;
        let created = versions.created(page.span.complete)?.span;
        let deleted_early = versions
            .writes
            .iter()
            .any(|write| write.value.is_none() && write.span.invoke < page.span.complete);
        if !deleted_early {
            self.on(vocabulary::TAIL_GAPS).checked += 1;
            if !entry.present && created.complete < newest && !page.anywhere.contains(&**key) {
                self.on(vocabulary::TAIL_GAPS)
                    .violation(|| format!("{key} is missing though a later write shows"));
            }
        }
        Some(created)
    }

    /// A key that has to be shown, by this page or, out of order, by another one of the scan.
    fn required(&mut self, entry: &Entry, page: &Page<'_>, present: bool, created: Option<Span>) {
        let key = &entry.key;
        self.on(vocabulary::LIST_MISSES).checked += 1;
        if present && self.missed.remove(key) {
            self.stale.insert(key.clone());
        }
        if present || page.anywhere.contains(&**key) {
            self.seen(key, page, true);
            return;
        }
        // Was it acknowledged before the scan began, or only before this page?
        if self
            .of_the_scan(key, page)
            .is_some_and(|of_the_scan| of_the_scan != Presence::Required)
        {
            self.old_token_pages += 1;
            return;
        }
        let acknowledged = created.map_or(page.span.invoke, |created| created.complete);
        let late = page.span.invoke.saturating_sub(acknowledged);
        self.longest_stale = self.longest_stale.max(late);
        self.missed.insert(key.clone());
        self.seen(key, page, false);
        self.on(vocabulary::LIST_MISSES).violation(|| {
            format!(
                "{key}, acknowledged {} µs before the page was asked for, is missing",
                late / 1_000
            )
        });
    }

    /// A key that is shown and must not be, unless it was there when the scan began whose token the page continues.
    fn resurrected(&mut self, key: &Arc<str>, page: &Page<'_>) {
        if self
            .of_the_scan(key, page)
            .is_some_and(|of_the_scan| of_the_scan != Presence::Forbidden)
        {
            self.old_token_pages += 1;
        } else {
            self.on(vocabulary::RESURRECTED_DELETES)
                .violation(|| format!("LIST shows {key}, which does not exist"));
        }
    }

    /// What must be shown of a key from the beginning of the scan on, where the page continues one by its token.
    fn of_the_scan(&self, key: &Arc<str>, page: &Page<'_>) -> Option<Presence> {
        let span = Span {
            invoke: page.token_scan?,
            complete: page.span.complete,
        };
        self.keys.get(key).map(|versions| versions.presence(span))
    }

    fn seen(&mut self, key: &str, page: &Page<'_>, present: bool) {
        let at_rest = page.as_of() > self.rest;
        if let Some(versions) = self.keys.get_mut(key) {
            versions.listed = true;
            if at_rest {
                versions.at_rest = Some(present);
            }
        }
    }
}
