//! What the rule reads: ratios over cells, and correctness.

use std::collections::BTreeMap;

use bakeoff_crds::schedule::factor;
use bakeoff_crds::spec::WorkloadKind;

use super::super::conformance;
use super::super::footing::Footing;
use super::super::rule::Lacks;
use super::super::{
    DecisionInput, Role, Standing, Unit, Wrong, at_most, count, lacking, missing, more_blocks,
    ratio_input, side, with_censoring,
};
use crate::format;
use crate::kinds;
use crate::measured::Measured;
use crate::measured::{CellSummary, Censored, Finding, WorkloadSummary};
use crate::metric::Metric;
use crate::stats::paired::{self, Paired};
use crate::stats::{mean, power};

/// A figure averaged over cells within each block.
struct Combined {
    paired: Option<Paired>,
    cells: usize,
    /// Whose figure is only bounded, in any cell.
    censored: Option<Censored>,
}

/// An input with what is needed to say how many blocks it still takes.
pub(super) struct Judged {
    pub(super) input: DecisionInput,
    pub(super) lacks: Lacks,
}

impl Judged {
    /// From what the figures say by themselves, and what they would with more blocks (`toward`). Where a figure is only a bound
    /// that does not carry it, or one of writes in favour of the backend that promises less, it stays open, and blocks are no answer;
    /// else `more` says how many are.
    fn new(
        mut input: DecisionInput,
        (alone, toward): (Standing, Standing),
        (censored, footing): (Option<Censored>, Footing),
        more: impl FnOnce() -> Option<i32>,
    ) -> Self {
        let carried = with_censoring(alone, censored);
        let toward = with_censoring(toward, censored);
        let (standing, settled) = (footing.judge(carried), footing.judge(toward));
        input.standing = standing;
        // Also of what is open by itself, where more blocks could only speak for the one that promises less.
        input.unequal_promises =
            standing != carried || (carried == Standing::Open && settled != toward);
        input.censored = censored;
        let lacks = Lacks::of((standing, alone), settled, more);
        Self { input, lacks }
    }
}

/// What is asked, of whom, and how strictly.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    /// The challenger, in the numerator.
    pub(super) new: &'a str,
    /// The incumbent, in the denominator.
    pub(super) old: &'a str,
    /// The ratio that counts as clearly better or worse.
    pub(super) margin: f64,
    /// The level of tests and intervals.
    pub(super) level: f64,
    /// Which of them promises less when it acknowledges a write, where that is not accepted.
    pub(super) footing: Footing,
}

fn cells<'a>(workloads: impl Iterator<Item = &'a WorkloadSummary>) -> Vec<CellSummary> {
    workloads
        .flat_map(|workload| workload.cells.iter().cloned())
        .collect()
}

/// The operation of puts that is compared.
fn put_operation() -> &'static str {
    kinds::of(WorkloadKind::SmallObjectPut).main
}

/// The operation of reads that is compared: what stands in the open table.
fn list_operation() -> &'static str {
    kinds::of(WorkloadKind::ColdRead).charted
}

/// How much better the challenger is at putting small objects: their throughput, or in an open load alone their p99. And the
/// cells of the closed loads.
fn putting(measured: &Measured, question: &Question<'_>) -> (Judged, Vec<CellSummary>) {
    let puts = || measured.of_kind(WorkloadKind::SmallObjectPut);
    let closed = cells(puts().filter(|w| !w.open_load));
    let open = cells(puts().filter(|w| w.open_load));
    let (name, cells, metric) = if closed.is_empty() {
        ("PUT p99 at the same rate", &open, Metric::P99)
    } else {
        ("PUT throughput", &closed, Metric::PerSecond)
    };
    let combined = combine(cells, put_operation(), metric, question);
    (primary(name, cells, combined, metric, question), closed)
}

/// Which of two that both win is better at putting small objects; it orders them and decides nothing else.
pub(super) fn head_to_head(measured: &Measured, question: &Question<'_>) -> DecisionInput {
    let (judged, _) = putting(measured, question);
    DecisionInput {
        role: Role::Context,
        demand: format!(
            "orders those that win; shown with p at most {}",
            format::p_value(question.level)
        ),
        ..judged.input
    }
}

