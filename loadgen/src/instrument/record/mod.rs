//! Recording: HDR histograms per kind of operation, without locks and without allocation once a
//! kind and second are known.
//!
//! One recorder belongs to one runtime thread; its workers share it through a `RefCell`, because
//! they never run at the same time, and a recorder per connection would cost 600 kB each and the
//! processor's caches. Recorders of several generators merge by addition.
//!
//! An operation belongs to the window by its *planned* instant, whenever it ends. Latencies are
//! microseconds from 1 to one hour with 3 digits; larger ones are counted as overflow and recorded
//! as one hour.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bakeoff_crds::figure::Counter;
use bakeoff_crds::result::{
    EncodedHistogram, FailureRecord, HISTOGRAM_HIGH_MICROS, OperationRecord, SecondPoint,
};
use hdrhistogram::Histogram;

use crate::failure::{Failure, FailureClass};
use crate::instrument::clock::SECOND;
pub use codec::{RecordError, decode, encode, histogram};
pub(crate) use intervals::intervals;
pub use operation::Operation;
use seconds::Seconds;

mod codec;
mod intervals;
mod operation;
mod seconds;

/// One finished operation.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// The instant that decides the window and second it belongs to: its own plan, or for a part
    /// of a larger operation the plan of that.
    pub member: u64,
    /// When it was due, monotonic nanoseconds.
    pub planned: u64,
    /// When it was sent.
    pub sent: u64,
    /// When it ended.
    pub ended: u64,
    /// Payload bytes.
    pub bytes: u64,
    /// Whether it had to wait for a free worker, see [`crate::instrument::pacer::Due::queued`].
    pub queued: bool,
}

/// Counts of ended operations for live metrics; everything else is read after the trial.
#[derive(Debug, Default)]
pub struct LiveCounts {
    completed: AtomicU64,
    failed: AtomicU64,
}

impl LiveCounts {
    fn ended(&self, well: bool) {
        let counter = if well { &self.completed } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Operations that ended well and otherwise since the process began, warm-up included.
    #[must_use]
    pub fn read(&self) -> (u64, u64) {
        (
            self.completed.load(Ordering::Relaxed),
            self.failed.load(Ordering::Relaxed),
        )
    }
}

#[derive(Debug)]
struct Failures {
    response: Histogram<u64>,
    count: u64,
    example: String,
}

/// What an open load tells apart.
#[derive(Debug)]
struct Open {
    /// From the send to the end.
    service: Histogram<u64>,
    /// From the plan to the send, of every operation.
    send_lag: Histogram<u64>,
    /// The same, of operations that a worker was free for.
    generator_lag: Histogram<u64>,
    /// Operations that waited for a free worker.
    queued: u64,
}

#[derive(Debug)]
struct Kind {
    name: &'static str,
    response: Histogram<u64>,
    /// Absent in a closed load, where plan and send are one.
    open: Option<Open>,
    count: u64,
    bytes: u64,
    overflow: u64,
    failures: BTreeMap<FailureClass, Failures>,
}

/// Records what one generator's operations took.
#[derive(Debug)]
pub struct Recorder {
    window_start: u64,
    window_end: u64,
    kinds: Vec<Kind>,
    /// Where the kind of an operation stands in `kinds`.
    places: [Option<usize>; Operation::COUNT],
    seconds: Seconds,
    live_counts: Arc<LiveCounts>,
    counters: BTreeMap<Counter, i64>,
    early: u64,
    failure: Option<RecordError>,
}

/// What a recorder yields at the end of a trial.
#[derive(Debug, Default)]
pub struct Recorded {
    /// By kind of operation.
    pub operations: BTreeMap<String, OperationRecord>,
    /// One point per second of the window.
    pub series: Vec<SecondPoint>,
    /// The HDR V2 interval log, one line per kind and second, tagged with the kind.
    pub intervals: Vec<u8>,
    /// The workload's counts.
    pub counters: BTreeMap<Counter, i64>,
    /// The kind of operation whose seconds make the series.
    pub series_kind: &'static str,
    /// Operations that were sent before they were due.
    pub early: u64,
}

fn micros(from: u64, to: u64) -> u64 {
    // Rounded up to the next microsecond: no operation takes no time.
    to.saturating_sub(from).div_ceil(1_000).max(1)
}

impl Recorder {
    /// A recorder for the window from `start` to `end` (monotonic nanoseconds), which the wall
    /// clock calls `start_wall` (nanoseconds since the epoch). `kinds` are all kinds of operations
    /// that will come, the first being the one that the load plans.
    ///
    /// # Errors
    /// When histograms cannot be made.
    pub fn new(
        start: u64,
        end: u64,
        start_wall: u64,
        open_loop: bool,
        kinds: &[Operation],
        live_counts: Arc<LiveCounts>,
    ) -> Result<Self, RecordError> {
        let names: Vec<&'static str> = kinds.iter().map(|kind| kind.as_str()).collect();
        let mut recorder = Self {
            window_start: start,
            window_end: end,
            kinds: Vec::with_capacity(kinds.len()),
            places: [None; Operation::COUNT],
            seconds: Seconds::new(&names, start_wall)?,
            live_counts,
            counters: BTreeMap::new(),
            early: 0,
            failure: None,
        };
        for (place, kind) in kinds.iter().enumerate() {
            recorder.places[*kind as usize] = Some(place);
            let open = if open_loop {
                Some(Open {
                    service: histogram()?,
                    send_lag: histogram()?,
                    generator_lag: histogram()?,
                    queued: 0,
                })
            } else {
                None
            };
            recorder.kinds.push(Kind {
                name: kind.as_str(),
                response: histogram()?,
                open,
                count: 0,
                bytes: 0,
                overflow: 0,
                failures: BTreeMap::new(),
            });
        }
        Ok(recorder)
    }

