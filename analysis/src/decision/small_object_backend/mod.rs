//! Experiment C: does the challenger become the recommended self-hosted backend for small objects?
//!
//! The plan: "SeaweedFS clearly wins for small objects -> it becomes the recommended self-host
//! default over MinIO". Read here as: PUT throughput better by more than the margin (in an open
//! load, where the rate is given: PUT p99 lower by more than the margin); PUT p99 and the LIST
//! latency of the longest runs not worse by more than the margin; not one correctness violation on
//! the challenger. External endpoints are a baseline for behaviour and never a party.

mod inputs;

use bakeoff_crds::spec::{BackendKind, WorkloadKind};

use super::rule::{Answer, Asked, Lacks, Need, Rule, Ruling};
use super::{DecisionInput, Role, Standing, Unit, blocks_text, ratio_text};
use crate::format::confidence;
use crate::measured::Measured;
use crate::measured::{BackendSummary, Censored};
use inputs::{Judged, Question, inputs};

pub(super) const RULE: Rule = Rule {
    needs: &[
        Need::TwoBackends,
        Need::Workload(WorkloadKind::SmallObjectPut),
    ],
    withheld_if_wrong: false,
    reads_bloat: false,
    answer,
};

fn answer(asked: &Asked<'_>) -> Answer {
    let Asked {
        decision, measured, ..
    } = *asked;
    let margin = asked.margin();
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
        let parties = Parties {
            new: "the challenger",
            old: "the incumbent",
        };
        let reason = "The rule compares two backends, but the experiment does not have two.";
        let ruling = parties.open(reason.to_owned(), None);
        return parties.answer(margin, ruling, Vec::new());
    };
    let (new, old) = (challenger.name.as_str(), incumbent.name.as_str());
    let parties = Parties { new, old };
    let external: Vec<&str> = [challenger, incumbent]
        .into_iter()
        .filter(|b| !b.provisioned)
        .map(|b| b.name.as_str())
        .collect();
    if !external.is_empty() {
        let reason = format!(
            "{} is external: it does not run on the equipment of the others, so it is a baseline for behaviour and not a party to this decision.",
            external.join(" and ")
        );
        return parties.answer(margin, parties.open(reason, None), Vec::new());
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
    let ruling = rule(&judged, parties, margin, measured.level);
    let inputs = judged.into_iter().map(|judged| judged.input).collect();
    parties.answer(margin, ruling, inputs)
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

/// Who may replace whom, and what each outcome means for them.
#[derive(Clone, Copy)]
struct Parties<'a> {
    new: &'a str,
    old: &'a str,
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

    fn open(self, reason: String, more: Option<i32>) -> Ruling {
        Ruling::open(
            reason,
            format!(
                "Nothing changes yet: {} stays until the question is settled.",
                self.old
            ),
            more,
        )
    }

    fn answer(self, margin: f64, ruling: Ruling, inputs: Vec<DecisionInput>) -> Answer {
        let Self { new, old } = self;
        Answer {
            question: format!(
                "Should {new} replace {old} as the recommended self-hosted backend for small objects?"
            ),
            criterion: format!(
                "Go if {new} is shown to be better by {margin:.2}x or more at putting small objects, not worse by more than {margin:.2}x in PUT p99 and in LIST latency of the longest runs, and without a correctness violation. NoGo if one of these is shown to fail."
            ),
            ruling,
            inputs,
        }
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

fn rule(judged: &[Judged], parties: Parties<'_>, margin: f64, level: f64) -> Ruling {
    let Parties { new, old } = parties;
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
    let more = Lacks::blocks_for_all(open.iter().map(|judged| judged.lacks));
    let reason = format!(
        "{}, where {} was demanded: the data show neither this nor its opposite. {}",
        say(&first.input),
        first.input.demand,
        blocks_text(
            more,
            open.iter().any(|judged| judged.input.censored.is_some())
        )
    );
    parties.open(reason, more)
}
