//! The decision rules of the experiment plan: one file for each, joined by an exhaustive match.
//!
//! A rule turns a summary into `Go` (the data carry the change), `NoGo` (they speak against it) or
//! `Inconclusive` (they do not carry a decision; the reason says what would settle it). Each rule
//! states beforehand which figures it reads and what it demands of them:
//!
//! - The *block* is the unit. Where a rule reads several cells, their log-ratios are averaged
//!   within each block before anything is tested, so that a dozen cells are one test and not
//!   twelve. Statements about single cells carry Holm-adjusted p-values.
//! - `Go` demands that *every* input is met. A conjunction of tests at 5 % each has an error rate
//!   of at most 5 % (intersection-union test; Berger 1982), so its inputs need no correction; their
//!   Holm-adjusted p-values over the inputs are printed all the same.
//! - What is missing is not satisfied: it leads to `Inconclusive`, never to a pass.

mod batching_tolerable;
mod cas_is_backstop;
mod cold_read_cap;
mod simple_schema;
mod small_object_backend;
#[cfg(test)]
mod tests_support;

use bakeoff_crds::spec::{Decision, DecisionRule, ExperimentSpec, ResultClass};
use bakeoff_crds::status::{DecisionOutcome, DecisionStatus};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::stats::{ALPHA, POWER, multiple, paired::Paired, power, round};
use crate::summary::Summary;

/// What a rule concluded, as data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DecisionRecord {
    /// The rule.
    pub rule: DecisionRule,
    /// The class of the figures it read.
    pub result_class: ResultClass,
    /// The question it answers.
    pub question: String,
    /// What it demands for `Go`, stated before the figures.
    pub criterion: String,
    /// The ratio that counts as clearly better; 1.1 is ten per cent.
    pub margin: f64,
    /// The answer.
    pub outcome: DecisionOutcome,
    /// Why, in one or two sentences with the figures that decided.
    pub reason: String,
    /// What it changes in the design.
    pub consequence: String,
    /// What it read.
    pub inputs: Vec<DecisionInput>,
    /// How many blocks more would settle it, where that can be said; only when inconclusive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more_blocks: Option<i32>,
}

/// One figure that a rule read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DecisionInput {
    /// What it is.
    pub name: String,
    /// The cells and backends behind it.
    pub scope: String,
    /// How it enters the rule.
    pub role: Role,
    /// The unit of the figure.
    pub unit: Unit,
    /// The figure; absent when it was not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// Lower end of its 95 % interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    /// Upper end of its 95 % interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
    /// Two-sided p-value against no difference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p_value: Option<f64>,
    /// The same after Holm over the inputs of the decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adjusted_p: Option<f64>,
    /// Smallest ratio above 1 that so many blocks would have shown, 80 times in 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detectable: Option<f64>,
    /// Blocks that entered.
    pub blocks: i32,
    /// What the rule demands of it, in words.
    pub demand: String,
    /// Whether the demand is met.
    pub standing: Standing,
}

/// How a figure enters a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Role {
    /// It has to speak for the change.
    Primary,
    /// It must not speak against the change.
    Guard,
    /// It must be clean.
    Correctness,
    /// It is printed for the reader and decides nothing.
    Context,
}

/// The unit of a figure that a rule reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Unit {
    /// A ratio; 1 is no difference.
    Ratio,
    /// Milliseconds.
    Milliseconds,
    /// Percent.
    Percent,
    /// A number of events.
    Count,
    /// A count of violations.
    Violations,
    /// Money for a month, in the currency of the price list.
    PerMonth,
}

/// Whether a demand is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Standing {
    /// Shown to be met.
    Met,
    /// Shown not to be met.
    NotMet,
    /// Neither was shown.
    Open,
}

/// Applies a rule to a summary. `spec` is the one that the summary was measured with.
#[must_use]
pub fn decide(decision: &Decision, spec: &ExperimentSpec, summary: &Summary) -> DecisionRecord {
    let mut record = match decision.rule {
        DecisionRule::SmallObjectBackend => small_object_backend::decide(decision, summary),
        DecisionRule::BatchingTolerable => batching_tolerable::decide(decision, spec, summary),
        DecisionRule::ColdReadCap => cold_read_cap::decide(decision, summary),
        DecisionRule::SimpleSchema => simple_schema::decide(decision, summary),
        DecisionRule::CasIsBackstop => cas_is_backstop::decide(decision, summary),
    };
    record.margin = round(1.0 + f64::from(decision.margin_percent) / 100.0);
    adjust(&mut record.inputs);
    if !matches!(summary.ending.as_str(), "Completed" | "Running") {
        record.reason.push_str(&format!(
            " The run ended early ({}), so blocks are missing.",
            summary.ending
        ));
    }
    let unseen: i64 = summary
        .excluded
        .iter()
        .map(|excluded| excluded.violations)
        .sum();
    if unseen > 0 {
        record.reason.push_str(&format!(
            " Invalid trials showed {unseen} correctness violations, which are not counted here."
        ));
    }
    record
}

