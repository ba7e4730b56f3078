//! What the errands of an owner look like. (Pure.)

use crate::children::Child;
use crate::controllers::experiment::build::Role;
use crate::controllers::experiment::build::jobs::{
    Mounts, PLAN, PLAN_FILE, RESULTS_FOLDER, Shape, of_loadgen, whole,
};
use crate::owner::{self, Owner};
use crate::settings::Settings;
use bakeoff_crds::identity::Identity;
use bakeoff_crds::names;
use bakeoff_crds::spec::{Equipment, Marks, Resources, Results};
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Volume};
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicySpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use serde::Serialize;
use std::collections::BTreeMap;

/// What an errand is to do, where, and with which Secrets.
pub struct Task<'a, T> {
    /// The name of its Job.
    pub name: &'a str,
    /// What it is for.
    pub role: Role,
    /// The command of the load generator that does it.
    pub command: &'a str,
    /// What that command reads.
    pub content: &'a T,
    /// Where its pod may run.
    pub equipment: &'a Equipment,
    /// The Secrets that it reads, by folder.
    pub credentials: BTreeMap<String, Volume>,
}

/// The Job of an errand, and what it needs: what it reads, and a way out in a namespace that has none by default.
#[must_use]
pub fn errand<K: Owner, T: Serialize>(
    id: &Identity,
    settings: &Settings,
    task: Task<'_, T>,
) -> Vec<Child> {
    let shape = Shape {
        metadata: metadata::<K>(id, task.name.to_owned(), task.role),
        arguments: [task.command, "--plan", &format!("{PLAN}/{PLAN_FILE}")]
            .map(str::to_owned)
            .to_vec(),
        // It may run beside what others measure: it is to be seen as little as can be.
        resources: Resources {
            cpu: "100m".into(),
            memory: "128Mi".into(),
        },
        replicas: 1,
        grace_seconds: 5,
        mounts: Some(Mounts {
            plan: task.name.to_owned(),
            credentials: task.credentials,
        }),
    };
    // Nothing in it can fail to be JSON: keys are text.
    let content = serde_json::to_string_pretty(task.content).unwrap_or_default();
    let map = ConfigMap {
        metadata: metadata::<K>(id, task.name.to_owned(), task.role),
        data: Some(BTreeMap::from([(PLAN_FILE.to_owned(), content)])),
        ..Default::default()
    };
    vec![
        egress::<K>(id).into(),
        map.into(),
        of_loadgen(task.equipment, settings, shape).into(),
    ]
}

/// The Secret with the credentials of the results store in the namespace of the owner: the user's, or a copy of the chart's.
#[must_use]
pub fn results_secret(id: &Identity, results: &Results) -> String {
    match &results.s3 {
        Some(s3) => s3.credentials_secret_ref.name.clone(),
        None => names::child(&id.name, id.uid.as_str(), "results"),
    }
}

/// The copy, which has nothing in it yet; none where the results go into a bucket of the user's.
#[must_use]
pub fn copied_secret<K: Owner>(id: &Identity, results: &Results) -> Option<Secret> {
    results.s3.is_none().then(|| Secret {
        metadata: metadata::<K>(id, results_secret(id, results), Role::Report),
        type_: Some("Opaque".to_owned()),
        ..Default::default()
    })
}

/// The folder of the results store among the credentials.
#[must_use]
pub fn results_folder(id: &Identity, results: &Results) -> BTreeMap<String, Volume> {
    let secret = whole(results_secret(id, results));
    BTreeMap::from([(RESULTS_FOLDER.to_owned(), secret)])
}

fn labels<K: Owner>(id: &Identity, role: Role) -> Marks {
    let pairs = [
        ("app.kubernetes.io/name", "bakeoff"),
        ("app.kubernetes.io/component", role.as_str()),
        ("app.kubernetes.io/part-of", "bakeoff"),
        ("app.kubernetes.io/managed-by", names::FIELD_MANAGER),
        (K::NAME, &id.name),
        (K::UID, id.uid.as_str()),
        (names::LABEL_ROLE, role.as_str()),
    ];
    let pairs = pairs.into_iter();
    pairs
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

fn metadata<K: Owner>(id: &Identity, name: String, role: Role) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(id.namespace.to_string()),
        labels: Some(labels::<K>(id, role)),
        owner_references: Some(vec![owner::reference::<K>(id)]),
        ..Default::default()
    }
}

/// Errands reach stores and receivers wherever they are: their addresses are names, which a policy cannot hold. Nobody
/// reaches them.
fn egress<K: Owner>(id: &Identity) -> NetworkPolicy {
    let uid = BTreeMap::from([(K::UID.to_owned(), id.uid.to_string())]);
    let name = names::child(&id.name, id.uid.as_str(), "errands");
    NetworkPolicy {
        metadata: metadata::<K>(id, name, Role::Report),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(LabelSelector {
                match_labels: Some(uid),
                match_expressions: None,
            }),
            policy_types: Some(["Ingress", "Egress"].map(str::to_owned).to_vec()),
            ingress: None,
            egress: Some(vec![NetworkPolicyEgressRule::default()]),
        }),
    }
}
