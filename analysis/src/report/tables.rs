//! The tables of the report.

use std::collections::BTreeSet;

use bakeoff_crds::run::Manifest;
use bakeoff_crds::schedule::{Cell, factor};

use super::format;
use super::model::Table;
use crate::decision::{DecisionInput, DecisionRecord, Role, Standing, Unit};
use crate::index::Entry;
use crate::summary::{Metric, Summary, WorkloadSummary};
use crate::vocabulary;

/// Factors that come first where levels are listed: what is done before how much of it at once.
const FIRST: [&str; 3] = [
    factor::OBJECT_SIZE,
    factor::OBJECTS_PER_RUN,
    factor::SNAPSHOTS_PER_OBJECT,
];

/// The factors of a cell in the order in which people read them.
pub(super) fn ordered(cell: &Cell) -> Vec<(&str, &str)> {
    let mut levels: Vec<(&str, &str)> = cell
        .iter()
        .map(|(name, level)| (name.as_str(), level.as_str()))
        .collect();
    levels.sort_by_key(|(name, _)| !FIRST.contains(name));
    levels
}

/// `4Ki · 8`
pub(super) fn short(cell: &Cell) -> String {
    let levels: Vec<&str> = ordered(cell).into_iter().map(|(_, level)| level).collect();
    if levels.is_empty() {
        "all".to_owned()
    } else {
        levels.join(" · ")
    }
}

/// `objectSize · concurrency`
pub(super) fn factors(workload: &WorkloadSummary) -> String {
    let names: Vec<&str> = workload
        .cells
        .first()
        .map(|cell| {
            ordered(&cell.levels)
                .into_iter()
                .map(|(name, _)| name)
                .collect()
        })
        .unwrap_or_default();
    if names.is_empty() {
        "cell".to_owned()
    } else {
        names.join(" · ")
    }
}

fn interval(low: Option<f64>, high: Option<f64>, show: impl Fn(f64) -> String) -> String {
    match (low, high) {
        (Some(low), Some(high)) => format!("{} – {}", show(low), show(high)),
        _ => "–".to_owned(),
    }
}

fn dash(value: Option<String>) -> String {
    value.unwrap_or_else(|| "–".to_owned())
}

pub(super) fn inputs(decision: &DecisionRecord) -> Table {
    let mut table = Table::new(
        "Inputs of the decision",
        &[
            ("Input", false),
            ("Figure", true),
            ("95 % interval", true),
            ("Demanded", false),
            ("Standing", false),
            ("p", true),
            ("p (Holm)", true),
            ("Detectable", true),
            ("Blocks", true),
        ],
    );
    let show = |input: &DecisionInput, value: f64| match input.unit {
        Unit::Ratio => format::ratio(value),
        Unit::Milliseconds => format!("{} ms", format::three(value)),
        Unit::Violations => format!("{value:.0}"),
        Unit::PerMonth => format!("{value:.2}"),
        Unit::Percent => format!("{} %", format::three(value)),
        Unit::Count => format!("{value:.0}"),
    };
    for input in &decision.inputs {
        let standing = match (input.role, input.standing) {
            (Role::Context, _) => "for the reader",
            (_, Standing::Met) => "✓ met",
            (_, Standing::NotMet) => "✗ not met",
            (_, Standing::Open) => "? open",
        };
        table.rows.push(vec![
            format!("{} ({})", input.name, input.scope),
            input
                .value
                .map_or_else(|| "not measured".to_owned(), |value| show(input, value)),
            interval(input.low, input.high, |value| show(input, value)),
            if input.role == Role::Context {
                "–".to_owned()
            } else {
                input.demand.clone()
            },
            standing.to_owned(),
            dash(input.p_value.map(format::p_value)),
            dash(input.adjusted_p.map(format::p_value)),
            dash(input.detectable.map(format::ratio)),
            if input.blocks > 0 {
                input.blocks.to_string()
            } else {
                "–".to_owned()
            },
        ]);
    }
    drop_empty(&mut table);
    table
}

/// Removes the columns in which no row says anything.
fn drop_empty(table: &mut Table) {
    for column in (0..table.columns.len()).rev() {
        if table
            .rows
            .iter()
            .all(|row| row.get(column).is_none_or(|cell| cell == "–"))
        {
            table.columns.remove(column);
            for row in &mut table.rows {
                if column < row.len() {
                    row.remove(column);
                }
            }
        }
    }
}

