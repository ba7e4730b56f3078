//! What is made of servers of several pods. (Tests.)

mod drives;
mod garage;

use super::backend;
use super::profile::profile;
use super::run_plan;
use super::server_pod::Ground;
use super::tests::settings_with;
use crate::children::Children;
use crate::controllers::experiment::facts::{Observed, servers_down};
use bakeoff_crds::Experiment;
use bakeoff_crds::names;
use bakeoff_rules::validate::{self, Known, Refusal, Remains, ServerName, Validated};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Container, Pod, Service};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

fn check(backend: &Value, cpu: &str, memory: &str) -> Result<Validated, Refusal> {
    let experiment: Experiment = serde_json::from_value(json!({
        "apiVersion": "bakeoff.dev/v1alpha1", "kind": "Experiment",
        "metadata": {"name": "c", "namespace": "lab", "uid": "0123abcd-0000-4000-8000-000000000000"},
        "spec": {
            "backends": [backend],
            "equipment": {"resources": {"cpu": cpu, "memory": memory}, "storage": {"size": "8Gi"}},
            "workloads": [{"name": "put", "smallObjectPut": {"load": {"closed": {"concurrency": [1]}}}}],
        },
    }))
    .unwrap();
    let settings = settings_with([
        ("minio.R1", "minio:1"),
        ("seaweedfs.4.48", "weed:1"),
        ("postgres.18.4", "pg:1"),
        ("garage.2.5.0", "garage:1"),
    ]);
    match validate::check(Remains::of(&experiment).unwrap(), settings.offer()) {
        Known::Valid(valid) => Ok(valid),
        Known::Refused(_, refusal) => Err(refusal),
    }
}

fn minio() -> Value {
    json!({"name": "m", "minio": {"version": "R1", "servers": 4}})
}

fn seaweedfs() -> Value {
    json!({"name": "s", "seaweedfs": {"version": "4.48", "durability": "Flushed", "volumeServers": 3, "masters": 3, "replication": "001"}})
}

fn made(valid: &Validated) -> (Vec<StatefulSet>, Vec<Service>) {
    let of = &valid.remains;
    let settings = settings_with([]);
    let (name, server) = valid.servers().next().unwrap();
    let profile = profile(&server.release, &of.spec.equipment);
    let ground = Ground {
        settings: &settings,
        nodes: &[],
    };
    (
        backend::stateful_sets(of, (name, server), &profile, ground),
        backend::services(of, (name, server), &profile),
    )
}

/// The command line of each sort of pods, with what Kubernetes puts in for pod `index` of it.
fn commands(sets: &[StatefulSet], index: i32) -> Vec<String> {
    let commands = sets.iter().map(|set| {
        let pod = set.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
        let server = &pod.containers[0];
        let own = format!("{}-{index}", set.metadata.name.as_ref().unwrap());
        with_names(server, server.command.as_ref().unwrap(), &own)
    });
    commands.collect()
}

/// A command line of a container with what Kubernetes puts into it in the pod of this name.
fn with_names(container: &Container, line: &[String], own: &str) -> String {
    let mut line = line.join(" ");
    for env in container.env.iter().flatten() {
        let value = match env.name.as_str() {
            "POD_IP" => "10.0.0.1",
            "POD_NAME" => own,
            _ => env.value.as_deref().unwrap_or_default(),
        };
        line = line.replace(&format!("$({})", env.name), value);
    }
    assert!(!line.contains("$("), "{line}");
    line
}

