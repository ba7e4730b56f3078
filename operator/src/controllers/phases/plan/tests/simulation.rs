//! Random plans whose operator dies between any two actions, sees runs late, and whose people decide, suspend and cancel.

use super::world::World;
use crate::errands::ground::Comes;
use crate::runs::Answer;
use bakeoff_crds::experiment_plan::{PhaseOutcome, PhaseState};
use bakeoff_crds::rng::SplitMix64;
use jiff::SignedDuration;
use proptest::prelude::*;
use serde_json::json;

const OUTCOMES: [&str; 5] = ["Go", "NoGo", "Inconclusive", "Failed", "Skipped"];

fn random(rng: &mut SplitMix64) -> World {
    let mut pick =
        |among: &[&str]| among[usize::try_from(rng.below(among.len() as u64)).unwrap()].to_owned();
    let phases = (0..4).map(|number| {
        let mut phase = json!({
            "name": format!("p{number}"), "question": "Does it hold?",
            "experiments": [{"name": "a", "template": {}}, {"name": "b", "template": {}}],
            "order": pick(&["Serial", "Parallel"]),
            "undecided": pick(&["Wait", "Run", "Skip"]),
            "approval": pick(&["Never", "Never", "OnInconclusive", "Always"]),
            "retries": 1,
        });
        if pick(&["", "stop"]).is_empty() {
            phase["stopOn"] = json!([]);
        }
        if number > 0 && pick(&["always", "when"]) == "when" {
            let of = format!("p{}", number - 1);
            phase["when"] = json!([{"phase": of, "outcome": [pick(&OUTCOMES), pick(&OUTCOMES)]}]);
        }
        phase
    });
    let phases: Vec<_> = phases.collect();
    World::new(json!(phases))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn every_plan_comes_to_its_end(seed in any::<u64>(), crashes in any::<bool>(), cancelled in 0..400_u32) {
        let mut rng = SplitMix64::new(seed);
        let mut world = random(&mut rng);
        let mut hidden: Vec<String> = Vec::new();
        world.ground.comes = [Comes::Done, Comes::Failed, Comes::Hangs][usize::try_from(rng.below(3)).unwrap()];
        let mut outcomes = std::collections::BTreeMap::new();
        for round in 0..400 {
            world.now += SignedDuration::from_secs(i64::try_from(rng.below(100)).unwrap());
            match rng.below(40) {
                0 => world.spec().suspend = true,
                1..6 => world.spec().suspend = false,
                _ => {}
            }
            if round == cancelled {
                world.spec().cancel = true;
            }
            for name in world.names() {
                if world.is_running(&name) && rng.below(3) == 0 {
                    let cancelled = world.runs.iter().any(|run| run.metadata.name.as_ref() == Some(&name) && run.spec.cancel);
                    let reason = if cancelled { "Cancelled" } else if rng.below(4) == 0 { "BackendLost" } else { "Completed" };
                    let decision = [None, Some("Go"), Some("NoGo"), Some("Inconclusive")][usize::try_from(rng.below(4)).unwrap()];
                    world.end(&name, reason, decision.filter(|_| reason == "Completed"));
                }
            }
            // A person answers, sooner or later.
            let waits = world.plan.status.as_ref().and_then(|status| {
                status.phases.iter().find(|phase| matches!(phase.state, PhaseState::Waiting | PhaseState::AwaitingApproval)).cloned()
            });
            if let Some(phase) = waits && rng.below(4) == 0 {
                let actions = if phase.state == PhaseState::Waiting { ["Run", "Skip"] } else { ["Go", "NoGo"] };
                let action = actions[usize::try_from(rng.below(2)).unwrap()];
                world.spec().decisions.push(serde_json::from_value(
                    json!({"phase": phase.name, "action": action, "reason": "it is so", "by": "kim"})).unwrap());
            }
            let mut observed = world.observe();
            observed.runs.retain(|run| !hidden.contains(&run.name));
            for name in hidden.drain(..) {
                observed.answers.insert(name, Answer::Made);
            }
            world.answers.clear();
            if crashes && rng.below(8) == 0 {
                continue;
            }
            let next = world.next_of(&observed);
            world.write(next.status);
            for action in next.actions {
                if crashes && rng.below(6) == 0 {
                    break;
                }
                let before = world.names().len();
                world.act(action);
                if world.names().len() > before && rng.below(2) == 0 {
                    hidden.extend(world.names().last().cloned());
                }
            }
            if rng.below(2) == 0 {
                world.ground.work();
            }
            // An outcome stands once it stands.
            for phase in world.status().phases {
                if let Some(outcome) = phase.outcome {
                    let stood = *outcomes.entry(phase.name.clone()).or_insert(outcome);
                    prop_assert_eq!(stood, outcome, "{} changed", phase.name);
                }
            }
            if world.status().completion_time.is_some() {
                break;
            }
        }
        let status = world.status();
        prop_assert!(status.completion_time.is_some(), "stuck: {status:?}");
        for name in world.names() {
            prop_assert!(!world.is_running(&name), "{name} still runs");
        }
        // A skipped phase has made nothing.
        for phase in status.phases.iter().filter(|phase| phase.outcome == Some(PhaseOutcome::Skipped)) {
            let made = world.ever.iter().any(|name| name.starts_with(&format!("ladder-{}-", phase.name)));
            prop_assert!(!made, "{} was run", phase.name);
        }
        for _ in 0..10 {
            world.pass();
        }
        prop_assert!(world.ground.is_clean(), "{:?}", world.ground);
        prop_assert!(world.status().report.is_none_or(|report| report.whole));
        let again = world.next();
        prop_assert!(again.actions.is_empty() && again.events.is_empty());
        prop_assert_eq!(Some(again.status), world.plan.status);
    }
}
