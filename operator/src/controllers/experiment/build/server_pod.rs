//! The pods of a server: its container, what stands beside it, and where they go. (Pure.)

use super::profile::{File, Pods, Prepare, Ready, Setter, Words};
use super::selector;
use super::server_names::{
    credentials_name, domain, pod_labels, set_name, volumes, whole_selector,
};
use crate::parts::frame;
use crate::parts::frame::{KILLER, PREPARATION, SERVER, SETTER, container_security};
use crate::parts::objects::{Role, guaranteed, pull_policy, scratch};
use crate::settings::Settings;
use bakeoff_crds::names;
use bakeoff_crds::run::NodeFacts;
use bakeoff_crds::spec::{Resources, Share};
use bakeoff_rules::validate::{Remains, Server, ServerName};
use k8s_openapi::api::core::v1::{
    Affinity, Container, ContainerPort, DownwardAPIVolumeFile, DownwardAPIVolumeSource, EnvVar,
    EnvVarSource, HTTPGetAction, Lifecycle, LifecycleHandler, ObjectFieldSelector, PodAffinity,
    PodAffinityTerm, PodAntiAffinity, PodSpec, PodTemplateSpec, Probe, SecretKeySelector,
    TCPSocketAction, Volume, VolumeMount, WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::collections::BTreeMap;

/// Where the pods of a server go.
#[derive(Clone, Copy, Debug)]
pub struct Ground<'a> {
    /// What the installation gives all pods.
    pub settings: &'a Settings,
    /// The nodes that take them.
    pub nodes: &'a [NodeFacts],
}

