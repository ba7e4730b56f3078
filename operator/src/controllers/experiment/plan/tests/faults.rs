//! Servers that are killed on purpose: one pod for each fault, whatever happens to the operator meanwhile.

use super::world::World;
use super::{of_several_pods, planned, settings};
use crate::controllers::experiment::plan::heard;
use bakeoff_crds::run::WantedFault;
use proptest::prelude::*;

fn wanted(number: usize, backend: &str) -> WantedFault {
    WantedFault {
        id: format!("loss-{number}/1"),
        backend: backend.to_owned(),
    }
}

/// One look and what follows from it.
fn turn(world: &mut World, crashes: bool) {
    let shown = world.observe();
    let observed = world.through(shown);
    let plan = planned(&world.experiment, &settings(), &observed);
    world.execute(plan, crashes);
    world.step();
}

/// A run of servers of several pods, whose generators are heard.
fn running(seed: u64) -> World {
    let mut world = World::of(of_several_pods(1), seed, 0);
    // It goes on for as long as the test does.
    world.planned = i32::MAX;
    for _ in 0..400 {
        if world.observe().progress.is_some() {
            return world;
        }
        turn(&mut world, false);
    }
    panic!("no generator runs: {}", world.reason());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn one_pod_is_killed_for_each_fault_however_often_the_operator_dies(
        seed in any::<u64>(),
        crashes in any::<bool>(),
        backends in proptest::collection::vec(prop_oneof![Just("minio"), Just("seaweedfs")], 1..5),
    ) {
        let mut world = running(seed);
        for (number, backend) in backends.iter().enumerate() {
            world.wanted = Some(wanted(number, backend));
            for _ in 0..60 {
                turn(&mut world, crashes);
                let status = world.status();
                let fault = status.fault.as_ref();
                if fault.is_some_and(|fault| fault.id == wanted(number, backend).id && fault.mended_time.is_some()) {
                    break;
                }
            }
            let fault = world.status().fault.unwrap();
            prop_assert_eq!(&fault.id, &wanted(number, backend).id);
            let (made, mended) = (fault.made_time.unwrap(), fault.mended_time.unwrap());
            prop_assert!(made <= mended);
            // It is asked for until it was heard that it is mended.
            for _ in 0..3 {
                turn(&mut world, crashes);
            }
        }
        let killed: Vec<&str> = world.killed.iter().map(|(id, _)| id.as_str()).collect();
        let each: Vec<String> = (0..backends.len()).map(|number| wanted(number, "").id).collect();
        prop_assert_eq!(killed, each);
        for ((_, pod), backend) in world.killed.iter().zip(&backends) {
            let of = if *backend == "minio" { "-be-minio-" } else { "-volume-seaweedfs-" };
            prop_assert!(pod.contains(of), "{}", pod);
        }
    }
}

#[test]
fn what_is_told_is_how_long_ago_it_was() {
    let mut world = running(3);
    assert_eq!(heard(None, world.now).fault, "");
    world.wanted = Some(wanted(0, "minio"));
    for _ in 0..60 {
        turn(&mut world, false);
    }
    let fault = world.status().fault;
    let mended = fault.as_ref().unwrap().mended_time.unwrap();
    let told = heard(
        fault.as_ref(),
        mended + jiff::SignedDuration::from_millis(1_500),
    );
    assert_eq!(
        (told.fault.as_str(), told.mended_ago),
        ("loss-0/1", Some(1_500))
    );
    assert!(told.made_ago.unwrap() >= 1_500);
    // A clock that was set back makes nothing negative.
    let early = heard(fault.as_ref(), mended - jiff::SignedDuration::from_secs(60));
    assert_eq!(early.mended_ago, Some(0));
}
