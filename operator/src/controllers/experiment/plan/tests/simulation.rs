//! Random experiments in a simulated cluster, with failures, crashes between any two actions, stale observations, clock
//! jumps, and people who cancel, suspend and delete.

use super::world::{Ground, World};
use super::{planned, settings, subject_of};
use crate::children::Kind;
use crate::settings::Settings;
use bakeoff_crds::conditions::{self, SUCCEEDED};
use bakeoff_rules::catalogue::Catalogue;
use bakeoff_rules::pool::{Machine, Machines};
use bakeoff_rules::queue::{self, Claim, Pool};
use jiff::SignedDuration;
use kube::ResourceExt;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// What people and the cluster do to an experiment at random steps.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Intervention {
    Nothing,
    Cancel,
    Deadline,
    SuspendAndResume,
    SuspendAndCancel,
    ClockJump,
    /// The installation forgets the version of a backend.
    CatalogueShrinks,
}

/// Lives through it; the settings of the installation as they are in the end.
fn drive(world: &mut World, intervention: Intervention, at: usize, crashes: bool) -> Settings {
    let mut settings = settings();
    let mut stale = world.observe();
    for round in 0..400 {
        if round == at {
            match intervention {
                Intervention::Nothing => {}
                Intervention::Cancel => world.experiment.spec.cancel = true,
                Intervention::Deadline => world.experiment.spec.active_deadline_seconds = Some(30),
                Intervention::SuspendAndResume | Intervention::SuspendAndCancel => {
                    world.experiment.spec.suspend = true;
                }
                Intervention::ClockJump => {
                    world.now -= SignedDuration::from_secs(3_600);
                }
                Intervention::CatalogueShrinks => {
                    settings.catalogue = Catalogue::new([("redis.7.0.15".into(), "redis".into())]);
                }
            }
        }
        if round == at + 60 {
            let cancels = intervention == Intervention::SuspendAndCancel;
            world.experiment.spec.suspend = cancels;
            world.experiment.spec.cancel |= cancels;
        }
        let mut observed = if world.chance(20) {
            stale.clone()
        } else {
            world.observe()
        };
        // Pods and Jobs are watched apart, and pods are shown one by one.
        if world.chance(30) {
            for pod in &mut observed.children.pods {
                let name = pod.name_any();
                let mut before = stale.children.pods.iter();
                if let Some(before) = before.find(|pod| pod.name_any() == name)
                    && world.chance(70)
                {
                    pod.clone_from(before);
                }
            }
        }
        let before = world.status().ending;
        let observed = world.through(observed);
        let next = planned(&world.experiment, &settings, &observed);
        // Caches may lag so far that they do not show what this pass makes.
        let lagging = world.observe();
        world.execute(next, crashes);
        if let Some(before) = before {
            let after = world.status().ending.unwrap();
            assert!(
                after.reason == before.reason || before.reason.succeeded(),
                "an ending changed its reason"
            );
        }
        stale = lagging;
        world.step();
        if world.status().completion_time.is_some() && round > at + 60 {
            break;
        }
    }
    settings
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn every_experiment_ends_and_leaves_nothing(
        seed in any::<u64>(),
        subject in 0_u8..5,
        replicas in 1_i32..3,
        failures in 0_u32..6,
        crashes in any::<bool>(),
        at in 0_usize..40,
        intervention in prop_oneof![
            Just(Intervention::Nothing), Just(Intervention::Cancel), Just(Intervention::Deadline),
            Just(Intervention::SuspendAndResume), Just(Intervention::SuspendAndCancel), Just(Intervention::ClockJump), Just(Intervention::CatalogueShrinks),
        ],
    ) {
        let mut world = World::of(subject_of(subject, replicas), seed, failures);
        let settings = drive(&mut world, intervention, at, crashes);
        let status = world.status();
        // One that is refused before its start waits for its mend.
        let refused = intervention == Intervention::CatalogueShrinks && world.reason() == "UnknownVersion";
        let waits = refused && status.start_time.is_none();
        prop_assert!(waits || status.completion_time.is_some(), "stuck in {} with {}", world.reason(), world.left());
        // What a stale look or a crash re-created after the end is removed by the next look.
        let last = planned(&world.experiment, &settings, &world.observe());
        world.execute(last, false);
        prop_assert!(world.children.is_empty(), "left: {}", world.left());
        prop_assert!(waits || world.experiment.finalizers().is_empty());
        let reason = world.reason();
        let expected = match intervention {
            Intervention::Cancel | Intervention::SuspendAndCancel => vec!["Cancelled", "Completed", "GeneratorFailed", "ReportFailed", "Lost"],
            Intervention::Deadline => vec!["DeadlineExceeded", "Completed", "GeneratorFailed", "ReportFailed", "Lost"],
            Intervention::CatalogueShrinks => vec!["UnknownVersion", "Completed", "GeneratorFailed", "ReportFailed", "Lost"],
            _ => vec!["Completed", "GeneratorFailed", "ReportFailed", "Lost"],
        };
        prop_assert!(expected.contains(&reason.as_str()), "{reason}");
        // Whatever was measured is reported, also by an installation that could not measure it any more.
        let measured = status.progress.as_ref().is_some_and(|progress| progress.trials.done > 0);
        if ["UnknownVersion", "Cancelled"].contains(&reason.as_str()) && measured && failures == 0 {
            prop_assert!(status.results.is_some(), "what was measured is not reported");
        }
        if reason == "Completed" {
            prop_assert_eq!(status.progress.unwrap().trials.done, world.planned);
            prop_assert!(status.results.is_some());
        }
        // A second look changes nothing.
        let again = planned(&world.experiment, &settings, &world.observe());
        prop_assert!(again.actions.is_empty() && again.events.is_empty());
        prop_assert_eq!(Some(again.status), world.experiment.status);
    }

    /// Whatever a cluster refuses for however long, and whatever does not come or does not go.
    #[test]
    fn on_any_ground_every_experiment_ends_and_gives_its_pool_back(
        seed in any::<u64>(),
        subject in 0_u8..5,
        kind in prop_oneof![
            Just(Kind::StatefulSet), Just(Kind::Job), Just(Kind::Service), Just(Kind::ConfigMap),
            Just(Kind::NetworkPolicy), Just(Kind::DisruptionBudget), Just(Kind::Secret),
        ],
        (from, lasts) in (0_u64..200, prop_oneof![0_u64..200, Just(u64::MAX / 2)]),
        podless in any::<bool>(),
        lost in any::<bool>(),
        at in 0_usize..60,
        intervention in prop_oneof![Just(Intervention::Nothing), Just(Intervention::Cancel), Just(Intervention::Deadline)],
    ) {
        let mut subject = subject_of(subject, 1);
        let limits = &mut subject.spec.limits;
        let all = [
            &mut limits.provision_seconds, &mut limits.start_seconds, &mut limits.stop_seconds,
            &mut limits.report_seconds, &mut limits.cleanup_seconds, &mut limits.tear_down_seconds,
        ];
        for seconds in all {
            *seconds = 60;
        }
        let mut world = World::of(subject, seed, 0);
        world.ground = Ground { refuses: Some((kind, from, from + lasts)), podless, lost, unheard: seed % 5 == 0 };
        drive(&mut world, intervention, at, false);
        let status = world.status();
        prop_assert!(status.completion_time.is_some(), "stuck in {} with {}: {:?}", world.reason(), world.left(), status.conditions);
        // Another one may measure.
        let mut next = world.experiment.clone();
        next.metadata.uid = Some("next".to_owned());
        next.status = None;
        let claims = [Claim::of(&world.experiment), Claim::of(&next)];
        let nodes = Machines::from([("bench-1".to_owned(), Machine::default())]);
        prop_assert_eq!(queue::admit(&claims[1], claims.clone(), &BTreeSet::new(), &nodes), Pool::Free);
        // What is left is said.
        let condition = conditions::get(&status.conditions, SUCCEEDED).unwrap();
        let left = !world.children.is_empty();
        prop_assert!(!left || condition.message.contains("left behind"), "{}: {}", world.left(), condition.message);
    }

    /// What was measured by generators that the operator never heard of is reported and counted all the same.
    #[test]
    fn generators_that_nobody_hears_are_reported(
        seed in any::<u64>(),
        subject in 0_u8..5,
        replicas in 1_i32..3,
        failures in 0_u32..3,
        at in 5_usize..60,
        intervention in prop_oneof![Just(Intervention::Nothing), Just(Intervention::Cancel), Just(Intervention::Deadline)],
    ) {
        let mut world = World::of(subject_of(subject, replicas), seed, failures);
        world.ground = Ground { unheard: true, ..Ground::default() };
        drive(&mut world, intervention, at, false);
        let status = world.status();
        prop_assert!(status.completion_time.is_some(), "stuck in {} with {}", world.reason(), world.left());
        let reported = status.results.is_some() || world.reason() == "ReportFailed" || failures > 0;
        prop_assert!(world.durable == 0 || reported, "{} trials are not reported: {}", world.durable, world.reason());
    }
}