    /// Whether an operation planned at this instant belongs to the window.
    #[must_use]
    pub fn in_window(&self, planned: u64) -> bool {
        planned >= self.window_start && planned < self.window_end
    }

    fn second(&self, planned: u64) -> usize {
        usize::try_from((planned - self.window_start) / SECOND).unwrap_or(usize::MAX)
    }

    /// Adds to a count, when the operation planned at this instant is in the window.
    pub fn count(&mut self, counter: Counter, planned: u64, by: u64) {
        if self.in_window(planned) {
            *self.counters.entry(counter).or_default() += i64::try_from(by).unwrap_or(i64::MAX);
        }
    }

    /// Records an operation that ended well. One outside the window is ignored.
    pub fn success(&mut self, kind: Operation, sample: Sample) {
        self.live_counts.ended(true);
        if !self.in_window(sample.member) {
            return;
        }
        // One monotonic clock for all threads: only a broken pacer gets here.
        self.early += u64::from(sample.sent < sample.planned);
        let second = self.second(sample.member);
        let response = micros(sample.planned, sample.ended);
        let Some(position) = self.places[kind as usize] else {
            return;
        };
        let entry = &mut self.kinds[position];
        entry.count += 1;
        entry.bytes += sample.bytes;
        if response > HISTOGRAM_HIGH_MICROS {
            entry.overflow += 1;
        }
        entry.response.saturating_record(response);
        if let Some(open) = &mut entry.open {
            let lag = micros(sample.planned, sample.sent);
            open.service
                .saturating_record(micros(sample.sent, sample.ended));
            open.send_lag.saturating_record(lag);
            if sample.queued {
                open.queued += 1;
            } else {
                open.generator_lag.saturating_record(lag);
            }
        }
        self.seconds.success(position, second, response);
    }

    /// Records an operation that failed, by class and apart from the successes. A timeout is
    /// recorded as what it took, which is at least its limit.
    pub fn failure(
        &mut self,
        kind: Operation,
        member: u64,
        planned: u64,
        ended: u64,
        failure: &Failure,
    ) {
        self.live_counts.ended(false);
        if !self.in_window(member) {
            return;
        }
        let second = self.second(member);
        let response = micros(planned, ended);
        let Some(position) = self.places[kind as usize] else {
            return;
        };
        let entry = &mut self.kinds[position];
        if let Entry::Vacant(vacant) = entry.failures.entry(failure.class) {
            match histogram() {
                Ok(response) => {
                    let example = failure.detail.clone();
                    vacant.insert(Failures {
                        response,
                        count: 0,
                        example,
                    });
                }
                Err(error) => self.failure = Some(error),
            }
        }
        if let Some(class) = entry.failures.get_mut(&failure.class) {
            class.count += 1;
            class.response.saturating_record(response);
        }
        self.seconds.failure(position, second);
    }

