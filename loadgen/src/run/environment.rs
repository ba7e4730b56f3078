//! What a reviewer would ask of the generators' side: machine, limits, distance to the backends.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use bakeoff_crds::run::{GeneratorFacts, NetworkFacts};

use super::Backend;
use crate::drivers::access::Access;
use crate::instrument::calibrate;
use crate::instrument::cgroup;
use crate::instrument::clock;
use crate::store::Store;

/// Connections opened to each backend, one after the other.
const CONNECTS: usize = 30;
const PATIENCE: Duration = Duration::from_secs(2);

/// Looks at this machine and at the way to each backend.
pub(super) async fn facts(backends: &[Backend], store: &Store) -> GeneratorFacts {
    let (cpu_limit_millis, memory_limit_bytes) = cgroup::limits();
    let mut network = BTreeMap::new();
    for backend in backends {
        if let Some(facts) = distance(backend).await {
            network.insert(backend.resolved.name.clone(), facts);
        }
    }
    let said = |path| {
        fs::read_to_string(path)
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    let disk = match store {
        Store::Folder(folder) => calibrate::disk(folder).ok(),
        Store::Bucket { .. } => None,
    };
    let mut client = BTreeMap::new();
    for backend in backends {
        client.extend(habits(&backend.access));
    }
    GeneratorFacts {
        kernel_version: said("/proc/sys/kernel/osrelease"),
        cpu_model: calibrate::cpu_model(),
        cpu_governor: calibrate::cpu_governor(),
        cores: calibrate::online_cores(),
        cpu_limit_millis,
        memory_limit_bytes,
        real_time_pacer: may_be_real_time(),
        tcp_congestion_control: said("/proc/sys/net/ipv4/tcp_congestion_control"),
        client,
        disk,
        network,
    }
}

/// What of the measured path is a factor of its figures and no setting.
fn habits(access: &Access) -> BTreeMap<String, String> {
    let (name, habits) = access.driver().habits();
    BTreeMap::from([(name.to_owned(), habits.to_owned())])
}

/// Tried on a thread that ends at once.
fn may_be_real_time() -> bool {
    let tried = std::thread::spawn(|| crate::instrument::pacer::real_time().is_ok());
    tried.join().unwrap_or(false)
}

/// How long a TCP connection to the backend takes to open: one round trip of the network and of
/// both kernels, without the server's own work.
async fn distance(backend: &Backend) -> Option<NetworkFacts> {
    let (host, port) = backend.access.driver().place();
    // The name is looked up once, so that no name server is measured.
    let mut addresses: Vec<_> = tokio::net::lookup_host((host, port)).await.ok()?.collect();
    let address = *addresses.first()?;
    addresses.sort_unstable();
    addresses.dedup();
    let mut taken = Vec::with_capacity(CONNECTS);
    for _ in 0..CONNECTS {
        let start = clock::now();
        let opened = tokio::time::timeout(PATIENCE, tokio::net::TcpStream::connect(address)).await;
        if matches!(opened, Ok(Ok(_))) {
            taken.push(clock::now() - start);
        }
    }
    taken.sort_unstable();
    let micros = |position: usize| i64::try_from(taken.get(position)? / 1_000).ok();
    Some(NetworkFacts {
        connects: i32::try_from(taken.len()).unwrap_or(i32::MAX),
        connect_p50_micros: micros(taken.len().checked_sub(1)? / 2)?,
        connect_max_micros: micros(taken.len() - 1)?,
        addresses: addresses.iter().map(ToString::to_string).collect(),
    })
}
