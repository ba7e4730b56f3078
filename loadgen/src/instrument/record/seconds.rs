//! The seconds of a window: the series of the planned kind, and the interval log of all kinds.

use std::io::Write;
use std::time::{Duration, UNIX_EPOCH};

use bakeoff_crds::result::SecondPoint;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use super::codec::{RecordError, histogram};

/// How many seconds of the window may still receive operations before the oldest is written out:
/// this bounds the memory of long windows. A later operation still counts in full everywhere but
/// in its second's percentiles.
const LIVE_SECONDS: usize = 16;

/// A window of more than a year is a mistake, not a reason to run out of memory.
const MOST_SECONDS: usize = 400 * 86_400;

/// The kind whose seconds make the series, by its place: the one that the load plans.
const SERIES: usize = 0;

/// The histogram of one second of a kind.
#[derive(Debug)]
struct LiveSecond {
    second: usize,
    response: Histogram<u64>,
}

/// What is recorded by seconds. Kinds of operations go by their place.
#[derive(Debug)]
pub(super) struct Seconds {
    names: Vec<&'static str>,
    /// The seconds of each kind that are still open, in order.
    live: Vec<Vec<LiveSecond>>,
    /// Of each kind, the second before which all were written out. One before the oldest that is open need not be: its
    /// operations may only have taken longer than the first of the next.
    written_until: Vec<usize>,
    points: Vec<SecondPoint>,
    log: Vec<u8>,
    spare: Vec<Histogram<u64>>,
    failure: Option<RecordError>,
}

impl Seconds {
    /// For kinds with these names, in a window that begins at `start_wall` (nanoseconds since the epoch).
    pub fn new(names: &[&'static str], start_wall: u64) -> Result<Self, RecordError> {
        let mut log = Vec::new();
        let base = UNIX_EPOCH + Duration::from_nanos(start_wall);
        let mut serializer = V2DeflateSerializer::new();
        IntervalLogWriterBuilder::new()
            .add_comment("bakeoff loadgen; response time in microseconds, by planned second")
            .with_start_time(base)
            .with_base_time(base)
            .begin_log_with(&mut log, &mut serializer)?;
        Ok(Self {
            names: names.to_vec(),
            live: names
                .iter()
                .map(|_| Vec::with_capacity(LIVE_SECONDS))
                .collect(),
            written_until: vec![0; names.len()],
            points: Vec::new(),
            log,
            spare: Vec::new(),
            failure: None,
        })
    }

    /// An operation of this second ended well.
    pub fn success(&mut self, kind: usize, second: usize, response: u64) {
        if kind == SERIES
            && let Some(point) = self.point(second)
        {
            point.completed += 1;
        }
        if let Some(live) = self.live(kind, second) {
            live.saturating_record(response);
        }
    }

    /// An operation of this second failed.
    pub fn failure(&mut self, kind: usize, second: usize) {
        if kind == SERIES
            && let Some(point) = self.point(second)
        {
            point.failed += 1;
        }
    }

    /// The point of a second; seconds in between appear with it.
    pub fn point(&mut self, second: usize) -> Option<&mut SecondPoint> {
        if second > MOST_SECONDS {
            return None;
        }
        while self.points.len() <= second {
            let second = i32::try_from(self.points.len()).unwrap_or(i32::MAX);
            self.points.push(SecondPoint {
                second,
                ..SecondPoint::default()
            });
        }
        self.points.get_mut(second)
    }

    /// The histogram of a second that is still open; `None` when it was written already, or is older than all for which
    /// there is room.
    fn live(&mut self, kind: usize, second: usize) -> Option<&mut Histogram<u64>> {
        let open = self.live.get(kind)?;
        if let Some(at) = open.iter().position(|live| live.second == second) {
            return Some(&mut self.live[kind][at].response);
        }
        let full = open.len() >= LIVE_SECONDS;
        let before_all = open.first().is_some_and(|oldest| second < oldest.second);
        let written = self.written_until.get(kind).copied().unwrap_or(0);
        if second < written || (full && before_all) {
            return None;
        }
        if full {
            let oldest = self.live[kind].remove(0);
            self.write(kind, oldest);
        }
        let response = match self.spare.pop() {
            Some(spare) => spare,
            None => match histogram() {
                Ok(fresh) => fresh,
                Err(error) => {
                    self.failure = Some(error);
                    return None;
                }
            },
        };
        let open = &mut self.live[kind];
        let at = open.partition_point(|known| known.second < second);
        open.insert(at, LiveSecond { second, response });
        open.get_mut(at).map(|live| &mut live.response)
    }

    fn write(&mut self, kind: usize, mut live: LiveSecond) {
        if let Some(until) = self.written_until.get_mut(kind) {
            *until = (*until).max(live.second + 1);
        }
        if kind == SERIES
            && let Some(point) = self.points.get_mut(live.second)
        {
            let at = |q| i64::try_from(live.response.value_at_quantile(q)).unwrap_or(i64::MAX);
            (point.p50_micros, point.p99_micros) = (at(0.5), at(0.99));
        }
        if let Err(error) = self.append(self.names[kind], &live) {
            self.failure = Some(error);
        }
        live.response.reset();
        self.spare.push(live.response);
    }

    fn append(&mut self, name: &'static str, live: &LiveSecond) -> Result<(), RecordError> {
        // The writer of the library borrows its sink and serializer for the length of a log, and
        // this one lasts as long as the trial: a log without a header is a continuation.
        let mut serializer = V2DeflateSerializer::new();
        let mut line = Vec::new();
        let mut writer =
            IntervalLogWriterBuilder::new().begin_log_with(&mut line, &mut serializer)?;
        writer
            .write_histogram(
                &live.response,
                Duration::from_secs(live.second as u64),
                Duration::from_secs(1),
                Tag::new(name),
            )
            .map_err(|error| RecordError::Encode(format!("{error:?}")))?;
        self.log.write_all(&line)?;
        Ok(())
    }

    #[cfg(test)]
    pub fn is_bounded(&self) -> bool {
        self.live.iter().all(|open| open.len() <= LIVE_SECONDS)
    }

    /// The series and the interval log.
    ///
    /// # Errors
    /// When a histogram could not be made or written at any time.
    pub fn finish(mut self) -> Result<(Vec<SecondPoint>, Vec<u8>), RecordError> {
        for kind in 0..self.live.len() {
            for live in std::mem::take(&mut self.live[kind]) {
                self.write(kind, live);
            }
        }
        match self.failure {
            Some(error) => Err(error),
            None => Ok((self.points, self.log)),
        }
    }
}
