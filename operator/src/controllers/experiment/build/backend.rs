//! The systems under test: StatefulSet, headless Service and credentials of each kind. (Pure.)
//!
//! Everything that differs between the kinds is in [`Profile`].

use super::profile::{Profile, Ready};
use super::{
    Role, container_security, guaranteed, metadata, node_selector, pod_security, pull_policy,
    selector, undisturbed,
};
use crate::settings::Settings;
use bakeoff_crds::names;
use bakeoff_crds::run::NodeFacts;
use bakeoff_rules::validate::{ValidBackend, Validated};
use k8s_openapi::api::apps::v1::{
    StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec,
};
use k8s_openapi::api::core::v1::{
    Affinity, Container, ContainerPort, EmptyDirVolumeSource, EnvVar, EnvVarSource, HTTPGetAction,
    PersistentVolumeClaim, PersistentVolumeClaimSpec, PodAffinity, PodAffinityTerm,
    PodAntiAffinity, PodSpec, PodTemplateSpec, Probe, SecretKeySelector, Service, ServicePort,
    ServiceSpec, TCPSocketAction, Volume, VolumeMount, VolumeResourceRequirements,
    WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::collections::BTreeMap;

/// The role part of a backend's child names.
#[must_use]
pub fn role_name(backend: &ValidBackend) -> String {
    if backend.name == names::LOCK_SERVER {
        // The dot that keeps it apart from backends is no part of a host name.
        return "lock".to_owned();
    }
    format!("be-{}", backend.name)
}

/// The Secret with the credentials of a backend.
#[must_use]
pub fn credentials_name(valid: &Validated, backend: &ValidBackend) -> String {
    if backend.name == names::LOCK_SERVER {
        return valid.child("lock-cred");
    }
    valid.child(&format!("cred-{}", backend.name))
}

/// The address at which generators find a provisioned backend.
#[must_use]
pub fn endpoint(valid: &Validated, backend: &ValidBackend, scheme: &str, port: i32) -> String {
    format!(
        "{scheme}://{}.{}.svc:{port}",
        valid.child(&role_name(backend)),
        valid.id.namespace
    )
}

fn pod_labels(valid: &Validated, backend: &ValidBackend) -> BTreeMap<String, String> {
    let mut labels = super::labels(valid, Role::Backend);
    labels.insert(names::LABEL_BACKEND.to_owned(), backend.name.clone());
    labels
}

fn pod_selector(valid: &Validated, backend: &ValidBackend) -> BTreeMap<String, String> {
    let mut selector = selector(valid, Role::Backend);
    selector.insert(names::LABEL_BACKEND.to_owned(), backend.name.clone());
    selector
}

fn backend_metadata(valid: &Validated, backend: &ValidBackend) -> ObjectMeta {
    ObjectMeta {
        labels: Some(pod_labels(valid, backend)),
        ..metadata(valid, valid.child(&role_name(backend)), Role::Backend)
    }
}

/// The headless Service of a backend.
#[must_use]
pub fn service(valid: &Validated, backend: &ValidBackend, profile: &Profile) -> Service {
    Service {
        metadata: backend_metadata(valid, backend),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            selector: Some(pod_selector(valid, backend)),
            ports: Some(vec![ServicePort {
                name: Some(profile.port_name.to_owned()),
                port: profile.port,
                ..Default::default()
            }]),
            ..Default::default()
        }),
        status: None,
    }
}

/// The StatefulSet of a backend. Its volume claim goes when it goes; one that keeps nothing has none.
#[must_use]
pub fn stateful_set(
    valid: &Validated,
    backend: &ValidBackend,
    profile: &Profile,
    settings: &Settings,
    nodes: &[NodeFacts],
) -> StatefulSet {
    let storage = &valid.spec.equipment.storage;
    let claim = PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some("data".to_owned()),
            labels: Some(pod_labels(valid, backend)),
            ..Default::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            storage_class_name: storage.storage_class_name.clone(),
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([(
                    "storage".to_owned(),
                    Quantity(storage.size.0.clone()),
                )])),
                limits: None,
            }),
            ..Default::default()
        }),
        status: None,
    };
    StatefulSet {
        metadata: backend_metadata(valid, backend),
        spec: Some(StatefulSetSpec {
            replicas: Some(1),
            service_name: Some(valid.child(&role_name(backend))),
            selector: LabelSelector {
                match_labels: Some(pod_selector(valid, backend)),
                match_expressions: None,
            },
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(pod_labels(valid, backend)),
                    annotations: Some(undisturbed()),
                    ..Default::default()
                }),
                spec: Some(pod(valid, backend, profile, settings, nodes)),
            },
            volume_claim_templates: profile.keeps_data.then(|| vec![claim]),
            persistent_volume_claim_retention_policy: Some(
                StatefulSetPersistentVolumeClaimRetentionPolicy {
                    when_deleted: Some("Delete".to_owned()),
                    when_scaled: Some("Delete".to_owned()),
                },
            ),
            ..Default::default()
        }),
        status: None,
    }
}

