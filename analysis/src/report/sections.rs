//! The sections of the page: what each says, of which tables and charts it is made.

use super::datum::Datum;
use super::input::ReportInput;
use super::model::{Section, Table};
use super::{charts, tables};
use crate::format;
use crate::kinds;
use crate::measured::CheckSummary;
use crate::stats::{power, tail};
use crate::summary::Summary;

pub(super) fn facts(summary: &Summary, blocks: i32) -> Vec<(String, Datum)> {
    let violations: i64 = summary.measured.violations().values().sum();
    let unsettled: i64 = summary
        .measured
        .checks()
        .map(|c| c.violations_unsettled)
        .sum();
    let checked: i64 = summary.measured.checks().map(|check| check.checked).sum();
    let met = summary
        .objectives
        .iter()
        .filter(|objective| objective.met)
        .count();
    let operations: i64 = summary
        .measured
        .workloads
        .iter()
        .flat_map(|workload| &workload.cells)
        .flat_map(|cell| &cell.backends)
        .map(|on| on.load.completed)
        .sum();
    let ended = summary.measured.looks.iter().find(|look| look.ended_here);
    let mut facts: Vec<(String, Datum)> = vec![
        (
            "Blocks".to_owned(),
            match ended {
                Some(look) if look.blocks < blocks => {
                    format!("{} of at most {blocks}", look.blocks)
                }
                _ => blocks.to_string(),
            }
            .into(),
        ),
        (
            "Trials done".to_owned(),
            Datum::figures(
                format!(
                    "{} of {}",
                    summary.measured.trials.done, summary.measured.trials.planned
                ),
                vec!["/trials/done".to_owned(), "/trials/planned".to_owned()],
            ),
        ),
        (
            "Measured operations".to_owned(),
            format::whole(operations).into(),
        ),
        (
            "Invalid attempts".to_owned(),
            Datum::figure(
                summary.measured.trials.invalid.to_string(),
                "/trials/invalid",
            ),
        ),
        (
            "Violations".to_owned(),
            match (checked, violations, unsettled) {
                (0, 0, 0) => "not checked".into(),
                (_, _, 0) => format::whole(violations).into(),
                _ => format!("{violations}, {unsettled} unsettled").into(),
            },
        ),
    ];
    if !summary.objectives.is_empty() {
        facts.push((
            "Objectives met".to_owned(),
            format!("{met} of {}", summary.objectives.len()).into(),
        ));
    }
    if !summary.measured.ending.is_complete() {
        facts.push(("Ending".to_owned(), summary.measured.ending.as_str().into()));
    }
    facts
}

/// The looks that were planned, where the run might stop early.
fn looks_text(summary: &Summary) -> Option<String> {
    if summary.measured.looks.is_empty() {
        return None;
    }
    let planned: Vec<String> = summary
        .measured
        .looks
        .iter()
        .map(|look| format!("{} blocks at {:.4}", look.blocks, look.level))
        .collect();
    let ended = summary
        .measured
        .looks
        .iter()
        .find(|look| look.ended_here)
        .map_or_else(
            || "The run ended between two looks, so the strictest level holds.".to_owned(),
            |look| format!("It ended after {} blocks.", look.blocks),
        );
    Some(format!(
        "The run might end early at looks that were fixed before it and that share the error rate of 0.05: {}. {ended} Tests and intervals below are taken at the level {:.4}.",
        planned.join(", "),
        summary.measured.level
    ))
}

pub(super) fn decided_by(summary: &Summary) -> Section {
    let mut section = Section {
        heading: "What decided".to_owned(),
        ..Section::default()
    };
    if let Some(decision) = &summary.decision {
        section.intro.push(format!(
            "The rule, stated beforehand: {}",
            decision.criterion
        ));
        section.intro.extend(looks_text(summary));
        section.tables.push(tables::inputs(summary, decision));
    }
    if !summary.objectives.is_empty() {
        section.tables.push(tables::objectives(summary));
    }
    section
}

