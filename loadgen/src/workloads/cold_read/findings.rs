//! What reads found wrong. (Pure.)

use bakeoff_crds::result::CheckRecord;

use super::dataset::Dataset;
use crate::checker::Check;

/// What the reads found wrong, by check.
#[derive(Debug, Default)]
pub struct Findings {
    missing: Check,
    duplicates: Check,
    order: Check,
    /// Objects of another length than was written.
    pub(super) bodies: Check,
}

impl Findings {
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
            self.missing.into_record("listMisses"),
            self.duplicates.into_record("pageDuplicates"),
            self.order.into_record("orderViolations"),
            self.bodies.into_record("tornObjects"),
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
