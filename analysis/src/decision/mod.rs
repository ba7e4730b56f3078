//! The decision rules of the experiment plan: one file for each, joined by an exhaustive match.
//!
//! A rule turns what was measured into `Go` (the data carry the change), `NoGo` (they speak against it) or
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
mod bounded;
mod cas_is_backstop;
mod cold_read_cap;
mod conformance;
mod drop_or_delete;
mod footing;
mod restarts;
mod rule;
mod shard_threshold;
mod simple_schema;
mod small_object_backend;
mod soak_plateau;
#[cfg(test)]
mod tests_support;
mod variants;

use bakeoff_crds::spec::{Decision, DecisionRule, ExperimentSpec, ResultClass};
use bakeoff_crds::status::{DecisionOutcome, DecisionStatus};
pub use rule::Need;
use rule::{Asked, Rule};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::measured::Censored;
use crate::measured::Measured;
use crate::stats::{POWER, multiple, paired::Paired, power, round};

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
    /// Lower end of its interval, 95 % at the usual level of the summary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    /// Upper end of its interval.
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
    /// Whose figure is only bounded, because too many of its operations have no answer: nothing is
    /// concluded in favour of that backend. For a ratio the subject is the numerator; for a latency
    /// it is the backend itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub censored: Option<Censored>,
    /// Whether more of it is better, as of a rate.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more_is_better: bool,
    /// Whether it says more than the promises of the two carry: it would speak for the backend that promises less when it
    /// acknowledges a write, so nothing is concluded from it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unequal_promises: bool,
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
    /// Hours.
    Hours,
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

/// The one table of rules.
fn of(rule: DecisionRule) -> &'static Rule {
    match rule {
        DecisionRule::SmallObjectBackend => &small_object_backend::RULE,
        DecisionRule::BatchingTolerable => &batching_tolerable::RULE,
        DecisionRule::ColdReadCap => &cold_read_cap::RULE,
        DecisionRule::SimpleSchema => &simple_schema::RULE,
        DecisionRule::CasIsBackstop => &cas_is_backstop::RULE,
        DecisionRule::DropOrDelete => &drop_or_delete::RULE,
        DecisionRule::SoakPlateau => &soak_plateau::RULE,
        DecisionRule::ShardThreshold => &shard_threshold::RULE,
    }
}

/// What a rule needs of a spec.
#[must_use]
pub fn needs(rule: DecisionRule) -> &'static [Need] {
    of(rule).needs
}

/// Applies a rule to what was measured. `spec` is the one that it was measured with.
#[must_use]
pub fn decide(decision: &Decision, spec: &ExperimentSpec, measured: &Measured) -> DecisionRecord {
    let asked = Asked {
        decision,
        spec,
        measured,
    };
    let rule = of(decision.rule);
    let answer = (rule.answer)(&asked);
    let mut record = DecisionRecord {
        rule: decision.rule,
        result_class: measured.result_class,
        question: answer.question,
        criterion: answer.criterion,
        margin: round(asked.margin()),
        outcome: answer.ruling.outcome,
        reason: answer.ruling.reason,
        consequence: answer.ruling.consequence,
        inputs: answer.inputs,
        more_blocks: answer.ruling.more_blocks,
    };
    adjust(&mut record.inputs);
    if measured.ending.is_early() {
        record.reason.push_str(&format!(
            " The run ended early ({}), so blocks are missing.",
            measured.ending.as_str()
        ));
    }
    if rule.judges_one {
        restarts::name(&mut record.reason, measured, &asked.subject());
    }
    if rule.reads_bloat {
        qualify(&mut record, measured);
    }
    if rule.withheld_if_wrong {
        withhold(&mut record, measured, &asked.subject());
    }
    if rule.rests_on_listing {
        conformance::qualify(&mut record, measured, &asked.subject());
    }
    record
}

/// Correctness of one backend over all workloads.
struct Wrong {
    checks: usize,
    checked: i64,
    /// Checks of which not one fact was decided.
    undecided: usize,
    /// Violations, wherever they were seen.
    violations: i64,
    /// Those of them in excluded attempts.
    excluded: i64,
    /// Violations that the loss of the backend may explain.
    unsettled: i64,
}

impl Wrong {
    fn of(measured: &Measured, backend: &str) -> Self {
        let mut wrong = Self {
            checks: 0,
            checked: 0,
            undecided: 0,
            violations: 0,
            excluded: 0,
            unsettled: 0,
        };
        let all = measured.workloads.iter().flat_map(|w| &w.checks);
        for check in all.filter(|check| check.backend == backend) {
            wrong.checks += 1;
            wrong.checked += check.checked;
            wrong.undecided += usize::from(check.is_undecided());
            wrong.violations += check.violations;
            wrong.excluded += check.violations_excluded;
            wrong.unsettled += check.violations_unsettled;
        }
        wrong
    }

