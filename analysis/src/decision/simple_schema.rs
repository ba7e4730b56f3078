//! Experiment A0: does one plain head table hold?
//!
//! The plan: "Pass: HOT ratio near 100 %, bloat flat, size tracks the active set, not cumulative
//! history. If it passes, partitioning is unnecessary and we stop here. If autovacuum can't keep up or
//! bloat climbs, escalate to A1." The change is to leave partitioning out, so `Go` means that the
//! simple schema holds: with one fillfactor, at every number of active runs measured. `NoGo` means
//! that every fillfactor is shown to fail somewhere.

use std::collections::BTreeSet;

use bakeoff_crds::schedule::factor;
use bakeoff_crds::spec::{Decision, DecisionRule, WorkloadKind};
use bakeoff_crds::status::DecisionOutcome;

use super::bounded::{Bound, Named, bounded, values};
use super::{DecisionInput, DecisionRecord, Role, Standing, Unit, count, missing};
use crate::stats::{mean, round};
use crate::summary::{CellBackend, CellSummary, CheckSummary, Summary};
use crate::vocabulary;

/// "Near 100 %": the share of updates that add no index entry.
const HOT_PERCENT: f64 = 90.0;
/// "Flat": growth of table and indexes over the second half of the window, percent.
const LATE_GROWTH_PERCENT: f64 = 2.0;
/// "Autovacuum keeps up": autovacuum lets dead rows reach a fifth of the table by default before it starts;
/// twice that is more than one cycle behind.
const DEAD_PERCENT: f64 = 40.0;
/// "Size tracks the active set": bytes per active run at the largest level against the smallest.
const SIZE_RATIO: f64 = 1.25;

/// What a window must cover at least once.
const COVERED: [(&str, &str); 2] = [
    ("autovacuums", "Fewest autovacuum runs in a window"),
    (
        "turnovers",
        "Fewest turnovers of the population in a window",
    ),
];

/// What one fillfactor shows.
struct Variant {
    fillfactor: i64,
    inputs: Vec<DecisionInput>,
}

