//! What the pages of a scan must show.

use std::collections::BTreeSet;
use std::sync::Arc;

use bakeoff_analysis::vocabulary;

use super::Checker;
use super::event::{Event, Span};
use super::versions::Presence;

/// What one page speaks of, and what it and its whole scan show.
#[derive(Clone, Copy)]
struct Page<'a> {
    after: &'a str,
    until: Option<&'a Arc<str>>,
    shown: &'a BTreeSet<&'a str>,
    anywhere: &'a BTreeSet<&'a str>,
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
        for (position, page) in pages.iter().enumerate() {
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
            // Such a page speaks of nothing, and S3 allows it where others follow.
            if *truncated && last.is_none() {
                if position + 1 < pages.len() {
                    continue;
                }
                self.on(vocabulary::ORDER_VIOLATIONS)
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
                self.on(vocabulary::TAIL_GAPS).checked += 1;
                if !present && created.complete < newest && !anywhere.contains(&*key) {
                    self.on(vocabulary::TAIL_GAPS)
                        .violation(|| format!("{key} is missing though a later write shows"));
                }
            }
            self.on(vocabulary::RESURRECTED_DELETES).checked += 1;
            match (presence, present) {
                (Presence::Required, true) => {
                    self.on(vocabulary::LIST_MISSES).checked += 1;
                    if self.missed.remove(&key) {
                        self.stale.insert(key.clone());
                    }
                    self.seen(&key, true);
                }
                (Presence::Required, false) if anywhere.contains(&*key) => {
                    self.on(vocabulary::LIST_MISSES).checked += 1;
                    self.seen(&key, true);
                }
                (Presence::Required, false) => {
                    self.on(vocabulary::LIST_MISSES).checked += 1;
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
                    self.on(vocabulary::LIST_MISSES).violation(|| {
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
                        self.on(vocabulary::RESURRECTED_DELETES)
                            .violation(|| format!("LIST shows {key}, which does not exist"));
                    }
                }
                (Presence::Uncertain, true) => {
                    self.on(vocabulary::RESURRECTED_DELETES).uncertain += 1
                }
                (Presence::Uncertain, false) => self.on(vocabulary::LIST_MISSES).uncertain += 1,
                (Presence::Open, _) | (Presence::Forbidden, false) => {}
            }
        }
        for key in shown.iter().filter(|key| !self.keys.contains_key(**key)) {
            let check = self
                .checks
                .entry(vocabulary::RESURRECTED_DELETES)
                .or_default();
            check.violation(|| format!("LIST shows {key}, which was never written"));
        }
    }

    fn seen(&mut self, key: &str, present: bool) {
        if let Some(versions) = self.keys.get_mut(key) {
            versions.last_seen = Some(present);
        }
    }
}
