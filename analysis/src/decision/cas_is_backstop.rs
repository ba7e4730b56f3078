//! Experiment A2: is the compare-and-swap a backstop that holds when the lock does not?
//!
//! The plan: "Assert: exactly one writer wins each step, seq is gap-free and never forks, even with
//! induced redlock expiry (kill/expire the lock mid-transition) to prove the CAS is a genuine backstop,
//! not redundant with the lock." One anomaly in the guarded mode is a `NoGo`. `Go` needs more than none
//! found: that each check had something to decide, that steps were contended and locks lost while they
//! were held, and that the same race without the guard was caught by the same checks.

use bakeoff_crds::figure::Counter;
use bakeoff_crds::schedule::factor;
use bakeoff_crds::spec::{GuardMode, WorkloadKind};

use super::rule::{Answer, Asked, Need, Rule, Ruling};
use super::{DecisionInput, Role, Standing, Unit, missing};
use crate::format;
use crate::measured::CellBackend;
use crate::measured::Measured;
use crate::stats::round;
use crate::vocabulary::{self, CAS_CHECKS};

/// Contended steps for a decision. None wrong in so many bounds the share that goes wrong at 3 in as many,
/// 0.1 %, with 95 % confidence (the rule of three; Hanley and Lippman-Hand, JAMA 1983).
const CONTENDED: i64 = 3_000;

pub(super) const RULE: Rule = Rule {
    needs: &[Need::Workload(WorkloadKind::CasRace)],
    withheld_if_wrong: false,
    rests_on_listing: false,
    judges_one: true,
    reads_bloat: false,
    answer,
};

fn answer(asked: &Asked<'_>) -> Answer {
    let measured = asked.measured;
    let subject = asked.subject();
    let guarded = cells(measured, &subject, GuardMode::Guarded);
    let mut inputs: Vec<DecisionInput> = CAS_CHECKS
        .iter()
        .map(|name| anomaly(&guarded, &subject, name))
        .collect();
    inputs.push(unsettled(&guarded, &subject));
    let contended = counted(
        &guarded,
        Counter::ContendedSteps,
        "Contended steps",
        &subject,
        CONTENDED,
    );
    let steps = contended.value.unwrap_or(0.0);
    inputs.push(contended);
    inputs.push(counted(
        &guarded,
        Counter::LocksExpired,
        "Locks lost while they were held",
        &subject,
        1,
    ));
    for mode in GuardMode::ALL {
        if mode != GuardMode::Guarded {
            inputs.push(control(measured, &subject, mode));
        }
    }

    let of = |standing| -> Vec<&DecisionInput> {
        inputs
            .iter()
            .filter(|input| input.standing == standing)
            .collect()
    };
    let (broken, open) = (of(Standing::NotMet), of(Standing::Open));
    let ruling = if !broken.is_empty() {
        let found: Vec<String> = broken
            .iter()
            .map(|input| format!("{} ({:.0})", input.name, input.value.unwrap_or(0.0)))
            .collect();
        let example = guarded
            .iter()
            .flat_map(|on| &on.checks)
            .find_map(|check| check.examples.first())
            .map_or_else(String::new, |example| format!(" For example: {example}."));
        Ruling::no_go(
            format!(
                "With the compare-and-swap in place the race found: {}.{example}",
                found.join("; ")
            ),
            "The compare-and-swap is no backstop as it stands: mend it before anything is built on the head row.",
        )
    } else if open.is_empty() {
        Ruling::go(
            format!(
                "Exactly one writer won each step, seq has no gap and no fork, and no anomaly was found in {steps:.0} contended steps, though locks were lost while they were held (at most {} % of contended steps go wrong, with 95 % confidence); without the guard the same race was caught each time.",
                format::percent_at_most(3.0 / steps, 3)
            ),
            "The compare-and-swap carries correctness by itself: the lock is an optimisation, and may expire or go.",
        )
    } else {
        let missing: Vec<String> = open.iter().map(|input| describe(input)).collect();
        Ruling::open(
            format!(
                "No anomaly was found, but that is not yet shown to mean anything. {}.",
                missing.join("; ")
            ),
            "Nothing changes yet: race longer, for fewer runs or with more faults, in all modes.",
            None,
        )
    };
    Answer {
        question: format!(
            "Is the compare-and-swap on the head row of {subject} a genuine backstop, and not redundant with the lock?"
        ),
        criterion: format!(
            "Go if in the mode Guarded each check decided at least one fact and found no anomaly, in at least {CONTENDED} contended steps and with at least one lock lost while it was held, and each of the other modes was caught with at least one anomaly; NoGo if one anomaly was found in the mode Guarded."
        ),
        ruling,
        inputs,
    }
}

/// What is missing, in words.
fn describe(input: &DecisionInput) -> String {
    let value = input
        .value
        .map_or_else(|| "not measured".to_owned(), |value| format!("{value:.0}"));
    format!(
        "{} on {}: {value}, and the rule demands {}",
        input.name, input.scope, input.demand
    )
}

