//! Nodes of Garage. (Tests.)

use super::{check, commands, made, with_names};
use crate::controllers::experiment::build::profile::profile;
use bakeoff_crds::durability::DurabilityClass;
use bakeoff_crds::names;
use bakeoff_crds::spec::Member;
use k8s_openapi::api::core::v1::Container;
use serde_json::{Value, json};

fn garage(durability: &str) -> Value {
    json!({"name": "g", "garage": {"version": "2.5.0", "nodes": 3, "durability": durability}})
}

#[test]
fn nodes_of_garage_share_a_secret_and_what_stands_beside_them_has_them_join() {
    let valid = check(&garage("FlushedButLastOperation"), "3", "3Gi").unwrap();
    let (sets, services) = made(&valid);
    let [set] = &sets[..] else {
        panic!("{} sets", sets.len())
    };
    let spec = set.spec.as_ref().unwrap();
    assert_eq!((spec.replicas, services.len()), (Some(3), 2));
    let template = &spec.template;
    let annotations = template.metadata.as_ref().unwrap().annotations.as_ref();
    let text = &annotations.unwrap()[names::ANNOTATION_SETTINGS];
    for line in [
        "replication_factor = 3",
        "consistency_mode = \"consistent\"",
        "rpc_bind_addr = \"[::]:3901\"",
        "api_bind_addr = \"127.0.0.1:3903\"",
        "data_fsync = true",
    ] {
        assert!(text.lines().any(|one| one == line), "{line} in {text}");
    }
    let pod = template.spec.as_ref().unwrap();
    let [server, beside] = &pod.containers[..] else {
        panic!("{} containers", pod.containers.len())
    };
    assert!(!commands(&sets, 0)[0].contains("--single-node"));
    let secret = |container: &Container, name: &str| {
        let env = container.env.as_ref().unwrap().iter();
        let found = env.into_iter().find(|one| one.name == name).unwrap();
        let from = found.value_from.as_ref().unwrap();
        from.secret_key_ref.as_ref().unwrap().key.clone()
    };
    for (container, name) in [
        (server, "GARAGE_RPC_SECRET"),
        (server, "GARAGE_ADMIN_TOKEN"),
        (beside, "GARAGE_ADMIN_TOKEN"),
    ] {
        assert_eq!(secret(container, name), names::SECRET_OF_NODES);
    }
    assert_eq!(
        secret(beside, "AWS_SECRET_ACCESS_KEY"),
        names::SECRET_SECRET_ACCESS_KEY
    );
    assert!(beside.readiness_probe.is_some());
    // Each knows its own name, and those beside all of them, in one order.
    let own = "c-0123abcd-be-g-1.c-0123abcd-peers-g.lab.svc.cluster.local:3901";
    let line = with_names(beside, beside.args.as_ref().unwrap(), "c-0123abcd-be-g-1");
    assert!(line.contains(&format!("--address {own} ")), "{line}");
    let all = (0..3).map(|index| {
        format!(
            "--beside http://c-0123abcd-be-g-{index}.c-0123abcd-peers-g.lab.svc.cluster.local:9091"
        )
    });
    assert!(line.ends_with(&all.collect::<Vec<_>>().join(" ")), "{line}");
}

#[test]
fn three_nodes_of_garage_acknowledge_when_two_of_them_have_it() {
    for (durability, class) in [
        ("PageCache", DurabilityClass::PageCache),
        (
            "FlushedButLastOperation",
            DurabilityClass::FlushedButLastOperation,
        ),
    ] {
        let valid = check(&garage(durability), "3", "3Gi").unwrap();
        let (_, server) = valid.servers().next().unwrap();
        let said = profile(&server.release, &valid.remains.spec.equipment).durability;
        assert_eq!((said.class, said.copies), (Some(class), 2));
        assert!(
            said.text.contains("acknowledged when 2 of them"),
            "{}",
            said.text
        );
        let topology = &server.release.topology;
        let stored = topology.bytes_stored_per_byte();
        assert!((stored - 3.0).abs() < f64::EPSILON);
        assert_eq!(topology.expendable(), Member::Server);
        let shares: Vec<_> = server
            .shares
            .iter()
            .map(|share| {
                let storage = share.storage.as_ref().unwrap();
                (share.pods, share.resources.cpu.0.clone(), storage.0.clone())
            })
            .collect();
        assert_eq!(shares, [(3, "1000m".to_owned(), "2730Mi".to_owned())]);
    }
}
