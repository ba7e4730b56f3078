//! From raw records to a summary.

use std::collections::{BTreeMap, BTreeSet};

use bakeoff_crds::result::{EncodedHistogram, OperationRecord, TRIAL_SCHEMA, TrialRecord, Verdict};
use bakeoff_crds::run::Manifest;
use bakeoff_crds::schedule::{self, Trial};
use bakeoff_crds::spec::{Workload, WorkloadKind, WorkloadSpec};
use bakeoff_crds::status::TrialCounts;
use hdrhistogram::Histogram;

use super::{
    BackendSummary, BlockFigure, CellBackend, CellSummary, CheckSummary, Comparison, Drift,
    EnvironmentSummary, Estimate, ExcludedTrial, FigurePoint, FigureSummary, Finding,
    GeneratorSummary, LoadSummary, Metric, ObjectiveResult, OperationSummary, Percentiles,
    SUMMARY_SCHEMA, SpectrumPoint, Summary, WorkloadSummary,
};
use crate::merge::{self, MergeError};
use crate::stats::{self, ALPHA, multiple, paired, tail, trend};
use crate::{decision, objective, vocabulary};

/// Quantiles of the latency spectrum: even steps in the number of nines.
const SPECTRUM: [f64; 22] = [
    0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.975, 0.99, 0.995, 0.9975, 0.999,
    0.9995, 0.99975, 0.9999, 0.99995, 0.99999, 0.999_999,
];

/// The raw data of one run.
#[derive(Clone, Copy, Debug)]
pub struct RunData<'a> {
    /// `manifest.json`.
    pub manifest: &'a Manifest,
    /// Every attempt that ended, in any order.
    pub records: &'a [TrialRecord],
    /// Attempts that a lost generator left unfinished.
    pub interrupted: &'a [Interrupted],
}

/// An attempt that a lost generator left unfinished. Nothing of it is merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interrupted {
    /// What was planned.
    pub trial: Trial,
    /// The attempt, from 1.
    pub attempt: i32,
}

/// Why raw data cannot be summarised.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SummaryError {
    /// A record of a schema that this version does not read.
    #[error("trial {trial} has the schema {found:?}, but this version reads {TRIAL_SCHEMA:?}")]
    Schema {
        /// The id of the trial.
        trial: String,
        /// The schema it carries.
        found: String,
    },
    /// A record that the schedule of the manifest does not hold: data of another run.
    #[error("trial {0} is not in the schedule of the manifest: it belongs to another spec or seed")]
    ForeignTrial(String),
    /// Two records of one attempt.
    #[error("trial {trial} has two records of attempt {attempt}")]
    Duplicate {
        /// The id of the trial.
        trial: String,
        /// The attempt.
        attempt: i32,
    },
    /// A histogram cannot be read or added.
    #[error("trial {trial}, operation {operation}: {source}")]
    Histogram {
        /// The id of the trial.
        trial: String,
        /// The operation.
        operation: String,
        /// What is wrong with it.
        source: MergeError,
    },
}

impl SummaryError {
    /// A short word for conditions, events and metric labels.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Schema { .. } => "TrialSchemaUnknown",
            Self::ForeignTrial(_) => "ForeignTrial",
            Self::Duplicate { .. } => "DuplicateTrial",
            Self::Histogram { source, .. } => source.reason(),
        }
    }
}

