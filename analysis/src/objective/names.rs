//! The names that objectives may use: those that a spec will measure, and their figures in a summary.

use std::collections::{BTreeMap, BTreeSet};

use bakeoff_crds::figure::Better;
use bakeoff_crds::schedule;
use bakeoff_crds::spec::{ExperimentSpec, WorkloadKind};

use crate::kinds;
use crate::measured::Measured;
use crate::measured::{CellBackend, CheckSummary, Percentiles};
use crate::stats::tail;
use crate::vocabulary::OperationFigure;

/// Figures under names; the shape that expressions see.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Group(BTreeMap<String, Node>),
    Count(i64),
    Rate(f64),
    /// A figure that exists by its name but may not be relied on; why.
    Unknown(String),
}

/// The ways to write a name of the spec in CEL: as it is, `cold_read` and `coldRead`.
fn spellings(name: &str) -> BTreeSet<String> {
    let mut camel = String::new();
    let mut upper = false;
    for character in name.chars() {
        if character == '-' {
            upper = true;
        } else if upper {
            camel.extend(character.to_uppercase());
            upper = false;
        } else {
            camel.push(character);
        }
    }
    BTreeSet::from([name.replace('-', "_"), camel])
}

fn insert(members: &mut BTreeMap<String, Node>, name: &str, node: &Node) {
    for spelling in spellings(name) {
        members.insert(spelling, node.clone());
    }
}

/// The names that a spec will measure, with placeholders for figures.
pub(super) fn vocabulary_tree(spec: &ExperimentSpec) -> Node {
    let mut roots = BTreeMap::new();
    for workload in &spec.workloads {
        let Some(kind) = workload.kind() else {
            continue;
        };
        let mut group = vocabulary_group(kind, Of::Workload);
        let cells = schedule::cells(workload)
            .iter()
            .map(|cell| {
                (
                    schedule::label(cell),
                    Node::Group(vocabulary_group(kind, Of::Cell)),
                )
            })
            .collect();
        group.insert("cells".to_owned(), Node::Group(cells));
        insert(&mut roots, &workload.name, &Node::Group(group));
    }
    let mut backends = BTreeMap::new();
    for backend in &spec.backends {
        insert(&mut backends, &backend.name, &Node::Group(roots.clone()));
    }
    roots.insert("backends".to_owned(), Node::Group(backends));
    Node::Group(roots)
}

/// Whose figures a group holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Workload,
    Cell,
}

fn vocabulary_group(kind: WorkloadKind, of: Of) -> BTreeMap<String, Node> {
    let words = kinds::of(kind);
    let metrics: BTreeMap<String, Node> = OperationFigure::ALL
        .into_iter()
        .map(|figure| (figure.as_str().to_owned(), placeholder(figure)))
        .collect();
    let mut group = metrics.clone();
    // What is summed over the cells alone is no figure of one of them, and an objective on it could never be met.
    let checks: &[&str] = match of {
        Of::Cell if !words.checks_by_cell => &[],
        Of::Cell | Of::Workload => words.checks,
    };
    let counters = words.counters.iter().map(|counter| counter.as_str());
    for name in checks.iter().copied().chain(counters) {
        group.insert(name.to_owned(), Node::Count(1));
    }
    for figure in words.figures {
        group.insert(figure.to_string(), Node::Rate(1.0));
    }
    for operation in words.operations {
        group.insert((*operation).to_owned(), Node::Group(metrics.clone()));
    }
    group
}

/// 1 and not 0, so that the trial evaluation of a quotient does not divide by zero.
fn placeholder(figure: OperationFigure) -> Node {
    match figure {
        OperationFigure::PerSecond => Node::Rate(1.0),
        _ => Node::Count(1),
    }
}

/// The figures of a summary under the same names.
pub(super) fn figures_tree(measured: &Measured) -> Node {
    let everywhere: Vec<&str> = measured
        .backends
        .iter()
        .map(|backend| backend.name.as_str())
        .collect();
    let mut roots = workloads_group(measured, &everywhere);
    let mut backends = BTreeMap::new();
    for name in &everywhere {
        insert(
            &mut backends,
            name,
            &Node::Group(workloads_group(measured, &[name])),
        );
    }
    roots.insert("backends".to_owned(), Node::Group(backends));
    Node::Group(roots)
}

fn workloads_group(measured: &Measured, backends: &[&str]) -> BTreeMap<String, Node> {
    let mut roots = BTreeMap::new();
    for workload in &measured.workloads {
        let parts = |cells: &mut dyn Iterator<Item = &crate::measured::CellSummary>| -> Option<Vec<CellBackend>> {
            let mut list = Vec::new();
            for cell in cells {
                for backend in backends {
                    list.push(cell.on(backend)?.clone());
                }
            }
            Some(list)
        };
        let mut group = parts(&mut workload.cells.iter())
            .map(|all| worst(workload.kind, &all))
            .unwrap_or_default();
        let mut cells = BTreeMap::new();
        for cell in &workload.cells {
            let mut one = parts(&mut std::iter::once(cell))
                .map(|one| worst(workload.kind, &one))
                .unwrap_or_default();
            let checks: Vec<&CheckSummary> =
                cell.backends.iter().flat_map(|on| &on.checks).collect();
            add_checks(&checks, backends, &mut one);
            cells.insert(cell.label.clone(), Node::Group(one));
        }
        group.insert("cells".to_owned(), Node::Group(cells));
        let checks: Vec<&CheckSummary> = workload.checks.iter().collect();
        add_checks(&checks, backends, &mut group);
        insert(&mut roots, &workload.name, &Node::Group(group));
    }
    roots
}