/// Among so many backends a team chooses by what they cost as well. Of two, the page has other room for it, in folds.
const A_CHOICE: usize = 3;

/// What is weighed beside the figures that decided; nothing where there is nothing to choose between.
pub(super) fn costs(summary: &Summary) -> Section {
    let tables = tables::costs(summary);
    if tables.is_empty() {
        return Section::default();
    }
    let heading = "What each costs to run".to_owned();
    if summary.measured.backends.len() < A_CHOICE {
        let tables = tables.into_iter().map(Table::folded).collect();
        return Section {
            heading,
            tables,
            ..Section::default()
        };
    }
    Section {
        heading,
        intro: vec![
            "Memory is the largest at the end of a trial, of all pods together; CPU time is that of the servers, over the valid trials. A dash: its metrics do not tell it, or it is not ours to look at. Licence and maintenance are facts of a day, and none of what is stated was tried.".to_owned(),
        ],
        tables,
        ..Section::default()
    }
}

pub(super) fn comparison(summary: &Summary) -> Section {
    let figures = charts::forests(summary);
    if figures.is_empty() {
        return Section::default();
    }
    Section {
        heading: "Ratios by cell".to_owned(),
        intro: vec![
            format!(
                "Geometric mean over blocks with its {} interval (bootstrap over blocks). Filled: a difference is shown, also after Holm over the cells of the chart. Ring with a dot: only by itself. Ring: none is shown. The shaded band is the margin of the decision.",
                format::confidence(summary.measured.level)
            ),
        ]
        .into_iter()
        .chain(charts::against_the_first(summary).then(|| {
            "Charts of pairs with the first backend; the tables below have all.".to_owned()
        }))
        .chain(reach(summary))
        .collect(),
        figures,
        tables: tables::comparisons(summary),
        ..Section::default()
    }
}

/// What so few blocks cannot show for single cells, where that is so.
fn reach(summary: &Summary) -> Option<String> {
    let cells = summary
        .measured
        .workloads
        .iter()
        .map(|workload| workload.cells.len())
        .max()?;
    let comparisons = summary
        .measured
        .workloads
        .iter()
        .flat_map(|w| &w.cells)
        .flat_map(|cell| &cell.comparisons);
    let blocks = comparisons
        .map(|comparison| comparison.estimate.blocks)
        .max()?;
    let needed = power::least_blocks(summary.measured.level / cells as f64);
    (usize::try_from(blocks).unwrap_or(0) < needed).then(|| {
        format!(
            "With {blocks} blocks no single one of {cells} cells can be told apart after that correction, whatever the figures; it takes {needed}. The decision averages the cells within each block first and is not affected."
        )
    })
}

pub(super) fn latency(summary: &Summary) -> Section {
    let mut kinds = summary
        .measured
        .workloads
        .iter()
        .map(|one| kinds::of(one.kind));
    if kinds.all(|kind| kind.has_rates_of_its_own) {
        return Section::default();
    }
    Section {
        heading: "Latency and throughput".to_owned(),
        intro: vec![load_text(summary)],
        figures: charts::spectra(summary),
        legend: charts::legend(summary),
        tables: tables::percentiles(summary),
        dense: true,
        ..Section::default()
    }
}

fn load_text(summary: &Summary) -> String {
    let open = summary
        .measured
        .workloads
        .iter()
        .any(|workload| workload.open_load);
    let closed = summary
        .measured
        .workloads
        .iter()
        .any(|workload| !workload.open_load);
    let mut text = String::new();
    if closed {
        text.push_str("In a closed load the clients wait for each other's answers: its latencies hold at that concurrency, not at a given rate. ");
    }
    if open {
        text.push_str("In an open load latency counts from the planned instant. ");
    }
    text.push_str(&format!(
        "Percentiles are read from histograms added over all valid trials, over all operations that were planned: one that failed, did not finish or was never started counts as slower than any other, and \u{2265} marks what is therefore only a lower bound. p99.9 is shown from {} operations up.",
        format::whole(tail::LEAST_FOR_P999.cast_signed())
    ));
    text
}

