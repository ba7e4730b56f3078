//! Summaries of synthetic runs.

use super::*;
use crate::report::{ReportInput, report_markdown};
use crate::sample::{self, PLAIN, QUICK};
use crate::stats::{interval::student, round, sequential};
use bakeoff_crds::figure::Figure;
use bakeoff_crds::result::TrialRecord;
use bakeoff_crds::spec::ExperimentSpec;

#[test]
fn the_order_of_records_does_not_matter_and_the_invalid_attempt_is_shown_not_used() {
    let (manifest, mut records) = sample::phase1_c();
    let data = |records: &[TrialRecord]| summarise(&RunData::new(&manifest, records)).unwrap();
    let forth = data(&records);
    records.reverse();
    let back = data(&records);
    assert_eq!(
        serde_json::to_string(&forth).unwrap(),
        serde_json::to_string(&back).unwrap()
    );
    assert_eq!(forth.measured.trials.planned, forth.measured.trials.done);
    assert_eq!(
        (
            forth.measured.trials.invalid,
            forth.measured.trials.repeated
        ),
        (1, 1)
    );
    assert_eq!(forth.measured.excluded.len(), 1);
    assert!(forth.measured.excluded[0].made_good);
    assert!(
        forth
            .measured
            .workloads
            .iter()
            .flat_map(|w| &w.cells)
            .flat_map(|c| &c.backends)
            .all(|b| b.blocks == 6)
    );
    let text = serde_json::to_string(&forth).unwrap();
    assert_eq!(serde_json::from_str::<Summary>(&text).unwrap(), forth);
}

#[test]
fn rates_and_counts_are_sums() {
    let spec = sample::spec(2);
    let manifest = sample::manifest(&spec);
    let records = sample::records(&spec, |_| PLAIN);
    let summary = summarise(&RunData::new(&manifest, &records)).unwrap();
    let put = &summary.measured.workloads[0].cells[0].backends[0];
    let counted: i64 = records
        .iter()
        .filter(|r| {
            r.trial.workload == "put" && r.trial.cell_index == 0 && r.trial.backend == "minio"
        })
        .map(|r| r.operations["put"].count)
        .sum();
    assert_eq!(put.operations["put"].count, counted);
    assert!((put.operations["put"].per_second - counted as f64 / 40.0).abs() < 0.01);
    assert_eq!(put.operations["put"].blocks.len(), 2);
}

#[test]
fn exchanging_the_backends_inverts_every_ratio() {
    let mut spec = sample::spec(6);
    let run = |spec: &bakeoff_crds::ExperimentSpec| {
        let manifest = sample::manifest(spec);
        let records = sample::records(spec, |name| if name == "minio" { PLAIN } else { QUICK });
        summarise(&RunData::new(&manifest, &records)).unwrap()
    };
    let forth = run(&spec);
    spec.backends.reverse();
    let back = run(&spec);
    let both = forth.measured.workloads[0]
        .cells
        .iter()
        .zip(&back.measured.workloads[0].cells);
    for (a, b) in both.flat_map(|(a, b)| a.comparisons.iter().zip(&b.comparisons)) {
        assert_eq!((&a.subject, &a.base), (&b.base, &b.subject));
        assert!((a.estimate.ratio * b.estimate.ratio - 1.0).abs() < 1e-5);
        assert_eq!(a.estimate.p_value, b.estimate.p_value);
        assert_eq!(a.estimate.detectable, b.estimate.detectable);
    }
}

#[test]
fn refuses_data_of_another_run_and_of_another_schema() {
    let (manifest, records) = sample::phase1_c();
    let reason = |change: &dyn Fn(&mut TrialRecord)| {
        let mut changed = records.clone();
        change(&mut changed[0]);
        summarise(&RunData::new(&manifest, &changed))
            .unwrap_err()
            .reason()
    };
    assert_eq!(
        reason(&|r| r.schema_version = "trial/v9".into()),
        "TrialSchemaUnknown"
    );
    assert_eq!(reason(&|r| r.trial.id = "b99-other".into()), "ForeignTrial");
    assert_eq!(reason(&|r| r.trial.block += 1), "ForeignTrial");
    assert_eq!(
        reason(&|r| r
            .operations
            .values_mut()
            .for_each(|o| o.response.0 = "?".into())),
        "HistogramUnreadable"
    );
    let mut twice = records.clone();
    twice.push(records[0].clone());
    let error = summarise(&RunData::new(&manifest, &twice)).unwrap_err();
    assert_eq!(error.reason(), "DuplicateTrial");
}

#[test]
fn a_run_without_any_record_is_summarised_and_decides_nothing() {
    let spec = sample::spec(6);
    let manifest = sample::manifest(&spec);
    let summary = summarise(&RunData::new(&manifest, &[])).unwrap();
    assert!(summary.objectives.iter().all(|objective| !objective.met));
    let decision = summary.decision.unwrap();
    assert_eq!(
        decision.outcome,
        bakeoff_crds::status::DecisionOutcome::Inconclusive
    );
}

#[test]
fn the_schema_is_publishable() {
    let schema = json_schema();
    assert_eq!(schema["title"], "Summary");
}

/// A run that ended at an early look has all its intervals at the level of that look, also those of states.
#[test]
fn states_have_intervals_at_the_level_of_the_look() {
    let spec: ExperimentSpec = serde_json::from_value(serde_json::json!({
        "backends": [{"name": "pg", "postgres": {"version": "18.4"}}],
        "workloads": [{"name": "head", "headRow": {"load": {"closed": {"concurrency": [8]}}}}],
        "trials": {"blocks": 12, "earlyStop": {"minBlocks": 8}},
    }))
    .unwrap();
    let manifest = sample::manifest(&spec);
    let mut records = sample::records(&spec, |_| PLAIN);
    records.retain(|record| record.trial.block < 8);
    let mut values = Vec::new();
    for record in &mut records {
        let value = 60.0 + f64::from(record.trial.block);
        record.figures.insert(Figure::HotPercent, value);
        if record.trial.cell_index == 0 {
            values.push(value);
        }
    }
    let summary = summarise(&RunData::new(&manifest, &records)).unwrap();
    let level = sequential::Looks::new(8, 12, 3, 1).level(8);
    let (_, _, high) = student(&values, level).unwrap();
    let on = &summary.measured.workloads[0].cells[0].backends[0];
    assert_eq!(on.figures[&Figure::HotPercent].high, Some(round(high)));
    let input = ReportInput {
        summary: &summary,
        manifest: &manifest,
        files: &[],
        history: None,
        altered: &[],
    };
    let report = report_markdown(&input);
    assert!(
        report.contains("Half widths of 98.4 % intervals"),
        "{report}"
    );
}
