//! The admin API of a Garage node, version 2. (I/O.)

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::change::{Bucket, Key, Node};
use crate::net::{self, NetError};

/// How long a node has for one answer: a change waits for a majority of them.
const PATIENCE: Duration = Duration::from_secs(20);
/// Only how capacities compare matters, and all are the same.
const CAPACITY: u64 = 1 << 40;
/// All nodes are in one zone: what is lost is a node.
const ZONE: &str = "bench";

/// Why a node does not do what it is asked for.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// No answer.
    #[error(transparent)]
    Net(#[from] NetError),
    /// An answer that is no success.
    #[error("{doing}: {status}: {said}")]
    Refused {
        /// What was asked for.
        doing: &'static str,
        /// The HTTP status.
        status: u16,
        /// What it said.
        said: String,
    },
    /// An answer that is not what the API promises.
    #[error("{doing}: {detail}")]
    Malformed {
        /// What was asked for.
        doing: &'static str,
        /// What is wrong with it.
        detail: String,
    },
}

/// The state of the cluster, as a node sees it.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Status {
    pub layout_version: u64,
    nodes: Vec<NodeStatus>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct NodeStatus {
    id: String,
    is_up: bool,
}

impl Status {
    /// The ids of the nodes that it is connected with, its own included.
    pub(super) fn up(self) -> BTreeSet<String> {
        let up = self.nodes.into_iter().filter(|node| node.is_up);
        up.map(|node| node.id).collect()
    }
}