pub(super) fn objectives(summary: &Summary) -> Table {
    let mut table = Table::new(
        "Objectives",
        &[
            ("Name", false),
            ("Condition", false),
            ("Met", false),
            ("Figures", false),
        ],
    );
    for objective in &summary.objectives {
        table.rows.push(vec![
            objective.name.clone(),
            objective.expression.clone(),
            if objective.met {
                "✓ met"
            } else {
                "✗ not met"
            }
            .to_owned(),
            objective.detail.clone(),
        ]);
    }
    table
}

pub(super) fn comparisons(summary: &Summary) -> Vec<Table> {
    let mut tables = Vec::new();
    for workload in &summary.workloads {
        let mut table = Table::new(
            &format!("All ratios of {}", workload.name),
            &[
                (&factors(workload), false),
                ("Operation", false),
                ("Figure", false),
                ("Pair", false),
                ("Ratio", true),
                ("95 % interval", true),
                ("p", true),
                ("p (Holm)", true),
                ("Detectable", true),
                ("Blocks", true),
                ("Finding", false),
            ],
        )
        .folded();
        for cell in &workload.cells {
            for comparison in &cell.comparisons {
                let estimate = &comparison.estimate;
                table.rows.push(vec![
                    short(&cell.levels),
                    comparison.operation.clone(),
                    comparison.metric.as_str().to_owned(),
                    format!("{} / {}", comparison.subject, comparison.base),
                    format::ratio(estimate.ratio),
                    interval(estimate.low, estimate.high, format::ratio),
                    format::p_value(estimate.p_value),
                    format::p_value(comparison.adjusted_p),
                    dash(estimate.detectable.map(format::ratio)),
                    estimate.blocks.to_string(),
                    comparison
                        .finding
                        .describe(&comparison.subject, &comparison.base),
                ]);
            }
        }
        if !table.rows.is_empty() {
            tables.push(table);
        }
    }
    tables
}

/// One table for each workload with its main operations, and a folded one with all others.
pub(super) fn percentiles(summary: &Summary) -> Vec<Table> {
    let mut tables = Vec::new();
    for workload in &summary.workloads {
        let words = vocabulary::of(workload.kind);
        let present = |name: &str| {
            workload
                .cells
                .iter()
                .flat_map(|cell| &cell.backends)
                .any(|on| on.operations.contains_key(name))
        };
        // LIST is what a cold read is compared by; the whole read stands in the fold.
        let main = if words.operations.contains(&"list") && present("list") {
            "list"
        } else {
            words.main
        };
        tables.extend(latencies(
            workload,
            &format!("{}: {main}", workload.name),
            |name| name == main,
        ));
        tables.extend(
            latencies(
                workload,
                &format!("{}: other operations", workload.name),
                |name| name != main,
            )
            .map(Table::folded),
        );
    }
    tables
}

fn latencies(
    workload: &WorkloadSummary,
    caption: &str,
    wanted: impl Fn(&str) -> bool,
) -> Option<Table> {
    let factors = factors(workload);
    let mut columns = vec![
        (factors.as_str(), false),
        ("Operation", false),
        ("Backend", false),
        ("p50 ms", true),
        ("p90", true),
        ("p99", true),
        ("p99.9", true),
        ("max", true),
        ("Done /s", true),
        ("Operations", true),
        ("Errors", true),
    ];
    if workload.open_load {
        columns.insert(8, ("Offered /s", true));
        columns.push(("Not started", true));
    }
    columns.push(("Unfinished", true));
    let mut table = Table::new(&format!("{caption}, response in milliseconds"), &columns);
    for cell in &workload.cells {
        for on in &cell.backends {
            for (name, operation) in on.operations.iter().filter(|(name, _)| wanted(name)) {
                let response = &operation.response;
                let errors: i64 = operation.failures.values().sum();
                let classes: Vec<String> = operation
                    .failures
                    .iter()
                    .map(|(class, count)| format!("{class} {count}"))
                    .collect();
                // A censored latency is known only from below.
                let at_least = if on.load.unfinished > 0 || operation.overflow > 0 {
                    "≥ "
                } else {
                    ""
                };
                let mut row = vec![
                    short(&cell.levels),
                    name.clone(),
                    on.backend.clone(),
                    format::millis(response.p50),
                    format::millis(response.p90),
                    format::millis(response.p99),
                    dash(response.p999.map(format::millis)),
                    format!("{at_least}{}", format::millis(response.max)),
                    format::three(operation.per_second),
                    format::whole(operation.count),
                    if errors == 0 {
                        "0".to_owned()
                    } else {
                        classes.join(", ")
                    },
                ];
                if workload.open_load {
                    row.insert(8, format::three(on.load.offered_per_second));
                    row.push(format::whole(on.load.not_started));
                }
                row.push(format::whole(on.load.unfinished));
                table.rows.push(row);
            }
        }
    }
    let operations: BTreeSet<&String> = table.rows.iter().filter_map(|row| row.get(1)).collect();
    if operations.len() == 1 {
        // The caption names it already.
        table.columns.remove(1);
        table.rows.iter_mut().for_each(|row| drop(row.remove(1)));
    }
    (!table.rows.is_empty()).then_some(table)
}

