//! Experiment A0: does one plain head table hold?
//!
//! The plan: "Pass: HOT ratio near 100 %, bloat flat, size tracks the active set, not cumulative
//! history. If it passes, partitioning is unnecessary and we stop here. If autovacuum can't keep up or
//! bloat climbs, escalate to A1." The change is to leave partitioning out, so `Go` means that the
//! simple schema holds: with one fillfactor, at every number of active runs measured. `NoGo` means
//! that every fillfactor is shown to fail somewhere.

use std::collections::{BTreeMap, BTreeSet};

use bakeoff_crds::figure::Figure;
use bakeoff_crds::schedule::factor;
use bakeoff_crds::spec::WorkloadKind;

use super::bounded::{Bound, Named, at_share, bounded, values};
use super::rule::{Answer, Asked, Need, Rule, Ruling};
use super::variants::{Variant, all_fail, failures, holding, rows_missed, unsettled};
use super::{DecisionInput, Role, Standing, Unit, at_most, count, missing};
use crate::format;
use crate::measured::{CellBackend, CellSummary};
use crate::stats::{interval, mean, round};

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
const COVERED: [(Figure, &str); 2] = [
    (Figure::Autovacuums, "Fewest autovacuum runs in a window"),
    (
        Figure::Turnovers,
        "Fewest turnovers of the population in a window",
    ),
];

/// What every window has to keep.
const FIGURES: [(Named, Bound); 3] = [
    (
        Named {
            figure: Figure::HotPercent,
            name: "HOT updates",
            unit: Unit::Percent,
        },
        Bound::AtLeast(HOT_PERCENT),
    ),
    (
        Named {
            figure: Figure::LateGrowthPercent,
            name: "Growth over the second half of the window",
            unit: Unit::Percent,
        },
        Bound::AtMost(LATE_GROWTH_PERCENT),
    ),
    (
        Named {
            figure: Figure::DeadPeakPercent,
            name: "Most dead rows, of the active runs",
            unit: Unit::Percent,
        },
        Bound::AtMost(DEAD_PERCENT),
    ),
];

pub(super) const RULE: Rule = Rule {
    needs: &[Need::Workload(WorkloadKind::HeadRow)],
    withheld_if_wrong: false,
    rests_on_listing: false,
    judges_one: true,
    reads_bloat: true,
    answer,
};

