//! Whether the figures of a trial may be used, and what the backend did not stand up to. (Pure.)
//!
//! Two kinds of trouble are kept apart. What the generator or the set-up did wrong voids the trial:
//! its figures say nothing. What the backend did under load, errors and overload, is a result: the
//! trial stays valid, is not repeated and carries a finding.

use bakeoff_crds::figure::Counter;
use bakeoff_crds::result::{
    Finding, FindingCode, GeneratorUsage, InvalidCode, InvalidReason, LoadCounts, Verdict,
};
use bakeoff_crds::spec::Validity;

use crate::instrument::record::{RecordError, decode};
use crate::run::assemble::PartRecord;

/// What else decides whether a trial may be used.
#[derive(Clone, Debug, Default)]
pub struct Circumstances {
    /// Reasons found outside the parts: a restart, a missing generator, a failed preparation.
    pub reasons: Vec<InvalidReason>,
    /// What each generator used.
    pub generators: Vec<GeneratorUsage>,
    /// Whether a recording is replayed faster than it was.
    pub compressed: bool,
}

impl Circumstances {
    /// Notes that generators delivered no part.
    pub fn missing(&mut self, missing: usize, generators: usize) {
        if missing > 0 {
            self.reasons.push(InvalidReason {
                code: InvalidCode::GeneratorMissing,
                detail: format!("{missing} of {generators} generators delivered no part"),
            });
        }
    }
}

/// What is to be made of a trial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Whether its figures may be used, and if not, every reason why.
    pub verdict: Verdict,
    /// What the backend did not stand up to.
    pub findings: Vec<Finding>,
}

/// Judges a trial by the bounds of the spec.
///
/// # Errors
/// When the generator's lag cannot be decoded.
pub fn judge(
    whole: &PartRecord,
    circumstances: Circumstances,
    bounds: &Validity,
) -> Result<Judgement, RecordError> {
    let mut reasons = circumstances.reasons;
    reasons.extend(instrument(whole, bounds)?);
    for one in &circumstances.generators {
        reasons.extend(generator(one, whole.window_micros, bounds));
    }
    let open_loop = !whole.judged_kind.is_empty();
    Ok(Judgement {
        verdict: if reasons.is_empty() {
            Verdict::Valid
        } else {
            Verdict::Invalid(reasons)
        },
        findings: findings(&whole.load, open_loop, bounds)
            .into_iter()
            .chain(distorted(whole, circumstances.compressed))
            .collect(),
    })
}

fn per_mille(part: i64, whole: i64) -> i64 {
    part.saturating_mul(1_000) / whole.max(1)
}

/// What the instrument did wrong: it lost operations, or sent them early or late.
fn instrument(whole: &PartRecord, bounds: &Validity) -> Result<Vec<InvalidReason>, RecordError> {
    let mut reasons = Vec::new();
    let mut add = |code, detail: String| reasons.push(InvalidReason { code, detail });
    let load = &whole.load;
    if load.planned == 0 {
        add(
            InvalidCode::NoOperations,
            "no operation began in the window: those before it take longer than warm-up and window together; \
             lengthen trials.windowSeconds"
                .into(),
        );
    }
    // A workload that does not go by a plan counts nothing apart.
    let counted = whole.expected > 0 || !whole.judged_kind.is_empty();
    if counted && whole.expected != load.planned {
        let detail = format!(
            "the window holds {} operations and {} are accounted for: the generator lost or added some",
            whole.expected, load.planned
        );
        add(InvalidCode::PlanNotKept, detail);
    }
    if load.early > 0 {
        let detail = format!("{} operations were sent before they were due", load.early);
        add(InvalidCode::SentEarly, detail);
    }
    if let Some(operation) = whole.operations.get(&whole.judged_kind) {
        let lag = decode(&operation.generator_lag)?.value_at_quantile(0.99);
        let bound = bounds.max_send_lag_p99_microseconds;
        if i64::try_from(lag).unwrap_or(i64::MAX) > i64::from(bound) {
            let detail = format!(
                "p99 of the generator's lag is {lag} µs, at most {bound} µs are allowed: give generators a core \
                 that nothing else uses"
            );
            add(InvalidCode::SendLag, detail);
        }
    }
    Ok(reasons)
}

