//! What is planned: for single cases here, for random ones in `simulation`.

mod faults;
mod lost;
mod simulation;
mod world;

use super::plan;
use crate::act::Refused;
use crate::action::{Action, Plan};
use crate::children::{Child, Kind};
use crate::controllers::experiment::build::backend;
use crate::controllers::experiment::build::server_pod::Ground;
use crate::controllers::experiment::build::{jobs, profile::profile};
use crate::controllers::experiment::facts::Observed;
use crate::parts::pods::{JobState, job_state};
use crate::settings::{Settings, sample as settings};
use bakeoff_crds::conditions::{self, SUCCEEDED};
use bakeoff_crds::identity::Uid;
use bakeoff_crds::names;
use bakeoff_crds::run::NodeFacts;
use bakeoff_crds::spec::{Resources, SeaweedfsDurability};
use bakeoff_crds::status::TrialCounts;
use bakeoff_crds::{Experiment, ExperimentStatus};
use bakeoff_rules::queue::Pool;
use bakeoff_rules::validate::{self, Absent, AbsentKind, Known, Remains, Validated};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use world::World;

fn known(experiment: &Experiment, settings: &Settings) -> Known {
    validate::check(Remains::of(experiment).unwrap(), settings.offer())
}

fn valid(experiment: &Experiment) -> Validated {
    match known(experiment, &settings()) {
        Known::Valid(valid) => valid,
        Known::Refused(_, refusal) => panic!("{refusal}"),
    }
}

/// What is planned for an experiment by an installation with these settings.
fn planned(
    experiment: &Experiment,
    settings: &Settings,
    observed: &Observed,
) -> Plan<ExperimentStatus> {
    plan(experiment, &known(experiment, settings), settings, observed)
}

/// The one owner of the simulation.
fn owner() -> Uid {
    "0123abcd-0000-4000-8000-000000000000".into()
}

fn experiment(external: bool, replicas: i32) -> Experiment {
    let mut backends = vec![
        json!({"name": "minio", "minio": {"version": "R1"}}),
        json!({"name": "seaweedfs", "seaweedfs": {"version": "4.48"}}),
    ];
    if external {
        backends.push(json!({"name": "aws", "s3": {
            "endpoint": "https://s3.example.com", "bucket": "bucket", "credentialsSecretRef": {"name": "aws"},
        }}));
    }
    serde_json::from_value(json!({
        "apiVersion": "bakeoff.dev/v1alpha1", "kind": "Experiment",
        "metadata": {
            "name": "phase1-c", "namespace": "lab", "uid": "0123abcd-0000-4000-8000-000000000000", "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {
            "backends": backends,
            "workloads": [{"name": "consistency", "consistency": {}}],
            "generators": {"replicas": replicas},
        },
    }))
    .unwrap()
}

/// Writers that race for locks in Redis, which is provisioned beside the backend and is none itself.
fn race(replicas: i32) -> Experiment {
    let mut experiment = experiment(false, replicas);
    experiment.spec = serde_json::from_value(json!({
        "backends": [{"name": "pg", "postgres": {"version": "18.4"}}],
        "workloads": [{"name": "race", "casRace": {"lock": {"redis": {"version": "7.0.15"}}}}],
        "generators": {"replicas": replicas},
    }))
    .unwrap();
    experiment
}

/// Servers of several pods each.
fn of_several_pods(replicas: i32) -> Experiment {
    let mut experiment = experiment(false, replicas);
    experiment.spec.equipment.resources = Resources {
        cpu: "2".into(),
        memory: "4Gi".into(),
    };
    for backend in &mut experiment.spec.backends {
        if let Some(minio) = &mut backend.minio {
            minio.servers = 4;
        }
        if let Some(seaweedfs) = &mut backend.seaweedfs {
            seaweedfs.volume_servers = 2;
            seaweedfs.durability = SeaweedfsDurability::Flushed;
        }
    }
    experiment
}

fn subject_of(number: u8, replicas: i32) -> Experiment {
    match number {
        0 => experiment(false, replicas),
        1 => experiment(true, replicas),
        2 => race(replicas),
        3 => of_several_pods(replicas),
        _ => {
            let mut external = race(replicas);
            let backend = json!([{"name": "theirs", "postgresUrl": {"secretRef": {"name": "aws", "key": names::SECRET_ACCESS_KEY_ID}}}]);
            external.spec.backends = serde_json::from_value(backend).unwrap();
            external
        }
    }
}

