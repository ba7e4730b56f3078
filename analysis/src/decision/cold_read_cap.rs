//! Experiment B3: up to how many objects per run is a cold read fast enough?
//!
//! The plan: "B3 shows cold 'since N' is slow for long runs -> consider a small per-run index or
//! capping cold scans". The change is the cap, so `Go` means that one is needed: some object count
//! is shown to exceed the bound at p99. `NoGo` means that every count measured is shown to stay
//! within it.

use std::collections::BTreeSet;

use bakeoff_crds::schedule::factor;
use bakeoff_crds::spec::WorkloadKind;

use super::bounded::{Bound, at_share};
use super::rule::{Answer, Asked, Lacks, Need, Rule, Ruling};
use super::{
    DecisionInput, Role, Standing, Unit, at_most, blocks_text, count, lacking, missing,
    more_blocks, side, with_censoring,
};
use crate::measured::{CellSummary, Censored};
use crate::metric::Metric;
use crate::stats::{paired, round};

struct Level {
    objects: i64,
    mode: String,
    input: DecisionInput,
    lacks: Lacks,
}

pub(super) const RULE: Rule = Rule {
    needs: &[Need::Workload(WorkloadKind::ColdRead)],
    withheld_if_wrong: true,
    rests_on_listing: true,
    judges_one: true,
    reads_bloat: false,
    answer,
};

fn answer(asked: &Asked<'_>) -> Answer {
    let measured = asked.measured;
    let bound = asked.bound();
    let subject = asked.subject();
    let cells = || {
        let workloads = measured.of_kind(WorkloadKind::ColdRead);
        workloads.flat_map(|workload| &workload.cells)
    };
    let modes: BTreeSet<&String> = cells()
        .filter_map(|cell| cell.levels.get(factor::MODE))
        .collect();
    let share = measured.level / modes.len().max(1) as f64;
    let mut levels: Vec<Level> = cells()
        .filter_map(|cell| level(cell, &subject, bound, (measured.level, share)))
        .collect();
    levels.sort_by(|a, b| (&a.mode, a.objects).cmp(&(&b.mode, b.objects)));
    in_sequence(&mut levels);
    let first_beyond = levels
        .iter()
        .filter(|l| l.input.standing == Standing::NotMet)
        .min_by_key(|l| l.objects);
    let all_within = !levels.is_empty() && levels.iter().all(|l| l.input.standing == Standing::Met);
    let longest = levels.iter().map(|level| level.objects).max().unwrap_or(0);

    let ruling = if let Some(beyond) = first_beyond {
        // The cap is the largest count below at which every mode is shown to be within the bound.
        let counts = levels
            .iter()
            .map(|l| l.objects)
            .filter(|n| *n < beyond.objects);
        let cap = counts
            .filter(|n| {
                levels
                    .iter()
                    .filter(|l| l.objects <= *n)
                    .all(|l| l.input.standing == Standing::Met)
            })
            .max();
        let consequence = match cap {
            Some(cap) => format!("Cap cold scans at {cap} objects, or add a small per-run index for longer runs."),
            None => "Add a small per-run index: not even the shortest run measured is shown to stay within the bound.".to_owned(),
        };
        Ruling::go(
            format!(
                "A cold read of {} objects ({}) takes {:.0} ms at p99, more than the bound of {bound} ms.",
                beyond.objects,
                beyond.mode,
                beyond.input.value.unwrap_or(0.0)
            ),
            consequence,
        )
    } else if all_within {
        Ruling::no_go(
            format!(
                "Cold reads of up to {longest} objects stay within {bound} ms at p99 in every mode."
            ),
            format!(
                "No cap and no per-run index: cold reads stay as they are up to {longest} objects."
            ),
        )
    } else {
        let more = Lacks::blocks_for_all(levels.iter().map(|level| level.lacks));
        let reason = if levels.iter().all(|level| level.input.value.is_none()) {
            "No cold read was measured. What is missing is not satisfied.".to_owned()
        } else {
            format!(
                "No object count is shown to exceed {bound} ms at p99, tried from the longest runs on, but not all are shown to stay within it. {}",
                blocks_text(
                    more,
                    levels.iter().any(|level| level.input.censored.is_some())
                )
            )
        };
        Ruling::open(
            reason,
            "Nothing changes yet: cold reads stay as they are until the question is settled.",
            more,
        )
    };
    Answer {
        question: format!(
            "From how many objects per run does a cold read on {subject} need a cap or an index?"
        ),
        criterion: format!(
            "Go (a cap is needed) if the p99 of a cold read is shown to exceed {bound} ms at some object count, tried from the longest runs on; NoGo if it is shown to stay within at all of them."
        ),
        ruling,
        inputs: levels.into_iter().map(|level| level.input).collect(),
    }
}