/// The cells of all races in one mode.
fn cells<'a>(measured: &'a Measured, subject: &str, mode: GuardMode) -> Vec<&'a CellBackend> {
    measured
        .of_kind(WorkloadKind::CasRace)
        .flat_map(|workload| &workload.cells)
        .filter(|cell| cell.levels.get(factor::MODE).map(String::as_str) == Some(mode.as_str()))
        .filter_map(|cell| cell.on(subject))
        .collect()
}

/// One check of the guarded mode.
fn anomaly(cells: &[&CellBackend], subject: &str, name: &str) -> DecisionInput {
    let mut input = missing(
        &format!("{name}: {}", vocabulary::describe_check(name)),
        format!("{subject}, mode Guarded"),
        Role::Correctness,
        Unit::Violations,
        "none, with at least one fact decided".to_owned(),
    );
    let checks: Vec<_> = cells
        .iter()
        .flat_map(|on| &on.checks)
        .filter(|check| check.name == name)
        .collect();
    let violations: i64 = checks.iter().map(|check| check.violations).sum();
    let decided: i64 = checks
        .iter()
        .map(|check| check.checked - check.uncertain)
        .sum();
    input.blocks = blocks(cells);
    if !checks.is_empty() {
        input.value = Some(round(violations as f64));
    }
    if violations > 0 {
        input.standing = Standing::NotMet;
    } else if decided > 0 {
        input.standing = Standing::Met;
    } else if !checks.is_empty() {
        let uncertain: i64 = checks.iter().map(|check| check.uncertain).sum();
        input.demand = format!(
            "{}: {uncertain} facts were left open by unknown outcomes, none was decided",
            input.demand
        );
    }
    input
}

/// Anomalies in attempts during which the server was lost: it may explain them, so they settle nothing.
fn unsettled(cells: &[&CellBackend], subject: &str) -> DecisionInput {
    let violations: i64 = cells
        .iter()
        .flat_map(|on| &on.checks)
        .map(|check| check.violations_unsettled)
        .sum();
    let mut input = missing(
        "Anomalies in attempts in which the server was lost",
        format!("{subject}, mode Guarded"),
        Role::Correctness,
        Unit::Violations,
        "none".to_owned(),
    );
    input.value = Some(round(violations as f64));
    if violations == 0 {
        input.standing = Standing::Met;
    }
    input
}

/// A count of the guarded mode that has to reach a least number.
fn counted(
    cells: &[&CellBackend],
    counter: Counter,
    name: &str,
    subject: &str,
    least: i64,
) -> DecisionInput {
    let mut input = missing(
        name,
        format!("{subject}, mode Guarded"),
        Role::Guard,
        Unit::Count,
        format!("at least {least}"),
    );
    let counts: Vec<i64> = cells
        .iter()
        .filter_map(|on| on.counters.get(&counter).copied())
        .collect();
    input.blocks = blocks(cells);
    if !counts.is_empty() {
        let sum: i64 = counts.iter().sum();
        input.value = Some(round(sum as f64));
        if sum >= least {
            input.standing = Standing::Met;
        }
    }
    input
}

/// A mode that has to be caught: a check that never failed proves nothing.
fn control(measured: &Measured, subject: &str, mode: GuardMode) -> DecisionInput {
    let cells = cells(measured, subject, mode);
    let mut input = missing(
        "Anomalies found in a control",
        format!("{subject}, mode {}", mode.as_str()),
        Role::Guard,
        Unit::Violations,
        "at least 1".to_owned(),
    );
    input.blocks = blocks(&cells);
    let checks: Vec<_> = cells.iter().flat_map(|on| &on.checks).collect();
    if !checks.is_empty() {
        // An excluded attempt shows nothing of the instrument that the others used.
        let violations: i64 = checks
            .iter()
            .map(|check| check.violations - check.violations_excluded)
            .sum();
        input.value = Some(round(violations as f64));
        if violations > 0 {
            input.standing = Standing::Met;
        }
    }
    input
}