#[test]
fn what_completed_says_is_what_ran() {
    let valid = valid(&experiment(false, 1));
    let of = |done: i32| {
        let counts = TrialCounts {
            planned: valid.trials,
            done,
            ..Default::default()
        };
        super::running::completed(&valid, Some(counts))
    };
    let all = format!("{} trials on 2 backends", valid.trials);
    assert_eq!(of(valid.trials), all);
    let early = format!("3 of {all}: the decision was settled early");
    assert_eq!(of(3), early);
    let unknown = super::running::completed(&valid, None);
    assert!(
        unknown.contains("planned") && !unknown.contains("early"),
        "{unknown}"
    );
}

/// More nodes than are looked at, and another joins before them: nobody loses what was found.
#[test]
fn a_node_that_joins_takes_no_calibration_away() {
    let mut world = World::new(1, false, 1, 0);
    let names = ["n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8"];
    world.nodes = BTreeSet::from(names);
    world.calibration_hangs = false;
    for _ in 0..400 {
        let observed = world.observe();
        let observed = world.through(observed);
        let next = planned(&world.experiment, &settings(), &observed);
        world.execute(next, false);
        let jobs = || {
            world
                .children
                .jobs
                .iter()
                .filter(|job| job.name_any().contains("-calibrate-"))
        };
        if jobs().count() == names.len()
            && jobs().all(|job| job_state(Some(job)) == JobState::Succeeded)
        {
            break;
        }
        world.step();
        world.nodes = BTreeSet::from(names);
    }
    world.nodes.insert("n0");
    let valid = valid(&world.experiment);
    let settings = settings();
    let observed = world.observe();
    let draft = super::Draft::new(&world.experiment, &valid.remains, &settings, &observed);
    let nodes = super::preparing::calibrated_nodes(&draft);
    let known = nodes.iter().filter(|node| node.calibration.is_some());
    assert_eq!(known.count(), names.len(), "{nodes:?}");
}

/// A plan is in a ConfigMap, which holds a mebibyte at most.
#[test]
fn a_pool_of_thousands_of_nodes_fits_into_a_plan() {
    let world = World::new(1, false, 1, 0);
    let mut observed = world.observe();
    let first = observed.nodes[0].clone();
    let node = |number: usize| NodeFacts {
        name: format!("node-{number:04}.compute.internal"),
        ..first.clone()
    };
    observed.nodes = (0..3_000).map(node).collect();
    let used = serde_json::json!({"metadata": {"name": "p"}, "spec": {"nodeName": observed.nodes[2_000].name, "containers": []}});
    let pod = serde_json::from_value(used).unwrap();
    observed.children.pods.push(std::sync::Arc::new(pod));
    let valid = valid(&world.experiment);
    let settings = settings();
    let draft = super::Draft::new(&world.experiment, &valid.remains, &settings, &observed);
    let environment = super::preparing::environment(&draft);
    let names: Vec<&str> = environment.nodes.iter().map(|n| n.name.as_str()).collect();
    assert!(
        names.len() == 9 && names[8] == observed.nodes[2_000].name,
        "{names:?}"
    );
}

fn first_plan(change: impl FnOnce(&mut Experiment)) -> Plan<ExperimentStatus> {
    let mut world = World::new(1, false, 1, 0);
    change(&mut world.experiment);
    planned(&world.experiment, &settings(), &world.observe())
}

fn refused(plan: &Plan<ExperimentStatus>) -> (String, String) {
    assert!(
        plan.actions.is_empty(),
        "nothing is provisioned for what is refused: {:?}",
        plan.actions
    );
    assert!(plan.status.start_time.is_none());
    let condition = conditions::get(&plan.status.conditions, SUCCEEDED).unwrap();
    assert_eq!(condition.status, "False");
    (condition.reason.clone(), condition.message.clone())
}

