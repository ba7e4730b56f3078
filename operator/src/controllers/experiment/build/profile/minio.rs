//! MinIO: one node with one drive, or several nodes or drives over which each object is erasure coded. (Pure.)

use super::{Pods, Profile, Ready, Words, known, s3, s3_pods, upkeep, words};
use bakeoff_crds::durability::{Durability, DurabilityClass, Part};
use bakeoff_crds::names;
use bakeoff_crds::spec::{Release, Topology};

/// The environment of every server of it.
const ENV: [(&str, &str); 4] = [
    ("MINIO_PROMETHEUS_AUTH_TYPE", "public"),
    ("MINIO_BROWSER", "off"),
    ("MINIO_UPDATE", "off"),
    ("HOME", "/tmp"),
];

const UNMAINTAINED: &str = "MinIO's community edition is no longer maintained (README of February 2026) and has no image after RELEASE.2025-09-07";

/// Reached by names that do not change; one server may share its disk with the system, as it may where it is alone.
const TOGETHER: &str = "--address :9000 --config-dir /tmp/minio";

pub(super) fn profile(release: &Release) -> Profile {
    let flushed = release.durability == Some(DurabilityClass::Flushed);
    let mut env = known(ENV);
    let mut caveats: Vec<Words> = vec![UNMAINTAINED.into()];
    if flushed {
        env.push(("MINIO_FS_OSYNC".into(), "on".into()));
        caveats.push("MINIO_FS_OSYNC flushes every file system of the node with each write: on a node that is shared, its neighbours pay for it, and it for theirs".into());
    }
    let (command, ready) = match release.topology {
        Topology::Erasure {
            servers,
            drives,
            parity,
            ..
        } => {
            env.push((
                "MINIO_STORAGE_CLASS_STANDARD".into(),
                format!("EC:{parity}").into(),
            ));
            // A folder of the disk that its node boots from is as good as its own here, as it is for the others.
            env.push(("MINIO_CI_CD".into(), "1".into()));
            let places = match (servers, drives) {
                (1, _) => folders(drives),
                _ => format!(
                    "http://$(SERVERS)-{{0...{}}}.$(DOMAIN):9000{}",
                    servers - 1,
                    folders(drives)
                ),
            };
            let command = words(&format!("minio server {places} {TOGETHER}"));
            // The path for readiness answers 200 as soon as the process runs; this one, when there are enough of them to write.
            (command, "/minio/health/cluster")
        }
        _ => (
            words("minio server /data --address :9000 --config-dir /tmp/minio"),
            "/minio/health/ready",
        ),
    };
    let pods = Pods {
        port: 9_000,
        metrics: Some((9_000, "/minio/v2/metrics/node".into())),
        command,
        env,
        secret_env: vec![
            ("MINIO_ROOT_USER".into(), names::SECRET_ACCESS_KEY_ID),
            (
                "MINIO_ROOT_PASSWORD".into(),
                names::SECRET_SECRET_ACCESS_KEY,
            ),
        ],
        ready: Ready::Http(ready.into()),
        ..s3_pods()
    };
    Profile {
        durability: durability(flushed, &release.topology),
        upkeep: upkeep(
            "AGPL-3.0",
            "nobody, says its README since February 2026; newest commit of 2026-02-12, newest image RELEASE.2025-09-07",
            "README of github.com/minio/minio",
        ),
        caveats,
        ..s3(pods)
    }
}

/// Where the drives of a server are: one, or all of them.
fn folders(drives: i32) -> String {
    match drives {
        1 => "/data".to_owned(),
        _ => format!("/data{{1...{drives}}}"),
    }
}

/// `one server`, `4 servers`.
fn counted(number: i32, what: &str) -> String {
    match number {
        1 => format!("one {what}"),
        _ => format!("{number} {what}s"),
    }
}

fn durability(flushed: bool, topology: &Topology) -> Durability {
    let one = if flushed {
        Durability {
            class: Some(DurabilityClass::Flushed),
            flushed: vec![Part::Data, Part::Metadata, Part::DirectoryEntry],
            not_flushed: Vec::new(),
            copies: 1,
            text: "one node, one drive: object data and metadata are flushed before the acknowledgement, and their directory with every file system of the node (MINIO_FS_OSYNC)".to_owned(),
            shown_by: "bench/run cut: minio, MINIO_FS_OSYNC=on".to_owned(),
        }
    } else {
        Durability {
            class: Some(DurabilityClass::FlushedButLastOperation),
            flushed: vec![Part::Data, Part::Metadata],
            not_flushed: vec![Part::DirectoryEntry],
            copies: 1,
            text: "one node, one drive: object data and metadata are flushed (O_DSYNC or fdatasync) before the acknowledgement, the entry in their directory is not: a power cut can lose what was acknowledged last".to_owned(),
            shown_by: "bench/run cut: minio".to_owned(),
        }
    };
    let Topology::Erasure {
        servers,
        drives,
        set,
        parity,
    } = *topology
    else {
        return one;
    };
    let each = if servers > 1 { " each" } else { "" };
    let place = format!(
        "{} with {}{each}",
        counted(servers, "server"),
        counted(drives, "drive")
    );
    let sets = if set < servers * drives {
        format!(", {} sets of {set} drives", servers * drives / set)
    } else {
        String::new()
    };
    // MinIO's write quorum: the data shards, and one more where they are but half.
    let data = set - parity;
    let quorum = data + i32::from(data == parity);
    let directory = if flushed {
        "and their directory with every file system of the node (MINIO_FS_OSYNC)"
    } else {
        "but not the entry in their directory: a power cut of all can lose what was acknowledged last"
    };
    Durability {
        copies: quorum,
        text: format!(
            "{place}{sets}, {data} data and {parity} parity shards: acknowledged when {quorum} drives have flushed their shard and its metadata, {directory}"
        ),
        shown_by: format!("{}, of one drive", one.shown_by),
        ..one
    }
}