#[test]
fn servers_of_minio_know_each_other_by_names_and_share_the_equipment() {
    let valid = check(&minio(), "2", "4Gi").unwrap();
    let (sets, services) = made(&valid);
    let [set] = &sets[..] else {
        panic!("{} sets", sets.len())
    };
    let spec = set.spec.as_ref().unwrap();
    assert_eq!(spec.replicas, Some(4));
    assert_eq!(spec.pod_management_policy.as_deref(), Some("Parallel"));
    assert!(
        commands(&sets, 0)[0].contains(
            "minio server http://c-0123abcd-be-m-{0...3}.c-0123abcd-peers-m.lab.svc.cluster.local:9000/data "
        ),
        "{:?}",
        commands(&sets, 0)
    );
    let claim = &spec.volume_claim_templates.as_ref().unwrap()[0];
    let requests = claim.spec.as_ref().unwrap().resources.as_ref().unwrap();
    assert_eq!(requests.requests.as_ref().unwrap()["storage"].0, "2048Mi");
    let pod = spec.template.spec.as_ref().unwrap();
    let limits = pod.containers[0]
        .resources
        .as_ref()
        .unwrap()
        .limits
        .as_ref();
    assert_eq!(limits.unwrap()["cpu"].0, "500m");
    assert!(
        pod.affinity.as_ref().unwrap().pod_anti_affinity.is_some(),
        "they are spread"
    );
    // They find each other before they are ready, and clients find those alone that are.
    let [clients, peers] = &services[..] else {
        panic!("{} services", services.len())
    };
    let early = |service: &Service| service.spec.as_ref().unwrap().publish_not_ready_addresses;
    assert_eq!((early(clients), early(peers)), (None, Some(true)));
    assert_eq!(spec.service_name, peers.metadata.name);
}

#[test]
fn each_role_of_seaweedfs_has_pods_of_its_own_and_clients_talk_to_the_filer_alone() {
    let valid = check(&seaweedfs(), "3", "6Gi").unwrap();
    let (sets, services) = made(&valid);
    let names: Vec<_> = sets
        .iter()
        .map(|set| {
            (
                set.metadata.name.as_deref().unwrap(),
                set.spec.as_ref().unwrap().replicas.unwrap(),
            )
        })
        .collect();
    assert_eq!(
        names,
        [
            ("c-0123abcd-be-s", 1),
            ("c-0123abcd-master-s", 3),
            ("c-0123abcd-volume-s", 3)
        ]
    );
    let masters = (0..3)
        .map(|index| {
            format!("c-0123abcd-master-s-{index}.c-0123abcd-peers-s.lab.svc.cluster.local:9333")
        })
        .collect::<Vec<_>>()
        .join(",");
    let lines = commands(&sets, 2);
    assert!(
        lines[0].contains(&format!("-master={masters} ")),
        "{}",
        lines[0]
    );
    assert!(
        lines[1].contains(&format!("-peers={masters} ")),
        "{}",
        lines[1]
    );
    assert!(
        lines[1].contains("-ip=c-0123abcd-master-s-2.c-0123abcd-peers-s.lab.svc.cluster.local ")
    );
    assert!(lines[1].contains("-defaultReplication=001 "));
    assert!(
        lines[2].contains(&format!("-master={masters} ")),
        "{}",
        lines[2]
    );
    // What sets the rule stands beside the filer; the index is made anew before each volume server.
    let pod = |at: usize| {
        sets[at]
            .spec
            .as_ref()
            .unwrap()
            .template
            .spec
            .as_ref()
            .unwrap()
    };
    assert_eq!([0, 1, 2].map(|at| pod(at).containers.len()), [2, 1, 1]);
    assert_eq!(
        [0, 1, 2].map(|at| pod(at).init_containers.is_some()),
        [false, false, true]
    );
    // The selectors of the sorts are disjoint, and that of the clients is the filer's.
    let clients = services[0]
        .spec
        .as_ref()
        .unwrap()
        .selector
        .as_ref()
        .unwrap();
    let takes = |at: usize| {
        let template = &sets[at].spec.as_ref().unwrap().template;
        let labels = template.metadata.as_ref().unwrap().labels.as_ref().unwrap();
        clients
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
    };
    assert_eq!([0, 1, 2].map(takes), [true, false, false]);
    for set in &sets {
        let spec = set.spec.as_ref().unwrap();
        assert_eq!(spec.service_name, services[1].metadata.name);
    }
}

fn postgres(settings: &Value) -> Value {
    json!({"name": "pg", "postgres": {"version": "18.4", "synchronousStandbys": 2, "settings": settings}})
}

