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
//! rate; counts are summed. `WORKLOAD.cells["LABEL"]` is one cell: it has the same figures, and checks of its own only in a
//! race, whose cells are to find different things.
//!
//! **Missing is not satisfied.** A figure that a cell, a backend or the whole run lacks (no valid
//! trial, `p999` below 10 000 operations, a check that nothing performed) makes the objective
//! `Missing`, also where CEL's `||` would not have looked at it. So does a latency that is only
//! bounded from below, because more operations have no answer than lie above the percentile, a
//! check with violations that the loss of a backend may explain, and one of which no fact was settled. Other violations count also where
//! they were seen in an excluded attempt.

mod names;
mod paths;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bakeoff_crds::spec::ExperimentSpec;
use cel::{Context, Program, Value};

use crate::measured::Measured;
use names::{Node, figures_tree, vocabulary_tree};
use paths::{check_path, collect, find, names};

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
    /// Does not yield a number.
    #[error("{expression:?} yields {found}, not a number; name a figure, for example put.p99")]
    NotNumber {
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
            Self::NotNumber { .. } => "ObjectiveNotNumber",
            Self::Evaluation { .. } => "ObjectiveEvaluation",
        }
    }
}

/// Compiles an expression against what the experiment will measure.
///
/// # Errors
/// When it is not CEL, names what the experiment does not measure (the known names are listed),
/// names nothing at all, or does not yield a boolean.
pub fn compile(expression: &str, spec: &ExperimentSpec) -> Result<Objective, ObjectiveError> {
    let (objective, yields) = parse(expression, spec)?;
    match yields {
        Value::Bool(_) => Ok(objective),
        other => Err(ObjectiveError::NotBoolean {
            expression: expression.to_owned(),
            found: format!("a value of type {}", other.type_of()),
        }),
    }
}

/// Whether an expression is a figure of what the experiment will measure.
///
/// # Errors
/// As [`compile`], or when it does not yield a number.
pub fn check_figure(expression: &str, spec: &ExperimentSpec) -> Result<(), ObjectiveError> {
    let (_, yields) = parse(expression, spec)?;
    match yields {
        Value::Int(_) | Value::UInt(_) | Value::Float(_) => Ok(()),
        other => Err(ObjectiveError::NotNumber {
            expression: expression.to_owned(),
            found: format!("a value of type {}", other.type_of()),
        }),
    }
}

/// A figure of what was measured; none where it is missing.
#[must_use]
pub fn figure(expression: &str, spec: &ExperimentSpec, measured: &Measured) -> Option<f64> {
    let (objective, _) = parse(expression, spec).ok()?;
    let tree = figures_tree(measured);
    let known = |path: &Vec<String>| !matches!(find(&tree, path), None | Some(Node::Unknown(_)));
    if !objective.paths.iter().all(known) {
        return None;
    }
    let value = match run(&objective, &tree).ok()? {
        Value::Int(value) => value as f64,
        Value::UInt(value) => value as f64,
        Value::Float(value) => value,
        _ => return None,
    };
    value.is_finite().then_some(value)
}

/// Parses an expression, and what it yields of figures that are all 0.
fn parse(expression: &str, spec: &ExperimentSpec) -> Result<(Objective, Value), ObjectiveError> {
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
    let yields = run(&objective, &known).map_err(|message| ObjectiveError::Evaluation {
        expression: text(),
        message,
    })?;
    Ok((objective, yields))
}

