//! The report of a plan: the ladder of its phases, then each phase with its experiments.
//!
//! Each experiment is a section of its own with the class of its own results: two classes never share a table.

use std::collections::BTreeMap;

use bakeoff_crds::experiment_plan::{
    PhaseOutcome, PlanReport, PlanState, ReportedPhase, StepStatus, Undecided, When,
};
use bakeoff_crds::spec::ResultClass;
use serde::Serialize;

use super::datum::Datum;
use super::model::{Report, Section, Table, class_text};
use super::svg::Chart;
use super::{charts, html, markdown, tables};
use crate::decision::DecisionRecord;
use crate::summary::{ObjectiveResult, Summary};

/// The schema of [`PlanSummary`].
pub const PLAN_SUMMARY_SCHEMA: &str = "plan-summary.bakeoff.dev/v1";

/// What was found of the experiments of a plan, by their names: a summary, or why there is none.
pub type Found = BTreeMap<String, Result<Box<Summary>, String>>;

/// The page, `report.html`.
#[must_use]
pub fn plan_html(plan: &PlanReport, found: &Found) -> String {
    html::render(&page(plan, found))
}

/// The same for a pull request, `report.md`.
#[must_use]
pub fn plan_markdown(plan: &PlanReport, found: &Found) -> String {
    markdown::render(&page(plan, found))
}

/// The same for programs, `summary.json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanSummary<'a> {
    /// [`PLAN_SUMMARY_SCHEMA`].
    pub schema_version: &'static str,
    /// The plan, as it went.
    #[serde(flatten)]
    pub plan: Told<'a>,
    /// What its experiments came to.
    pub experiments: Vec<ExperimentOfPlan<'a>>,
}

/// A plan without the place of its results.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Told<'a> {
    /// `namespace/name`.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Where it stands.
    pub state: PlanState,
    /// The same in words.
    pub message: &'a str,
    /// Its phases.
    pub phases: &'a [ReportedPhase],
}

/// An experiment of a plan.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExperimentOfPlan<'a> {
    /// The phase.
    pub phase: &'a str,
    /// Its name in the plan.
    pub name: &'a str,
    /// Its own name.
    pub experiment: &'a str,
    /// The class of its results.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result_class: Option<ResultClass>,
    /// What its rule concludes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<&'a DecisionRecord>,
    /// Its objectives.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub objectives: &'a [ObjectiveResult],
    /// Why nothing is known of it here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<&'a str>,
}

/// The summary of a plan.
#[must_use]
pub fn summary<'a>(plan: &'a PlanReport, found: &'a Found) -> PlanSummary<'a> {
    let experiments = plan.phases.iter().flat_map(|phase| {
        steps(phase).map(|step| {
            let found = found.get(&step.experiment);
            let summary = found.and_then(|found| found.as_deref().ok());
            ExperimentOfPlan {
                phase: &phase.name,
                name: &step.name,
                experiment: &step.experiment,
                result_class: summary.map(|summary| summary.measured.result_class),
                decision: summary.and_then(|summary| summary.decision.as_ref()),
                objectives: summary.map_or(&[], |summary| &summary.objectives),
                missing: match found {
                    Some(Err(why)) => Some(why),
                    _ => None,
                },
            }
        })
    });
    PlanSummary {
        schema_version: PLAN_SUMMARY_SCHEMA,
        plan: Told {
            name: full_name(plan),
            uid: plan.plan.uid.to_string(),
            state: plan.state,
            message: &plan.message,
            phases: &plan.phases,
        },
        experiments: experiments.collect(),
    }
}

/// The experiments of a phase. In this order those of all phases stand in the summary.
fn steps(phase: &ReportedPhase) -> impl Iterator<Item = &StepStatus> {
    phase.status.iter().flat_map(|status| &status.experiments)
}

fn full_name(plan: &PlanReport) -> String {
    format!("{}/{}", plan.plan.namespace, plan.plan.name)
}