/// Summarises a run, evaluates its objectives and applies its decision rule.
///
/// Of each trial the first valid attempt counts; no two attempts are ever merged. The order of the
/// records does not matter.
///
/// # Errors
/// When a record has an unknown schema, belongs to another run, occurs twice or holds a histogram
/// that cannot be added: a summary that left it out would be wrong in silence.
pub fn summarise(data: &RunData<'_>) -> Result<Summary, SummaryError> {
    let plan = &data.manifest.plan;
    let spec = &plan.spec;
    let scheduled = schedule::trials(spec);
    let mut records: Vec<&TrialRecord> = data.records.iter().collect();
    records.sort_by_key(|record| (record.trial.index, record.attempt));
    check_records(&records, &scheduled)?;
    let valid = valid_attempts(&records);
    let seed = spec.seed.unsigned_abs();
    let margin = spec
        .decision
        .as_ref()
        .map_or(10, |decision| decision.margin_percent);
    let margin = (f64::from(margin) / 100.0).ln_1p();

    let names: Vec<&str> = spec
        .backends
        .iter()
        .map(|backend| backend.name.as_str())
        .collect();
    let mut workloads = Vec::new();
    for workload in &spec.workloads {
        let Some(kind) = workload.kind() else {
            continue;
        };
        let own: Vec<&TrialRecord> = valid
            .iter()
            .copied()
            .filter(|record| record.trial.workload == workload.name)
            .collect();
        let mut cells = Vec::new();
        for (index, levels) in (0_i32..).zip(schedule::cells(workload)) {
            let mut backends = Vec::new();
            for backend in &names {
                let trials: Vec<&TrialRecord> = own
                    .iter()
                    .copied()
                    .filter(|record| {
                        record.trial.cell_index == index && record.trial.backend == *backend
                    })
                    .collect();
                backends.push(cell_on_backend(backend, &trials, seed)?);
            }
            let label: Vec<String> = levels
                .iter()
                .map(|(factor, level)| format!("{factor}={level}"))
                .collect();
            let comparisons = compare_cell(&backends, margin, seed);
            cells.push(CellSummary {
                index,
                levels,
                label: label.join(" "),
                backends,
                comparisons,
            });
        }
        adjust(&mut cells);
        let judged: Vec<&TrialRecord> = own
            .into_iter()
            .filter(|record| !record.trial.is_control())
            .collect();
        workloads.push(WorkloadSummary {
            name: workload.name.clone(),
            kind,
            open_load: is_open(workload),
            cells,
            checks: checks(&judged, &names),
        });
    }

    let mut summary = Summary {
        schema_version: SUMMARY_SCHEMA.to_owned(),
        experiment: plan.experiment.prefix(),
        result_class: spec.result_class,
        seed: spec.seed,
        started_at: data.manifest.started_at.to_string(),
        ending: data
            .manifest
            .ending
            .as_ref()
            .map_or_else(|| "Running".to_owned(), |ending| ending.reason.clone()),
        trials: counts(scheduled.len(), &records, data.interrupted),
        backends: plan
            .backends
            .iter()
            .map(|backend| backend_summary(data.manifest, backend, &valid))
            .collect(),
        workloads,
        excluded: excluded(&records, data.interrupted, &valid),
        generators: names
            .iter()
            .map(|name| generator(name, &valid))
            .collect::<Result<_, _>>()?,
        environment: environment(data.manifest),
        objectives: Vec::new(),
        decision: None,
    };
    summary.decision = spec
        .decision
        .as_ref()
        .map(|decision| decision::decide(decision, spec, &summary));
    summary.objectives = spec
        .objectives
        .iter()
        .map(|objective| {
            let (met, detail) = objective::judge(&objective.expression, spec, &summary);
            ObjectiveResult {
                name: objective.name.clone(),
                expression: objective.expression.clone(),
                met,
                detail,
            }
        })
        .collect();
    Ok(summary)
}

fn is_open(workload: &Workload) -> bool {
    match workload.member() {
        Some(WorkloadSpec::SmallObjectPut(put)) => put.load.open.is_some(),
        Some(WorkloadSpec::Batching(_)) => true,
        Some(WorkloadSpec::HeadRow(head)) => head.open_loop(),
        Some(
            WorkloadSpec::ColdRead(_) | WorkloadSpec::Consistency(_) | WorkloadSpec::CasRace(_),
        )
        | None => false,
    }
}

fn check_records(records: &[&TrialRecord], scheduled: &[Trial]) -> Result<(), SummaryError> {
    let known: BTreeMap<&str, &Trial> = scheduled
        .iter()
        .map(|trial| (trial.id.as_str(), trial))
        .collect();
    let mut seen = BTreeSet::new();
    for record in records {
        let trial = record.trial.id.clone();
        if record.schema_version != TRIAL_SCHEMA {
            return Err(SummaryError::Schema {
                trial,
                found: record.schema_version.clone(),
            });
        }
        if known
            .get(record.trial.id.as_str())
            .is_none_or(|planned| **planned != record.trial)
        {
            return Err(SummaryError::ForeignTrial(trial));
        }
        if !seen.insert((record.trial.index, record.attempt)) {
            return Err(SummaryError::Duplicate {
                trial,
                attempt: record.attempt,
            });
        }
    }
    Ok(())
}

