//! Two runs side by side, with the statistics of the report.
//!
//! Blocks are paired by their number: with the same spec and seed they ran the same schedule. What
//! separates two runs (another day, another machine) is not randomised as the order inside a block
//! is, so a difference is one between the runs, whatever caused it.

mod courses;
mod design;

pub use courses::{CourseRow, Pair};

use std::fmt::Write as _;

use bakeoff_crds::run::RunPlan;
use serde::{Deserialize, Serialize};

use crate::format;
use crate::measured::{
    CellBackend, CellSummary, Censored, Comparison, Finding, Measured, SUMMARY_SCHEMA, estimate,
    judge, pairs,
};
use crate::metric::Metric;
use crate::stats::{ALPHA, paired, power, round};

/// The margin of equivalence between runs, as a log-ratio: ten per cent.
const MARGIN: f64 = 0.095_310_179_804_324_86;

/// What the signs before ratios say, where there are any.
const BOUNDS: &str = "≥ and ≤ mark a figure that is only a bound, because too many operations of one run have no answer, and ? one of which both \
    ends are open: nothing is concluded in favour of such a run.";

/// Two runs compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunComparison {
    /// The run in the denominator.
    pub base: String,
    /// The run in the numerator.
    pub subject: String,
    /// What is compared, and how.
    pub rows: Vec<RunRow>,
    /// Figures of soaks, course beside course: nothing is tested.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub courses: Vec<CourseRow>,
    /// How the load differed, where they were compared all the same: then no figure says anything of the backends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unlike: Vec<String>,
    /// What the two do not have in common, and what differs between them: read before the figures.
    pub remarks: Vec<String>,
}

/// One figure of one backend in one cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunRow {
    /// The workload.
    pub workload: String,
    /// The cell.
    pub cell: String,
    /// The backend.
    pub backend: String,
    /// Subject against base; the names in it are `subject` and `base`.
    pub comparison: Comparison,
}

impl RunRow {
    /// Whether a difference was shown. A small p-value alone is none: where too many operations of a run have no answer, what
    /// speaks for that run was not shown.
    fn differs(&self) -> bool {
        matches!(
            self.comparison.finding,
            Finding::SubjectBetter | Finding::BaseBetter
        )
    }
}

/// Why two runs cannot be compared.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CompareError {
    /// A summary of a schema that this version does not read.
    #[error("{run} has the schema {found:?}, but this version reads {SUMMARY_SCHEMA:?}")]
    Schema {
        /// The run.
        run: String,
        /// Its schema.
        found: String,
    },
    /// Relative and absolute figures are never mixed.
    #[error("one run is {base} and the other {subject}: the two classes of result are never mixed")]
    ResultClass {
        /// The class of the base.
        base: String,
        /// The class of the subject.
        subject: String,
    },
    /// The backends were not asked the same.
    #[error("the runs put different loads on their backends, so their figures answer different questions: {}. --force compares them all the same, and says so", .0.join("; "))]
    LoadDiffers(Vec<String>),
    /// The runs measured nothing alike.
    #[error(
        "the runs have no cell in common that both measured: base has {base}; subject has {subject}"
    )]
    NothingInCommon {
        /// The workloads of the base.
        base: String,
        /// The workloads of the subject.
        subject: String,
    },
}

impl CompareError {
    /// A short word for conditions, events and metric labels.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Schema { .. } => "SummarySchemaUnknown",
            Self::ResultClass { .. } => "ResultClassMixed",
            Self::LoadDiffers(_) => "LoadDiffers",
            Self::NothingInCommon { .. } => "NothingInCommon",
        }
    }
}

/// A run: what it measured, and by which plan.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// What it measured.
    pub measured: &'a Measured,
    /// The plan, from its manifest.
    pub plan: &'a RunPlan,
}

/// Compares `subject` with `base`, and says how their designs differ. Runs of different loads only with `force`.
///
/// # Errors
/// As [`compare`], or when the loads differ.
pub fn runs(base: Side<'_>, subject: Side<'_>, force: bool) -> Result<RunComparison, CompareError> {
    let mut compared = compare(base.measured, subject.measured)?;
    let found = design::differences(base.plan, subject.plan);
    if !found.load.is_empty() && !force {
        return Err(CompareError::LoadDiffers(found.load));
    }
    compared.unlike = found.load;
    let surroundings = found.surroundings.iter();
    let remarks = surroundings.map(|said| format!("Differs: {said}."));
    compared.remarks.extend(remarks);
    Ok(compared)
}

