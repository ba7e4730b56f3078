//! Experiment C: does a challenger become the recommended self-hosted backend for small objects?
//!
//! The plan: "SeaweedFS clearly wins for small objects -> it becomes the recommended self-host
//! default over MinIO". Read here as: PUT throughput better by more than the margin (in an open
//! load, where the rate is given: PUT p99 lower by more than the margin); PUT p99 and the LIST
//! latency of the longest runs not worse by more than the margin; not one correctness violation on
//! the challenger, and no restart of its own in any attempt. External endpoints are a baseline for behaviour and never a party.
//!
//! A figure of writes says nothing in favour of a backend that promises less when it acknowledges them: [`Footing`].
//!
//! Several challengers are judged each by itself, at the level divided by their number (Bonferroni), so that the chance to
//! replace the incumbent by one that is no better is that of a single comparison, whatever their number. Of several that win
//! one comes first only where it is shown to be better than each of the others.

mod duel;
mod inputs;

use bakeoff_crds::spec::{BackendKind, WorkloadKind};

use super::conformance;
use super::footing::Footing;
use super::restarts;
use super::rule::{Answer, Asked, Need, Rule, Ruling};
use super::{DecisionInput, Role, Standing};
use crate::format;
use crate::measured::{BackendSummary, Measured};
use bakeoff_crds::status::DecisionOutcome;
use duel::{Duel, Parties, duel};
use inputs::{Question, head_to_head};

pub(super) const RULE: Rule = Rule {
    needs: &[
        Need::TwoBackends,
        Need::Workload(WorkloadKind::SmallObjectPut),
    ],
    withheld_if_wrong: false,
    rests_on_listing: false,
    judges_one: false,
    reads_bloat: false,
    answer,
};

fn answer(asked: &Asked<'_>) -> Answer {
    let Asked {
        decision, measured, ..
    } = *asked;
    let incumbent = party(decision.incumbent.as_deref(), BackendKind::Minio, measured);
    let challengers = incumbent.map_or_else(Vec::new, |incumbent| {
        challengers(decision.challenger.as_deref(), measured, incumbent)
    });
    let (Some(incumbent), false) = (incumbent, challengers.is_empty()) else {
        let parties = Parties {
            new: "the challenger",
            old: "the incumbent",
        };
        let reason = "The rule compares two backends, but the experiment does not have two.";
        return Answer {
            question: question(parties.new, parties.old),
            criterion: criterion(parties.new, asked.margin(), false),
            ruling: parties.open(reason.to_owned(), None),
            inputs: Vec::new(),
        };
    };
    let level = measured.level / challengers.len() as f64;
    let mut duels: Vec<Duel<'_>> = challengers
        .iter()
        .map(|challenger| duel(asked, (challenger, incumbent), level))
        .collect();
    let names: Vec<&str> = challengers.iter().map(|b| b.name.as_str()).collect();
    let unequal = !decision.accept_weaker_durability
        && challengers
            .iter()
            .any(|challenger| Footing::of(challenger, incumbent) != Footing::Equal);
    let mut criterion = criterion(&format::alternatives(&names), asked.margin(), unequal);
    let several = duels.len() > 1;
    if several {
        criterion.push_str(&format!(
            " Each challenger is judged by itself with p at most {} ({} challengers); of several that win one comes first only if it is shown to be better than each of the others.",
            format::p_value(level),
            duels.len()
        ));
    }
    let question = question(&format::alternatives(&names), &incumbent.name);
    let mut inputs: Vec<DecisionInput> = Vec::new();
    for duel in &mut duels {
        let own = std::mem::take(&mut duel.inputs).into_iter();
        // Of several only what decides: a page has to hold all of them.
        inputs.extend(own.filter(|input| !several || input.role != Role::Context));
    }
    let mut ruling = if several {
        let field = Field {
            old: &incumbent.name,
            duels,
        };
        field.ruling(asked, &mut inputs)
    } else {
        duels.remove(0).ruling
    };
    // Then it is the incumbent that stays recommended.
    if ruling.outcome == DecisionOutcome::NoGo {
        conformance::name(&mut ruling.reason, measured, &incumbent.name);
    }
    // What it was compared with are its better moments: whoever reads the verdict has to know.
    restarts::name(&mut ruling.reason, measured, &incumbent.name);
    Answer {
        question,
        criterion,
        ruling,
        inputs,
    }
}

fn question(new: &str, old: &str) -> String {
    format!("Should {new} replace {old} as the recommended self-hosted backend for small objects?")
}

fn criterion(new: &str, margin: f64, unequal: bool) -> String {
    let mut criterion = format!(
        "Go if {new} is shown to be better by {margin:.2}x or more at putting small objects, not worse by more than {margin:.2}x in PUT p99 and in LIST latency of the longest runs, and without a correctness violation. NoGo if one of these is shown to fail. One that restarted by itself is not recommended."
    );
    if unequal {
        criterion.push_str(
            " What is put says nothing for a backend that promises less when it acknowledges.",
        );
    }
    criterion
}

