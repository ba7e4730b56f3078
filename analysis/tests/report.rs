//! The report of a synthetic run, and the files that a person or the browser check opens.

// The lints allow this in unit tests; an integration test is a crate of its own to them.
#![allow(clippy::unwrap_used)]

mod common;

use bakeoff_analysis::index;
use bakeoff_analysis::measured::RunData;
use bakeoff_analysis::report::plan::{Found, plan_html, plan_markdown, summary as plan_summary};
use bakeoff_analysis::report::recording::{Piece, Recording, recording_html};
use bakeoff_analysis::report::trend::{csv, trend_html};
use bakeoff_analysis::report::{ReportInput, report_html, report_markdown};
use bakeoff_analysis::series::judge;
use bakeoff_analysis::summary::{Summary, summarise};
use bakeoff_crds::conformance::{Answer, Check, ConformanceRecord};
use bakeoff_crds::experiment_plan::{PlanReport, PlanState};
use bakeoff_crds::history::{RegressionState, RunRecord};
use bakeoff_crds::result::TrialRecord;
use bakeoff_crds::run::Manifest;
use bakeoff_crds::spec::{ResultClass, Series};
use std::collections::BTreeMap;

fn pages(manifest: &Manifest, records: &[TrialRecord]) -> (String, String) {
    pages_with(manifest, records, &[])
}

fn pages_with(
    manifest: &Manifest,
    records: &[TrialRecord],
    conformance: &[ConformanceRecord],
) -> (String, String) {
    let summary = summarise(&RunData {
        manifest,
        records,
        interrupted: &[],
        capacities: &[],
        conformance,
    })
    .unwrap();
    let files = index::index(records.iter().map(|record| {
        let text = serde_json::to_vec(record).unwrap();
        index::entry(
            &format!("trials/{}/{}/trial.json", record.trial.id, record.attempt),
            &text,
        )
    }));
    let input = ReportInput {
        summary: &summary,
        manifest,
        files: &files.files,
        history: None,
        altered: &[],
    };
    (report_html(&input), report_markdown(&input))
}

fn keep(name: &str, html: &str, markdown: &str) {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("report");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(format!("{name}.html")), html).unwrap();
    std::fs::write(folder.join(format!("{name}.md")), markdown).unwrap();
}

fn check(name: &str, html: &str, markdown: &str) {
    keep(name, html, markdown);
    for foreign in [
        "http-equiv=\"refresh\"",
        "<script",
        "src=\"http",
        "@import",
        "url(http",
        "NaN",
        "inf ",
    ] {
        assert!(!html.contains(foreign), "{name}: {foreign}");
    }
    assert_eq!(
        html.matches("<svg viewBox=\"0 0 320").count(),
        html.matches("<desc").count()
    );
    assert!(html.contains("Relative"));
    assert!(markdown.starts_with("# "));
}

#[test]
fn reports_of_every_outcome() {
    let (manifest, mut records) = common::phase1_c();
    let (html, markdown) = pages(&manifest, &records);
    check("go", &html, &markdown);
    assert!(
        html.contains("> Go<") || html.contains("</span>Go"),
        "the outcome stands on the page"
    );
    records.reverse();
    assert!(
        pages(&manifest, &records) == (html, markdown),
        "the same data in another order gives other bytes"
    );

    let spec = common::spec(6);
    let manifest = common::manifest(&spec);
    let wrong = common::Behaviour {
        violations: 2,
        ..common::QUICK
    };
    let records = common::records(&spec, |name| {
        if name == "minio" {
            common::PLAIN
        } else {
            wrong
        }
    });
    let (html, markdown) = pages(&manifest, &records);
    check("nogo", &html, &markdown);

    let spec = common::spec(3);
    let manifest = common::manifest(&spec);
    let records = common::records(&spec, |name| {
        if name == "minio" {
            common::PLAIN
        } else {
            common::QUICK
        }
    });
    let (html, markdown) = pages(&manifest, &records);
    check("inconclusive", &html, &markdown);
    let (html, markdown) = pages(&manifest, &[]);
    check("empty", &html, &markdown);

    let spec = common::field_spec();
    let manifest = common::manifest(&spec);
    let records = common::records(&spec, |name| match name {
        "minio" | "garage" => common::PLAIN,
        _ => common::QUICK,
    });
    let (html, markdown) = pages(&manifest, &records);
    check("field", &html, &markdown);

    let spec = common::batching_spec(600);
    let manifest = common::manifest(&spec);
    let (html, markdown) = pages(&manifest, &common::records(&spec, |_| common::QUICK));
    check("batching", &html, &markdown);

    let spec = common::head_spec();
    let manifest = common::manifest(&spec);
    let (html, markdown) = pages(&manifest, &common::records(&spec, |_| common::QUICK));
    check("head-table", &html, &markdown);
}