/// Compares `subject` with `base`, cell by cell and backend by backend.
///
/// A run with itself gives exactly no difference; exchanging the two inverts every ratio.
///
/// # Errors
/// When a schema is unknown, the classes of result differ, or no cell is common to both.
pub fn compare(base: &Measured, subject: &Measured) -> Result<RunComparison, CompareError> {
    for measured in [base, subject] {
        if measured.schema_version != SUMMARY_SCHEMA {
            return Err(CompareError::Schema {
                run: measured.experiment.clone(),
                found: measured.schema_version.clone(),
            });
        }
    }
    if base.result_class != subject.result_class {
        return Err(CompareError::ResultClass {
            base: base.result_class.to_string(),
            subject: subject.result_class.to_string(),
        });
    }
    let mut rows = Vec::new();
    for (workload, old, new) in common_cells(base, subject, false) {
        for after in &new.backends {
            if let Some(before) = old.on(&after.backend) {
                rows.extend(rows_of(workload, new, before, after));
            }
        }
    }
    let courses = courses::rows(base, subject);
    if rows.is_empty() && courses.is_empty() {
        return Err(CompareError::NothingInCommon {
            base: workloads(base),
            subject: workloads(subject),
        });
    }
    adjust(&mut rows);
    Ok(RunComparison {
        base: base.experiment.clone(),
        subject: subject.experiment.clone(),
        rows,
        courses,
        unlike: Vec::new(),
        remarks: remarks(base, subject),
    })
}

fn common_cells<'a>(
    base: &'a Measured,
    subject: &'a Measured,
    in_segments: bool,
) -> Vec<(&'a str, &'a CellSummary, &'a CellSummary)> {
    let mut common = Vec::new();
    // Segments are no independent blocks: nothing is tested over them.
    let wanted =
        |one: &&crate::measured::WorkloadSummary| one.kind.traits().in_segments == in_segments;
    for new in subject.workloads.iter().filter(wanted) {
        let same = |old: &&crate::measured::WorkloadSummary| {
            old.name == new.name && old.kind == new.kind && old.open_load == new.open_load
        };
        let Some(old) = base.workloads.iter().find(same) else {
            continue;
        };
        for cell in &new.cells {
            if let Some(before) = old.cells.iter().find(|before| before.levels == cell.levels) {
                common.push((new.name.as_str(), before, cell));
            }
        }
    }
    common
}

fn rows_of(
    workload: &str,
    cell: &CellSummary,
    before: &CellBackend,
    after: &CellBackend,
) -> Vec<RunRow> {
    let mut rows = Vec::new();
    for (operation, ours) in &after.operations {
        let Some(theirs) = before.operations.get(operation) else {
            continue;
        };
        for metric in Metric::ALL {
            // One seed for both directions, whichever run's: only then are they exact inverses.
            let Some(paired) =
                paired::compare(&pairs(&ours.blocks, &theirs.blocks, metric), 1, ALPHA)
            else {
                continue;
            };
            rows.push(RunRow {
                workload: workload.to_owned(),
                cell: cell.label.clone(),
                backend: after.backend.clone(),
                comparison: Comparison {
                    operation: operation.clone(),
                    metric,
                    subject: "subject".to_owned(),
                    base: "base".to_owned(),
                    adjusted_p: round(paired.p_value),
                    estimate: estimate(&paired, MARGIN),
                    censored: Censored::of(metric, &ours.blocks, &theirs.blocks),
                    finding: Finding::NotShown,
                },
            });
        }
    }
    rows
}

/// Holm over everything that is compared: a person scans all of it for differences, and for what stayed the same.
fn adjust(rows: &mut [RunRow]) {
    let mut family: Vec<_> = rows.iter_mut().map(|row| &mut row.comparison).collect();
    judge(&mut family, ALPHA);
}

fn workloads(measured: &Measured) -> String {
    let names: Vec<&str> = measured
        .workloads
        .iter()
        .map(|workload| workload.name.as_str())
        .collect();
    names.join(", ")
}

fn remarks(base: &Measured, subject: &Measured) -> Vec<String> {
    let mut remarks = Vec::new();
    if base.seed != subject.seed {
        remarks.push(format!(
            "The seeds differ ({} and {}), so the blocks ran in another order.",
            base.seed, subject.seed
        ));
    }
    let (old, new) = (&base.environment, &subject.environment);
    for (what, a, b) in [
        (
            "Kubernetes",
            &old.kubernetes_version,
            &new.kubernetes_version,
        ),
        ("Bakeoff", &old.bakeoff_version, &new.bakeoff_version),
        (
            "the generator",
            &old.generator_version,
            &new.generator_version,
        ),
    ] {
        if a != b {
            remarks.push(format!("The version of {what} differs: {a} and {b}."));
        }
    }
    for backend in &subject.backends {
        match base.backend(&backend.name) {
            None => remarks.push(format!("{} is only in the subject.", backend.name)),
            Some(before)
                if before.version != backend.version || before.image_id != backend.image_id =>
            {
                remarks.push(format!(
                    "{} differs: {} and {}.",
                    backend.name, before.version, backend.version
                ));
            }
            Some(_) => {}
        }
    }
    for backend in base
        .backends
        .iter()
        .filter(|backend| subject.backend(&backend.name).is_none())
    {
        remarks.push(format!("{} is only in the base.", backend.name));
    }
    let cells = |measured: &Measured| {
        measured
            .workloads
            .iter()
            .map(|workload| workload.cells.len())
            .sum::<usize>()
    };
    let common = [false, true].map(|courses| common_cells(base, subject, courses).len());
    let common: usize = common.iter().sum();
    for (name, count) in [("base", cells(base)), ("subject", cells(subject))] {
        if count > common {
            remarks.push(format!("{} cells are only in the {name}.", count - common));
        }
    }
    remarks.extend(without_a_trial(base, subject));
    for (name, measured) in [("base", base), ("subject", subject)] {
        if !measured.ending.is_complete() {
            remarks.push(format!(
                "The {name} did not complete ({}).",
                measured.ending.as_str()
            ));
        }
    }
    remarks
}

