//! MinIO: one node, one drive. (Pure.)

use super::{Profile, Ready, words};
use crate::controllers::experiment::build::frame::USER;
use bakeoff_crds::names;
use std::collections::BTreeMap;

pub(super) fn profile() -> Profile {
    Profile {
        port_name: "s3",
        port: 9_000,
        scheme: "http",
        bucket: "bakeoff",
        metrics: Some((9_000, "/minio/v2/metrics/node")),
        prepare: None,
        command: words("minio server /data --address :9000 --config-dir /tmp/minio"),
        starter: None,
        settings: BTreeMap::new(),
        env: vec![
            ("MINIO_PROMETHEUS_AUTH_TYPE", "public"),
            ("MINIO_BROWSER", "off"),
            ("MINIO_UPDATE", "off"),
            ("HOME", "/tmp"),
        ],
        secret_env: vec![
            ("MINIO_ROOT_USER", names::SECRET_ACCESS_KEY_ID),
            ("MINIO_ROOT_PASSWORD", names::SECRET_SECRET_ACCESS_KEY),
        ],
        ready: Ready::Http("/minio/health/ready"),
        user: USER,
        keeps_data: true,
        resources: None,
        durability: "one node, one drive: object data and metadata are flushed (O_DSYNC or fdatasync) before the acknowledgement, the entry in their directory is not: a power cut can lose what was acknowledged last".to_owned(),
        caveats: vec![
            "MinIO's community edition is no longer maintained (README of February 2026) and has no image after RELEASE.2025-09-07",
        ],
    }
}
