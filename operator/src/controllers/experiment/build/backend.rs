//! The systems under test: StatefulSets, headless Services and credentials of each kind. (Pure.)
//!
//! Everything that differs between the kinds is in [`Profile`].

use super::profile::{Pods, Profile};
use super::{Role, metadata, selector, server_pod};
use crate::settings::Settings;
use bakeoff_crds::names;
use bakeoff_crds::run::NodeFacts;
use bakeoff_crds::spec::{Member, Share};
use bakeoff_rules::validate::{Remains, Server, ServerName};
use k8s_openapi::api::apps::v1::{
    StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec,
};
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, Service, ServicePort, ServiceSpec,
    VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use std::collections::BTreeMap;

/// The role part of the names of a server's children.
fn role_name(server: ServerName<'_>, member: Member) -> String {
    match (server, member) {
        (ServerName::Lock, _) => "lock".to_owned(),
        // What clients talk to has the name of the backend.
        (ServerName::Backend(name), Member::Server | Member::Filer) => format!("be-{name}"),
        (ServerName::Backend(name), other) => format!("{}-{name}", other.as_str()),
    }
}

/// The name of the StatefulSet of one sort of a server's pods.
#[must_use]
pub fn set_name(of: &Remains, server: ServerName<'_>, member: Member) -> String {
    of.child(&role_name(server, member))
}

/// The Service by which the pods of a server find each other, also before they are ready.
fn others_name(of: &Remains, server: ServerName<'_>) -> String {
    of.child(&format!("peers-{}", server.as_str()))
}

/// The Secret with the credentials of a server.
#[must_use]
pub fn credentials_name(of: &Remains, server: ServerName<'_>) -> String {
    match server {
        ServerName::Backend(name) => of.child(&format!("cred-{name}")),
        ServerName::Lock => of.child("lock-cred"),
    }
}

/// The address at which generators find a server: all of its pods that clients talk to.
#[must_use]
pub fn endpoint(of: &Remains, server: ServerName<'_>, scheme: &str, port: i32) -> String {
    // Every server has one sort of pods that are called so, whatever they are to it.
    let name = set_name(of, server, Member::Server);
    format!("{scheme}://{name}.{}.svc:{port}", of.id.namespace)
}

/// The address of one pod, by a name that outlives it.
#[must_use]
pub fn pod_endpoint(
    of: &Remains,
    (server, whole): (ServerName<'_>, &Server),
    (member, index): (Member, i32),
    port: i32,
) -> String {
    if whole.release.topology.pods() == 1 {
        return endpoint(of, server, "http", port);
    }
    format!(
        "http://{}-{index}.{}:{port}",
        set_name(of, server, member),
        domain(of, server)
    )
}

/// The domain in which each pod of a server has its name.
pub(super) fn domain(of: &Remains, server: ServerName<'_>) -> String {
    format!("{}.{}.svc", others_name(of, server), of.id.namespace)
}

pub(super) fn pod_labels(
    of: &Remains,
    server: ServerName<'_>,
    member: Member,
) -> BTreeMap<String, String> {
    let mut labels = super::labels(of, Role::Backend);
    labels.insert(names::LABEL_BACKEND.to_owned(), server.as_str().to_owned());
    labels.insert(names::LABEL_MEMBER.to_owned(), member.as_str().to_owned());
    labels
}

/// The labels of all pods of a server.
pub(super) fn whole_selector(of: &Remains, server: ServerName<'_>) -> BTreeMap<String, String> {
    let mut selector = selector(of, Role::Backend);
    selector.insert(names::LABEL_BACKEND.to_owned(), server.as_str().to_owned());
    selector
}

fn pod_selector(of: &Remains, server: ServerName<'_>, member: Member) -> BTreeMap<String, String> {
    let mut selector = whole_selector(of, server);
    selector.insert(names::LABEL_MEMBER.to_owned(), member.as_str().to_owned());
    selector
}

fn member_metadata(
    of: &Remains,
    server: ServerName<'_>,
    member: Member,
    name: String,
) -> ObjectMeta {
    ObjectMeta {
        labels: Some(pod_labels(of, server, member)),
        ..metadata(of, name, Role::Backend)
    }
}

/// The Services of a server: the one that clients ask, with the pods that are ready, and of a server of several pods the one by which
/// these find each other.
#[must_use]
pub fn services(
    of: &Remains,
    (name, server): (ServerName<'_>, &Server),
    profile: &Profile,
) -> Vec<Service> {
    let headless = |service: String, selector, port: Option<ServicePort>| Service {
        metadata: member_metadata(of, name, profile.pods.member, service),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            selector: Some(selector),
            ports: port.map(|port| vec![port]),
            ..Default::default()
        }),
        status: None,
    };
    let port = ServicePort {
        name: Some(profile.pods.port_name.to_owned()),
        port: profile.pods.port,
        ..Default::default()
    };
    let member = profile.pods.member;
    let clients = headless(
        set_name(of, name, member),
        pod_selector(of, name, member),
        Some(port),
    );
    let mut services = vec![clients];
    if server.release.topology.pods() > 1 {
        let mut others = headless(others_name(of, name), whole_selector(of, name), None);
        if let Some(spec) = &mut others.spec {
            spec.publish_not_ready_addresses = Some(true);
        }
        services.push(others);
    }
    services
}