/// What the command line of a pod may refer to beside `POD_IP`, of a server of several: its own name, the names of the StatefulSets, whose
/// pods are called after them with an index, and the domain in which all of these names are. With the cluster's own domain a pod knows
/// itself by its name at once, from its hosts file; without, not before the name server has heard of it, and MinIO ends meanwhile.
#[must_use]
pub fn names_of_others(
    of: &Remains,
    (name, server): (ServerName<'_>, &Server),
    settings: &Settings,
) -> Vec<EnvVar> {
    let topology = &server.release.topology;
    if topology.pods() == 1 {
        return Vec::new();
    }
    let clear = |key: &str, value: String| EnvVar {
        name: key.to_owned(),
        value: Some(value),
        value_from: None,
    };
    let members = topology.members().into_iter();
    let sets = members.map(|(member, _)| {
        let key = format!("{}S", member.as_str().to_uppercase());
        clear(&key, set_name(of, name, member))
    });
    let mut whole_domain = domain(of, name);
    if let Some(cluster) = &settings.cluster_domain {
        whole_domain = format!("{whole_domain}.{cluster}");
    }
    let mut all = vec![
        frame::field("POD_NAME", "metadata.name"),
        clear("DOMAIN", whole_domain),
    ];
    all.extend(sets);
    all
}

/// The name of the volume with a file of settings.
const FILE_VOLUME: &str = "settings";

#[must_use]
pub(super) fn template(
    of: &Remains,
    (name, server): (ServerName<'_>, &Server),
    (pods, share): (&Pods, &Share),
    ground: Ground<'_>,
) -> PodTemplateSpec {
    let pod = pod(of, (name, server), (pods, share), ground);
    let labels = pod_labels(of, name, pods.member);
    let mut template = frame::template(&of.spec.equipment, ground.settings, labels, pod);
    if let (Some(file), Some(metadata)) = (&pods.file, &mut template.metadata) {
        let annotations = metadata.annotations.get_or_insert_default();
        annotations.insert(names::ANNOTATION_SETTINGS.to_owned(), file.text.clone());
    }
    template
}

/// Variables from the Secret of this name: each with its key there.
fn from_secret(variables: &[(Words, &'static str)], secret: &str) -> Vec<EnvVar> {
    let variables = variables.iter();
    variables
        .map(|(name, key)| EnvVar {
            name: name.to_string(),
            value: None,
            value_from: Some(EnvVarSource {
                secret_key_ref: Some(SecretKeySelector {
                    name: secret.to_owned(),
                    key: (*key).to_owned(),
                    optional: None,
                }),
                ..Default::default()
            }),
        })
        .collect()
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

/// For how many seconds a server may take to begin, at least, whatever an experiment waits: it may be begun again in the middle of a
/// run.
const LEAST_PATIENCE: i32 = 300;

fn pod(
    of: &Remains,
    (name, server): (ServerName<'_>, &Server),
    (profile, share): (&Pods, &Share),
    ground: Ground<'_>,
) -> PodSpec {
    let settings = ground.settings;
    let secret = credentials_name(of, name);
    let clear = profile.env.iter().map(|(name, value)| EnvVar {
        name: name.to_string(),
        value: Some(value.to_string()),
        value_from: None,
    });
    let others = names_of_others(of, (name, server), settings);
    let mut env = vec![frame::field("POD_IP", "status.podIP")];
    env.extend(others.iter().cloned());
    env.extend(clear);
    env.extend(from_secret(&profile.secret_env, &secret));
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
    // A server that waits for its peers is not killed before the experiment gives up on it.
    let patience = of.spec.limits.provision_seconds.max(LEAST_PATIENCE);
    let mount = |name: &str, path: &str, read_only: bool| VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: Some(read_only),
        ..Default::default()
    };
    let mut mounts = vec![mount("tmp", "/tmp", false)];
    let mut shared = vec![scratch()];
    if let Some(file) = &profile.file {
        mounts.push(mount(FILE_VOLUME, file.folder, true));
        shared.push(file_volume(file));
    }
    if let Some(path) = &profile.data {
        let places = volumes(path, share).into_iter();
        mounts.extend(places.map(|(name, path)| mount(&name, &path, false)));
    }
    let base = Container {
        image: Some(server.image.clone()),
        image_pull_policy: pull_policy(settings),
        env: Some(env),
        resources: Some(guaranteed(
            profile.resources.as_ref().unwrap_or(&share.resources),
        )),
        // A server that refuses its settings says so on standard error, and the pod repeats it.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        security_context: Some(container_security()),
        volume_mounts: Some(mounts),
        ..Default::default()
    };
    let prepare = profile.prepare.as_ref().map(|prepare| {
        let (image, command, args) = match prepare {
            Prepare::Server(command) => (&server.image, Some(command), None),
            Prepare::Loadgen(args) => (&settings.loadgen_image, None, Some(args)),
        };
        Container {
            name: PREPARATION.to_owned(),
            image: Some(image.clone()),
            command: command.cloned(),
            args: args.cloned(),
            ..base.clone()
        }
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
        startup_probe: Some(probe(1, patience)),
        readiness_probe: Some(probe(10, 3)),
        ..base
    };
    let setter = profile.setter.as_ref().map(|setter| {
        let mut env = others;
        env.extend(from_secret(&setter.secret_env, &secret));
        Container {
            env: Some(env).filter(|env| !env.is_empty()),
            ..beside(setter, patience, settings)
        }
    });
    let serving = [container].into_iter().chain(setter).collect();
    let containers = (prepare.into_iter().collect(), serving);
    let pod = PodSpec {
        affinity: Some(affinity(of, (name, server), ground.nodes.len())),
        termination_grace_period_seconds: Some(5),
        volumes: Some(shared),
        ..frame::pod(&of.spec.equipment, settings, profile.user, containers)
    };
    let may_be_killed = share.member == server.release.topology.expendable()
        && of.spec.server_losses().next().is_some()
        && name != ServerName::Lock;
    if may_be_killed {
        mortal(pod, settings)
    } else {
        pod
    }
}

/// The same pod, whose server is killed when the pod is stopped, before it is told to end.
fn mortal(mut pod: PodSpec, settings: &Settings) -> PodSpec {
    let servers = pod.containers.iter_mut();
    for server in servers.filter(|container| container.name == SERVER) {
        let get = HTTPGetAction {
            path: Some("/kill".to_owned()),
            port: IntOrString::Int(names::KILLER_PORT),
            ..Default::default()
        };
        let before = LifecycleHandler {
            http_get: Some(get),
            ..Default::default()
        };
        server.lifecycle = Some(Lifecycle {
            pre_stop: Some(before),
            ..Default::default()
        });
    }
    let arguments = vec!["kill".to_owned()];
    pod.containers.push(helper(KILLER, arguments, settings));
    // It has to see the processes of the server.
    pod.share_process_namespace = Some(true);
    pod
}

/// A container of ours that stands beside a server.
fn helper(name: &str, arguments: Vec<String>, settings: &Settings) -> Container {
    Container {
        name: name.to_owned(),
        image: Some(settings.loadgen_image.clone()),
        image_pull_policy: pull_policy(settings),
        args: Some(arguments),
        resources: Some(guaranteed(&helper_resources())),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        security_context: Some(container_security()),
        ..Default::default()
    }
}

/// What a container of ours beside a server gets, beside the equipment of the server: it looks now and then, or waits, and does nothing
/// else.
#[must_use]
pub fn helper_resources() -> Resources {
    Resources {
        cpu: "20m".into(),
        memory: "32Mi".into(),
    }
}

/// The container that does what no command line of the server can. The pod is not ready before that is done.
fn beside(setter: &Setter, patience: i32, settings: &Settings) -> Container {
    let probe = |period| Probe {
        http_get: Some(HTTPGetAction {
            path: Some("/readyz".to_owned()),
            port: IntOrString::Int(names::SETTER_PORT),
            ..Default::default()
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(3),
        failure_threshold: Some(patience),
        ..Default::default()
    };
    Container {
        startup_probe: Some(probe(1)),
        readiness_probe: Some(probe(10)),
        ..helper(SETTER, setter.arguments.clone(), settings)
    }
}

/// The command line of a container, by way of the shell where it has a script. The shell takes its first argument for
/// its own name.
fn started(profile: &Pods) -> Vec<String> {
    let mut command: Vec<String> = Vec::new();
    if let Some(script) = profile.starter {
        command.extend(["sh", "-c", script].map(str::to_owned));
    }
    command.extend(profile.command.iter().cloned());
    command
}

/// Where the pods of a server go. Those of a server of several are spread over the nodes, as far as there are. One of a single pod goes
/// on a node of its own where the pool has one for each server and one for the generators, else together with the other backends, so
/// that they run on the same node.
fn affinity(of: &Remains, (name, server): (ServerName<'_>, &Server), nodes: usize) -> Affinity {
    let near = |labels| WeightedPodAffinityTerm {
        weight: 100,
        pod_affinity_term: on_same_host(labels),
    };
    let several = server.release.topology.pods() > 1;
    let apart = if several {
        Some(near(whole_selector(of, name)))
    } else {
        let enough = nodes > of.servers().len();
        enough.then(|| near(selector(of, Role::Backend)))
    };
    match apart {
        Some(term) => Affinity {
            pod_anti_affinity: Some(PodAntiAffinity {
                preferred_during_scheduling_ignored_during_execution: Some(vec![term]),
                ..Default::default()
            }),
            ..Default::default()
        },
        None => Affinity {
            pod_affinity: Some(PodAffinity {
                preferred_during_scheduling_ignored_during_execution: Some(vec![near(selector(
                    of,
                    Role::Backend,
                ))]),
                ..Default::default()
            }),
            ..Default::default()
        },
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
