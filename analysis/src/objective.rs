//! Objectives: conditions in CEL over the summary of a run.
//!
//! ```text
//! consistency.listMisses == 0
//! put.p99 < 50000 && put.failures == 0
//! cold_read.list.p99 < 200000
//! backends.minio.put.p99 < 50000
//! put.cells["concurrency=8 objectSize=4Ki"].perSecond > 500
//! ```
//!
//! **Names.** A workload stands under its name in the spec; `cold-read` is written `cold_read` or
//! `coldRead`, because a dash is a minus in CEL. Below it are its operations (`put`, `get`, `list`,
//! …), its correctness checks (violations) and its counters. The figures of an operation are `p50`,
//! `p90`, `p99`, `p999`, `max` (integer microseconds of the response), `perSecond` (a decimal
//! number), `count` and `failures`; those of the main operation also stand directly below the
//! workload, so `put.p99` is `put.put.p99`. `backends.NAME.WORKLOAD…` is the same for one backend.
//!
//! **Over several cells and backends** the worst one counts: the largest latency, the smallest
//! rate; counts are summed. `WORKLOAD.cells["LABEL"]` is one cell.
//!
//! **Missing is not satisfied.** A figure that a cell, a backend or the whole run lacks (no valid
//! trial, `p999` below 10 000 operations, a check that nothing performed) makes the objective
//! `Missing`, also where CEL's `||` would not have looked at it.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use bakeoff_crds::schedule;
use bakeoff_crds::spec::{ExperimentSpec, WorkloadKind};
use cel::common::ast::{Expr, LiteralValue};
use cel::{Context, IdedExpr, Program, Value};

use crate::summary::{CellBackend, Summary, WorkloadSummary};
use crate::vocabulary::{self, METRICS};

/// An objective that compiles and names only what the experiment measures.
#[derive(Debug)]
pub struct Objective {
    expression: String,
    program: Program,
    paths: BTreeSet<Vec<String>>,
}

/// What an objective says of a summary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evaluation {
    /// The condition holds; with the figures that it read.
    Met(String),
    /// It does not; with the figures that it read.
    NotMet(String),
    /// It cannot be evaluated, and so is not satisfied; with what is missing or wrong.
    Missing(String),
}

impl Evaluation {
    /// Whether the objective is satisfied.
    #[must_use]
    pub fn is_met(&self) -> bool {
        matches!(self, Self::Met(_))
    }

    /// The figures, or what is missing.
    #[must_use]
    pub fn detail(&self) -> &str {
        match self {
            Self::Met(detail) | Self::NotMet(detail) | Self::Missing(detail) => detail,
        }
    }
}

/// Why an expression is not an objective of this experiment.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ObjectiveError {
    /// Not CEL.
    #[error("{expression:?} is not a CEL expression: {message}")]
    Syntax {
        /// The expression.
        expression: String,
        /// What the parser says.
        message: String,
    },
    /// A name that the experiment does not have at this place.
    #[error(
        "{expression:?} names {path:?}, which this experiment does not measure; {at} has: {known}"
    )]
    UnknownName {
        /// The expression.
        expression: String,
        /// The path up to the unknown name.
        path: String,
        /// Where the known names stand.
        at: String,
        /// The known names.
        known: String,
    },
    /// A path that ends at a group of figures.
    #[error("{expression:?} uses {path:?} as a figure, but it is a group; add one of: {known}")]
    Group {
        /// The expression.
        expression: String,
        /// The path.
        path: String,
        /// What may follow.
        known: String,
    },
    /// No figure at all: such a condition is not about the results.
    #[error("{expression:?} names no figure of the experiment; begin with one of: {known}")]
    NoFigure {
        /// The expression.
        expression: String,
        /// The roots.
        known: String,
    },
    /// Does not yield true or false.
    #[error(
        "{expression:?} yields {found}, not true or false; compare the figure with a bound, for example {expression} < 50000"
    )]
    NotBoolean {
        /// The expression.
        expression: String,
        /// What it yields.
        found: String,
    },
    /// Fails whatever the figures, for example because a function does not exist.
    #[error("{expression:?} cannot be evaluated: {message}")]
    Evaluation {
        /// The expression.
        expression: String,
        /// What the interpreter says.
        message: String,
    },
}

