//! What a Postgres server that is provisioned has to take. (Pure.)

use super::Refusal;
use bakeoff_crds::spec::{ExperimentSpec, Product, Release, Topology, bytes_of};

/// The setting of a Postgres server that bounds its connections.
const MAX_CONNECTIONS: &str = "max_connections";

/// Checks its settings, and adds what follows from the workloads.
pub(super) fn settled(
    what: &str,
    release: &mut Release,
    spec: &ExperimentSpec,
) -> Result<(), Refusal> {
    if release.product != Product::Postgres {
        return Ok(());
    }
    connections(what, release, spec)?;
    followed(what, release)
}

/// Has a Postgres server take the connections that the workloads need, unless the spec says how many. What would be too few, or more
/// than its memory holds, would end after it was provisioned, and in other words.
fn connections(what: &str, release: &mut Release, spec: &ExperimentSpec) -> Result<(), Refusal> {
    let needed = spec.connections();
    // Clients talk to the primary alone, and each pod gets the same.
    let pods = i64::from(release.topology.pods());
    let memory = spec.equipment.resources.memory.units().unwrap_or(i64::MAX) / pods;
    // A quarter is for the shared buffers.
    if bytes_of(needed) > memory / 4 * 3 {
        return Err(Refusal::Sessions {
            server: what.to_owned(),
            needed,
            memory: ((bytes_of(needed) / 3 * 4 + (1 << 20) - 1) >> 20) * pods,
        });
    }
    let Some(set) = release.settings.get(MAX_CONNECTIONS) else {
        let most = spec.max_connections().to_string();
        release.settings.insert(MAX_CONNECTIONS.to_owned(), most);
        return Ok(());
    };
    // What is no number is the server's to refuse.
    match set.trim().parse::<usize>() {
        Ok(most) if most < needed => Err(Refusal::Connections {
            server: what.to_owned(),
            set: most,
            needed,
        }),
        _ => Ok(()),
    }
}

/// Refuses settings with which no standby could follow: the server would not start, or acknowledge nothing.
fn followed(what: &str, release: &Release) -> Result<(), Refusal> {
    let Topology::Standbys { standbys } = release.topology else {
        return Ok(());
    };
    let refused = |setting: &'static str, set: &str, mend: String| Refusal::Standbys {
        server: what.to_owned(),
        standbys,
        setting,
        set: set.to_owned(),
        mend,
    };
    let set = |name: &str| release.settings.get(name).map(|value| value.trim());
    if let Some(level) = set("wal_level").filter(|level| level.eq_ignore_ascii_case("minimal")) {
        return Err(refused("wal_level", level, "replica".to_owned()));
    }
    for setting in ["max_wal_senders", "max_replication_slots"] {
        let too_few = |set: &&str| set.parse::<i32>().is_ok_and(|number| number < standbys);
        if let Some(few) = set(setting).filter(too_few) {
            return Err(refused(setting, few, format!("{standbys} at least")));
        }
    }
    Ok(())
}
