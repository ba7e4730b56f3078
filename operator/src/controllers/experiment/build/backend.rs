//! The systems under test: StatefulSet, headless Service and credentials of each kind. (Pure.)
//!
//! Everything that differs between the kinds is in [`Profile`].

use super::frame::{PREPARATION, SERVER, SETTER, container_security};
use super::profile::{File, Profile, Ready, Setter};
use super::{Role, frame, guaranteed, metadata, pull_policy, scratch, selector};
use crate::settings::Settings;
use bakeoff_crds::names;
use bakeoff_crds::run::NodeFacts;
use bakeoff_crds::spec::Resources;
use bakeoff_rules::validate::{Remains, ServerName};
use k8s_openapi::api::apps::v1::{
    StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec,
};
use k8s_openapi::api::core::v1::{
    Affinity, Container, ContainerPort, DownwardAPIVolumeFile, DownwardAPIVolumeSource, EnvVar,
    EnvVarSource, HTTPGetAction, ObjectFieldSelector, PersistentVolumeClaim,
    PersistentVolumeClaimSpec, PodAffinity, PodAffinityTerm, PodAntiAffinity, PodSpec,
    PodTemplateSpec, Probe, SecretKeySelector, Service, ServicePort, ServiceSpec, TCPSocketAction,
    Volume, VolumeMount, VolumeResourceRequirements, WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::collections::BTreeMap;

/// The role part of the names of a server's children.
fn role_name(server: ServerName<'_>) -> String {
    match server {
        ServerName::Backend(name) => format!("be-{name}"),
        ServerName::Lock => "lock".to_owned(),
    }
}

/// The Secret with the credentials of a server.
#[must_use]
pub fn credentials_name(of: &Remains, server: ServerName<'_>) -> String {
    match server {
        ServerName::Backend(name) => of.child(&format!("cred-{name}")),
        ServerName::Lock => of.child("lock-cred"),
    }
}

/// The address at which generators find a server.
#[must_use]
pub fn endpoint(of: &Remains, server: ServerName<'_>, scheme: &str, port: i32) -> String {
    format!(
        "{scheme}://{}.{}.svc:{port}",
        of.child(&role_name(server)),
        of.id.namespace
    )
}

fn pod_labels(of: &Remains, server: ServerName<'_>) -> BTreeMap<String, String> {
    let mut labels = super::labels(of, Role::Backend);
    labels.insert(names::LABEL_BACKEND.to_owned(), server.as_str().to_owned());
    labels
}

fn pod_selector(of: &Remains, server: ServerName<'_>) -> BTreeMap<String, String> {
    let mut selector = selector(of, Role::Backend);
    selector.insert(names::LABEL_BACKEND.to_owned(), server.as_str().to_owned());
    selector
}

fn server_metadata(of: &Remains, server: ServerName<'_>) -> ObjectMeta {
    ObjectMeta {
        labels: Some(pod_labels(of, server)),
        ..metadata(of, of.child(&role_name(server)), Role::Backend)
    }
}

/// The headless Service of a server.
#[must_use]
pub fn service(of: &Remains, server: ServerName<'_>, profile: &Profile) -> Service {
    Service {
        metadata: server_metadata(of, server),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            selector: Some(pod_selector(of, server)),
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

/// The StatefulSet of a server. Its volume claim goes when it goes; one that keeps nothing has none.
#[must_use]
pub fn stateful_set(
    of: &Remains,
    (server, image): (ServerName<'_>, &str),
    profile: &Profile,
    settings: &Settings,
    nodes: &[NodeFacts],
) -> StatefulSet {
    let storage = &of.spec.equipment.storage;
    let claim = PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some("data".to_owned()),
            labels: Some(pod_labels(of, server)),
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
        metadata: server_metadata(of, server),
        spec: Some(StatefulSetSpec {
            replicas: Some(1),
            service_name: Some(of.child(&role_name(server))),
            selector: LabelSelector {
                match_labels: Some(pod_selector(of, server)),
                match_expressions: None,
            },
            template: template(of, (server, image), profile, settings, nodes),
            volume_claim_templates: profile.data.is_some().then(|| vec![claim]),
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

/// The name of the volume with a file of settings.
const FILE_VOLUME: &str = "settings";

fn template(
    of: &Remains,
    (server, image): (ServerName<'_>, &str),
    profile: &Profile,
    settings: &Settings,
    nodes: &[NodeFacts],
) -> PodTemplateSpec {
    let pod = pod(of, (server, image), profile, settings, nodes);
    let mut template = frame::template(of, settings, pod_labels(of, server), pod);
    if let (Some(file), Some(metadata)) = (&profile.file, &mut template.metadata) {
        let annotations = metadata.annotations.get_or_insert_default();
        annotations.insert(names::ANNOTATION_SETTINGS.to_owned(), file.text.clone());
    }
    template
}

/// The annotation of the pod with a file's text, as that file.
fn file_volume(file: &File) -> Volume {
    Volume {
        name: FILE_VOLUME.to_owned(),
        downward_api: Some(DownwardAPIVolumeSource {
            items: Some(vec![DownwardAPIVolumeFile {
                path: file.name.to_owned(),
                field_ref: Some(ObjectFieldSelector {
                    field_path: format!("metadata.annotations['{}']", names::ANNOTATION_SETTINGS),
                    api_version: None,
                }),
                ..Default::default()
            }]),
            default_mode: None,
        }),
        ..Default::default()
    }
}

fn pod(
    of: &Remains,
    (server, image): (ServerName<'_>, &str),
    profile: &Profile,
    settings: &Settings,
    nodes: &[NodeFacts],
) -> PodSpec {
    let secret = credentials_name(of, server);
    let clear = profile.env.iter().map(|(name, value)| EnvVar {
        name: name.to_string(),
        value: Some(value.to_string()),
        value_from: None,
    });
    let mut env = vec![frame::field("POD_IP", "status.podIP")];
    env.extend(clear);
    env.extend(profile.secret_env.iter().map(|(name, key)| EnvVar {
        name: name.to_string(),
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
    let (http_get, tcp_socket) = match &profile.ready {
        Ready::Http(path) => {
            let get = HTTPGetAction {
                path: Some(path.to_string()),
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
    let mut volumes = vec![scratch()];
    if let Some(file) = &profile.file {
        mounts.push(mount(FILE_VOLUME, file.folder, true));
        volumes.push(file_volume(file));
    }
    if let Some(path) = &profile.data {
        mounts.push(mount("data", path, false));
    }
    let base = Container {
        image: Some(image.to_owned()),
        image_pull_policy: pull_policy(settings),
        env: Some(env),
        resources: Some(guaranteed(
            profile
                .resources
                .as_ref()
                .unwrap_or(&of.spec.equipment.resources),
        )),
        // A server that refuses its settings says so on standard error, and the pod repeats it.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        security_context: Some(container_security()),
        volume_mounts: Some(mounts),
        ..Default::default()
    };
    let prepare = profile.prepare.as_ref().map(|command| Container {
        name: PREPARATION.to_owned(),
        command: Some(command.clone()),
        ..base.clone()
    });
    let container = Container {
        name: SERVER.to_owned(),
        command: Some(started(profile)).filter(|command| !command.is_empty()),
        args: Some(profile.args.clone()).filter(|args| !args.is_empty()),
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
    let setter = profile.setter.map(|setter| beside(setter, settings));
    let serving = [container].into_iter().chain(setter).collect();
    let containers = (prepare.into_iter().collect(), serving);
    PodSpec {
        affinity: Some(affinity(of, nodes.len())),
        termination_grace_period_seconds: Some(5),
        volumes: Some(volumes),
        ..frame::pod(of, settings, profile.user, containers)
    }
}

/// What the container of a setter gets, beside the equipment of the server: it looks now and then, and does nothing else.
#[must_use]
pub fn setter_resources() -> Resources {
    Resources {
        cpu: "20m".into(),
        memory: "32Mi".into(),
    }
}

/// The container that sets what the running server takes by HTTP alone. The pod is not ready before it is in force.
fn beside(setter: Setter, settings: &Settings) -> Container {
    let arguments = [
        "set",
        "--url",
        setter.url,
        "--body",
        setter.body,
        "--settle-seconds",
        &setter.settle_seconds.to_string(),
    ];
    let probe = |period| Probe {
        http_get: Some(HTTPGetAction {
            path: Some("/readyz".to_owned()),
            port: IntOrString::Int(names::SETTER_PORT),
            ..Default::default()
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(3),
        failure_threshold: Some(300),
        ..Default::default()
    };
    Container {
        name: SETTER.to_owned(),
        image: Some(settings.loadgen_image.clone()),
        image_pull_policy: pull_policy(settings),
        args: Some(arguments.map(str::to_owned).into()),
        resources: Some(guaranteed(&setter_resources())),
        startup_probe: Some(probe(1)),
        readiness_probe: Some(probe(10)),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        security_context: Some(container_security()),
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
fn affinity(of: &Remains, nodes: usize) -> Affinity {
    let others = WeightedPodAffinityTerm {
        weight: 100,
        pod_affinity_term: on_same_host(selector(of, Role::Backend)),
    };
    if nodes > of.servers().len() {
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