/// The first valid attempt at each trial, in the order of the schedule.
fn valid_attempts<'a>(records: &[&'a TrialRecord]) -> Vec<&'a TrialRecord> {
    let mut taken = BTreeSet::new();
    records
        .iter()
        .copied()
        .filter(|record| record.verdict.is_valid() && taken.insert(record.trial.index))
        .collect()
}

fn counts(planned: usize, records: &[&TrialRecord], interrupted: &[Interrupted]) -> TrialCounts {
    let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    let done: BTreeSet<i32> = records.iter().map(|record| record.trial.index).collect();
    TrialCounts {
        planned: count(planned),
        done: count(done.len()),
        invalid: count(
            records
                .iter()
                .filter(|record| !record.verdict.is_valid())
                .count(),
        ),
        repeated: count(records.len() - done.len()),
        interrupted: count(interrupted.len()),
    }
}

fn excluded(
    records: &[&TrialRecord],
    interrupted: &[Interrupted],
    valid: &[&TrialRecord],
) -> Vec<ExcludedTrial> {
    let good: BTreeSet<i32> = valid.iter().map(|record| record.trial.index).collect();
    let entry = |trial: &Trial, attempt, codes, details, violations| {
        let excluded = ExcludedTrial {
            trial: trial.id.clone(),
            attempt,
            describe: trial.describe(),
            backend: trial.backend.clone(),
            codes,
            details,
            violations,
            made_good: good.contains(&trial.index),
        };
        ((trial.index, attempt), excluded)
    };
    let mut list: Vec<((i32, i32), ExcludedTrial)> = Vec::new();
    for record in records {
        if let Verdict::Invalid(reasons) = &record.verdict {
            let codes = reasons
                .iter()
                .map(|reason| reason.code.as_str().to_owned())
                .collect();
            let details = reasons.iter().map(|reason| reason.detail.clone()).collect();
            let violations = if record.trial.is_control() {
                0
            } else {
                record.checks.iter().map(|check| check.violations).sum()
            };
            list.push(entry(
                &record.trial,
                record.attempt,
                codes,
                details,
                violations,
            ));
        }
    }
    for lost in interrupted {
        let detail = "the generator was lost before the trial ended".to_owned();
        list.push(entry(
            &lost.trial,
            lost.attempt,
            vec!["Interrupted".to_owned()],
            vec![detail],
            0,
        ));
    }
    list.sort_by_key(|(key, _)| *key);
    list.into_iter().map(|(_, excluded)| excluded).collect()
}

fn cell_on_backend(
    backend: &str,
    trials: &[&TrialRecord],
    seed: u64,
) -> Result<CellBackend, SummaryError> {
    let window_seconds: f64 = trials.iter().map(|record| seconds(record)).sum();
    let rate = |count: f64| {
        if window_seconds > 0.0 {
            stats::round(count / window_seconds)
        } else {
            0.0
        }
    };
    let mut load = LoadSummary::default();
    let mut offered = 0.0;
    for record in trials {
        load.planned += record.load.planned;
        load.completed += record.load.completed;
        load.failed += record.load.failed;
        load.unfinished += record.load.unfinished;
        load.not_started += record.load.not_started;
        offered += record.load.offered_per_second * seconds(record);
    }
    load.offered_per_second = rate(offered);
    load.achieved_per_second = rate(load.completed as f64);

    let names: BTreeSet<&String> = trials
        .iter()
        .flat_map(|record| record.operations.keys())
        .collect();
    let mut operations = BTreeMap::new();
    for name in names {
        operations.insert(name.clone(), operation(name, trials, window_seconds)?);
    }
    let mut counters: BTreeMap<String, i64> = BTreeMap::new();
    for (name, value) in trials.iter().flat_map(|record| &record.counters) {
        let sum = counters.entry(name.clone()).or_default();
        *sum = vocabulary::add_counter(name, *sum, *value);
    }
    let completed_by_second = by_second(trials);
    Ok(CellBackend {
        backend: backend.to_owned(),
        blocks: i32::try_from(trials.len()).unwrap_or(i32::MAX),
        window_seconds: stats::round(window_seconds),
        load,
        operations,
        counters,
        checks: if trials
            .iter()
            .any(|record| record.trial.kind == WorkloadKind::CasRace)
        {
            checks(trials, &[backend])
        } else {
            Vec::new()
        },
        figures: figures(trials),
        drift: drift(&completed_by_second, seed),
        completed_by_second,
    })
}