pub(super) fn inputs(measured: &Measured, question: &Question<'_>) -> Vec<Judged> {
    let all_puts = cells(measured.of_kind(WorkloadKind::SmallObjectPut));
    let all_reads = cells(measured.of_kind(WorkloadKind::ColdRead));
    let objects = |cell: &CellSummary| {
        cell.levels
            .get(factor::OBJECTS_PER_RUN)
            .and_then(|n| n.parse::<i64>().ok())
    };
    let longest = all_reads.iter().filter_map(objects).max();
    let long_reads: Vec<CellSummary> = all_reads
        .iter()
        .filter(|cell| objects(cell) == longest)
        .cloned()
        .collect();

    let (putting, closed) = putting(measured, question);
    let mut list = vec![putting];
    if !closed.is_empty() {
        let combined = combine(&all_puts, put_operation(), Metric::P99, question);
        list.push(guard("PUT p99", combined, question, question.footing));
    }
    let name = longest.map_or_else(
        || "LIST latency".to_owned(),
        |n| format!("LIST latency (p50) at {n} objects"),
    );
    list.push(guard(
        &name,
        combine(&long_reads, list_operation(), Metric::P50, question),
        question,
        // What was read survived: reads may be compared.
        Footing::Equal,
    ));
    list.push(correctness(measured, question.new, Role::Correctness));
    list.extend(
        conformance::input(measured, question.new).map(|input| Judged {
            input,
            lacks: Lacks::Nothing,
        }),
    );
    list.push(correctness(measured, question.old, Role::Context));
    let all = combine(&all_reads, list_operation(), Metric::P50, question);
    if let (Some(paired), true) = (&all.paired, all_reads.len() > long_reads.len()) {
        let demand = "for the reader; decides nothing".to_owned();
        let scope = scope(all.cells, question);
        let input = ratio_input(
            "LIST latency (p50) at all object counts",
            scope,
            Role::Context,
            paired,
            demand,
            Standing::Met,
        );
        list.push(Judged {
            input,
            lacks: Lacks::Nothing,
        });
    }
    list
}

fn scope(cells: usize, question: &Question<'_>) -> String {
    format!(
        "{} / {}, {cells} {}",
        question.new,
        question.old,
        if cells == 1 { "cell" } else { "cells" }
    )
}

/// The log-ratios of the cells, averaged within each block that has all of them.
fn combine(
    cells: &[CellSummary],
    operation: &str,
    metric: Metric,
    question: &Question<'_>,
) -> Combined {
    let (new, old) = (question.new, question.old);
    let mut blocks: BTreeMap<i32, Vec<f64>> = BTreeMap::new();
    let mut censored = None;
    for cell in cells {
        let figures = |name: &str| {
            cell.on(name)
                .and_then(|on| on.operations.get(operation))
                .map_or(&[][..], |operation| &operation.blocks)
        };
        censored = either(censored, Censored::of(metric, figures(new), figures(old)));
        for ours in figures(new) {
            let theirs = figures(old)
                .iter()
                .find(|figure| figure.block == ours.block);
            let (Some(theirs), value) = (theirs, ours.of(metric)) else {
                continue;
            };
            let other = theirs.of(metric);
            if value > 0.0 && other > 0.0 {
                blocks
                    .entry(ours.block)
                    .or_default()
                    .push(value.ln() - other.ln());
            }
        }
    }
    let ratios: Vec<f64> = blocks
        .into_values()
        .filter(|ratios| ratios.len() == cells.len())
        .map(|ratios| mean(&ratios))
        .collect();
    Combined {
        paired: paired::from_log_ratios(ratios, 1, question.level),
        cells: cells.len(),
        censored,
    }
}

fn either(a: Option<Censored>, b: Option<Censored>) -> Option<Censored> {
    match (a, b) {
        (None, other) | (other, None) => other,
        (Some(a), Some(b)) if a == b => Some(a),
        _ => Some(Censored::Both),
    }
}

/// The share of operations without an answer on each, where there are any: a rate of completed
/// operations says nothing of those that were not.
fn unanswered(cells: &[CellSummary], new: &str, old: &str) -> String {
    let share = |name: &str| {
        let loads = || {
            cells
                .iter()
                .filter_map(|cell| cell.on(name))
                .map(|on| &on.load)
        };
        let lost: i64 = loads()
            .map(|load| load.failed + load.unfinished + load.not_started)
            .sum();
        let planned: i64 = loads().map(|load| load.planned).sum();
        lost as f64 / planned.max(1) as f64 * 100.0
    };
    match (share(new), share(old)) {
        (0.0, 0.0) => String::new(),
        (ours, theirs) => {
            format!("; failed or not done: {new} {ours:.2} %, {old} {theirs:.2} %")
        }
    }
}

