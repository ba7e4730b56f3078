//! One challenger against the incumbent.

use super::super::conformance;
use super::super::footing::{self, Footing};
use super::super::restarts;
use super::super::rule::{Asked, Lacks, Ruling};
use super::super::{DecisionInput, Role, Standing, Unit, blocks_text, ratio_text};
use super::inputs::{Judged, Question, inputs};
use crate::format::confidence;
use crate::measured::{BackendSummary, Censored};
use bakeoff_crds::status::DecisionOutcome;

/// What came of one challenger.
pub(super) struct Duel<'a> {
    /// The challenger.
    pub(super) new: &'a BackendSummary,
    pub(super) ruling: Ruling,
    /// Who promises less, where it is open for that.
    pub(super) unequal: Option<Footing>,
    pub(super) inputs: Vec<DecisionInput>,
}

impl Duel<'_> {
    /// The reason, where those of others stand beside it: it names the challenger, and of unequal promises no more than that.
    pub(super) fn said_among_others(&self) -> String {
        let (name, reason) = (&self.new.name, &self.ruling.reason);
        match self.unequal {
            Some(Footing::SubjectWeaker) => {
                return format!(
                    "{name} promises less when it acknowledges a write, so what it puts settles nothing for it."
                );
            }
            Some(Footing::BaseWeaker) => {
                return format!(
                    "{name} promises more when it acknowledges a write, so what it puts settles nothing against it."
                );
            }
            Some(Footing::Equal) | None => {}
        }
        if reason.starts_with(name.as_str()) {
            reason.clone()
        } else {
            format!("{name}: {reason}")
        }
    }
}

/// Judges one challenger at this level.
pub(super) fn duel<'a>(
    asked: &Asked<'_>,
    (new, old): (&'a BackendSummary, &'a BackendSummary),
    level: f64,
) -> Duel<'a> {
    let parties = Parties {
        new: &new.name,
        old: &old.name,
    };
    if let Some(reason) = external(new, old) {
        return Duel {
            new,
            ruling: parties.open(reason, None),
            unequal: None,
            inputs: Vec::new(),
        };
    }
    let accepted = asked.decision.accept_weaker_durability;
    let question = Question {
        new: &new.name,
        old: &old.name,
        margin: asked.margin(),
        level,
        footing: Footing::in_question(asked, new, old),
    };
    let judged = inputs(asked.measured, &question);
    let unequal = footing::sentence(new, old);
    let lost = restarts::sentence(asked.measured, &new.name);
    let mut ruling = rule(
        &judged,
        parties,
        &question,
        (unequal.as_deref(), lost.is_some()),
    );
    if accepted && let Some(unequal) = unequal {
        ruling.reason = format!("{unequal}, which the experiment accepts. {}", ruling.reason);
    }
    if ruling.outcome == DecisionOutcome::Go {
        conformance::name(&mut ruling.reason, asked.measured, &new.name);
    }
    let mut inputs: Vec<DecisionInput> = judged.into_iter().map(|judged| judged.input).collect();
    inputs.extend(restarts::input(asked.measured, &new.name));
    if let Some(lost) = lost {
        return Duel {
            new,
            ruling: restarts::withhold(ruling, &lost, parties.stays()),
            unequal: None,
            inputs,
        };
    }
    let settles_nothing = ruling.outcome == DecisionOutcome::Inconclusive
        && inputs.iter().any(|input| input.unequal_promises);
    Duel {
        new,
        unequal: settles_nothing.then_some(question.footing),
        ruling,
        inputs,
    }
}

/// Why two backends are no parties, if one of them is external.
fn external(new: &BackendSummary, old: &BackendSummary) -> Option<String> {
    let external: Vec<&str> = [new, old]
        .into_iter()
        .filter(|b| !b.provisioned)
        .map(|b| b.name.as_str())
        .collect();
    (!external.is_empty()).then(|| format!(
        "{} is external: it does not run on the equipment of the others, so it is a baseline for behaviour and not a party to this decision.",
        external.join(" and ")
    ))
}

/// Who may replace whom, and what each outcome means for them.
#[derive(Clone, Copy)]
pub(super) struct Parties<'a> {
    pub(super) new: &'a str,
    pub(super) old: &'a str,
}

