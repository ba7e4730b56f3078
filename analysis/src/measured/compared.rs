//! Backends in pairs, block by block.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{BlockFigure, CellBackend, CellSummary};
use crate::metric::Metric;
use crate::stats::{self, multiple, paired};

/// What a comparison says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Finding {
    /// The subject is better (Holm-adjusted p at most the level, 0.05).
    SubjectBetter,
    /// The base is better.
    BaseBetter,
    /// Shown to be the same within the margin (TOST, Holm-adjusted p at most the level).
    Equivalent,
    /// No difference was shown; one smaller than the detectable effect may exist.
    NotShown,
}

impl Finding {
    /// The finding in words.
    #[must_use]
    pub fn describe(self, subject: &str, base: &str) -> String {
        match self {
            Self::SubjectBetter => format!("{subject} better"),
            Self::BaseBetter => format!("{base} better"),
            Self::Equivalent => "equivalent".to_owned(),
            Self::NotShown => "no difference shown".to_owned(),
        }
    }
}

/// Whose figure is unknown in some block and may be worse than what entered the ratio, because
/// too many of its operations failed, did not finish or were never started.
///
/// Nothing may be concluded in favour of such a backend: it must not win by failing fast or by
/// leaving work undone. What speaks against it holds all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Censored {
    /// The backend in the numerator.
    Subject,
    /// The backend in the denominator.
    Base,
    /// Both: nothing can be concluded.
    Both,
}

impl Censored {
    /// From what is known of the blocks of both.
    pub(crate) fn of(
        metric: Metric,
        subject: &[BlockFigure],
        base: &[BlockFigure],
    ) -> Option<Self> {
        // Any block is enough, also one that has no partner: blocks that a backend spoilt by
        // failing must not drop out of its comparison.
        let unknown = |figures: &[BlockFigure]| figures.iter().any(|f| !f.knows(metric));
        Self::when(unknown(subject), unknown(base))
    }

    /// From whether the figure of each is only a bound.
    pub(crate) fn when(subject: bool, base: bool) -> Option<Self> {
        match (subject, base) {
            (true, true) => Some(Self::Both),
            (true, false) => Some(Self::Subject),
            (false, true) => Some(Self::Base),
            (false, false) => None,
        }
    }

    /// The sign before a ratio that is only a bound, of something of which more is better or less: "≥", "≤" or, for both, "?".
    #[must_use]
    pub fn sign(self, more_is_better: bool) -> &'static str {
        match (self, more_is_better) {
            (Self::Both, _) => "? ",
            (Self::Subject, false) | (Self::Base, true) => "≥ ",
            (Self::Subject, true) | (Self::Base, false) => "≤ ",
        }
    }
}

/// Two backends compared over the blocks in which both have a valid trial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Comparison {
    /// The kind of operation.
    pub operation: String,
    /// The figure.
    pub metric: Metric,
    /// The backend in the numerator.
    pub subject: String,
    /// The backend in the denominator.
    pub base: String,
    /// Ratio, interval and tests.
    #[serde(flatten)]
    pub estimate: Estimate,
    /// The p-value after Holm over the cells of this workload, operation, figure and pair.
    pub adjusted_p: f64,
    /// Whose figure is only bounded; absent when both are known in every block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub censored: Option<Censored>,
    /// What it says.
    pub finding: Finding,
}

/// A ratio with everything that is needed to judge it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Estimate {
    /// Geometric mean of the ratios of the blocks; 1 is no difference.
    pub ratio: f64,
    /// Lower end of its interval (95 % at the usual level); absent below two blocks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    /// Upper end of its interval; absent below two blocks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
    /// Two-sided p-value of the exact sign-flip test.
    pub p_value: f64,
    /// P-value of equivalence within the margin (TOST), before Holm: what is called equivalent is so after it, over the same comparisons.
    pub equivalence_p: f64,
    /// Blocks that entered.
    pub blocks: i32,
    /// Standard deviation of the log-ratios between blocks.
    pub deviation: f64,
    /// Smallest ratio above 1 that so many blocks would have shown, 80 times in 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detectable: Option<f64>,
}

impl Estimate {
    /// The interval as numbers, open ends as 0 and infinity.
    #[must_use]
    pub fn interval(&self) -> (f64, f64) {
        (self.low.unwrap_or(0.0), self.high.unwrap_or(f64::INFINITY))
    }
}

/// Pairs of a figure in the blocks that both have.
pub(crate) fn pairs(
    subject: &[BlockFigure],
    base: &[BlockFigure],
    metric: Metric,
) -> Vec<(f64, f64)> {
    subject
        .iter()
        .filter_map(|ours| {
            let theirs = base.iter().find(|figure| figure.block == ours.block)?;
            Some((ours.of(metric), theirs.of(metric)))
        })
        .collect()
}