impl ObjectiveError {
    /// A short word for conditions, events and metric labels.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Syntax { .. } => "ObjectiveSyntax",
            Self::UnknownName { .. } => "ObjectiveUnknownName",
            Self::Group { .. } => "ObjectiveGroup",
            Self::NoFigure { .. } => "ObjectiveNoFigure",
            Self::NotBoolean { .. } => "ObjectiveNotBoolean",
            Self::Evaluation { .. } => "ObjectiveEvaluation",
        }
    }
}

/// Figures under names; the shape that expressions see.
#[derive(Clone, Debug, PartialEq)]
enum Node {
    Group(BTreeMap<String, Node>),
    Count(i64),
    Rate(f64),
}

/// Compiles an expression against what the experiment will measure.
///
/// # Errors
/// When it is not CEL, names what the experiment does not measure (the known names are listed),
/// names nothing at all, or does not yield a boolean.
pub fn compile(expression: &str, spec: &ExperimentSpec) -> Result<Objective, ObjectiveError> {
    let text = || expression.to_owned();
    // The parser is a large piece of foreign code that reads user input: a panic in it must not
    // take the operator down.
    let program = catch_unwind(AssertUnwindSafe(|| Program::compile(expression)))
        .map_err(|_| ObjectiveError::Syntax {
            expression: text(),
            message: "the parser gave up".to_owned(),
        })?
        .map_err(|errors| ObjectiveError::Syntax {
            expression: text(),
            message: errors.to_string().replace('\n', " "),
        })?;
    let mut paths = BTreeSet::new();
    collect(program.expression(), &mut Vec::new(), &mut paths);
    let known = vocabulary_tree(spec);
    if paths.is_empty() {
        return Err(ObjectiveError::NoFigure {
            expression: text(),
            known: names(&known),
        });
    }
    for path in &paths {
        check_path(expression, &known, path)?;
    }
    let objective = Objective {
        expression: text(),
        program,
        paths,
    };
    match run(&objective, &known) {
        Ok(Value::Bool(_)) => Ok(objective),
        Ok(other) => Err(ObjectiveError::NotBoolean {
            expression: text(),
            found: format!("a value of type {}", other.type_of()),
        }),
        Err(message) => Err(ObjectiveError::Evaluation {
            expression: text(),
            message,
        }),
    }
}

/// Evaluates an objective over a summary.
#[must_use]
pub fn evaluate(objective: &Objective, summary: &Summary) -> Evaluation {
    let tree = figures_tree(summary);
    let mut read = Vec::new();
    let mut missing = Vec::new();
    for path in &objective.paths {
        match find(&tree, path) {
            Some(Node::Count(value)) => read.push(format!("{} = {value}", path.join("."))),
            Some(Node::Rate(value)) => read.push(format!("{} = {value}", path.join("."))),
            Some(Node::Group(_)) => {}
            None => missing.push(path.join(".")),
        }
    }
    if !missing.is_empty() {
        return Evaluation::Missing(format!("not measured: {}", missing.join(", ")));
    }
    match run(objective, &tree) {
        Ok(Value::Bool(true)) => Evaluation::Met(read.join(", ")),
        Ok(Value::Bool(false)) => Evaluation::NotMet(read.join(", ")),
        Ok(other) => Evaluation::Missing(format!(
            "{} yields a value of type {}",
            objective.expression,
            other.type_of()
        )),
        Err(message) => Evaluation::Missing(message),
    }
}

