//! The kinds of objects that the operator makes, in one table. (Pure.)
//!
//! What is applied, watched, counted, listed and removed follows from it, so that no kind is forgotten in one of these.

use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::runtime::reflector::Store;
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::sync::Arc;

/// An object that lives in a namespace.
pub trait Object:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Serialize
    + DeserializeOwned
    + Clone
    + Debug
    + Send
    + Sync
    + 'static
{
}

impl<K> Object for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Serialize
        + DeserializeOwned
        + Clone
        + Debug
        + Send
        + Sync
        + 'static
{
}

/// One who changes objects, of whatever kind.
pub trait Hand: Sync {
    /// Why that can fail.
    type Error;

    /// Makes an object what it is to be.
    fn apply<K: Object>(&self, object: &K) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Removes the object of this name; it is no error if it is gone.
    fn delete<K: Object>(&self, name: &str)
    -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// One who can say what objects of a kind there are.
pub trait Watch {
    /// Begins to watch the objects of a kind.
    fn watch<K: Object>(&mut self) -> Store<K>;
}

macro_rules! children {
    (
        applied { $($(#[doc = $applied_doc:tt])+ $applied:ident: $applied_kind:ident($applied_type:ty), $applied_many:literal;)+ }
        deleted { $($(#[doc = $deleted_doc:tt])+ $deleted:ident: $deleted_kind:ident($deleted_type:ty), $deleted_many:literal;)+ }
        awaited { $($(#[doc = $awaited_doc:tt])+ $awaited:ident($awaited_type:ty), $awaited_many:literal;)+ }
        unseen { $($(#[doc = $unseen_doc:tt])+ $unseen_kind:ident($unseen_type:ty);)+ }
    ) => {
        /// A kind of child that is removed by name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $($(#[doc = $applied_doc])+ $applied_kind,)+
            $($(#[doc = $deleted_doc])+ $deleted_kind,)+
            $($(#[doc = $unseen_doc])+ $unseen_kind,)+
        }

        impl Kind {
            /// Whether children of this kind are watched.
            #[must_use]
            pub fn is_watched(self) -> bool {
                match self {
                    $(Self::$applied_kind => true,)+
                    $(Self::$deleted_kind => true,)+
                    $(Self::$unseen_kind => false,)+
                }
            }

            /// Removes the one of this name.
            ///
            /// # Errors
            /// Those of the hand.
            pub async fn delete<H: Hand>(self, name: &str, hand: &H) -> Result<(), H::Error> {
                match self {
                    $(Self::$applied_kind => hand.delete::<$applied_type>(name).await,)+
                    $(Self::$deleted_kind => hand.delete::<$deleted_type>(name).await,)+
                    $(Self::$unseen_kind => hand.delete::<$unseen_type>(name).await,)+
                }
            }
        }

        /// A child that can be applied.
        #[derive(Clone, Debug)]
        pub enum Child {
            $($(#[doc = $applied_doc])+ $applied_kind(Box<$applied_type>),)+
        }

        $(impl From<$applied_type> for Child {
            fn from(object: $applied_type) -> Self {
                Self::$applied_kind(Box::new(object))
            }
        })+

        impl Child {
            /// What it is and how it is called.
            #[must_use]
            pub fn key(&self) -> (Kind, String) {
                match self {
                    $(Self::$applied_kind(object) => (Kind::$applied_kind, object.name_any()),)+
                }
            }

            /// Has it outlive its owner, which is being deleted with all that says that it is its own.
            pub fn disown(&mut self) {
                match self {
                    $(Self::$applied_kind(object) => object.metadata.owner_references = None,)+
                }
            }

            /// Makes it what it is to be.
            ///
            /// # Errors
            /// Those of the hand.
            pub async fn apply<H: Hand>(&self, hand: &H) -> Result<(), H::Error> {
                match self {
                    $(Self::$applied_kind(object) => hand.apply(&**object).await,)+
                }
            }
        }

        /// The children of one owner, as the watches show them.
        #[derive(Clone, Debug, Default)]
        pub struct Children {
            $($(#[doc = $applied_doc])+ pub $applied: Vec<Arc<$applied_type>>,)+
            $($(#[doc = $deleted_doc])+ pub $deleted: Vec<Arc<$deleted_type>>,)+
            $($(#[doc = $awaited_doc])+ pub $awaited: Vec<Arc<$awaited_type>>,)+
        }

        impl Children {
            /// Whether there is one of this kind and name.
            #[must_use]
            pub fn has(&self, kind: Kind, name: &str) -> bool {
                match kind {
                    $(Kind::$applied_kind => is_named(&self.$applied, name),)+
                    $(Kind::$deleted_kind => is_named(&self.$deleted, name),)+
                    $(Kind::$unseen_kind => false,)+
                }
            }

            /// What is to be removed for nothing to be left, and is not on its way out yet.
            #[must_use]
            pub fn standing(&self) -> Vec<(Kind, String)> {
                let mut standing = Vec::new();
                $(standing.extend(names_of_standing(&self.$applied).map(|name| (Kind::$applied_kind, name)));)+
                $(standing.extend(names_of_standing(&self.$deleted).map(|name| (Kind::$deleted_kind, name)));)+
                standing
            }

            /// What would outlive its owner, and is not on its way out yet.
            #[must_use]
            pub fn disowned(&self) -> Vec<(Kind, String)> {
                let mut disowned = Vec::new();
                $(disowned.extend(names_of_disowned(&self.$applied).map(|name| (Kind::$applied_kind, name)));)+
                disowned
            }

            /// What is on its way out since before this instant, with what holds it: `PersistentVolumeClaim data-x (finalizer
            /// example.com/held)`.
            #[must_use]
            pub fn held(&self, before: Timestamp) -> Vec<String> {
                let mut held = Vec::new();
                $(held.extend(self.$applied.iter().filter_map(|object| held_since(&**object, before)));)+
                $(held.extend(self.$deleted.iter().filter_map(|object| held_since(&**object, before)));)+
                $(held.extend(self.$awaited.iter().filter_map(|object| held_since(&**object, before)));)+
                held
            }

            fn counts(&self) -> Vec<(usize, &'static str)> {
                vec![
                    $((self.$applied.len(), $applied_many),)+
                    $((self.$deleted.len(), $deleted_many),)+
                    $((self.$awaited.len(), $awaited_many),)+
                ]
            }
        }

        /// The children of all owners.
        pub struct Stores {
            $($applied: Store<$applied_type>,)+
            $($deleted: Store<$deleted_type>,)+
            $(
                $(#[doc = $awaited_doc])+
                pub $awaited: Store<$awaited_type>,
            )+
        }

        impl Stores {
            /// Begins to watch every kind.
            pub fn start(watch: &mut impl Watch) -> Self {
                Self {
                    $($applied: watch.watch(),)+
                    $($deleted: watch.watch(),)+
                    $($awaited: watch.watch(),)+
                }
            }

            /// Waits until every kind was listed once.
            pub async fn ready(&self) {
                // An error means that the writer is gone, which ends the process anyway.
                $(let _ = self.$applied.wait_until_ready().await;)+
                $(let _ = self.$deleted.wait_until_ready().await;)+
                $(let _ = self.$awaited.wait_until_ready().await;)+
            }

            /// Those that carry this label, in this namespace.
            #[must_use]
            pub fn labelled(&self, namespace: &str, label: (&str, &str)) -> Children {
                Children {
                    $($applied: labelled(&self.$applied, namespace, label),)+
                    $($deleted: labelled(&self.$deleted, namespace, label),)+
                    $($awaited: labelled(&self.$awaited, namespace, label),)+
                }
            }
        }

        #[cfg(test)]
        impl Children {
            /// A cluster in which this one was made.
            pub fn put(&mut self, child: Child) {
                match child {
                    $(Child::$applied_kind(object) => self.$applied.push(Arc::new(*object)),)+
                }
            }

            /// A cluster in which this one was removed.
            pub fn remove(&mut self, kind: Kind, name: &str) {
                match kind {
                    $(Kind::$applied_kind => self.$applied.retain(|object| object.name_any() != name),)+
                    $(Kind::$deleted_kind => self.$deleted.retain(|object| object.name_any() != name),)+
                    $(Kind::$unseen_kind => {})+
                }
            }
        }
    };
}

children! {
    // The operator makes and removes them.
    applied {
        /// Backends.
        stateful_sets: StatefulSet(StatefulSet), "stateful sets";
        /// Calibrations, generators, report, cleanup.
        jobs: Job(Job), "jobs";
        /// Names of backends and generators.
        services: Service(Service), "services";
        /// Run plans.
        config_maps: ConfigMap(ConfigMap), "config maps";
        /// Who may reach pods.
        network_policies: NetworkPolicy(NetworkPolicy), "network policies";
        /// Against eviction.
        disruption_budgets: DisruptionBudget(PodDisruptionBudget), "disruption budgets";
    }
    // Kubernetes makes them for those, and the operator removes them.
    deleted {
        /// Data of backends.
        claims: Claim(PersistentVolumeClaim), "volume claims";
    }
    // Kubernetes makes and removes them.
    awaited {
        /// Of backends and of Jobs.
        pods(Pod), "pods";
    }
    // The operator makes and removes them, and nobody may list them.
    unseen {
        /// Credentials.
        Secret(Secret);
    }
}

impl Children {
    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts().iter().all(|(count, _)| *count == 0)
    }

    /// What is left, for people: `2 pods, 1 volume claims`.
    #[must_use]
    pub fn describe(&self) -> String {
        let counts = self.counts();
        let left = counts.iter().filter(|(count, _)| *count > 0);
        let left: Vec<String> = left
            .map(|(count, many)| format!("{count} {many}"))
            .collect();
        left.join(", ")
    }
}

fn is_named<K: ResourceExt>(objects: &[Arc<K>], name: &str) -> bool {
    objects.iter().any(|object| object.name_any() == name)
}

fn names_of_standing<K: ResourceExt>(objects: &[Arc<K>]) -> impl Iterator<Item = String> {
    let standing = objects
        .iter()
        .filter(|object| object.meta().deletion_timestamp.is_none());
    standing.map(|object| object.name_any())
}

fn names_of_disowned<K: ResourceExt>(objects: &[Arc<K>]) -> impl Iterator<Item = String> {
    let disowned = objects.iter().filter(|object| {
        object.owner_references().is_empty() && object.meta().deletion_timestamp.is_none()
    });
    disowned.map(|object| object.name_any())
}

fn held_since<K: Object>(object: &K, before: Timestamp) -> Option<String> {
    let since = object.meta().deletion_timestamp.as_ref()?;
    if since.0 >= before {
        return None;
    }
    let what = format!("{} {}", K::kind(&()), object.name_any());
    let finalizers = object.finalizers();
    Some(if finalizers.is_empty() {
        what
    } else {
        format!("{what} (finalizer {})", finalizers.join(", "))
    })
}

fn labelled<K: Object>(store: &Store<K>, namespace: &str, label: (&str, &str)) -> Vec<Arc<K>> {
    let mut found = store.state_filter(|object: &K| {
        object.meta().namespace.as_deref() == Some(namespace)
            && object
                .labels()
                .get(label.0)
                .is_some_and(|value| value == label.1)
    });
    found.sort_by_key(|object| object.name_any());
    found
}
