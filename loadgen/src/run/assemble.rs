//! From what generators measured to the record of a trial: merging. (Pure.)

use std::collections::BTreeMap;

use bakeoff_crds::figure::Counter;
use bakeoff_crds::result::{CheckRecord, GeneratorUsage, LoadCounts, OperationRecord, SecondPoint};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::instrument::clock_offset::ClockOffset;
use crate::instrument::record::{RecordError, decode, encode, histogram, intervals};
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
    #[serde(deserialize_with = "Counter::known")]
    pub counters: BTreeMap<Counter, i64>,
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
    /// Operations of the window, counted apart from what became of them.
    pub expected: i64,
    /// The kind of operation whose seconds make the series.
    pub series_kind: String,
    /// How the monotonic clock of this generator differs from that of generator 0 over the trial, where its history
    /// is checked together with those of others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monotonic: Option<ClockOffset>,
}

fn count(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

impl PartRecord {
    /// The record of a part; `index` and `node` name the generator, whose clock was that much behind
    /// generator 0's.
    #[must_use]
    pub fn new(part: &Part, index: usize, node: &str, clock: ClockOffset) -> Self {
        let micros = count(part.window.1.saturating_sub(part.window.0) / 1_000);
        let counts = part.counts;
        Self {
            load: LoadCounts {
                planned: count(counts.planned()),
                completed: count(counts.completed),
                failed: count(counts.failed),
                unfinished: count(counts.unfinished),
                not_started: count(counts.not_started),
                orphaned: count(counts.orphaned),
                early: count(part.recorded.early),
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
                run_queue_micros: count(part.usage.run_queue / 1_000),
                throttled_periods: count(part.usage.throttled_periods),
                throttled_micros: count(part.usage.throttled / 1_000),
                start_skew_micros: count(part.start_skew / 1_000),
                clock_ahead_micros: clock.ahead / 1_000,
                clock_error_micros: clock.error / 1_000,
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
            monotonic: None,
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
        a.orphaned += b.orphaned;
        a.early += b.early;
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
        for (&counter, value) in &part.counters {
            let sum = whole.counters.entry(counter).or_default();
            *sum = counter.fold().fold(*sum, *value);
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
        sum.planned += point.planned;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instrument::clock::SECOND;
    use crate::instrument::record::{Operation, Recorder, Sample};
    use proptest::prelude::*;

    fn part(latencies: &[u64], lag: u64) -> (PartRecord, Vec<u8>) {
        let mut recorder = Recorder::new(
            0,
            2 * SECOND,
            0,
            true,
            &[Operation::Put],
            Default::default(),
        )
        .unwrap();
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
            recorder.success(Operation::Put, sample);
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

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        /// However the operations are spread over generators, the merged percentiles are those of
        /// the pooled raw values, within the three digits of the histograms.
        #[test]
        fn merged_percentiles_are_those_of_the_pooled_values(
            values in prop::collection::vec((1_u64..3_000_000_000, 0_u64..5_000_000, 0_usize..4), 1..200),
        ) {
            let mut recorders: Vec<Recorder> = (0..4)
                .map(|_| Recorder::new(0, 2 * SECOND, 0, true, &[Operation::Put], Default::default()).unwrap())
                .collect();
            let (mut responses, mut services, mut lags) = (vec![], vec![], vec![]);
            for (index, &(service, lag, generator)) in values.iter().enumerate() {
                let planned = (index as u64 % 2) * SECOND;
                let sent = planned + lag * 1_000;
                let ended = sent + service * 1_000;
                let sample = Sample { member: planned, planned, sent, ended, bytes: 1, queued: false };
                recorders[generator].success(Operation::Put, sample);
                responses.push(service + lag);
                services.push(service);
                lags.push(lag.max(1));
            }
            let (parts, logs): (Vec<_>, Vec<_>) = recorders
                .into_iter()
                .map(|recorder| {
                    let recorded = recorder.finish().unwrap();
                    let part = PartRecord {
                        operations: recorded.operations,
                        series: recorded.series,
                        series_kind: "put".into(),
                        ..Default::default()
                    };
                    (part, recorded.intervals)
                })
                .unzip();
            let whole = merge(&parts, &logs).unwrap();
            let put = &whole.operations["put"];
            for (merged, raw) in [
                (&put.response, &mut responses),
                (&put.service, &mut services),
                (&put.send_lag, &mut lags.clone()),
                (&put.generator_lag, &mut lags),
            ] {
                let merged = decode(merged).unwrap();
                prop_assert_eq!(merged.len(), raw.len() as u64);
                raw.sort_unstable();
                for q in [0.5, 0.9, 0.99, 0.999, 1.0] {
                    let rank = ((q * raw.len() as f64).ceil() as usize).clamp(1, raw.len());
                    let exact = raw[rank - 1] as f64;
                    let got = merged.value_at_quantile(q) as f64;
                    prop_assert!((got - exact).abs() <= exact * 0.001 + 1.0, "q{q}: {got} against {exact}");
                }
            }
        }
    }

    #[test]
    fn maxima_of_several_generators_stay_maxima() {
        let (mut a, log_a) = part(&[100], 1);
        let (mut b, log_b) = part(&[100], 1);
        a.counters = BTreeMap::from([(Counter::LongestStaleMicros, 7), (Counter::Pages, 1)]);
        b.counters = BTreeMap::from([(Counter::LongestStaleMicros, 5), (Counter::Pages, 2)]);
        let whole = merge(&[a, b], &[log_a, log_b]).unwrap();
        assert_eq!(
            (
                whole.counters[&Counter::LongestStaleMicros],
                whole.counters[&Counter::Pages]
            ),
            (7, 3)
        );
    }
}
