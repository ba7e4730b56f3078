//! A backend that goes in the middle of a run and does not come back.

use super::world::World;
use super::{planned, settings};
use crate::action::Action;
use crate::children::Kind;
use bakeoff_crds::ending::EndReason;
use jiff::SignedDuration;
use kube::ResourceExt;
use serde_json::json;
use std::sync::Arc;
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

/// Says of the Job of the first attempt that it fails, without saying that it has.
fn failing(world: &mut World) -> String {
    let at = world.now.to_string();
    let jobs = &mut world.children.jobs;
    let run = jobs.iter_mut().find(|job| job.name_any().contains("-run-"));
    let run = Arc::make_mut(run.unwrap());
    let condition = json!({"type": "FailureTarget", "status": "True", "reason": "BackoffLimitExceeded", "lastTransitionTime": at});
    run.status = serde_json::from_value(json!({"failed": 1, "conditions": [condition]})).unwrap();
    run.name_any()
}

fn later(world: &mut World, seconds: i32) {
    world.now += SignedDuration::from_secs(i64::from(seconds));
}

/// The generators of attempt 1 are asked for.
fn goes_on(world: &World) -> bool {
    let plan = planned(&world.experiment, &settings(), &world.observe());
    assert!(plan.status.ending.is_none(), "{:?}", plan.status.ending);
    let mut made = plan.actions.iter().filter_map(Action::target);
    made.any(|(kind, name)| kind == Kind::Job && name.ends_with("-run-1"))
}

/// Kubernetes says that a Job failed once its last pod has ended, and on a node that is lost none ends.
#[test]
fn a_generator_on_a_node_that_is_lost_is_followed_by_another() {
    let mut world = running();
    failing(&mut world);
    assert!(!goes_on(&world), "its last words may still come");
    let patience = world.experiment.spec.limits.stop_seconds;
    later(&mut world, patience);
    assert!(goes_on(&world));
}

/// Pods that are deleted may be gone before their Job says that it failed, hours after its start.
#[test]
fn generators_that_are_deleted_did_run() {
    let mut world = running();
    let name = failing(&mut world);
    let of = |pod: &str| pod.starts_with(&name);
    world.children.pods.retain(|pod| !of(&pod.name_any()));
    let jobs = &mut world.children.jobs;
    let run = jobs.iter_mut().find(|job| job.name_any() == name);
    let made = &mut Arc::make_mut(run.unwrap()).metadata.creation_timestamp;
    let before = world.now - SignedDuration::from_hours(2);
    *made = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(before));
    assert!(!goes_on(&world), "nor has it failed yet");
    world.finish(&name, false, None);
    assert!(goes_on(&world));
}
