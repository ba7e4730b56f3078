//! MinIO: one node, one drive. (Pure.)

use super::{Profile, Ready, Words, known, s3, words};
use bakeoff_crds::durability::{Durability, DurabilityClass, Part};
use bakeoff_crds::names;
use bakeoff_crds::spec::Release;

/// The environment of every server of it.
const ENV: [(&str, &str); 4] = [
    ("MINIO_PROMETHEUS_AUTH_TYPE", "public"),
    ("MINIO_BROWSER", "off"),
    ("MINIO_UPDATE", "off"),
    ("HOME", "/tmp"),
];

const UNMAINTAINED: &str = "MinIO's community edition is no longer maintained (README of February 2026) and has no image after RELEASE.2025-09-07";

pub(super) fn profile(release: &Release) -> Profile {
    let mut env = known(ENV);
    let mut caveats: Vec<Words> = vec![UNMAINTAINED.into()];
    let durability = if release.durability == Some(DurabilityClass::Flushed) {
        env.push(("MINIO_FS_OSYNC".into(), "on".into()));
        caveats.push("MINIO_FS_OSYNC flushes every file system of the node with each write: on a node that is shared, its neighbours pay for it, and it for theirs".into());
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
    Profile {
        port: 9_000,
        metrics: Some((9_000, "/minio/v2/metrics/node".into())),
        command: words("minio server /data --address :9000 --config-dir /tmp/minio"),
        env,
        secret_env: vec![
            ("MINIO_ROOT_USER".into(), names::SECRET_ACCESS_KEY_ID),
            (
                "MINIO_ROOT_PASSWORD".into(),
                names::SECRET_SECRET_ACCESS_KEY,
            ),
        ],
        ready: Ready::Http("/minio/health/ready".into()),
        durability,
        caveats,
        ..s3()
    }
}
