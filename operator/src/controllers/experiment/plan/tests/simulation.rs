//! Random experiments in a simulated cluster, with failures, crashes between any two actions, stale observations, clock
//! jumps, and people who cancel, suspend and delete.

use super::world::World;
use super::{planned, settings, subject_of};
use bakeoff_rules::catalogue::Catalogue;
use jiff::SignedDuration;
use kube::ResourceExt;
use proptest::prelude::*;

/// What people and the cluster do to an experiment at random steps.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Intervention {
    Nothing,
    Cancel,
    Deadline,
    SuspendAndResume,
    ClockJump,
    /// The installation forgets the version of a backend.
    CatalogueShrinks,
}

fn drive(world: &mut World, intervention: Intervention, at: usize, crashes: bool) {
    let mut settings = settings();
    let mut stale = world.observe();
    for round in 0..400 {
        if round == at {
            match intervention {
                Intervention::Nothing => {}
                Intervention::Cancel => world.experiment.spec.cancel = true,
                Intervention::Deadline => world.experiment.spec.active_deadline_seconds = Some(30),
                Intervention::SuspendAndResume => world.experiment.spec.suspend = true,
                Intervention::ClockJump => {
                    world.now -= SignedDuration::from_secs(3_600);
                }
                Intervention::CatalogueShrinks => {
                    settings.catalogue = Catalogue::new([("redis.7.0.15".into(), "redis".into())]);
                }
            }
        }
        if round == at + 60 {
            world.experiment.spec.suspend = false;
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
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn every_experiment_ends_and_leaves_nothing(
        seed in any::<u64>(),
        subject in 0_u8..4,
        replicas in 1_i32..3,
        failures in 0_u32..6,
        crashes in any::<bool>(),
        at in 0_usize..40,
        intervention in prop_oneof![
            Just(Intervention::Nothing), Just(Intervention::Cancel), Just(Intervention::Deadline),
            Just(Intervention::SuspendAndResume), Just(Intervention::ClockJump), Just(Intervention::CatalogueShrinks),
        ],
    ) {
        let mut world = World::of(subject_of(subject, replicas), seed, failures);
        drive(&mut world, intervention, at, crashes);
        let status = world.status();
        // One that is refused before its start waits for its mend.
        let refused = intervention == Intervention::CatalogueShrinks && world.reason() == "UnknownVersion";
        let waits = refused && status.start_time.is_none();
        prop_assert!(waits || status.completion_time.is_some(), "stuck in {} with {}", world.reason(), world.left());
        // What a stale look or a crash re-created after the end is removed by the next look.
        let last = planned(&world.experiment, &settings(), &world.observe());
        world.execute(last, false);
        prop_assert!(world.children.is_empty(), "left: {}", world.left());
        prop_assert!(waits || world.experiment.finalizers().is_empty());
        let reason = world.reason();
        let expected = match intervention {
            Intervention::Cancel => vec!["Cancelled", "Completed", "GeneratorFailed", "ReportFailed", "Lost"],
            Intervention::Deadline => vec!["DeadlineExceeded", "Completed", "GeneratorFailed", "ReportFailed", "Lost"],
            Intervention::CatalogueShrinks => vec!["UnknownVersion", "Completed", "GeneratorFailed", "ReportFailed", "Lost"],
            _ => vec!["Completed", "GeneratorFailed", "ReportFailed", "Lost"],
        };
        prop_assert!(expected.contains(&reason.as_str()), "{reason}");
        // Whatever was measured is reported, also by an installation that could not measure it any more.
        let measured = status.progress.as_ref().is_some_and(|progress| progress.trials.done > 0);
        if reason == "UnknownVersion" && measured && failures == 0 {
            prop_assert!(status.results.is_some(), "what was measured is not reported");
        }
        if reason == "Completed" {
            prop_assert_eq!(status.progress.unwrap().trials.done, world.planned);
            prop_assert!(status.results.is_some());
        }
        // A second look changes nothing.
        let again = planned(&world.experiment, &settings(), &world.observe());
        prop_assert!(again.actions.is_empty() && again.events.is_empty());
        prop_assert_eq!(Some(again.status), world.experiment.status);
    }
}