impl DecisionRecord {
    /// The decision as the status carries it.
    #[must_use]
    pub fn status(&self) -> DecisionStatus {
        DecisionStatus {
            rule: self.rule.as_str().to_owned(),
            outcome: self.outcome,
            reason: self.reason.clone(),
            consequence: self.consequence.clone(),
        }
    }
}

/// Holm over the inputs that decide and carry a test.
fn adjust(inputs: &mut [DecisionInput]) {
    let mut family: Vec<&mut DecisionInput> = inputs
        .iter_mut()
        .filter(|input| input.role != Role::Context && input.p_value.is_some())
        .collect();
    let plain: Vec<f64> = family.iter().filter_map(|input| input.p_value).collect();
    for (input, adjusted) in family.iter_mut().zip(multiple::holm(&plain)) {
        input.adjusted_p = Some(round(adjusted));
    }
}

/// An input that was not measured: it leaves the decision open.
fn missing(name: &str, scope: String, role: Role, unit: Unit, demand: String) -> DecisionInput {
    DecisionInput {
        name: name.to_owned(),
        scope,
        role,
        unit,
        value: None,
        low: None,
        high: None,
        p_value: None,
        adjusted_p: None,
        detectable: None,
        blocks: 0,
        demand,
        standing: Standing::Open,
    }
}

/// An input made of a paired comparison, on the logarithm; `demand` and `standing` are the rule's.
fn ratio_input(
    name: &str,
    scope: String,
    role: Role,
    paired: &Paired,
    demand: String,
    standing: Standing,
) -> DecisionInput {
    let (low, high) = paired.ratio_interval();
    let bounded = paired.blocks() >= 2;
    DecisionInput {
        value: Some(round(paired.ratio())),
        low: bounded.then(|| round(low)),
        high: bounded.then(|| round(high)),
        p_value: Some(round(paired.p_value)),
        detectable: paired.detectable.map(|effect| round(effect.exp())),
        blocks: count(paired.blocks()),
        standing,
        ..missing(name, scope, role, Unit::Ratio, demand)
    }
}

/// Whether an interval is shown to lie at or below a threshold.
fn at_most(low: f64, high: f64, threshold: f64) -> Standing {
    if high <= threshold {
        Standing::Met
    } else if low > threshold {
        Standing::NotMet
    } else {
        Standing::Open
    }
}