#[test]
fn an_objective_that_does_not_compile_is_refused_with_its_name() {
    let plan = first_plan(|experiment| {
        let objective = json!([{"name": "no-loss", "expression": "consistency.listMisses =="}]);
        experiment.spec.objectives = serde_json::from_value(objective).unwrap();
    });
    let (reason, message) = refused(&plan);
    assert_eq!(reason, "InvalidObjective");
    assert!(message.contains("no-loss"), "{message}");
}

#[test]
fn an_unknown_version_is_refused_with_the_known_ones() {
    let plan = first_plan(|experiment| {
        experiment.spec.backends[0].minio.as_mut().unwrap().version = "R2".into()
    });
    let (reason, message) = refused(&plan);
    assert_eq!(reason, "UnknownVersion");
    assert!(message.contains("known: R1"), "{message}");
}

#[test]
fn equipment_that_fits_no_node_is_refused_with_the_largest_node() {
    let plan = first_plan(|experiment| experiment.spec.equipment.resources.cpu = "64".into());
    let (reason, message) = refused(&plan);
    assert_eq!(reason, "EquipmentTooLarge");
    assert!(message.contains("4000m"), "{message}");
}

#[test]
fn nodes_that_are_tainted_or_cordoned_are_named() {
    let world = World::new(1, false, 1, 0);
    let shut = vec!["bench-1 (taint dedicated=bench:NoSchedule)".to_owned()];
    let observed = Observed {
        nodes: Vec::new(),
        shut,
        ..world.observe()
    };
    let (reason, message) = refused(&planned(&world.experiment, &settings(), &observed));
    assert_eq!(reason, "NoNodes");
    assert!(
        message.contains("bench-1 (taint dedicated=bench:NoSchedule)")
            && message.contains("equipment.tolerations")
            && !message.contains("kubectl label"),
        "{message}"
    );
}

#[test]
fn a_class_that_does_not_exist_is_refused_before_anything_is_made() {
    let world = World::new(1, false, 1, 0);
    for (kind, expected) in [
        (AbsentKind::StorageClass, "StorageClassMissing"),
        (AbsentKind::PriorityClass, "PriorityClassMissing"),
    ] {
        let name = "fast".to_owned();
        let observed = Observed {
            absent: vec![Absent { kind, name }],
            ..world.observe()
        };
        let plan = planned(&world.experiment, &settings(), &observed);
        let (reason, message) = refused(&plan);
        assert_eq!(reason, expected);
        assert_eq!(
            message,
            format!(
                "{} fast does not exist: make it, or change {}",
                kind.as_str(),
                kind.field()
            )
        );
        assert!(plan.wake_at.is_some(), "it is looked for again");
    }
}

#[test]
fn a_missing_secret_is_refused_with_its_name() {
    let mut world = World::new(1, true, 1, 0);
    world.secrets.clear();
    let plan = planned(&world.experiment, &settings(), &world.observe());
    let (reason, message) = refused(&plan);
    assert_eq!(reason, "SecretMissing");
    assert!(message.contains("Secret aws"), "{message}");
    assert!(plan.wake_at.is_some(), "a Secret is looked for again");
}

/// CloudNativePG keeps the URL in one Secret and the authority in another.
#[test]
fn the_secret_with_the_authorities_is_asked_for_before_the_start() {
    let mut experiment = race(1);
    let backend = json!([{"name": "theirs", "postgresUrl": {
        "secretRef": {"name": "shop-app", "key": "uri"}, "sslMode": "verify-full", "caSecretRef": {"name": "shop-ca"}}}]);
    experiment.spec.backends = serde_json::from_value(backend).unwrap();
    let mut world = World::of(experiment, 1, 0);
    let mut with = |secret: &str, key: &str| {
        let keys = BTreeSet::from([key.to_owned()]);
        world.secrets.insert(secret.to_owned(), keys);
        planned(&world.experiment, &settings(), &world.observe())
    };
    let (reason, message) = refused(&with("shop-app", "uri"));
    assert_eq!(reason, "SecretMissing");
    assert!(message.contains("Secret shop-ca"), "{message}");
    let (reason, message) = refused(&with("shop-ca", "tls.crt"));
    assert_eq!(reason, "SecretIncomplete");
    assert!(message.contains("lacks the key ca.crt"), "{message}");
    assert!(!with("shop-ca", "ca.crt").actions.is_empty());
}

