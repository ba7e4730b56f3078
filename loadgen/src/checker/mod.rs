//! Correctness checks: pure functions of a history, in linear time but for one sort.

pub mod cas_history;
pub mod s3_history;

use bakeoff_crds::result::CheckRecord;

/// Violations that are kept in words; all are counted.
const EXAMPLES: usize = 10;

/// What one check found so far.
#[derive(Debug, Default)]
pub(crate) struct Check {
    /// Facts that were looked at.
    pub checked: i64,
    /// Those that are wrong.
    pub violations: i64,
    /// Those that cannot be told.
    pub uncertain: i64,
    /// The first violations.
    pub examples: Vec<String>,
}

impl Check {
    /// Counts a violation.
    pub fn violation(&mut self, example: impl FnOnce() -> String) {
        self.violations += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(example());
        }
    }

    /// The check as it is recorded.
    pub fn into_record(self, name: &str) -> CheckRecord {
        CheckRecord {
            name: name.to_owned(),
            checked: self.checked,
            violations: self.violations,
            uncertain: self.uncertain,
            examples: self.examples,
        }
    }
}
