//! A backend that goes in the middle of a run and does not come back.

use super::world::World;
use super::{planned, settings};
use bakeoff_crds::ending::EndReason;
use std::time::Duration;

/// A run whose generators are heard.
fn running() -> World {
    let mut world = World::new(1, false, 1, 0);
    for _ in 0..400 {
        let shown = world.observe();
        let observed = world.through(shown);
        if observed.progress.is_some() {
            return world;
        }
        let plan = planned(&world.experiment, &settings(), &observed);
        world.execute(plan, false);
        world.step();
    }
    panic!("no generator runs: {}", world.reason());
}

#[test]
fn a_backend_that_is_gone_for_longer_than_provisioning_may_take_ends_the_run() {
    let world = running();
    let limit = world
        .experiment
        .spec
        .limits
        .provision_seconds
        .unsigned_abs();
    let after = |seconds: u32| {
        let mut observed = world.observe();
        let gone = Duration::from_secs(seconds.into());
        observed.down.insert("seaweedfs".to_owned(), gone);
        planned(&world.experiment, &settings(), &observed)
    };
    // It may come back: the trials on it are void, and are repeated.
    let patient = after(limit);
    assert!(
        patient.status.ending.is_none(),
        "{:?}",
        patient.status.ending
    );
    let ending = after(limit + 1).status.ending.unwrap();
    assert_eq!(ending.reason, EndReason::BackendLost);
    let said = ending.message;
    assert!(
        said.contains("backend seaweedfs") && said.contains("limits.provisionSeconds"),
        "{said}"
    );
}
