//! Variants of one design, such as the fillfactors of a table: each is judged by inputs of its own, one that
//! holds is enough, and all have to fail before the design does.

use bakeoff_crds::spec::WorkloadKind;

use super::{DecisionInput, Role, Standing, Unit, missing};
use crate::format;
use crate::measured::CheckSummary;
use crate::measured::Measured;
use crate::vocabulary;

/// What one variant shows.
pub(super) struct Variant {
    /// Its name, as a sentence has it: `fillfactor 80`.
    pub name: String,
    pub inputs: Vec<DecisionInput>,
}

impl Variant {
    pub(super) fn standing(&self) -> Standing {
        let decides = |input: &&DecisionInput| input.role != Role::Context;
        let of = |standing| {
            self.inputs
                .iter()
                .filter(decides)
                .any(|input| input.standing == standing)
        };
        if of(Standing::NotMet) {
            Standing::NotMet
        } else if of(Standing::Open) || self.inputs.is_empty() {
            Standing::Open
        } else {
            Standing::Met
        }
    }

    /// The first input that decides and stands so.
    pub(super) fn first(&self, standing: Standing) -> Option<&DecisionInput> {
        self.inputs
            .iter()
            .find(|input| input.role != Role::Context && input.standing == standing)
    }
}

/// The first variant that holds.
pub(super) fn holding(variants: &[Variant]) -> Option<&Variant> {
    variants
        .iter()
        .find(|variant| variant.standing() == Standing::Met)
}

/// Whether there are variants and every one is shown to fail.
pub(super) fn all_fail(variants: &[Variant]) -> bool {
    !variants.is_empty()
        && variants
            .iter()
            .all(|variant| variant.standing() == Standing::NotMet)
}

/// Why each variant fails, in words.
pub(super) fn failures(variants: &[Variant]) -> String {
    let why: Vec<String> = variants
        .iter()
        .filter_map(|variant| variant.first(Standing::NotMet).map(describe))
        .collect();
    why.join("; ")
}

/// The first thing that is not settled, in words; `nothing` when there is none.
pub(super) fn unsettled(variants: &[Variant], missed: &DecisionInput, nothing: &str) -> String {
    variants
        .iter()
        .filter(|variant| variant.standing() == Standing::Open)
        .filter_map(|variant| variant.first(Standing::Open))
        .chain(std::iter::once(missed).filter(|input| input.standing == Standing::Open))
        .next()
        .map_or_else(
            || format!("{nothing} What is missing is not satisfied"),
            |input| format!("Not settled: {}", describe(input)),
        )
}

fn describe(input: &DecisionInput) -> String {
    let unit = if input.unit == Unit::Percent {
        " %"
    } else {
        ""
    };
    let value = input.value.map_or_else(
        || "not measured".to_owned(),
        |value| match value.abs() {
            small if small > 0.0 && small < 1.0 => format!("{}{unit}", format::three(value)),
            _ => format!("{value:.1}{unit}"),
        },
    );
    let interval = input
        .low
        .zip(input.high)
        .map_or_else(String::new, |(low, high)| {
            format!(" (interval {low:.1} to {high:.1})")
        });
    format!(
        "{} with {} is {value}{interval}, and the rule demands: {}",
        input.name, input.scope, input.demand
    )
}

/// Statements that did not touch exactly the row that their connection owned.
pub(super) fn rows_missed(measured: &Measured, kind: WorkloadKind, subject: &str) -> DecisionInput {
    let mut input = missing(
        "Rows missed by their owner",
        subject.to_owned(),
        Role::Correctness,
        Unit::Violations,
        "none".to_owned(),
    );
    let checks: Vec<_> = measured
        .of_kind(kind)
        .flat_map(|workload| &workload.checks)
        .filter(|check| check.backend == subject && check.name == vocabulary::ROWS_MISSED)
        .collect();
    let sum = |of: fn(&CheckSummary) -> i64| checks.iter().map(|check| of(check)).sum::<i64>();
    let violations = sum(|check| check.violations);
    let unsettled = sum(|check| check.violations_unsettled);
    if sum(|check| check.checked) + violations + unsettled > 0 {
        input.value = Some((violations + unsettled) as f64);
        input.standing = match (violations, unsettled) {
            (0, 0) => Standing::Met,
            (0, _) => Standing::Open,
            _ => Standing::NotMet,
        };
    }
    if unsettled > 0 {
        input.scope = format!(
            "{subject}; {unsettled} in attempts in which the backend restarted or went away"
        );
    }
    input
}
