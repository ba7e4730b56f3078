//! What a decision makes of a store that does otherwise than S3. (Pure.)
//!
//! What the measured work itself rests on, with the keys that it writes, is correctness: who lists these keys out of order,
//! or loses one between two pages, is not recommended for any speed. Everything else that a reader of listings may rest on
//! is named where the store is recommended and stops nothing: whether it matters is for those who know their keys. What the
//! preflight could not find out decides nothing either; the consistency workload asks it under load.

use bakeoff_crds::conformance::{CheckAnswer, Weight};
use bakeoff_crds::status::DecisionOutcome;

use super::{DecisionInput, DecisionRecord, Role, Standing, Unit, missing};
use crate::measured::Measured;

fn list(broken: &[&CheckAnswer]) -> String {
    let each: Vec<String> = broken
        .iter()
        .map(|one| format!("{} {}", one.check.name(), one.text()))
        .collect();
    each.join("; ")
}

fn broken<'a>(measured: &'a Measured, backend: &str, weight: Weight) -> Vec<&'a CheckAnswer> {
    let found = measured.conformance_of(backend);
    found.map_or_else(Vec::new, |found| found.broken(weight).collect())
}

/// Whether a backend keeps what the measured work rests on; none where nobody asked it.
pub(super) fn input(measured: &Measured, backend: &str) -> Option<DecisionInput> {
    let found = measured.conformance_of(backend)?;
    let wrong = broken(measured, backend, Weight::Needed);
    let asked = found.of(Weight::Needed).count();
    let mut scope = format!("{asked} checks before the first block");
    if !wrong.is_empty() {
        scope = format!("{scope}; {}", list(&wrong));
    }
    let mut input = missing(
        &format!("What the work rests on in S3, on {backend}"),
        scope,
        Role::Correctness,
        Unit::Violations,
        "no check is seen to be broken".to_owned(),
    );
    input.value = Some(wrong.len() as f64);
    input.standing = if wrong.is_empty() {
        Standing::Met
    } else {
        Standing::NotMet
    };
    Some(input)
}

/// Names in a reason what the recommended backend lists otherwise than S3.
pub(super) fn name(reason: &mut String, measured: &Measured, backend: &str) {
    let needed = broken(measured, backend, Weight::Needed);
    if !needed.is_empty() {
        reason.push_str(&format!(
            " {backend} itself does not keep what the measured work rests on in S3: {}.",
            list(&needed)
        ));
    }
    let named: Vec<&CheckAnswer> = broken(measured, backend, Weight::Named)
        .into_iter()
        .filter(|one| one.check.is_of_listings())
        .collect();
    if !named.is_empty() {
        reason.push_str(&format!(
            " {backend} lists otherwise than S3 where the measured work does not: {}. Readers with such keys have to know.",
            list(&named)
        ));
    }
}

/// A verdict on reads of listings: none where the listings of the measured keys are wrong, and else with the word of what
/// is otherwise.
pub(super) fn qualify(record: &mut DecisionRecord, measured: &Measured, backend: &str) {
    let needed = broken(measured, backend, Weight::Needed);
    if needed.is_empty() {
        name(&mut record.reason, measured, backend);
        return;
    }
    record.outcome = DecisionOutcome::Inconclusive;
    record.more_blocks = None;
    record.reason = format!(
        "{backend} does not keep what these reads rest on in S3: {}. The latencies of wrong answers carry no decision. Without that: {}",
        list(&needed),
        record.reason
    );
    record.consequence = "Nothing changes yet: first the listings have to be right.".to_owned();
}

#[cfg(test)]
mod tests {
    use super::super::tests_support::says;
    use super::*;
    use crate::decision::DecisionRecord;
    use crate::measured::RunData;
    use crate::sample::{self, Behaviour, PLAIN, QUICK};
    use crate::summary::{Summary, summarise};
    use DecisionOutcome::{Go, Inconclusive, NoGo};
    use bakeoff_crds::conformance::{Answer, Check};
    use bakeoff_crds::spec::{Decision, DecisionRule};

