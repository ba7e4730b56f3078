//! Histograms of the project's bounds, and how they are written down.

use bakeoff_crds::result::{
    EncodedHistogram, HISTOGRAM_DIGITS, HISTOGRAM_HIGH_MICROS, HISTOGRAM_LOW_MICROS,
};
use base64::Engine;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};

/// Why a recorder failed.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// A histogram could not be encoded.
    #[error("histogram cannot be encoded: {0}")]
    Encode(String),
    /// A histogram could not be decoded.
    #[error("histogram cannot be decoded: {0}")]
    Decode(String),
    /// The interval log could not be written.
    #[error("interval log: {0}")]
    Log(#[from] std::io::Error),
}

impl RecordError {
    /// The machine-readable reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Encode(_) | Self::Decode(_) => "HistogramCodec",
            Self::Log(_) => "IntervalLog",
        }
    }
}

/// An empty histogram of the project's bounds.
///
/// # Errors
/// Never with the constants of the schema; the library wants it asked.
pub fn histogram() -> Result<Histogram<u64>, RecordError> {
    Histogram::new_with_bounds(
        HISTOGRAM_LOW_MICROS,
        HISTOGRAM_HIGH_MICROS,
        HISTOGRAM_DIGITS,
    )
    .map_err(|error| RecordError::Encode(error.to_string()))
}

/// Encodes a histogram as the schema asks: V2, deflated, base64.
///
/// # Errors
/// When the library cannot.
pub fn encode(histogram: &Histogram<u64>) -> Result<EncodedHistogram, RecordError> {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new()
        .serialize(histogram, &mut bytes)
        .map_err(|error| RecordError::Encode(format!("{error:?}")))?;
    Ok(EncodedHistogram(
        base64::engine::general_purpose::STANDARD.encode(bytes),
    ))
}

/// Decodes what [`encode`] wrote; an empty text is an empty histogram.
///
/// # Errors
/// When the text is no such encoding.
pub fn decode(encoded: &EncodedHistogram) -> Result<Histogram<u64>, RecordError> {
    if encoded.0.is_empty() {
        return histogram();
    }
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(&encoded.0)
        .map_err(|error| RecordError::Decode(error.to_string()))?;
    hdrhistogram::serialization::Deserializer::new()
        .deserialize(&mut bytes.as_slice())
        .map_err(|error| RecordError::Decode(format!("{error:?}")))
}