/// A ratio as the summary carries it. `margin` is the log-ratio of equivalence.
pub(crate) fn estimate(paired: &paired::Paired, margin: f64) -> Estimate {
    let (low, high) = paired.ratio_interval();
    let bounded = paired.blocks() >= 2;
    Estimate {
        ratio: stats::round(paired.ratio()),
        low: bounded.then(|| stats::round(low)),
        high: bounded.then(|| stats::round(high)),
        p_value: stats::round(paired.p_value),
        equivalence_p: stats::round(stats::equivalence::tost(&paired.log_ratios, margin)),
        blocks: i32::try_from(paired.blocks()).unwrap_or(i32::MAX),
        deviation: stats::round(paired.deviation),
        detectable: paired.detectable.map(|effect| stats::round(effect.exp())),
    }
}

pub(super) fn compare_cell(
    backends: &[CellBackend],
    margin: f64,
    seed: u64,
    level: f64,
) -> Vec<Comparison> {
    let mut comparisons = Vec::new();
    for (position, subject) in backends.iter().enumerate() {
        for base in &backends[..position] {
            for (operation, ours) in &subject.operations {
                let Some(theirs) = base.operations.get(operation) else {
                    continue;
                };
                for metric in Metric::ALL {
                    let Some(paired) =
                        paired::compare(&pairs(&ours.blocks, &theirs.blocks, metric), seed, level)
                    else {
                        continue;
                    };
                    comparisons.push(Comparison {
                        operation: operation.clone(),
                        metric,
                        subject: subject.backend.clone(),
                        base: base.backend.clone(),
                        adjusted_p: stats::round(paired.p_value),
                        estimate: estimate(&paired, margin),
                        censored: Censored::of(metric, &ours.blocks, &theirs.blocks),
                        finding: Finding::NotShown,
                    });
                }
            }
        }
    }
    comparisons
}

/// Holm over the cells of a workload, for each operation, figure and pair, and the findings.
pub(super) fn adjust(cells: &mut [CellSummary], level: f64) {
    let mut families: BTreeMap<(String, Metric, String, String), Vec<&mut Comparison>> =
        BTreeMap::new();
    for comparison in cells.iter_mut().flat_map(|cell| &mut cell.comparisons) {
        let key = (
            comparison.operation.clone(),
            comparison.metric,
            comparison.subject.clone(),
            comparison.base.clone(),
        );
        families.entry(key).or_default().push(comparison);
    }
    for mut family in families.into_values() {
        judge(&mut family, level);
    }
}

/// Holm over comparisons that are read together, once for the differences and once for what is claimed to be equal, and the findings.
pub(crate) fn judge(family: &mut [&mut Comparison], level: f64) {
    let holm = |of: fn(&Estimate) -> f64| {
        let plain: Vec<f64> = family.iter().map(|one| of(&one.estimate)).collect();
        multiple::holm(&plain)
    };
    let different = holm(|estimate| estimate.p_value);
    let equivalent = holm(|estimate| estimate.equivalence_p);
    for ((comparison, different), equivalent) in family.iter_mut().zip(different).zip(equivalent) {
        comparison.adjusted_p = stats::round(different);
        comparison.finding = finding(comparison, equivalent, level);
    }
}

fn finding(comparison: &Comparison, equivalent: f64, level: f64) -> Finding {
    let censored = comparison.censored;
    if comparison.adjusted_p <= level {
        let subject_better =
            (comparison.estimate.ratio > 1.0) == comparison.metric.more_is_better();
        return match (subject_better, censored) {
            (true, None | Some(Censored::Base)) => Finding::SubjectBetter,
            (false, None | Some(Censored::Subject)) => Finding::BaseBetter,
            _ => Finding::NotShown,
        };
    }
    if equivalent <= level && censored.is_none() {
        Finding::Equivalent
    } else {
        Finding::NotShown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(equivalence: &[f64]) -> Vec<Finding> {
        let mut all: Vec<Comparison> = equivalence
            .iter()
            .map(|&equivalence_p| Comparison {
                operation: "put".to_owned(),
                metric: Metric::P99,
                subject: "new".to_owned(),
                base: "old".to_owned(),
                estimate: Estimate {
                    equivalence_p,
                    ..estimate(
                        &paired::from_log_ratios(vec![0.0; 6], 1, 0.05).unwrap(),
                        0.1,
                    )
                },
                adjusted_p: 1.0,
                censored: None,
                finding: Finding::NotShown,
            })
            .collect();
        judge(&mut all.iter_mut().collect::<Vec<_>>(), 0.05);
        all.iter().map(|one| one.finding).collect()
    }

    /// The one that looks equal of many would by chance.
    #[test]
    fn what_is_equal_in_one_cell_of_several_is_shown_after_holm() {
        assert_eq!(findings(&[0.04]), [Finding::Equivalent]);
        assert_eq!(findings(&[0.04, 0.9, 0.9, 0.9]), [Finding::NotShown; 4]);
        assert_eq!(
            findings(&[0.01, 0.9, 0.9, 0.9])[..2],
            [Finding::Equivalent, Finding::NotShown]
        );
    }
}
