//! Garage: one node with one copy, or three with a copy each. (Pure.)

use super::{File, Pods, Profile, Ready, Setter, known, s3, s3_pods, upkeep, words};
use bakeoff_crds::durability::{Durability, DurabilityClass, Part};
use bakeoff_crds::names;
use bakeoff_crds::spec::{Release, Topology};
use std::collections::BTreeMap;

const FOLDER: &str = "/etc/garage";
const NAME: &str = "garage.toml";

/// The public image has the program, and nothing else, in its root.
const PATH: (&str, &str) = ("PATH", "/usr/local/bin:/usr/bin:/bin:/");

/// Blocks are not compressed, as those of the other stores are not; no scrub begins in the middle of a run. What nodes say to each
/// other stays on loopback where there is one.
///
/// Of three, each tells the others the address of its pod, which it finds itself: Garage looks a name up once, at its start, and hands
/// the address on, so that a name in this file would say no more. What stands beside them connects them by names. Their admin API, which
/// may do anything, is for that alone.
fn settings(flushed: bool, nodes: i32) -> String {
    let (mode, rpc, admin) = if nodes > 1 {
        (
            "consistency_mode = \"consistent\"\n",
            "[::]:3901",
            "\n[admin]\napi_bind_addr = \"127.0.0.1:3903\"\n",
        )
    } else {
        ("", "127.0.0.1:3901", "")
    };
    format!(
        r#"metadata_dir = "/data/meta"
data_dir = "/data/blocks"
db_engine = "lmdb"
lmdb_map_size = "8G"
metadata_fsync = {flushed}
data_fsync = {flushed}
disable_scrub = true
replication_factor = {nodes}
{mode}compression_level = "none"
rpc_bind_addr = "{rpc}"

[s3_api]
api_bind_addr = "[::]:3900"
s3_region = "us-east-1"
{admin}"#
    )
}

pub(super) fn profile(release: &Release) -> Profile {
    let flushed = release.durability == Some(DurabilityClass::FlushedButLastOperation);
    let nodes = release.topology.pods();
    let usual = Pods {
        port: 3_900,
        ready: Ready::Open,
        file: Some(File {
            folder: FOLDER,
            name: NAME,
            text: settings(flushed, nodes),
        }),
        ..s3_pods()
    };
    let pods = match release.topology {
        Topology::Replicated { nodes } => one_of(nodes, usual),
        _ => alone(usual),
    };
    let mut settings = BTreeMap::from([
        ("data_fsync".to_owned(), flushed.to_string()),
        ("metadata_fsync".to_owned(), flushed.to_string()),
    ]);
    if nodes > 1 {
        settings.insert("replication_factor".to_owned(), nodes.to_string());
        settings.insert("consistency_mode".to_owned(), "consistent".to_owned());
    }
    Profile {
        settings,
        durability: durability(flushed, &release.topology),
        upkeep: upkeep(
            "AGPL-3.0",
            "Deuxfleurs, an association; newest release 2.5.0",
            "crates.io, garage",
        ),
        caveats: vec![
            "Garage has no figures of its process among its metrics: its memory and CPU time are not known".into(),
        ],
        ..s3(pods)
    }
}

/// A node that makes its bucket and key itself.
fn alone(usual: Pods) -> Pods {
    Pods {
        command: words("garage -c /etc/garage/garage.toml server --single-node --default-bucket"),
        env: known([
            ("HOME", "/tmp"),
            PATH,
            // Nodes know each other by it, and there is one, which listens on loopback.
            (
                "GARAGE_RPC_SECRET",
                "0000000000000000000000000000000000000000000000000000000000000000",
            ),
            ("GARAGE_DEFAULT_BUCKET", "bakeoff"),
        ]),
        secret_env: vec![
            (
                "GARAGE_DEFAULT_ACCESS_KEY".into(),
                names::SECRET_ACCESS_KEY_ID,
            ),
            (
                "GARAGE_DEFAULT_SECRET_KEY".into(),
                names::SECRET_SECRET_ACCESS_KEY,
            ),
        ],
        ..usual
    }
}

/// A node of several, which what stands beside it has join the others.
fn one_of(nodes: i32, usual: Pods) -> Pods {
    let mut arguments = words(
        "join-garage --admin http://127.0.0.1:3903 --s3 http://127.0.0.1:3900 --bucket bakeoff --region us-east-1 \
         --address $(POD_NAME).$(DOMAIN):3901",
    );
    let port = names::SETTER_PORT;
    for index in 0..nodes {
        arguments.push("--beside".to_owned());
        arguments.push(format!("http://$(SERVERS)-{index}.$(DOMAIN):{port}"));
    }
    Pods {
        command: words("garage -c /etc/garage/garage.toml server"),
        env: known([("HOME", "/tmp"), PATH]),
        secret_env: vec![
            ("GARAGE_RPC_SECRET".into(), names::SECRET_OF_NODES),
            ("GARAGE_ADMIN_TOKEN".into(), names::SECRET_OF_NODES),
        ],
        setter: Some(Setter {
            arguments,
            secret_env: vec![
                ("GARAGE_ADMIN_TOKEN".into(), names::SECRET_OF_NODES),
                ("AWS_ACCESS_KEY_ID".into(), names::SECRET_ACCESS_KEY_ID),
                (
                    "AWS_SECRET_ACCESS_KEY".into(),
                    names::SECRET_SECRET_ACCESS_KEY,
                ),
            ],
        }),
        ..usual
    }
}

fn durability(flushed: bool, topology: &Topology) -> Durability {
    let one = if flushed {
        Durability {
            class: Some(DurabilityClass::FlushedButLastOperation),
            flushed: vec![Part::Data, Part::Metadata],
            not_flushed: vec![Part::DirectoryEntry],
            copies: 1,
            text: "one node, one copy: blocks and metadata are flushed before the acknowledgement (data_fsync, metadata_fsync); a power cut can undo the last transaction of LMDB".to_owned(),
            shown_by: "bench/run cut: garage, data_fsync and metadata_fsync".to_owned(),
        }
    } else {
        Durability {
            class: Some(DurabilityClass::PageCache),
            flushed: Vec::new(),
            not_flushed: vec![Part::Data, Part::Metadata, Part::DirectoryEntry],
            copies: 1,
            text: "one node, one copy: acknowledged from the page cache; nothing is flushed before the acknowledgement".to_owned(),
            shown_by: "bench/run cut: garage".to_owned(),
        }
    };
    let Topology::Replicated { nodes } = *topology else {
        return one;
    };
    // Garage's write quorum: a majority.
    let quorum = nodes / 2 + 1;
    let how = if flushed {
        "have flushed its blocks and metadata (data_fsync, metadata_fsync); a power cut of all can undo the last transaction of LMDB"
    } else {
        "have it in their page cache; nothing is flushed before the acknowledgement, and a power cut of all can lose the last seconds"
    };
    Durability {
        copies: quorum,
        text: format!("{nodes} nodes, a copy on each: acknowledged when {quorum} of them {how}"),
        shown_by: format!("{}, of one node", one.shown_by),
        ..one
    }
}