fn page(plan: &PlanReport, found: &Found) -> Report {
    let outcomes = plan.phases.iter().filter_map(outcome);
    let count = |of: PhaseOutcome| outcomes.clone().filter(|outcome| *outcome == of).count();
    let done = outcomes.clone().count();
    let word = match plan.state {
        PlanState::Completed => "what its phases came to".to_owned(),
        PlanState::Stopped | PlanState::Cancelled => {
            format!("what its phases came to until it was {}", lower(plan.state))
        }
        _ => format!("what {done} of {} phases came to", plan.phases.len()),
    };
    let facts = [
        (
            "Phases done".to_owned(),
            format!("{done} of {}", plan.phases.len()),
        ),
        ("Go".to_owned(), count(PhaseOutcome::Go).to_string()),
        ("No-go".to_owned(), count(PhaseOutcome::NoGo).to_string()),
        (
            "Inconclusive".to_owned(),
            count(PhaseOutcome::Inconclusive).to_string(),
        ),
        ("Failed".to_owned(), count(PhaseOutcome::Failed).to_string()),
        (
            "Skipped".to_owned(),
            count(PhaseOutcome::Skipped).to_string(),
        ),
    ];
    let mut sections = vec![ladder(plan)];
    sections.extend(decisions(plan));
    let mut before = 0;
    for phase in &plan.phases {
        sections.extend(of_phase(phase, before, found));
        before += steps(phase).count();
    }
    Report {
        name: full_name(plan),
        started_at: plan
            .start_time
            .map_or_else(String::new, |start| start.to_string()),
        class: None,
        question: format!("{}: {word}", plan.plan.name),
        decision: None,
        facts: facts
            .into_iter()
            .map(|(name, value)| (name, Datum::from(value)))
            .collect(),
        sections,
        footer: format!("Bakeoff · plan {} · {}", full_name(plan), plan.plan.uid),
    }
}

fn lower(state: PlanState) -> String {
    state.as_str().to_lowercase()
}

fn outcome(phase: &ReportedPhase) -> Option<PhaseOutcome> {
    phase.status.as_ref()?.outcome
}

fn text(outcome: Option<PhaseOutcome>) -> &'static str {
    match outcome {
        Some(PhaseOutcome::Go) => "✓ Go",
        Some(PhaseOutcome::NoGo) => "✗ No-go",
        Some(PhaseOutcome::Inconclusive) => "? Inconclusive",
        Some(PhaseOutcome::Failed) => "! Failed",
        Some(PhaseOutcome::Skipped) => "– Skipped",
        None => "not yet",
    }
}

/// One line a phase: what was asked, what it came to, and what follows.
fn ladder(plan: &PlanReport) -> Section {
    let columns = [
        ("phase", false),
        ("outcome", false),
        ("question", false),
        ("why", false),
        ("what it changes", false),
    ];
    let mut table = Table::new("Phases in their order", &columns).described();
    for phase in &plan.phases {
        let status = phase.status.as_ref();
        let reason = status.and_then(|status| status.reason.clone());
        table.rows.push(vec![
            phase.name.clone().into(),
            text(outcome(phase)).into(),
            phase.question.clone().into(),
            reason.unwrap_or_default().into(),
            consequence(phase).unwrap_or_default().into(),
        ]);
    }
    let intro = if plan.message.is_empty() {
        "Each phase answers a question; later ones are run on evidence from the earlier. No-go is a result and no failure.".to_owned()
    } else {
        format!(
            "{}. No-go is a result and no failure.",
            plan.message.trim_end_matches('.')
        )
    };
    Section {
        heading: "The ladder".to_owned(),
        intro: vec![intro],
        tables: vec![table],
        ..Section::default()
    }
}

/// What the experiments that gave a phase its outcome change in the design.
fn consequence(phase: &ReportedPhase) -> Option<String> {
    let status = phase.status.as_ref()?;
    let experiments = status.experiments.iter();
    let decisive = experiments.filter(|step| step.outcome == status.outcome);
    let texts: Vec<&str> = decisive
        .filter_map(|step| step.consequence.as_deref())
        .collect();
    (!texts.is_empty()).then(|| texts.join(" "))
}

fn decisions(plan: &PlanReport) -> Option<Section> {
    if plan.decisions.is_empty() {
        return None;
    }
    let columns = [
        ("phase", false),
        ("decision", false),
        ("reason", false),
        ("by", false),
    ];
    let mut table = Table::new("In the order in which they were made", &columns).described();
    for decision in &plan.decisions {
        table.rows.push(vec![
            decision.phase.clone().into(),
            decision.action.as_str().into(),
            decision.reason.clone().into(),
            decision.by.clone().into(),
        ]);
    }
    Some(Section {
        heading: "What people decided".to_owned(),
        tables: vec![table],
        ..Section::default()
    })
}

