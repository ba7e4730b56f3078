//! Which scenarios run beside which. (I/O: asks once for the nodes of the pool, and labels them.)
//!
//! Experiments on one node pool wait for each other, so a scenario that measures gets nodes that no other one has:
//! most are content with one, and the pool has several. A label says whose they are. What they share, the operator, the
//! name server, the chart's results store, is no reason to wait: an operator that is killed or upgraded comes back, and
//! the others have to get over it; whoever takes more than that away brings its own.

use anyhow::{Context as _, ensure};
use k8s_openapi::api::core::v1::Node;
use kube::Client;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};

/// What a scenario has to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: none of its experiments is measured.
    Nothing,
    /// So many nodes of the pool, or all, where it has fewer.
    Nodes(usize),
    /// One node, before all others: it takes the longest.
    FirstNode,
}

/// How much later all others ask, who begin at the same time.
const HEAD_START: Duration = Duration::from_secs(1);

static NODES: OnceCell<Nodes> = OnceCell::const_new();

struct Nodes {
    /// As many permits as nodes.
    permits: Semaphore,
    /// How many there are.
    all: usize,
    /// The names of those that nobody has.
    free: Mutex<Vec<String>>,
}

/// The label of the nodes of a scenario; its value is the name of its namespace.
const LABEL_SCENARIO: &str = "e2e.bakeoff.dev/scenario";

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
                .filter_map(|node| node.metadata.name.clone())
                .collect();
            ensure!(
                !free.is_empty(),
                "no node has the label bakeoff.dev/pool=bench"
            );
            Ok(Nodes {
                permits: Semaphore::new(free.len()),
                all: free.len(),
                free: Mutex::new(free),
            })
        })
        .await
}

/// What a scenario holds while it runs.
pub(crate) struct Ground {
    client: Client,
    names: Vec<String>,
    _nodes: Option<SemaphorePermit<'static>>,
}

impl Ground {
    /// Waits for what a scenario needs.
    pub(crate) async fn take(needs: Needs, client: &Client) -> anyhow::Result<Self> {
        let nodes = nodes(client).await?;
        if needs != Needs::FirstNode {
            tokio::time::sleep(HEAD_START).await;
        }
        let wanted = match needs {
            Needs::Nodes(wanted) => wanted.min(nodes.all),
            Needs::FirstNode => 1,
            Needs::Nothing => 0,
        };
        let permit = match wanted {
            0 => None,
            some => Some(nodes.permits.acquire_many(u32::try_from(some)?).await?),
        };
        let names = {
            let mut free = nodes
                .free
                .lock()
                .map_err(|_| anyhow::anyhow!("a test panicked"))?;
            let kept = free
                .len()
                .checked_sub(wanted)
                .context("a permit is a node")?;
            free.split_off(kept)
        };
        Ok(Self {
            client: client.clone(),
            names,
            _nodes: permit,
        })
    }

    /// Puts the label of a scenario on its nodes; with `None` takes it away.
    ///
    /// # Errors
    /// What the API server says.
    pub(crate) async fn label(&self, scenario: Option<&str>) -> anyhow::Result<()> {
        let nodes = Api::<Node>::all(self.client.clone());
        let patch = Patch::Merge(json!({"metadata": {"labels": {LABEL_SCENARIO: scenario}}}));
        for name in &self.names {
            nodes.patch(name, &PatchParams::default(), &patch).await?;
        }
        Ok(())
    }

    /// The name of the node, where it is one.
    pub(crate) fn node(&self) -> anyhow::Result<&str> {
        match &self.names[..] {
            [name] => Ok(name),
            names => anyhow::bail!("the scenario has {} nodes of its own, not one", names.len()),
        }
    }

    /// The labels of the nodes of a scenario.
    pub(crate) fn node_selector(&self, scenario: &str) -> Value {
        let mut labels = pool();
        if !self.names.is_empty() {
            labels[LABEL_SCENARIO] = json!(scenario);
        }
        labels
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        // Before the permit, which the field gives back after this.
        if let Some(nodes) = NODES.get()
            && let Ok(mut free) = nodes.free.lock()
        {
            free.append(&mut self.names);
        }
    }
}
