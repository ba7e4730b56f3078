use super::*;
use crate::controllers::experiment::build::tests::only_set;
use crate::parts::frame;
use crate::parts::pods::strange_containers;
use crate::settings::Settings;
use bakeoff_crds::Experiment;
use bakeoff_crds::durability::DurabilityClass;
use bakeoff_crds::spec::{Backend, Origin};
use bakeoff_rules::catalogue::Catalogue;
use bakeoff_rules::validate::{Remains, Server, ServerName};
use k8s_openapi::api::core::v1::{Pod, PodSpec, PodTemplateSpec};
use serde_json::{Value, json};

fn experiment(backend: &Value) -> Experiment {
    serde_json::from_value(json!({
        "apiVersion": "bakeoff.dev/v1alpha1", "kind": "Experiment",
        "metadata": {"name": "c", "namespace": "lab", "uid": "0123abcd-0000-4000-8000-000000000000"},
        "spec": {"backends": [backend], "workloads": [{"name": "put", "smallObjectPut": {"load": {"closed": {"concurrency": [1]}}}}]},
    }))
    .unwrap()
}

fn release(backend: &Value) -> Release {
    let backend: Backend = serde_json::from_value(backend.clone()).unwrap();
    match backend.origin() {
        Some(Origin::Provisioned(release)) => release,
        other => panic!("{other:?}"),
    }
}

fn pod(stated: &Value) -> PodSpec {
    template(stated).spec.unwrap()
}

fn template(stated: &Value) -> PodTemplateSpec {
    template_of(&experiment(stated))
}

fn template_of(experiment: &Experiment) -> PodTemplateSpec {
    let remains = Remains::of(experiment).unwrap();
    let settings = Settings {
        catalogue: Catalogue::default(),
        loadgen_image: "loadgen:1".to_owned(),
        pull_policy: "IfNotPresent".to_owned(),
        namespace: "bakeoff-system".to_owned(),
        results: None,
        pods: Default::default(),
        kubernetes_version: "v1.35.4".to_owned(),
        cluster_domain: Some("cluster.local".to_owned()),
    };
    let stated = serde_json::to_value(&experiment.spec.backends[0]).unwrap();
    let release = release(&stated);
    let shares = release.topology.shares(&remains.spec.equipment);
    let server = Server {
        image: "image:1".to_owned(),
        shares: shares.unwrap(),
        release,
    };
    let set = only_set(&remains, (ServerName::Backend("a"), &server), &settings);
    set.spec.unwrap().template
}

#[test]
fn every_backend_says_its_licence_and_who_maintains_it() {
    let equipment = Equipment::default();
    for stated in [
        json!({"name": "a", "minio": {"version": "R1"}}),
        json!({"name": "a", "seaweedfs": {"version": "4.48"}}),
        json!({"name": "a", "garage": {"version": "2.5.0"}}),
        json!({"name": "a", "versitygw": {"version": "1.8.0"}}),
        json!({"name": "a", "postgres": {"version": "18.4"}}),
    ] {
        let upkeep = profile(&release(&stated), &equipment).upkeep;
        let all = [&upkeep.licence, &upkeep.maintenance, &upkeep.source];
        assert!(all.iter().all(|text| !text.is_empty()), "{stated}");
        assert!(
            upkeep.as_of.parse::<jiff::civil::Date>().is_ok(),
            "{stated}"
        );
    }
    let described = |more: Value| {
        let mut server = json!({"image": "i:1", "port": 9000, "credentials": {"accessKeyIdEnv": "A", "secretAccessKeyEnv": "B"}});
        server
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().cloned().unwrap());
        profile(
            &release(&json!({"name": "a", "s3Server": server})),
            &equipment,
        )
        .upkeep
    };
    assert!(described(json!({})).is_empty());
    let own = described(json!({"licence": "MIT", "maintenance": "we ourselves"}));
    assert_eq!((&*own.licence, &*own.source), ("MIT", "the experiment"));
    assert_eq!(own.maintained(), "we ourselves (says the experiment)");
}

