//! Does what a plan asks for, whoever the owner is. (I/O.)
//!
//! Nobody else writes to the cluster but the lease: [`Writer::api`] is the only way to it, and asks each time whether
//! this replica leads.

mod children;
mod credentials;
mod events;
mod finalizer;
mod status;

pub use status::Written;

use crate::action::{self, Action};
use crate::children::{Children, Hand, Kind};
use crate::error::Error;
use crate::lease::Tenure;
use crate::made::Made;
use crate::owner::Owner;
use crate::settings::DefaultResults;
use bakeoff_crds::identity::{Identity, Namespace, Uid};
use futures::future::try_join_all;
use k8s_openapi::NamespaceResourceScope;
use kube::runtime::events::Recorder;
use kube::{Api, Client, Resource};
use prometheus_client::metrics::counter::Counter;
use serde::de::DeserializeOwned;
use std::collections::{BTreeSet, HashMap};
use std::fmt::Debug;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Writes to the cluster for as long as this replica leads.
pub struct Writer {
    client: Client,
    tenure: Tenure,
    /// Shared by all events, so that equal ones aggregate.
    recorder: Recorder,
    /// The chart's own results store, and the namespace of its Secret.
    results: Option<DefaultResults>,
    own_namespace: String,
    status_writes: Counter,
    memory: Mutex<Memory>,
}

/// What is remembered between two passes of one process. Losing it is harmless.
#[derive(Default)]
struct Memory {
    /// What was made and is not in the caches yet.
    made: Made,
    /// When the status of an owner was last written.
    written: HashMap<Uid, Instant>,
}

impl Writer {
    /// One that has written nothing yet.
    #[must_use]
    pub fn new(
        client: Client,
        tenure: Tenure,
        recorder: Recorder,
        (results, own_namespace): (Option<DefaultResults>, String),
        status_writes: Counter,
    ) -> Self {
        Self {
            client,
            tenure,
            recorder,
            results,
            own_namespace,
            status_writes,
            memory: Mutex::default(),
        }
    }

    /// The way to the objects of a namespace, for one request.
    fn api<K>(&self, namespace: &str) -> Result<Api<K>, Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        self.leads()?;
        Ok(Api::namespaced(self.client.clone(), namespace))
    }

    fn leads(&self) -> Result<(), Error> {
        if self.tenure.is_current(tokio::time::Instant::now()) {
            Ok(())
        } else {
            Err(Error::NotLeading)
        }
    }

    /// Does what belongs to this pass; whether something is left for the next one.
    ///
    /// # Errors
    /// The API server refused, or another replica may lead; everything that was done may be done again.
    pub async fn act<K>(
        &self,
        owner: &K,
        id: &Identity,
        actions: Vec<Action>,
    ) -> Result<bool, Error>
    where
        K: Owner + DeserializeOwned + Clone + Debug + Send + Sync,
    {
        let (steps, more) = action::pass(actions);
        for step in steps {
            let acts = step.into_iter().map(|action| self.one(owner, id, action));
            try_join_all(acts).await?;
        }
        Ok(more)
    }

    async fn one<K>(&self, owner: &K, id: &Identity, action: Action) -> Result<(), Error>
    where
        K: Owner + DeserializeOwned + Clone + Debug + Send + Sync,
    {
        let there = There {
            writer: self,
            namespace: &id.namespace,
        };
        let made = action.made();
        match action {
            Action::Apply(child) => child.apply(&there).await?,
            Action::CreateSecret(secret, content) => {
                self.create_secret(&id.namespace, *secret, content).await?;
            }
            Action::Delete(kind, name) => {
                kind.delete(&name, &there).await?;
                self.memory().made.remove(&id.uid, kind, &name);
            }
            Action::Finalizer(on) => self.finalizer(owner, id, on).await?,
            Action::DeleteOwner => self.delete::<K>(&id.namespace, &id.name).await?,
        }
        if let Some((kind, name)) = made {
            let now = Instant::now();
            self.memory().made.insert(&id.uid, kind, name, now);
        }
        Ok(())
    }

    /// What was made for an owner and is not among these children yet.
    pub fn unseen(&self, uid: &Uid, children: &Children) -> BTreeSet<(Kind, String)> {
        self.memory().made.unseen(uid, children, Instant::now())
    }

    /// Forgets all owners but those that still need something.
    pub fn keep(&self, needed: impl Fn(&Uid) -> bool) {
        let mut memory = self.memory();
        memory.made.keep(&needed);
        memory.written.retain(|uid, _| needed(uid));
    }

    /// A panic elsewhere cannot leave the memory half-written in a way that matters.
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The writer at work in one namespace.
struct There<'a> {
    writer: &'a Writer,
    namespace: &'a Namespace,
}

impl Hand for There<'_> {
    type Error = Error;

    async fn apply<K: crate::children::Object>(&self, object: &K) -> Result<(), Error> {
        self.writer.apply(self.namespace, object).await
    }

    async fn delete<K: crate::children::Object>(&self, name: &str) -> Result<(), Error> {
        self.writer.delete::<K>(self.namespace, name).await
    }
}
