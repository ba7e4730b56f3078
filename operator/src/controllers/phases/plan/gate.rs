//! Whether a phase is run.

use super::draft::Draft;
use bakeoff_crds::experiment_plan::{
    DecisionAction, Phase, PhaseOutcome, PlanDecision, Undecided, When,
};

/// Whether a phase is run, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    Run(Option<String>),
    Skip(String),
    Wait(String),
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    Yes,
    No,
    Undecided,
}

impl Draft<'_> {
    /// The last decision of a person about a phase that is one of these.
    pub(super) fn decided(&self, phase: &str, among: [DecisionAction; 2]) -> Option<&PlanDecision> {
        let mut decisions = self.spec.decisions.iter().rev();
        decisions.find(|one| one.phase == phase && among.contains(&one.action))
    }

    pub(super) fn gate(&self, phase: &Phase) -> Gate {
        let among = [DecisionAction::Run, DecisionAction::Skip];
        if let Some(decision) = self.decided(&phase.name, among) {
            let text = format!("decided by {}: {}", decision.by, decision.reason);
            return match decision.action {
                DecisionAction::Skip => Gate::Skip(text),
                _ => Gate::Run(Some(text)),
            };
        }
        let mut undecided = None;
        for when in &phase.when {
            let found = self.outcome_of(when);
            let text = condition(when, found);
            match holds(when, found) {
                Holds::Yes => {}
                Holds::No => return Gate::Skip(text),
                Holds::Undecided => undecided = undecided.or(Some(text)),
            }
        }
        match (undecided, phase.undecided) {
            (None, _) => Gate::Run(None),
            (Some(text), Undecided::Run) => Gate::Run(Some(text)),
            (Some(text), Undecided::Skip) => Gate::Skip(text),
            (Some(text), Undecided::Wait) => Gate::Wait(text),
        }
    }

    fn outcome_of(&self, when: &When) -> Option<PhaseOutcome> {
        let phase = self.of(&when.phase)?;
        let Some(experiment) = &when.experiment else {
            return phase.outcome;
        };
        if phase.outcome == Some(PhaseOutcome::Skipped) {
            return phase.outcome;
        }
        let step = phase
            .experiments
            .iter()
            .find(|step| step.name == *experiment)?;
        step.outcome
    }
}

fn holds(when: &When, found: Option<PhaseOutcome>) -> Holds {
    match found {
        Some(found) if when.outcome.contains(&found) => Holds::Yes,
        Some(PhaseOutcome::Inconclusive | PhaseOutcome::Failed) | None => Holds::Undecided,
        Some(_) => Holds::No,
    }
}

/// In words: `phase0/a0 is Go, and not NoGo`.
fn condition(when: &When, found: Option<PhaseOutcome>) -> String {
    let of = match &when.experiment {
        Some(experiment) => format!("{}/{experiment}", when.phase),
        None => when.phase.clone(),
    };
    let wanted: Vec<&str> = when
        .outcome
        .iter()
        .map(|outcome| outcome.as_str())
        .collect();
    let wanted = wanted.join(" or ");
    match found {
        Some(found) if when.outcome.contains(&found) => format!("{of} is {wanted}"),
        Some(found) => format!("{of} is {}, and not {wanted}", found.as_str()),
        None => format!("{of} has no outcome"),
    }
}