#[test]
fn a_server_promises_what_its_backend_asks_for() {
    let of = |kind: &str, version: &str, durability: &str| json!({"name": "a", kind: {"version": version, "durability": durability}});
    for (stated, class) in [
        (
            of("minio", "R1", "FlushedButLastOperation"),
            DurabilityClass::FlushedButLastOperation,
        ),
        (of("minio", "R1", "Flushed"), DurabilityClass::Flushed),
        (
            of("seaweedfs", "4.48", "PageCache"),
            DurabilityClass::PageCache,
        ),
        (of("seaweedfs", "4.48", "Flushed"), DurabilityClass::Flushed),
        (
            of("garage", "2.5.0", "PageCache"),
            DurabilityClass::PageCache,
        ),
        (
            of("garage", "2.5.0", "FlushedButLastOperation"),
            DurabilityClass::FlushedButLastOperation,
        ),
        (
            json!({"name": "a", "versitygw": {"version": "1.8.0"}}),
            DurabilityClass::PageCache,
        ),
        (
            json!({"name": "a", "postgres": {"version": "18.4"}}),
            DurabilityClass::Flushed,
        ),
        (
            json!({"name": "a", "postgres": {"version": "18.4", "settings": {"fsync": "off"}}}),
            DurabilityClass::PageCache,
        ),
    ] {
        let profile = profile(&release(&stated), &Equipment::default());
        let said = &profile.durability;
        assert_eq!(said.class, Some(class), "{stated}");
        let whole = said.not_flushed.is_empty();
        assert_eq!(whole, class == DurabilityClass::Flushed, "{stated}");
        assert!(said.shown_by.starts_with("bench/run cut: "), "{stated}");
        assert!(!said.text.is_empty() && said.copies == 1);
    }
}

#[test]
fn seaweedfs_flushes_by_a_rule_that_is_there_before_the_pod_is_ready() {
    let durable =
        pod(&json!({"name": "a", "seaweedfs": {"version": "4.48", "durability": "Flushed"}}));
    let [server, setter] = &durable.containers[..] else {
        panic!("{} containers", durable.containers.len())
    };
    let env = server.env.as_ref().unwrap();
    let value = |name: &str| env.iter().find(|one| one.name == name)?.value.clone();
    assert_eq!(value("WEED_SQLITE_ENABLED").as_deref(), Some("true"));
    assert!(
        value("WEED_SQLITE_DBFILE")
            .unwrap()
            .contains("synchronous(FULL)")
    );
    assert_eq!(
        (setter.name.as_str(), setter.image.as_deref()),
        (frame::SETTER, Some("loadgen:1"))
    );
    assert!(
        setter
            .args
            .as_ref()
            .unwrap()
            .iter()
            .any(|arg| arg.contains("\"fsync\":true"))
    );
    assert!(
        setter.readiness_probe.is_some(),
        "the pod is ready with it alone"
    );
    let prepare = &durable.init_containers.as_ref().unwrap()[0];
    assert_eq!(prepare.command.as_ref().unwrap(), &["weed", "fix", "/data"]);
    assert_eq!(prepare.image, server.image);
    let all = Pod {
        spec: Some(durable.clone()),
        ..Default::default()
    };
    assert_eq!(strange_containers(&all).count(), 0, "all are ours");

    let usual = pod(&json!({"name": "a", "seaweedfs": {"version": "4.48"}}));
    assert_eq!((usual.containers.len(), usual.init_containers), (1, None));
}

#[test]
fn no_variable_of_a_described_server_stands_twice() {
    let stated = json!({"name": "a", "s3Server": {
        "image": "docker.io/rustfs/rustfs:1.0.1", "port": 9123, "env": [{"name": "HOME", "value": "/data"}],
        "credentials": {"accessKeyIdEnv": "KEY", "secretAccessKeyEnv": "SECRET"},
    }});
    let pod = pod(&stated);
    let env = pod.containers[0].env.as_ref().unwrap();
    let homes: Vec<_> = env.iter().filter(|one| one.name == "HOME").collect();
    assert_eq!(homes.len(), 1);
    assert_eq!(homes[0].value.as_deref(), Some("/data"));
}