/// What one generator did not have, or did too late.
fn generator(used: &GeneratorUsage, window_micros: i64, bounds: &Validity) -> Vec<InvalidReason> {
    let mut reasons = Vec::new();
    let mut add = |code, detail: String| reasons.push(InvalidReason { code, detail });
    let index = used.index;
    let late = used.pacer_lateness_p99_micros;
    if late > i64::from(bounds.max_send_lag_p99_microseconds) {
        let detail = format!(
            "p99 of how late the pacer of generator {index} was is {late} µs, at most {} µs are allowed",
            bounds.max_send_lag_p99_microseconds
        );
        add(InvalidCode::SendLag, detail);
    }
    let throttled = per_mille(used.throttled_micros, window_micros);
    if throttled > i64::from(bounds.max_throttled_per_mille) {
        let detail = format!(
            "generator {index} was throttled by its CPU limit for {throttled} ‰ of the window, at most {} ‰ are \
             allowed: give generators more CPU",
            bounds.max_throttled_per_mille
        );
        add(InvalidCode::GeneratorThrottled, detail);
    }
    let busy = per_mille(used.cpu_micros, window_micros);
    if busy > i64::from(bounds.max_generator_cpu_per_mille) {
        let detail = format!(
            "generator {index} used {busy} ‰ of a core, at most {} ‰ are allowed: it runs on one thread, so take \
             more generators or less load",
            bounds.max_generator_cpu_per_mille
        );
        add(InvalidCode::GeneratorSaturated, detail);
    }
    reasons
}

/// Events that wait for their own run, of a thousand, beyond which a replay is distorted.
const MOST_WAITS_PER_MILLE: i64 = 10;

/// Whether a recording was compressed so much that its runs waited for themselves.
fn distorted(whole: &PartRecord, compressed: bool) -> Option<Finding> {
    let waited = *whole.counters.get(&Counter::OwnRunWaits)?;
    let planned = whole.load.planned;
    (compressed && per_mille(waited, planned) > MOST_WAITS_PER_MILLE).then(|| Finding {
        code: FindingCode::TimingDistorted,
        detail: format!(
            "{waited} of {planned} events waited for the statement before them of their own run, {} ‰; the bound is \
             {MOST_WAITS_PER_MILLE} ‰: time is compressed too much for what a run does, so take less speed and more copies",
            per_mille(waited, planned)
        ),
    })
}

