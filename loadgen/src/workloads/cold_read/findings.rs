//! What reads found wrong. (Pure.)

use bakeoff_crds::result::CheckRecord;

use super::dataset::Dataset;

/// What the reads found wrong, by check.
#[derive(Debug, Default)]
pub struct Findings {
    /// Objects that listings were to show.
    pub checked: i64,
    missing: Finding,
    duplicates: Finding,
    order: Finding,
    /// Objects of another length than was written.
    pub bodies: Finding,
    /// Objects that were read.
    pub bodies_checked: i64,
}

/// One check.
#[derive(Debug, Default)]
pub struct Finding {
    count: i64,
    examples: Vec<String>,
}

impl Finding {
    /// Counts a violation; the first ten are kept as examples.
    pub fn add(&mut self, example: impl FnOnce() -> String) {
        self.count += 1;
        if self.examples.len() < 10 {
            self.examples.push(example());
        }
    }

    fn record(self, name: &str, checked: i64) -> CheckRecord {
        CheckRecord {
            name: name.to_owned(),
            checked,
            violations: self.count,
            uncertain: 0,
            examples: self.examples,
        }
    }
}

impl Findings {
    /// Compares a listing with what was written: exactly the states from `first` on, in order.
    pub fn listing(&mut self, dataset: &Dataset, run: usize, first: usize, keys: &[String]) {
        self.checked += i64::try_from(dataset.objects - first).unwrap_or(0);
        let prefix = dataset.prefix(run);
        let mut seen = vec![false; dataset.objects];
        let mut before: Option<&String> = None;
        for key in keys {
            if before.is_some_and(|before| before.as_bytes() >= key.as_bytes()) {
                self.order
                    .add(|| format!("{key} follows {}", before.map_or("", String::as_str)));
            }
            before = Some(key);
            let state = key
                .strip_prefix(&prefix)
                .and_then(|rest| rest.parse::<usize>().ok());
            match state.filter(|&state| state >= first && *key == dataset.key(run, state)) {
                Some(state) if state < seen.len() => {
                    if std::mem::replace(&mut seen[state], true) {
                        self.duplicates.add(|| key.clone());
                    }
                }
                _ => self.order.add(|| format!("{key} was not asked for")),
            }
        }
        for state in (first..dataset.objects).filter(|&state| !seen[state]) {
            self.missing.add(|| dataset.key(run, state));
        }
    }

    /// As they stand in a trial.
    #[must_use]
    pub fn records(self) -> Vec<CheckRecord> {
        vec![
            self.missing.record("listMisses", self.checked),
            self.duplicates.record("pageDuplicates", self.checked),
            self.order.record("orderViolations", self.checked),
            self.bodies.record("tornObjects", self.bodies_checked),
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
