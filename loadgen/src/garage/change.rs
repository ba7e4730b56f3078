//! What is still to be done before nodes are a cluster with its bucket, by what is known of it. (Pure.)

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// What stands beside a node says of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// By which nodes know it: its public key.
    pub id: String,
    /// Where the others reach it, as `host:port`.
    pub address: String,
    /// The version of the layout that it has; 0 before there is one.
    pub layout_version: u64,
}

/// The key of the experiment, as the cluster has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Whether it may make buckets.
    pub creates: bool,
}

/// The bucket that is measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// By which the cluster knows it.
    pub id: String,
    /// Whether the key of the experiment may do anything with it.
    pub open: bool,
}

/// What a node knows of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// All nodes in their order, as far as what stands beside them has answered.
    pub nodes: Vec<Option<Node>>,
    /// Those that it is connected with, itself included.
    pub up: BTreeSet<String>,
    /// The version of the layout.
    pub layout_version: u64,
    /// The nodes that the next version of the layout is to have.
    pub staged: BTreeSet<String>,
    /// The key, once there is one.
    pub key: Option<Key>,
    /// The bucket, once there is one.
    pub bucket: Option<Bucket>,
}

/// One change to the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Says which nodes the layout is to have.
    Stage(Vec<String>),
    /// Makes what was staged the first version of the layout.
    Apply,
    /// Has the cluster know the key of the experiment.
    ImportKey,
    /// Lets the key make buckets, as that of a node alone may.
    LetCreate,
    /// Makes the bucket.
    CreateBucket,
    /// Lets the key do anything with the bucket of this id.
    Open(String),
}

/// The nodes that the own one is to be connected with and is not.
#[must_use]
pub fn strangers(seen: &Seen) -> Vec<&Node> {
    let known = seen.nodes.iter().flatten();
    known.filter(|node| !seen.up.contains(&node.id)).collect()
}

/// What the first of the nodes does next; none where nothing is to be done, or somebody is waited for. Were any node to do it, two could
/// make two layouts of one version.
#[must_use]
pub fn next(seen: &Seen) -> Option<Change> {
    if seen.layout_version == 0 {
        // All of them, as each is to be in the first layout. One that has a layout already tells it to the others.
        let all: Option<Vec<&Node>> = seen.nodes.iter().map(Option::as_ref).collect();
        let all = all.filter(|all| {
            let ready = |node: &&Node| seen.up.contains(&node.id) && node.layout_version == 0;
            all.iter().all(ready)
        })?;
        if all.iter().all(|node| seen.staged.contains(&node.id)) {
            return Some(Change::Apply);
        }
        let ids = all.into_iter().map(|node| node.id.clone());
        return Some(Change::Stage(ids.collect()));
    }
    match (&seen.key, &seen.bucket) {
        (None, _) => Some(Change::ImportKey),
        (Some(Key { creates: false }), _) => Some(Change::LetCreate),
        (Some(_), None) => Some(Change::CreateBucket),
        (Some(_), Some(bucket)) => (!bucket.open).then(|| Change::Open(bucket.id.clone())),
    }
}

/// How many characters of an id stand in metrics.
const SHORT: usize = 16;

/// Whether a node is connected with the one of this id, by its metrics.
#[must_use]
pub fn connected(metrics: &str, id: &str) -> bool {
    let label = format!("id=\"{}\"", id.get(..SHORT).unwrap_or(id));
    let mut lines = metrics
        .lines()
        .filter(|line| line.starts_with("cluster_layout_node_connected{") && line.contains(&label));
    lines.any(|line| line.ends_with(" 1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: &str) -> Node {
        Node {
            id: id.to_owned(),
            address: format!("{id}:3901"),
            layout_version: 0,
        }
    }

    /// Does to what is known what a change does to the cluster.
    fn done(seen: &mut Seen, change: Change) {
        match change {
            Change::Stage(ids) => seen.staged.extend(ids),
            Change::Apply => {
                seen.layout_version = 1;
                seen.staged.clear();
            }
            Change::ImportKey => seen.key = Some(Key { creates: false }),
            Change::LetCreate => seen.key = Some(Key { creates: true }),
            Change::CreateBucket => {
                seen.bucket = Some(Bucket {
                    id: "b".to_owned(),
                    open: false,
                });
            }
            Change::Open(_) => seen.bucket.as_mut().unwrap().open = true,
        }
    }

    #[test]
    fn a_cluster_comes_to_be_step_by_step_and_then_nothing_more_is_done() {
        let mut seen = Seen {
            nodes: ["a", "b", "c"].map(|id| Some(node(id))).into(),
            up: BTreeSet::from(["a".to_owned()]),
            ..Seen::default()
        };
        assert_eq!(next(&seen), None, "they are not connected yet");
        assert_eq!(strangers(&seen), [&node("b"), &node("c")]);
        seen.up.extend(["b".to_owned(), "c".to_owned()]);
        assert!(strangers(&seen).is_empty());
        let mut changes = Vec::new();
        while let Some(change) = next(&seen) {
            changes.push(change.clone());
            done(&mut seen, change);
            assert!(changes.len() < 10, "{changes:?}");
        }
        let ids = ["a", "b", "c"].map(str::to_owned).to_vec();
        let expected = [
            Change::Stage(ids),
            Change::Apply,
            Change::ImportKey,
            Change::LetCreate,
            Change::CreateBucket,
            Change::Open("b".to_owned()),
        ];
        assert_eq!(changes, expected);
        // A node that is away afterwards is waited for by nobody.
        seen.nodes[2] = None;
        seen.up.remove("c");
        assert_eq!((next(&seen), strangers(&seen).len()), (None, 0));
    }

    #[test]
    fn no_layout_is_made_without_all_nodes_or_where_one_has_a_layout() {
        let whole = Seen {
            nodes: ["a", "b", "c"].map(|id| Some(node(id))).into(),
            up: ["a", "b", "c"].map(str::to_owned).into(),
            ..Seen::default()
        };
        assert!(next(&whole).is_some());
        let mut silent = whole.clone();
        silent.nodes[1] = None;
        assert_eq!(next(&silent), None);
        let mut away = whole.clone();
        away.up.remove("b");
        assert_eq!(next(&away), None);
        let mut older = whole;
        older.nodes[2].as_mut().unwrap().layout_version = 1;
        assert_eq!(next(&older), None, "it is about to be told of it");
    }

    #[test]
    fn metrics_say_which_nodes_a_node_is_connected_with() {
        let text = "# TYPE cluster_layout_node_connected gauge\n\
            cluster_layout_node_connected{id=\"07832674c1b7fde4\",role_gateway=\"0\"} 1\n\
            cluster_layout_node_connected{id=\"17832674c1b7fde4\",role_gateway=\"0\"} 0\n\
            cluster_layout_node_disconnected_time{id=\"17832674c1b7fde4\"} 1\n";
        assert!(connected(text, "07832674c1b7fde4aabb"));
        assert!(!connected(text, "17832674c1b7fde4aabb"));
        assert!(!connected(text, "27832674c1b7fde4aabb"));
        assert!(!connected("", "x"));
    }
}
