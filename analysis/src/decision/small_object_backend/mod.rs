//! Experiment C: does the challenger become the recommended self-hosted backend for small objects?
//!
//! The plan: "SeaweedFS clearly wins for small objects -> it becomes the recommended self-host
//! default over MinIO". Read here as: PUT throughput better by more than the margin (in an open
//! load, where the rate is given: PUT p99 lower by more than the margin); PUT p99 and the LIST
//! latency of the longest runs not worse by more than the margin; not one correctness violation on
//! the challenger. External endpoints are a baseline for behaviour and never a party.

mod inputs;

use bakeoff_crds::spec::{BackendKind, Decision, DecisionRule};
use bakeoff_crds::status::DecisionOutcome;

use super::{DecisionInput, DecisionRecord, Role, Standing, Unit, blocks_text, ratio_text};
use crate::format::confidence;
use crate::measured::Measured;
use crate::measured::{BackendSummary, Censored};
use inputs::{Judged, Question, inputs};

pub(super) fn decide(decision: &Decision, measured: &Measured) -> DecisionRecord {
    let margin = 1.0 + f64::from(decision.margin_percent) / 100.0;
    let incumbent = party(
        decision.incumbent.as_deref(),
        BackendKind::Minio,
        measured,
        None,
    );
    let challenger = party(
        decision.challenger.as_deref(),
        BackendKind::Seaweedfs,
        measured,
        incumbent.map(|b| b.name.as_str()),
    );
    let (Some(incumbent), Some(challenger)) = (incumbent, challenger) else {
        return record(
            measured,
            "the challenger",
            "the incumbent",
            margin,
            Vec::new(),
            Ruling {
                outcome: DecisionOutcome::Inconclusive,
                reason: "The rule compares two backends, but the experiment does not have two."
                    .to_owned(),
                more: None,
            },
        );
    };
    let (new, old) = (challenger.name.as_str(), incumbent.name.as_str());
    let external: Vec<&str> = [challenger, incumbent]
        .into_iter()
        .filter(|b| !b.provisioned)
        .map(|b| b.name.as_str())
        .collect();
    if !external.is_empty() {
        return record(
            measured,
            new,
            old,
            margin,
            Vec::new(),
            Ruling {
                outcome: DecisionOutcome::Inconclusive,
                reason: format!(
                    "{} is external: it does not run on the equipment of the others, so it is a baseline for behaviour and not a party to this decision.",
                    external.join(" and ")
                ),
                more: None,
            },
        );
    }

    let judged = inputs(
        measured,
        &Question {
            new,
            old,
            margin,
            level: measured.level,
        },
    );
    let ruling = rule(&judged, new, old, margin, measured.level);
    record(
        measured,
        new,
        old,
        margin,
        judged.into_iter().map(|judged| judged.input).collect(),
        ruling,
    )
}

/// The named backend, or the first provisioned one of its usual kind, or the first that is left.
fn party<'a>(
    named: Option<&str>,
    usual: BackendKind,
    measured: &'a Measured,
    taken: Option<&str>,
) -> Option<&'a BackendSummary> {
    if let Some(name) = named {
        return measured.backend(name);
    }
    let free = || {
        measured
            .backends
            .iter()
            .filter(|b| b.provisioned && Some(b.name.as_str()) != taken)
    };
    free().find(|b| b.kind == usual).or_else(|| free().next())
}

struct Ruling {
    outcome: DecisionOutcome,
    reason: String,
    more: Option<i32>,
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

fn rule(judged: &[Judged], new: &str, old: &str, margin: f64, level: f64) -> Ruling {
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
    let no_go = |reason: String| Ruling {
        outcome: DecisionOutcome::NoGo,
        reason,
        more: None,
    };
    if let Some(wrong) = failed(Role::Correctness) {
        return no_go(format!(
            "{new} fails correctness ({}), so no speed can recommend it.",
            say(&wrong.input)
        ));
    }
    if let Some(slow) = failed(Role::Primary) {
        return no_go(format!(
            "{new} is not clearly better than {old}: {}, and {} was demanded.",
            say(&slow.input),
            slow.input.demand
        ));
    }
    if let Some(worse) = failed(Role::Guard) {
        return no_go(format!(
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
        return Ruling {
            outcome: DecisionOutcome::Go,
            reason: format!(
                "{new} clearly wins over {old} for small objects: {}; no correctness violation.",
                figures.join("; ")
            ),
            more: None,
        };
    };
    let unmeasured: Vec<&str> = open
        .iter()
        .filter(|j| j.input.value.is_none())
        .map(|j| j.input.name.as_str())
        .collect();
    if !unmeasured.is_empty() {
        return Ruling {
            outcome: DecisionOutcome::Inconclusive,
            reason: format!(
                "Not measured in any complete block: {}. What is missing is not satisfied.",
                unmeasured.join(", ")
            ),
            more: None,
        };
    }
    if let Some(unsettled) = open.iter().find(|j| j.input.role == Role::Correctness) {
        return Ruling {
            outcome: DecisionOutcome::Inconclusive,
            reason: format!(
                "{}. Its loss may explain them or they may explain its loss: {new} cannot be recommended before that is known.",
                say(&unsettled.input)
            ),
            more: None,
        };
    }
    let answers: Vec<Option<i32>> = open.iter().filter_map(|judged| judged.more).collect();
    let more = answers
        .iter()
        .copied()
        .collect::<Option<Vec<i32>>>()
        .and_then(|all| all.into_iter().max());
    Ruling {
        outcome: DecisionOutcome::Inconclusive,
        reason: format!(
            "{}, where {} was demanded: the data show neither this nor its opposite. {}",
            say(&first.input),
            first.input.demand,
            blocks_text(
                more,
                open.iter().any(|judged| judged.input.censored.is_some())
            )
        ),
        more,
    }
}

fn record(
    measured: &Measured,
    new: &str,
    old: &str,
    margin: f64,
    inputs: Vec<DecisionInput>,
    ruling: Ruling,
) -> DecisionRecord {
    let consequence = match ruling.outcome {
        DecisionOutcome::Go => format!(
            "{new} becomes the recommended self-hosted default for small objects, in place of {old}."
        ),
        DecisionOutcome::NoGo => format!(
            "{old} stays the recommended self-hosted default; nothing changes in the design."
        ),
        DecisionOutcome::Inconclusive => {
            format!("Nothing changes yet: {old} stays until the question is settled.")
        }
    };
    DecisionRecord {
        rule: DecisionRule::SmallObjectBackend,
        result_class: measured.result_class,
        question: format!(
            "Should {new} replace {old} as the recommended self-hosted backend for small objects?"
        ),
        criterion: format!(
            "Go if {new} is shown to be better by {margin:.2}x or more at putting small objects, not worse by more than {margin:.2}x in PUT p99 and in LIST latency of the longest runs, and without a correctness violation. NoGo if one of these is shown to fail."
        ),
        margin,
        outcome: ruling.outcome,
        reason: ruling.reason,
        consequence,
        inputs,
        more_blocks: ruling.more,
    }
}