/// The figures that trials state of their windows. The block is the unit, as everywhere.
fn figures(trials: &[&TrialRecord]) -> BTreeMap<String, FigureSummary> {
    let mut blocks: BTreeMap<&String, Vec<FigurePoint>> = BTreeMap::new();
    for record in trials {
        for (name, &value) in &record.figures {
            let block = record.trial.block;
            blocks
                .entry(name)
                .or_default()
                .push(FigurePoint { block, value });
        }
    }
    blocks
        .into_iter()
        .map(|(name, blocks)| {
            let values: Vec<f64> = blocks.iter().map(|point| point.value).collect();
            let interval = stats::interval::student(&values, stats::ALPHA);
            let summary = FigureSummary {
                value: stats::round(stats::mean(&values)),
                low: interval.map(|(_, low, _)| stats::round(low)),
                high: interval.map(|(_, _, high)| stats::round(high)),
                blocks,
            };
            (name.clone(), summary)
        })
        .collect()
}

fn seconds(record: &TrialRecord) -> f64 {
    record.window.micros as f64 / 1e6
}

fn operation(
    name: &str,
    trials: &[&TrialRecord],
    window_seconds: f64,
) -> Result<OperationSummary, SummaryError> {
    let mut sums = [start(name)?, start(name)?, start(name)?];
    let (mut count, mut bytes, mut overflow) = (0, 0, 0);
    let mut failures: BTreeMap<String, i64> = BTreeMap::new();
    let mut failure_examples = BTreeMap::new();
    let mut blocks = Vec::new();
    for record in trials {
        let Some(part) = record.operations.get(name) else {
            continue;
        };
        let response = read(record, name, &part.response)?;
        let window = seconds(record);
        if part.count > 0 && window > 0.0 {
            blocks.push(BlockFigure {
                block: record.trial.block,
                per_second: stats::round(part.count as f64 / window),
                p50: micros(response.value_at_quantile(0.5)),
                p99: micros(response.value_at_quantile(0.99)),
            });
        }
        add(record, name, &mut sums[0], response)?;
        add(
            record,
            name,
            &mut sums[1],
            read(record, name, &part.service)?,
        )?;
        add(
            record,
            name,
            &mut sums[2],
            read(record, name, &part.send_lag)?,
        )?;
        count += part.count;
        bytes += part.bytes;
        overflow += part.overflow;
        collect_failures(part, &mut failures, &mut failure_examples);
    }
    let rate = |amount: i64| {
        if window_seconds > 0.0 {
            stats::round(amount as f64 / window_seconds)
        } else {
            0.0
        }
    };
    let [response, service, send_lag] = &sums;
    Ok(OperationSummary {
        count,
        per_second: rate(count),
        bytes_per_second: rate(bytes),
        response: percentiles(response),
        service: percentiles(service),
        send_lag: percentiles(send_lag),
        overflow,
        failures,
        failure_examples,
        spectrum: spectrum(response),
        blocks,
    })
}

fn collect_failures(
    part: &OperationRecord,
    failures: &mut BTreeMap<String, i64>,
    examples: &mut BTreeMap<String, String>,
) {
    for (class, failure) in &part.failures {
        *failures.entry(class.clone()).or_default() += failure.count;
        if !failure.example.is_empty() {
            examples
                .entry(class.clone())
                .or_insert_with(|| failure.example.clone());
        }
    }
}

fn start(operation: &str) -> Result<Histogram<u64>, SummaryError> {
    merge::empty().map_err(|source| SummaryError::Histogram {
        trial: String::new(),
        operation: operation.to_owned(),
        source,
    })
}

