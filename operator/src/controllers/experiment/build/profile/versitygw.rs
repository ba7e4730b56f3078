//! versitygw: a gateway before a folder. (Pure.)

use super::{Pods, Profile, Ready, known, s3, s3_pods, upkeep, words};
use bakeoff_crds::durability::{Durability, DurabilityClass, Part};
use bakeoff_crds::names;

/// Metadata are extended attributes, so the file system of the volume has to have them.
pub(super) fn profile() -> Profile {
    let pods = Pods {
        port: 7_070,
        command: words("versitygw --port :7070 --health /healthz posix /data"),
        env: known([("HOME", "/tmp")]),
        secret_env: vec![
            ("ROOT_ACCESS_KEY_ID".into(), names::SECRET_ACCESS_KEY_ID),
            (
                "ROOT_SECRET_ACCESS_KEY".into(),
                names::SECRET_SECRET_ACCESS_KEY,
            ),
        ],
        ready: Ready::Http("/healthz".into()),
        ..s3_pods()
    };
    Profile {
        durability: Durability {
            class: Some(DurabilityClass::PageCache),
            flushed: Vec::new(),
            not_flushed: vec![Part::Data, Part::Metadata, Part::DirectoryEntry],
            copies: 1,
            text: "one node, one copy: acknowledged from the page cache; it never flushes, and has no setting for it".to_owned(),
            shown_by: "bench/run cut: versitygw".to_owned(),
        },
        upkeep: upkeep(
            "Apache-2.0",
            "Versity Software; newest release 1.8.0 of 2026-09-04",
            "Go module github.com/versity/versitygw",
        ),
        caveats: vec![
            "versitygw has no metrics of its own that can be read: its memory and CPU time are not known".into(),
        ],
        ..s3(pods)
    }
}