#[test]
fn a_queued_experiment_names_the_one_it_waits_for() {
    let world = World::new(1, false, 1, 0);
    let pool = Pool::Taken {
        by: "lab/other".into(),
        ahead: 1,
    };
    let plan = planned(
        &world.experiment,
        &settings(),
        &Observed {
            pool,
            ..world.observe()
        },
    );
    assert!(plan.actions.is_empty() && plan.status.start_time.is_none());
    let condition = conditions::get(&plan.status.conditions, SUCCEEDED).unwrap();
    assert_eq!(condition.reason, "Queued");
    assert!(condition.message.contains("lab/other"));
}

/// Nothing can be made in a namespace that is being deleted: the experiment is let go at once, and it is said where to look.
#[test]
fn what_a_dying_namespace_leaves_outside_is_named_at_once() {
    let mut world = World::new(1, true, 1, 0);
    let metadata = &mut world.experiment.metadata;
    metadata.finalizers = Some(vec![names::FINALIZER.to_owned()]);
    metadata.deletion_timestamp = Some(Time(world.now));
    let progress = json!({"startTime": "2026-01-01T00:00:00Z", "progress": {"display": "", "trials": {"planned": 9, "done": 3}}});
    world.experiment.status = Some(serde_json::from_value(progress).unwrap());
    let valid = valid(&world.experiment);
    let target = (Kind::ConfigMap, jobs::cleanup_name(&valid.remains));
    let refused = |for_good| Observed {
        refused: BTreeMap::from([(
            target.clone(),
            Refused {
                message: "because it is being terminated".to_owned(),
                since: std::time::Duration::ZERO,
                for_good,
            },
        )]),
        ..world.observe()
    };
    let lets_go = |plan: &Plan<ExperimentStatus>| {
        plan.actions
            .iter()
            .any(|action| matches!(action, Action::Finalizer(false)))
    };
    let waits = planned(&world.experiment, &settings(), &refused(false));
    assert!(!lets_go(&waits), "it may take it later");
    let plan = planned(&world.experiment, &settings(), &refused(true));
    let message = &plan.events[0].message;
    // It is remembered first, so that it is told once and nothing is begun again.
    let mut remembered = world.experiment.clone();
    remembered.status = Some(plan.status.clone());
    let next = planned(&remembered, &settings(), &refused(true));
    assert!(lets_go(&next));
    let place =
        "s3://bucket/bakeoff/0123abcd-0000-4000-8000-000000000000/ at https://s3.example.com";
    assert!(
        message.contains(place) && message.contains("terminated"),
        "{message}"
    );
}

/// Deleted in the foreground, what says that it is the experiment's own goes before it, also what was made after the deletion. One
/// that was suspended has nothing left to begin with.
#[test]
fn what_cleans_up_after_a_deletion_outlives_the_experiment_and_is_removed_before_it_goes() {
    for suspended in [false, true] {
        let mut world = World::new(1, true, 1, 0);
        let status = json!({"startTime": "2026-01-01T00:00:00Z", "progress": {"display": "", "trials": {"planned": 9, "done": 3}}});
        let mut status: ExperimentStatus = serde_json::from_value(status).unwrap();
        if suspended {
            status.start_time = None;
        } else {
            let own = jobs::results_secret(&valid(&world.experiment).remains);
            world.secrets.insert(own, BTreeSet::new());
        }
        world.experiment.status = Some(status);
        world.experiment.spec.suspend = suspended;
        let metadata = &mut world.experiment.metadata;
        metadata.finalizers = Some(vec![names::FINALIZER.to_owned()]);
        metadata.deletion_timestamp = Some(Time(world.now));
        let mut cleaned = false;
        for round in 0..200 {
            if round == 2 && !suspended {
                // Those that it had; what is made by then is nobody's.
                world.secrets.retain(|name, _| name == "aws");
            }
            let observed = world.observe();
            let observed = world.through(observed);
            let plan = planned(&world.experiment, &settings(), &observed);
            for action in &plan.actions {
                let owners = match action {
                    Action::Apply(Child::Job(job)) => job.owner_references(),
                    Action::Apply(Child::ConfigMap(map)) => map.owner_references(),
                    Action::Apply(Child::NetworkPolicy(policy)) => policy.owner_references(),
                    Action::CreateSecret(secret, _) => secret.owner_references(),
                    _ => &[],
                };
                assert!(owners.is_empty(), "{action:?}");
            }
            world.died = true;
            world.execute(plan, false);
            world.step();
            let name = jobs::cleanup_name(&valid(&world.experiment).remains);
            cleaned |= job_state(world.children.job(&name)) == JobState::Succeeded;
            if world.experiment.finalizers().is_empty() {
                break;
            }
        }
        assert!(
            cleaned && world.experiment.finalizers().is_empty(),
            "{}",
            world.left()
        );
        let pods = world.children.pods.len();
        assert!(
            world.children.standing().is_empty() && pods == 0,
            "{}",
            world.left()
        );
        assert_eq!(world.secrets.keys().collect::<Vec<_>>(), ["aws"]);
    }
}