fn pod(
    valid: &Validated,
    backend: &ValidBackend,
    profile: &Profile,
    settings: &Settings,
    nodes: &[NodeFacts],
) -> PodSpec {
    let secret = credentials_name(valid, backend);
    let mut env: Vec<EnvVar> = profile
        .env
        .iter()
        .map(|(name, value)| EnvVar {
            name: (*name).to_owned(),
            value: Some((*value).to_owned()),
            value_from: None,
        })
        .collect();
    env.extend(profile.secret_env.iter().map(|(name, key)| EnvVar {
        name: (*name).to_owned(),
        value: None,
        value_from: Some(EnvVarSource {
            secret_key_ref: Some(SecretKeySelector {
                name: secret.clone(),
                key: (*key).to_owned(),
                optional: None,
            }),
            ..Default::default()
        }),
    }));
    let port = IntOrString::Int(profile.port);
    let (http_get, tcp_socket) = match profile.ready {
        Ready::Http(path) => {
            let get = HTTPGetAction {
                path: Some(path.to_owned()),
                port,
                ..Default::default()
            };
            (Some(get), None)
        }
        Ready::Open => (None, Some(TCPSocketAction { host: None, port })),
    };
    let probe = |period, failures| Probe {
        http_get: http_get.clone(),
        tcp_socket: tcp_socket.clone(),
        period_seconds: Some(period),
        timeout_seconds: Some(3),
        failure_threshold: Some(failures),
        ..Default::default()
    };
    let mount = |name: &str, path: &str, read_only: bool| VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: Some(read_only),
        ..Default::default()
    };
    let mut mounts = vec![mount("tmp", "/tmp", false)];
    if profile.keeps_data {
        mounts.push(mount("data", "/data", false));
    }
    let base = Container {
        image: Some(backend.image.clone()),
        image_pull_policy: pull_policy(settings),
        env: Some(env),
        resources: Some(guaranteed(
            profile
                .resources
                .as_ref()
                .unwrap_or(&valid.spec.equipment.resources),
        )),
        // A server that refuses its settings says so on standard error, and the pod repeats it.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        security_context: Some(container_security()),
        volume_mounts: Some(mounts),
        ..Default::default()
    };
    let prepare = profile.prepare.as_ref().map(|command| Container {
        name: "prepare".to_owned(),
        command: Some(command.clone()),
        ..base.clone()
    });
    let container = Container {
        name: "server".to_owned(),
        command: Some(started(profile)),
        ports: Some(vec![ContainerPort {
            name: Some(profile.port_name.to_owned()),
            container_port: profile.port,
            ..Default::default()
        }]),
        // Frequent until it is ready, so that little time is lost; rare afterwards, so that nothing is disturbed.
        startup_probe: Some(probe(1, 300)),
        readiness_probe: Some(probe(10, 3)),
        ..base
    };
    PodSpec {
        init_containers: prepare.map(|container| vec![container]),
        containers: vec![container],
        node_selector: node_selector(valid),
        affinity: Some(affinity(valid, nodes.len())),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(5),
        security_context: Some(pod_security(profile.user)),
        volumes: Some(vec![Volume {
            name: "tmp".to_owned(),
            empty_dir: Some(EmptyDirVolumeSource::default()),
            ..Default::default()
        }]),
        ..Default::default()
    }
}

/// The command line of a container, by way of the shell where it has a script. The shell takes its first argument for
/// its own name.
fn started(profile: &Profile) -> Vec<String> {
    let mut command: Vec<String> = Vec::new();
    if let Some(script) = profile.starter {
        command.extend(["sh", "-c", script].map(str::to_owned));
    }
    command.extend(profile.command.iter().cloned());
    command
}

/// Where a backend goes: on a node of its own where the pool has one for each backend and one for the
/// generators, else together with the other backends, so that they run on the same node.
fn affinity(valid: &Validated, nodes: usize) -> Affinity {
    let others = WeightedPodAffinityTerm {
        weight: 100,
        pod_affinity_term: on_same_host(selector(valid, Role::Backend)),
    };
    if nodes > valid.provisioned().count() {
        Affinity {
            pod_anti_affinity: Some(PodAntiAffinity {
                preferred_during_scheduling_ignored_during_execution: Some(vec![others]),
                ..Default::default()
            }),
            ..Default::default()
        }
    } else {
        Affinity {
            pod_affinity: Some(PodAffinity {
                preferred_during_scheduling_ignored_during_execution: Some(vec![others]),
                ..Default::default()
            }),
            ..Default::default()
        }
    }
}

/// Pods with these labels, by host.
#[must_use]
pub fn on_same_host(labels: BTreeMap<String, String>) -> PodAffinityTerm {
    PodAffinityTerm {
        label_selector: Some(LabelSelector {
            match_labels: Some(labels),
            match_expressions: None,
        }),
        topology_key: "kubernetes.io/hostname".to_owned(),
        ..Default::default()
    }
}