/// Blocks beyond those there are that would tell a figure from its threshold, if it stays where it
/// is and scatters as it did. `None`: it sits on the threshold, and more blocks are no answer.
fn more_blocks(distance: f64, deviation: f64, have: usize) -> Option<i32> {
    let needed = power::blocks_needed(distance, deviation, ALPHA, POWER)?;
    // An open figure needs at least one block more, whatever the estimate says.
    Some(count(needed.saturating_sub(have).max(1)))
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// "1.42x (1.31 to 1.55)" or "1.42x".
pub(crate) fn ratio_text(value: f64, low: Option<f64>, high: Option<f64>) -> String {
    match (low, high) {
        (Some(low), Some(high)) => format!("{value:.2}x (95 % interval {low:.2} to {high:.2})"),
        _ => format!("{value:.2}x"),
    }
}

/// A sentence about how many blocks are missing.
fn blocks_text(more: Option<i32>) -> String {
    match more {
        Some(1) => "About 1 more block would settle it.".to_owned(),
        Some(more) => format!("About {more} more blocks would settle it."),
        None => {
            "The figure lies so close to the bound that more blocks would not settle it.".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{self, Behaviour, PLAIN, QUICK};
    use crate::summary::{RunData, summarise};
    use bakeoff_crds::result::{InvalidCode, InvalidReason, Verdict};
    use bakeoff_crds::spec::WorkloadKind;
    use bakeoff_crds::status::DecisionOutcome::{self, Go, Inconclusive, NoGo};

    fn decide_c(blocks: i32, seaweedfs: Behaviour) -> DecisionRecord {
        let spec = sample::spec(blocks);
        let manifest = sample::manifest(&spec);
        let records = sample::records(
            &spec,
            |name| if name == "minio" { PLAIN } else { seaweedfs },
        );
        summarise(&RunData {
            manifest: &manifest,
            records: &records,
            interrupted: &[],
        })
        .unwrap()
        .decision
        .unwrap()
    }

    #[test]
    fn a_clear_clean_winner_is_a_go() {
        let decision = decide_c(6, QUICK);
        assert_eq!(decision.outcome, Go, "{decision:#?}");
        assert!(
            decision.reason.contains("PUT throughput 1.4"),
            "{}",
            decision.reason
        );
        assert!(decision.consequence.starts_with("seaweedfs becomes"));
    }

    #[test]
    fn no_gain_and_no_correctness_are_a_no_go() {
        let equal = decide_c(6, PLAIN);
        assert_eq!(equal.outcome, NoGo, "{}", equal.reason);
        let wrong = decide_c(
            6,
            Behaviour {
                violations: 2,
                ..QUICK
            },
        );
        assert_eq!(wrong.outcome, NoGo);
        assert!(wrong.reason.contains("correctness"), "{}", wrong.reason);
        let slow_list = decide_c(
            6,
            Behaviour {
                list_speed: 0.5,
                ..QUICK
            },
        );
        assert_eq!(slow_list.outcome, NoGo);
        assert!(slow_list.reason.contains("LIST"), "{}", slow_list.reason);
    }

    #[test]
    fn too_few_blocks_never_settle_and_say_how_many_would() {
        for blocks in [1, 3, 5] {
            let decision = decide_c(blocks, QUICK);
            assert_eq!(
                decision.outcome, Inconclusive,
                "{blocks}: {}",
                decision.reason
            );
        }
        assert_eq!(decide_c(5, QUICK).more_blocks, Some(1));
    }

    #[test]
    fn a_guard_over_few_valid_blocks_shows_nothing() {
        let spec = sample::spec(6);
        let manifest = sample::manifest(&spec);
        let mut records =
            sample::records(&spec, |name| if name == "minio" { PLAIN } else { QUICK });
        for record in &mut records {
            if record.trial.kind == WorkloadKind::ColdRead && record.trial.block >= 2 {
                record.verdict = Verdict::Invalid(vec![InvalidReason {
                    code: InvalidCode::NoOperations,
                    detail: "planted".to_owned(),
                }]);
            }
        }
        let data = RunData {
            manifest: &manifest,
            records: &records,
            interrupted: &[],
        };
        let decision = summarise(&data).unwrap().decision.unwrap();
        assert_eq!(decision.outcome, Inconclusive, "{decision:#?}");
        assert_eq!(decision.more_blocks, Some(4));
    }

    fn b2(bound: i32) -> DecisionRecord {
        let spec = sample::batching_spec(bound);
        let manifest = sample::manifest(&spec);
        let records = sample::records(&spec, |_| QUICK);
        summarise(&RunData {
            manifest: &manifest,
            records: &records,
            interrupted: &[],
        })
        .unwrap()
        .decision
        .unwrap()
    }

    #[test]
    fn batching_is_tolerable_up_to_the_bound() {
        // At 100 a second, 20 in an object wait 190 ms and 50 wait 490 ms, with a p99 of some 2.4 times that.
        let decision = b2(600);
        assert_eq!(decision.outcome, Go, "{decision:#?}");
        assert!(
            decision.consequence.contains("up to 20"),
            "{}",
            decision.consequence
        );
        assert!(
            decision.reason.contains("4750.00 USD"),
            "{}",
            decision.reason
        );
        let never = b2(1);
        assert_eq!(never.outcome, NoGo, "{never:#?}");
    }

    fn b3(bound: i32) -> DecisionRecord {
        let mut spec = sample::spec(6);
        spec.decision = serde_json::from_value(
            serde_json::json!({"rule": "ColdReadCap", "boundMilliseconds": bound, "incumbent": "minio"}),
        )
        .unwrap();
        let manifest = sample::manifest(&spec);
        let records = sample::records(&spec, |_| PLAIN);
        summarise(&RunData {
            manifest: &manifest,
            records: &records,
            interrupted: &[],
        })
        .unwrap()
        .decision
        .unwrap()
    }

    #[test]
    fn cold_reads_need_a_cap_where_they_exceed_the_bound() {
        // 5000 objects: 170 ms at the median and some 400 at p99; 1000 objects: 90 at p99.
        let decision = b3(200);
        assert_eq!(decision.outcome, Go, "{decision:#?}");
        assert!(
            decision.consequence.contains("at 1000 objects"),
            "{}",
            decision.consequence
        );
        assert_eq!(b3(60_000).outcome, NoGo);
    }

    /// The decision as a whole, not only its test: with a challenger that is the incumbent under
    /// another name, `Go` stays far below 5 %.
    #[test]
    fn a_with_a_is_never_a_go() {
        let spec = sample::spec(6);
        let manifest = sample::manifest(&spec);
        let trials = bakeoff_crds::schedule::trials(&spec);
        let mut go = 0;
        for seed in 0..4 {
            let records: Vec<_> = trials
                .iter()
                .map(|trial| sample::record(trial, PLAIN, seed))
                .collect();
            let summary = summarise(&RunData {
                manifest: &manifest,
                records: &records,
                interrupted: &[],
            })
            .unwrap();
            go += u32::from(summary.decision.map(|d| d.outcome) == Some(DecisionOutcome::Go));
        }
        assert_eq!(go, 0);
    }
}