/// What the backend did not stand up to.
fn findings(load: &LoadCounts, open_loop: bool, bounds: &Validity) -> Vec<Finding> {
    let mut findings = Vec::new();
    if load.failed.saturating_mul(1_000)
        > i64::from(bounds.max_failed_per_mille).saturating_mul(load.planned)
    {
        findings.push(Finding {
            code: FindingCode::Failing,
            detail: format!(
                "{} of {} operations failed, {} ‰; the bound is {} ‰",
                load.failed,
                load.planned,
                per_mille(load.failed, load.planned),
                bounds.max_failed_per_mille
            ),
        });
    }
    // A closed load plans nothing and leaves at most one operation of each client unfinished.
    let left = load.not_started + load.unfinished;
    let most = 1_000 - i64::from(bounds.min_started_per_mille);
    if open_loop && left.saturating_mul(1_000) > most.saturating_mul(load.planned) {
        findings.push(Finding {
            code: FindingCode::Overloaded,
            detail: format!(
                "of {} planned operations {} were never started and {} did not end in time, {} ‰ together; the \
                 bound is {most} ‰: the rate is beyond what the backend or the in-flight limit sustains",
                load.planned,
                load.not_started,
                load.unfinished,
                per_mille(left, load.planned)
            ),
        });
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instrument::record::{encode, histogram};
    use bakeoff_crds::result::OperationRecord;
    use std::collections::BTreeMap;

    /// An operation whose generator was late by these microseconds, so often.
    fn lagging(lags: &[(u64, u64)]) -> BTreeMap<String, OperationRecord> {
        let mut lag = histogram().unwrap();
        for &(micros, count) in lags {
            lag.record_n(micros, count).unwrap();
        }
        let operation = OperationRecord {
            generator_lag: encode(&lag).unwrap(),
            ..Default::default()
        };
        BTreeMap::from([("put".to_owned(), operation)])
    }

    /// An open load of 1,000 operations that all ended well, each taken 10 µs late.
    fn sound() -> PartRecord {
        PartRecord {
            load: LoadCounts {
                planned: 1_000,
                completed: 1_000,
                ..Default::default()
            },
            operations: lagging(&[(10, 1_000)]),
            expected: 1_000,
            window_micros: 1_000_000,
            judged_kind: "put".into(),
            ..Default::default()
        }
    }

    fn judged(
        part: &PartRecord,
        circumstances: Circumstances,
    ) -> (Vec<InvalidCode>, Vec<FindingCode>) {
        let judgement = judge(part, circumstances, &Validity::default()).unwrap();
        let codes = match judgement.verdict {
            Verdict::Valid => vec![],
            Verdict::Invalid(reasons) => reasons.into_iter().map(|reason| reason.code).collect(),
        };
        let findings = judgement.findings.into_iter().map(|finding| finding.code);
        (codes, findings.collect())
    }

    fn plain(part: &PartRecord) -> (Vec<InvalidCode>, Vec<FindingCode>) {
        judged(part, Circumstances::default())
    }

    #[test]
    fn what_the_instrument_does_wrong_voids_the_trial() {
        assert_eq!(plain(&sound()), (vec![], vec![]));
        let mut late = sound();
        late.operations = lagging(&[(10, 980), (9_000, 20)]);
        assert_eq!(plain(&late).0, [InvalidCode::SendLag]);
        let mut early = sound();
        early.load.early = 1;
        assert_eq!(plain(&early).0, [InvalidCode::SentEarly]);
        for expected in [0, 999, 1_001] {
            let mut lost = sound();
            lost.expected = expected;
            assert_eq!(plain(&lost).0, [InvalidCode::PlanNotKept]);
        }
        assert_eq!(plain(&PartRecord::default()).0, [InvalidCode::NoOperations]);
        let with = |usage| Circumstances {
            generators: vec![usage],
            ..Default::default()
        };
        let starved = |throttled_micros| GeneratorUsage {
            throttled_micros,
            ..Default::default()
        };
        assert_eq!(judged(&sound(), with(starved(50_000))).0, []);
        assert_eq!(
            judged(&sound(), with(starved(51_000))).0,
            [InvalidCode::GeneratorThrottled]
        );
        let busy = GeneratorUsage {
            cpu_micros: 950_000,
            ..Default::default()
        };
        assert_eq!(
            judged(&sound(), with(busy)).0,
            [InvalidCode::GeneratorSaturated]
        );
        let late_pacer = GeneratorUsage {
            pacer_lateness_p99_micros: 9_000,
            ..Default::default()
        };
        assert_eq!(judged(&sound(), with(late_pacer)).0, [InvalidCode::SendLag]);
    }

    #[test]
    fn a_replay_is_distorted_only_by_its_own_compression() {
        let with = |waited, compressed| {
            let mut part = sound();
            part.counters.insert(Counter::OwnRunWaits, waited);
            let circumstances = Circumstances {
                compressed,
                ..Circumstances::default()
            };
            judged(&part, circumstances)
        };
        assert_eq!(with(10, true), (vec![], vec![]));
        // It voids nothing.
        assert_eq!(with(11, true), (vec![], vec![FindingCode::TimingDistorted]));
        // At the recorded speed it is the server that is slow.
        assert_eq!(with(500, false), (vec![], vec![]));
    }

    /// Repeating such trials until one looks well would favour the backend that fails more often.
    #[test]
    fn what_the_backend_does_not_stand_up_to_is_a_result() {
        let with = |failed, unfinished, not_started| {
            let mut part = sound();
            part.load.completed -= failed + unfinished + not_started;
            (part.load.failed, part.load.unfinished) = (failed, unfinished);
            part.load.not_started = not_started;
            part
        };
        assert_eq!(plain(&with(10, 0, 0)), (vec![], vec![]));
        assert_eq!(plain(&with(11, 0, 0)), (vec![], vec![FindingCode::Failing]));
        assert_eq!(
            plain(&with(1_000, 0, 0)),
            (vec![], vec![FindingCode::Failing])
        );
        assert_eq!(plain(&with(0, 5, 5)), (vec![], vec![]));
        assert_eq!(
            plain(&with(0, 5, 6)),
            (vec![], vec![FindingCode::Overloaded])
        );
        assert_eq!(
            plain(&with(100, 0, 100)).1,
            [FindingCode::Failing, FindingCode::Overloaded]
        );
        // A closed load has no rate that could be too high.
        let mut closed = with(0, 32, 0);
        closed.judged_kind.clear();
        assert_eq!(plain(&closed), (vec![], vec![]));
    }
}