fn blocks(cells: &[&CellBackend]) -> i32 {
    cells.iter().map(|on| on.blocks).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::DecisionRecord;
    use super::super::tests_support::{Race, race_summary};
    use super::*;
    use bakeoff_crds::result::InvalidCode;
    use bakeoff_crds::status::DecisionOutcome::{Go, Inconclusive, NoGo};

    const FINE: Race = Race {
        checked: 5_000,
        violations: 0,
        uncertain: 3,
        faulty: None,
        contended: 2_000,
        expired: 4,
        void: None,
    };
    const CAUGHT: Race = Race {
        violations: 2,
        faulty: Some("duplicateWinners"),
        ..FINE
    };

    fn decide_with(guarded: Race, control: impl Fn(GuardMode) -> Race) -> DecisionRecord {
        race_summary(&GuardMode::ALL, |mode| {
            if mode == GuardMode::Guarded {
                guarded
            } else {
                control(mode)
            }
        })
        .decision
        .unwrap()
    }

    #[test]
    fn nothing_found_where_the_controls_are_caught_is_a_go() {
        let decision = decide_with(FINE, |_| CAUGHT);
        assert_eq!(decision.outcome, Go, "{}", decision.reason);
        assert!(
            decision.reason.contains("4000 contended steps"),
            "{}",
            decision.reason
        );
        assert!(decision.reason.contains("0.075 %"), "{}", decision.reason);
    }

    #[test]
    fn one_anomaly_is_a_no_go_that_names_it() {
        for name in CAS_CHECKS {
            let wrong = Race {
                violations: 1,
                faulty: Some(name),
                ..FINE
            };
            let decision = decide_with(wrong, |_| CAUGHT);
            assert_eq!(decision.outcome, NoGo, "{name}");
            assert!(decision.reason.contains(name), "{}", decision.reason);
            assert!(decision.reason.contains("planted"), "{}", decision.reason);
            // Whatever else is missing, an anomaly is one.
            let few = Race {
                contended: 0,
                ..wrong
            };
            assert_eq!(decide_with(few, |_| FINE).outcome, NoGo);
        }
    }

    #[test]
    fn an_anomaly_in_a_void_trial_counts_unless_the_server_was_lost() {
        let void = |code| Race {
            violations: 1,
            faulty: Some("gaps"),
            void: Some(code),
            ..FINE
        };
        let decision = decide_with(void(InvalidCode::GeneratorThrottled), |_| CAUGHT);
        assert_eq!(decision.outcome, NoGo, "{}", decision.reason);
        assert!(decision.reason.contains("gaps"), "{}", decision.reason);
        let decision = decide_with(void(InvalidCode::BackendRestarted), |_| CAUGHT);
        assert_eq!(decision.outcome, Inconclusive, "{}", decision.reason);
        assert!(
            decision.reason.contains("server was lost"),
            "{}",
            decision.reason
        );
        // A control that was caught in void trials alone was not.
        let control = Race {
            void: Some(InvalidCode::GeneratorThrottled),
            ..CAUGHT
        };
        let decision = decide_with(FINE, |_| control);
        assert_eq!(decision.outcome, Inconclusive, "{}", decision.reason);
    }

    #[test]
    fn a_control_that_was_not_caught_settles_nothing() {
        for silent in [
            GuardMode::Unguarded,
            GuardMode::SelectThenUpdate,
            GuardMode::LockOnly,
        ] {
            let decision = decide_with(FINE, |mode| if mode == silent { FINE } else { CAUGHT });
            assert_eq!(decision.outcome, Inconclusive, "{}", decision.reason);
            assert!(
                decision.reason.contains(silent.as_str()),
                "{}",
                decision.reason
            );
        }
        let alone = race_summary(&[GuardMode::Guarded], |_| FINE)
            .decision
            .unwrap();
        assert_eq!(alone.outcome, Inconclusive);
        assert!(
            alone.reason.contains("mode LockOnly: not measured"),
            "{}",
            alone.reason
        );
    }

    #[test]
    fn what_was_not_raced_for_settles_nothing() {
        let cases = [
            (
                Race {
                    contended: 1_499,
                    ..FINE
                },
                "Contended steps",
            ),
            (Race { expired: 0, ..FINE }, "Locks lost"),
            (Race { checked: 3, ..FINE }, "none was decided"),
            (
                Race {
                    checked: 0,
                    uncertain: 0,
                    ..FINE
                },
                "abaWins",
            ),
        ];
        for (guarded, word) in cases {
            let decision = decide_with(guarded, |_| CAUGHT);
            assert_eq!(
                decision.outcome, Inconclusive,
                "{word}: {}",
                decision.reason
            );
            assert!(
                decision.reason.contains(word),
                "{word}: {}",
                decision.reason
            );
        }
    }

    #[test]
    fn violations_of_controls_are_counted_nowhere_else() {
        let summary = race_summary(&GuardMode::ALL, |mode| {
            if mode == GuardMode::Guarded {
                FINE
            } else {
                CAUGHT
            }
        });
        let total: i64 = summary
            .measured
            .workloads
            .iter()
            .flat_map(|workload| &workload.checks)
            .map(|check| check.violations)
            .sum();
        assert_eq!(total, 0);
        let in_cells: i64 = summary.measured.workloads[0]
            .cells
            .iter()
            .flat_map(|cell| &cell.backends)
            .flat_map(|on| &on.checks)
            .map(|check| check.violations)
            .sum();
        assert_eq!(
            in_cells,
            3 * 2 * 2,
            "three controls, two blocks, two violations each"
        );
    }
}