/// Compiles and evaluates: whether it is met, and the figures or what is wrong.
#[must_use]
pub fn judge(expression: &str, spec: &ExperimentSpec, summary: &Summary) -> (bool, String) {
    match compile(expression, spec) {
        Ok(objective) => {
            let evaluation = evaluate(&objective, summary);
            (evaluation.is_met(), evaluation.detail().to_owned())
        }
        Err(error) => (false, error.to_string()),
    }
}

/// The roots and everything below that an objective of this experiment may name, one path a line.
#[must_use]
pub fn known_names(spec: &ExperimentSpec) -> Vec<String> {
    fn walk(node: &Node, path: &str, list: &mut Vec<String>) {
        match node {
            Node::Group(members) => {
                for (name, member) in members {
                    walk(
                        member,
                        &if path.is_empty() {
                            name.clone()
                        } else {
                            format!("{path}.{name}")
                        },
                        list,
                    );
                }
            }
            Node::Count(_) | Node::Rate(_) => list.push(path.to_owned()),
        }
    }
    let mut list = Vec::new();
    walk(&vocabulary_tree(spec), "", &mut list);
    list
}

fn run(objective: &Objective, tree: &Node) -> Result<Value, String> {
    catch_unwind(AssertUnwindSafe(|| {
        let mut context = Context::default();
        if let Node::Group(members) = tree {
            for (name, member) in members {
                context.add_variable_from_value(name.clone(), value(member));
            }
        }
        objective
            .program
            .execute(&context)
            .map_err(|error| error.to_string())
    }))
    .unwrap_or_else(|_| Err("the interpreter gave up".to_owned()))
}

fn value(node: &Node) -> Value {
    match node {
        Node::Count(number) => Value::Int(*number),
        Node::Rate(number) => Value::Float(*number),
        Node::Group(members) => {
            let map: std::collections::HashMap<String, Value> = members
                .iter()
                .map(|(name, member)| (name.clone(), value(member)))
                .collect();
            Value::from(map)
        }
    }
}

/// Collects the paths of figures that an expression reads, leaving out variables of macros.
fn collect(expression: &IdedExpr, bound: &mut Vec<String>, paths: &mut BTreeSet<Vec<String>>) {
    if let Some(path) = path_of(expression) {
        if path.first().is_some_and(|root| !bound.contains(root)) {
            paths.insert(path);
        }
        return;
    }
    match &expression.expr {
        Expr::Call(call) => {
            for part in call.target.iter().map(AsRef::as_ref).chain(&call.args) {
                collect(part, bound, paths);
            }
        }
        Expr::Select(select) => collect(&select.operand, bound, paths),
        Expr::List(list) => list
            .elements
            .iter()
            .for_each(|element| collect(element, bound, paths)),
        Expr::Map(map) => {
            for entry in &map.entries {
                if let cel::common::ast::EntryExpr::MapEntry(entry) = &entry.expr {
                    collect(&entry.key, bound, paths);
                    collect(&entry.value, bound, paths);
                }
            }
        }
        Expr::Comprehension(comprehension) => {
            collect(&comprehension.iter_range, bound, paths);
            collect(&comprehension.accu_init, bound, paths);
            let depth = bound.len();
            bound.push(comprehension.iter_var.clone());
            bound.extend(comprehension.iter_var2.clone());
            bound.push(comprehension.accu_var.clone());
            for part in [
                &comprehension.loop_cond,
                &comprehension.loop_step,
                &comprehension.result,
            ] {
                collect(part, bound, paths);
            }
            bound.truncate(depth);
        }
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) | Expr::Struct(_) => {}
    }
}