/// A cell in which nothing was answered looks like the fastest, and one in which much was not like a fast one, wherever only
/// what was answered is read.
#[test]
fn what_had_no_answer_is_nowhere_the_fastest() {
    let (manifest, mut records) = common::phase1_c();
    for record in &mut records {
        let level = |factor: &str| record.trial.cell.get(factor).map(String::as_str);
        let load = &mut record.load;
        match (level("objectSize"), record.trial.backend.as_str()) {
            (Some("4Ki"), "seaweedfs") => {
                load.failed = load.planned;
                load.completed = 0;
                let none = Default::default();
                record.operations.insert("put".to_owned(), none);
            }
            (Some("4Ki"), "minio") => {
                load.failed = load.completed / 20;
                load.planned += load.failed;
            }
            _ => {}
        }
    }
    let (html, markdown) = pages(&manifest, &records);
    check("no-answer", &html, &markdown);
    let charts: Vec<&str> = markdown
        .lines()
        .filter(|line| line.starts_with("- *Chart:*"))
        .collect();
    let of = |title: &str| charts.iter().find(|line| line.contains(title)).unwrap();
    let spectrum = of("PUT spectrum, put 4Ki");
    assert!(spectrum.contains("seaweedfs no answer"), "{spectrum}");
    assert!(spectrum.contains(" p99 ≥ "), "{spectrum}");
    let silent = markdown
        .lines()
        .find(|line| line.starts_with("| 4Ki · 1 | seaweedfs | "));
    let silent = silent.unwrap();
    assert!(
        silent.contains("| seaweedfs | – | – | – | – | – |"),
        "{silent}"
    );
    let size = of("PUT p99 by throughput, 4Ki");
    assert_eq!(size.matches(" no answer").count(), 3, "{size}");
    assert_eq!(size.matches(" ≥ ").count(), 3, "{size}");
    assert!(charts.iter().all(|line| !line.contains(" 0 µs")));
}

/// A search by holds at three active sets, on a server that holds fewer operations a second the more runs are open.
fn sustained() -> (Manifest, Vec<TrialRecord>) {
    use bakeoff_analysis::sustain::{Bounds, Observation, next};
    use bakeoff_crds::figure::Figure;
    let spec: bakeoff_crds::spec::ExperimentSpec = serde_json::from_value(serde_json::json!({
        "backends": [{"name": "postgres", "postgres": {"version": "18.4"}}],
        "workloads": [{"name": "most", "sustain": {
            "activeRuns": [10_000, 100_000, 1_000_000],
            "target": {"runsPerMonth": 100_000_000, "headroomPercent": 50}}}],
        "trials": {"blocks": 12, "windowSeconds": 20},
        "decision": {"rule": "ShardThreshold"},
    }))
    .unwrap();
    let bounds = Bounds {
        ramp: 3_000.0,
        top: 50_000,
        close: 1.1,
    };
    let mut seen: BTreeMap<i32, Vec<Observation>> = BTreeMap::new();
    let records = bakeoff_crds::schedule::trials(&spec)
        .iter()
        .map(|trial| {
            let active: f64 = trial.cell["activeRuns"].parse().unwrap();
            let seen = seen.entry(trial.cell_index).or_default();
            let rate = next(&bounds, seen);
            let held = f64::from(rate) <= 4_200.0 - 600.0 * active.log10();
            seen.push(Observation {
                rate,
                held: Some(held),
            });
            let mut record = common::record(trial, common::PLAIN, 7);
            record.figures = BTreeMap::from([
                (Figure::OfferedPerSecond, f64::from(rate)),
                (Figure::ServedPercent, 100.0),
                (Figure::FifthWithinPercent, if held { 99.8 } else { 91.0 }),
                (
                    Figure::FifthP99Milliseconds,
                    if held { 18.0 } else { 240.0 },
                ),
                (Figure::DeadRisePercent, 1.5),
                (Figure::LateTableGrowthPercent, 0.4),
                (Figure::LateIndexGrowthPercent, 2.0),
                (Figure::Turnovers, 1.2),
                (Figure::Autovacuums, 6.0),
                (Figure::Checkpoints, 3.0),
            ]);
            record
        })
        .collect();
    (common::manifest(&spec), records)
}

