//! From what generators measured to the record of a trial: merging and the verdict. (Pure.)

use std::collections::BTreeMap;

use bakeoff_analysis::vocabulary;
use bakeoff_crds::result::{
    CheckRecord, Finding, FindingCode, GeneratorUsage, InvalidCode, InvalidReason, LoadCounts,
    OperationRecord, SecondPoint, Verdict,
};
use bakeoff_crds::spec::Validity;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use serde::{Deserialize, Serialize};

use crate::record::{RecordError, decode, encode, histogram};
use crate::workloads::Part;

/// What one generator contributes to a trial: `part-<index>.json` in the attempt's folder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PartRecord {
    /// Operations of the window.
    pub load: LoadCounts,
    /// Latencies by kind.
    pub operations: BTreeMap<String, OperationRecord>,
    /// Counts of the workload.
    pub counters: BTreeMap<String, i64>,
    /// Checks.
    pub checks: Vec<CheckRecord>,
    /// One point a second.
    pub series: Vec<SecondPoint>,
    /// What the generator used.
    pub usage: GeneratorUsage,
    /// The length of its window, microseconds.
    pub window_micros: i64,
    /// The kind of operation whose lag judges the generator; empty in a closed load.
    pub judged_kind: String,
    /// Operations of the window that the plan holds; 0 in a closed load.
    pub expected: i64,
    /// The kind of operation whose seconds make the series.
    pub series_kind: String,
}