/// `a.b["c"].d` as a path, or nothing for any other expression.
fn path_of(expression: &IdedExpr) -> Option<Vec<String>> {
    match &expression.expr {
        Expr::Ident(name) => Some(vec![name.clone()]),
        Expr::Select(select) => {
            let mut path = path_of(&select.operand)?;
            path.push(select.field.clone());
            Some(path)
        }
        Expr::Call(call) if call.func_name == cel::common::ast::operators::INDEX => {
            match call.args.as_slice() {
                [
                    operand,
                    IdedExpr {
                        expr: Expr::Literal(LiteralValue::String(key)),
                        ..
                    },
                ] => {
                    let mut path = path_of(operand)?;
                    path.push(key.inner().to_owned());
                    Some(path)
                }
                _ => None,
            }
        }
        _ => None,
    }
}

fn find<'a>(tree: &'a Node, path: &[String]) -> Option<&'a Node> {
    path.iter().try_fold(tree, |node, name| match node {
        Node::Group(members) => members.get(name),
        Node::Count(_) | Node::Rate(_) => None,
    })
}

fn names(node: &Node) -> String {
    match node {
        Node::Group(members) => members.keys().cloned().collect::<Vec<_>>().join(", "),
        Node::Count(_) | Node::Rate(_) => "nothing below it, it is a figure".to_owned(),
    }
}

