//! What all pods of an experiment have in common: where they may go, as whom they run, and what keeps others from
//! disturbing them. (Pure.)

use crate::settings::Settings;
use bakeoff_crds::names;
use bakeoff_crds::spec::{Equipment, IdentityMode, Marks, Toleration};
use k8s_openapi::api::core::v1::{
    Capabilities, Container, EnvVar, EnvVarSource, LocalObjectReference, ObjectFieldSelector,
    PodSecurityContext, PodSpec, PodTemplateSpec, SeccompProfile, SecurityContext,
    Toleration as PodToleration,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// The user that every pod runs as, but for a Postgres server.
pub const USER: i64 = 65_532;

/// Annotations that keep autoscalers from moving a measuring pod, and service meshes from putting a proxy before it:
/// Istio, Linkerd, Consul and Open Service Mesh.
const ANNOTATIONS: [(&str, &str); 6] = [
    ("cluster-autoscaler.kubernetes.io/safe-to-evict", "false"),
    ("karpenter.sh/do-not-disrupt", "true"),
    ("sidecar.istio.io/inject", "false"),
    ("linkerd.io/inject", "disabled"),
    ("consul.hashicorp.com/connect-inject", "false"),
    ("openservicemesh.io/sidecar-injection", "disabled"),
];

/// Labels by which the rest of them is told: Istio with and without proxies in pods, and Kuma.
const LABELS: [(&str, &str); 3] = [
    ("sidecar.istio.io/inject", "false"),
    ("istio.io/dataplane-mode", "none"),
    ("kuma.io/sidecar-injection", "disabled"),
];

/// A pod of the experiment with these containers, which begin as `containers` and `init_containers` say. What it has of
/// its own is set on what comes out.
#[must_use]
pub fn pod(
    equipment: &Equipment,
    settings: &Settings,
    user: i64,
    (init_containers, containers): (Vec<Container>, Vec<Container>),
) -> PodSpec {
    let own = equipment.image_pull_secrets.iter().map(|s| &s.name);
    let mut secrets: Vec<&String> = settings.pods.image_pull_secrets.iter().collect();
    for name in own {
        if !secrets.contains(&name) {
            secrets.push(name);
        }
    }
    let secrets: Vec<_> = secrets
        .into_iter()
        .map(|name| LocalObjectReference { name: name.clone() })
        .collect();
    let tolerations: Vec<_> = equipment.tolerations.iter().map(toleration).collect();
    // A pool without a selector may have nodes on which no image of ours runs.
    let mut selector = equipment.node_selector.clone();
    let (key, ours) = names::NODE_SYSTEM;
    selector
        .entry(key.to_owned())
        .or_insert_with(|| ours.to_owned());
    PodSpec {
        init_containers: (!init_containers.is_empty()).then_some(init_containers),
        containers,
        node_selector: Some(selector),
        tolerations: (!tolerations.is_empty()).then_some(tolerations),
        priority_class_name: equipment.priority_class_name.clone(),
        image_pull_secrets: (!secrets.is_empty()).then_some(secrets),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        security_context: Some(pod_security(identity(equipment, settings), user)),
        ..Default::default()
    }
}

/// A template with this pod. Labels by which it is found come before those of the user.
#[must_use]
pub fn template(
    equipment: &Equipment,
    settings: &Settings,
    ours: Marks,
    pod: PodSpec,
) -> PodTemplateSpec {
    let chart = &settings.pods;
    let mut labels = marks(&LABELS, &chart.labels, &equipment.pod_labels);
    labels.extend(ours);
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels),
            annotations: Some(marks(
                &ANNOTATIONS,
                &chart.annotations,
                &equipment.pod_annotations,
            )),
            ..Default::default()
        }),
        spec: Some(pod),
    }
}

/// The container of a server.
pub const SERVER: &str = "server";
/// The container of a load generator, whatever it does.
pub const LOADGEN: &str = "loadgen";
/// The container that does the work in each pod of ours, by which it is told from those that others add.
pub const OWN_CONTAINERS: [&str; 2] = [SERVER, LOADGEN];
/// The container that makes the data directory before a server starts.
pub const PREPARATION: &str = "prepare";
/// The container that does what no command line of the server can: tells it a setting, or has it join the others.
pub const SETTER: &str = "setter";
/// The container that kills the server beside it, in experiments that ask for that.
pub const KILLER: &str = "killer";
/// The containers of ours that stand beside the one that does the work.
pub const BESIDE: [&str; 3] = [PREPARATION, SETTER, KILLER];

/// A variable with what Kubernetes knows of the pod.
#[must_use]
pub fn field(name: &str, path: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: None,
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                field_path: path.to_owned(),
                api_version: None,
            }),
            ..Default::default()
        }),
    }
}

/// Our own marks, those of the chart over them, those of the experiment over both.
fn marks(ours: &[(&str, &str)], chart: &Marks, own: &Marks) -> Marks {
    let ours = ours.iter();
    let mut all: Marks = ours
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    for more in [chart, own] {
        all.extend(more.iter().map(|(k, v)| (k.clone(), v.clone())));
    }
    all
}

fn toleration(toleration: &Toleration) -> PodToleration {
    PodToleration {
        key: toleration.key.clone(),
        operator: Some(toleration.operator.as_str().to_owned()),
        value: toleration.value.clone(),
        effect: toleration.effect.map(|effect| effect.as_str().to_owned()),
        toleration_seconds: toleration.toleration_seconds,
    }
}

fn identity(equipment: &Equipment, settings: &Settings) -> IdentityMode {
    let own = equipment.security_context;
    own.map_or(settings.pods.identity, |own| own.mode)
}

/// The pod half of the *restricted* Pod Security Standard.
fn pod_security(identity: IdentityMode, user: i64) -> PodSecurityContext {
    let user = match identity {
        IdentityMode::Fixed => Some(user),
        IdentityMode::Platform => None,
    };
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: user,
        run_as_group: user,
        fs_group: user,
        fs_group_change_policy: Some("OnRootMismatch".to_owned()),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            localhost_profile: None,
        }),
        ..Default::default()
    }
}

/// The container half of the *restricted* Pod Security Standard, and a read-only root.
#[must_use]
pub fn container_security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities {
            drop: Some(vec!["ALL".to_owned()]),
            add: None,
        }),
        ..Default::default()
    }
}
