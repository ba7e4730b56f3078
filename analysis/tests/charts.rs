//! Each chart of the sample report as it is drawn: a change of a line shows in the review of the
//! snapshot and not only to whoever opens the page.

// The lints allow this in unit tests; an integration test is a crate of its own to them.
#![allow(clippy::unwrap_used)]

mod common;

use bakeoff_analysis::measured::RunData;
use bakeoff_analysis::report::{ReportInput, model, page};
use bakeoff_analysis::summary::summarise;
use bakeoff_crds::result::TrialRecord;
use bakeoff_crds::run::Manifest;

fn figures(manifest: &Manifest, records: &[TrialRecord]) -> Vec<model::Drawing> {
    let summary = summarise(&RunData::new(manifest, records)).unwrap();
    let report = page::build(&ReportInput {
        summary: &summary,
        manifest,
        files: &[],
        history: None,
        altered: &[],
    });
    report
        .sections
        .into_iter()
        .flat_map(|section| section.figures)
        .collect()
}

/// One element on a line, so that a difference is read and not searched for.
fn lines(svg: &str) -> String {
    svg.replace("><", ">\n<")
}

fn check(run: &str, manifest: &Manifest, records: &[TrialRecord]) {
    for (index, figure) in figures(manifest, records).iter().enumerate() {
        let svg = figure.chart.render("c", &figure.text);
        assert!(
            figure.text.starts_with("Relative result."),
            "{}",
            figure.text
        );
        insta::assert_snapshot!(format!("{run}-{index:02}"), lines(&svg));
    }
}

#[test]
fn charts_of_experiment_c() {
    let (manifest, records) = common::phase1_c();
    check("c", &manifest, &records);
}

#[test]
fn charts_of_a_head_table() {
    let spec = common::head_spec();
    let manifest = common::manifest(&spec);
    check("a0", &manifest, &common::records(&spec, |_| common::QUICK));
}

#[test]
fn charts_of_batching_in_an_open_load() {
    let spec = common::batching_spec(600);
    let manifest = common::manifest(&spec);
    check("b2", &manifest, &common::records(&spec, |_| common::QUICK));
}

#[test]
fn charts_of_a_replay_have_the_plan_beside_what_was_completed() {
    let spec = common::replay_spec();
    let manifest = common::manifest(&spec);
    let records = common::records(&spec, |_| common::QUICK);
    let drawn = figures(&manifest, &records);
    let text = "Planned and completed over the window, loans 100 · 100: postgres completed";
    let found = drawn.iter().find(|figure| figure.text.contains(text));
    let said = &found.unwrap().text;
    assert!(said.contains("of at most 4000"), "{said}");
    check("replay", &manifest, &records);
}
