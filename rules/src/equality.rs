//! Whether the nodes of a pool are equal, and if not, in what. (Pure.)

use bakeoff_crds::run::{NodeCalibration, NodeFacts};
use std::collections::{BTreeMap, BTreeSet};

/// CPU scores that differ by more than this share are called different. Two runs of the same node
/// differ by a few per cent.
const CPU_TOLERANCE: f64 = 0.15;
/// Medians of fsync that differ by more than this factor are called different.
const FSYNC_FACTOR: f64 = 2.0;

/// What differs between the nodes, one sentence each; empty when nothing does.
#[must_use]
pub fn inequalities(nodes: &[NodeFacts]) -> Vec<String> {
    let mut found = Vec::new();
    if nodes.len() < 2 {
        if let Some(node) = nodes.first() {
            found.push(format!(
                "the pool has one node, {}: backends and generators share it",
                node.name
            ));
        }
        return found;
    }
    let mut compare = |what: &str, value: &dyn Fn(&NodeFacts) -> String| {
        let mut by_value: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for node in nodes {
            by_value.entry(value(node)).or_default().push(&node.name);
        }
        if by_value.len() > 1 {
            let parts: Vec<String> = by_value
                .iter()
                .map(|(value, names)| format!("{value} on {}", names.join(", ")))
                .collect();
            found.push(format!("{what} differs: {}", parts.join("; ")));
        }
    };
    compare("allocatable CPU", &|n| {
        format!("{}m", n.allocatable_cpu_millis)
    });
    // Kernels reserve slightly different amounts; only the MiB matter.
    compare("allocatable memory", &|n| {
        format!("{} MiB", n.allocatable_memory_bytes >> 20)
    });
    compare("kernel", &|n| n.kernel_version.clone());
    compare("architecture", &|n| n.architecture.clone());
    compare("container runtime", &|n| n.container_runtime.clone());
    compare("CPU model", &|n| text(n, |c| c.cpu_model.clone()));
    compare("file system of the volumes", &|n| {
        text(n, |c| c.file_system.clone())
    });

    let uncalibrated: Vec<&str> = nodes
        .iter()
        .filter(|n| n.calibration.is_none())
        .map(|n| n.name.as_str())
        .collect();
    if !uncalibrated.is_empty() {
        found.push(format!("not calibrated: {}", uncalibrated.join(", ")));
    }
    if let Some((low, high)) = extremes(nodes, |c| c.sha256_mib_per_second)
        && high.1 > low.1 * (1.0 + CPU_TOLERANCE)
    {
        found.push(format!(
            "CPU speed differs: SHA-256 {:.0} MiB/s on {} and {:.0} MiB/s on {}",
            low.1, low.0, high.1, high.0
        ));
    }
    if let Some((low, high)) = extremes(nodes, |c| c.fsync_p50_micros as f64)
        && high.1 > low.1 * FSYNC_FACTOR
    {
        found.push(format!(
            "fsync differs: median {:.0} µs on {} and {:.0} µs on {}",
            low.1, low.0, high.1, high.0
        ));
    }
    let mut machines: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for node in nodes.iter().filter(|node| !node.boot_id.is_empty()) {
        machines.entry(&node.boot_id).or_default().push(&node.name);
    }
    for names in machines.values().filter(|names| names.len() > 1) {
        found.push(format!(
            "nodes {} share one machine (same boot id): they compete for its CPU, memory and disks",
            names.join(", ")
        ));
    }
    found
}

/// The nodes' names, for messages.
#[must_use]
pub fn names(nodes: &[NodeFacts]) -> String {
    nodes
        .iter()
        .map(|node| node.name.as_str())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect::<Vec<_>>()
        .join(", ")
}

fn text(node: &NodeFacts, value: impl Fn(&NodeCalibration) -> String) -> String {
    node.calibration
        .as_ref()
        .map_or_else(|| "unknown".to_owned(), value)
}

type Extreme<'a> = (&'a str, f64);

fn extremes<'a>(
    nodes: &'a [NodeFacts],
    value: impl Fn(&NodeCalibration) -> f64,
) -> Option<(Extreme<'a>, Extreme<'a>)> {
    let mut values: Vec<Extreme<'a>> = nodes
        .iter()
        .filter_map(|node| Some((node.name.as_str(), value(node.calibration.as_ref()?))))
        .collect();
    values.sort_by(|a, b| a.1.total_cmp(&b.1));
    Some((*values.first()?, *values.last()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, boot: &str, score: f64, fsync: i64) -> NodeFacts {
        NodeFacts {
            name: name.into(),
            boot_id: boot.into(),
            allocatable_cpu_millis: 2_000,
            calibration: Some(NodeCalibration {
                cpu_model: "EPYC".into(),
                sha256_mib_per_second: score,
                fsync_p50_micros: fsync,
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    #[test]
    fn equal_nodes_differ_in_nothing() {
        assert!(
            inequalities(&[node("a", "1", 1000.0, 100), node("b", "2", 1050.0, 120)]).is_empty()
        );
    }

    #[test]
    fn each_difference_is_named_with_its_nodes() {
        let mut slow = node("b", "1", 500.0, 900);
        slow.allocatable_cpu_millis = 1_000;
        let found = inequalities(&[node("a", "1", 1000.0, 100), slow]);
        let text = found.join("\n");
        for part in [
            "allocatable CPU differs: 1000m on b; 2000m on a",
            "CPU speed",
            "fsync differs",
            "share one machine",
        ] {
            assert!(text.contains(part), "{part} not in {text}");
        }
    }

    #[test]
    fn an_uncalibrated_node_is_named() {
        let mut bare = node("b", "2", 1.0, 1);
        bare.calibration = None;
        let found = inequalities(&[node("a", "1", 1000.0, 100), bare]);
        assert!(
            found.iter().any(|line| line == "not calibrated: b"),
            "{found:?}"
        );
    }
}