#[test]
fn a_search_by_holds_is_a_frontier_with_its_target() {
    let (manifest, records) = sustained();
    let (html, markdown) = pages(&manifest, &records);
    check("shard-threshold", &html, &markdown);
    for words in [
        "What one primary holds",
        "the frontier by active runs",
        "p99 in a fifth",
        "would say NoGo",
        "primaries carry it",
        "target 551, with headroom 827",
    ] {
        assert!(markdown.contains(words) || html.contains(words), "{words}");
    }
    // Holds at many rates have no latency in common.
    assert!(!markdown.contains("Latency and throughput"));
}

#[test]
fn where_stores_differ_from_s3_stands_on_the_page() {
    let (manifest, records) = common::phase1_c();
    // Of a run without a preflight nothing is said.
    let (before, _) = pages(&manifest, &records);
    assert!(!before.contains("differs from S3"));
    let found = [
        ("seaweedfs", Check::OrderOfKeys, Answer::Differs),
        ("minio", Check::KeyAndChild, Answer::NotOffered),
        ("minio", Check::Anonymous, Answer::Unknown),
    ];
    let of = |name| common::conformance(name, &found);
    let (html, markdown) = pages_with(&manifest, &records, &[of("seaweedfs"), of("minio")]);
    check("conformance", &html, &markdown);
    assert!(markdown.contains("How each store differs from S3"));
    assert!(markdown.contains("42 of 45 checks are kept by all"));
    let rows: Vec<&str> = markdown
        .lines()
        .filter(|line| line.contains("seen so") && line.starts_with('|'))
        .collect();
    let said = |name: &str| {
        let row = rows.iter().find(|row| row.contains(name));
        row.map(|row| {
            row.split('|')
                .map(str::trim)
                .skip(3)
                .take(2)
                .collect::<Vec<_>>()
        })
    };
    // In the order of the spec, whatever that of the files.
    assert_eq!(
        said("| order of keys |"),
        Some(vec!["kept", "differs: seen so"])
    );
    assert_eq!(
        said("| key and child |"),
        Some(vec!["not offered: seen so", "kept"])
    );
    assert_eq!(
        said("| anonymous read |"),
        Some(vec!["not known: seen so", "kept"])
    );
    let (html, markdown) = pages_with(&manifest, &records, &[common::conformance("minio", &[])]);
    check("conformance-kept", &html, &markdown);
    assert!(markdown.contains("45 of 45 checks are kept."));
}

/// The cells of the rows of a backend in the tables of costs, by the heads of their columns.
fn costs(markdown: &str, backend: &str) -> BTreeMap<String, String> {
    let cells = |line: &str| -> Vec<String> {
        let inner = line.trim().trim_matches('|');
        let cells = inner.split('|');
        cells.map(|cell| cell.trim().to_owned()).collect()
    };
    let (_, after) = markdown.split_once("## What each costs to run").unwrap();
    let section = after.split("\n## ").next().unwrap();
    let mut found = BTreeMap::new();
    let mut heads = Vec::new();
    for row in section
        .lines()
        .filter(|line| line.starts_with('|'))
        .map(cells)
    {
        if row[0] == "Backend" {
            heads = row;
        } else if row[0] == backend {
            found.extend(heads.iter().cloned().zip(row));
        }
    }
    found
}

