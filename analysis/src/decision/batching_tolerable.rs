//! Experiment B2: is the latency that batching adds tolerable, and what does it save?
//!
//! The plan: "B2 shows batching latency is intolerable -> bodies stay one-per-snapshot and we lean
//! on Express/cheaper backend instead". Added latency is the p99 of `append` (from the arrival of a
//! snapshot until the object that holds it is acknowledged) minus that of one snapshot per object
//! at the same arrival rate in the same block; where the experiment has no such level, minus the p99
//! of the PUT itself. A batch factor is tolerable when the interval of that difference lies below
//! the bound at every arrival rate.

use std::collections::{BTreeMap, BTreeSet};

use bakeoff_crds::figure::Counter;
use bakeoff_crds::schedule::factor;
use bakeoff_crds::spec::{Batching, WorkloadKind};

use super::bounded::{Bound, at_share};
use super::rule::{Answer, Asked, Lacks, Need, Rule, Ruling};
use super::{
    DecisionInput, Role, Standing, Unit, at_most, blocks_text, count, lacking, missing,
    more_blocks, side, with_censoring,
};
use crate::format::confidence;
use crate::measured::{BlockFigure, CellSummary, Censored};
use crate::metric::Metric;
use crate::stats::{bootstrap, mean, round, standard_deviation};

/// One batch factor at one arrival rate.
struct Level {
    snapshots: i64,
    input: DecisionInput,
    lacks: Lacks,
}

pub(super) const RULE: Rule = Rule {
    needs: &[Need::Workload(WorkloadKind::Batching)],
    withheld_if_wrong: true,
    rests_on_listing: false,
    judges_one: true,
    reads_bloat: false,
    answer,
};

fn answer(asked: &Asked<'_>) -> Answer {
    let Asked { spec, measured, .. } = *asked;
    let bound = asked.bound();
    let subject = asked.subject();
    let all: Vec<&CellSummary> = measured
        .of_kind(WorkloadKind::Batching)
        .flat_map(|workload| &workload.cells)
        .collect();
    // A factor fails at one arrival rate, so each rate is judged at its share.
    let share = |cell: &CellSummary| {
        let of = |cell: &CellSummary| number(cell, factor::SNAPSHOTS_PER_OBJECT);
        let rates = all.iter().filter(|other| of(other) == of(cell)).count();
        measured.level / rates.max(1) as f64
    };
    let mut levels = Vec::new();
    let mut costs = BTreeMap::new();
    let mut currency = String::new();
    for workload in measured.of_kind(WorkloadKind::Batching) {
        let parameters = spec
            .workloads
            .iter()
            .find(|w| w.name == workload.name)
            .and_then(|w| w.batching.as_ref());
        for cell in &workload.cells {
            levels.extend(level(
                cell,
                &workload.cells,
                &subject,
                bound,
                (measured.level, share(cell)),
            ));
            if let Some(parameters) = parameters {
                currency.clone_from(&parameters.price_list.currency);
                if let Some((snapshots, cost)) = monthly(cell, &subject, parameters) {
                    // At several arrival rates the dearest counts: buffers that time out are less full.
                    let dearest: &mut f64 = costs.entry(snapshots).or_insert(cost);
                    *dearest = dearest.max(cost);
                }
            }
        }
    }
    let factors: BTreeSet<i64> = levels.iter().map(|level| level.snapshots).collect();
    let standing = |snapshots: i64| {
        let of = || {
            levels
                .iter()
                .filter(|level| level.snapshots == snapshots)
                .map(|level| level.input.standing)
        };
        if of().any(|standing| standing == Standing::NotMet) {
            Standing::NotMet
        } else if of().all(|standing| standing == Standing::Met) {
            Standing::Met
        } else {
            Standing::Open
        }
    };
    // One that is tolerable is enough. They are tried in their order and up to the first that is not, so that together they err no
    // more often than one alone.
    let best = factors
        .iter()
        .copied()
        .take_while(|n| standing(*n) == Standing::Met)
        .last();
    let saving = |snapshots: i64| Some(costs.get(&1)? - costs.get(&snapshots)?);

    let ruling = if let Some(best) = best {
        let worst = levels
            .iter()
            .filter(|l| l.snapshots == best)
            .filter_map(|l| l.input.high)
            .fold(0.0, f64::max);
        let saved = saving(best).map_or_else(String::new, |saved| {
            format!(" It saves {saved:.2} {currency} a month.")
        });
        Ruling::go(
            format!(
                "With {best} snapshots per object, batching adds at most {worst:.1} ms at p99 (upper end of the {} interval), below the bound of {bound} ms.{saved}",
                confidence(measured.level)
            ),
            format!("Bodies are batched, up to {best} snapshots per object."),
        )
    } else if !factors.is_empty() && factors.iter().all(|n| standing(*n) == Standing::NotMet) {
        // A factor fails at the arrival rate at which it adds most.
        let most = |snapshots: i64| {
            let beyond = levels.iter().filter(|level| {
                level.snapshots == snapshots && level.input.standing == Standing::NotMet
            });
            beyond
                .filter_map(|level| level.input.low)
                .fold(0.0, f64::max)
        };
        let least = factors
            .iter()
            .copied()
            .map(most)
            .fold(f64::INFINITY, f64::min);
        Ruling::no_go(
            format!(
                "Every batch factor adds more than the bound of {bound} ms at p99 at some arrival rate; the least adds {least:.1} ms or more there."
            ),
            "Bodies stay one per snapshot; lean on a faster or cheaper backend instead.",
        )
    } else {
        let more = Lacks::blocks_for_all(levels.iter().map(|level| level.lacks));
        let reason = if factors.is_empty() {
            "No batching workload with more than one snapshot per object was measured. What is missing is not satisfied.".to_owned()
        } else {
            format!(
                "The factors are tried from the smallest on, and that is not shown to stay below {bound} ms of added p99, nor are all shown to exceed it. {}",
                blocks_text(
                    more,
                    levels.iter().any(|level| level.input.censored.is_some())
                )
            )
        };
        Ruling::open(
            reason,
            "Nothing changes yet: bodies stay one per snapshot until the question is settled.",
            more,
        )
    };
    let mut inputs: Vec<DecisionInput> = levels.into_iter().map(|level| level.input).collect();
    inputs.extend(costs.into_iter().map(|(snapshots, cost)| {
        let mut input = missing(
            &format!("Monthly PUT cost at {snapshots} snapshots per object"),
            format!("{subject}, {currency}, dearest arrival rate"),
            Role::Context,
            Unit::PerMonth,
            "for the reader; decides nothing".to_owned(),
        );
        input.value = Some(round(cost));
        input.standing = Standing::Met;
        input
    }));
    Answer {
        question: format!("Is the latency that batching adds on {subject} tolerable?"),
        criterion: format!(
            "Go if the smallest batch factor above 1 is shown to add at most {bound} ms at p99 at every arrival rate, and up to the last one after it without a gap that is; NoGo if all are shown to add more."
        ),
        ruling,
        inputs,
    }
}

