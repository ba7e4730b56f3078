//! Reads the interval log of a window.

use base64::Engine as _;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

use super::codec::RecordError;

/// The histograms of one kind in an interval log, with their second.
pub(crate) fn intervals(log: &[u8], kind: &str) -> Vec<(i32, Result<Histogram<u64>, RecordError>)> {
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
