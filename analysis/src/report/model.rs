//! The report as data: what stands on the page, in which order.

use bakeoff_crds::spec::{ResultClass, WorkloadKind};
use bakeoff_crds::status::DecisionOutcome;

use super::svg::Chart;
use super::{ReportInput, charts, format, tables};
use crate::stats::{ALPHA, power, tail};
use crate::summary::Summary;

/// A report.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// `namespace/name`.
    pub name: String,
    /// When the run started.
    pub started_at: String,
    /// The class of every figure on the page.
    pub class: ResultClass,
    /// The question, which is the title.
    pub question: String,
    /// The answer; absent when the experiment asked for none.
    pub decision: Option<Verdict>,
    /// A few figures that say how large and how sound the run was.
    pub facts: Vec<(String, String)>,
    /// What the page says, in order.
    pub sections: Vec<Section>,
    /// The line at the bottom.
    pub footer: String,
}

/// The answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Go, NoGo or Inconclusive.
    pub outcome: DecisionOutcome,
    /// The rule that gave it.
    pub rule: String,
    /// Why.
    pub reason: String,
    /// What it changes.
    pub consequence: String,
}

/// A part of the page under its own heading.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Section {
    /// The heading.
    pub heading: String,
    /// A sentence that says how to read what follows.
    pub intro: Vec<String>,
    /// Charts, side by side.
    pub figures: Vec<Figure>,
    /// The styles that the charts use: name and style.
    pub legend: Vec<(String, usize)>,
    /// Tables.
    pub tables: Vec<Table>,
    /// Whether paper sets the tables in two columns.
    pub dense: bool,
    /// Points.
    pub list: Vec<String>,
    /// Text that is shown as it is: title and text.
    pub code: Vec<(String, String)>,
}

/// A chart with a text for those who do not see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// The chart.
    pub chart: Chart,
    /// What it shows, in words.
    pub text: String,
}

/// A table.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// What it holds.
    pub caption: String,
    /// The heads of the columns; a `true` makes numbers of a column.
    pub columns: Vec<(String, bool)>,
    /// The rows.
    pub rows: Vec<Vec<String>>,
    /// Whether the page shows it only on demand.
    pub folded: bool,
    /// Whether it carries measured figures, and so the class of the result.
    pub measured: bool,
}

impl Table {
    pub(super) fn new(caption: &str, columns: &[(&str, bool)]) -> Self {
        Self {
            caption: caption.to_owned(),
            columns: columns
                .iter()
                .map(|(name, number)| ((*name).to_owned(), *number))
                .collect(),
            rows: Vec::new(),
            folded: false,
            measured: true,
        }
    }

    pub(super) fn folded(self) -> Self {
        Self {
            folded: true,
            ..self
        }
    }

    pub(super) fn described(self) -> Self {
        Self {
            measured: false,
            ..self
        }
    }
}

/// What a class of results may be used for.
#[must_use]
pub fn class_text(class: ResultClass) -> &'static str {
    match class {
        ResultClass::Relative => {
            "Relative: valid as comparison, shape and correctness on this equipment; not as absolute figures."
        }
        ResultClass::Absolute => "Absolute: valid as figures of the environment stated below.",
    }
}

/// Builds the report.
#[must_use]
pub fn build(input: &ReportInput<'_>) -> Report {
    let summary = input.summary;
    let plan = &input.manifest.plan;
    let name = format!("{}/{}", plan.experiment.namespace, plan.experiment.name);
    let question = summary.decision.as_ref().map_or_else(
        || format!("What was measured in {}", plan.experiment.name),
        |decision| decision.question.clone(),
    );
    let sections = [
        decided_by(summary),
        comparison(summary),
        latency(summary),
        scaling(summary),
        super::state::section(summary),
        correctness(summary),
        validity(summary),
        environment(input),
        repeat(input),
    ];
    Report {
        name,
        started_at: summary.started_at.clone(),
        class: summary.result_class,
        question,
        decision: summary.decision.as_ref().map(|decision| Verdict {
            outcome: decision.outcome,
            rule: decision.rule.as_str().to_owned(),
            reason: decision.reason.clone(),
            consequence: decision.consequence.clone(),
        }),
        facts: facts(summary, plan.spec.trials.blocks),
        sections: sections
            .into_iter()
            .filter(|section| {
                !(section.figures.is_empty()
                    && section.tables.is_empty()
                    && section.list.is_empty()
                    && section.code.is_empty()
                    && section.intro.is_empty())
            })
            .collect(),
        footer: format!(
            "Bakeoff {} · generator {} · Kubernetes {} · seed {} · {}",
            or_unknown(&summary.environment.bakeoff_version),
            or_unknown(&summary.environment.generator_version),
            or_unknown(&summary.environment.kubernetes_version),
            summary.seed,
            summary.experiment
        ),
    }
}