/// Why a pod is not made stands in an event alone, of which nobody is woken.
#[test]
fn a_server_without_a_pod_is_looked_at_again_before_long() {
    let mut world = World::new(1, false, 1, 0);
    world.ground.podless = true;
    for _ in 0..200 {
        let observed = world.observe();
        let observed = world.through(observed);
        let next = planned(&world.experiment, &settings(), &observed);
        let soon = world.now + jiff::SignedDuration::from_secs(5);
        let waits = !world.children.stateful_sets.is_empty() && world.children.pods.is_empty();
        assert!(!waits || next.wake_at.is_some_and(|at| at <= soon));
        world.execute(next, false);
        world.step();
    }
}

#[test]
fn pods_meet_the_restricted_standard_and_are_guaranteed() {
    let mut durable = experiment(false, 2);
    for backend in &mut durable.spec.backends {
        if let Some(seaweedfs) = &mut backend.seaweedfs {
            seaweedfs.durability = SeaweedfsDurability::Flushed;
        }
    }
    let mut mortal = of_several_pods(1);
    let loss = json!([{"name": "loss", "serverLoss": {"load": {"closed": {"concurrency": [1]}}}}]);
    mortal.spec.workloads = serde_json::from_value(loss).unwrap();
    for experiment in [
        experiment(false, 2),
        race(2),
        durable,
        of_several_pods(2),
        mortal,
    ] {
        restricted_and_guaranteed(&experiment);
    }
}

fn restricted_and_guaranteed(experiment: &Experiment) {
    let valid = valid(experiment);
    let of = &valid.remains;
    let mut specs = vec![
        jobs::run(of, &settings(), 0),
        jobs::report(of, &settings(), 0),
    ]
    .into_iter()
    .map(|job| job.spec.unwrap().template.spec.unwrap())
    .collect::<Vec<_>>();
    for (name, server) in valid.servers() {
        let profile = profile(&server.release, &of.spec.equipment);
        let ground = Ground {
            settings: &settings(),
            nodes: &[],
        };
        let sets = backend::stateful_sets(of, (name, server), &profile, ground);
        specs.extend(
            sets.into_iter()
                .map(|set| set.spec.unwrap().template.spec.unwrap()),
        );
    }
    for pod in specs {
        assert_eq!(pod.automount_service_account_token, Some(false));
        let security = pod.security_context.unwrap();
        assert_eq!(security.run_as_non_root, Some(true));
        assert_eq!(security.seccomp_profile.unwrap().type_, "RuntimeDefault");
        for container in pod.containers {
            let own = container.security_context.unwrap();
            assert_eq!(own.allow_privilege_escalation, Some(false));
            assert_eq!(own.read_only_root_filesystem, Some(true));
            assert_eq!(own.capabilities.unwrap().drop.unwrap(), ["ALL"]);
            let resources = container.resources.unwrap();
            let (limits, requests) = (resources.limits.unwrap(), resources.requests.unwrap());
            for amount in ["cpu", "memory"] {
                assert_eq!(limits[amount], requests[amount]);
            }
            // A default of the namespace would evict it in the middle of a trial.
            assert!(limits.contains_key("ephemeral-storage"));
        }
    }
}