impl Parties<'_> {
    fn go(self, reason: String) -> Ruling {
        let Self { new, old } = self;
        Ruling::go(
            reason,
            format!(
                "{new} becomes the recommended self-hosted default for small objects, in place of {old}."
            ),
        )
    }

    fn no_go(self, reason: String) -> Ruling {
        Ruling::no_go(
            reason,
            format!(
                "{} stays the recommended self-hosted default; nothing changes in the design.",
                self.old
            ),
        )
    }

    /// What it changes that nothing is settled.
    fn stays(self) -> String {
        format!(
            "Nothing changes yet: {} stays until the question is settled.",
            self.old
        )
    }

    pub(super) fn open(self, reason: String, more: Option<i32>) -> Ruling {
        Ruling::open(reason, self.stays(), more)
    }
}

fn say(input: &DecisionInput, confidence: &str) -> String {
    match input.value {
        Some(value) if input.unit == Unit::Ratio => {
            let bound = match (input.censored, input.role) {
                (None, _) => "",
                (Some(_), Role::Primary) => "no more than a bound, ",
                (Some(Censored::Subject), _) => "at least ",
                (Some(Censored::Base), _) => "at most ",
                (Some(Censored::Both), _) => "unknown, of completed operations ",
            };
            format!(
                "{} {bound}{}",
                input.name,
                ratio_text(value, input.low, input.high, confidence)
            )
        }
        Some(_) => format!("{}: {}", input.name, input.scope),
        None => format!("{} was not measured", input.name),
    }
}

fn rule(
    judged: &[Judged],
    parties: Parties<'_>,
    question: &Question<'_>,
    (unequal, lost): (Option<&str>, bool),
) -> Ruling {
    let Parties { new, old } = parties;
    let Question { margin, level, .. } = *question;
    let say = |input: &DecisionInput| say(input, &confidence(level));
    let deciding = || {
        judged
            .iter()
            .filter(|judged| judged.input.role != Role::Context)
    };
    let failed = |role: Role| {
        deciding()
            .find(|judged| judged.input.role == role && judged.input.standing == Standing::NotMet)
    };
    if let Some(wrong) = failed(Role::Correctness) {
        return parties.no_go(format!(
            "{new} fails correctness ({}), so no speed can recommend it.",
            say(&wrong.input)
        ));
    }
    if let Some(slow) = failed(Role::Primary) {
        return parties.no_go(format!(
            "{new} is not clearly better than {old}: {}, and {} was demanded.",
            say(&slow.input),
            slow.input.demand
        ));
    }
    if let Some(worse) = failed(Role::Guard) {
        return parties.no_go(format!(
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
        return parties.go(format!(
            "{new} clearly wins over {old} for small objects: {}; no correctness violation.",
            figures.join("; ")
        ));
    };
    let unmeasured: Vec<&str> = open
        .iter()
        .filter(|j| j.input.value.is_none())
        .map(|j| j.input.name.as_str())
        .collect();
    if !unmeasured.is_empty() {
        let reason = format!(
            "Not measured in any complete block: {}. What is missing is not satisfied.",
            unmeasured.join(", ")
        );
        return parties.open(reason, None);
    }
    if let Some(unsettled) = open.iter().find(|j| j.input.role == Role::Correctness) {
        let reason = format!(
            "{}. Its loss may explain them or they may explain its loss: {new} cannot be recommended before that is known.",
            say(&unsettled.input)
        );
        return parties.open(reason, None);
    }
    if let (Some(first), Some(unequal)) = (open.iter().find(|j| j.input.unequal_promises), unequal)
    {
        let reason = format!(
            "{unequal}, so {} settles nothing: on writes nothing speaks for the one that promises less. Compare them at the same class (durability of each backend), or accept it with decision.acceptWeakerDurability.",
            say(&first.input)
        );
        return parties.open(reason, None);
    }
    let mut reason = format!(
        "{}, where {} was demanded: the data show neither this nor its opposite.",
        say(&first.input),
        first.input.demand,
    );
    // One that was lost no block recommends.
    if lost {
        return parties.open(reason, None);
    }
    let more = Lacks::blocks_for_all(open.iter().map(|judged| judged.lacks));
    let censored = open.iter().any(|judged| judged.input.censored.is_some());
    reason.push_str(&format!(" {}", blocks_text(more, censored)));
    parties.open(reason, more)
}