fn or_unknown(text: &str) -> &str {
    if text.is_empty() { "unknown" } else { text }
}

fn facts(summary: &Summary, blocks: i32) -> Vec<(String, String)> {
    let violations: i64 = summary.violations().values().sum();
    let checked: i64 = summary
        .workloads
        .iter()
        .flat_map(|w| &w.checks)
        .map(|check| check.checked)
        .sum();
    let met = summary
        .objectives
        .iter()
        .filter(|objective| objective.met)
        .count();
    let operations: i64 = summary
        .workloads
        .iter()
        .flat_map(|workload| &workload.cells)
        .flat_map(|cell| &cell.backends)
        .map(|on| on.load.completed)
        .sum();
    let mut facts = vec![
        ("Blocks".to_owned(), blocks.to_string()),
        (
            "Trials done".to_owned(),
            format!("{} of {}", summary.trials.done, summary.trials.planned),
        ),
        ("Measured operations".to_owned(), format::whole(operations)),
        (
            "Invalid attempts".to_owned(),
            summary.trials.invalid.to_string(),
        ),
        (
            "Violations".to_owned(),
            if checked == 0 {
                "not checked".to_owned()
            } else {
                format::whole(violations)
            },
        ),
    ];
    if !summary.objectives.is_empty() {
        facts.push((
            "Objectives met".to_owned(),
            format!("{met} of {}", summary.objectives.len()),
        ));
    }
    if summary.ending != "Completed" {
        facts.push(("Ending".to_owned(), summary.ending.clone()));
    }
    facts
}

fn decided_by(summary: &Summary) -> Section {
    let mut section = Section {
        heading: "What decided".to_owned(),
        ..Section::default()
    };
    if let Some(decision) = &summary.decision {
        section.intro.push(format!(
            "The rule, stated beforehand: {}",
            decision.criterion
        ));
        section.tables.push(tables::inputs(decision));
    }
    if !summary.objectives.is_empty() {
        section.tables.push(tables::objectives(summary));
    }
    section
}