/// The admin API of one node.
#[derive(Clone)]
pub(super) struct Admin {
    pub url: String,
    pub token: String,
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl Admin {
    async fn send(
        &self,
        method: http::Method,
        doing: &'static str,
        (query, body): (&str, Bytes),
    ) -> Result<(u16, Bytes), AdminError> {
        let url = format!("{}/v2/{doing}{query}", self.url);
        let headers = [("authorization", format!("Bearer {}", self.token))];
        Ok(net::send(method, &url, &headers, body, PATIENCE).await?)
    }

    /// What is asked for; none where it is not there.
    async fn find<T: DeserializeOwned>(
        &self,
        doing: &'static str,
        query: &str,
    ) -> Result<Option<T>, AdminError> {
        match self
            .send(http::Method::GET, doing, (query, Bytes::new()))
            .await?
        {
            (404, _) => Ok(None),
            answer => read(doing, answer).map(Some),
        }
    }

    async fn get<T: DeserializeOwned>(
        &self,
        doing: &'static str,
        query: &str,
    ) -> Result<T, AdminError> {
        let answer = self
            .send(http::Method::GET, doing, (query, Bytes::new()))
            .await?;
        read(doing, answer)
    }

    async fn post(
        &self,
        doing: &'static str,
        query: &str,
        body: &Value,
    ) -> Result<Value, AdminError> {
        let body = Bytes::from(body.to_string());
        let answer = self.send(http::Method::POST, doing, (query, body)).await?;
        read(doing, answer)
    }

    /// The id of the node.
    pub(super) async fn id(&self) -> Result<String, AdminError> {
        let doing = "GetNodeInfo";
        let found: Value = self.get(doing, "?node=self").await?;
        let nodes = found["success"].as_object();
        let id = nodes.and_then(|nodes| nodes.keys().next().cloned());
        id.ok_or_else(|| malformed(doing, "it names no node"))
    }

    /// The metrics of the node. No token is asked for, and so none is hashed.
    pub(super) async fn metrics(&self) -> Result<String, NetError> {
        let url = format!("{}/metrics", self.url);
        let (_, body) = net::request(http::Method::GET, &url, PATIENCE).await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    pub(super) async fn status(&self) -> Result<Status, AdminError> {
        self.get("GetClusterStatus", "").await
    }

    /// Connects the node with another one.
    pub(super) async fn connect(&self, node: &Node) -> Result<(), AdminError> {
        let doing = "ConnectClusterNodes";
        let asked = json!([format!("{}@{}", node.id, node.address)]);
        let answer = self.post(doing, "", &asked).await?;
        if answer[0]["success"] == true {
            return Ok(());
        }
        let said = answer[0]["error"].as_str().unwrap_or("it says no reason");
        Err(malformed(doing, said))
    }

    /// The nodes that the next version of the layout is to have.
    pub(super) async fn staged(&self) -> Result<BTreeSet<String>, AdminError> {
        let found: Value = self.get("GetClusterLayout", "").await?;
        let staged = found["stagedRoleChanges"].as_array().into_iter().flatten();
        let ids = staged.filter_map(|role| role["id"].as_str());
        Ok(ids.map(str::to_owned).collect())
    }

    pub(super) async fn stage(&self, ids: &[String]) -> Result<(), AdminError> {
        let ids = ids.iter();
        let roles: Vec<Value> = ids
            .map(|id| json!({"id": id, "zone": ZONE, "capacity": CAPACITY, "tags": []}))
            .collect();
        let asked = json!({"roles": roles});
        self.post("UpdateClusterLayout", "", &asked).await.map(drop)
    }

    /// Makes what was staged the first version of the layout; refused where there is one.
    pub(super) async fn apply(&self) -> Result<(), AdminError> {
        let asked = json!({"version": 1});
        self.post("ApplyClusterLayout", "", &asked).await.map(drop)
    }

    pub(super) async fn key(&self, id: &str) -> Result<Option<Key>, AdminError> {
        let found: Option<Value> = self.find("GetKeyInfo", &format!("?id={id}")).await?;
        Ok(found.map(|key| Key {
            creates: key["permissions"]["createBucket"] == true,
        }))
    }

    pub(super) async fn import(&self, id: &str, secret: &str) -> Result<(), AdminError> {
        let asked = json!({"accessKeyId": id, "secretAccessKey": secret, "name": "bakeoff"});
        self.post("ImportKey", "", &asked).await.map(drop)
    }

    pub(super) async fn let_create(&self, id: &str) -> Result<(), AdminError> {
        let asked = json!({"allow": {"createBucket": true}});
        let query = format!("?id={id}");
        self.post("UpdateKey", &query, &asked).await.map(drop)
    }

    /// The bucket of this name, and whether the key may do anything with it.
    pub(super) async fn bucket(&self, name: &str, key: &str) -> Result<Option<Bucket>, AdminError> {
        let doing = "GetBucketInfo";
        let found: Option<Value> = self.find(doing, &format!("?globalAlias={name}")).await?;
        let Some(found) = found else { return Ok(None) };
        let id = found["id"].as_str();
        let id = id.ok_or_else(|| malformed(doing, "the bucket has no id"))?;
        let keys = found["keys"].as_array().into_iter().flatten();
        let mut ours = keys.filter(|one| one["accessKeyId"] == key);
        let may = |one: &Value| {
            let rights = ["read", "write", "owner"];
            rights.iter().all(|right| one["permissions"][right] == true)
        };
        Ok(Some(Bucket {
            id: id.to_owned(),
            open: ours.next().is_some_and(may),
        }))
    }

    pub(super) async fn create_bucket(&self, name: &str) -> Result<(), AdminError> {
        let asked = json!({"globalAlias": name});
        self.post("CreateBucket", "", &asked).await.map(drop)
    }

    pub(super) async fn open(&self, bucket: &str, key: &str) -> Result<(), AdminError> {
        let rights = json!({"read": true, "write": true, "owner": true});
        let asked = json!({"bucketId": bucket, "accessKeyId": key, "permissions": rights});
        self.post("AllowBucketKey", "", &asked).await.map(drop)
    }
}

fn malformed(doing: &'static str, detail: impl std::fmt::Display) -> AdminError {
    AdminError::Malformed {
        doing,
        detail: detail.to_string(),
    }
}

fn read<T: DeserializeOwned>(
    doing: &'static str,
    (status, body): (u16, Bytes),
) -> Result<T, AdminError> {
    if !(200..300).contains(&status) {
        let said = String::from_utf8_lossy(&body).into_owned();
        return Err(AdminError::Refused {
            doing,
            status,
            said,
        });
    }
    serde_json::from_slice(&body).map_err(|error| malformed(doing, error))
}
