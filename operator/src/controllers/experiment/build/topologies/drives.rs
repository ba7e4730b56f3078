//! Servers with several drives. (Tests.)

use super::{check, commands, made};
use crate::controllers::experiment::build::profile::profile;
use k8s_openapi::api::apps::v1::StatefulSet;
use serde_json::json;

/// The claims of a StatefulSet with their sizes, and where the server finds them.
fn drives(set: &StatefulSet) -> Vec<(String, String, String)> {
    let spec = set.spec.as_ref().unwrap();
    let pod = spec.template.spec.as_ref().unwrap();
    let mounts = pod.containers[0].volume_mounts.as_ref().unwrap();
    let claims = spec.volume_claim_templates.iter().flatten();
    let drives = claims.map(|claim| {
        let name = claim.metadata.name.clone().unwrap();
        let asked = claim.spec.as_ref().unwrap().resources.as_ref().unwrap();
        let size = asked.requests.as_ref().unwrap()["storage"].0.clone();
        let mount = mounts.iter().find(|mount| mount.name == name).unwrap();
        (name, size, mount.mount_path.clone())
    });
    drives.collect()
}

#[test]
fn each_server_of_minio_has_as_many_drives_as_it_is_asked_for() {
    let of = |servers: i32, drives: i32| json!({"name": "m", "minio": {"version": "R1", "servers": servers, "drivesPerServer": drives}});
    let drive =
        |at: &str, size: &str, path: &str| (at.to_owned(), size.to_owned(), path.to_owned());
    let one = check(&of(1, 1), "2", "4Gi").unwrap();
    assert_eq!(
        drives(&made(&one).0[0]),
        [drive("data", "8Gi", "/data")],
        "as it always was"
    );

    let whole = check(&of(1, 4), "2", "4Gi").unwrap();
    let (sets, services) = made(&whole);
    let numbered = |size: &str, many: i32| -> Vec<_> {
        (1..=many)
            .map(|at| drive(&format!("data-{at}"), size, &format!("/data{at}")))
            .collect()
    };
    assert_eq!(drives(&sets[0]), numbered("2048Mi", 4));
    assert!(
        commands(&sets, 0)[0].starts_with("minio server /data{1...4} --address"),
        "{:?}",
        commands(&sets, 0)
    );
    assert_eq!(services.len(), 1, "it has nobody to find");
    let (_, server) = whole.servers().next().unwrap();
    let said = profile(&server.release, &whole.remains.spec.equipment);
    assert_eq!(said.durability.copies, 3);
    assert!(
        said.durability
            .text
            .starts_with("one server with 4 drives, 2 data and 2 parity shards"),
        "{}",
        said.durability.text
    );
    assert!(said.pods.env.contains(&("MINIO_CI_CD".into(), "1".into())));
    let all = &server.shares[0];
    let storage = all.storage.as_ref().unwrap();
    assert_eq!(
        (all.resources.cpu.0.as_str(), storage.0.as_str()),
        ("2", "8192Mi")
    );

    let several = check(&of(4, 2), "2", "4Gi").unwrap();
    let (sets, _) = made(&several);
    assert_eq!(drives(&sets[0]), numbered("1024Mi", 2));
    assert!(
        commands(&sets, 0)[0]
            .contains("-be-m-{0...3}.c-0123abcd-peers-m.lab.svc.cluster.local:9000/data{1...2} ")
    );
    let (_, server) = several.servers().next().unwrap();
    let said = profile(&server.release, &several.remains.spec.equipment);
    assert!(
        said.durability
            .text
            .starts_with("4 servers with 2 drives each, 4 data and 4 parity shards"),
        "{}",
        said.durability.text
    );
    assert_eq!(server.shares[0].storage.as_ref().unwrap().0, "2048Mi");

    let many = check(&of(5, 4), "5", "8Gi").unwrap();
    let (_, server) = many.servers().next().unwrap();
    let said = profile(&server.release, &many.remains.spec.equipment);
    assert!(
        said.durability
            .text
            .contains("4 drives each, 2 sets of 10 drives, 6 data and 4 parity"),
        "{}",
        said.durability.text
    );
}