#[test]
fn what_each_costs_to_run_stands_beside_what_it_promises() {
    let (mut manifest, mut records) = common::phase1_c();
    let asked = ["seaweedfs", "minio"].map(|name| {
        common::conformance(name, &[("minio", Check::KeyAndChild, Answer::NotOffered)])
    });
    let (html, markdown) = pages_with(&manifest, &records, &asked);
    keep("costs", &html, &markdown);
    let minio = costs(&markdown, "minio");
    let said = |column: &str| minio.get(column).map(String::as_str);
    assert_eq!(said("Pods"), Some("1"));
    assert_eq!(said("Memory"), Some("312 MiB"));
    assert_eq!(said("Image size"), Some("93.8 MiB"));
    assert_eq!(said("S3 checks kept"), Some("44 of 45"));
    assert_eq!(said("Licence"), Some("AGPL-3.0"));
    let by = "those who make minio (2026-11-28, its README)";
    assert_eq!(said("Maintained by"), Some(by));
    assert!(said("CPU, put").unwrap().ends_with("s"));
    assert_eq!(costs(&markdown, "seaweedfs")["S3 checks kept"], "45 of 45");

    // What one does not tell is a dash, and what nobody tells is no column.
    manifest.plan.backends[0].upkeep = Default::default();
    manifest.plan.backends[0].image_bytes = None;
    let silent = manifest.plan.backends[0].name.clone();
    for record in &mut records {
        if record.trial.backend == silent {
            record.backend = None;
        }
    }
    let (_, markdown) = pages(&manifest, &records);
    let row = costs(&markdown, &silent);
    for column in ["Memory", "CPU, put", "Image size"] {
        assert_eq!(row[column], "–", "{column}");
    }
    assert_eq!(
        (&*row["Licence"], &*row["Maintained by"]),
        ("not stated", "not stated")
    );
    assert!(!row.contains_key("S3 checks kept"));
}

#[test]
fn costs_are_weighed_where_there_is_a_choice() {
    let (mut manifest, records) = common::phase1_c();
    manifest.plan.spec.decision = None;
    assert!(!pages(&manifest, &records).1.contains("costs to run"));
}

#[test]
fn a_manifest_of_an_earlier_version_says_nothing_of_licences_and_is_read() {
    let (manifest, records) = common::phase1_c();
    let mut old = serde_json::to_value(&manifest).unwrap();
    for backend in old["plan"]["backends"].as_array_mut().unwrap() {
        let upkeep = backend.as_object_mut().unwrap().remove("upkeep");
        assert!(upkeep.is_some(), "it is written today");
    }
    let old: Manifest = serde_json::from_value(old).unwrap();
    let row = costs(&pages(&old, &records).1, "minio");
    assert_eq!((&*row["Licence"], &*row["Pods"]), ("not stated", "1"));
}

#[test]
fn text_from_outside_cannot_become_markup() {
    let (mut manifest, mut records) = common::phase1_c();
    manifest.plan.backends[0].caveats = vec!["<script>alert(1)</script> | x".into()];
    manifest.plan.backends[0].upkeep.licence = "<script>alert(2)</script> | x".into();
    records[0].checks = Vec::new();
    let (html, markdown) = pages(&manifest, &records);
    assert!(!html.contains("<script") && html.contains("&lt;script"));
    assert!(!markdown.contains("<script"));
}

/// A history in which a setting costs a third for some runs, confirmed as a schedule has it confirmed.
fn history(runs: i64) -> (Series, Vec<RunRecord>) {
    let metric = |name: &str, better: &str| serde_json::json!({"name": name, "expression": format!("put.{name}"), "better": better, "minChangePercent": 10});
    let series: Series = serde_json::from_value(serde_json::json!({
        "name": "nightly", "regression": {"metrics": [metric("p99", "Lower"), metric("perSecond", "Higher")]},
    }))
    .unwrap();
    let mut rng = bakeoff_crds::rng::SplitMix64::new(7);
    let mut records: Vec<RunRecord> = Vec::new();
    let mut add = |number: i64, confirmation: i64| {
        let slow = if (runs / 2..runs * 3 / 4).contains(&number) {
            1.4
        } else {
            1.0
        };
        let noise = 1.0 + rng.below(60) as f64 / 1_000.0;
        let name = format!("nightly-{number:04}");
        let confirms = (confirmation > 0).then(|| name.clone());
        let naptime = if slow > 1.0 { "60s" } else { "1s" };
        let record = serde_json::json!({
            "schemaVersion": "catalogue.bakeoff.dev/v1",
            "experiment": {"namespace": "lab", "uid": format!("{number}-{confirmation}"),
                "name": if confirmation > 0 { format!("{name}-c{confirmation}") } else { name }},
            "series": "nightly", "confirms": confirms,
            "startedAt": jiff::Timestamp::from_second(1_790_000_000 + number * 86_400 + confirmation * 600).unwrap(),
            "end": "Completed", "class": "Relative", "design": "d", "results": "lab/x",
            "facts": {"autovacuum_naptime of postgres": naptime, "the kernel": if number < runs / 4 { "6.1.0" } else { "6.1.1" }},
            "regression": series.regression,
            "values": {"put.p99": 12_000.0 * slow * noise, "put.perSecond": 900.0 / slow / noise},
        });
        let mut record: RunRecord = serde_json::from_value(record).unwrap();
        record.verdict = judge(&series, &records, &record);
        let state = record.verdict.as_ref().map(|verdict| verdict.state);
        records.push(record);
        state
    };
    for number in 0..runs {
        let mut state = add(number, 0);
        for confirmation in 1..=3 {
            if state != Some(RegressionState::Suspect) {
                break;
            }
            state = add(number, confirmation);
        }
    }
    (series, records)
}