fn answer(asked: &Asked<'_>) -> Answer {
    let measured = asked.measured;
    let subject = asked.subject();
    let cells: Vec<&CellSummary> = measured
        .of_kind(WorkloadKind::HeadRow)
        .flat_map(|workload| &workload.cells)
        .collect();
    let fillfactors: BTreeSet<i64> = cells
        .iter()
        .filter_map(|cell| level(cell, factor::FILLFACTOR))
        .collect();
    // One that holds is enough, so each is judged at its share of the error rate.
    let met = measured.level / fillfactors.len().max(1) as f64;
    // One demand that is broken at one number of active runs is enough against it, so each of them has its share as well.
    let not_met = |fillfactor: i64| {
        let of = |cell: &&&CellSummary| level(cell, factor::FILLFACTOR) == Some(fillfactor);
        measured.level / (FIGURES.len() * cells.iter().filter(of).count() + 1) as f64
    };
    // Highest first: the less that has to be tuned, the better.
    let variants: Vec<Variant> = fillfactors
        .into_iter()
        .rev()
        .map(|fillfactor| variant(fillfactor, &cells, &subject, (met, not_met(fillfactor))))
        .collect();
    let missed = rows_missed(measured, WorkloadKind::HeadRow, &subject);
    let ruling = if missed.standing == Standing::NotMet {
        Ruling::no_go(
            format!(
                "{:.0} statements did not touch exactly the row that their connection owned.",
                missed.value.unwrap_or(0.0)
            ),
            "The compare-and-swap is not what the design takes it for: settle that before any schema.",
        )
    } else if let Some(variant) = holding(&variants).filter(|_| missed.standing == Standing::Met) {
        Ruling::go(
            format!(
                "With {} updates stay HOT, the size is flat and tracks the active set, and autovacuum keeps up, at every number of active runs measured.",
                variant.name
            ),
            "Leave partitioning out of the design: the plain head table with delete on completion holds.",
        )
    } else if all_fail(&variants) {
        Ruling::no_go(
            format!("Every fillfactor measured fails. {}.", failures(&variants)),
            "Partitioning is justified: experiment A1 picks dropping or deleting and the handling of sleepers.",
        )
    } else {
        let open = unsettled(&variants, &missed, "No head table was measured.");
        Ruling::open(
            format!("{open}."),
            "Nothing changes yet: measure longer windows, more blocks or more levels of active runs.",
            None,
        )
    };
    let mut inputs = vec![missed];
    inputs.extend(variants.into_iter().flat_map(|variant| variant.inputs));
    Answer {
        question: format!(
            "Does one plain head table hold on {subject}, so that no partitioning is needed?"
        ),
        criterion: format!(
            "Go if with one fillfactor, at every number of active runs, at least {HOT_PERCENT} % of updates are HOT, table and indexes grow by at most {LATE_GROWTH_PERCENT} % over the second half of the window, dead rows stay below {DEAD_PERCENT} % of the active runs, and bytes per active run are at the largest level at most {SIZE_RATIO}x those at the smallest; NoGo if every fillfactor is shown to fail one of these. Windows that do not cover at least one run of autovacuum and one turnover of the population say nothing for or against."
        ),
        ruling,
        inputs,
    }
}

fn level(cell: &CellSummary, factor: &str) -> Option<i64> {
    cell.levels.get(factor)?.parse().ok()
}

fn variant(
    fillfactor: i64,
    cells: &[&CellSummary],
    subject: &str,
    (alpha, not_met): (f64, f64),
) -> Variant {
    let bounded = |on: &_, named: Named, scope: &str, bound| {
        let mut input = bounded(on, named, scope, bound, alpha);
        let values = values(on, named.figure);
        at_share(&mut input, Standing::NotMet, &values, bound, not_met);
        input
    };
    let mut mine: Vec<(i64, &CellBackend)> = cells
        .iter()
        .filter(|cell| level(cell, factor::FILLFACTOR) == Some(fillfactor))
        .filter_map(|cell| Some((level(cell, factor::ACTIVE_RUNS)?, cell.on(subject)?)))
        .collect();
    mine.sort_by_key(|(active, _)| *active);
    let mut inputs = Vec::new();
    let mut whole_everywhere = true;
    for (active, on) in &mine {
        let scope = format!("fillfactor {fillfactor}, {active} active runs");
        let coverage = COVERED.map(|(figure, name)| covered(on, figure, name, &scope));
        let whole = coverage.iter().all(|input| input.standing == Standing::Met);
        inputs.extend(coverage);
        whole_everywhere &= whole;
        for (named, bound) in FIGURES {
            let mut input = bounded(on, named, &scope, bound);
            // A table that is still as it was loaded says nothing for or against what becomes of it: its pages are
            // full, so that updates cannot be HOT, until the first round of deletes and vacuums makes room.
            if !whole {
                input.standing = Standing::Open;
            }
            inputs.push(input);
        }
    }
    let mut tracking = tracking(fillfactor, &mine, (alpha, not_met));
    // Where nothing was deleted yet there is no history that the size could keep.
    if !whole_everywhere {
        tracking.standing = Standing::Open;
    }
    inputs.push(tracking);
    Variant {
        name: format!("fillfactor {fillfactor}"),
        inputs,
    }
}