/// One count that is beyond is enough for a cap. Of each mode they are tried from the longest runs on and up to the first that is not
/// shown to be beyond, so that together they err no more often than one alone.
fn in_sequence(levels: &mut [Level]) {
    for of_mode in levels.chunk_by_mut(|a, b| a.mode == b.mode) {
        let mut beyond = true;
        for level in of_mode.iter_mut().rev() {
            // Of one that was not measured there is nothing to try.
            if level.input.value.is_none() {
                continue;
            }
            beyond &= level.input.standing == Standing::NotMet;
            if !beyond && level.input.standing == Standing::NotMet {
                level.input.standing = Standing::Open;
            }
        }
    }
}

fn level(
    cell: &CellSummary,
    subject: &str,
    bound: f64,
    (alpha, share): (f64, f64),
) -> Option<Level> {
    let objects: i64 = cell.levels.get(factor::OBJECTS_PER_RUN)?.parse().ok()?;
    let mode = cell.levels.get(factor::MODE)?.clone();
    let mut input = missing(
        &format!("Cold read of {objects} objects, p99"),
        format!("{subject}, {mode}"),
        Role::Primary,
        Unit::Milliseconds,
        format!("shown to be at most {bound} ms"),
    );
    let blocks = cell
        .on(subject)
        .and_then(|on| on.operations.get("read"))
        .map_or(&[][..], |read| &read.blocks);
    let against_bound: Vec<(f64, f64)> = blocks
        .iter()
        .map(|figure| (figure.p99 as f64 / 1_000.0, bound))
        .collect();
    let Some(paired) = paired::compare(&against_bound, 1, alpha) else {
        return Some(Level {
            objects,
            mode,
            input,
            lacks: Lacks::OtherThanBlocks,
        });
    };
    let (low, high) = paired.ratio_interval();
    input.value = Some(round(paired.ratio() * bound));
    input.low = (low > 0.0).then(|| round(low * bound));
    input.high = high.is_finite().then(|| round(high * bound));
    input.blocks = count(paired.blocks());
    let lacking = lacking(paired.blocks(), alpha);
    if lacking.is_none() {
        input.standing = at_most(paired.low, paired.high, 0.0);
        // One mode that is beyond is enough for a cap, so each is judged at its share.
        let (ratios, bound) = (&paired.log_ratios, Bound::AtMost(0.0));
        at_share(&mut input, Standing::NotMet, ratios, bound, share);
    }
    let judged = input.standing;
    input.censored = Censored::of(Metric::P99, blocks, &[]);
    input.standing = with_censoring(judged, input.censored);
    let toward = with_censoring(side(paired.centre), input.censored);
    let lacks = Lacks::of((input.standing, judged), toward, || {
        let level = if toward == Standing::NotMet {
            share
        } else {
            alpha
        };
        lacking.or_else(|| more_blocks(paired.centre, paired.deviation, paired.blocks(), level))
    });
    Some(Level {
        objects,
        mode,
        input,
        lacks,
    })
}
