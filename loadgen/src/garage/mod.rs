//! Has nodes of Garage join into one cluster with its key and its bucket, and says when S3 of the own node answers.
//!
//! It stands beside each node in its pod. What stands beside the others is asked for their ids, as these are drawn at their first start;
//! the admin API is asked over loopback alone. All of them connect their own node with the others, and the one beside the first does what
//! may be done once. It goes by what the cluster has, and not by what it remembers: interrupted anywhere, by whatever, it goes on there.
//!
//! A node that comes back reaches the others at once, and they try to reach it every 30 s: until they do, what they write is not on it. So
//! a node is ready when S3 of it answers and the others that run are connected with it. Nobody hurries them, as that is how Garage is.

mod admin;
mod change;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::Query;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use futures::future::join_all;
use serde::Deserialize;

use crate::credentials::Credentials;
use crate::drivers::s3::dialer::Dialer;
use crate::drivers::s3::{ListRequest, Target, TargetError};
use crate::net;
use admin::Admin;
pub use admin::AdminError;
pub use change::{Bucket, Change, Key, Node, Seen, connected, next, strangers};

/// How long S3, or what stands beside another node, has for one answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The pause between two looks before S3 answers for the first time.
const SOON: Duration = Duration::from_millis(500);
/// The pause between two looks afterwards. The node finds those again that it knew, and is not to be disturbed.
const NOW_AND_THEN: Duration = Duration::from_secs(30);

/// A node and those that it is to join.
#[derive(Clone, Debug)]
pub struct Place {
    /// The URL of the node's admin API.
    pub admin: String,
    /// What proves there that one may ask.
    pub token: String,
    /// The URL of its S3.
    pub s3: String,
    /// The region that requests to it are signed for.
    pub region: String,
    /// The bucket that is measured.
    pub bucket: String,
    /// Where the other nodes reach it, as `host:port`.
    pub address: String,
    /// The URLs of what stands beside each node, in one order for all, its own included.
    pub beside: Vec<String>,
}

/// Has one node join the others.
#[derive(Debug)]
pub struct Joiner {
    place: Place,
    admin: Admin,
    credentials: Credentials,
    dialer: Dialer,
}

impl Joiner {
    /// # Errors
    /// When the URL of S3 is none.
    pub fn new(place: Place, credentials: Credentials) -> Result<Self, TargetError> {
        let target = Target::new(
            &place.s3,
            &place.region,
            &place.bucket,
            true,
            credentials.clone(),
        )?;
        Ok(Self {
            admin: Admin {
                url: place.admin.clone(),
                token: place.token.clone(),
            },
            dialer: Dialer::new(Arc::new(target), PATIENCE, false)?,
            place,
            credentials,
        })
    }

    /// Whether S3 of the node answers for the bucket, which takes a quorum of nodes.
    pub async fn answers(&self) -> bool {
        let request = ListRequest {
            max_keys: 1,
            ..ListRequest::default()
        };
        let listed = self.dialer.connection().list(&request).await;
        listed
            .inspect_err(|failure| tracing::debug!(%failure, "S3 does not answer"))
            .is_ok()
    }

    /// The node as others are told of it.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn own(&self) -> Result<Node, AdminError> {
        Ok(Node {
            id: self.admin.id().await?,
            address: self.place.address.clone(),
            layout_version: self.admin.status().await?.layout_version,
        })
    }

    /// Connects the node with those of the others that it is not connected with, and, beside the first of them, makes one change to the
    /// cluster; which one, if any was to be made.
    ///
    /// # Errors
    /// When the node does not answer, or refuses the change.
    pub async fn step(
        &self,
        own: &Node,
        nodes: Vec<Option<Node>>,
    ) -> Result<Option<Change>, AdminError> {
        let mut seen = Seen {
            nodes,
            ..Seen::default()
        };
        self.look(&mut seen).await?;
        let strangers = strangers(&seen);
        if !strangers.is_empty() {
            for stranger in strangers {
                if let Err(error) = self.admin.connect(stranger).await {
                    tracing::info!(%error, node = stranger.address, "no connection yet");
                }
            }
            self.look(&mut seen).await?;
        }
        if !is_first(&seen.nodes, own) {
            return Ok(None);
        }
        self.look_closer(&mut seen).await?;
        let change = next(&seen);
        if let Some(change) = &change {
            self.make(change).await?;
            tracing::info!(?change, "done");
        }
        Ok(change)
    }

    /// Looks which nodes are connected, and at the version of the layout: the node answers that without the others.
    async fn look(&self, seen: &mut Seen) -> Result<(), AdminError> {
        let status = self.admin.status().await?;
        seen.layout_version = status.layout_version;
        seen.up = status.up();
        Ok(())
    }

    /// Looks at what the first alone needs to know, once there is a connection: a quorum has to answer for some of it. Each question costs
    /// the node the hash of a token.
    async fn look_closer(&self, seen: &mut Seen) -> Result<(), AdminError> {
        if seen.layout_version == 0 {
            seen.staged = self.admin.staged().await?;
        } else {
            let key = &self.credentials.user;
            seen.key = self.admin.key(key).await?;
            seen.bucket = self.admin.bucket(&self.place.bucket, key).await?;
        }
        Ok(())
    }

    async fn make(&self, change: &Change) -> Result<(), AdminError> {
        let Credentials { user, secret, .. } = &self.credentials;
        match change {
            Change::Stage(ids) => self.admin.stage(ids).await,
            Change::Apply => self.admin.apply().await,
            Change::ImportKey => self.admin.import(user, secret).await,
            Change::LetCreate => self.admin.let_create(user).await,
            Change::CreateBucket => self.admin.create_bucket(&self.place.bucket).await,
            Change::Open(bucket) => self.admin.open(bucket, user).await,
        }
    }

    /// Whether the node is connected with that of an id; none where it does not say.
    async fn knows(&self, id: &str) -> Option<bool> {
        let metrics = self.admin.metrics().await;
        metrics.ok().map(|metrics| connected(&metrics, id))
    }

    /// Whether no node that runs says that it is not connected with this one.
    async fn is_known_by_others(&self, id: &str) -> bool {
        let asked = self.place.beside.iter().map(async |beside| {
            let url = format!("{beside}/knows?id={id}");
            let answer = net::request(http::Method::GET, &url, PATIENCE).await;
            !answer.is_ok_and(|(status, _)| status == UNKNOWN.as_u16())
        });
        join_all(asked).await.into_iter().all(|known| known)
    }

    /// What stands beside each node says of it; none of those that do not answer.
    async fn nodes(&self) -> Vec<Option<Node>> {
        let asked = self.place.beside.iter().map(async |beside| {
            let url = format!("{beside}/node");
            let answer = net::request(http::Method::GET, &url, PATIENCE).await;
            match answer {
                Ok((200, body)) => serde_json::from_slice(&body).ok(),
                _ => None,
            }
        });
        join_all(asked).await
    }
}