fn comparison(summary: &Summary) -> Section {
    let figures = charts::forests(summary);
    if figures.is_empty() {
        return Section::default();
    }
    Section {
        heading: "Ratios by cell".to_owned(),
        intro: vec![
            "Geometric mean over blocks with its 95 % interval (bootstrap over blocks). Filled: a difference is shown, also after Holm over the cells of the chart. Ring with a dot: only by itself. Ring: none is shown. The shaded band is the margin of the decision.".to_owned(),
        ]
        .into_iter()
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
        .workloads
        .iter()
        .map(|workload| workload.cells.len())
        .max()?;
    let comparisons = summary
        .workloads
        .iter()
        .flat_map(|w| &w.cells)
        .flat_map(|cell| &cell.comparisons);
    let blocks = comparisons
        .map(|comparison| comparison.estimate.blocks)
        .max()?;
    let needed = power::least_blocks(ALPHA / cells as f64);
    (usize::try_from(blocks).unwrap_or(0) < needed).then(|| {
        format!(
            "With {blocks} blocks no single one of {cells} cells can be told apart after that correction, whatever the figures; it takes {needed}. The decision averages the cells within each block first and is not affected."
        )
    })
}

fn latency(summary: &Summary) -> Section {
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
    let open = summary.workloads.iter().any(|workload| workload.open_load);
    let closed = summary.workloads.iter().any(|workload| !workload.open_load);
    let mut text = String::new();
    if closed {
        text.push_str("In a closed load the clients wait for each other's answers: its latencies hold at that concurrency, not at a given rate. ");
    }
    if open {
        text.push_str("In an open load latency counts from the planned instant. ");
    }
    text.push_str(&format!(
        "Percentiles are read from histograms added over all valid trials; p99.9 is shown from {} operations up.",
        format::whole(tail::LEAST_FOR_P999.cast_signed())
    ));
    text
}

fn scaling(summary: &Summary) -> Section {
    let figures = charts::scaling(summary);
    if figures.is_empty() {
        return Section::default();
    }
    Section {
        heading: "How it scales".to_owned(),
        legend: charts::legend(summary),
        intro: vec!["Each point is a cell over all its valid blocks; both ends of a line are the smallest and the largest load point.".to_owned()],
        figures,
        ..Section::default()
    }
}

fn correctness(summary: &Summary) -> Section {
    let mut section = Section {
        heading: "Correctness".to_owned(),
        ..Section::default()
    };
    match tables::checks(summary) {
        Some(table) => {
            let checked: i64 = summary
                .workloads
                .iter()
                .flat_map(|w| &w.checks)
                .map(|check| check.checked)
                .sum();
            let violations: i64 = summary.violations().values().sum();
            if violations == 0 && checked > 0 {
                section.intro.push(format!(
                    "No violation in {} checked facts. That bounds the rate of violations at {:.4} % (95 %, if the facts were independent); it does not prove their absence.",
                    format::whole(checked),
                    tail::zero_event_bound(checked.unsigned_abs()) * 100.0
                ));
            }
            section.tables.push(table);
            let examples = summary.workloads.iter().flat_map(|w| &w.checks);
            section.list = examples
                .flat_map(|check| {
                    check
                        .examples
                        .iter()
                        .map(move |text| format!("{}, {}: {text}", check.backend, check.name))
                })
                .take(12)
                .collect();
        }
        None => section
            .intro
            .push("Nothing was checked for correctness.".to_owned()),
    }
    section.list.extend(observed(summary));
    section
}

/// What a consistency workload counted beside its checks, such as how long a key stayed unseen.
fn observed(summary: &Summary) -> Vec<String> {
    let cells = summary
        .of_kind(WorkloadKind::Consistency)
        .flat_map(|workload| &workload.cells);
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

fn validity(summary: &Summary) -> Section {
    let mut section = Section {
        heading: "Can the figures be trusted".to_owned(),
        ..Section::default()
    };
    section.intro.push(match (summary.trials.invalid, summary.trials.interrupted) {
        (0, 0) => "No attempt was invalid or interrupted.".to_owned(),
        (invalid, interrupted) => format!(
            "{invalid} invalid and {interrupted} interrupted attempts are listed and used nowhere; repetitions: {}.",
            summary.trials.repeated
        ),
    });
    section.tables.push(tables::generators(summary));
    section.tables.extend(tables::drift(summary));
    section.tables.extend(tables::excluded(summary));
    section.figures = charts::series(summary);
    if !section.figures.is_empty() {
        section.legend = charts::legend(summary);
    }
    section
}

fn environment(input: &ReportInput<'_>) -> Section {
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
        .push(if summary.environment.inequalities.is_empty() {
            "The nodes are equal as far as checked.".to_owned()
        } else {
            format!(
                "Not equal or not separate: {}",
                summary.environment.inequalities.join(" ")
            )
        });
    section.tables.push(tables::operation(summary));
    section.tables.extend(tables::nodes(input.manifest));
    section.list = summary
        .backends
        .iter()
        .flat_map(|backend| {
            let caveats = backend
                .caveats
                .iter()
                .map(move |caveat| format!("{}: {caveat}", backend.name));
            let durability = (!backend.durability.is_empty()).then(|| {
                format!(
                    "{}: \"acknowledged\" means {}",
                    backend.name, backend.durability
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

fn repeat(input: &ReportInput<'_>) -> Section {
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