/// A phase: what was asked, on what condition it was run, and its experiments, of which so many stand before in the summary.
fn of_phase(phase: &ReportedPhase, before: usize, found: &Found) -> Vec<Section> {
    let Some(status) = &phase.status else {
        return Vec::new();
    };
    let mut head = Section {
        heading: format!("{}: {}", phase.name, phase.question),
        begins_a_page: !status.experiments.is_empty(),
        ..Section::default()
    };
    head.intro.push(match &status.reason {
        Some(reason) => format!("{}: {reason}", text(status.outcome)),
        None => text(status.outcome).to_owned(),
    });
    if !phase.when.is_empty() {
        let when: Vec<String> = phase.when.iter().map(condition).collect();
        let undecided = match phase.undecided {
            Undecided::Wait => "a person decides",
            Undecided::Run => "it is run",
            Undecided::Skip => "it is skipped",
        };
        head.intro.push(format!(
            "Run only if {}; where that cannot be told {undecided}.",
            when.join(" and ")
        ));
    }
    let experiments = (before..).zip(steps(phase)).map(|(position, step)| {
        of_experiment(&phase.name, step, position, found.get(&step.experiment))
    });
    std::iter::once(head).chain(experiments).collect()
}

fn condition(when: &When) -> String {
    let of = match &when.experiment {
        Some(experiment) => format!("{}/{experiment}", when.phase),
        None => when.phase.clone(),
    };
    let among: Vec<&str> = when.outcome.iter().map(|one| one.as_str()).collect();
    format!("{of} is {}", among.join(" or "))
}

/// An experiment: its decision with what it read, and its figures. All of it is in its own report.
fn of_experiment(
    phase: &str,
    step: &StepStatus,
    position: usize,
    found: Option<&Result<Box<Summary>, String>>,
) -> Section {
    let mut section = Section {
        heading: format!("{phase}/{}", step.name),
        ..Section::default()
    };
    let reason = step.reason.as_deref().unwrap_or("it has no outcome yet");
    section
        .intro
        .push(format!("{}: {reason}", text(step.outcome)));
    match found {
        Some(Ok(summary)) => {
            figures(summary, &mut section);
            place(&mut section, position);
        }
        Some(Err(why)) => section
            .intro
            .push(format!("Its figures are not here: {why}.")),
        None => {}
    }
    let attempt = if step.attempt > 1 {
        format!(", attempt {}", step.attempt)
    } else {
        String::new()
    };
    let report = step.report.as_deref().unwrap_or("it wrote no report");
    section
        .list
        .push(format!("Experiment {}{attempt}: {report}", step.experiment));
    section
}

fn figures(summary: &Summary, section: &mut Section) {
    section.class = Some(summary.measured.result_class);
    section
        .intro
        .push(class_text(summary.measured.result_class).to_owned());
    if let Some(decision) = &summary.decision {
        section.intro.push(format!(
            "{} The rule, stated beforehand: {}",
            decision.question, decision.criterion
        ));
        section
            .intro
            .push(format!("What it changes: {}", decision.consequence));
        section.tables.push(tables::inputs(summary, decision));
    }
    if !summary.objectives.is_empty() {
        section.tables.push(tables::objectives(summary));
    }
    section.figures = charts::forests(summary);
    section.tables.extend(tables::percentiles(summary));
    section.dense = true;
}

/// Turns the places of figures in the summary of an experiment into those in the summary of the plan, which keeps the decision of
/// each experiment and none of its other figures: those have no place there.
fn place(section: &mut Section, position: usize) {
    let in_plan = |from: &String| {
        let kept = from.starts_with("/decision/");
        kept.then(|| format!("/experiments/{position}{from}"))
    };
    let rows = section.tables.iter_mut().flat_map(|table| &mut table.rows);
    for datum in rows.flatten() {
        let places: Option<Vec<String>> = datum.from.iter().map(in_plan).collect();
        datum.from = places.unwrap_or_default();
    }
    for figure in &mut section.figures {
        if let Chart::Forest(forest) = &mut figure.chart {
            for row in &mut forest.rows {
                row.from = in_plan(&row.from).unwrap_or_default();
            }
        }
    }
}