    /// A run of two stores of which the second behaves so, with what each was seen not to keep.
    fn summary(new: Behaviour, wrong: &[(&str, Check, Answer)], rule: DecisionRule) -> Summary {
        let mut spec = sample::spec(6);
        let names: Vec<String> = spec.backends.iter().map(|one| one.name.clone()).collect();
        spec.decision = Some(Decision {
            rule,
            ..spec.decision.take().unwrap()
        });
        let records = sample::records(&spec, |name| if name == names[0] { PLAIN } else { new });
        let conformance: Vec<_> = names
            .iter()
            .map(|name| sample::conformance(name, wrong))
            .collect();
        summarise(&RunData {
            conformance: &conformance,
            ..RunData::new(&sample::manifest(&spec), &records)
        })
        .unwrap()
    }

    fn decided(new: Behaviour, wrong: &[(&str, Check, Answer)]) -> DecisionRecord {
        summary(new, wrong, DecisionRule::SmallObjectBackend)
            .decision
            .unwrap()
    }

    const NEW: &str = "seaweedfs";
    const OLD: &str = "minio";

    #[test]
    fn a_store_that_lists_the_measured_keys_wrongly_is_not_recommended() {
        says(&decided(QUICK, &[]), Go, "no correctness violation");
        for check in Check::ALL
            .iter()
            .filter(|one| one.weight() == Weight::Needed)
        {
            let wrong = decided(QUICK, &[(NEW, *check, Answer::Differs)]);
            says(
                &wrong,
                NoGo,
                "fails correctness (What the work rests on in S3, on seaweedfs",
            );
            says(&wrong, NoGo, &format!("{} differs: seen so", check.name()));
        }
        // That it was not found out stands in the report, and the consistency workload was asked.
        let open = decided(QUICK, &[(NEW, Check::Pages, Answer::Unknown)]);
        says(&open, Go, "no correctness violation");
    }

    #[test]
    fn other_keys_are_named_where_the_store_is_recommended() {
        let order = [(NEW, Check::OrderOfKeys, Answer::Differs)];
        says(
            &decided(QUICK, &order),
            Go,
            "seaweedfs lists otherwise than S3 where the measured work does not: order of keys differs: seen so.",
        );
        let child = [(OLD, Check::KeyAndChild, Answer::Differs)];
        assert!(!decided(QUICK, &child).reason.contains("otherwise than S3"));
        says(
            &decided(PLAIN, &child),
            NoGo,
            "minio lists otherwise than S3",
        );
        // Of the one that is not recommended nothing is said there.
        assert!(!decided(PLAIN, &order).reason.contains("otherwise than S3"));
        let both = decided(PLAIN, &[(OLD, Check::Pages, Answer::Differs)]);
        says(
            &both,
            NoGo,
            "minio itself does not keep what the measured work rests on in S3",
        );
        // A race is none of listings, and a backslash weighs nothing.
        for check in [Check::RaceOfCreators, Check::Backslash] {
            let reason = decided(QUICK, &[(NEW, check, Answer::Differs)]).reason;
            assert!(!reason.contains("S3"), "{reason}");
        }
    }

    #[test]
    fn a_verdict_on_reads_of_wrong_listings_is_withheld() {
        let of = |wrong: &[(&str, Check, Answer)]| {
            summary(PLAIN, wrong, DecisionRule::ColdReadCap)
                .decision
                .unwrap()
        };
        let right = of(&[]);
        assert_ne!(right.outcome, Inconclusive, "{}", right.reason);
        let wrong = of(&[(OLD, Check::StartAfterWithin, Answer::Differs)]);
        says(
            &wrong,
            Inconclusive,
            "minio does not keep what these reads rest on in S3",
        );
        assert!(wrong.reason.ends_with(&right.reason));
        let named = of(&[(OLD, Check::KeyAndChild, Answer::Differs)]);
        says(&named, right.outcome, "key and child differs: seen so");
        // Another backend is not judged.
        assert_eq!(
            of(&[(NEW, Check::Pages, Answer::Differs)]).reason,
            right.reason
        );
    }

    #[test]
    fn what_readers_rest_on_stands_beside_the_backend() {
        let wrong = [
            (NEW, Check::KeyAndChild, Answer::NotOffered),
            (NEW, Check::Pages, Answer::Unknown),
            (NEW, Check::Backslash, Answer::Differs),
        ];
        let summary = summary(QUICK, &wrong, DecisionRule::SmallObjectBackend);
        let caveats = &summary.measured.backend(NEW).unwrap().caveats;
        let own: Vec<&String> = caveats.iter().filter(|said| said.contains("S3")).collect();
        assert_eq!(
            own,
            [
                "whether it does as S3 is not known (pages): seen so",
                "not as S3 (key and child): not offered: seen so"
            ]
        );
    }
}
