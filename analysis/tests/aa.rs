//! A backend compared with itself, thousands of times: how often is a difference claimed that is none?
//!
//! The windows are simulated from what makes storage hard to measure: latencies with a heavy tail,
//! a load of the machine that wanders from second to second and from trial to trial, and a cost of
//! coming second in a block. The figures of a trial are read from its histogram, as in a real run.

// The lints allow this in unit tests; an integration test is a crate of its own to them.
#![allow(clippy::unwrap_used)]

mod common;

use bakeoff_analysis::measured::{BlockFigure, RunData};
use bakeoff_analysis::merge;
use bakeoff_analysis::stats::{ALPHA, equivalence, multiple, permutation};
use bakeoff_analysis::summary::{Summary, summarise};
use bakeoff_crds::rng::SplitMix64;
use bakeoff_crds::status::DecisionOutcome;

const EXPERIMENTS: u64 = 2_000;
const BLOCKS: usize = 9;
const CELLS: usize = 3;

/// The machine: a load that stays for a while.
struct Machine {
    rng: SplitMix64,
    load: f64,
}

impl Machine {
    /// One trial: (median, p99) in microseconds. `slower` multiplies every latency.
    fn trial(&mut self, slower: f64) -> (f64, f64) {
        let mut histogram = merge::empty().unwrap();
        for _second in 0..4 {
            self.load = 0.8 * self.load + 0.2 * (self.rng.unit() - 0.5);
            for _ in 0..25 {
                let body = 0.6 * (self.rng.unit() + self.rng.unit() - 1.0);
                // A Pareto tail with the exponent 1.6: its variance is infinite.
                let tail = self.rng.unit().max(1e-9).powf(-1.0 / 1.6);
                let micros = slower * 800.0 * (self.load + body).exp() * tail;
                histogram
                    .record((micros as u64).clamp(1, 3_600_000_000))
                    .unwrap();
            }
        }
        let at = |quantile| histogram.value_at_quantile(quantile) as f64;
        (at(0.5), at(0.99))
    }
}

/// Log-ratios of p50 and of p99 by cell, over the blocks of one experiment. The backend in the
/// numerator is slower by `ratio`; `random` decides whether the order in a block is.
fn experiment(seed: u64, ratio: f64, random: bool) -> Vec<[Vec<f64>; 2]> {
    let rng = SplitMix64::stream(seed, "a-with-a");
    let mut machine = Machine { rng, load: 0.0 };
    let mut cells = vec![[Vec::new(), Vec::new()]; CELLS];
    for _ in 0..BLOCKS {
        for cell in &mut cells {
            let swapped = random && machine.rng.next_u64() >> 63 == 1;
            // Whoever comes second finds a warmer machine and a fuller disk: 6 % slower.
            let (first, second) = if swapped { (1.0, ratio) } else { (ratio, 1.0) };
            let early = machine.trial(first);
            let late = machine.trial(second * 1.06);
            let (subject, base) = if swapped {
                (late, early)
            } else {
                (early, late)
            };
            cell[0].push(subject.0.ln() - base.0.ln());
            cell[1].push(subject.1.ln() - base.1.ln());
        }
    }
    cells
}

/// The share of experiments in which any cell shows a difference after Holm, for one figure.
fn claimed(random: bool, figure: usize) -> f64 {
    let wrong = (0..EXPERIMENTS)
        .filter(|seed| {
            let p_values: Vec<f64> = experiment(*seed, 1.0, random)
                .iter()
                .map(|cell| permutation::sign_flip(&cell[figure], *seed))
                .collect();
            multiple::holm(&p_values).iter().any(|p| *p <= ALPHA)
        })
        .count();
    wrong as f64 / EXPERIMENTS as f64
}