/// A window must cover what it is to say something about: one in which autovacuum never ran does not
/// show that it keeps up, and one in which the population was not replaced once does not show that
/// the size has stopped growing.
fn covered(on: &CellBackend, figure: Figure, name: &str, scope: &str) -> DecisionInput {
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
        } else if fewest > 0.0 {
            let times = format::three((10.0 / fewest).ceil() / 10.0);
            input
                .demand
                .push_str(&format!(", which takes windows {times} times as long"));
        }
    }
    input
}

/// Bytes per active run must not depend on how much history there was: a table that keeps what was
/// deleted has more of them where more runs lived.
fn tracking(
    fillfactor: i64,
    levels: &[(i64, &CellBackend)],
    (alpha, not_met): (f64, f64),
) -> DecisionInput {
    let mut input = missing(
        "Bytes per active run, largest level against smallest",
        format!("fillfactor {fillfactor}"),
        Role::Guard,
        Unit::Ratio,
        format!("shown to be at most {SIZE_RATIO}"),
    );
    let (Some(first), Some(last)) = (levels.first(), levels.last()) else {
        return input;
    };
    let ratios = log_ratios(last.1, first.1, Figure::BytesPerActiveRun);
    input.blocks = count(ratios.len());
    if first.0 == last.0 || ratios.is_empty() {
        input
            .demand
            .push_str(", over at least two levels of active runs");
        return input;
    }
    input.value = Some(round(mean(&ratios).exp()));
    if let Some((_, low, high)) = interval::student(&ratios, alpha) {
        input.low = Some(round(low.exp()));
        input.high = Some(round(high.exp()));
        input.standing = at_most(low, high, SIZE_RATIO.ln());
        let bound = Bound::AtMost(SIZE_RATIO.ln());
        at_share(&mut input, Standing::NotMet, &ratios, bound, not_met);
    }
    input
}

