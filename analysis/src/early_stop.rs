//! Ending a run before its last block.

use bakeoff_crds::result::TrialRecord;
use bakeoff_crds::schedule;
use bakeoff_crds::status::DecisionOutcome;

use crate::decision::DecisionRecord;
use crate::measured::{RunData, SummaryError, complete_blocks, looks};
use crate::summary::summarise;

/// What a run that may stop early has found after so many complete blocks.
///
/// `Some` when `blocks` is a planned early look and the decision is settled at the share of the
/// error rate that was set aside for it: the run may end here, and its report, made of the same
/// blocks, says the same, unless Kubernetes alone saw that a backend restarted. Trials of later blocks are left out, should there be any. `None`: go on.
///
/// # Errors
/// As [`summarise`].
pub fn may_stop(data: &RunData<'_>, blocks: i32) -> Result<Option<DecisionRecord>, SummaryError> {
    let spec = &data.manifest.plan.spec;
    if spec.decision.is_none() || !looks(spec).is_early_look(blocks) {
        return Ok(None);
    }
    let records: Vec<TrialRecord> = data
        .records
        .iter()
        .filter(|record| record.trial.block < blocks)
        .cloned()
        .collect();
    let scheduled = schedule::trials(spec);
    let complete = complete_blocks(&scheduled, &records.iter().collect::<Vec<_>>());
    if complete != blocks {
        return Ok(None);
    }
    let summary = summarise(&RunData {
        records: &records,
        ..*data
    })?;
    Ok(summary
        .decision
        .filter(|decision| decision.outcome != DecisionOutcome::Inconclusive))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{self, Behaviour, PLAIN, QUICK};
    use bakeoff_crds::spec::ExperimentSpec;

    fn spec() -> ExperimentSpec {
        let mut spec = sample::spec(12);
        spec.trials.early_stop =
            serde_json::from_value(serde_json::json!({"minBlocks": 8})).unwrap();
        spec
    }

    fn stops_at(challenger: Behaviour) -> Vec<(i32, DecisionRecord)> {
        let spec = spec();
        let manifest = sample::manifest(&spec);
        let records = sample::records(
            &spec,
            |name| if name == "minio" { PLAIN } else { challenger },
        );
        let data = RunData::new(&manifest, &records);
        (1..=12)
            .filter_map(|blocks| Some((blocks, may_stop(&data, blocks).unwrap()?)))
            .collect()
    }

    #[test]
    fn a_clear_case_ends_at_the_first_planned_look_and_its_report_says_the_same() {
        let stops = stops_at(QUICK);
        let looks: Vec<i32> = stops.iter().map(|(blocks, _)| *blocks).collect();
        assert_eq!(looks, [8, 10], "the last block is no early look");
        let (blocks, decision) = stops[0].clone();
        assert_eq!(decision.outcome, DecisionOutcome::Go, "{decision:#?}");

        let spec = spec();
        let manifest = sample::manifest(&spec);
        let mut records =
            sample::records(&spec, |name| if name == "minio" { PLAIN } else { QUICK });
        records.retain(|record| record.trial.block < blocks);
        let data = RunData::new(&manifest, &records);
        let summary = summarise(&data).unwrap();
        assert_eq!(summary.decision.as_ref(), Some(&decision));
        assert!(summary.measured.level < 0.02, "{}", summary.measured.level);
        assert_eq!(
            summary
                .measured
                .looks
                .iter()
                .map(|l| l.ended_here)
                .collect::<Vec<_>>(),
            [true, false, false]
        );
        // A block that is not complete is no look, whatever the others say.
        let last = records_last(&records);
        records.retain(|record| record.trial.id != last);
        let data = RunData::new(&manifest, &records);
        assert!(may_stop(&data, blocks).unwrap().is_none());
    }

    fn records_last(records: &[TrialRecord]) -> String {
        records
            .iter()
            .max_by_key(|record| record.trial.index)
            .map(|record| record.trial.id.clone())
            .unwrap()
    }

    #[test]
    fn without_the_option_or_a_decision_nothing_ends_early() {
        for change in [
            |spec: &mut ExperimentSpec| spec.trials.early_stop = None,
            |spec: &mut ExperimentSpec| spec.decision = None,
        ] {
            let mut spec = spec();
            change(&mut spec);
            let manifest = sample::manifest(&spec);
            let records = sample::records(&spec, |_| PLAIN);
            let data = RunData::new(&manifest, &records);
            assert!(may_stop(&data, 8).unwrap().is_none());
        }
    }
}