fn check_path(expression: &str, known: &Node, path: &[String]) -> Result<(), ObjectiveError> {
    for end in 0..path.len() {
        if find(known, &path[..=end]).is_none() {
            let at = if end == 0 {
                "the experiment".to_owned()
            } else {
                path[..end].join(".")
            };
            return Err(ObjectiveError::UnknownName {
                expression: expression.to_owned(),
                path: path[..=end].join("."),
                at,
                known: find(known, &path[..end]).map(names).unwrap_or_default(),
            });
        }
    }
    match find(known, path) {
        Some(group @ Node::Group(_)) => Err(ObjectiveError::Group {
            expression: expression.to_owned(),
            path: path.join("."),
            known: names(group),
        }),
        _ => Ok(()),
    }
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
fn vocabulary_tree(spec: &ExperimentSpec) -> Node {
    let mut roots = BTreeMap::new();
    for workload in &spec.workloads {
        let Some(kind) = workload.kind() else {
            continue;
        };
        let mut group = vocabulary_group(kind);
        let cells = schedule::cells(workload)
            .iter()
            .map(|cell| (label(cell), Node::Group(vocabulary_group(kind))))
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

fn vocabulary_group(kind: WorkloadKind) -> BTreeMap<String, Node> {
    let words = vocabulary::of(kind);
    let metrics: BTreeMap<String, Node> = METRICS
        .iter()
        // 1 and not 0, so that the trial evaluation of a quotient does not divide by zero.
        .map(|metric| {
            (
                (*metric).to_owned(),
                if *metric == "perSecond" {
                    Node::Rate(1.0)
                } else {
                    Node::Count(1)
                },
            )
        })
        .collect();
    let mut group = metrics.clone();
    for name in words.checks.iter().chain(words.counters) {
        group.insert((*name).to_owned(), Node::Count(1));
    }
    for name in words.figures {
        group.insert((*name).to_owned(), Node::Rate(1.0));
    }
    for operation in words.operations {
        group.insert((*operation).to_owned(), Node::Group(metrics.clone()));
    }
    group
}

fn label(levels: &schedule::Cell) -> String {
    levels
        .iter()
        .map(|(factor, level)| format!("{factor}={level}"))
        .collect::<Vec<_>>()
        .join(" ")
}

/// The figures of a summary under the same names.
fn figures_tree(summary: &Summary) -> Node {
    let everywhere: Vec<&str> = summary
        .backends
        .iter()
        .map(|backend| backend.name.as_str())
        .collect();
    let mut roots = workloads_group(summary, &everywhere);
    let mut backends = BTreeMap::new();
    for name in &everywhere {
        insert(
            &mut backends,
            name,
            &Node::Group(workloads_group(summary, &[name])),
        );
    }
    roots.insert("backends".to_owned(), Node::Group(backends));
    Node::Group(roots)
}

fn workloads_group(summary: &Summary, backends: &[&str]) -> BTreeMap<String, Node> {
    let mut roots = BTreeMap::new();
    for workload in &summary.workloads {
        let parts = |cells: &mut dyn Iterator<Item = &crate::summary::CellSummary>| -> Option<Vec<CellBackend>> {
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
            let one = parts(&mut std::iter::once(cell))
                .map(|one| worst(workload.kind, &one))
                .unwrap_or_default();
            cells.insert(cell.label.clone(), Node::Group(one));
        }
        group.insert("cells".to_owned(), Node::Group(cells));
        add_checks(workload, backends, &mut group);
        insert(&mut roots, &workload.name, &Node::Group(group));
    }
    roots
}

/// A check is a figure only where every backend asked about performed it.
fn add_checks(workload: &WorkloadSummary, backends: &[&str], group: &mut BTreeMap<String, Node>) {
    let names: BTreeSet<&str> = workload
        .checks
        .iter()
        .map(|check| check.name.as_str())
        .collect();
    for name in names {
        let found: Vec<i64> = workload
            .checks
            .iter()
            .filter(|check| {
                check.name == name
                    && check.checked > 0
                    && backends.contains(&check.backend.as_str())
            })
            .map(|check| check.violations)
            .collect();
        if found.len() == backends.len() {
            group.insert(name.to_owned(), Node::Count(found.iter().sum()));
        }
    }
}

/// The worst figure of each operation over cells and backends; absent when one of them lacks it.
fn worst(kind: WorkloadKind, parts: &[CellBackend]) -> BTreeMap<String, Node> {
    let words = vocabulary::of(kind);
    let mut group = BTreeMap::new();
    if parts.iter().any(|part| part.blocks == 0) {
        return group;
    }
    for counter in words.counters {
        let values: Option<Vec<i64>> = parts
            .iter()
            .map(|part| part.counters.get(*counter).copied())
            .collect();
        if let Some(values) = values {
            let total = values
                .into_iter()
                .fold(0, |sum, part| vocabulary::add_counter(counter, sum, part));
            group.insert((*counter).to_owned(), Node::Count(total));
        }
    }
    for name in words.figures {
        let values: Option<Vec<f64>> = parts
            .iter()
            .map(|part| part.figures.get(*name).map(|figure| figure.value))
            .collect();
        let worse = if vocabulary::more_is_better(name) {
            f64::min
        } else {
            f64::max
        };
        if let Some(value) = values.and_then(|values| values.into_iter().reduce(worse)) {
            group.insert((*name).to_owned(), Node::Rate(value));
        }
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
        let mut metrics = BTreeMap::from([
            ("count".to_owned(), Node::Count(count)),
            ("failures".to_owned(), Node::Count(failures)),
        ]);
        // Without a completed operation there is no latency and no rate to compare with a bound.
        if all.iter().all(|operation| operation.count > 0) {
            let slowest = all
                .iter()
                .map(|operation| operation.per_second)
                .fold(f64::INFINITY, f64::min);
            metrics.insert("perSecond".to_owned(), Node::Rate(slowest));
            let mut latency = |metric: &str, values: Option<Vec<i64>>| {
                if let Some(largest) = values.and_then(|values| values.into_iter().max()) {
                    metrics.insert(metric.to_owned(), Node::Count(largest));
                }
            };
            latency(
                "p50",
                Some(all.iter().map(|operation| operation.response.p50).collect()),
            );
            latency(
                "p90",
                Some(all.iter().map(|operation| operation.response.p90).collect()),
            );
            latency(
                "p99",
                Some(all.iter().map(|operation| operation.response.p99).collect()),
            );
            latency(
                "p999",
                all.iter()
                    .map(|operation| operation.response.p999)
                    .collect(),
            );
            latency(
                "max",
                Some(all.iter().map(|operation| operation.response.max).collect()),
            );
        }
        if *name == words.main {
            group.extend(metrics.clone());
        }
        group.insert((*name).to_owned(), Node::Group(metrics));
    }
    group
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;
    use crate::summary::{RunData, summarise};
    use proptest::prelude::*;

    fn phase1_c() -> (ExperimentSpec, Summary) {
        let (manifest, records) = sample::phase1_c();
        let summary = summarise(&RunData {
            manifest: &manifest,
            records: &records,
            interrupted: &[],
        })
        .unwrap();
        (manifest.plan.spec, summary)
    }

    #[test]
    fn evaluates_figures_checks_cells_and_backends() {
        let (spec, summary) = phase1_c();
        let judged = |expression: &str| {
            let objective = compile(expression, &spec).unwrap_or_else(|error| panic!("{error}"));
            evaluate(&objective, &summary)
        };
        for met in [
            "consistency.listMisses == 0",
            "put.p99 < 60000000",
            "put.put.p99 == put.p99",
            "cold_read.list.p99 == coldRead.list.p99",
            "backends.minio.put.p99 <= put.p99",
            "backends.seaweedfs.put.perSecond > backends.minio.put.perSecond",
            "put.cells[\"concurrency=8 objectSize=4Ki\"].perSecond > 100.0",
            "put.perSecond > 1 && put.failures == 0",
            "[put.p50, put.p99].all(x, x > 0)",
        ] {
            assert!(judged(met).is_met(), "{met}: {:?}", judged(met));
        }
        let not_met = judged("put.p99 < 1");
        assert!(
            matches!(&not_met, Evaluation::NotMet(detail) if detail.starts_with("put.p99 = ")),
            "{not_met:?}"
        );
    }

    #[test]
    fn a_missing_figure_is_not_satisfied_even_behind_an_or() {
        let (spec, mut summary) = phase1_c();
        let missing = |summary: &Summary, expression: &str| {
            matches!(
                evaluate(&compile(expression, &spec).unwrap(), summary),
                Evaluation::Missing(_)
            )
        };
        // Too few LISTs for p99.9.
        assert!(missing(&summary, "coldRead.list.p999 < 1000000000"));
        assert!(missing(
            &summary,
            "consistency.listMisses == 0 || coldRead.list.p999 < 1000000000"
        ));
        summary.workloads[2]
            .checks
            .retain(|check| check.backend != "minio");
        assert!(missing(&summary, "consistency.listMisses == 0"));
        assert!(!missing(
            &summary,
            "backends.seaweedfs.consistency.listMisses == 0"
        ));
        summary.workloads[0].cells[1].backends[0].blocks = 0;
        assert!(missing(&summary, "put.p99 < 1000000000"));
    }

    #[test]
    fn errors_name_what_is_wrong_and_what_is_known() {
        let (spec, _) = phase1_c();
        let error = |expression: &str| compile(expression, &spec).unwrap_err();
        let unknown = error("putt.p99 < 1");
        assert_eq!(unknown.reason(), "ObjectiveUnknownName");
        assert!(
            unknown
                .to_string()
                .contains("backends, coldRead, cold_read, consistency, put"),
            "{unknown}"
        );
        let metric = error("put.p98 < 1").to_string();
        assert!(
            metric.contains("put.p98") && metric.contains("p99"),
            "{metric}"
        );
        assert_eq!(error("put.p99 <").reason(), "ObjectiveSyntax");
        assert_eq!(error("put.p99 + 1").reason(), "ObjectiveNotBoolean");
        assert_eq!(error("put < 1").reason(), "ObjectiveGroup");
        assert_eq!(error("1 < 2").reason(), "ObjectiveNoFigure");
        assert_eq!(error("nonsense(put.p99)").reason(), "ObjectiveEvaluation");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn no_expression_panics(text in "[a-z0-9.()\\[\\]\"<>=&|?: +*/%,!{}'-]{0,40}") {
            let spec = sample::spec(1);
            let _ = compile(&text, &spec);
        }
    }
}