/// The named backend, or the first provisioned one of its usual kind, or the first provisioned one.
fn party<'a>(
    named: Option<&str>,
    usual: BackendKind,
    measured: &'a Measured,
) -> Option<&'a BackendSummary> {
    if let Some(name) = named {
        return measured.backend(name);
    }
    let provisioned = || measured.backends.iter().filter(|b| b.provisioned);
    let usual = provisioned().find(|b| b.kind == usual);
    usual.or_else(|| provisioned().next())
}

/// The named challenger, or all that were provisioned beside the incumbent.
fn challengers<'a>(
    named: Option<&str>,
    measured: &'a Measured,
    incumbent: &BackendSummary,
) -> Vec<&'a BackendSummary> {
    let all = measured.backends.iter();
    all.filter(|b| match named {
        Some(name) => b.name == name,
        None => b.provisioned && b.name != incumbent.name,
    })
    .collect()
}

/// Several challengers and what came of each.
struct Field<'a> {
    old: &'a str,
    duels: Vec<Duel<'a>>,
}

impl Field<'_> {
    /// One ruling of all; what tells the winners from each other is added to the inputs.
    fn ruling(&self, asked: &Asked<'_>, inputs: &mut Vec<DecisionInput>) -> Ruling {
        let of = |outcome: DecisionOutcome| {
            let duels = self.duels.iter();
            duels.filter(move |duel| duel.ruling.outcome == outcome)
        };
        let said = |duels: &mut dyn Iterator<Item = &Duel<'_>>| -> String {
            let said: Vec<String> = duels.map(Duel::said_among_others).collect();
            said.join(" ")
        };
        let winners: Vec<&BackendSummary> = of(DecisionOutcome::Go).map(|duel| duel.new).collect();
        let old = self.old;
        if winners.is_empty() {
            let reason =
                said(&mut of(DecisionOutcome::Inconclusive).chain(of(DecisionOutcome::NoGo)));
            let open: Vec<&Duel<'_>> = of(DecisionOutcome::Inconclusive).collect();
            if open.is_empty() {
                return Ruling::no_go(
                    format!("No challenger carries it. {reason}"),
                    format!(
                        "{old} stays the recommended self-hosted default; nothing changes in the design."
                    ),
                );
            }
            let more: Option<Vec<i32>> = open.iter().map(|duel| duel.ruling.more_blocks).collect();
            return Ruling::open(
                reason,
                format!("Nothing changes yet: {old} stays until the question is settled."),
                more.and_then(|more| more.into_iter().max()),
            );
        }
        let best = best(&winners, asked, inputs);
        let rest = said(&mut of(DecisionOutcome::Inconclusive).chain(of(DecisionOutcome::NoGo)));
        let carried = said(&mut of(DecisionOutcome::Go));
        let reason = format!("{carried} {rest}").trim_end().to_owned();
        let names: Vec<&str> = winners.iter().map(|b| b.name.as_str()).collect();
        let consequence = match best {
            Some(best) => format!(
                "{} becomes the recommended self-hosted default for small objects, in place of {old}.",
                best.name
            ),
            None => format!(
                "{} takes the place of {old} as the recommended self-hosted default for small objects: none of them is shown to be better than the others, so what they cost to run decides.",
                format::alternatives(&names)
            ),
        };
        Ruling::go(reason, consequence)
    }
}

/// The winner that is shown to put small objects better than each other winner; `None` where none is.
fn best<'a>(
    winners: &[&'a BackendSummary],
    asked: &Asked<'_>,
    inputs: &mut Vec<DecisionInput>,
) -> Option<&'a BackendSummary> {
    if let [only] = winners {
        return Some(only);
    }
    let pairs = winners.len() * (winners.len() - 1) / 2;
    let level = asked.measured.level / pairs as f64;
    let mut beaten = vec![0; winners.len()];
    for (at, new) in winners.iter().enumerate() {
        for (other_at, old) in winners.iter().enumerate().skip(at + 1) {
            let question = Question {
                new: &new.name,
                old: &old.name,
                margin: 1.0,
                level,
                footing: Footing::in_question(asked, new, old),
            };
            let input = head_to_head(asked.measured, &question);
            match input.standing {
                Standing::Met => beaten[at] += 1,
                Standing::NotMet => beaten[other_at] += 1,
                Standing::Open => {}
            }
            inputs.push(input);
        }
    }
    let first = beaten
        .iter()
        .position(|count| *count == winners.len() - 1)?;
    winners.get(first).copied()
}

#[cfg(test)]
mod tests;