/// Where the pods of a server go.
#[derive(Clone, Copy, Debug)]
pub struct Ground<'a> {
    /// What the installation gives all pods.
    pub settings: &'a Settings,
    /// The nodes that take them.
    pub nodes: &'a [NodeFacts],
}

/// The StatefulSets of a server, one for each sort of its pods.
#[must_use]
pub fn stateful_sets(
    of: &Remains,
    (name, server): (ServerName<'_>, &Server),
    profile: &Profile,
    ground: Ground<'_>,
) -> Vec<StatefulSet> {
    let shares = server.shares.iter();
    shares
        .filter_map(|share| {
            let pods = profile
                .all_pods()
                .find(|pods| pods.member == share.member)?;
            Some(stateful_set(of, (name, server), (pods, share), ground))
        })
        .collect()
}

/// The volumes of a pod and where they are: `data` at the path, or `data-1` and so on at the path with that number.
#[must_use]
pub(super) fn volumes(path: &str, share: &Share) -> Vec<(String, String)> {
    if share.volumes == 1 {
        return vec![("data".to_owned(), path.to_owned())];
    }
    let numbers = 1..=share.volumes;
    let named = numbers.map(|number| (format!("data-{number}"), format!("{path}{number}")));
    named.collect()
}

/// The StatefulSet of one sort of pods. Its volume claims go when it goes; pods that keep nothing have none.
fn stateful_set(
    of: &Remains,
    (name, server): (ServerName<'_>, &Server),
    (pods, share): (&Pods, &Share),
    ground: Ground<'_>,
) -> StatefulSet {
    let labels = pod_labels(of, name, pods.member);
    let claim = |name: String, size: &bakeoff_crds::quantity::Quantity| PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(name),
            labels: Some(labels.clone()),
            ..Default::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            storage_class_name: of.spec.equipment.storage.storage_class_name.clone(),
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([(
                    "storage".to_owned(),
                    Quantity(size.0.clone()),
                )])),
                limits: None,
            }),
            ..Default::default()
        }),
        status: None,
    };
    let own = set_name(of, name, pods.member);
    let several = server.release.topology.pods() > 1;
    let places = pods.data.as_deref().map(|path| volumes(path, share));
    let claims = share.volume().zip(places).map(|(size, places)| {
        let places = places.into_iter();
        places.map(|(name, _)| claim(name, &size)).collect()
    });
    StatefulSet {
        metadata: member_metadata(of, name, pods.member, own.clone()),
        spec: Some(StatefulSetSpec {
            replicas: Some(share.pods),
            service_name: Some(if several { others_name(of, name) } else { own }),
            // They wait for each other.
            pod_management_policy: several.then(|| "Parallel".to_owned()),
            selector: LabelSelector {
                match_labels: Some(pod_selector(of, name, pods.member)),
                match_expressions: None,
            },
            template: server_pod::template(of, (name, server), (pods, share), ground),
            volume_claim_templates: claims,
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
