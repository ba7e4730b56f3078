use super::super::tests_support::says;
use super::*;
use crate::decision::DecisionRecord;
use crate::measured::RunData;
use crate::sample::{self, Behaviour, PLAIN, QUICK};
use crate::summary::summarise;
use DecisionOutcome::{Go, Inconclusive, NoGo};
use bakeoff_crds::durability::DurabilityClass::{
    self, Flushed, FlushedButLastOperation, Memory, PageCache,
};
use bakeoff_crds::spec::{Backend, ExperimentSpec};
use serde_json::json;

type Class = Option<DurabilityClass>;

/// A run on these backends, of which the first is the incumbent: how each behaves, and what it promises.
fn decided(blocks: i32, accept: bool, backends: &[(&str, Behaviour, Class)]) -> DecisionRecord {
    let mut spec: ExperimentSpec = sample::spec(blocks);
    // Few cells are enough, and there are many of these.
    spec.workloads = sample::field_spec().workloads;
    let like = spec.backends[0].clone();
    let named = |(name, _, _): &(&str, Behaviour, Class)| Backend {
        name: (*name).to_owned(),
        ..like.clone()
    };
    spec.backends = backends.iter().map(named).collect();
    let decision = spec.decision.as_mut().unwrap();
    decision.incumbent = Some(backends[0].0.to_owned());
    decision.accept_weaker_durability = accept;
    let mut manifest = sample::manifest(&spec);
    for (resolved, (_, _, class)) in manifest.plan.backends.iter_mut().zip(backends) {
        resolved.durability.class = *class;
    }
    let records = sample::records(&spec, |name| {
        backends.iter().find(|(of, _, _)| *of == name).unwrap().1
    });
    let run = RunData::new(&manifest, &records);
    summarise(&run).unwrap().decision.unwrap()
}

fn pair(old: Class, new: (Behaviour, Class), accept: bool) -> DecisionRecord {
    decided(6, accept, &[("old", PLAIN, old), ("new", new.0, new.1)])
}

const CLASSES: [Class; 5] = [
    Some(Flushed),
    Some(FlushedButLastOperation),
    Some(PageCache),
    Some(Memory),
    None,
];

#[test]
fn writes_never_speak_for_the_one_that_promises_less() {
    let worse = Behaviour {
        put_speed: 0.7,
        ..PLAIN
    };
    for (rank, old) in CLASSES.into_iter().enumerate() {
        for (own, new) in CLASSES.into_iter().enumerate() {
            let quick = pair(old, (QUICK, new), false);
            let same = pair(old, (PLAIN, new), false);
            let slow = pair(old, (worse, new), false);
            let expected = match own.cmp(&rank) {
                std::cmp::Ordering::Equal => (Go, NoGo, NoGo),
                // It promises less: quick it may be for that, slow it is in spite of it.
                std::cmp::Ordering::Greater => (Inconclusive, NoGo, NoGo),
                // It promises more: slow it may be for that, quick it is in spite of it.
                std::cmp::Ordering::Less => (Go, Inconclusive, Inconclusive),
            };
            let outcomes = (quick.outcome, same.outcome, slow.outcome);
            assert_eq!(
                outcomes, expected,
                "{old:?} against {new:?}: {}",
                quick.reason
            );
        }
    }
}

#[test]
fn the_reason_names_both_promises_and_what_to_do() {
    let decision = pair(
        Some(FlushedButLastOperation),
        (QUICK, Some(PageCache)),
        false,
    );
    for words in [
        "new promises less than old",
        "PageCache: a power cut can lose all",
        "FlushedButLastOperation: a power cut can lose what was acknowledged in the last milliseconds",
        "PUT throughput 1.4",
        "decision.acceptWeakerDurability",
    ] {
        says(&decision, Inconclusive, words);
    }
    assert_eq!(decision.more_blocks, None, "blocks are no answer");
    assert!(decision.inputs[0].unequal_promises);
    assert!(decision.criterion.contains("promises less"));
    let nothing = pair(Some(Flushed), (QUICK, None), false);
    says(&nothing, Inconclusive, "it states nothing");
}