#[test]
fn standbys_are_copied_by_our_image_and_follow_with_the_settings_of_their_primary() {
    let stated =
        postgres(&json!({"synchronous_commit": "remote_apply", "max_worker_processes": "16"}));
    let valid = check(&stated, "3", "6Gi").unwrap();
    let (sets, services) = made(&valid);
    let lines = commands(&sets, 1);
    let [primary, standby] = &lines[..] else {
        panic!("{} sets", lines.len())
    };
    assert!(primary.contains(
        r#" -c synchronous_standby_names=FIRST 2 ("c-0123abcd-standby-pg-0", "c-0123abcd-standby-pg-1")"#
    ));
    // They differ in nothing else, a third of the memory included.
    let without = primary
        .split(" -c ")
        .filter(|one| !one.starts_with("synchronous_standby_names"));
    assert_eq!(*standby, without.collect::<Vec<_>>().join(" -c "));
    assert!(
        standby.contains("-c shared_buffers=512MB")
            && standby.contains("-c max_worker_processes=16")
    );

    let of = |at: usize| sets[at].spec.as_ref().unwrap();
    let pod = |at: usize| of(at).template.spec.as_ref().unwrap();
    assert_eq!([0, 1].map(|at| of(at).replicas), [Some(1), Some(2)]);
    let prepare = |at: usize| &pod(at).init_containers.as_ref().unwrap()[0];
    assert_eq!(prepare(0).image.as_deref(), Some("pg:1"));
    let initdb = prepare(0).command.as_ref().unwrap().join(" ");
    let lets_in = initdb
        .find("host replication all all scram-sha-256")
        .unwrap();
    assert!(
        lets_in < initdb.find("mv /data/new").unwrap(),
        "before it is whole"
    );
    let (copy, settings) = (prepare(1), settings_with([]));
    assert_eq!(copy.image.as_ref(), Some(&settings.loadgen_image));
    assert_eq!(copy.command, None, "the image's own");
    assert_eq!(
        copy.args.as_ref().unwrap().join(" "),
        "standby --primary $(SERVERS)-0.$(DOMAIN):5432 --into /data/pgdata --name $(POD_NAME)"
    );
    // What it refers to stands in its environment, and who it is comes from the Secret alone.
    for container in [copy, &pod(1).containers[0]] {
        let env = container.env.as_ref().unwrap();
        let named = |name: &str| env.iter().find(|one| one.name == name).unwrap();
        assert_eq!(named("SERVERS").value.as_deref(), Some("c-0123abcd-be-pg"));
        assert!(named("POD_NAME").value_from.is_some() && named("DOMAIN").value.is_some());
        for name in ["PGUSER", "PGPASSWORD"] {
            let from = named(name).value_from.as_ref().unwrap();
            assert!(from.secret_key_ref.is_some(), "{name}");
        }
    }
    // Clients talk to the primary.
    let clients = services[0].spec.as_ref().unwrap().selector.as_ref();
    assert_eq!(clients.unwrap()[names::LABEL_MEMBER], "server");
    let server = valid.servers().next().unwrap().1;
    let profile = profile(&server.release, &valid.remains.spec.equipment);
    assert_eq!(profile.durability.copies, 3);
    assert!(profile.durability.text.contains("applied on each standby"));
}

#[test]
fn settings_with_which_no_standby_could_follow_are_refused() {
    for (settings, said) in [
        (
            json!({"wal_level": "Minimal"}),
            "wal_level is Minimal, with which they could not follow: set it to replica",
        ),
        (
            json!({"max_wal_senders": "0"}),
            "max_wal_senders is 0, with which they could not follow: set it to 2 at least",
        ),
        (
            json!({"max_replication_slots": "1"}),
            "max_replication_slots is 1",
        ),
    ] {
        let refusal = check(&postgres(&settings), "3", "6Gi").unwrap_err();
        assert_eq!(refusal.reason(), "InvalidSpec");
        assert!(refusal.to_string().contains(said), "{refusal}");
    }
    let enough =
        json!({"wal_level": "logical", "max_wal_senders": "2", "max_replication_slots": "2"});
    assert!(check(&postgres(&enough), "3", "6Gi").is_ok());
    // Without standbys they are the user's.
    let alone = json!({"name": "pg", "postgres": {"version": "18.4", "settings": {"wal_level": "minimal", "max_wal_senders": "0"}}});
    assert!(check(&alone, "3", "6Gi").is_ok());
}
/// The containers of each sort of pods, and whether they see each other's processes.
fn containers(valid: &Validated) -> Vec<(Vec<String>, bool)> {
    let (sets, _) = made(valid);
    let pods = sets
        .into_iter()
        .map(|set| set.spec.unwrap().template.spec.unwrap());
    pods.map(|pod| {
        let names = pod
            .containers
            .iter()
            .map(|container| container.name.clone());
        let hook = pod.containers[0].lifecycle.as_ref();
        let asked = hook.is_some_and(|hook| hook.pre_stop.as_ref().unwrap().http_get.is_some());
        assert_eq!(asked, pod.share_process_namespace == Some(true));
        (names.collect(), asked)
    })
    .collect()
}