#[test]
fn a_difference_that_is_none_is_claimed_at_most_once_in_twenty() {
    for (figure, name) in [(0, "p50"), (1, "p99")] {
        let share = claimed(true, figure);
        assert!(share <= 0.05, "{name}: {share}");
        assert!(share > 0.0, "{name}: the test can never claim anything");
    }
    // The planted fault: one backend always first, as whoever runs A and then B does.
    let share = claimed(false, 0);
    assert!(share > 0.15, "{share}");
}

#[test]
fn equivalence_is_claimed_wrongly_at_most_once_in_twenty() {
    let margin = 1.1_f64.ln();
    let claimed = |ratio: f64| {
        let claims = (0..EXPERIMENTS)
            .filter(|seed| {
                let cells = experiment(*seed, ratio, true);
                equivalence::tost(&cells[0][0], margin) <= ALPHA
            })
            .count();
        claims as f64 / EXPERIMENTS as f64
    };
    // A true difference of exactly the margin is the hardest of those that are not equivalent.
    let wrong = claimed(1.1);
    assert!(wrong <= 0.05, "{wrong}");
}

/// The decision as a whole, over figures and not over records, so that hundreds are cheap.
#[test]
fn a_with_a_is_hardly_ever_a_go_and_says_what_it_could_not_see() {
    let spec = {
        let mut spec = common::spec(8);
        spec.workloads[0] = serde_json::from_value(serde_json::json!(
            {"name": "put", "smallObjectPut": {"objectSize": ["4Ki"], "load": {"closed": {"concurrency": [8]}}}}
        ))
        .unwrap();
        spec.workloads[1] = serde_json::from_value(serde_json::json!(
            {"name": "cold-read", "coldRead": {"objectsPerRun": [100], "modes": ["ListPrefix"]}}
        ))
        .unwrap();
        spec
    };
    let manifest = common::manifest(&spec);
    let records = common::records(&spec, |_| common::PLAIN);
    let data = RunData::new(&manifest, &records);
    let template = summarise(&data).unwrap();
    let mut outcomes = [0_u32; 3];
    for seed in 0..300 {
        let summary = noisy(&template, seed);
        let rule = spec.decision.as_ref().unwrap();
        let decision = bakeoff_analysis::decision::decide(rule, &spec, &summary.measured);
        match decision.outcome {
            DecisionOutcome::Go => outcomes[0] += 1,
            DecisionOutcome::NoGo => outcomes[1] += 1,
            DecisionOutcome::Inconclusive => {
                outcomes[2] += 1;
                assert!(
                    decision.more_blocks.is_some() || decision.reason.contains("would not settle"),
                    "{}",
                    decision.reason
                );
            }
        }
        let ratios = decision
            .inputs
            .iter()
            .filter(|input| input.p_value.is_some());
        assert!(
            ratios.clone().count() >= 3 && ratios.clone().all(|input| input.detectable.is_some())
        );
    }
    // 5 % of 300, although the demand of a gain beyond the margin makes it far rarer.
    assert!(outcomes[0] <= 15, "{outcomes:?}");
    assert!(outcomes[1] > 0, "no gain is also a finding: {outcomes:?}");
}

fn noisy(template: &Summary, seed: u64) -> Summary {
    let mut rng = SplitMix64::stream(seed, "decision");
    let mut summary = template.clone();
    let cells = summary
        .measured
        .workloads
        .iter_mut()
        .flat_map(|w| &mut w.cells);
    for on in cells.flat_map(|cell| &mut cell.backends) {
        for operation in on.operations.values_mut() {
            for figure in &mut operation.blocks {
                // Heavy-tailed factors around one, alike for both.
                let mut factor = || {
                    let size = 0.06 * rng.unit().max(1e-4).powf(-0.4);
                    (size * (rng.unit() - 0.5)).exp()
                };
                *figure = BlockFigure {
                    per_second: 1_000.0 * factor(),
                    p50: (900.0 * factor()) as i64,
                    p99: (4_000.0 * factor()) as i64,
                    ..*figure
                };
            }
        }
    }
    summary
}
