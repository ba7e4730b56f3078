//! What reads found wrong. (Pure.)

use bakeoff_analysis::vocabulary;
use bakeoff_crds::result::CheckRecord;

use super::dataset::Dataset;
use crate::checker::Check;
use crate::failure::Failure;

/// What the reads found wrong, by check.
#[derive(Debug, Default)]
pub struct Findings {
    missing: Check,
    duplicates: Check,
    order: Check,
    /// Objects of another length than was written.
    bodies: Check,
    /// Objects that are listed and are not there.
    misses: Check,
}

impl Findings {
    /// An object was read, of so many bytes.
    pub fn read(&mut self, key: &str, bytes: u64, size: u64) {
        self.misses.checked += 1;
        self.bodies.checked += 1;
        if bytes != size {
            self.bodies
                .violation(|| format!("{key}: {bytes} bytes, not {size}"));
        }
    }

    /// An object was listed, and the store says that it is not there.
    pub fn gone(&mut self, key: &str, failure: &Failure) {
        self.misses.checked += 1;
        self.misses
            .violation(|| format!("{key} is listed: {failure}"));
    }

    /// Compares a listing with what was written: exactly the states from `first` on, in order.
    pub fn listing(&mut self, dataset: &Dataset, run: usize, first: usize, keys: &[String]) {
        let asked = i64::try_from(dataset.objects - first).unwrap_or(0);
        for check in [&mut self.missing, &mut self.duplicates, &mut self.order] {
            check.checked += asked;
        }
        let prefix = dataset.prefix(run);
        let mut seen = vec![false; dataset.objects];
        let mut before: Option<&String> = None;
        for key in keys {
            if before.is_some_and(|before| before.as_bytes() >= key.as_bytes()) {
                self.order
                    .violation(|| format!("{key} follows {}", before.map_or("", String::as_str)));
            }
            before = Some(key);
            let state = key
                .strip_prefix(&prefix)
                .and_then(|rest| rest.parse::<usize>().ok());
            match state.filter(|&state| state >= first && *key == dataset.key(run, state)) {
                Some(state) if state < seen.len() => {
                    if std::mem::replace(&mut seen[state], true) {
                        self.duplicates.violation(|| key.clone());
                    }
                }
                _ => self.order.violation(|| format!("{key} was not asked for")),
            }
        }
        for state in (first..dataset.objects).filter(|&state| !seen[state]) {
            self.missing.violation(|| dataset.key(run, state));
        }
    }

    /// As they stand in a trial.
    #[must_use]
    pub fn records(self) -> Vec<CheckRecord> {
        vec![
            self.missing.into_record(vocabulary::LIST_MISSES),
            self.duplicates.into_record(vocabulary::PAGE_DUPLICATES),
            self.order.into_record(vocabulary::ORDER_VIOLATIONS),
            self.bodies.into_record(vocabulary::TORN_OBJECTS),
            self.misses.into_record(vocabulary::READ_AFTER_WRITE_MISSES),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dataset() -> Dataset {
        Dataset {
            base: "d/".into(),
            runs: 1,
            objects: 4,
            size: 1,
        }
    }

    fn findings(first: usize, states: &[usize]) -> Vec<(String, i64)> {
        let dataset = dataset();
        let keys: Vec<String> = states.iter().map(|&state| dataset.key(0, state)).collect();
        let mut findings = Findings::default();
        findings.listing(&dataset, 0, first, &keys);
        findings
            .records()
            .into_iter()
            .map(|check| (check.name, check.violations))
            .filter(|c| c.1 > 0)
            .collect()
    }

    #[test]
    fn each_fault_of_a_listing_is_named() {
        let one = |name: &str| vec![(name.to_owned(), 1)];
        assert_eq!(findings(0, &[0, 1, 2, 3]), []);
        assert_eq!(findings(2, &[2, 3]), []);
        assert_eq!(findings(0, &[0, 1, 3]), one("listMisses"));
        assert_eq!(findings(2, &[1, 2, 3]), one("orderViolations"));
        assert_eq!(findings(0, &[0, 2, 1, 3]), one("orderViolations"));
        let twice = findings(0, &[0, 1, 1, 2, 3]);
        assert!(
            twice.contains(&("pageDuplicates".to_owned(), 1)),
            "{twice:?}"
        );
    }
}
