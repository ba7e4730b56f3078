//! Garage: one node, one copy. (Pure.)

use super::{File, Pods, Profile, Ready, known, s3, s3_pods, upkeep, words};
use bakeoff_crds::durability::{Durability, DurabilityClass, Part};
use bakeoff_crds::names;
use bakeoff_crds::spec::Release;
use std::collections::BTreeMap;

const FOLDER: &str = "/etc/garage";
const NAME: &str = "garage.toml";

/// Blocks are not compressed, as those of the other stores are not; no scrub begins in the middle of a run. What nodes say to each
/// other stays on loopback: there is one.
fn settings(flushed: bool) -> String {
    format!(
        r#"metadata_dir = "/data/meta"
data_dir = "/data/blocks"
db_engine = "lmdb"
lmdb_map_size = "8G"
metadata_fsync = {flushed}
data_fsync = {flushed}
disable_scrub = true
replication_factor = 1
compression_level = "none"
rpc_bind_addr = "127.0.0.1:3901"

[s3_api]
api_bind_addr = "[::]:3900"
s3_region = "us-east-1"
"#
    )
}

pub(super) fn profile(release: &Release) -> Profile {
    let flushed = release.durability == Some(DurabilityClass::FlushedButLastOperation);
    let durability = if flushed {
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
    let pods = Pods {
        port: 3_900,
        command: words("garage -c /etc/garage/garage.toml server --single-node --default-bucket"),
        env: known([
            ("HOME", "/tmp"),
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
        ready: Ready::Open,
        file: Some(File {
            folder: FOLDER,
            name: NAME,
            text: settings(flushed),
        }),
        ..s3_pods()
    };
    Profile {
        settings: BTreeMap::from([
            ("data_fsync".to_owned(), flushed.to_string()),
            ("metadata_fsync".to_owned(), flushed.to_string()),
        ]),
        durability,
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