impl Variant {
    fn standing(&self) -> Standing {
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

    fn first(&self, standing: Standing) -> Option<&DecisionInput> {
        self.inputs
            .iter()
            .find(|input| input.role != Role::Context && input.standing == standing)
    }
}

pub(super) fn decide(decision: &Decision, summary: &Summary) -> DecisionRecord {
    let subject = decision
        .incumbent
        .clone()
        .or_else(|| summary.backends.first().map(|backend| backend.name.clone()))
        .unwrap_or_default();
    let cells: Vec<&CellSummary> = summary
        .of_kind(WorkloadKind::HeadRow)
        .flat_map(|workload| &workload.cells)
        .collect();
    let fillfactors: BTreeSet<i64> = cells
        .iter()
        .filter_map(|cell| level(cell, factor::FILLFACTOR))
        .collect();
    // Highest first: the less that has to be tuned, the better.
    let variants: Vec<Variant> = fillfactors
        .into_iter()
        .rev()
        .map(|fillfactor| variant(fillfactor, &cells, &subject, summary.level))
        .collect();
    let missed = correctness(summary, &subject);

    let holds = variants
        .iter()
        .find(|variant| variant.standing() == Standing::Met);
    let fails = !variants.is_empty()
        && variants
            .iter()
            .all(|variant| variant.standing() == Standing::NotMet);
    let describe = |input: &DecisionInput| {
        let unit = if input.unit == Unit::Percent {
            " %"
        } else {
            ""
        };
        let value = input.value.map_or_else(
            || "not measured".to_owned(),
            |value| format!("{value:.1}{unit}"),
        );
        format!(
            "{} with {} is {value}, and the rule demands: {}{unit}",
            input.name, input.scope, input.demand
        )
    };
    let (outcome, reason, consequence) = if missed.standing == Standing::NotMet {
        (
            DecisionOutcome::NoGo,
            format!(
                "{:.0} statements did not touch exactly the row that their connection owned.",
                missed.value.unwrap_or(0.0)
            ),
            "The compare-and-swap is not what the design takes it for: settle that before any schema.".to_owned(),
        )
    } else if let Some(variant) = holds.filter(|_| missed.standing == Standing::Met) {
        (
            DecisionOutcome::Go,
            format!(
                "With fillfactor {} updates stay HOT, the size is flat and tracks the active set, and autovacuum keeps up, at every number of active runs measured.",
                variant.fillfactor
            ),
            "Leave partitioning out of the design: the plain head table with delete on completion holds.".to_owned(),
        )
    } else if fails {
        let why: Vec<String> = variants
            .iter()
            .filter_map(|variant| variant.first(Standing::NotMet).map(describe))
            .collect();
        (
            DecisionOutcome::NoGo,
            format!("Every fillfactor measured fails. {}.", why.join("; ")),
            "Partitioning is justified: experiment A1 picks dropping or deleting and the handling of sleepers.".to_owned(),
        )
    } else {
        let open = variants
            .iter()
            .filter_map(|variant| variant.first(Standing::Open))
            .chain(std::iter::once(&missed).filter(|input| input.standing == Standing::Open))
            .next()
            .map_or_else(
                || "No head table was measured. What is missing is not satisfied".to_owned(),
                |input| format!("Not settled: {}", describe(input)),
            );
        (
            DecisionOutcome::Inconclusive,
            format!("{open}."),
            "Nothing changes yet: measure longer windows, more blocks or more levels of active runs.".to_owned(),
        )
    };
    let mut inputs = vec![missed];
    inputs.extend(variants.into_iter().flat_map(|variant| variant.inputs));
    DecisionRecord {
        rule: DecisionRule::SimpleSchema,
        result_class: summary.result_class,
        question: format!(
            "Does one plain head table hold on {subject}, so that no partitioning is needed?"
        ),
        criterion: format!(
            "Go if with one fillfactor, at every number of active runs, at least {HOT_PERCENT} % of updates are HOT, table and indexes grow by at most {LATE_GROWTH_PERCENT} % over the second half of the window, dead rows stay below {DEAD_PERCENT} % of the active runs, while each window covers at least one run of autovacuum and one turnover of the population, and bytes per active run are at the largest level at most {SIZE_RATIO}x those at the smallest; NoGo if every fillfactor is shown to fail one of these."
        ),
        margin: 1.0,
        outcome,
        reason,
        consequence,
        inputs,
        more_blocks: None,
    }
}

fn level(cell: &CellSummary, factor: &str) -> Option<i64> {
    cell.levels.get(factor)?.parse().ok()
}

fn correctness(summary: &Summary, subject: &str) -> DecisionInput {
    let mut input = missing(
        "Rows missed by their owner",
        subject.to_owned(),
        Role::Correctness,
        Unit::Violations,
        "none".to_owned(),
    );
    let checks: Vec<_> = summary
        .of_kind(WorkloadKind::HeadRow)
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

fn variant(fillfactor: i64, cells: &[&CellSummary], subject: &str, alpha: f64) -> Variant {
    let unit = Unit::Percent;
    let bounded = |on: &_, figure, name, scope: &str, bound| {
        bounded(on, Named { figure, name, unit }, scope, bound, alpha)
    };
    let mut mine: Vec<(i64, &CellBackend)> = cells
        .iter()
        .filter(|cell| level(cell, factor::FILLFACTOR) == Some(fillfactor))
        .filter_map(|cell| Some((level(cell, factor::ACTIVE_RUNS)?, cell.on(subject)?)))
        .collect();
    mine.sort_by_key(|(active, _)| *active);
    let mut inputs = Vec::new();
    for (active, on) in &mine {
        let scope = format!("fillfactor {fillfactor}, {active} active runs");
        let coverage = COVERED.map(|(figure, name)| covered(on, figure, name, &scope));
        let whole = coverage.iter().all(|input| input.standing == Standing::Met);
        inputs.extend(coverage);
        let hot = Bound::AtLeast(HOT_PERCENT);
        inputs.push(bounded(on, "hotPercent", "HOT updates", &scope, hot));
        for (figure, name, bound) in [
            (
                "lateGrowthPercent",
                "Growth over the second half of the window",
                LATE_GROWTH_PERCENT,
            ),
            (
                "deadPeakPercent",
                "Most dead rows, of the active runs",
                DEAD_PERCENT,
            ),
        ] {
            let mut input = bounded(on, figure, name, &scope, Bound::AtMost(bound));
            // A table that is still on its way to its size says nothing for or against it.
            if !whole {
                input.standing = Standing::Open;
            }
            inputs.push(input);
        }
    }
    inputs.push(tracking(fillfactor, &mine));
    Variant { fillfactor, inputs }
}

/// A window must cover what it is to say something about: one in which autovacuum never ran does not
/// show that it keeps up, and one in which the population was not replaced once does not show that
/// the size has stopped growing.
fn covered(on: &CellBackend, figure: &str, name: &str, scope: &str) -> DecisionInput {
    let mut input = missing(
        name,
        scope.to_owned(),
        Role::Guard,
        Unit::Count,
        "at least 1 in every window".to_owned(),
    );
    let values = values(on, figure);
    input.blocks = count(values.len());
    if let Some(fewest) = values.iter().copied().reduce(f64::min) {
        input.value = Some(round(fewest));
        if fewest >= 1.0 {
            input.standing = Standing::Met;
        }
    }
    input
}

/// Bytes per active run must not depend on how much history there was: a table that keeps what was
/// deleted has more of them where more runs lived.
fn tracking(fillfactor: i64, levels: &[(i64, &CellBackend)]) -> DecisionInput {
    let mut input = missing(
        "Bytes per active run, largest level against smallest",
        format!("fillfactor {fillfactor}"),
        Role::Guard,
        Unit::Ratio,
        format!("at most {SIZE_RATIO}"),
    );
    let (Some(first), Some(last)) = (levels.first(), levels.last()) else {
        return input;
    };
    let (small, large) = (
        values(first.1, "bytesPerActiveRun"),
        values(last.1, "bytesPerActiveRun"),
    );
    input.blocks = count(small.len().min(large.len()));
    if first.0 == last.0 || small.is_empty() || large.is_empty() {
        input
            .demand
            .push_str(", over at least two levels of active runs");
        return input;
    }
    let ratio = mean(&large) / mean(&small).max(1.0);
    input.value = Some(round(ratio));
    input.standing = if ratio <= SIZE_RATIO {
        Standing::Met
    } else {
        Standing::NotMet
    };
    input
}

#[cfg(test)]
mod tests {
    use super::super::tests_support::{HeadRowFigures, head_row_summary};
    use super::*;

    const FINE: HeadRowFigures = HeadRowFigures {
        hot: 97.0,
        growth: 0.3,
        dead: 18.0,
        vacuums: 3.0,
        turnovers: 2.0,
        bytes: 300.0,
        missed: 0,
    };

    fn decide_with(of: impl Fn(i64, i64) -> HeadRowFigures) -> DecisionRecord {
        head_row_summary(6, of).decision.unwrap()
    }

    #[test]
    fn one_fillfactor_that_holds_everywhere_is_a_go() {
        let decision = decide_with(|_, fillfactor| HeadRowFigures {
            hot: if fillfactor == 100 { 40.0 } else { 97.0 },
            ..FINE
        });
        assert_eq!(decision.outcome, DecisionOutcome::Go, "{}", decision.reason);
        assert!(
            decision.reason.contains("fillfactor 80"),
            "{}",
            decision.reason
        );
    }

    #[test]
    fn every_fillfactor_failing_is_a_no_go_that_names_why() {
        let climbing = decide_with(|active, _| HeadRowFigures {
            growth: if active > 1_000 { 9.0 } else { 0.1 },
            ..FINE
        });
        assert_eq!(climbing.outcome, DecisionOutcome::NoGo);
        assert!(climbing.reason.contains("Growth"), "{}", climbing.reason);
        let behind = decide_with(|_, _| HeadRowFigures { dead: 90.0, ..FINE });
        assert_eq!(behind.outcome, DecisionOutcome::NoGo);
        let history = decide_with(|active, _| HeadRowFigures {
            bytes: if active > 1_000 { 900.0 } else { 300.0 },
            ..FINE
        });
        assert_eq!(history.outcome, DecisionOutcome::NoGo);
        assert!(
            history.reason.contains("Bytes per active run"),
            "{}",
            history.reason
        );
        let wrong = decide_with(|_, _| HeadRowFigures { missed: 1, ..FINE });
        assert_eq!(wrong.outcome, DecisionOutcome::NoGo);
    }

    #[test]
    fn a_window_without_autovacuum_settles_nothing() {
        let decision = decide_with(|_, _| HeadRowFigures {
            vacuums: 0.0,
            ..FINE
        });
        assert_eq!(decision.outcome, DecisionOutcome::Inconclusive);
        assert!(
            decision.reason.contains("autovacuum"),
            "{}",
            decision.reason
        );
        let short = decide_with(|active, _| HeadRowFigures {
            turnovers: if active > 1_000 { 0.1 } else { 5.0 },
            ..FINE
        });
        assert_eq!(short.outcome, DecisionOutcome::Inconclusive);
        assert!(short.reason.contains("turnovers"), "{}", short.reason);
    }
}
