//! What the decision read, the objectives, and all ratios.

use super::super::datum::Datum;
use super::super::model::Table;
use super::{dash, drop_empty, factors, interval, short};
use crate::decision::{DecisionInput, DecisionRecord, Role, Standing, Unit};
use crate::format;
use crate::measured::Censored;
use crate::summary::Summary;

fn confidence(summary: &Summary) -> String {
    format!("{} interval", format::confidence(summary.measured.level))
}

/// Whether a figure is only a bound, for the eye: the figure of an input that has a direction.
fn bound(input: &DecisionInput) -> &'static str {
    let sign = |censored: Censored| censored.sign(input.more_is_better);
    input.censored.map_or("", sign)
}

/// The heading of the intervals of a decision's inputs. Those of several challengers share one chance of error, and are wider than
/// the usual ones: the criterion says by how much.
fn of_inputs(summary: &Summary, decision: &DecisionRecord) -> String {
    let challengers = decision
        .inputs
        .iter()
        .filter(|input| input.role == Role::Primary);
    let rule = decision.rule == bakeoff_crds::spec::DecisionRule::SmallObjectBackend;
    if rule && challengers.count() > 1 {
        "Interval".to_owned()
    } else {
        confidence(summary)
    }
}

pub(in super::super) fn inputs(summary: &Summary, decision: &DecisionRecord) -> Table {
    let mut table = Table::new(
        "Inputs of the decision",
        &[
            ("Input", false),
            ("Figure", true),
            (&of_inputs(summary, decision), true),
            ("Demanded", false),
            ("Standing", false),
            ("p", true),
            ("p (Holm)", true),
            ("Detectable", true),
            ("Blocks", true),
        ],
    );
    let show = |input: &DecisionInput, value: f64| match input.unit {
        Unit::Ratio => format::ratio(value),
        Unit::Milliseconds => format!("{} ms", format::three(value)),
        Unit::Count if value.fract() != 0.0 => format::three(value),
        Unit::Violations | Unit::Count => format::whole(value as i64),
        Unit::Hours => format!("{value:.1} h"),
        Unit::PerMonth => format!("{value:.2}"),
        Unit::Percent => format!("{} %", format::three(value)),
    };
    for (index, input) in decision.inputs.iter().enumerate() {
        let place = format!("/decision/inputs/{index}");
        let standing = match (input.role, input.standing) {
            (Role::Context, _) => "for the reader",
            (_, Standing::Met) => "✓ met",
            (_, Standing::NotMet) => "✗ not met",
            (_, Standing::Open) => "? open",
        };
        table.rows.push(vec![
            format!("{} ({})", input.name, input.scope).into(),
            input.value.map_or_else(
                || "not measured".into(),
                |value| {
                    Datum::figure(
                        format!("{}{}", bound(input), show(input, value)),
                        format!("{place}/value"),
                    )
                },
            ),
            interval(&place, input.low, input.high, |value| show(input, value)),
            if input.role == Role::Context {
                Datum::none()
            } else {
                input.demand.as_str().into()
            },
            standing.into(),
            dash(
                input.p_value.map(format::p_value),
                &format!("{place}/pValue"),
            ),
            dash(
                input.adjusted_p.map(format::p_value),
                &format!("{place}/adjustedP"),
            ),
            dash(
                input.detectable.map(format::ratio),
                &format!("{place}/detectable"),
            ),
            if input.blocks > 0 {
                Datum::figure(input.blocks.to_string(), format!("{place}/blocks"))
            } else {
                Datum::none()
            },
        ]);
    }
    drop_empty(&mut table);
    table
}

pub(in super::super) fn objectives(summary: &Summary) -> Table {
    let mut table = Table::new(
        "Objectives",
        &[
            ("Name", false),
            ("Condition", false),
            ("Met", false),
            ("Figures", false),
        ],
    );
    for objective in &summary.objectives {
        let met = if objective.met {
            "✓ met"
        } else {
            "✗ not met"
        };
        table.rows.push(vec![
            objective.name.as_str().into(),
            objective.expression.as_str().into(),
            met.into(),
            objective.detail.as_str().into(),
        ]);
    }
    table
}

pub(in super::super) fn comparisons(summary: &Summary) -> Vec<Table> {
    let mut tables = Vec::new();
    for (w, workload) in summary.measured.workloads.iter().enumerate() {
        let mut table = Table::new(
            &format!("All ratios of {}", workload.name),
            &[
                (&factors(workload), false),
                ("Operation", false),
                ("Figure", false),
                ("Pair", false),
                ("Ratio", true),
                (&confidence(summary), true),
                ("p", true),
                ("p (Holm)", true),
                ("p (equivalent)", true),
                ("Detectable", true),
                ("Blocks", true),
                ("Finding", false),
            ],
        )
        .folded();
        for (c, cell) in workload.cells.iter().enumerate() {
            for (index, comparison) in cell.comparisons.iter().enumerate() {
                let place = format!("/workloads/{w}/cells/{c}/comparisons/{index}");
                let estimate = &comparison.estimate;
                let sign = comparison.censored.map_or("", |censored: Censored| {
                    censored.sign(comparison.metric.more_is_better())
                });
                table.rows.push(vec![
                    short(&cell.levels).into(),
                    comparison.operation.as_str().into(),
                    comparison.metric.as_str().into(),
                    format!("{} / {}", comparison.subject, comparison.base).into(),
                    Datum::figure(
                        format!("{sign}{}", format::ratio(estimate.ratio)),
                        format!("{place}/ratio"),
                    ),
                    interval(&place, estimate.low, estimate.high, format::ratio),
                    Datum::figure(format::p_value(estimate.p_value), format!("{place}/pValue")),
                    Datum::figure(
                        format::p_value(comparison.adjusted_p),
                        format!("{place}/adjustedP"),
                    ),
                    Datum::figure(
                        format::p_value(estimate.equivalence_p),
                        format!("{place}/equivalenceP"),
                    ),
                    dash(
                        estimate.detectable.map(format::ratio),
                        &format!("{place}/detectable"),
                    ),
                    Datum::figure(estimate.blocks.to_string(), format!("{place}/blocks")),
                    comparison
                        .finding
                        .describe(&comparison.subject, &comparison.base)
                        .into(),
                ]);
            }
        }
        if !table.rows.is_empty() {
            tables.push(table);
        }
    }
    tables
}