fn primary(
    name: &str,
    cells: &[CellSummary],
    combined: Combined,
    metric: Metric,
    question: &Question<'_>,
) -> Judged {
    let Question {
        new,
        old,
        margin,
        level,
        footing,
    } = *question;
    let least = if metric.more_is_better() {
        format!("at least {margin:.2}x")
    } else {
        format!("at most {:.2}x", 1.0 / margin)
    };
    let demand = format!("{least}, shown with p at most {}", format::p_value(level));
    let wins = cells
        .iter()
        .flat_map(|cell| &cell.comparisons)
        .filter(|c| c.operation == put_operation() && c.metric == metric)
        .filter(|c| {
            (c.subject == new && c.base == old && c.finding == Finding::SubjectBetter)
                || (c.subject == old && c.base == new && c.finding == Finding::BaseBetter)
        })
        .count();
    let scope = format!(
        "{}, better in {wins} of them after Holm{}",
        scope(combined.cells, question),
        unanswered(cells, new, old)
    );
    let Some(paired) = combined.paired else {
        return Judged {
            input: missing(name, scope, Role::Primary, Unit::Ratio, demand),
            lacks: Lacks::OtherThanBlocks,
        };
    };
    // Turned so that up is better, whichever the figure.
    let sign = if metric.more_is_better() { 1.0 } else { -1.0 };
    let threshold = margin.ln();
    let (low, high) = if sign > 0.0 {
        (paired.low, paired.high)
    } else {
        (-paired.high, -paired.low)
    };
    let least = power::least_blocks(level);
    let enough = paired.blocks() >= least;
    let alone = if low >= threshold && paired.p_value <= level {
        Standing::Met
    } else if high < threshold && enough {
        Standing::NotMet
    } else {
        Standing::Open
    };
    let input = DecisionInput {
        more_is_better: metric.more_is_better(),
        ..ratio_input(name, scope, Role::Primary, &paired, demand, alone)
    };
    let distance = sign * paired.centre - threshold;
    let toward = side(-distance);
    Judged::new(input, (alone, toward), (combined.censored, footing), || {
        if low >= threshold && !enough {
            return Some(count(least - paired.blocks()));
        }
        more_blocks(distance, paired.deviation, paired.blocks(), level)
    })
}

fn guard(name: &str, combined: Combined, question: &Question<'_>, footing: Footing) -> Judged {
    let demand = format!("shown to be at most {:.2}x", question.margin);
    let scope = scope(combined.cells, question);
    let Some(paired) = combined.paired else {
        return Judged {
            input: missing(name, scope, Role::Guard, Unit::Ratio, demand),
            lacks: Lacks::OtherThanBlocks,
        };
    };
    let threshold = question.margin.ln();
    // With so few nothing is shown either way.
    let lacking = lacking(paired.blocks(), question.level);
    let alone = match at_most(paired.low, paired.high, threshold) {
        standing if lacking.is_none() => standing,
        _ => Standing::Open,
    };
    let input = ratio_input(name, scope, Role::Guard, &paired, demand, alone);
    let distance = paired.centre - threshold;
    let standings = (alone, side(distance));
    Judged::new(input, standings, (combined.censored, footing), || {
        lacking.or_else(|| more_blocks(distance, paired.deviation, paired.blocks(), question.level))
    })
}

fn correctness(measured: &Measured, backend: &str, role: Role) -> Judged {
    let name = format!("Correctness of {backend}");
    let wrong = Wrong::of(measured, backend);
    let demand = match role {
        Role::Context => "for the reader; decides nothing".to_owned(),
        _ => "no violation, and something checked".to_owned(),
    };
    let standing = match (wrong.checked, wrong.violations, wrong.unsettled) {
        (_, 1.., _) => Standing::NotMet,
        (1.., _, 0) if wrong.undecided == 0 => Standing::Met,
        _ => Standing::Open,
    };
    let mut scope = format!(
        "{} checks, {} facts",
        wrong.checks,
        format::whole(wrong.checked)
    );
    if wrong.violations + wrong.unsettled > 0 {
        scope = format!("{scope}; {}", wrong.text());
    }
    if wrong.undecided > 0 {
        scope = format!(
            "{scope}; of {} checks nothing could be told",
            wrong.undecided
        );
    }
    let mut input = missing(&name, scope, role, Unit::Violations, demand);
    input.standing = standing;
    let seen = wrong.violations + wrong.unsettled;
    input.value = (wrong.checked > 0 || seen > 0).then_some(seen as f64);
    let lacks = if standing == Standing::Open && role != Role::Context {
        Lacks::OtherThanBlocks
    } else {
        Lacks::Nothing
    };
    Judged { input, lacks }
}
