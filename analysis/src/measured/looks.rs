//! The looks at the data that were planned before the run.

use std::collections::BTreeSet;

use bakeoff_crds::result::TrialRecord;
use bakeoff_crds::schedule::Trial;
use bakeoff_crds::spec::ExperimentSpec;

use super::LookSummary;
use crate::stats::{self, sequential};

/// The looks that a spec plans: one at the end, unless it may stop early.
pub(crate) fn looks(spec: &ExperimentSpec) -> sequential::Looks {
    let blocks = spec.trials.blocks;
    match &spec.trials.early_stop {
        Some(early) => {
            let share = spec.questions();
            sequential::Looks::new(early.min_blocks, blocks, early.looks, share)
        }
        None => sequential::Looks::at_end(blocks),
    }
}

/// How many blocks, from the first on, have an outcome for every trial.
pub(crate) fn complete_blocks(scheduled: &[Trial], records: &[&TrialRecord]) -> i32 {
    let done: BTreeSet<i32> = records.iter().map(|record| record.trial.index).collect();
    let open = scheduled
        .iter()
        .filter(|trial| !done.contains(&trial.index))
        .map(|trial| trial.block)
        .min();
    open.unwrap_or_else(|| {
        scheduled
            .iter()
            .map(|trial| trial.block + 1)
            .max()
            .unwrap_or(0)
    })
}

/// The looks as the summary carries them; none for a run that could only end at its end.
pub(super) fn look_summaries(plan: &sequential::Looks, complete: i32) -> Vec<LookSummary> {
    match plan.looks() {
        [_only] => Vec::new(),
        planned => planned
            .iter()
            .map(|look| LookSummary {
                blocks: look.blocks,
                level: stats::round(look.level),
                ended_here: look.blocks == complete,
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    /// The blocks of the looks of a run with four challengers, of which the decision has these.
    fn planned(decision: serde_json::Value) -> Vec<i32> {
        let mut spec = sample::field_spec();
        spec.trials.blocks = 12;
        spec.trials.early_stop =
            serde_json::from_value(serde_json::json!({"minBlocks": 8})).unwrap();
        spec.decision = serde_json::from_value(decision).unwrap();
        looks(&spec)
            .looks()
            .iter()
            .map(|look| look.blocks)
            .collect()
    }

    #[test]
    fn a_look_that_no_challenger_can_use_spends_nothing() {
        let rule = "SmallObjectBackend";
        assert_eq!(planned(serde_json::json!({"rule": rule})), [10, 12]);
        let named = serde_json::json!({"rule": rule, "challenger": "garage"});
        assert_eq!(planned(named), [8, 10, 12]);
        let other = serde_json::json!({"rule": "ColdReadCap"});
        assert_eq!(planned(other), [8, 10, 12]);
    }
}
