//! Does what a plan asks for, whoever the owner is. (I/O.)
//!
//! Nobody else writes to the cluster but the lease: [`Writer::api`] is the only way to it, and asks each time whether
//! this replica leads.

mod children;
mod credentials;
mod events;
mod finalizer;
mod runs;
mod status;

pub use runs::Answer;
pub use status::Written;

use crate::action::{self, Action};
use crate::children::{Children, Hand, Kind};
use crate::error::Error;
use crate::lease::Tenure;
use crate::made::Made;
use crate::owner::Owner;
use crate::settings::DefaultResults;
use bakeoff_crds::identity::{Identity, Namespace, Uid};
use futures::future::join_all;
use k8s_openapi::NamespaceResourceScope;
use kube::runtime::events::Recorder;
use kube::{Api, Client, Resource};
use prometheus_client::metrics::counter::Counter;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Debug;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

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

/// What the API server said of each object that it refuses, and since when.
type Refusals = HashMap<(Kind, String), Refusal>;

struct Refusal {
    message: String,
    since: Instant,
    for_good: bool,
}

/// What is remembered between two passes of one process. Losing it is harmless.
#[derive(Default)]
struct Memory {
    /// What was made and is not in the caches yet.
    made: Made,
    /// When the status of an owner was last written.
    written: HashMap<Uid, Instant>,
    /// What the API server refuses.
    refused: HashMap<Uid, Refusals>,
}

/// What the API server refuses to make or remove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Who says so, in its words.
    pub message: String,
    /// For how long it has refused.
    pub since: Duration,
    /// Whether it will not take it later either: the namespace is being deleted.
    pub for_good: bool,
}

/// What came of the actions of a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acted {
    /// All is done.
    All,
    /// Something is left for the next pass.
    More,
    /// The API server refused one, and what comes after it was left.
    Refused,
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

    /// Does what belongs to this pass. What the API server refuses is remembered until it takes it.
    ///
    /// # Errors
    /// The API server did not answer, or another replica may lead; everything that was done may be done again.
    pub async fn act<K>(
        &self,
        owner: &K,
        id: &Identity,
        actions: Vec<Action>,
    ) -> Result<Acted, Error>
    where
        K: Owner + DeserializeOwned + Clone + Debug + Send + Sync,
    {
        let (steps, more) = action::pass(actions);
        for step in steps {
            let targets: Vec<_> = step.iter().map(Action::target).collect();
            let acts = step.into_iter().map(|action| self.one(owner, id, action));
            // What came of each is remembered before an error ends the pass.
            let results = targets.into_iter().zip(join_all(acts).await);
            let taken: Vec<_> = results
                .map(|(target, result)| self.took(&id.uid, target, result))
                .collect();
            let mut refused = false;
            for taken in taken {
                refused |= taken?;
            }
            // What comes after it may need it: no pod without its policy.
            if refused {
                return Ok(Acted::Refused);
            }
        }
        Ok(if more { Acted::More } else { Acted::All })
    }

    /// Remembers whether an action on this object was done; whether it stays undone for now.
    fn took(
        &self,
        uid: &Uid,
        target: Option<(Kind, String)>,
        result: Result<(), Error>,
    ) -> Result<bool, Error> {
        let refused = &mut self.memory().refused;
        match (target, result) {
            (Some(target), Err(error)) if error.is_standing() => {
                let message = error.in_words();
                let refused = refused.entry(uid.clone()).or_default();
                let refusal = refused.entry(target).or_insert_with(|| {
                    tracing::warn!(%error, "refused");
                    Refusal {
                        message: String::new(),
                        since: Instant::now(),
                        for_good: false,
                    }
                });
                refusal.message = message;
                refusal.for_good = error.is_of_a_dying_namespace();
                Ok(true)
            }
            (Some(target), Ok(())) => {
                if let Some(refused) = refused.get_mut(uid) {
                    refused.remove(&target);
                }
                Ok(false)
            }
            (None, Ok(())) => Ok(false),
            (_, Err(error)) => Err(error),
        }
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
            Action::Kill { pod, uid } => self.kill(&id.namespace, &pod, &uid).await?,
            Action::Finalizer(on) => self.finalizer(owner, id, on).await?,
            Action::DeleteOwner => self.delete_owner(owner, id).await?,
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

    /// What the API server refuses to make or remove for an owner.
    pub fn refused(&self, uid: &Uid) -> BTreeMap<(Kind, String), Refused> {
        let memory = self.memory();
        let of = memory.refused.get(uid).into_iter().flatten();
        let refused = of.map(|(target, refusal)| {
            let refused = Refused {
                message: refusal.message.clone(),
                since: refusal.since.elapsed(),
                for_good: refusal.for_good,
            };
            (target.clone(), refused)
        });
        refused.collect()
    }

    /// Forgets all owners but those that still need something.
    pub fn keep(&self, needed: impl Fn(&Uid) -> bool) {
        let mut memory = self.memory();
        memory.made.keep(&needed);
        memory.written.retain(|uid, _| needed(uid));
        memory.refused.retain(|uid, _| needed(uid));
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
