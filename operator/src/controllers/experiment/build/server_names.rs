//! What the children of a server are called, and by which labels its pods are found. (Pure.)

use super::selector;
use crate::parts::objects::Role;
use bakeoff_crds::names;
use bakeoff_crds::spec::{Member, Share};
use bakeoff_rules::validate::{Remains, Server, ServerName};
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
pub(super) fn others_name(of: &Remains, server: ServerName<'_>) -> String {
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

pub(super) fn pod_selector(
    of: &Remains,
    server: ServerName<'_>,
    member: Member,
) -> BTreeMap<String, String> {
    let mut selector = whole_selector(of, server);
    selector.insert(names::LABEL_MEMBER.to_owned(), member.as_str().to_owned());
    selector
}

/// The volumes of a pod and where they are: `data` at the path, or `data-1` and so on at the path with that number.
pub(super) fn volumes(path: &str, share: &Share) -> Vec<(String, String)> {
    if share.volumes == 1 {
        return vec![("data".to_owned(), path.to_owned())];
    }
    let numbers = 1..=share.volumes;
    let named = numbers.map(|number| (format!("data-{number}"), format!("{path}{number}")));
    named.collect()
}