pub(super) fn checks(summary: &Summary) -> Option<Table> {
    let backends: Vec<&str> = summary
        .backends
        .iter()
        .map(|backend| backend.name.as_str())
        .collect();
    let heads: Vec<String> = backends
        .iter()
        .map(|name| format!("{name}: violations of checked"))
        .collect();
    let mut columns = vec![("Workload", false), ("Check", false)];
    columns.extend(heads.iter().map(|head| (head.as_str(), true)));
    let mut table = Table::new("Checks, over all valid trials", &columns);
    for workload in &summary.workloads {
        let names: BTreeSet<&str> = workload
            .checks
            .iter()
            .map(|check| check.name.as_str())
            .collect();
        for name in names {
            let mut row = vec![
                workload.name.clone(),
                format!("{name}: {}", vocabulary::describe_check(name)),
            ];
            for backend in &backends {
                let found = workload
                    .checks
                    .iter()
                    .find(|check| check.name == name && check.backend == *backend);
                row.push(found.map_or_else(
                    || "not checked".to_owned(),
                    |check| {
                        let mark = if check.violations > 0 { "✗ " } else { "" };
                        let undecided = match check.uncertain {
                            0 => String::new(),
                            open => format!(", {} undecided", format::whole(open)),
                        };
                        format!(
                            "{mark}{} of {}{undecided}",
                            format::whole(check.violations),
                            format::whole(check.checked)
                        )
                    },
                ));
            }
            table.rows.push(row);
        }
    }
    (!table.rows.is_empty()).then_some(table)
}

pub(super) fn generators(summary: &Summary) -> Table {
    let mut table = Table::new(
        "The load generator, worst of the valid trials",
        &[
            ("Against", false),
            ("Trials", true),
            ("Started of planned", true),
            ("Send lag p50", true),
            ("Send lag p99", true),
            ("CPU, cores", true),
            ("Throttled", true),
            ("Start skew", true),
            ("Memory", true),
        ],
    );
    for generator in &summary.generators {
        table.rows.push(vec![
            generator.backend.clone(),
            generator.trials.to_string(),
            generator.started_per_mille.map_or_else(
                || "closed load".to_owned(),
                |share| format!("{:.1} %", share / 10.0),
            ),
            dash(
                generator
                    .send_lag_p50_micros
                    .map(|lag| format::duration(lag as f64)),
            ),
            dash(
                generator
                    .send_lag_p99_micros
                    .map(|lag| format::duration(lag as f64)),
            ),
            format!("{:.2}", generator.cpu_cores),
            format!("{:.1} %", generator.throttled_per_mille / 10.0),
            format::duration(generator.start_skew_micros as f64),
            format::bytes(generator.resident_bytes),
        ]);
    }
    table
}

/// Cells whose rate drifted over the window by more than a tenth, shown with an interval off zero.
pub(super) fn drift(summary: &Summary) -> Option<Table> {
    let mut table = Table::new(
        "Not steady: cells whose rate drifted by a tenth or more over the window",
        &[
            ("Cell", false),
            ("Backend", false),
            ("Change over the window", true),
            ("95 % interval", true),
        ],
    );
    for workload in &summary.workloads {
        for cell in &workload.cells {
            for on in &cell.backends {
                let Some(drift) = on
                    .drift
                    .filter(|d| d.share.abs() >= 0.1 && (d.low > 0.0 || d.high < 0.0))
                else {
                    continue;
                };
                let percent = |share: f64| format!("{:+.0} %", share * 100.0);
                table.rows.push(vec![
                    format!("{} {}", workload.name, short(&cell.levels)),
                    on.backend.clone(),
                    percent(drift.share),
                    format!("{} – {}", percent(drift.low), percent(drift.high)),
                ]);
            }
        }
    }
    (!table.rows.is_empty()).then_some(table)
}

