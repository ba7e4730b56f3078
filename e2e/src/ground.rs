//! Which scenarios run beside which. (I/O: asks once for the nodes of the pool.)
//!
//! Experiments on one node pool wait for each other, so a scenario that measures gets nodes that no other one has:
//! most are content with one, and the pool has several. An operator that is killed or upgraded is no reason to wait:
//! it comes back, and the others have to get over it.

use anyhow::{Context as _, ensure};
use k8s_openapi::api::core::v1::Node;
use kube::Client;
use kube::api::{Api, ListParams};
use serde_json::{Value, json};
use std::sync::Mutex;
use tokio::sync::{
    OnceCell, RwLock, RwLockReadGuard, RwLockWriteGuard, Semaphore, SemaphorePermit,
};

/// What a scenario has to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: none of its experiments is measured.
    Nothing,
    /// One node of the pool.
    Node,
    /// The whole pool.
    Pool,
    /// It has a pool of its own, and asks to be [`alone`] for what would disturb the others.
    OwnPool,
}

/// Held exclusively by whoever takes away what none can do without: the results store, a node.
static CLUSTER: RwLock<()> = RwLock::const_new(());
static NODES: OnceCell<Nodes> = OnceCell::const_new();

struct Nodes {
    /// As many permits as nodes.
    permits: Semaphore,
    /// How many there are.
    all: u32,
    /// The host names of those that nobody has.
    free: Mutex<Vec<String>>,
}

/// The labels of the pool that the fixtures ask for.
#[must_use]
pub fn pool() -> Value {
    json!({"bakeoff.dev/pool": "bench"})
}

async fn nodes(client: &Client) -> anyhow::Result<&'static Nodes> {
    NODES
        .get_or_try_init(async || {
            let bench = ListParams::default().labels("bakeoff.dev/pool=bench");
            let found = Api::<Node>::all(client.clone()).list(&bench).await?;
            let free: Vec<String> = found
                .iter()
                .filter_map(|node| node.metadata.labels.as_ref()?.get("kubernetes.io/hostname"))
                .cloned()
                .collect();
            ensure!(
                !free.is_empty(),
                "no node has the label bakeoff.dev/pool=bench"
            );
            Ok(Nodes {
                permits: Semaphore::new(free.len()),
                all: u32::try_from(free.len())?,
                free: Mutex::new(free),
            })
        })
        .await
}

/// What a scenario holds while it runs.
pub(crate) struct Ground {
    host: Option<String>,
    // In the order in which they are given back.
    _shared: Option<RwLockReadGuard<'static, ()>>,
    _nodes: Option<SemaphorePermit<'static>>,
}

impl Ground {
    /// Waits for what a scenario needs. Nodes first and then the cluster: whoever waits for a node must not keep
    /// waiting who wants the cluster.
    pub(crate) async fn take(needs: Needs, client: &Client) -> anyhow::Result<Self> {
        let nodes = nodes(client).await?;
        let wanted = match needs {
            Needs::Node => 1,
            Needs::Pool => nodes.all,
            Needs::Nothing | Needs::OwnPool => 0,
        };
        let permit = match wanted {
            0 => None,
            some => Some(nodes.permits.acquire_many(some).await?),
        };
        let host = if needs == Needs::Node {
            let mut free = nodes
                .free
                .lock()
                .map_err(|_| anyhow::anyhow!("a test panicked"))?;
            Some(free.pop().context("a permit is a node")?)
        } else {
            None
        };
        let shared = match needs {
            Needs::OwnPool => None,
            Needs::Nothing | Needs::Node | Needs::Pool => Some(CLUSTER.read().await),
        };
        Ok(Self {
            host,
            _shared: shared,
            _nodes: permit,
        })
    }

    /// The labels of the nodes that it holds.
    pub(crate) fn node_selector(&self) -> Value {
        let mut labels = pool();
        if let Some(host) = &self.host {
            labels["kubernetes.io/hostname"] = json!(host);
        }
        labels
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        // Before the permit, which the fields give back after this.
        if let (Some(host), Some(nodes)) = (self.host.take(), NODES.get())
            && let Ok(mut free) = nodes.free.lock()
        {
            free.push(host);
        }
    }
}

/// Waits until no scenario runs but those with pools of their own, and keeps it so for as long as this is kept.
pub async fn alone() -> RwLockWriteGuard<'static, ()> {
    CLUSTER.write().await
}