/// Evaluates an objective over a summary.
#[must_use]
pub fn evaluate(objective: &Objective, measured: &Measured) -> Evaluation {
    let tree = figures_tree(measured);
    let mut read = Vec::new();
    let mut missing = Vec::new();
    for path in &objective.paths {
        match find(&tree, path) {
            Some(Node::Count(value)) => read.push(format!("{} = {value}", path.join("."))),
            Some(Node::Rate(value)) => read.push(format!("{} = {value}", path.join("."))),
            Some(Node::Unknown(why)) => missing.push(format!("{} ({why})", path.join("."))),
            Some(Node::Group(_)) => {}
            None => missing.push(path.join(".")),
        }
    }
    if !missing.is_empty() {
        return Evaluation::Missing(format!("not known: {}", missing.join(", ")));
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
pub fn judge(expression: &str, spec: &ExperimentSpec, measured: &Measured) -> (bool, String) {
    match compile(expression, spec) {
        Ok(objective) => {
            let evaluation = evaluate(&objective, measured);
            (evaluation.is_met(), evaluation.detail().to_owned())
        }
        Err(error) => (false, error.to_string()),
    }
}

/// The roots and everything below that an objective of this experiment may name, one path a line.
#[must_use]
pub fn known_names(spec: &ExperimentSpec) -> Vec<String> {
    paths_of(&vocabulary_tree(spec))
}

/// The paths of all figures of a tree.
fn paths_of(tree: &Node) -> Vec<String> {
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
            Node::Count(_) | Node::Rate(_) | Node::Unknown(_) => list.push(path.to_owned()),
        }
    }
    let mut list = Vec::new();
    walk(tree, "", &mut list);
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
        // Never read: an expression that names it is not evaluated.
        Node::Unknown(_) => Value::Null,
        Node::Group(members) => {
            let map: std::collections::HashMap<String, Value> = members
                .iter()
                .map(|(name, member)| (name.clone(), value(member)))
                .collect();
            Value::from(map)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measured::{CheckSummary, RunData, measure};
    use crate::sample;
    use bakeoff_crds::result::CheckRecord;
    use proptest::prelude::*;

    fn phase1_c() -> (ExperimentSpec, Measured) {
        let (manifest, records) = sample::phase1_c();
        let measured = measure(&RunData::new(&manifest, &records)).unwrap();
        (manifest.plan.spec, measured)
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
        let missing = |summary: &Measured, expression: &str| {
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

    /// A run in which everything was recorded that its kinds of workload know of.
    fn complete(spec: &ExperimentSpec) -> Measured {
        let manifest = sample::manifest(spec);
        let mut records = sample::records(spec, |_| sample::PLAIN);
        for record in &mut records {
            let words = crate::kinds::of(record.trial.kind);
            for name in words.checks {
                if record.checks.iter().all(|check| check.name != *name) {
                    record.checks.push(CheckRecord {
                        name: (*name).to_owned(),
                        checked: 100,
                        violations: 0,
                        uncertain: 0,
                        examples: Vec::new(),
                    });
                }
            }
            for counter in words.counters {
                record.counters.entry(*counter).or_insert(1);
            }
            let any = record.operations.values().next().unwrap().clone();
            for name in words.operations {
                let operation = record.operations.entry((*name).to_owned());
                operation.or_insert_with(|| any.clone());
            }
        }
        measure(&RunData::new(&manifest, &records)).unwrap()
    }

    fn race() -> ExperimentSpec {
        serde_json::from_value(serde_json::json!({
            "backends": [{"name": "postgres", "postgres": {"version": "18.4"}}],
            "workloads": [{"name": "race", "casRace": {}}],
            "trials": {"blocks": 2},
        }))
        .unwrap()
    }

    #[test]
    fn every_name_that_is_admitted_is_measured() {
        let specs = [
            sample::spec(2),
            sample::batching_spec(600),
            sample::head_spec(),
            sample::replay_spec(),
            race(),
        ];
        for spec in specs {
            let found: BTreeSet<String> = paths_of(&figures_tree(&complete(&spec)))
                .into_iter()
                .collect();
            // Of fewer than 10 000 operations there is none.
            let rare = |name: &String| name.ends_with(".p999");
            let missing: Vec<String> = known_names(&spec)
                .into_iter()
                .filter(|name| !rare(name) && !found.contains(name))
                .collect();
            assert_eq!(missing, Vec::<String>::new());
        }
    }

    #[test]
    fn a_check_of_one_cell_is_named_only_where_it_is_kept() {
        let (spec, summary) = phase1_c();
        let of_cell = |workload: &str, check: &str, summary: &Measured, cell: usize| {
            let mut all = summary.workloads.iter();
            let found = all.find(|one| one.name == workload).unwrap();
            let label = &found.cells[cell].label;
            format!("{workload}.cells[\"{label}\"].{check} == 0")
        };
        let refused = of_cell("consistency", "listMisses", &summary, 0);
        let error = compile(&refused, &spec).unwrap_err();
        assert_eq!(error.reason(), "ObjectiveUnknownName");
        assert!(error.to_string().contains("perSecond"), "{error}");

        let spec = race();
        let mut summary = complete(&spec);
        let cells = &mut summary.workloads[0].cells;
        assert!(cells.len() > 1, "controls beside what is judged");
        cells[1].backends[0].checks[0].violations = 3;
        let check = cells[1].backends[0].checks[0].name.clone();
        let judged = |cell: usize| {
            let expression = of_cell("race", &check, &summary, cell);
            evaluate(&compile(&expression, &spec).unwrap(), &summary)
        };
        assert!(judged(0).is_met(), "{:?}", judged(0));
        let found = judged(1);
        assert!(matches!(found, Evaluation::NotMet(_)), "{found:?}");
    }

    #[test]
    fn a_check_that_settled_nothing_is_not_known() {
        let (spec, mut summary) = phase1_c();
        let objective = compile("consistency.listMisses == 0", &spec).unwrap();
        assert!(evaluate(&objective, &summary).is_met());
        let on_minio = |summary: &mut Measured, change: fn(&mut CheckSummary)| {
            let mut checks = summary.workloads[2].checks.iter_mut();
            let found = checks.find(|one| one.name == "listMisses" && one.backend == "minio");
            change(found.unwrap());
        };
        on_minio(&mut summary, |check| check.uncertain = check.checked);
        let open = evaluate(&objective, &summary);
        assert!(
            matches!(&open, Evaluation::Missing(why) if why.contains("facts open")),
            "{open:?}"
        );
        // What was violated is known, whatever else is open.
        on_minio(&mut summary, |check| check.violations = 1);
        let violated = evaluate(&objective, &summary);
        assert!(matches!(violated, Evaluation::NotMet(_)), "{violated:?}");
        // And so is one fact that was settled.
        on_minio(&mut summary, |check| {
            check.violations = 0;
            check.uncertain -= 1;
        });
        assert!(evaluate(&objective, &summary).is_met());
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