#[test]
fn what_kills_a_server_stands_beside_it_in_experiments_that_ask_for_it_alone() {
    let mut valid = check(&seaweedfs(), "3", "6Gi").unwrap();
    assert!(containers(&valid).iter().all(|(_, mortal)| !mortal));
    let loss = json!([{"name": "loss", "serverLoss": {"load": {"closed": {"concurrency": [1]}}}}]);
    valid.remains.spec.workloads = serde_json::from_value(loss).unwrap();
    let all = containers(&valid);
    let mortal: Vec<bool> = all.iter().map(|(_, mortal)| *mortal).collect();
    assert_eq!(
        mortal,
        [false, false, true],
        "a filer and a master are not lost"
    );
    assert_eq!(all[2].0, ["server", "killer"]);
}

#[test]
fn equipment_that_is_too_little_for_so_many_pods_is_refused() {
    let refusal = check(&minio(), "1", "768Mi").unwrap_err();
    assert_eq!(refusal.reason(), "EquipmentTooSmall");
    let said = refusal.to_string();
    assert!(
        said.contains("backend m: split over 4 pods") && said.contains("192Mi"),
        "{said}"
    );
}

fn ready_pod(of: &Remains, name: &str, member: &str, node: &str) -> Arc<Pod> {
    let mut labels: BTreeMap<String, String> = super::selector(of, super::Role::Backend);
    labels.insert(names::LABEL_BACKEND.to_owned(), "m".to_owned());
    labels.insert(names::LABEL_MEMBER.to_owned(), member.to_owned());
    Arc::new(
        serde_json::from_value(json!({
            "metadata": {"name": name, "labels": labels, "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"nodeName": node, "containers": [{"name": "server"}]},
            "status": {
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:09Z"}],
                "containerStatuses": [{"name": "server", "image": "i", "imageID": "i@sha256:1", "ready": true, "restartCount": 0}],
            },
        }))
        .unwrap(),
    )
}

#[test]
fn a_server_is_ready_when_all_of_its_pods_are_and_the_plan_has_each() {
    let valid = check(&minio(), "2", "4Gi").unwrap();
    let of = &valid.remains;
    let children = |pods: i32, nodes: i32| Children {
        pods: (0..pods)
            .map(|at| {
                let name = format!("c-0123abcd-be-m-{at}");
                ready_pod(of, &name, "server", &format!("n{}", at % nodes))
            })
            .collect(),
        ..Children::default()
    };
    assert_eq!(servers_down(of, &children(3, 3)), ["m"]);
    assert!(servers_down(of, &children(4, 3)).is_empty());
    let plan = |nodes: i32| {
        let observed = Observed {
            children: children(4, nodes),
            ..Observed::default()
        };
        let plan = run_plan::run_plan(&valid, &settings_with([]), &observed, Default::default(), 0);
        plan.backends[0].clone()
    };
    let spread = plan(3);
    assert_eq!((spread.pods.len(), spread.node.as_str()), (4, "n0, n1, n2"));
    assert_eq!(
        spread.pods[3].metrics_url.as_deref(),
        Some("http://c-0123abcd-be-m-3.c-0123abcd-peers-m.lab.svc:9000/minio/v2/metrics/node")
    );
    assert_eq!(
        (spread.metrics_url, spread.pods[3].node.as_str()),
        (None, "n0")
    );
    assert_eq!(spread.bytes_stored_per_byte, Some(2.0));
    assert_eq!(spread.time_to_ready_seconds, Some(9));
    let said = |caveats: &[String]| caveats.iter().any(|caveat| caveat.contains("on one node"));
    assert!(!said(&spread.caveats) && said(&plan(1).caveats));
    assert_eq!(of.topology(ServerName::Backend("m")).pods(), 4);
}
