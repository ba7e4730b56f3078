//! What a decision makes of a backend that restarted by itself or went away. (Pure.)
//!
//! The attempt is void and repeated, because its latencies are those of a server that was not there. That the server was lost is
//! a result all the same: what was measured are the attempts that it survived, and to judge by them alone would choose its best
//! moments (survivorship). A server that `serverLoss` kills restarts on purpose, and its attempts are not void for it.

use std::collections::BTreeSet;

use bakeoff_crds::result::InvalidCode;
use bakeoff_crds::status::DecisionOutcome;

use super::rule::Ruling;
use super::{DecisionInput, Role, Unit, missing};
use crate::measured::{ExcludedTrial, Measured};

/// The attempts in which a backend was lost.
fn lost<'a>(measured: &'a Measured, backend: &str) -> Vec<&'a ExcludedTrial> {
    let is_loss = |code: &String| {
        InvalidCode::named(code).is_some_and(|code| InvalidCode::BACKEND_LOST.contains(&code))
    };
    let excluded = measured.excluded.iter();
    excluded
        .filter(|attempt| attempt.backend == backend && attempt.codes.iter().any(is_loss))
        .collect()
}

/// That a backend was lost, if it was: it need not be tested, for one loss is one too many to be called the better one. How it would have
/// done without is not known, so nothing is shown against it either.
pub(super) fn input(measured: &Measured, backend: &str) -> Option<DecisionInput> {
    let lost = lost(measured, backend).len();
    if lost == 0 {
        return None;
    }
    let mut input = missing(
        &format!("Restarts of {backend} by itself"),
        "attempts in which it restarted or went away".to_owned(),
        Role::Guard,
        Unit::Count,
        "none".to_owned(),
    );
    input.value = Some(lost as f64);
    Some(input)
}

/// "a restarted by itself or went away in 3 attempts at 2 trials …", without a full stop; none of one that was there throughout.
pub(super) fn sentence(measured: &Measured, backend: &str) -> Option<String> {
    let lost = lost(measured, backend);
    if lost.is_empty() {
        return None;
    }
    let trials: BTreeSet<&str> = lost.iter().map(|attempt| attempt.trial.as_str()).collect();
    let several = |count: usize, one: &str| match count {
        1 => format!("1 {one}"),
        more => format!("{more} {one}s"),
    };
    Some(format!(
        "{backend} restarted by itself or went away in {} at {}, which are void: what was measured of it are its better moments",
        several(lost.len(), "attempt"),
        several(trials.len(), "trial")
    ))
}

/// Nothing recommends a backend that was lost, and no block more would; what speaks against it holds all the same.
pub(super) fn withhold(ruling: Ruling, lost: &str, consequence: String) -> Ruling {
    match ruling.outcome {
        DecisionOutcome::NoGo => Ruling {
            reason: format!("{} {lost}.", ruling.reason),
            ..ruling
        },
        DecisionOutcome::Go | DecisionOutcome::Inconclusive => {
            let reason = format!(
                "{lost}, and they recommend nothing. Without that: {}",
                ruling.reason
            );
            Ruling::open(reason, consequence, None)
        }
    }
}

/// Names it in a reason.
pub(super) fn name(reason: &mut String, measured: &Measured, backend: &str) {
    if let Some(lost) = sentence(measured, backend) {
        reason.push_str(&format!(" {lost}."));
    }
}