fn count(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

impl PartRecord {
    /// The record of a part; `index` and `node` name the generator.
    #[must_use]
    pub fn new(part: &Part, index: usize, node: &str) -> Self {
        let micros = count(part.window.1.saturating_sub(part.window.0) / 1_000);
        let counts = part.counts;
        Self {
            load: LoadCounts {
                planned: count(counts.planned()),
                completed: count(counts.completed),
                failed: count(counts.failed),
                unfinished: count(counts.unfinished),
                not_started: count(counts.not_started),
                offered_per_second: part.offered_per_second,
                achieved_per_second: per_second(count(counts.completed), micros),
            },
            operations: part.recorded.operations.clone(),
            counters: part.recorded.counters.clone(),
            checks: part.checks.clone(),
            series: part.recorded.series.clone(),
            usage: GeneratorUsage {
                index: i32::try_from(index).unwrap_or(i32::MAX),
                node: node.to_owned(),
                cpu_micros: count(part.usage.cpu / 1_000),
                throttled_periods: count(part.usage.throttled_periods),
                throttled_micros: count(part.usage.throttled / 1_000),
                start_skew_micros: count(part.start_skew / 1_000),
                resident_bytes: count(part.usage.resident),
                pacer_lateness_p99_micros: count(counts.pacer_lateness),
            },
            expected: count(counts.expected),
            window_micros: micros,
            judged_kind: if part.open_loop {
                part.planned_kind.to_owned()
            } else {
                String::new()
            },
            series_kind: part.series_kind().to_owned(),
        }
    }
}

fn per_second(completed: i64, micros: i64) -> f64 {
    if micros <= 0 {
        0.0
    } else {
        completed as f64 * 1e6 / micros as f64
    }
}

/// Adds the parts of several generators. Counts add up and histograms add up; the rates of equal
/// windows add up; percentiles of the series come from the interval logs, because percentiles
/// cannot be added.
///
/// # Errors
/// When a histogram or log cannot be read.
pub fn merge(parts: &[PartRecord], logs: &[Vec<u8>]) -> Result<PartRecord, RecordError> {
    let mut parts_left = parts.iter();
    let Some(first) = parts_left.next() else {
        return Ok(PartRecord::default());
    };
    let mut whole = first.clone();
    for part in parts_left {
        let (a, b) = (&mut whole.load, &part.load);
        a.planned += b.planned;
        a.completed += b.completed;
        a.failed += b.failed;
        a.unfinished += b.unfinished;
        a.not_started += b.not_started;
        a.offered_per_second += b.offered_per_second;
        a.achieved_per_second += b.achieved_per_second;
        whole.expected += part.expected;
        whole.window_micros = whole.window_micros.max(part.window_micros);
        for (kind, operation) in &part.operations {
            match whole.operations.get_mut(kind) {
                Some(known) => add_operation(known, operation)?,
                None => {
                    whole.operations.insert(kind.clone(), operation.clone());
                }
            }
        }
        for (name, value) in &part.counters {
            let sum = whole.counters.entry(name.clone()).or_default();
            *sum = vocabulary::add_counter(name, *sum, *value);
        }
        for check in &part.checks {
            match whole
                .checks
                .iter_mut()
                .find(|known| known.name == check.name)
            {
                Some(known) => {
                    known.checked += check.checked;
                    known.violations += check.violations;
                    known.uncertain += check.uncertain;
                    known.examples.extend(check.examples.iter().cloned());
                    known.examples.truncate(10);
                }
                None => whole.checks.push(check.clone()),
            }
        }
    }
    if parts.len() > 1 {
        whole.series = merge_series(parts, logs, &first.series_kind)?;
    }
    Ok(whole)
}

fn add_operation(known: &mut OperationRecord, more: &OperationRecord) -> Result<(), RecordError> {
    known.response = add(&known.response, &more.response)?;
    known.service = add(&known.service, &more.service)?;
    if !(known.send_lag.0.is_empty() && more.send_lag.0.is_empty()) {
        known.send_lag = add(&known.send_lag, &more.send_lag)?;
        known.generator_lag = add(&known.generator_lag, &more.generator_lag)?;
    }
    known.queued += more.queued;
    known.count += more.count;
    known.bytes += more.bytes;
    known.overflow += more.overflow;
    for (class, failure) in &more.failures {
        match known.failures.get_mut(class) {
            Some(same) => {
                same.count += failure.count;
                same.response = add(&same.response, &failure.response)?;
            }
            None => {
                known.failures.insert(class.clone(), failure.clone());
            }
        }
    }
    Ok(())
}

fn add(
    a: &bakeoff_crds::result::EncodedHistogram,
    b: &bakeoff_crds::result::EncodedHistogram,
) -> Result<bakeoff_crds::result::EncodedHistogram, RecordError> {
    let mut sum = decode(a)?;
    sum.add(decode(b)?)
        .map_err(|error| RecordError::Decode(error.to_string()))?;
    encode(&sum)
}

fn merge_series(
    parts: &[PartRecord],
    logs: &[Vec<u8>],
    kind: &str,
) -> Result<Vec<SecondPoint>, RecordError> {
    let mut points: BTreeMap<i32, SecondPoint> = BTreeMap::new();
    for point in parts.iter().flat_map(|part| &part.series) {
        let sum = points.entry(point.second).or_insert(SecondPoint {
            second: point.second,
            ..Default::default()
        });
        sum.completed += point.completed;
        sum.failed += point.failed;
    }
    let mut seconds: BTreeMap<i32, Histogram<u64>> = BTreeMap::new();
    for (second, histogram_of_log) in logs.iter().flat_map(|log| intervals(log, kind)) {
        let histogram_of_log = histogram_of_log?;
        match seconds.get_mut(&second) {
            Some(sum) => sum
                .add(histogram_of_log)
                .map_err(|error| RecordError::Decode(error.to_string()))?,
            None => {
                let mut sum = histogram()?;
                sum.add(histogram_of_log)
                    .map_err(|error| RecordError::Decode(error.to_string()))?;
                seconds.insert(second, sum);
            }
        }
    }
    for (second, histogram) in seconds {
        if let Some(point) = points.get_mut(&second) {
            point.p50_micros = count(histogram.value_at_quantile(0.5));
            point.p99_micros = count(histogram.value_at_quantile(0.99));
        }
    }
    Ok(points.into_values().collect())
}

/// The histograms of one kind in an interval log, with their second.
fn intervals(log: &[u8], kind: &str) -> Vec<(i32, Result<Histogram<u64>, RecordError>)> {
    use base64::Engine;
    IntervalLogIterator::new(log)
        .filter_map(|entry| match entry {
            Ok(LogEntry::Interval(interval))
                if interval.tag().is_some_and(|tag| tag.as_str() == kind) =>
            {
                let second =
                    i32::try_from(interval.start_timestamp().as_secs()).unwrap_or(i32::MAX);
                let histogram = base64::engine::general_purpose::STANDARD
                    .decode(interval.encoded_histogram())
                    .map_err(|error| RecordError::Decode(error.to_string()))
                    .and_then(|bytes| {
                        Deserializer::new()
                            .deserialize(&mut bytes.as_slice())
                            .map_err(|error| RecordError::Decode(format!("{error:?}")))
                    });
                Some((second, histogram))
            }
            _ => None,
        })
        .collect()
}

/// What else decides whether a trial may be used.
#[derive(Clone, Debug, Default)]
pub struct Circumstances {
    /// Reasons found outside the parts: a restart, a missing generator, a failed preparation.
    pub reasons: Vec<InvalidReason>,
    /// What each generator used.
    pub generators: Vec<GeneratorUsage>,
}

/// Whether the figures of a trial may be used, and if not, every reason why. Only what the generator or
/// the surroundings did voids a trial; what the backend did is its result, see [`findings`].
///
/// # Errors
/// When the generator's lag cannot be decoded.
pub fn verdict(
    whole: &PartRecord,
    circumstances: Circumstances,
    bounds: &Validity,
) -> Result<Verdict, RecordError> {
    let mut reasons = circumstances.reasons;
    let mut add = |code, detail: String| reasons.push(InvalidReason { code, detail });
    let load = &whole.load;
    if load.planned == 0 {
        add(
            InvalidCode::NoOperations,
            "no operation was due in the window".into(),
        );
    }
    if !whole.judged_kind.is_empty() && whole.expected != load.planned {
        let detail = format!(
            "the plan holds {} operations for the window and {} are accounted for: the pacer did not keep it",
            whole.expected, load.planned
        );
        add(InvalidCode::PlanNotKept, detail);
    }
    let lag_bound = i64::from(bounds.max_send_lag_p99_microseconds);
    if let Some(operation) = whole.operations.get(&whole.judged_kind) {
        let lag = count(decode(&operation.generator_lag)?.value_at_quantile(0.99));
        if lag > lag_bound {
            let detail = format!(
                "p99 of the generator's lag is {lag} µs, at most {lag_bound} µs are allowed: give generators a core \
                 that nothing else uses"
            );
            add(InvalidCode::SendLag, detail);
        }
    }
    let per_mille = |micros: i64| micros.saturating_mul(1_000) / whole.window_micros.max(1);
    for generator in &circumstances.generators {
        let index = generator.index;
        let late = generator.pacer_lateness_p99_micros;
        if late > lag_bound {
            let detail = format!(
                "p99 of how late the pacer of generator {index} was is {late} µs, at most {lag_bound} µs are allowed"
            );
            add(InvalidCode::SendLag, detail);
        }
        let throttled = per_mille(generator.throttled_micros);
        if throttled > i64::from(bounds.max_throttled_per_mille) {
            let detail = format!(
                "generator {index} was throttled by its CPU limit for {throttled} ‰ of the window, at most {} ‰ are \
                 allowed: give generators more CPU",
                bounds.max_throttled_per_mille
            );
            add(InvalidCode::GeneratorThrottled, detail);
        }
        let busy = per_mille(generator.cpu_micros);
        if busy > i64::from(bounds.max_generator_cpu_per_mille) {
            let detail = format!(
                "generator {index} used {busy} ‰ of a core, at most {} ‰ are allowed: it runs on one thread, so take \
                 more generators or less load",
                bounds.max_generator_cpu_per_mille
            );
            add(InvalidCode::GeneratorSaturated, detail);
        }
    }
    Ok(if reasons.is_empty() {
        Verdict::Valid
    } else {
        Verdict::Invalid(reasons)
    })
}

/// What a trial says against its backend.
#[must_use]
pub fn findings(whole: &PartRecord, bounds: &Validity) -> Vec<Finding> {
    let load = &whole.load;
    let share = |part: i64| part.saturating_mul(1_000) / load.planned.max(1);
    let mut findings = Vec::new();
    if load.failed.saturating_mul(1_000) > i64::from(bounds.max_failed_per_mille) * load.planned {
        let detail = format!(
            "{} of {} operations failed, {} ‰; at most {} ‰ may",
            load.failed,
            load.planned,
            share(load.failed),
            bounds.max_failed_per_mille
        );
        findings.push(Finding {
            code: FindingCode::Failing,
            detail,
        });
    }
    let started = load.planned - load.not_started;
    if !whole.judged_kind.is_empty()
        && started.saturating_mul(1_000) < i64::from(bounds.min_started_per_mille) * load.planned
    {
        let detail = format!(
            "{started} of {} planned operations were started, {} ‰; at least {} ‰ should: the rate is beyond what \
             the backend sustains over its connections",
            load.planned,
            share(started),
            bounds.min_started_per_mille
        );
        findings.push(Finding {
            code: FindingCode::Overloaded,
            detail,
        });
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SECOND;
    use crate::record::{Recorder, Sample};

    fn part(latencies: &[u64], lag: u64) -> (PartRecord, Vec<u8>) {
        let mut recorder =
            Recorder::new(0, 2 * SECOND, 0, true, &["put"], Default::default()).unwrap();
        for (index, latency) in latencies.iter().enumerate() {
            let planned = (index as u64 % 2) * SECOND;
            let sent = planned + lag * 1_000;
            let sample = Sample {
                queued: false,
                member: planned,
                planned,
                sent,
                ended: sent + latency * 1_000,
                bytes: 1,
            };
            recorder.success("put", sample);
        }
        let recorded = recorder.finish().unwrap();
        let completed = count(latencies.len() as u64);
        let record = PartRecord {
            load: LoadCounts {
                planned: completed,
                completed,
                ..Default::default()
            },
            operations: recorded.operations,
            series: recorded.series,
            window_micros: 2_000_000,
            expected: completed,
            judged_kind: "put".into(),
            series_kind: "put".into(),
            ..Default::default()
        };
        (record, recorded.intervals)
    }

    fn codes(whole: &PartRecord, circumstances: Circumstances) -> Vec<InvalidCode> {
        match verdict(whole, circumstances, &Validity::default()).unwrap() {
            Verdict::Valid => vec![],
            Verdict::Invalid(reasons) => reasons.into_iter().map(|reason| reason.code).collect(),
        }
    }

    #[test]
    fn parts_add_up_and_seconds_are_merged_from_the_logs() {
        let (a, log_a) = part(&[100, 200, 300, 400], 1);
        let (b, log_b) = part(&[10_000, 20_000], 1);
        let whole = merge(&[a.clone(), b], &[log_a.clone(), log_b]).unwrap();
        assert_eq!(
            (whole.load.completed, whole.operations["put"].count),
            (6, 6)
        );
        assert_eq!(decode(&whole.operations["put"].response).unwrap().len(), 6);
        let points: Vec<_> = whole
            .series
            .iter()
            .map(|p| (p.completed, p.p99_micros))
            .collect();
        assert_eq!(points, [(3, 10_007), (3, 20_015)]);
        // One part is itself.
        assert_eq!(merge(std::slice::from_ref(&a), &[log_a]).unwrap(), a);
    }

    #[test]
    fn each_broken_bound_is_a_reason() {
        let (sound, _) = part(&[100; 10], 1);
        assert_eq!(codes(&sound, Circumstances::default()), []);
        let (late, _) = part(&[100; 10], 9_000);
        assert_eq!(
            codes(&late, Circumstances::default()),
            [InvalidCode::SendLag]
        );
        let mut lost = sound.clone();
        lost.expected += 1;
        assert_eq!(
            codes(&lost, Circumstances::default()),
            [InvalidCode::PlanNotKept]
        );
        let starved = GeneratorUsage {
            throttled_micros: 150_000,
            ..Default::default()
        };
        let starved = Circumstances {
            generators: vec![starved],
            ..Default::default()
        };
        assert_eq!(codes(&sound, starved), [InvalidCode::GeneratorThrottled]);
        let with = |usage| Circumstances {
            generators: vec![usage],
            ..Default::default()
        };
        let busy = GeneratorUsage {
            cpu_micros: 1_900_000,
            ..Default::default()
        };
        assert_eq!(codes(&sound, with(busy)), [InvalidCode::GeneratorSaturated]);
        let late_pacer = GeneratorUsage {
            pacer_lateness_p99_micros: 9_000,
            ..Default::default()
        };
        assert_eq!(codes(&sound, with(late_pacer)), [InvalidCode::SendLag]);
        assert_eq!(
            codes(&PartRecord::default(), Circumstances::default()),
            [InvalidCode::NoOperations]
        );
    }

    #[test]
    fn what_the_backend_did_is_a_finding_and_voids_nothing() {
        let (mut failing, _) = part(&[100; 10], 1);
        failing.load.failed = 2;
        failing.load.not_started = 5;
        failing.load.planned += 7;
        failing.expected += 7;
        assert_eq!(codes(&failing, Circumstances::default()), []);
        let found: Vec<FindingCode> = findings(&failing, &Validity::default())
            .into_iter()
            .map(|finding| finding.code)
            .collect();
        assert_eq!(found, [FindingCode::Failing, FindingCode::Overloaded]);
        let (sound, _) = part(&[100; 10], 1);
        assert_eq!(findings(&sound, &Validity::default()), []);
    }

    #[test]
    fn maxima_of_several_generators_stay_maxima() {
        let (mut a, log_a) = part(&[100], 1);
        let (mut b, log_b) = part(&[100], 1);
        a.counters = BTreeMap::from([
            ("longestStaleMicros".to_owned(), 7),
            ("pages".to_owned(), 1),
        ]);
        b.counters = BTreeMap::from([
            ("longestStaleMicros".to_owned(), 5),
            ("pages".to_owned(), 2),
        ]);
        let whole = merge(&[a, b], &[log_a, log_b]).unwrap();
        assert_eq!(
            (
                whole.counters["longestStaleMicros"],
                whole.counters["pages"]
            ),
            (7, 3)
        );
    }
}
