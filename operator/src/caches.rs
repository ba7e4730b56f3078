//! Watches of children and nodes: what the operator knows without asking. (I/O.)
//!
//! One watch for each kind, restricted to the operator's own label. Each event wakes the experiment
//! that the object belongs to. A standby keeps the caches warm and wakes nobody.

use crate::controllers::experiment::facts::Children;
use bakeoff_crds::{Experiment, names};
use futures::StreamExt;
use futures::channel::mpsc::UnboundedSender;
use futures::future::BoxFuture;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Node, PersistentVolumeClaim, Pod, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::Api;
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::{self, watcher};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use tokio::sync::watch;

/// Wakes an experiment.
pub type Wake = UnboundedSender<ObjectRef<Experiment>>;

/// The caches.
pub struct Caches {
    stateful_sets: Store<StatefulSet>,
    jobs: Store<Job>,
    pods: Store<Pod>,
    services: Store<Service>,
    config_maps: Store<ConfigMap>,
    claims: Store<PersistentVolumeClaim>,
    network_policies: Store<NetworkPolicy>,
    disruption_budgets: Store<PodDisruptionBudget>,
    /// All nodes of the cluster.
    pub nodes: Store<Node>,
}

impl Caches {
    /// Starts the watches. The futures run until the process ends.
    pub fn start(
        client: &Client,
        namespace: Option<&str>,
        wake: &Wake,
        leading: &watch::Receiver<bool>,
    ) -> (Self, Vec<BoxFuture<'static, ()>>) {
        let mut tasks: Vec<BoxFuture<'static, ()>> = Vec::new();
        macro_rules! cache {
            () => {{
                let api = match namespace {
                    Some(namespace) => Api::namespaced(client.clone(), namespace),
                    None => Api::all(client.clone()),
                };
                let config = watcher::Config::default().labels(&format!(
                    "app.kubernetes.io/managed-by={}",
                    names::FIELD_MANAGER
                ));
                let (wake, leading) = (wake.clone(), leading.clone());
                cache(api, config, &mut tasks, move |owner| {
                    if *leading.borrow() {
                        let _ = wake.unbounded_send(owner);
                    }
                })
            }};
        }
        let caches = Self {
            stateful_sets: cache!(),
            jobs: cache!(),
            pods: cache!(),
            services: cache!(),
            config_maps: cache!(),
            claims: cache!(),
            network_policies: cache!(),
            disruption_budgets: cache!(),
            nodes: cache(
                Api::all(client.clone()),
                watcher::Config::default(),
                &mut tasks,
                |_| {},
            ),
        };
        (caches, tasks)
    }

    /// Waits until every cache has been filled once.
    pub async fn ready(&self) {
        // An error means that the writer is gone, which ends the process anyway.
        let _ = self.stateful_sets.wait_until_ready().await;
        let _ = self.jobs.wait_until_ready().await;
        let _ = self.pods.wait_until_ready().await;
        let _ = self.services.wait_until_ready().await;
        let _ = self.config_maps.wait_until_ready().await;
        let _ = self.claims.wait_until_ready().await;
        let _ = self.network_policies.wait_until_ready().await;
        let _ = self.disruption_budgets.wait_until_ready().await;
        let _ = self.nodes.wait_until_ready().await;
    }

    /// An experiment other than this one whose pods still measure on these nodes.
    #[must_use]
    pub fn stranger(&self, experiment: &Experiment, nodes: &BTreeSet<String>) -> Option<String> {
        let uid = experiment.uid().unwrap_or_default();
        let pods = self.pods.state_filter(|pod: &Pod| {
            let phase = pod
                .status
                .as_ref()
                .and_then(|status| status.phase.as_deref());
            let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
            pod.labels()
                .get(names::LABEL_EXPERIMENT_UID)
                .is_some_and(|other| *other != uid)
                && !matches!(phase, Some("Succeeded" | "Failed"))
                && node.is_some_and(|node| nodes.contains(node))
        });
        let pod = pods.first()?;
        let name = pod.labels().get(names::LABEL_EXPERIMENT)?;
        Some(format!(
            "what is left of {}/{name}",
            pod.namespace().unwrap_or_default()
        ))
    }

    /// The children of an experiment.
    #[must_use]
    pub fn children(&self, namespace: &str, uid: &str) -> Children {
        Children {
            stateful_sets: of(&self.stateful_sets, namespace, uid),
            jobs: of(&self.jobs, namespace, uid),
            pods: of(&self.pods, namespace, uid),
            services: of(&self.services, namespace, uid),
            config_maps: of(&self.config_maps, namespace, uid),
            claims: of(&self.claims, namespace, uid),
            network_policies: of(&self.network_policies, namespace, uid),
            disruption_budgets: of(&self.disruption_budgets, namespace, uid),
        }
    }
}

fn of<K>(store: &Store<K>, namespace: &str, uid: &str) -> Vec<Arc<K>>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let belongs = |object: &K| {
        object.meta().namespace.as_deref() == Some(namespace)
            && object
                .labels()
                .get(names::LABEL_EXPERIMENT_UID)
                .is_some_and(|label| label == uid)
    };
    let mut found = store.state_filter(belongs);
    found.sort_by_key(|object| object.name_any());
    found
}

fn cache<K>(
    api: Api<K>,
    config: watcher::Config,
    tasks: &mut Vec<BoxFuture<'static, ()>>,
    on_event: impl Fn(ObjectRef<Experiment>) + Send + 'static,
) -> Store<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Default + Eq + Hash + Clone,
{
    let (reader, writer) = reflector::store();
    let stream = watcher(api, config)
        .default_backoff()
        .modify(|object| {
            // Nobody reads them, and they are a good part of an object's size.
            object.managed_fields_mut().clear();
        })
        .reflect(writer)
        .touched_objects();
    tasks.push(Box::pin(stream.for_each(move |object| {
        match object {
            Ok(object) => {
                if let (Some(name), Some(namespace)) = (
                    object.labels().get(names::LABEL_EXPERIMENT),
                    object.namespace(),
                ) {
                    on_event(ObjectRef::new(name).within(&namespace));
                }
            }
            Err(error) => tracing::warn!(%error, "a watch failed and is retried"),
        }
        std::future::ready(())
    })));
    reader
}
