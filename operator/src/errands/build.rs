//! What the errands of an owner look like. (Pure.)

use crate::children::Child;
use crate::owner::Owner;
use crate::parts::loadgen_job::{
    Mounts, PLAN, PLAN_FILE, RESULTS_FOLDER, Shape, of_loadgen, results_secret_of, whole,
};
use crate::parts::objects::{Role, metadata_of, secret_of};
use crate::settings::Settings;
use bakeoff_crds::identity::Identity;
use bakeoff_crds::names;
use bakeoff_crds::spec::{Equipment, Resources, Results};
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Volume};
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicySpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
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
        metadata: metadata_of::<K>(id, task.name.to_owned(), task.role),
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
        metadata: metadata_of::<K>(id, task.name.to_owned(), task.role),
        data: Some(BTreeMap::from([(PLAN_FILE.to_owned(), content)])),
        ..Default::default()
    };
    vec![
        egress::<K>(id).into(),
        map.into(),
        of_loadgen(task.equipment, settings, shape).into(),
    ]
}

/// The copy of the credentials of the chart's results store, which has nothing in it yet; none where the results go into a bucket of the user's.
#[must_use]
pub fn copied_secret<K: Owner>(id: &Identity, results: &Results) -> Option<Secret> {
    let name = || results_secret_of(id, results);
    results
        .s3
        .is_none()
        .then(|| secret_of::<K>(id, name(), Role::Report))
}

/// The folder of the results store among the credentials.
#[must_use]
pub fn results_folder(id: &Identity, results: &Results) -> BTreeMap<String, Volume> {
    let secret = whole(results_secret_of(id, results));
    BTreeMap::from([(RESULTS_FOLDER.to_owned(), secret)])
}

/// Errands reach stores and receivers wherever they are: their addresses are names, which a policy cannot hold. Nobody
/// reaches them.
fn egress<K: Owner>(id: &Identity) -> NetworkPolicy {
    let uid = BTreeMap::from([(K::UID.to_owned(), id.uid.to_string())]);
    let name = names::child(&id.name, id.uid.as_str(), "errands");
    NetworkPolicy {
        metadata: metadata_of::<K>(id, name, Role::Report),
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
