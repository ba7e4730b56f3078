//! The systems under test: StatefulSets, headless Services and credentials of each kind. (Pure.)
//!
//! Everything that differs between the kinds is in [`Profile`].

use super::metadata;
use super::profile::{Pods, Profile};
use super::server_names::{
    others_name, pod_labels, pod_selector, set_name, volumes, whole_selector,
};
use super::server_pod::{self, Ground};
use crate::parts::objects::Role;
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