/// Whether a check found out anything: no violation among facts of which none was settled is none that was looked for.
fn says(check: &CheckSummary) -> bool {
    check.decided() > 0 || check.violations > 0 || check.violations_unsettled > 0
}

/// A check is a figure only where every backend asked about performed it and it settled something. Violations count wherever
/// they were seen; those that the loss of a backend may explain leave the figure unknown.
fn add_checks(checks: &[&CheckSummary], backends: &[&str], group: &mut BTreeMap<String, Node>) {
    let names: BTreeSet<&str> = checks.iter().map(|check| check.name.as_str()).collect();
    for name in names {
        let (found, silent): (Vec<&CheckSummary>, Vec<&CheckSummary>) = checks
            .iter()
            .copied()
            .filter(|check| check.name == name && backends.contains(&check.backend.as_str()))
            .partition(|check| says(check));
        let unsettled: i64 = found.iter().map(|check| check.violations_unsettled).sum();
        let open: i64 = silent.iter().map(|check| check.uncertain).sum();
        let node = if unsettled > 0 {
            Node::Unknown(format!(
                "{unsettled} violations in attempts in which a backend restarted or went away"
            ))
        } else if found.len() == backends.len() {
            Node::Count(found.iter().map(|check| check.violations).sum())
        } else if open > 0 {
            Node::Unknown(format!(
                "operations of unknown outcome left all {open} facts open"
            ))
        } else {
            continue;
        };
        group.insert(name.to_owned(), node);
    }
}

/// The worst figure of each operation over cells and backends; absent when one of them lacks it.
fn worst(kind: WorkloadKind, parts: &[CellBackend]) -> BTreeMap<String, Node> {
    let words = kinds::of(kind);
    let mut group = BTreeMap::new();
    if parts.iter().any(|part| part.blocks == 0) {
        return group;
    }
    for counter in words.counters {
        let values: Option<Vec<i64>> = parts
            .iter()
            .map(|part| part.counters.get(counter).copied())
            .collect();
        if let Some(values) = values {
            let total = values
                .into_iter()
                .fold(0, |sum, part| counter.fold().fold(sum, part));
            group.insert(counter.to_string(), Node::Count(total));
        }
    }
    for figure in words.figures {
        let values: Option<Vec<f64>> = parts
            .iter()
            .map(|part| part.figures.get(figure).map(|found| found.value))
            .collect();
        let worse = match figure.better() {
            Better::More => f64::min,
            Better::Less => f64::max,
        };
        let node = match values.and_then(|values| values.into_iter().reduce(worse)) {
            Some(value) => Node::Rate(value),
            None => Node::Unknown(
                "it was not seen everywhere; where a right or a view of the server is missing, the backend's caveats say so"
                    .to_owned(),
            ),
        };
        group.insert(figure.to_string(), node);
    }
    for name in words.operations {
        let all: Option<Vec<_>> = parts
            .iter()
            .map(|part| part.operations.get(*name))
            .collect();
        let Some(all) = all.filter(|all| !all.is_empty()) else {
            continue;
        };
        let failures = all
            .iter()
            .flat_map(|operation| operation.failures.values())
            .sum();
        let count = all.iter().map(|operation| operation.count).sum();
        let named = |figure: OperationFigure| figure.as_str().to_owned();
        let mut metrics = BTreeMap::from([
            (named(OperationFigure::Count), Node::Count(count)),
            (named(OperationFigure::Failures), Node::Count(failures)),
        ]);
        // Without a completed operation there is no latency and no rate to compare with a bound.
        if all.iter().all(|operation| operation.count > 0) {
            let slowest = all
                .iter()
                .map(|operation| operation.per_second)
                .fold(f64::INFINITY, f64::min);
            metrics.insert(named(OperationFigure::PerSecond), Node::Rate(slowest));
            let shares: Vec<f64> = all.iter().map(|o| o.response.missing).collect();
            // Without an answer an operation is slower than all others: the percentile of the
            // completed ones would flatter.
            let known = |quantile: f64| shares.iter().all(|share| tail::is_known(quantile, *share));
            let mut latency = |figure: OperationFigure, quantile: f64, values: Option<Vec<i64>>| {
                let Some(largest) = values.and_then(|values| values.into_iter().max()) else {
                    return;
                };
                let node = if known(quantile) {
                    Node::Count(largest)
                } else {
                    Node::Unknown(format!(
                        "at least {largest}: too many operations failed, did not finish or were never started"
                    ))
                };
                metrics.insert(named(figure), node);
            };
            let of = |figure: fn(&Percentiles) -> i64| {
                Some(all.iter().map(|o| figure(&o.response)).collect())
            };
            latency(OperationFigure::P50, 0.5, of(|response| response.p50));
            latency(OperationFigure::P90, 0.9, of(|response| response.p90));
            latency(OperationFigure::P99, 0.99, of(|response| response.p99));
            let rare = all.iter().map(|o| o.response.p999).collect();
            latency(OperationFigure::P999, 0.999, rare);
            latency(OperationFigure::Max, 1.0, of(|response| response.max));
        }
        if *name == words.main {
            group.extend(metrics.clone());
        }
        group.insert((*name).to_owned(), Node::Group(metrics));
    }
    group
}