    /// In words, empty when nothing was wrong: the attempts that count for nothing else are named.
    fn text(&self) -> String {
        let excluded = match self.excluded {
            0 => String::new(),
            seen => format!(" ({seen} of them in attempts excluded for other reasons)"),
        };
        match (self.violations, self.unsettled) {
            (0, 0) => String::new(),
            (0, open) => {
                format!("{open} violations in attempts in which the backend restarted or went away")
            }
            (some, 0) => format!("{some} violations{excluded}"),
            (some, open) => format!(
                "{some} violations{excluded} and {open} more in attempts in which the backend restarted or went away"
            ),
        }
    }
}

/// Bloat has another cause where dead rows could not be removed: no verdict on it goes without that word.
fn qualify(record: &mut DecisionRecord, measured: &Measured) {
    for backend in &measured.backends {
        if let Some(held) = &backend.horizon {
            record.reason.push_str(&format!(
                " On {} dead rows could not be removed, held back by {held}: what is said of bloat may be due to that and not to \
                 the design.",
                backend.name
            ));
        }
    }
}

/// Latencies of a backend that answers wrongly decide nothing: what it left out cost it no time.
fn withhold(record: &mut DecisionRecord, measured: &Measured, backend: &str) {
    let wrong = Wrong::of(measured, backend);
    if wrong.violations + wrong.unsettled == 0 {
        return;
    }
    record.outcome = DecisionOutcome::Inconclusive;
    record.more_blocks = None;
    record.reason = format!(
        "{backend} fails correctness: {}. The latencies of wrong answers carry no decision. Without that: {}",
        wrong.text(),
        record.reason
    );
    record.consequence =
        "Nothing changes yet: first the violations have to be explained.".to_owned();
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
        censored: None,
        more_is_better: false,
        unequal_promises: false,
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

/// How many blocks are missing for an interval to show anything: over a handful it is far too narrow.
fn lacking(blocks: usize, alpha: f64) -> Option<i32> {
    let least = power::least_blocks(alpha);
    (blocks < least).then(|| count(least - blocks))
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

/// What a figure that is to be at most a threshold would show with more blocks, if it stays at this distance from it.
fn side(distance: f64) -> Standing {
    if distance <= 0.0 {
        Standing::Met
    } else {
        Standing::NotMet
    }
}

/// A standing that rests on figures of which some are only bounds. `Met` speaks for the subject and
/// `NotMet` against it: neither may rest on a figure that could be worse than it looks.
fn with_censoring(standing: Standing, censored: Option<Censored>) -> Standing {
    match (standing, censored) {
        (Standing::Met, Some(Censored::Subject | Censored::Both))
        | (Standing::NotMet, Some(Censored::Base | Censored::Both)) => Standing::Open,
        (standing, _) => standing,
    }
}

/// Blocks beyond those there are that would tell a figure from its threshold, if it stays where it
/// is and scatters as it did. `None`: it sits on the threshold, and more blocks are no answer.
fn more_blocks(distance: f64, deviation: f64, have: usize, level: f64) -> Option<i32> {
    let needed = power::blocks_needed(distance, deviation, level, POWER)?;
    // An open figure needs at least one block more, whatever the estimate says.
    Some(count(needed.saturating_sub(have).max(1)))
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// "1.42x (1.31 to 1.55)" or "1.42x".
fn ratio_text(value: f64, low: Option<f64>, high: Option<f64>, confidence: &str) -> String {
    match (low, high) {
        (Some(low), Some(high)) => {
            format!("{value:.2}x ({confidence} interval {low:.2} to {high:.2})")
        }
        _ => format!("{value:.2}x"),
    }
}

/// A sentence about how many blocks are missing; `censored` when a figure is only a bound.
fn blocks_text(more: Option<i32>, censored: bool) -> String {
    match more {
        None if censored => {
            "Too many operations failed, did not finish or were never started for their latency to be known; more blocks would not settle it, a lower load might.".to_owned()
        }
        Some(1) => "About 1 more block would settle it.".to_owned(),
        Some(more) => format!("About {more} more blocks would settle it."),
        None => {
            "The figure lies so close to the bound that more blocks would not settle it.".to_owned()
        }
    }
}

#[cfg(test)]
mod tests;
