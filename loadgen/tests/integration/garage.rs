//! Three nodes of Garage become one cluster by what stands beside them, wherever that is interrupted, and go on without one of them.

use std::time::{Duration, Instant};

use bakeoff_loadgen::drivers::s3::conn::Keep;
use bakeoff_loadgen::drivers::s3::{Connection, Payload};
use bakeoff_loadgen::garage::{Change, Node};
use bakeoff_loadgen::net;
use bakeoff_loadgen::run::Backend;
use bytes::Bytes;

use crate::support;
use crate::support::garage::{GarageNode, credentials, known, three};

/// Waits until what stands beside each of these says that S3 answers.
async fn ready(nodes: &[&GarageNode]) {
    let patience = Instant::now() + Duration::from_secs(240);
    for node in nodes {
        let url = format!("{}/readyz", node.beside());
        loop {
            let asked = net::request(http::Method::GET, &url, Duration::from_secs(5));
            if asked.await.is_ok_and(|(status, _)| status == 200) {
                break;
            }
            assert!(Instant::now() < patience, "{url} does not answer 200");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// A connection to one node alone.
fn through(node: &GarageNode) -> Connection {
    let at = support::s3("garage", &node.endpoint());
    let backend = Backend::new(at, credentials()).unwrap();
    backend.access.s3().unwrap().connection()
}

/// Writes an object through one node.
async fn put(node: &GarageNode, key: &str) {
    let mut connection = through(node);
    let path = connection.target().object_path(key);
    let body = Bytes::from(key.repeat(2_000));
    connection.put(&path, body.into()).await.unwrap();
}

/// Reads it through another one.
async fn get(node: &GarageNode, key: &str) {
    let mut connection = through(node);
    let path = connection.target().object_path(key);
    let (none, keep) = (Payload::default(), Keep::Body);
    let read = connection.send(http::Method::GET, &path, "", none, keep);
    let read = read.await.unwrap();
    assert_eq!(read.status, 200, "{key}");
    assert_eq!(read.body, Bytes::from(key.repeat(2_000)), "{key}");
}

fn besides(nodes: &[GarageNode]) -> Vec<String> {
    nodes.iter().map(GarageNode::beside).collect()
}

/// What there is of a cluster, as the first node sees it.
async fn cluster(node: &GarageNode) -> [serde_json::Value; 3] {
    [
        node.said("GetClusterLayout").await,
        node.said("ListKeysInfo").await,
        node.said("ListBucketsInfo").await,
    ]
}

#[test]
fn three_nodes_become_one_cluster_that_lives_on_without_one_of_them() {
    let mut nodes = three();
    let beside = besides(&nodes);
    support::runtime().block_on(async {
        // The first is not there yet, so that nothing is made without it.
        for node in &mut nodes[1..] {
            node.stand_beside(&beside);
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(nodes[1].said("GetClusterLayout").await["version"], 0);
        nodes[0].stand_beside(&beside);
        ready(&[&nodes[0], &nodes[1], &nodes[2]]).await;
        for (at, node) in nodes.iter().enumerate() {
            put(node, &format!("through-{at}")).await;
        }
        for node in &nodes {
            for at in 0..3 {
                get(node, &format!("through-{at}")).await;
            }
        }
        // Each of them once, the first as well.
        for lost in [2, 0] {
            nodes[lost].kill();
            let others = [(lost + 1) % 3, (lost + 2) % 3];
            for (at, other) in others.into_iter().enumerate() {
                let key = format!("without-{lost}-{at}");
                put(&nodes[other], &key).await;
                get(&nodes[others[1 - at]], &key).await;
            }
            nodes[lost].start();
            nodes[lost].stand_beside(&beside);
            ready(&[&nodes[lost]]).await;
            for at in 0..2 {
                get(&nodes[lost], &format!("without-{lost}-{at}")).await;
            }
        }
    });
}

/// Has each node say what the others are to know of it.
async fn all(nodes: &[GarageNode], beside: &[String]) -> Vec<Option<Node>> {
    let mut all = Vec::new();
    for node in nodes {
        all.push(Some(known(&node.joiner(beside)).await));
    }
    all
}

#[test]
fn what_is_interrupted_after_each_step_goes_on_there_and_nothing_is_made_twice() {
    let mut nodes = three();
    let beside = besides(&nodes);
    support::runtime().block_on(async {
        let mut steps = Vec::new();
        let patience = Instant::now() + Duration::from_secs(240);
        loop {
            assert!(Instant::now() < patience, "{steps:?}");
            let told = all(&nodes, &beside).await;
            let first = told[0].clone().unwrap();
            // A node of which nobody knows, and those that are not the first, change nothing.
            let mut without = told.clone();
            without[2] = None;
            let joiner = nodes[1].joiner(&beside);
            let second = told[1].clone().unwrap();
            assert_eq!(joiner.step(&second, without).await.unwrap(), None);
            let joiner = nodes[0].joiner(&beside);
            match joiner.step(&first, told).await {
                Ok(Some(step)) => steps.push(step),
                Ok(None) if joiner.answers().await => break,
                // Those that were started a moment ago find each other.
                Ok(None) | Err(_) => {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    continue;
                }
            }
            // Everything is lost but what is on disk.
            for node in &mut nodes {
                node.kill();
            }
            for node in &mut nodes {
                node.start();
            }
        }
        // A node that is killed while it writes its layout down forgets it, and then it is made again.
        let mut made = Vec::new();
        for step in &steps {
            if !made.contains(&step) {
                made.push(step);
            }
        }
        let [Change::Stage(ids), between @ .., Change::Open(_)] = &made[..] else {
            panic!("{steps:?}")
        };
        assert_eq!(ids.len(), 3, "{steps:?}");
        let expected = [
            &Change::Apply,
            &Change::ImportKey,
            &Change::LetCreate,
            &Change::CreateBucket,
        ];
        assert_eq!(between, expected, "{steps:?}");

        let before = cluster(&nodes[0]).await;
        assert_eq!(before[0]["version"], 1);
        assert_eq!(before[0]["roles"].as_array().unwrap().len(), 3);
        assert_eq!(before[0]["stagedRoleChanges"].as_array().unwrap().len(), 0);
        assert_eq!(before[1].as_array().unwrap().len(), 1);
        assert_eq!(before[2].as_array().unwrap().len(), 1);
        for node in &mut nodes {
            node.stand_beside(&beside);
        }
        ready(&[&nodes[0], &nodes[1], &nodes[2]]).await;
        let told = all(&nodes, &beside).await;
        let first = told[0].clone().unwrap();
        let joiner = nodes[0].joiner(&beside);
        assert_eq!(joiner.step(&first, told).await.unwrap(), None);
        assert_eq!(cluster(&nodes[0]).await, before);

        // All are made anew at other addresses: what they remember of each other is of no use, and they are connected all the same.
        for node in &mut nodes {
            node.kill();
            node.forget_others();
        }
        for node in &mut nodes {
            node.start();
        }
        let told = all(&nodes, &beside).await;
        let first = told[0].clone().unwrap();
        let step = nodes[0].joiner(&beside).step(&first, told).await;
        assert_eq!(step.unwrap(), None);
    });
}