#[test]
fn a_recording_is_a_page_with_its_bursts() {
    let pieces = (1..=240).map(|piece| Piece {
        until: f64::from(piece) * 6_000.0,
        per_second: if piece == 77 {
            90.0
        } else {
            0.5 + f64::from(piece % 20) / 30.0
        },
        open: f64::from(piece % 60) * 12.0,
    });
    let html = recording_html(&Recording {
        name: "loans <b>".to_owned(),
        started_at: "2026-03-01T10:00:00Z".to_owned(),
        figures: vec![("runs".to_owned(), "13087".to_owned())],
        seconds: 1_440_000.0,
        pieces: pieces.collect(),
    });
    keep("recording", &html, "");
    assert!(html.contains("at most 90.0 events per second, after 5.35 days"));
    assert!(!html.contains("<b>") && html.contains("13087"));
}

#[test]
fn a_history_is_a_page_with_its_alarms_and_what_changed() {
    for (name, runs) in [("trend", 60), ("trend-long", 1_000)] {
        let (series, records) = history(runs);
        let regression = series.regression.unwrap();
        let html = trend_html("lab/nightly", &regression, &records);
        keep(name, &html, "");
        assert!(!html.contains("<script") && !html.contains("NaN"), "{name}");
        let told = |state| {
            records
                .iter()
                .any(|record| record.verdict.as_ref().unwrap().state == state)
        };
        assert!(
            told(RegressionState::Regressed) && told(RegressionState::Recovered),
            "{name}"
        );
        assert!(
            html.contains("autovacuum_naptime of postgres from 1s to 60s"),
            "{name}"
        );
        assert!(
            html.contains(">R<") && html.contains(">V<") && html.contains(">M<"),
            "{name}"
        );
        let table = csv(&regression, &records);
        assert_eq!(table.lines().next(), Some("time,run,p99,perSecond"));
        assert_eq!(
            table.lines().count(),
            usize::try_from(runs).unwrap() + 1,
            "without confirmations"
        );
    }
}

fn summary_of(manifest: &Manifest, records: &[TrialRecord]) -> Box<Summary> {
    let data = RunData::new(manifest, records);
    Box::new(summarise(&data).unwrap())
}