/// What both runs were to measure and at least one has no valid trial of: nothing else would say that it is not among the rows.
fn without_a_trial(base: &Measured, subject: &Measured) -> Vec<String> {
    let mut remarks = Vec::new();
    let kinds = [false, true].map(|in_segments| common_cells(base, subject, in_segments));
    for (workload, old, new) in kinds.into_iter().flatten() {
        for after in &new.backends {
            let Some(before) = old.on(&after.backend) else {
                continue;
            };
            let whose = match (before.blocks, after.blocks) {
                (0, 0) => "either run",
                (0, _) => "the base",
                (_, 0) => "the subject",
                _ => continue,
            };
            remarks.push(format!(
                "{workload} {} on {} is not compared: no valid trial in {whose}.",
                new.label, after.backend
            ));
        }
    }
    remarks
}

/// The comparison as a Markdown table, for a terminal and for a pull request.
#[must_use]
pub fn markdown(comparison: &RunComparison) -> String {
    let mut text = format!("# {} against {}\n\n", comparison.subject, comparison.base);
    if !comparison.unlike.is_empty() {
        let _ = writeln!(
            text,
            "**The two were not loaded alike, so no difference below says anything of the backends** (--force): {}.\n",
            comparison.unlike.join("; ")
        );
    }
    let (shown, same): (Vec<&RunRow>, Vec<&RunRow>) =
        comparison.rows.iter().partition(|row| row.differs());
    if !comparison.rows.is_empty() {
        let _ = writeln!(
            text,
            "{} of {} figures differ after Holm over all of them; they come first. A ratio is the figure of the subject ({}) over that of \
         the base ({}).\n",
            shown.len(),
            comparison.rows.len(),
            comparison.subject,
            comparison.base
        );
    }
    if let Some(reach) = reach(&comparison.rows) {
        let _ = writeln!(text, "{reach}\n");
    }
    let ratios = comparison.rows.iter().map(|row| row.comparison.censored);
    let courses = comparison.courses.iter().map(|row| row.pair.censored);
    if ratios.chain(courses).any(|censored| censored.is_some()) {
        let _ = writeln!(text, "{BOUNDS}\n");
    }
    for remark in &comparison.remarks {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "- {remark}");
    }
    if comparison.rows.is_empty() {
        text.push_str(&courses::markdown(&comparison.courses));
        return text;
    }
    if !comparison.remarks.is_empty() {
        text.push('\n');
    }
    let _ = writeln!(
        text,
        "| Cell | Backend | Operation | Figure | Ratio | 95 % interval | p (Holm) | Detectable | Blocks | Finding |"
    );
    let _ = writeln!(
        text,
        "| --- | --- | --- | --- | ---: | ---: | ---: | ---: | ---: | --- |"
    );
    for row in shown.into_iter().chain(same) {
        let estimate = &row.comparison.estimate;
        let interval = match (estimate.low, estimate.high) {
            (Some(low), Some(high)) => format!("{} – {}", format::ratio(low), format::ratio(high)),
            _ => "–".to_owned(),
        };
        let metric = row.comparison.metric;
        let sign = row
            .comparison
            .censored
            .map_or("", |c| c.sign(metric.more_is_better()));
        let _ = writeln!(
            text,
            "| {} {} | {} | {} | {} | {sign}{} | {interval} | {} | {} | {} | {} |",
            row.workload,
            row.cell,
            row.backend,
            row.comparison.operation,
            metric.as_str(),
            format::ratio(estimate.ratio),
            format::p_value(row.comparison.adjusted_p),
            estimate
                .detectable
                .map_or_else(|| "–".to_owned(), format::ratio),
            estimate.blocks,
            row.comparison.finding.describe("subject", "base"),
        );
    }
    text.push_str(&courses::markdown(&comparison.courses));
    text
}

/// What so few blocks cannot show, where that is so.
fn reach(rows: &[RunRow]) -> Option<String> {
    let blocks = rows
        .iter()
        .map(|row| row.comparison.estimate.blocks)
        .max()?;
    let needed = power::least_blocks(ALPHA / rows.len() as f64);
    (usize::try_from(blocks).unwrap_or(0) < needed).then(|| {
        format!(
            "With {blocks} blocks no single one of {} figures can differ after that correction, whatever they are: it takes {needed} blocks. \"Detectable\" is what one figure by itself would have shown.",
            rows.len()
        )
    })
}

#[cfg(test)]
mod tests;
