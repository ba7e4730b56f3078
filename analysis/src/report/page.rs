//! What stands on the page, in which order.

use super::input::ReportInput;
use super::model::{Report, Verdict};
use super::sections::{
    comparison, conformance, correctness, costs, decided_by, environment, facts, latency, repeat,
    scaling, validity,
};
use super::{frontier, state, trend};

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
        trend::section(input.history),
        frontier::section(summary, &plan.spec),
        costs(summary),
        comparison(summary),
        latency(summary),
        scaling(summary),
        state::section(summary),
        correctness(summary),
        conformance(summary),
        validity(input),
        environment(input),
        repeat(input),
    ];
    Report {
        name,
        started_at: summary.measured.started_at.clone(),
        class: Some(summary.measured.result_class),
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
            or_unknown(&summary.measured.environment.bakeoff_version),
            or_unknown(&summary.measured.environment.generator_version),
            or_unknown(&summary.measured.environment.kubernetes_version),
            summary.measured.seed,
            summary.measured.experiment
        ),
    }
}

fn or_unknown(text: &str) -> &str {
    if text.is_empty() { "unknown" } else { text }
}
