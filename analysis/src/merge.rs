//! Merging of latency histograms: by addition, and in no other way.
//!
//! A percentile of pods cannot be made from their percentiles. What can be added are the counts of
//! histograms with the same bounds; the percentile of the sum is then that of the pooled
//! operations, within the three digits that a histogram keeps.

use bakeoff_crds::result::{
    EncodedHistogram, HISTOGRAM_DIGITS, HISTOGRAM_HIGH_MICROS, HISTOGRAM_LOW_MICROS,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2DeflateSerializer};

/// Why a histogram cannot be read, written or added.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum MergeError {
    /// Not base64.
    #[error("the histogram is not base64: {0}")]
    Base64(String),
    /// Not an HDR V2 histogram.
    #[error("the histogram is not in the HDR V2 format: {0}")]
    Format(String),
    /// Other bounds than the project's: adding would lose or shift counts.
    #[error(
        "the histogram spans {low} to {high} us at {digits} digits, but only {HISTOGRAM_LOW_MICROS} to {HISTOGRAM_HIGH_MICROS} us at {HISTOGRAM_DIGITS} digits can be added"
    )]
    Bounds {
        /// Its lowest discernible value, microseconds.
        low: u64,
        /// Its highest trackable value, microseconds.
        high: u64,
        /// Its significant digits.
        digits: u8,
    },
    /// The library refused, for a reason that the bounds above exclude.
    #[error("the histogram cannot be handled: {0}")]
    Internal(String),
}

impl MergeError {
    /// A short word for conditions, events and metric labels.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Base64(_) | Self::Format(_) => "HistogramUnreadable",
            Self::Bounds { .. } => "HistogramBounds",
            Self::Internal(_) => "HistogramInternal",
        }
    }
}

/// An empty histogram with the project's bounds; it does not grow.
///
/// # Errors
/// Never in practice: the bounds are constants that the library accepts.
pub fn empty() -> Result<Histogram<u64>, MergeError> {
    Histogram::new_with_bounds(
        HISTOGRAM_LOW_MICROS,
        HISTOGRAM_HIGH_MICROS,
        HISTOGRAM_DIGITS,
    )
    .map_err(|error| MergeError::Internal(error.to_string()))
}

/// Reads a histogram of the raw data; an empty text is an empty histogram.
///
/// # Errors
/// When it is not base64 of HDR V2 (plain or deflated), or has other bounds than the project's.
pub fn decode(encoded: &EncodedHistogram) -> Result<Histogram<u64>, MergeError> {
    if encoded.0.is_empty() {
        return empty();
    }
    let bytes = STANDARD
        .decode(&encoded.0)
        .map_err(|error| MergeError::Base64(error.to_string()))?;
    let histogram: Histogram<u64> = Deserializer::new()
        .deserialize(&mut bytes.as_slice())
        .map_err(|error| MergeError::Format(format!("{error:?}")))?;
    let (low, high, digits) = (histogram.low(), histogram.high(), histogram.sigfig());
    if (low, high, digits)
        != (
            HISTOGRAM_LOW_MICROS,
            HISTOGRAM_HIGH_MICROS,
            HISTOGRAM_DIGITS,
        )
    {
        return Err(MergeError::Bounds { low, high, digits });
    }
    Ok(histogram)
}

/// Writes a histogram as the raw data carries it: base64 of HDR V2 with deflate.
///
/// # Errors
/// When a count does not fit the format, which 2^63 operations would take.
pub fn encode(histogram: &Histogram<u64>) -> Result<EncodedHistogram, MergeError> {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new()
        .serialize(histogram, &mut bytes)
        .map_err(|error| MergeError::Internal(format!("{error:?}")))?;
    Ok(EncodedHistogram(STANDARD.encode(bytes)))
}

/// The sum of encoded histograms. The order does not matter; none gives an empty histogram.
///
/// # Errors
/// As [`decode`].
pub fn merge<'a>(
    parts: impl IntoIterator<Item = &'a EncodedHistogram>,
) -> Result<Histogram<u64>, MergeError> {
    let mut sum = empty()?;
    for part in parts {
        sum.add(decode(part)?)
            .map_err(|error| MergeError::Internal(error.to_string()))?;
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refuses_other_bounds_and_nonsense() {
        let mut other = Histogram::<u64>::new_with_bounds(1, 60_000_000, 3).unwrap();
        other.record(5).unwrap();
        let encoded = encode(&other).unwrap();
        assert_eq!(decode(&encoded).unwrap_err().reason(), "HistogramBounds");
        assert_eq!(
            decode(&EncodedHistogram("!".into())).unwrap_err().reason(),
            "HistogramUnreadable"
        );
        assert_eq!(
            decode(&EncodedHistogram("AAAA".into()))
                .unwrap_err()
                .reason(),
            "HistogramUnreadable"
        );
        assert_eq!(decode(&EncodedHistogram::default()).unwrap().len(), 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// Merged percentiles are those of the pooled raw values, over any split.
        #[test]
        fn merged_percentiles_are_those_of_the_pooled_values(
            tagged in prop::collection::vec((0_usize..5, 1_u64..3_600_000_000), 1..400),
        ) {
            let mut pods: Vec<Histogram<u64>> = (0..5).map(|_| empty().unwrap()).collect();
            for (pod, value) in &tagged {
                pods[*pod].record(*value).unwrap();
            }
            let encoded: Vec<EncodedHistogram> = pods.iter().map(|pod| encode(pod).unwrap()).collect();
            let merged = merge(&encoded).unwrap();
            let mut pooled: Vec<u64> = tagged.iter().map(|(_, value)| *value).collect();
            pooled.sort_unstable();
            prop_assert_eq!(merged.len(), pooled.len() as u64);
            for quantile in [0.5, 0.9, 0.99, 0.999, 1.0] {
                let rank = ((quantile * pooled.len() as f64).ceil() as usize).clamp(1, pooled.len());
                let exact = pooled[rank - 1];
                let shown = merged.value_at_quantile(quantile);
                prop_assert!(merged.equivalent(exact, shown), "q{}: {} against {}", quantile, shown, exact);
            }
        }
    }
}
