//! Experiment C: does the challenger become the recommended self-hosted backend for small objects?
//!
//! The plan: "SeaweedFS clearly wins for small objects -> it becomes the recommended self-host
//! default over MinIO". Read here as: PUT throughput better by more than the margin (in an open
//! load, where the rate is given: PUT p99 lower by more than the margin); PUT p99 and the LIST
//! latency of the longest runs not worse by more than the margin; not one correctness violation on
//! the challenger. External endpoints are a baseline for behaviour and never a party.

use std::collections::BTreeMap;

use bakeoff_crds::schedule::factor;
use bakeoff_crds::spec::{BackendKind, Decision, DecisionRule, WorkloadKind};
use bakeoff_crds::status::DecisionOutcome;

use super::{
    DecisionInput, DecisionRecord, Role, Standing, Unit, at_most, blocks_text, count, missing,
    more_blocks, ratio_input, ratio_text,
};
use crate::stats::paired::{self, Paired};
use crate::stats::{ALPHA, mean, power};
use crate::summary::{BackendSummary, CellSummary, Finding, Metric, Summary, WorkloadSummary};

/// A figure averaged over cells within each block.
struct Combined {
    paired: Option<Paired>,
    cells: usize,
}

pub(super) fn decide(decision: &Decision, summary: &Summary) -> DecisionRecord {
    let margin = 1.0 + f64::from(decision.margin_percent) / 100.0;
    let incumbent = party(
        decision.incumbent.as_deref(),
        BackendKind::Minio,
        summary,
        None,
    );
    let challenger = party(
        decision.challenger.as_deref(),
        BackendKind::Seaweedfs,
        summary,
        incumbent.map(|b| b.name.as_str()),
    );
    let (Some(incumbent), Some(challenger)) = (incumbent, challenger) else {
        return record(
            summary,
            "the challenger",
            "the incumbent",
            margin,
            Vec::new(),
            Ruling {
                outcome: DecisionOutcome::Inconclusive,
                reason: "The rule compares two backends, but the experiment does not have two."
                    .to_owned(),
                more: None,
            },
        );
    };
    let (new, old) = (challenger.name.as_str(), incumbent.name.as_str());
    let external: Vec<&str> = [challenger, incumbent]
        .into_iter()
        .filter(|b| !b.provisioned)
        .map(|b| b.name.as_str())
        .collect();
    if !external.is_empty() {
        return record(
            summary,
            new,
            old,
            margin,
            Vec::new(),
            Ruling {
                outcome: DecisionOutcome::Inconclusive,
                reason: format!(
                    "{} is external: it does not run on the equipment of the others, so it is a baseline for behaviour and not a party to this decision.",
                    external.join(" and ")
                ),
                more: None,
            },
        );
    }

    let judged = inputs(summary, new, old, margin);
    let ruling = rule(&judged, new, old, margin);
    record(
        summary,
        new,
        old,
        margin,
        judged.into_iter().map(|judged| judged.input).collect(),
        ruling,
    )
}

/// The named backend, or the first provisioned one of its usual kind, or the first that is left.
fn party<'a>(
    named: Option<&str>,
    usual: BackendKind,
    summary: &'a Summary,
    taken: Option<&str>,
) -> Option<&'a BackendSummary> {
    if let Some(name) = named {
        return summary.backend(name);
    }
    let free = || {
        summary
            .backends
            .iter()
            .filter(|b| b.provisioned && Some(b.name.as_str()) != taken)
    };
    free().find(|b| b.kind == usual).or_else(|| free().next())
}

/// An input with what is needed to say how many blocks it still takes.
struct Judged {
    input: DecisionInput,
    more: Option<Option<i32>>,
}