/// The logarithm of a figure's ratio in each block that has it on both.
fn log_ratios(on: &CellBackend, base: &CellBackend, figure: Figure) -> Vec<f64> {
    let points = |on: &CellBackend| -> BTreeMap<i32, f64> {
        let figure = on.figures.get(&figure);
        let blocks = figure.iter().flat_map(|figure| &figure.blocks);
        blocks.map(|point| (point.block, point.value)).collect()
    };
    let base = points(base);
    let both = points(on).into_iter();
    both.filter_map(|(block, value)| Some((value, *base.get(&block)?)))
        .filter(|(value, base)| *value > 0.0 && *base > 0.0)
        .map(|(value, base)| (value / base).ln())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::DecisionRecord;
    use super::super::tests_support::{
        HeadRowFigures, head_row_summary, held_head_row_summary, says,
    };
    use bakeoff_crds::result::{HorizonHeld, HorizonHolder};
    use bakeoff_crds::status::DecisionOutcome;

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

    /// Two windows of one block differ by chance alone.
    #[test]
    fn the_size_of_one_block_shows_nothing() {
        let grown = |active, _| HeadRowFigures {
            bytes: if active > 1_000 { 378.0 } else { 300.0 },
            ..FINE
        };
        let decision = head_row_summary(1, grown).decision.unwrap();
        assert_eq!(
            decision.outcome,
            DecisionOutcome::Inconclusive,
            "{decision:#?}"
        );
        let decision = head_row_summary(6, grown).decision.unwrap();
        assert_eq!(decision.outcome, DecisionOutcome::NoGo, "{decision:#?}");
    }

    #[test]
    fn one_fillfactor_that_holds_everywhere_is_a_go() {
        let decision = decide_with(|_, fillfactor| HeadRowFigures {
            hot: if fillfactor == 100 { 40.0 } else { 97.0 },
            ..FINE
        });
        says(&decision, DecisionOutcome::Go, "fillfactor 80");
    }

    #[test]
    fn no_verdict_on_bloat_is_without_a_word_on_who_kept_the_dead_rows() {
        let held = HorizonHeld {
            kind: HorizonHolder::ReplicationSlot,
            name: "standby_1".to_owned(),
            age: 70_000,
        };
        let summary = held_head_row_summary(6, Some(held), |_, _| FINE);
        let decision = summary.decision.unwrap();
        let who = "the replication slot standby_1 (70000 transactions)";
        says(&decision, DecisionOutcome::Go, who);
        let caveats = &summary.measured.backends[0].caveats;
        assert!(
            caveats.iter().any(|caveat| caveat.contains(who)),
            "{caveats:?}"
        );
        // A figure that was not seen satisfies no objective, and the reader is told where to look.
        let objective = &summary.objectives[0];
        assert!(!objective.met);
        assert!(objective.detail.contains("caveats"), "{}", objective.detail);
        assert!(!decide_with(|_, _| FINE).reason.contains("held back"));
    }

    #[test]
    fn every_fillfactor_failing_is_a_no_go_that_names_why() {
        let climbing = decide_with(|active, _| HeadRowFigures {
            growth: if active > 1_000 { 9.0 } else { 0.1 },
            ..FINE
        });
        says(&climbing, DecisionOutcome::NoGo, "Growth");
        let behind = decide_with(|_, _| HeadRowFigures { dead: 90.0, ..FINE });
        assert_eq!(behind.outcome, DecisionOutcome::NoGo);
        let history = decide_with(|active, _| HeadRowFigures {
            bytes: if active > 1_000 { 900.0 } else { 300.0 },
            ..FINE
        });
        says(&history, DecisionOutcome::NoGo, "Bytes per active run");
        let wrong = decide_with(|_, _| HeadRowFigures { missed: 1, ..FINE });
        assert_eq!(wrong.outcome, DecisionOutcome::NoGo);
    }

    /// Three figures at two numbers of active runs and the size: any of the seven is enough, so each has a seventh of 5 %.
    #[test]
    fn one_figure_of_many_fails_at_its_share() {
        let growing = |growth| {
            decide_with(|active, _| HeadRowFigures {
                growth: if active > 1_000 { growth } else { 0.3 },
                ..FINE
            })
        };
        // Scattered by a per cent: beyond 2 % at the half for two fillfactors, and not at a seventh.
        says(&growing(2.007), DecisionOutcome::Inconclusive, "Growth");
        says(&growing(2.05), DecisionOutcome::NoGo, "Growth");
    }

    #[test]
    fn a_window_without_autovacuum_settles_nothing() {
        let decision = decide_with(|_, _| HeadRowFigures {
            vacuums: 0.0,
            ..FINE
        });
        says(&decision, DecisionOutcome::Inconclusive, "autovacuum");
        let short = decide_with(|active, _| HeadRowFigures {
            turnovers: if active > 1_000 { 0.1 } else { 5.0 },
            ..FINE
        });
        says(&short, DecisionOutcome::Inconclusive, "turnovers");
        assert!(
            short.reason.contains("windows 10.0 times as long"),
            "{}",
            short.reason
        );
    }

    /// Ten million rows, freshly loaded: hardly a page has room for a HOT update within a minute.
    #[test]
    fn a_table_as_it_was_loaded_is_no_no_go() {
        let decision = decide_with(|_, _| HeadRowFigures {
            hot: 32.0,
            growth: 9.0,
            dead: 90.0,
            turnovers: 0.002,
            ..FINE
        });
        assert_eq!(
            decision.outcome,
            DecisionOutcome::Inconclusive,
            "{}",
            decision.reason
        );
        let history = decide_with(|active, _| HeadRowFigures {
            bytes: if active > 1_000 { 900.0 } else { 300.0 },
            turnovers: 0.5,
            ..FINE
        });
        assert_eq!(
            history.outcome,
            DecisionOutcome::Inconclusive,
            "{}",
            history.reason
        );
        let replaced = decide_with(|_, _| HeadRowFigures { hot: 32.0, ..FINE });
        assert_eq!(
            replaced.outcome,
            DecisionOutcome::NoGo,
            "{}",
            replaced.reason
        );
    }
}