fn read(
    record: &TrialRecord,
    operation: &str,
    encoded: &EncodedHistogram,
) -> Result<Histogram<u64>, SummaryError> {
    merge::decode(encoded).map_err(|source| histogram_error(record, operation, source))
}

fn add(
    record: &TrialRecord,
    operation: &str,
    sum: &mut Histogram<u64>,
    part: Histogram<u64>,
) -> Result<(), SummaryError> {
    sum.add(part).map_err(|error| {
        histogram_error(record, operation, MergeError::Internal(error.to_string()))
    })
}

fn histogram_error(record: &TrialRecord, operation: &str, source: MergeError) -> SummaryError {
    SummaryError::Histogram {
        trial: record.trial.id.clone(),
        operation: operation.to_owned(),
        source,
    }
}

fn micros(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn percentiles(histogram: &Histogram<u64>) -> Percentiles {
    let count = histogram.len();
    let at = |quantile: f64| micros(histogram.value_at_quantile(quantile));
    let (p99_low, p99_high) = tail::rank_interval(count, 0.99).map_or((0, 0), |(low, high)| {
        (
            at(low as f64 / count as f64),
            at(high as f64 / count as f64),
        )
    });
    Percentiles {
        p50: at(0.5),
        p90: at(0.9),
        p99: at(0.99),
        p999: (count >= tail::LEAST_FOR_P999).then(|| at(0.999)),
        max: micros(histogram.max()),
        p99_low,
        p99_high,
    }
}

fn spectrum(histogram: &Histogram<u64>) -> Vec<SpectrumPoint> {
    let count = histogram.len() as f64;
    SPECTRUM
        .into_iter()
        // Beyond one operation there is nothing to see but the maximum again.
        .filter(|quantile| count * (1.0 - quantile) >= 1.0)
        .map(|quantile| SpectrumPoint {
            quantile,
            micros: micros(histogram.value_at_quantile(quantile)),
        })
        .collect()
}

fn by_second(trials: &[&TrialRecord]) -> Vec<f64> {
    let mut sums: BTreeMap<i32, (i64, i64)> = BTreeMap::new();
    for point in trials.iter().flat_map(|record| &record.series) {
        let sum = sums.entry(point.second).or_default();
        sum.0 += point.completed;
        sum.1 += 1;
    }
    // The last second of a window that ends with its work is a fraction; blocks without it do not count.
    sums.into_values()
        .map(|(completed, blocks)| stats::round(completed as f64 / blocks as f64))
        .collect()
}

fn drift(completed: &[f64], seed: u64) -> Option<Drift> {
    let points: Vec<(f64, f64)> = (0..)
        .zip(completed)
        .map(|(second, value)| (f64::from(second), *value))
        .collect();
    let median = stats::median(&mut completed.to_vec());
    if median <= 0.0 {
        return None;
    }
    let slope = trend::theil_sen(&points, 0, seed)?;
    let share = |slope: f64| stats::round(slope * completed.len() as f64 / median);
    Some(Drift {
        share: share(slope.slope),
        low: share(slope.low),
        high: share(slope.high),
    })
}

/// Pairs of a figure in the blocks that both have.
pub(crate) fn pairs(
    subject: &[BlockFigure],
    base: &[BlockFigure],
    metric: Metric,
) -> Vec<(f64, f64)> {
    subject
        .iter()
        .filter_map(|ours| {
            let theirs = base.iter().find(|figure| figure.block == ours.block)?;
            Some((metric.of(ours), metric.of(theirs)))
        })
        .collect()
}

/// A ratio as the summary carries it. `margin` is the log-ratio of equivalence.
pub(crate) fn estimate(paired: &paired::Paired, margin: f64) -> Estimate {
    let (low, high) = paired.ratio_interval();
    let bounded = paired.blocks() >= 2;
    Estimate {
        ratio: stats::round(paired.ratio()),
        low: bounded.then(|| stats::round(low)),
        high: bounded.then(|| stats::round(high)),
        p_value: stats::round(paired.p_value),
        equivalence_p: stats::round(stats::equivalence::tost(&paired.log_ratios, margin)),
        blocks: i32::try_from(paired.blocks()).unwrap_or(i32::MAX),
        deviation: stats::round(paired.deviation),
        detectable: paired.detectable.map(|effect| stats::round(effect.exp())),
    }
}

fn compare_cell(backends: &[CellBackend], margin: f64, seed: u64) -> Vec<Comparison> {
    let mut comparisons = Vec::new();
    for (position, subject) in backends.iter().enumerate() {
        for base in &backends[..position] {
            for (operation, ours) in &subject.operations {
                let Some(theirs) = base.operations.get(operation) else {
                    continue;
                };
                for metric in Metric::ALL {
                    let Some(paired) =
                        paired::compare(&pairs(&ours.blocks, &theirs.blocks, metric), seed)
                    else {
                        continue;
                    };
                    comparisons.push(Comparison {
                        operation: operation.clone(),
                        metric,
                        subject: subject.backend.clone(),
                        base: base.backend.clone(),
                        adjusted_p: stats::round(paired.p_value),
                        estimate: estimate(&paired, margin),
                        finding: Finding::NotShown,
                    });
                }
            }
        }
    }
    comparisons
}

/// Holm over the cells of a workload, for each operation, figure and pair, and the findings.
fn adjust(cells: &mut [CellSummary]) {
    let mut families: BTreeMap<(String, Metric, String, String), Vec<&mut Comparison>> =
        BTreeMap::new();
    for comparison in cells.iter_mut().flat_map(|cell| &mut cell.comparisons) {
        let key = (
            comparison.operation.clone(),
            comparison.metric,
            comparison.subject.clone(),
            comparison.base.clone(),
        );
        families.entry(key).or_default().push(comparison);
    }
    for family in families.values_mut() {
        let plain: Vec<f64> = family
            .iter()
            .map(|comparison| comparison.estimate.p_value)
            .collect();
        for (comparison, adjusted) in family.iter_mut().zip(multiple::holm(&plain)) {
            comparison.adjusted_p = stats::round(adjusted);
            comparison.finding = finding(comparison);
        }
    }
}

pub(crate) fn finding(comparison: &Comparison) -> Finding {
    if comparison.adjusted_p <= ALPHA {
        let subject_better =
            (comparison.estimate.ratio > 1.0) == comparison.metric.more_is_better();
        return if subject_better {
            Finding::SubjectBetter
        } else {
            Finding::BaseBetter
        };
    }
    if comparison.estimate.equivalence_p <= ALPHA {
        Finding::Equivalent
    } else {
        Finding::NotShown
    }
}

fn checks(trials: &[&TrialRecord], backends: &[&str]) -> Vec<CheckSummary> {
    let mut sums: BTreeMap<(usize, &str), CheckSummary> = BTreeMap::new();
    for record in trials {
        let Some(position) = backends
            .iter()
            .position(|name| *name == record.trial.backend)
        else {
            continue;
        };
        for check in &record.checks {
            let sum = sums
                .entry((position, check.name.as_str()))
                .or_insert_with(|| CheckSummary {
                    backend: record.trial.backend.clone(),
                    name: check.name.clone(),
                    checked: 0,
                    violations: 0,
                    uncertain: 0,
                    examples: Vec::new(),
                });
            sum.checked += check.checked;
            sum.violations += check.violations;
            sum.uncertain += check.uncertain;
            let room = 10_usize.saturating_sub(sum.examples.len());
            sum.examples
                .extend(check.examples.iter().take(room).cloned());
        }
    }
    sums.into_values().collect()
}

fn generator(backend: &str, valid: &[&TrialRecord]) -> Result<GeneratorSummary, SummaryError> {
    let mut summary = GeneratorSummary {
        backend: backend.to_owned(),
        ..GeneratorSummary::default()
    };
    let mut lag = start("sendLag")?;
    for record in valid
        .iter()
        .filter(|record| record.trial.backend == backend)
    {
        summary.trials += 1;
        let window = record.window.micros.max(1) as f64;
        if record.load.offered_per_second > 0.0 && record.load.planned > 0 {
            let started =
                (record.load.planned - record.load.not_started) as f64 / record.load.planned as f64;
            let started = stats::round(started * 1_000.0);
            summary.started_per_mille = Some(
                summary
                    .started_per_mille
                    .map_or(started, |worst| worst.min(started)),
            );
            for (name, operation) in &record.operations {
                add(
                    record,
                    name,
                    &mut lag,
                    read(record, name, &operation.send_lag)?,
                )?;
            }
        }
        for usage in &record.generators {
            summary.cpu_cores = summary
                .cpu_cores
                .max(stats::round(usage.cpu_micros as f64 / window));
            summary.throttled_per_mille = summary.throttled_per_mille.max(stats::round(
                usage.throttled_micros as f64 / window * 1_000.0,
            ));
            summary.start_skew_micros =
                summary.start_skew_micros.max(usage.start_skew_micros.abs());
            summary.resident_bytes = summary.resident_bytes.max(usage.resident_bytes);
        }
    }
    if !lag.is_empty() {
        summary.send_lag_p50_micros = Some(micros(lag.value_at_quantile(0.5)));
        summary.send_lag_p99_micros = Some(micros(lag.value_at_quantile(0.99)));
    }
    Ok(summary)
}

fn backend_summary(
    manifest: &Manifest,
    backend: &bakeoff_crds::run::ResolvedBackend,
    valid: &[&TrialRecord],
) -> BackendSummary {
    let own = valid
        .iter()
        .filter(|record| record.trial.backend == backend.name);
    let usage: Vec<_> = own
        .filter_map(|record| {
            record
                .backend
                .as_ref()
                .map(|usage| (usage, record.load.completed))
        })
        .collect();
    let cpu: i64 = usage.iter().map(|(usage, _)| usage.cpu_micros).sum();
    let completed: i64 = usage.iter().map(|(_, completed)| completed).sum();
    BackendSummary {
        name: backend.name.clone(),
        kind: backend.kind,
        provisioned: backend.provisioned,
        version: backend.version.clone(),
        image: backend.image.clone(),
        image_id: backend.image_id.clone(),
        durability: backend.durability.clone(),
        node: backend.node.clone(),
        time_to_ready_seconds: backend.time_to_ready_seconds,
        resident_bytes: usage.iter().map(|(usage, _)| usage.resident_bytes).max(),
        cpu_micros: (!usage.is_empty()).then_some(cpu),
        cpu_micros_per_operation: (completed > 0)
            .then(|| stats::round(cpu as f64 / completed as f64)),
        restarts: manifest
            .ending
            .as_ref()
            .and_then(|ending| ending.backend_restarts.get(&backend.name).copied())
            .unwrap_or(0),
        settings: backend.settings.clone(),
        caveats: backend.caveats.clone(),
    }
}

fn environment(manifest: &Manifest) -> EnvironmentSummary {
    let environment = &manifest.plan.environment;
    let machines: BTreeSet<&str> = environment
        .nodes
        .iter()
        .map(|node| node.boot_id.as_str())
        .collect();
    EnvironmentSummary {
        nodes: i32::try_from(environment.nodes.len()).unwrap_or(i32::MAX),
        machines: i32::try_from(machines.len()).unwrap_or(i32::MAX),
        inequalities: environment.inequalities.clone(),
        kubernetes_version: environment.kubernetes_version.clone(),
        bakeoff_version: environment.bakeoff_version.clone(),
        generator_version: manifest.generator_version.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{self, PLAIN, QUICK};

    #[test]
    fn the_order_of_records_does_not_matter_and_the_invalid_attempt_is_shown_not_used() {
        let (manifest, mut records) = sample::phase1_c();
        let data = |records: &[TrialRecord]| {
            summarise(&RunData {
                manifest: &manifest,
                records,
                interrupted: &[],
            })
            .unwrap()
        };
        let forth = data(&records);
        records.reverse();
        let back = data(&records);
        assert_eq!(
            serde_json::to_string(&forth).unwrap(),
            serde_json::to_string(&back).unwrap()
        );
        assert_eq!(forth.trials.planned, forth.trials.done);
        assert_eq!((forth.trials.invalid, forth.trials.repeated), (1, 1));
        assert_eq!(forth.excluded.len(), 1);
        assert!(forth.excluded[0].made_good);
        assert!(
            forth
                .workloads
                .iter()
                .flat_map(|w| &w.cells)
                .flat_map(|c| &c.backends)
                .all(|b| b.blocks == 6)
        );
        let text = serde_json::to_string(&forth).unwrap();
        assert_eq!(serde_json::from_str::<Summary>(&text).unwrap(), forth);
    }

    #[test]
    fn rates_and_counts_are_sums() {
        let spec = sample::spec(2);
        let manifest = sample::manifest(&spec);
        let records = sample::records(&spec, |_| PLAIN);
        let summary = summarise(&RunData {
            manifest: &manifest,
            records: &records,
            interrupted: &[],
        })
        .unwrap();
        let put = &summary.workloads[0].cells[0].backends[0];
        let counted: i64 = records
            .iter()
            .filter(|r| {
                r.trial.workload == "put" && r.trial.cell_index == 0 && r.trial.backend == "minio"
            })
            .map(|r| r.operations["put"].count)
            .sum();
        assert_eq!(put.operations["put"].count, counted);
        assert!((put.operations["put"].per_second - counted as f64 / 40.0).abs() < 0.01);
        assert_eq!(put.operations["put"].blocks.len(), 2);
    }

    #[test]
    fn exchanging_the_backends_inverts_every_ratio() {
        let mut spec = sample::spec(6);
        let run = |spec: &bakeoff_crds::ExperimentSpec| {
            let manifest = sample::manifest(spec);
            let records = sample::records(spec, |name| if name == "minio" { PLAIN } else { QUICK });
            summarise(&RunData {
                manifest: &manifest,
                records: &records,
                interrupted: &[],
            })
            .unwrap()
        };
        let forth = run(&spec);
        spec.backends.reverse();
        let back = run(&spec);
        let both = forth.workloads[0]
            .cells
            .iter()
            .zip(&back.workloads[0].cells);
        for (a, b) in both.flat_map(|(a, b)| a.comparisons.iter().zip(&b.comparisons)) {
            assert_eq!((&a.subject, &a.base), (&b.base, &b.subject));
            assert!((a.estimate.ratio * b.estimate.ratio - 1.0).abs() < 1e-5);
            assert_eq!(a.estimate.p_value, b.estimate.p_value);
            assert_eq!(a.estimate.detectable, b.estimate.detectable);
        }
    }

    #[test]
    fn refuses_data_of_another_run_and_of_another_schema() {
        let (manifest, records) = sample::phase1_c();
        let reason = |change: &dyn Fn(&mut TrialRecord)| {
            let mut changed = records.clone();
            change(&mut changed[0]);
            summarise(&RunData {
                manifest: &manifest,
                records: &changed,
                interrupted: &[],
            })
            .unwrap_err()
            .reason()
        };
        assert_eq!(
            reason(&|r| r.schema_version = "trial/v9".into()),
            "TrialSchemaUnknown"
        );
        assert_eq!(reason(&|r| r.trial.id = "b99-other".into()), "ForeignTrial");
        assert_eq!(reason(&|r| r.trial.block += 1), "ForeignTrial");
        assert_eq!(
            reason(&|r| r
                .operations
                .values_mut()
                .for_each(|o| o.response.0 = "?".into())),
            "HistogramUnreadable"
        );
        let mut twice = records.clone();
        twice.push(records[0].clone());
        let error = summarise(&RunData {
            manifest: &manifest,
            records: &twice,
            interrupted: &[],
        })
        .unwrap_err();
        assert_eq!(error.reason(), "DuplicateTrial");
    }

    #[test]
    fn a_run_without_any_record_is_summarised_and_decides_nothing() {
        let spec = sample::spec(6);
        let manifest = sample::manifest(&spec);
        let summary = summarise(&RunData {
            manifest: &manifest,
            records: &[],
            interrupted: &[],
        })
        .unwrap();
        assert!(summary.objectives.iter().all(|objective| !objective.met));
        let decision = summary.decision.unwrap();
        assert_eq!(
            decision.outcome,
            bakeoff_crds::status::DecisionOutcome::Inconclusive
        );
    }

    #[test]
    fn the_schema_is_publishable() {
        let schema = super::super::json_schema();
        assert_eq!(schema["title"], "Summary");
    }
}