fn inputs(summary: &Summary, new: &str, old: &str, margin: f64) -> Vec<Judged> {
    let puts: Vec<&WorkloadSummary> = summary.of_kind(WorkloadKind::SmallObjectPut).collect();
    let reads: Vec<&WorkloadSummary> = summary.of_kind(WorkloadKind::ColdRead).collect();
    let cells = |workloads: &[&'_ WorkloadSummary]| -> Vec<CellSummary> {
        workloads
            .iter()
            .flat_map(|workload| workload.cells.iter().cloned())
            .collect()
    };
    let open: Vec<CellSummary> = cells(
        &puts
            .iter()
            .copied()
            .filter(|w| w.open_load)
            .collect::<Vec<_>>(),
    );
    let closed: Vec<CellSummary> = cells(
        &puts
            .iter()
            .copied()
            .filter(|w| !w.open_load)
            .collect::<Vec<_>>(),
    );
    let all_puts = cells(&puts);
    let all_reads = cells(&reads);
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

    let mut list = Vec::new();
    if closed.is_empty() {
        let combined = combine(&open, "put", Metric::P99, new, old);
        list.push(primary(
            "PUT p99 at the same rate",
            &open,
            combined,
            Metric::P99,
            new,
            old,
            margin,
        ));
    } else {
        let combined = combine(&closed, "put", Metric::PerSecond, new, old);
        list.push(primary(
            "PUT throughput",
            &closed,
            combined,
            Metric::PerSecond,
            new,
            old,
            margin,
        ));
        let combined = combine(&all_puts, "put", Metric::P99, new, old);
        list.push(guard("PUT p99", combined, new, old, margin));
    }
    let name = longest.map_or_else(
        || "LIST latency".to_owned(),
        |n| format!("LIST latency (p50) at {n} objects"),
    );
    list.push(guard(
        &name,
        combine(&long_reads, "list", Metric::P50, new, old),
        new,
        old,
        margin,
    ));
    list.push(correctness(summary, new, Role::Correctness));
    list.push(correctness(summary, old, Role::Context));
    let all = combine(&all_reads, "list", Metric::P50, new, old);
    if let (Some(paired), true) = (&all.paired, all_reads.len() > long_reads.len()) {
        let demand = "for the reader; decides nothing".to_owned();
        let scope = scope(all.cells, new, old);
        let input = ratio_input(
            "LIST latency (p50) at all object counts",
            scope,
            Role::Context,
            paired,
            demand,
            Standing::Met,
        );
        list.push(Judged { input, more: None });
    }
    list
}

fn scope(cells: usize, new: &str, old: &str) -> String {
    format!(
        "{new} / {old}, {cells} {}",
        if cells == 1 { "cell" } else { "cells" }
    )
}

