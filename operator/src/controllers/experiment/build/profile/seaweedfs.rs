//! SeaweedFS: master, volume server, filer and gateway in one process. (Pure.)

use super::{Profile, Ready, Setter, known, s3, words};
use bakeoff_crds::durability::{Durability, DurabilityClass, Part};
use bakeoff_crds::names;
use bakeoff_crds::spec::Release;
use std::collections::BTreeMap;

/// Has the volume server flush what is written to buckets. A release before 4.45 takes no notice of it.
const FSYNC_RULE: &str =
    r#"{"version":1,"locations":[{"locationPrefix":"/buckets/","fsync":true}]}"#;

/// The filer's entries in SQLite, each of them flushed when it is committed; LevelDB has no way to do so. In WAL mode, as the
/// rollback journal's directory is not flushed after the journal is gone, which undoes the last commit.
const FLUSHED_ENTRIES: [(&str, &str); 3] = [
    ("WEED_LEVELDB2_ENABLED", "false"),
    ("WEED_SQLITE_ENABLED", "true"),
    (
        "WEED_SQLITE_DBFILE",
        "file:/data/filer.db?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)",
    ),
];

/// The rule is read again by the filer, which hears of it as of any change of a file: at once, in a quiet one.
const SETTLE_SECONDS: i64 = 3;

pub(super) fn profile(release: &Release) -> Profile {
    if release.durability == Some(DurabilityClass::Flushed) {
        flushed()
    } else {
        page_cache()
    }
}

/// Master, volume server and filer talk over loopback; only the gateway and the metrics are
/// reachable, at the address of the pod, whatever its family. No telemetry, no further gateways, no buckets that appear by
/// themselves.
fn page_cache() -> Profile {
    Profile {
        port: 8_333,
        metrics: Some((9_324, "/metrics".into())),
        command: words(
            "weed server -dir=/data -ip=127.0.0.1 -ip.bind=127.0.0.1 -master.telemetry=false \
             -master.volumeSizeLimitMB=1024 -volume.max=500 -filer -s3 -s3.ip.bind=$(POD_IP) -s3.port=8333 \
             -s3.port.iceberg=0 -s3.port.lance=0 -s3.iam=false -s3.autoCreateBucket=false \
             -metricsIp=$(POD_IP) -metricsPort=9324",
        ),
        env: known([("HOME", "/tmp")]),
        secret_env: vec![
            ("AWS_ACCESS_KEY_ID".into(), names::SECRET_ACCESS_KEY_ID),
            ("AWS_SECRET_ACCESS_KEY".into(), names::SECRET_SECRET_ACCESS_KEY),
        ],
        ready: Ready::Http("/healthz".into()),
        durability: Durability {
            class: Some(DurabilityClass::PageCache),
            flushed: Vec::new(),
            not_flushed: vec![Part::Data, Part::Index, Part::Metadata, Part::DirectoryEntry],
            copies: 1,
            text: "one node, one copy: acknowledged from the page cache; nothing is flushed before the acknowledgement".to_owned(),
            shown_by: "bench/run cut: seaweedfs".to_owned(),
        },
        caveats: vec![
            "SeaweedFS as it comes does not flush before it acknowledges an S3 PUT: a power cut can lose acknowledged objects; durability: Flushed has it do so".into(),
        ],
        ..s3()
    }
}

fn flushed() -> Profile {
    let usual = page_cache();
    Profile {
        // A volume whose data are longer than its index knows comes up without them, and takes no more writes.
        prepare: Some(words("weed fix /data")),
        settings: BTreeMap::from([("filer.conf".to_owned(), FSYNC_RULE.to_owned())]),
        env: usual.env.into_iter().chain(known(FLUSHED_ENTRIES)).collect(),
        setter: Some(Setter {
            url: "http://127.0.0.1:8888/etc/seaweedfs/filer.conf",
            body: FSYNC_RULE,
            settle_seconds: SETTLE_SECONDS,
        }),
        durability: Durability {
            class: Some(DurabilityClass::Flushed),
            flushed: vec![Part::Data, Part::Metadata, Part::DirectoryEntry],
            not_flushed: Vec::new(),
            copies: 1,
            text: "one node, one copy: object data (by a rule of the filer) and entries (SQLite, synchronous=FULL) are flushed before the acknowledgement; the index is not, and is made anew from the data before every start".to_owned(),
            shown_by: "bench/run cut: seaweedfs, fsync rule, SQLite FULL, weed fix".to_owned(),
        },
        caveats: Vec::new(),
        ..usual
    }
}