pub(super) fn scaling(summary: &Summary) -> Section {
    let figures = charts::scaling(summary);
    let tables: Vec<_> = tables::capacities(summary).into_iter().collect();
    if figures.is_empty() && tables.is_empty() {
        return Section::default();
    }
    let mut intro = Vec::new();
    if !figures.is_empty() {
        intro.push("Each point is a cell over all its valid blocks; both ends of a line are the smallest and the largest load point.".to_owned());
    }
    if !tables.is_empty() {
        let mut kinds = summary
            .measured
            .workloads
            .iter()
            .map(|one| kinds::of(one.kind));
        intro.push(if kinds.all(|kind| kind.has_rates_of_its_own) {
            "Before the first hold a quick ramp searched the highest rate that meets the latency objective for seconds; the holds begin below it.".to_owned()
        } else {
            "Before the first block the highest rate was searched that each backend sustains under the objective of the search; all are measured at shares of the weakest one's.".to_owned()
        });
    }
    Section {
        heading: "How it scales".to_owned(),
        legend: charts::legend(summary),
        intro,
        figures,
        tables,
        ..Section::default()
    }
}

pub(super) fn correctness(summary: &Summary) -> Section {
    let mut section = Section {
        heading: "Correctness".to_owned(),
        ..Section::default()
    };
    let mut found: Vec<_> = tables::checks(summary).into_iter().collect();
    found.extend(tables::races(summary));
    match found.is_empty() {
        false => {
            let decided: i64 = summary.measured.checks().map(CheckSummary::decided).sum();
            let seen = |c: &CheckSummary| c.violations + c.violations_unsettled;
            if summary.measured.checks().map(seen).sum::<i64>() == 0 && decided > 0 {
                section.intro.push(format!(
                    "No violation in {} checked facts. That bounds the rate of violations at {} % (95 %, if the facts were independent); it does not prove their absence.",
                    format::whole(decided),
                    format::percent_at_most(tail::zero_event_bound(decided.unsigned_abs()), 4)
                ));
            }
            section.tables.extend(found);
            section.list = summary
                .measured
                .checks()
                .flat_map(|check| {
                    check
                        .examples
                        .iter()
                        .map(move |text| format!("{}, {}: {text}", check.backend, check.name))
                })
                .take(12)
                .collect();
        }
        true => section
            .intro
            .push("Nothing was checked for correctness.".to_owned()),
    }
    section.list.extend(observed(summary));
    section
}

/// Where the stores do otherwise than S3; nothing where they were not asked.
pub(super) fn conformance(summary: &Summary) -> Section {
    let stores = &summary.measured.conformance;
    if stores.is_empty() {
        return Section::default();
    }
    let (table, kept) = tables::conformance(summary);
    let checks = kept + table.rows.len();
    let by = if stores.len() == 1 {
        "kept"
    } else {
        "kept by all"
    };
    Section {
        heading: "How each store differs from S3".to_owned(),
        intro: vec![format!(
            "Asked before the first block, each a few requests: {kept} of {checks} checks are {by}. What does not hold beside it is no figure; whether answers hold under load is what the consistency workload asks."
        )],
        tables: if table.rows.is_empty() {
            Vec::new()
        } else {
            vec![table]
        },
        ..Section::default()
    }
}

/// What workloads counted beside their checks, such as how long a key stayed unseen.
fn observed(summary: &Summary) -> Vec<String> {
    let counting = summary
        .measured
        .workloads
        .iter()
        .filter(|workload| kinds::of(workload.kind).counters_are_shown);
    let cells = counting.flat_map(|workload| &workload.cells);
    cells
        .flat_map(|cell| &cell.backends)
        .filter_map(|on| {
            let counts: Vec<String> = on
                .counters
                .iter()
                .map(|(name, count)| format!("{name} {}", format::whole(*count)))
                .collect();
            (!counts.is_empty()).then(|| format!("{} counted: {}", on.backend, counts.join(", ")))
        })
        .collect()
}