pub(super) fn excluded(summary: &Summary) -> Option<Table> {
    let mut table = Table::new(
        "Attempts that count for nothing",
        &[
            ("Trial", false),
            ("Attempt", true),
            ("Reason", false),
            ("Detail", false),
            ("Made good", false),
        ],
    );
    for excluded in &summary.excluded {
        let mut details = excluded.details.join("; ");
        if excluded.violations > 0 {
            details.push_str(&format!(
                "; showed {} correctness violations",
                excluded.violations
            ));
        }
        table.rows.push(vec![
            excluded.describe.clone(),
            excluded.attempt.to_string(),
            excluded.codes.join(", "),
            details,
            if excluded.made_good {
                "by a later attempt"
            } else {
                "no: the block lacks it"
            }
            .to_owned(),
        ]);
    }
    (!table.rows.is_empty()).then_some(table)
}

pub(super) fn operation(summary: &Summary) -> Table {
    let mut table = Table::new(
        "The backends in operation",
        &[
            ("Backend", false),
            ("Version", false),
            ("Time to ready", true),
            ("Memory", true),
            ("CPU per operation", true),
            ("Restarts", true),
            ("Node", false),
            ("Image that ran", false),
        ],
    );
    for backend in &summary.backends {
        table.rows.push(vec![
            if backend.provisioned {
                backend.name.clone()
            } else {
                format!("{} (external)", backend.name)
            },
            backend.version.clone(),
            dash(
                backend
                    .time_to_ready_seconds
                    .map(|seconds| format!("{seconds} s")),
            ),
            dash(backend.resident_bytes.map(format::bytes)),
            dash(backend.cpu_micros_per_operation.map(format::duration)),
            backend.restarts.to_string(),
            backend.node.clone(),
            digest(&backend.image, &backend.image_id),
        ]);
    }
    table
}

/// The image with enough of its digest to tell it from others; the manifest has all of it.
fn digest(image: &str, id: &str) -> String {
    match id.rsplit_once("sha256:") {
        Some((_, digest)) => format!("{image} @ {}", digest.chars().take(12).collect::<String>()),
        None => image.to_owned(),
    }
}

pub(super) fn nodes(manifest: &Manifest) -> Option<Table> {
    let mut table = Table::new(
        "The nodes",
        &[
            ("Node", false),
            ("Cores", true),
            ("Memory", true),
            ("CPU", false),
            ("SHA-256 MiB/s", true),
            ("fsync p50 / p99", true),
            ("File system", false),
            ("Kernel", false),
            ("Runtime", false),
        ],
    );
    for node in &manifest.plan.environment.nodes {
        let calibration = node.calibration.as_ref();
        table.rows.push(vec![
            node.name.clone(),
            format::three(node.allocatable_cpu_millis as f64 / 1_000.0),
            format::bytes(node.allocatable_memory_bytes),
            dash(calibration.map(|c| c.cpu_model.clone())),
            dash(calibration.map(|c| format::three(c.sha256_mib_per_second))),
            dash(calibration.map(|c| {
                format!(
                    "{} / {}",
                    format::duration(c.fsync_p50_micros as f64),
                    format::duration(c.fsync_p99_micros as f64)
                )
            })),
            dash(calibration.map(|c| c.file_system.clone())),
            node.kernel_version.clone(),
            node.container_runtime.clone(),
        ]);
    }
    (!table.rows.is_empty()).then_some(table)
}

pub(super) fn files(files: &[Entry]) -> Option<Table> {
    let mut table = Table::new(
        "Raw data",
        &[("File", false), ("Size", true), ("SHA-256", false)],
    )
    .folded()
    .described();
    for file in files {
        table.rows.push(vec![
            file.name.clone(),
            format::bytes(i64::try_from(file.bytes).unwrap_or(i64::MAX)),
            file.sha256.clone(),
        ]);
    }
    (!table.rows.is_empty()).then_some(table)
}

/// Whether a ratio speaks for the subject, for the words at the ends of a forest.
pub(super) fn ends(metric: Metric, subject: &str, base: &str) -> (String, String) {
    if metric.more_is_better() {
        (format!("{base} better"), format!("{subject} better"))
    } else {
        (format!("{subject} better"), format!("{base} better"))
    }
}