/// More blocks could only speak for the one that promises less, and then they settle nothing.
#[test]
fn no_blocks_are_promised_for_the_one_that_promises_less() {
    let close = Behaviour {
        put_speed: 1.1,
        tail: 1.15,
        ..QUICK
    };
    let equal = pair(Some(Flushed), (close, Some(Flushed)), false);
    says(&equal, Inconclusive, "would settle it");
    assert!(equal.more_blocks.is_some(), "{}", equal.reason);
    let weaker = pair(Some(Flushed), (close, Some(PageCache)), false);
    says(&weaker, Inconclusive, "decision.acceptWeakerDurability");
    assert_eq!(weaker.more_blocks, None);
}

#[test]
fn what_is_accepted_is_said_first() {
    let decision = pair(Some(Flushed), (QUICK, Some(PageCache)), true);
    assert_eq!(decision.outcome, Go);
    let first = decision.reason.split(". ").next().unwrap();
    assert!(first.starts_with("new promises less than old"), "{first}");
    assert!(first.ends_with("which the experiment accepts"), "{first}");
    let equal = pair(Some(Flushed), (QUICK, Some(Flushed)), true);
    assert!(
        equal.reason.starts_with("new clearly wins"),
        "{}",
        equal.reason
    );
}

#[test]
fn reads_and_correctness_count_whatever_is_promised() {
    let (slow, wrong) = (
        Behaviour {
            list_speed: 0.5,
            ..QUICK
        },
        Behaviour {
            violations: 1,
            ..QUICK
        },
    );
    for (old, new) in [(Flushed, PageCache), (PageCache, Flushed)] {
        says(&pair(Some(old), (slow, Some(new)), false), NoGo, "LIST");
        says(
            &pair(Some(old), (wrong, Some(new)), false),
            NoGo,
            "correctness",
        );
    }
}

#[test]
fn several_challengers_share_one_chance_of_error() {
    let field = |blocks, a, b| {
        let class = Some(Flushed);
        decided(
            blocks,
            false,
            &[
                ("old", PLAIN, class),
                ("a", a, class),
                ("b", b, class),
                ("c", PLAIN, class),
            ],
        )
    };
    // Six blocks suffice at 5 %, and not at a third of it.
    assert_eq!(field(6, QUICK, PLAIN).outcome, Inconclusive);
    let one = field(8, QUICK, PLAIN);
    says(&one, Go, "a clearly wins over old");
    says(&one, Go, "b is not clearly better");
    assert!(
        one.consequence.starts_with("a becomes"),
        "{}",
        one.consequence
    );
    assert!(one.question.contains("a, b or c"), "{}", one.question);
    assert!(one.criterion.contains("3 challengers"), "{}", one.criterion);

    let level = field(8, QUICK, QUICK);
    assert_eq!(level.outcome, Go);
    let words = "a or b takes the place of old";
    assert!(
        level.consequence.starts_with(words),
        "{}",
        level.consequence
    );
    let quicker = Behaviour {
        put_speed: 2.5,
        ..QUICK
    };
    let first = field(8, QUICK, quicker);
    assert!(
        first.consequence.starts_with("b becomes"),
        "{}",
        first.consequence
    );
    assert_eq!(field(8, PLAIN, PLAIN).outcome, NoGo);
}

#[test]
fn a_winner_comes_first_only_over_those_that_promise_as_much() {
    let quicker = Behaviour {
        put_speed: 2.5,
        ..QUICK
    };
    let decision = decided(
        8,
        false,
        &[
            ("old", PLAIN, Some(PageCache)),
            ("a", QUICK, Some(Flushed)),
            ("b", quicker, Some(PageCache)),
        ],
    );
    assert_eq!(decision.outcome, Go, "{}", decision.reason);
    let words = "a or b takes the place of old";
    assert!(
        decision.consequence.starts_with(words),
        "{}",
        decision.consequence
    );
}

#[test]
fn a_named_challenger_is_the_only_one() {
    let mut spec = sample::spec(6);
    let named = json!({"rule": "SmallObjectBackend", "challenger": "seaweedfs"});
    spec.decision = serde_json::from_value(named).unwrap();
    spec.backends.push(Backend {
        name: "third".to_owned(),
        ..spec.backends[1].clone()
    });
    let manifest = sample::manifest(&spec);
    let records = sample::records(&spec, |name| if name == "minio" { PLAIN } else { QUICK });
    let run = RunData::new(&manifest, &records);
    let decision = summarise(&run).unwrap().decision.unwrap();
    assert_eq!(decision.outcome, Go);
    assert!(
        !decision.question.contains("third"),
        "{}",
        decision.question
    );
}