pub(super) fn validity(input: &ReportInput<'_>) -> Section {
    let summary = input.summary;
    let mut section = Section {
        heading: "Can the figures be trusted".to_owned(),
        ..Section::default()
    };
    section.intro.push(match (summary.measured.trials.invalid, summary.measured.trials.interrupted) {
        (0, 0) => "No attempt was invalid or interrupted.".to_owned(),
        (invalid, interrupted) => format!(
            "{invalid} invalid and {interrupted} interrupted attempts are listed and enter no latency and no rate; repetitions: {}.",
            summary.measured.trials.repeated
        ),
    });
    if !input.altered.is_empty() {
        section.intro.push(format!(
            "The raw data were changed after an earlier report, and this page is of what is there now (--force): {}.",
            input.altered.join("; ")
        ));
    }
    section.tables.push(tables::generators(summary));
    section.tables.extend(tables::flagged(summary));
    section.tables.extend(tables::drift(summary));
    section.tables.extend(tables::excluded(summary));
    section.figures = charts::series(summary);
    if !section.figures.is_empty() {
        section.legend = charts::legend_of_series(summary);
    }
    section
}

pub(super) fn environment(input: &ReportInput<'_>) -> Section {
    let summary = input.summary;
    let mut section = Section {
        heading: "Environment and operation".to_owned(),
        ..Section::default()
    };
    if let Some(stated) = &input.manifest.plan.spec.environment {
        section.intro.push(format!(
            "Stated: {}; {}; durability: {}.",
            stated.hardware, stated.region, stated.durability
        ));
    }
    section
        .intro
        .push(if summary.measured.environment.inequalities.is_empty() {
            "The nodes are equal as far as checked.".to_owned()
        } else {
            format!(
                "Not equal or not separate: {}",
                summary.measured.environment.inequalities.join(" ")
            )
        });
    section.tables.push(tables::operation(summary));
    section.tables.extend(tables::durability(summary));
    section.tables.extend(tables::pods(summary));
    section.tables.extend(tables::nodes(input.manifest));
    section.list = summary
        .measured
        .backends
        .iter()
        .flat_map(|backend| {
            let caveats = backend
                .caveats
                .iter()
                .map(move |caveat| format!("{}: {caveat}", backend.name));
            let durability = (!backend.durability.text.is_empty()).then(|| {
                format!(
                    "{}: \"acknowledged\" means {}",
                    backend.name, backend.durability.text
                )
            });
            let settings: Vec<String> = backend
                .settings
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            let settings = (!settings.is_empty())
                .then(|| format!("{}: settings {}", backend.name, settings.join(", ")));
            durability.into_iter().chain(caveats).chain(settings)
        })
        .collect();
    section
}

pub(super) fn repeat(input: &ReportInput<'_>) -> Section {
    let plan = &input.manifest.plan;
    let resource = serde_json::json!({
        "apiVersion": "bakeoff.dev/v1alpha1",
        "kind": "Experiment",
        "metadata": {"name": plan.experiment.name, "namespace": plan.experiment.namespace},
        "spec": plan.spec,
    });
    // Built from values that serialise: cannot fail.
    let spec = serde_json::to_string_pretty(&resource).unwrap_or_default();
    let file = format!("{}.json", plan.experiment.name);
    Section {
        heading: "Repeat it".to_owned(),
        intro: vec![format!(
            "Save the experiment below as {file} and run: kubectl create -f {file}. The same spec and seed give the same schedule. To rebuild this page from the raw data: loadgen report {}",
            plan.results.url()
        )],
        code: vec![("The experiment".to_owned(), spec)],
        tables: tables::files(input.files).into_iter().collect(),
        ..Section::default()
    }
}