/// A server that waits for its peers is not killed while the experiment still waits for it.
#[test]
fn a_server_may_take_as_long_to_begin_as_is_waited_for_it() {
    let patience = |seconds: i32| {
        let mut experiment =
            experiment(&json!({"name": "a", "garage": {"version": "2.5.0", "nodes": 3}}));
        experiment.spec.limits.provision_seconds = seconds;
        let pod = template_of(&experiment).spec.unwrap();
        let probes = pod
            .containers
            .iter()
            .filter_map(|one| one.startup_probe.clone());
        let least: Option<i32> = probes.filter_map(|probe| probe.failure_threshold).min();
        least.unwrap()
    };
    assert_eq!(patience(3_600), 3_600);
    assert_eq!(patience(30), 300);
}

#[test]
fn a_server_that_is_described_runs_as_it_is_described_and_promises_what_is_stated() {
    let stated = json!({"name": "a", "s3Server": {
        "image": "docker.io/rustfs/rustfs:1.0.1", "args": ["serve", "--at", "$(POD_IP)"], "port": 9123,
        "env": [{"name": "RUSTFS_VOLUMES", "value": "/var/store"}], "dataPath": "/var/store", "user": 10001,
        "credentials": {"accessKeyIdEnv": "RUSTFS_ACCESS_KEY", "secretAccessKeyEnv": "RUSTFS_SECRET_KEY"},
        "readyPath": "/health/ready", "metrics": {"port": 9124}, "durability": "Flushed", "region": "eu-1",
    }});
    let pod = pod(&stated);
    let [server] = &pod.containers[..] else {
        panic!("{} containers", pod.containers.len())
    };
    assert_eq!(server.command, None, "the image's own");
    assert_eq!(
        server.args.as_ref().unwrap(),
        &["serve", "--at", "$(POD_IP)"]
    );
    let env = server.env.as_ref().unwrap();
    let names: Vec<&str> = env.iter().map(|one| one.name.as_str()).collect();
    // What the others refer to comes first.
    assert_eq!(
        names,
        [
            "POD_IP",
            "HOME",
            "RUSTFS_VOLUMES",
            "RUSTFS_ACCESS_KEY",
            "RUSTFS_SECRET_KEY"
        ]
    );
    let from = env[4]
        .value_from
        .as_ref()
        .unwrap()
        .secret_key_ref
        .as_ref()
        .unwrap();
    assert_eq!(from.key, "secretAccessKey");
    let mounts = server.volume_mounts.as_ref().unwrap();
    assert!(
        mounts
            .iter()
            .any(|mount| mount.name == "data" && mount.mount_path == "/var/store")
    );
    assert_eq!(pod.security_context.unwrap().run_as_user, Some(10_001));
    let profile = profile(&release(&stated), &Equipment::default());
    assert_eq!(
        (profile.pods.port, profile.region.as_ref()),
        (9_123, "eu-1")
    );
    assert_eq!(profile.pods.metrics, Some((9_124, "/metrics".into())));
    assert_eq!(profile.durability.class, Some(DurabilityClass::Flushed));
    assert_eq!(profile.durability.shown_by, "", "nobody tried it");
    assert!(profile.durability.text.contains("nobody tried"));
}

#[test]
fn garage_reads_its_settings_from_an_annotation_of_its_pod() {
    let stated = json!({"name": "a", "garage": {"version": "2.5.0", "durability": "FlushedButLastOperation"}});
    let template = template(&stated);
    let annotations = template.metadata.unwrap().annotations.unwrap();
    let text = &annotations["bakeoff.dev/settings"];
    assert!(
        text.contains("\ndata_fsync = true\n") && text.contains("\nmetadata_fsync = true\n"),
        "{text}"
    );
    let pod = template.spec.unwrap();
    let volumes = pod.volumes.unwrap();
    let volume = volumes
        .iter()
        .find(|volume| volume.name == "settings")
        .unwrap();
    let items = volume
        .downward_api
        .as_ref()
        .unwrap()
        .items
        .as_ref()
        .unwrap();
    assert_eq!(items[0].path, "garage.toml");
    let mounts = pod.containers[0].volume_mounts.as_ref().unwrap();
    let mount = mounts
        .iter()
        .find(|mount| mount.name == "settings")
        .unwrap();
    assert_eq!(
        (mount.mount_path.as_str(), mount.read_only),
        ("/etc/garage", Some(true))
    );
    assert!(
        pod.containers[0]
            .command
            .as_ref()
            .unwrap()
            .contains(&"/etc/garage/garage.toml".to_owned())
    );
}