/// The log-ratios of the cells, averaged within each block that has all of them.
fn combine(
    cells: &[CellSummary],
    operation: &str,
    metric: Metric,
    new: &str,
    old: &str,
) -> Combined {
    let mut blocks: BTreeMap<i32, Vec<f64>> = BTreeMap::new();
    for cell in cells {
        let figures = |name: &str| {
            cell.on(name)
                .and_then(|on| on.operations.get(operation))
                .map_or(&[][..], |operation| &operation.blocks)
        };
        for ours in figures(new) {
            let theirs = figures(old)
                .iter()
                .find(|figure| figure.block == ours.block);
            let (Some(theirs), value) = (theirs, metric.of(ours)) else {
                continue;
            };
            let other = metric.of(theirs);
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
        paired: paired::from_log_ratios(ratios, 1),
        cells: cells.len(),
    }
}

fn primary(
    name: &str,
    cells: &[CellSummary],
    combined: Combined,
    metric: Metric,
    new: &str,
    old: &str,
    margin: f64,
) -> Judged {
    let demand = if metric.more_is_better() {
        format!("at least {margin:.2}x, shown with p at most {ALPHA}")
    } else {
        format!("at most {:.2}x, shown with p at most {ALPHA}", 1.0 / margin)
    };
    let wins = cells
        .iter()
        .flat_map(|cell| &cell.comparisons)
        .filter(|c| c.operation == "put" && c.metric == metric)
        .filter(|c| {
            (c.subject == new && c.base == old && c.finding == Finding::SubjectBetter)
                || (c.subject == old && c.base == new && c.finding == Finding::BaseBetter)
        })
        .count();
    let scope = format!(
        "{}, better in {wins} of them after Holm",
        scope(combined.cells, new, old)
    );
    let Some(paired) = combined.paired else {
        return Judged {
            input: missing(name, scope, Role::Primary, Unit::Ratio, demand),
            more: Some(None),
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
    let enough = paired.blocks() >= power::least_blocks(ALPHA);
    let standing = if low >= threshold && paired.p_value <= ALPHA {
        Standing::Met
    } else if high < threshold && enough {
        Standing::NotMet
    } else {
        Standing::Open
    };
    let more = (standing == Standing::Open).then(|| {
        let least = power::least_blocks(ALPHA);
        if low >= threshold && paired.blocks() < least {
            return Some(count(least - paired.blocks()));
        }
        more_blocks(
            sign * paired.centre - threshold,
            paired.deviation,
            paired.blocks(),
        )
    });
    Judged {
        input: ratio_input(name, scope, Role::Primary, &paired, demand, standing),
        more,
    }
}

fn guard(name: &str, combined: Combined, new: &str, old: &str, margin: f64) -> Judged {
    let demand = format!("shown to be at most {margin:.2}x");
    let scope = scope(combined.cells, new, old);
    let Some(paired) = combined.paired else {
        return Judged {
            input: missing(name, scope, Role::Guard, Unit::Ratio, demand),
            more: Some(None),
        };
    };
    let threshold = margin.ln();
    // An interval over a handful of blocks is far too narrow: with so few nothing is shown either way.
    let least = power::least_blocks(ALPHA);
    let enough = paired.blocks() >= least;
    let standing = match at_most(paired.low, paired.high, threshold) {
        standing if enough => standing,
        _ => Standing::Open,
    };
    let more = (standing == Standing::Open).then(|| {
        if !enough {
            return Some(count(least - paired.blocks()));
        }
        more_blocks(paired.centre - threshold, paired.deviation, paired.blocks())
    });
    Judged {
        input: ratio_input(name, scope, Role::Guard, &paired, demand, standing),
        more,
    }
}

fn correctness(summary: &Summary, backend: &str, role: Role) -> Judged {
    let name = format!("Correctness of {backend}");
    let checks: Vec<_> = summary
        .workloads
        .iter()
        .flat_map(|w| &w.checks)
        .filter(|check| check.backend == backend)
        .collect();
    let checked: i64 = checks.iter().map(|check| check.checked).sum();
    let violations: i64 = checks.iter().map(|check| check.violations).sum();
    let demand = match role {
        Role::Context => "for the reader; decides nothing".to_owned(),
        _ => "no violation, and something checked".to_owned(),
    };
    let standing = match (checked, violations) {
        (_, 1..) => Standing::NotMet,
        (1.., _) => Standing::Met,
        _ => Standing::Open,
    };
    let scope = format!("{} checks, {checked} facts", checks.len());
    let mut input = missing(&name, scope, role, Unit::Violations, demand);
    input.standing = standing;
    input.value = (checked > 0 || violations > 0).then_some(violations as f64);
    Judged {
        input,
        more: (standing == Standing::Open && role != Role::Context).then_some(None),
    }
}

struct Ruling {
    outcome: DecisionOutcome,
    reason: String,
    more: Option<i32>,
}

fn say(input: &DecisionInput) -> String {
    match input.value {
        Some(value) if input.unit == Unit::Ratio => {
            format!(
                "{} {}",
                input.name,
                ratio_text(value, input.low, input.high)
            )
        }
        Some(value) => format!("{}: {value} violations", input.name),
        None => format!("{} was not measured", input.name),
    }
}

fn rule(judged: &[Judged], new: &str, old: &str, margin: f64) -> Ruling {
    let deciding = || {
        judged
            .iter()
            .filter(|judged| judged.input.role != Role::Context)
    };
    let failed = |role: Role| {
        deciding()
            .find(|judged| judged.input.role == role && judged.input.standing == Standing::NotMet)
    };
    let no_go = |reason: String| Ruling {
        outcome: DecisionOutcome::NoGo,
        reason,
        more: None,
    };
    if let Some(wrong) = failed(Role::Correctness) {
        return no_go(format!(
            "{new} fails correctness ({}), so no speed can recommend it.",
            say(&wrong.input)
        ));
    }
    if let Some(slow) = failed(Role::Primary) {
        return no_go(format!(
            "{new} is not clearly better than {old}: {}, and {} was demanded.",
            say(&slow.input),
            slow.input.demand
        ));
    }
    if let Some(worse) = failed(Role::Guard) {
        return no_go(format!(
            "{new} pays for its gain elsewhere: {} is worse than {old} by more than the margin of {margin:.2}x.",
            say(&worse.input)
        ));
    }
    let open: Vec<&Judged> = deciding()
        .filter(|judged| judged.input.standing == Standing::Open)
        .collect();
    let Some(first) = open.first() else {
        let figures: Vec<String> = deciding()
            .filter(|j| j.input.unit == Unit::Ratio)
            .map(|j| say(&j.input))
            .collect();
        return Ruling {
            outcome: DecisionOutcome::Go,
            reason: format!(
                "{new} clearly wins over {old} for small objects: {}; no correctness violation.",
                figures.join("; ")
            ),
            more: None,
        };
    };
    let unmeasured: Vec<&str> = open
        .iter()
        .filter(|j| j.input.value.is_none())
        .map(|j| j.input.name.as_str())
        .collect();
    if !unmeasured.is_empty() {
        return Ruling {
            outcome: DecisionOutcome::Inconclusive,
            reason: format!(
                "Not measured in any complete block: {}. What is missing is not satisfied.",
                unmeasured.join(", ")
            ),
            more: None,
        };
    }
    let answers: Vec<Option<i32>> = open.iter().filter_map(|judged| judged.more).collect();
    let more = answers
        .iter()
        .copied()
        .collect::<Option<Vec<i32>>>()
        .and_then(|all| all.into_iter().max());
    Ruling {
        outcome: DecisionOutcome::Inconclusive,
        reason: format!(
            "{}, where {} was demanded: the data show neither this nor its opposite. {}",
            say(&first.input),
            first.input.demand,
            blocks_text(more)
        ),
        more,
    }
}

fn record(
    summary: &Summary,
    new: &str,
    old: &str,
    margin: f64,
    inputs: Vec<DecisionInput>,
    ruling: Ruling,
) -> DecisionRecord {
    let consequence = match ruling.outcome {
        DecisionOutcome::Go => format!(
            "{new} becomes the recommended self-hosted default for small objects, in place of {old}."
        ),
        DecisionOutcome::NoGo => format!(
            "{old} stays the recommended self-hosted default; nothing changes in the design."
        ),
        DecisionOutcome::Inconclusive => {
            format!("Nothing changes yet: {old} stays until the question is settled.")
        }
    };
    DecisionRecord {
        rule: DecisionRule::SmallObjectBackend,
        result_class: summary.result_class,
        question: format!(
            "Should {new} replace {old} as the recommended self-hosted backend for small objects?"
        ),
        criterion: format!(
            "Go if {new} is shown to be better by {margin:.2}x or more at putting small objects, not worse by more than {margin:.2}x in PUT p99 and in LIST latency of the longest runs, and without a correctness violation. NoGo if one of these is shown to fail."
        ),
        margin,
        outcome: ruling.outcome,
        reason: ruling.reason,
        consequence,
        inputs,
        more_blocks: ruling.more,
    }
}
