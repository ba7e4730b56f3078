//! SeaweedFS: master, volume server, filer and gateway in one process. (Pure.)

use super::{Profile, Ready, words};
use crate::controllers::experiment::build::frame::USER;
use bakeoff_crds::names;
use std::collections::BTreeMap;

/// Master, volume server and filer talk over loopback; only the gateway and the metrics are
/// reachable, at the address of the pod, whatever its family. No telemetry, no further gateways, no buckets that appear by
/// themselves.
pub(super) fn profile() -> Profile {
    Profile {
        port_name: "s3",
        port: 8_333,
        scheme: "http",
        bucket: "bakeoff",
        metrics: Some((9_324, "/metrics")),
        prepare: None,
        command: words(
            "weed server -dir=/data -ip=127.0.0.1 -ip.bind=127.0.0.1 -master.telemetry=false \
             -master.volumeSizeLimitMB=1024 -volume.max=500 -filer -s3 -s3.ip.bind=$(POD_IP) -s3.port=8333 \
             -s3.port.iceberg=0 -s3.port.lance=0 -s3.iam=false -s3.autoCreateBucket=false \
             -metricsIp=$(POD_IP) -metricsPort=9324",
        ),
        starter: None,
        settings: BTreeMap::new(),
        env: vec![("HOME", "/tmp")],
        secret_env: vec![
            ("AWS_ACCESS_KEY_ID", names::SECRET_ACCESS_KEY_ID),
            ("AWS_SECRET_ACCESS_KEY", names::SECRET_SECRET_ACCESS_KEY),
        ],
        ready: Ready::Http("/healthz"),
        user: USER,
        keeps_data: true,
        resources: None,
        durability: "one node, one copy: acknowledged from the page cache; nothing is flushed before the acknowledgement".to_owned(),
        caveats: vec![
            "SeaweedFS does not flush before it acknowledges an S3 PUT: a power cut can lose acknowledged objects, so its write latencies are of a weaker durability class",
        ],
    }
}
