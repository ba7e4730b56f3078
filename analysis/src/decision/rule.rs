//! What there is to know of a rule, what it is asked and how it answers.

use std::fmt;

use bakeoff_crds::spec::{Decision, ExperimentSpec, WorkloadKind};
use bakeoff_crds::status::DecisionOutcome;

use super::{DecisionInput, Standing};
use crate::measured::Measured;

/// What a rule needs of a spec: without it every answer would be inconclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Two backends to compare.
    TwoBackends,
    /// A workload of this kind.
    Workload(WorkloadKind),
    /// A workload `sustain` that states what the primary is to carry.
    Target,
}

impl Need {
    /// Whether a spec has it.
    #[must_use]
    pub fn is_met(self, spec: &ExperimentSpec) -> bool {
        match self {
            Self::TwoBackends => spec.backends.len() >= 2,
            Self::Workload(kind) => spec.workloads.iter().any(|one| one.kind() == Some(kind)),
            Self::Target => {
                let mut sustained = spec.workloads.iter().filter_map(|one| one.sustain.as_ref());
                sustained.any(|sustain| sustain.target.is_some())
            }
        }
    }
}

impl fmt::Display for Need {
    /// What is missing, and how to mend it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TwoBackends => f.write_str("it compares two backends; add a second one"),
            Self::Workload(kind) => write!(
                f,
                "it needs a workload of the kind {}; add one or choose another rule",
                kind.traits().name
            ),
            Self::Target => f.write_str(
                "it holds what one primary sustains against what it is to carry; state sustain.target, with runsPerMonth or ratePerSecond",
            ),
        }
    }
}

/// What there is to know of a rule; each stands in the file of its name.
pub(super) struct Rule {
    /// What it needs of a spec, the first that is missing being told.
    pub needs: &'static [Need],
    /// Whether it judges one backend by latencies, which count for nothing where its answers are wrong.
    pub withheld_if_wrong: bool,
    /// Whether it judges one backend by what it lists, which counts for nothing where a listing is not what S3 lists.
    pub rests_on_listing: bool,
    /// Whether it judges one backend, which is named where it restarted by itself.
    pub judges_one: bool,
    /// Whether it reads bloat, which whatever holds back the removal of dead rows causes as well.
    pub reads_bloat: bool,
    /// The rule itself.
    pub answer: fn(&Asked<'_>) -> Answer,
}

/// What a rule is asked.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub decision: &'a Decision,
    /// The spec that was measured with.
    pub spec: &'a ExperimentSpec,
    pub measured: &'a Measured,
}

impl Asked<'_> {
    /// The ratio that counts as clearly better.
    pub fn margin(&self) -> f64 {
        1.0 + f64::from(self.decision.margin_percent) / 100.0
    }

    /// The time that is tolerable, milliseconds.
    pub fn bound(&self) -> f64 {
        f64::from(self.decision.bound_milliseconds)
    }

    /// The one backend that a rule about a single backend judges: the incumbent, or the first.
    pub fn subject(&self) -> String {
        let first = || Some(self.measured.backends.first()?.name.clone());
        let named = self.decision.incumbent.clone();
        named.or_else(first).unwrap_or_default()
    }
}

/// What a rule answers.
pub(super) struct Answer {
    pub question: String,
    /// What it demands for `Go`, stated before the figures.
    pub criterion: String,
    pub ruling: Ruling,
    /// What it read.
    pub inputs: Vec<DecisionInput>,
}

/// An outcome, why, and what it changes in the design.
pub(super) struct Ruling {
    pub outcome: DecisionOutcome,
    pub reason: String,
    pub consequence: String,
    /// How many blocks more would settle it.
    pub more_blocks: Option<i32>,
}

impl Ruling {
    fn of(outcome: DecisionOutcome, reason: String, consequence: impl Into<String>) -> Self {
        Self {
            outcome,
            reason,
            consequence: consequence.into(),
            more_blocks: None,
        }
    }

    /// The data carry the change.
    pub fn go(reason: String, consequence: impl Into<String>) -> Self {
        Self::of(DecisionOutcome::Go, reason, consequence)
    }

    /// They speak against it.
    pub fn no_go(reason: String, consequence: impl Into<String>) -> Self {
        Self::of(DecisionOutcome::NoGo, reason, consequence)
    }

    /// They carry no decision; so many blocks more would settle it, where that can be said.
    pub fn open(reason: String, consequence: impl Into<String>, more_blocks: Option<i32>) -> Self {
        Self {
            more_blocks,
            ..Self::of(DecisionOutcome::Inconclusive, reason, consequence)
        }
    }
}

/// What an input lacks to be settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lacks {
    /// Nothing: it is settled, or decides nothing.
    Nothing,
    /// About so many blocks.
    Blocks(i32),
    /// Something else: no number of blocks would settle it.
    OtherThanBlocks,
}

impl Lacks {
    /// What a standing lacks that the figures alone would have left at `alone`. Where one is open only because a figure
    /// is but a bound, blocks are no answer, nor where what they would show (`toward`) were open for that; else `blocks` says how
    /// many are.
    pub fn of(
        (standing, alone): (Standing, Standing),
        toward: Standing,
        blocks: impl FnOnce() -> Option<i32>,
    ) -> Self {
        match (standing, alone) {
            (Standing::Open, Standing::Open) if toward != Standing::Open => {
                blocks().map_or(Self::OtherThanBlocks, Self::Blocks)
            }
            (Standing::Open, _) => Self::OtherThanBlocks,
            _ => Self::Nothing,
        }
    }

    /// The blocks that would settle all; `None` where one lacks something else, or none lacks anything.
    pub fn blocks_for_all(all: impl Iterator<Item = Self>) -> Option<i32> {
        let mut most = None;
        for lacks in all {
            match lacks {
                Self::Nothing => {}
                Self::Blocks(more) => most = most.max(Some(more)),
                Self::OtherThanBlocks => return None,
            }
        }
        most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_need_says_what_is_missing_and_how_to_mend_it() {
        let spec = serde_json::json!({"backends": [], "workloads": [{"name": "a", "headRow": {"ratePerSecond": 1}}]});
        let spec: ExperimentSpec = serde_json::from_value(spec).unwrap();
        let (has, lacks) = (WorkloadKind::HeadRow, WorkloadKind::ColdRead);
        assert!(Need::Workload(has).is_met(&spec));
        for (need, words) in [
            (
                Need::TwoBackends,
                "it compares two backends; add a second one",
            ),
            (
                Need::Workload(lacks),
                "it needs a workload of the kind coldRead; add one or choose another rule",
            ),
            (
                Need::Target,
                "it holds what one primary sustains against what it is to carry; state sustain.target, with runsPerMonth or ratePerSecond",
            ),
        ] {
            assert!(!need.is_met(&spec));
            assert_eq!(need.to_string(), words);
        }
    }

    #[test]
    fn all_are_settled_by_the_most_blocks_unless_one_lacks_something_else() {
        let of = |all: &[Lacks]| Lacks::blocks_for_all(all.iter().copied());
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[Lacks::Nothing]), None);
        let some = [Lacks::Blocks(2), Lacks::Nothing, Lacks::Blocks(1)];
        assert_eq!(of(&some), Some(2));
        assert_eq!(of(&[Lacks::Blocks(2), Lacks::OtherThanBlocks]), None);
    }
}