fn number(cell: &CellSummary, name: &str) -> Option<i64> {
    cell.levels.get(name)?.parse().ok()
}

fn figures<'a>(cell: &'a CellSummary, backend: &str, operation: &str) -> &'a [BlockFigure] {
    cell.on(backend)
        .and_then(|on| on.operations.get(operation))
        .map_or(&[], |operation| &operation.blocks)
}

fn level(
    cell: &CellSummary,
    cells: &[CellSummary],
    subject: &str,
    bound: f64,
    (alpha, share): (f64, f64),
) -> Option<Level> {
    let snapshots = number(cell, factor::SNAPSHOTS_PER_OBJECT)?;
    if snapshots <= 1 {
        return None;
    }
    let rate = cell.levels.get(factor::ARRIVALS_PER_SECOND)?;
    let single = cells.iter().find(|other| {
        number(other, factor::SNAPSHOTS_PER_OBJECT) == Some(1)
            && other.levels.get(factor::ARRIVALS_PER_SECOND) == Some(rate)
    });
    let base = single.map_or_else(
        || figures(cell, subject, "put"),
        |single| figures(single, subject, "append"),
    );
    let added: Vec<f64> = figures(cell, subject, "append")
        .iter()
        .filter_map(|ours| {
            let theirs = base.iter().find(|figure| figure.block == ours.block)?;
            // 0: nothing ended well in that block, so there is no latency.
            (ours.p99 > 0 && theirs.p99 > 0).then_some((ours.p99 - theirs.p99) as f64 / 1_000.0)
        })
        .collect();
    let name = format!("Added p99 with {snapshots} snapshots per object");
    let mut input = missing(
        &name,
        format!("{subject}, {rate} snapshots per second"),
        Role::Primary,
        Unit::Milliseconds,
        format!("shown to be at most {bound} ms"),
    );
    if added.is_empty() {
        return Some(Level {
            snapshots,
            input,
            lacks: Lacks::OtherThanBlocks,
        });
    }
    let (low, high) = bootstrap::interval(&added, alpha, 1);
    let centre = mean(&added);
    input.value = Some(round(centre));
    input.low = low.is_finite().then(|| round(low));
    input.high = high.is_finite().then(|| round(high));
    input.blocks = count(added.len());
    let lacking = lacking(added.len(), alpha);
    if lacking.is_none() {
        input.standing = at_most(low, high, bound);
        let bound = Bound::AtMost(bound);
        at_share(&mut input, Standing::NotMet, &added, bound, share);
    }
    let judged = input.standing;
    input.censored = Censored::of(Metric::P99, figures(cell, subject, "append"), base);
    input.standing = with_censoring(judged, input.censored);
    let distance = centre - bound;
    let toward = with_censoring(side(distance), input.censored);
    let lacks = Lacks::of((input.standing, judged), toward, || {
        let deviation = standard_deviation(&added);
        let level = if toward == Standing::NotMet {
            share
        } else {
            alpha
        };
        lacking.or_else(|| more_blocks(distance, deviation, added.len(), level))
    });
    Some(Level {
        snapshots,
        input,
        lacks,
    })
}

/// Monthly cost of PUT requests, from the PUTs that a snapshot took.
fn monthly(cell: &CellSummary, subject: &str, parameters: &Batching) -> Option<(i64, f64)> {
    let counters = &cell.on(subject)?.counters;
    let (puts, snapshots) = (
        *counters.get(&Counter::Puts)?,
        *counters.get(&Counter::Snapshots)?,
    );
    if snapshots <= 0 {
        return None;
    }
    let requests = parameters.snapshots_per_month as f64 * puts as f64 / snapshots as f64;
    let price = parameters.price_list.put_per_thousand_micros as f64 / 1e6;
    Some((
        number(cell, factor::SNAPSHOTS_PER_OBJECT)?,
        requests / 1_000.0 * price,
    ))
}
