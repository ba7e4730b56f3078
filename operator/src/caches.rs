//! Watches of children and nodes: what the operator knows without asking. (I/O.)
//!
//! One watch for each kind, restricted to the operator's own label. Each event wakes the owner that the object belongs
//! to. A standby keeps the caches warm and wakes nobody.

use crate::children::{Children, Object, Stores, Watch};
use crate::owner::Owner;
use bakeoff_crds::identity::{Identity, Uid};
use bakeoff_crds::names;
use futures::StreamExt;
use futures::channel::mpsc::UnboundedSender;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::Api;
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::{self, watcher};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;
use tokio::sync::watch;

/// Wakes an owner; the controller watches it as `W`.
pub type Wake<W> = UnboundedSender<ObjectRef<W>>;

/// Wakes the owners of one kind of the children that carry its labels.
pub struct Waker {
    label: &'static str,
    ring: Ring,
}

/// Wakes the owner of this name in this namespace.
type Ring = Box<dyn Fn(&str, &str) + Send + Sync>;

impl Waker {
    /// That of the owners of the kind `K`, which are watched as `W`.
    pub fn of<K, W>(wake: &Wake<W>) -> Self
    where
        K: Owner,
        W: Resource<DynamicType = ()> + 'static,
    {
        let wake = wake.clone();
        Self {
            label: K::NAME,
            ring: Box::new(move |name, namespace| {
                let _ = wake.unbounded_send(ObjectRef::new(name).within(namespace));
            }),
        }
    }
}

/// The caches.
pub struct Caches {
    stores: Stores,
    /// All nodes of the cluster.
    pub nodes: Store<Node>,
}

impl Caches {
    /// Starts the watches. Of nodes is kept what `trim` leaves. The futures run until the process ends.
    pub fn start(
        client: &Client,
        namespace: Option<&str>,
        wakers: Vec<Waker>,
        leading: &watch::Receiver<bool>,
        trim: impl Fn(&mut Node) + Send + 'static,
    ) -> (Self, Vec<BoxFuture<'static, ()>>) {
        let mut start = Start {
            client,
            namespace,
            tasks: Vec::new(),
            wakers: wakers.into(),
            leading: leading.clone(),
        };
        let stores = Stores::start(&mut start);
        let nodes = Api::all(client.clone());
        let config = watcher::Config::default();
        let nodes = cache(nodes, config, &mut start.tasks, trim, |_| {});
        (Self { stores, nodes }, start.tasks)
    }

    /// Waits until every cache has been filled once.
    pub async fn ready(&self) {
        self.stores.ready().await;
        // An error means that the writer is gone, which ends the process anyway.
        let _ = self.nodes.wait_until_ready().await;
    }

    /// An owner other than this one whose pods still measure on these nodes.
    #[must_use]
    pub fn stranger<K: Owner>(&self, uid: &Uid, nodes: &BTreeSet<String>) -> Option<String> {
        let pods = self.stores.pods.state_filter(|pod: &Pod| {
            let phase = pod
                .status
                .as_ref()
                .and_then(|status| status.phase.as_deref());
            let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
            pod.labels()
                .get(K::UID)
                .is_some_and(|other| other != uid.as_str())
                && !matches!(phase, Some("Succeeded" | "Failed"))
                && node.is_some_and(|node| nodes.contains(node))
        });
        let pod = pods.first()?;
        let name = pod.labels().get(K::NAME)?;
        Some(format!(
            "what is left of {}/{name}",
            pod.namespace().unwrap_or_default()
        ))
    }

    /// The children of an owner.
    #[must_use]
    pub fn children<K: Owner>(&self, id: &Identity) -> Children {
        let label = (K::UID, id.uid.as_str());
        self.stores.labelled(id.namespace.as_str(), label)
    }
}

/// Begins one watch after the other.
struct Start<'a> {
    client: &'a Client,
    namespace: Option<&'a str>,
    wakers: Arc<[Waker]>,
    leading: watch::Receiver<bool>,
    tasks: Vec<BoxFuture<'static, ()>>,
}

impl Watch for Start<'_> {
    fn watch<K: Object>(&mut self) -> Store<K> {
        let api = match self.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        let ours = format!("app.kubernetes.io/managed-by={}", names::FIELD_MANAGER);
        let config = watcher::Config::default().labels(&ours);
        let (wakers, leading) = (self.wakers.clone(), self.leading.clone());
        cache(
            api,
            config,
            &mut self.tasks,
            |_| {},
            move |object: &K| {
                let Some(namespace) = object.meta().namespace.as_deref() else {
                    return;
                };
                if !*leading.borrow() {
                    return;
                }
                for waker in &*wakers {
                    if let Some(name) = object.labels().get(waker.label) {
                        (waker.ring)(name, namespace);
                    }
                }
            },
        )
    }
}

fn cache<K>(
    api: Api<K>,
    config: watcher::Config,
    tasks: &mut Vec<BoxFuture<'static, ()>>,
    trim: impl Fn(&mut K) + Send + 'static,
    on_event: impl Fn(&K) + Send + 'static,
) -> Store<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let (reader, writer) = reflector::store();
    let stream = watcher(api, config)
        .default_backoff()
        .modify(move |object| {
            // Nobody reads them, and they are a good part of an object's size.
            object.managed_fields_mut().clear();
            trim(object);
        })
        .reflect(writer)
        .touched_objects();
    tasks.push(Box::pin(stream.for_each(move |object| {
        match object {
            Ok(object) => on_event(&object),
            Err(error) => tracing::warn!(%error, "a watch failed and is retried"),
        }
        std::future::ready(())
    })));
    reader
}