/// The plan of the seed: a phase that is run, one that is skipped on evidence, one of another class, one that nobody looked at.
fn ladder() -> (PlanReport, Found) {
    let step = |phase: &str, name: &str, outcome: &str, consequence: &str| {
        serde_json::json!({
            "name": name, "experiment": format!("seed-{phase}-{name}"), "uid": name, "attempt": 1, "outcome": outcome,
            "reason": format!("SmallObjectBackend is {outcome} by its rule"), "consequence": consequence,
            "report": format!("s3://results/lab/seed-{phase}-{name}/{name}/report.html"),
        })
    };
    let plan = serde_json::json!({
        "schemaVersion": "plan-report.bakeoff.dev/v1",
        "plan": {"namespace": "lab", "name": "seed", "uid": "0"}, "startTime": "2026-03-01T12:00:00Z",
        "state": "Completed", "message": "3 phases were run and 1 skipped",
        "phases": [
            {"name": "phase0", "question": "Does the simple schema hold, and is the compare-and-swap correct?", "status": {
                "name": "phase0", "state": "Done", "outcome": "Go", "reason": "a0: SimpleSchema is Go", "experiments": [
                    step("phase0", "a0", "Go", "The head table stays as it is."), step("phase0", "a2", "Go", "Optimistic writes are enough.")]}},
            {"name": "phase1", "question": "Which store takes small objects?", "status": {
                "name": "phase1", "state": "Done", "outcome": "NoGo", "reason": "decided by kim: the licence (the experiments say Go)",
                "experiments": [step("phase1", "c", "Go", "SeaweedFS becomes the default.")]}},
            {"name": "phase2", "question": "Does dropping partitions earn its complexity?",
             "when": [{"phase": "phase0", "experiment": "a0", "outcome": ["NoGo"]}], "status": {
                "name": "phase2", "state": "Done", "outcome": "Skipped", "reason": "phase0/a0 is Go, and not NoGo"}},
            {"name": "phase3", "question": "When is one primary not enough?", "status": {
                "name": "phase3", "state": "Done", "outcome": "Go", "reason": "x: it holds", "experiments": [step("phase3", "x", "Go", "")]}},
        ],
        "decisions": [{"phase": "phase1", "action": "NoGo", "reason": "the licence", "by": "kim"}],
        "results": {"endpoint": "", "region": "", "bucket": "results", "prefix": "plans/lab/seed/0", "pathStyle": true, "credentialsDir": ""},
    });
    let (go, records) = common::phase1_c();
    let head = common::head_spec();
    let head_manifest = common::manifest(&head);
    let head_records = common::records(&head, |_| common::QUICK);
    let mut absolute = summary_of(&head_manifest, &head_records);
    absolute.measured.result_class = ResultClass::Absolute;
    let found = BTreeMap::from([
        (
            "seed-phase0-a0".to_owned(),
            Ok(summary_of(&head_manifest, &head_records)),
        ),
        (
            "seed-phase0-a2".to_owned(),
            Err("summary.json is gone".to_owned()),
        ),
        ("seed-phase1-c".to_owned(), Ok(summary_of(&go, &records))),
        ("seed-phase3-x".to_owned(), Ok(absolute)),
    ]);
    (serde_json::from_value(plan).unwrap(), found)
}

#[test]
fn a_plan_is_a_ladder_and_then_a_page_for_each_phase() {
    let (plan, found) = ladder();
    let (html, markdown) = (plan_html(&plan, &found), plan_markdown(&plan, &found));
    keep("plan", &html, &markdown);
    assert!(!html.contains("<script") && !html.contains("NaN"));
    for text in [
        "phase0/a0 is Go, and not NoGo",
        "decided by kim: the licence (the experiments say Go)",
        "The head table stays as it is. Optimistic writes are enough.",
        "Its figures are not here: summary.json is gone.",
        "Run only if phase0/a0 is NoGo; where that cannot be told a person decides.",
    ] {
        assert!(html.contains(text), "{text} is not on the page");
        assert!(markdown.contains(text), "{text} is not in the text");
    }
    // The two classes never share a table, nor a section.
    let sections: Vec<&str> = html.split("<section").skip(1).collect();
    let mixed = |section: &&&str| section.contains(">Relative<") && section.contains(">Absolute<");
    assert_eq!(sections.iter().filter(mixed).count(), 0);
    let tagged = |class: &str| html.contains(&format!("<span class=\"tag\">{class}</span>"));
    assert!(tagged("Relative") && tagged("Absolute"));
    assert_eq!(html, plan_html(&plan, &found), "the same bytes each time");

    // One that is under way shows what there is.
    let mut young = plan.clone();
    young.state = PlanState::Running;
    young.message.clear();
    young.phases[2].status = None;
    young.phases[3].status = None;
    let html = plan_html(&young, &found);
    assert!(html.contains("what 2 of 4 phases came to") && html.contains("not yet"));
}

#[test]
fn figures_of_a_plan_name_their_place_in_its_summary() {
    let (plan, found) = ladder();
    let html = plan_html(&plan, &found);
    let summary = serde_json::to_value(plan_summary(&plan, &found)).unwrap();
    let named = html.split("data-from=\"").skip(1);
    let named = named.flat_map(|rest| rest.split_once('"').unwrap().0.split(' '));
    let mut of = std::collections::BTreeSet::new();
    for place in named {
        let value = summary.pointer(place).and_then(serde_json::Value::as_f64);
        assert!(value.is_some(), "{place:?} is no number of the summary");
        of.insert(place.split('/').nth(2).unwrap().to_owned());
    }
    // Those that have a decision; what they measured has no place there, and is on the page all the same.
    assert_eq!(of.into_iter().collect::<Vec<_>>(), ["0", "2", "3"]);
    assert!(html.contains("class=\"value\">"), "ratios on charts");
}