/// Whether a node is the first of them.
fn is_first(nodes: &[Option<Node>], own: &Node) -> bool {
    let first = nodes.first().and_then(Option::as_ref);
    first.is_some_and(|first| first.id == own.id)
}

/// What is said at the address of a joiner.
#[derive(Debug, Default)]
struct Said {
    ready: bool,
    node: Option<Node>,
}

type Shared = Arc<Mutex<Said>>;

fn with<T>(shared: &Shared, act: impl FnOnce(&mut Said) -> T) -> T {
    act(&mut shared.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Has the node join the others and answers at `listen`, for ever: 200 at `/readyz` while S3 of the node answers for the bucket, at `/node`
/// what the others need to know of it, and at `/knows` whether it is connected with the node of an id.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn keep(joiner: Joiner, listen: SocketAddr) -> std::io::Result<()> {
    let (joiner, shared) = (Arc::new(joiner), Shared::default());
    let listener = net::listener(listen)?;
    let served = async { axum::serve(listener, router(&joiner, &shared)).await };
    let kept = async {
        let mut joined = false;
        loop {
            let looked = look(&joiner, &shared, joined).await;
            let ready = looked.unwrap_or_else(|error| {
                tracing::info!(%error, "not joined yet");
                false
            });
            joined |= ready;
            if with(&shared, |said| std::mem::replace(&mut said.ready, ready)) != ready {
                tracing::info!(ready, "S3's answering for the bucket");
            }
            tokio::time::sleep(if joined { NOW_AND_THEN } else { SOON }).await;
        }
    };
    tokio::select! {
        ended = served => ended,
        () = kept => Ok(()),
    }
}

/// Whether the node is ready; does what is missing where it is not.
async fn look(joiner: &Joiner, shared: &Shared, joined: bool) -> Result<bool, AdminError> {
    let answers = joiner.answers().await;
    if answers && joined {
        return Ok(true);
    }
    let own = match with(shared, |said| said.node.clone()) {
        Some(own) if answers => own,
        _ => joiner.own().await?,
    };
    with(shared, |said| said.node = Some(own.clone()));
    if answers {
        return Ok(joiner.is_known_by_others(&own.id).await);
    }
    let nodes = joiner.nodes().await;
    while joiner.step(&own, nodes.clone()).await?.is_some() {}
    Ok(false)
}

/// What is answered where a node is not connected with that of an id.
const UNKNOWN: StatusCode = StatusCode::NOT_FOUND;

#[derive(Deserialize)]
struct Asked {
    id: String,
}

fn router(joiner: &Arc<Joiner>, shared: &Shared) -> Router {
    let (ready, node) = (Arc::clone(shared), Arc::clone(shared));
    let (asked, joiner) = (Arc::clone(joiner), Arc::clone(joiner));
    let ready = move || async move {
        if with(&ready, |said| said.ready) {
            (StatusCode::OK, "it answers")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "it does not answer yet")
        }
    };
    let node = move || async move {
        let mut node = with(&node, |said| said.node.clone());
        // A first layout is made where no node has one, and so it is looked again.
        if node.as_ref().is_some_and(|node| node.layout_version == 0) {
            node = asked.own().await.ok();
        }
        node.map(Json).ok_or(StatusCode::SERVICE_UNAVAILABLE)
    };
    let knows = move |Query(asked): Query<Asked>| async move {
        match joiner.knows(&asked.id).await {
            Some(true) => StatusCode::OK,
            Some(false) => UNKNOWN,
            None => StatusCode::SERVICE_UNAVAILABLE,
        }
    };
    Router::new()
        .route("/readyz", get(ready))
        .route("/node", get(node))
        .route("/knows", get(knows))
}
