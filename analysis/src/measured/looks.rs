//! The looks at the data that were planned before the run.

use std::collections::BTreeSet;

use bakeoff_crds::result::TrialRecord;
use bakeoff_crds::schedule::Trial;
use bakeoff_crds::spec::ExperimentSpec;

use super::LookSummary;
use crate::stats::{self, sequential};

/// The looks that a spec plans: one at the end, unless it may stop early.
pub(crate) fn looks(spec: &ExperimentSpec) -> sequential::Plan {
    let blocks = spec.trials.blocks;
    match &spec.trials.early_stop {
        Some(early) => sequential::Plan::new(early.min_blocks, blocks, early.looks),
        None => sequential::Plan::at_end(blocks),
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
pub(super) fn look_summaries(plan: &sequential::Plan, complete: i32) -> Vec<LookSummary> {
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