    /// Closes a window whose end was not known before: later operations are ignored.
    pub fn close(&mut self, end: u64) {
        self.window_end = end;
    }

    /// Operations of a kind that ended so far in the window: well, and otherwise.
    #[must_use]
    pub fn ended(&self, kind: Operation) -> (u64, u64) {
        self.places[kind as usize]
            .map(|place| &self.kinds[place])
            .map_or((0, 0), |known| {
                (
                    known.count,
                    known.failures.values().map(|failures| failures.count).sum(),
                )
            })
    }

    /// Everything recorded.
    ///
    /// # Errors
    /// When a histogram could not be made, encoded or written at any time.
    pub fn finish(mut self) -> Result<Recorded, RecordError> {
        if self.window_end != u64::MAX && self.window_end > self.window_start {
            let last =
                usize::try_from((self.window_end - self.window_start - 1) / SECOND).unwrap_or(0);
            self.seconds.point(last);
        }
        let series_kind = self.kinds.first().map_or("", |kind| kind.name);
        let (series, intervals) = self.seconds.finish()?;
        if let Some(error) = self.failure {
            return Err(error);
        }
        let mut operations = BTreeMap::new();
        for kind in self.kinds {
            let response = encode(&kind.response)?;
            let (service, send_lag, generator_lag, queued) = match &kind.open {
                Some(open) => (
                    encode(&open.service)?,
                    encode(&open.send_lag)?,
                    encode(&open.generator_lag)?,
                    open.queued,
                ),
                None => (
                    response.clone(),
                    EncodedHistogram::default(),
                    EncodedHistogram::default(),
                    0,
                ),
            };
            let mut failures = BTreeMap::new();
            for (class, failure) in kind.failures {
                let record = FailureRecord {
                    count: i64::try_from(failure.count).unwrap_or(i64::MAX),
                    response: encode(&failure.response)?,
                    example: failure.example,
                };
                failures.insert(class.as_str().to_owned(), record);
            }
            operations.insert(
                kind.name.to_owned(),
                OperationRecord {
                    response,
                    service,
                    send_lag,
                    generator_lag,
                    queued: i64::try_from(queued).unwrap_or(i64::MAX),
                    count: i64::try_from(kind.count).unwrap_or(i64::MAX),
                    bytes: i64::try_from(kind.bytes).unwrap_or(i64::MAX),
                    overflow: i64::try_from(kind.overflow).unwrap_or(i64::MAX),
                    failures,
                },
            );
        }
        Ok(Recorded {
            operations,
            series,
            intervals,
            series_kind,
            early: self.early,
            counters: self.counters,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PUT: Operation = Operation::Put;

    fn sample(planned: u64, sent: u64, ended: u64) -> Sample {
        Sample {
            member: planned,
            planned,
            sent,
            ended,
            bytes: 10,
            queued: false,
        }
    }

    #[test]
    fn membership_is_by_plan_and_failures_stand_apart() {
        let mut recorder =
            Recorder::new(SECOND, 3 * SECOND, 0, true, &[PUT], Arc::default()).unwrap();
        recorder.success(PUT, sample(SECOND - 1, SECOND, SECOND + 5));
        recorder.success(PUT, sample(SECOND, SECOND + 2_000, SECOND + 102_000));
        recorder.success(PUT, sample(3 * SECOND - 1, 3 * SECOND, 9 * SECOND));
        recorder.success(PUT, sample(3 * SECOND, 3 * SECOND, 4 * SECOND));
        recorder.failure(
            PUT,
            SECOND,
            SECOND,
            2 * SECOND,
            &Failure::new(FailureClass::Timeout, "slow"),
        );
        assert_eq!(recorder.ended(PUT), (2, 1));
        let recorded = recorder.finish().unwrap();
        let put = &recorded.operations["put"];
        assert_eq!((put.count, put.bytes), (2, 20));
        let response = decode(&put.response).unwrap();
        assert_eq!((response.len(), response.min()), (2, 102));
        assert_eq!(decode(&put.service).unwrap().min(), 100);
        assert_eq!(decode(&put.send_lag).unwrap().max(), 2);
        assert_eq!(
            decode(&put.failures["timeout"].response).unwrap().min(),
            999_936
        );
        let seconds: Vec<_> = recorded
            .series
            .iter()
            .map(|p| (p.completed, p.failed))
            .collect();
        assert_eq!(seconds, [(1, 1), (1, 0)]);
        let log = String::from_utf8(recorded.intervals).unwrap();
        assert_eq!(
            log.lines()
                .filter(|line| line.starts_with("Tag=put,"))
                .count(),
            2,
            "{log}"
        );
    }

    #[test]
    fn memory_is_bounded_by_live_seconds_and_nothing_is_lost() {
        let mut recorder =
            Recorder::new(0, 100 * SECOND, 0, false, &[PUT], Arc::default()).unwrap();
        for second in 0..100 {
            recorder.success(
                PUT,
                sample(second * SECOND, second * SECOND, second * SECOND + 50_000),
            );
            assert!(recorder.seconds.is_bounded());
        }
        // Too late for its second's histogram, but counted everywhere else.
        recorder.success(PUT, sample(0, 0, SECOND));
        let recorded = recorder.finish().unwrap();
        assert_eq!(recorded.series[0].completed, 2);
        assert_eq!(
            decode(&recorded.operations["put"].response).unwrap().len(),
            101
        );
        let log = String::from_utf8(recorded.intervals).unwrap();
        assert_eq!(
            log.lines().filter(|line| line.starts_with("Tag=")).count(),
            100
        );
    }

    #[test]
    fn an_operation_that_outlasts_the_first_of_the_next_second_keeps_its_percentiles() {
        let mut recorder = Recorder::new(0, 2 * SECOND, 0, false, &[PUT], Arc::default()).unwrap();
        let at = |tenths: u64| tenths * SECOND / 10;
        recorder.success(PUT, sample(at(10), at(10), at(11)));
        recorder.success(PUT, sample(0, 0, at(12)));
        let recorded = recorder.finish().unwrap();
        assert_eq!(recorded.series.len(), 2);
        assert!(recorded.series.iter().all(|point| point.p99_micros > 0));
        let log = String::from_utf8(recorded.intervals).unwrap();
        let lines = log.lines().filter(|line| line.starts_with("Tag="));
        assert_eq!(lines.count(), 2, "{log}");
    }

    #[test]
    fn a_latency_beyond_an_hour_is_counted_as_overflow() {
        let mut recorder = Recorder::new(0, SECOND, 0, false, &[PUT], Arc::default()).unwrap();
        recorder.success(PUT, sample(0, 0, 4_000 * SECOND));
        assert_eq!(recorder.finish().unwrap().operations["put"].overflow, 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn merging_any_split_equals_pooling(values in prop::collection::vec((1_u64..3_000_000_000, 0_usize..4), 1..300)) {
            let mut parts = vec![histogram().unwrap(); 4];
            let mut raw: Vec<u64> = values.iter().map(|(value, _)| *value).collect();
            raw.sort_unstable();
            for (value, part) in &values {
                parts[*part].record(*value).unwrap();
            }
            let mut merged = histogram().unwrap();
            for part in &parts {
                merged.add(decode(&encode(part).unwrap()).unwrap()).unwrap();
            }
            for q in [0.5, 0.9, 0.99, 0.999, 1.0] {
                let rank = ((q * raw.len() as f64).ceil() as usize).clamp(1, raw.len());
                let exact = raw[rank - 1] as f64;
                let got = merged.value_at_quantile(q) as f64;
                prop_assert!((got - exact).abs() <= exact * 0.001 + 1.0, "q{q}: {got} against {exact}");
            }
        }
    }
}
