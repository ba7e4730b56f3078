//! The outcome of a run, small enough for a container's termination message.
//!
//! Deflated JSON in base64. What does not fit is shortened in a fixed order: headline rows from the last
//! one on, then details of objectives; the decision and the checksum of the index always stay.

use bakeoff_crds::conditions::shorten;
use bakeoff_crds::run::{Outcome, TERMINATION_LIMIT};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use std::io::{Read, Write};

/// What the envelope around the text takes: `{"reported":"…"}`.
const ENVELOPE: usize = 64;
/// No outcome inflates to more than this; a larger one is not ours.
const INFLATED_LIMIT: u64 = 1 << 20;

/// Why an outcome cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum OutcomeError {
    /// Not base64.
    #[error("the outcome is not base64: {0}")]
    Base64(#[from] base64::DecodeError),
    /// Not deflated.
    #[error("the outcome cannot be inflated: {0}")]
    Inflate(#[from] std::io::Error),
    /// Not the JSON of an outcome.
    #[error("the outcome is not what this version writes: {0}")]
    Json(#[from] serde_json::Error),
}

/// The text of an outcome, shortened until it fits.
#[must_use]
pub fn encode(outcome: &Outcome) -> String {
    let mut outcome = outcome.clone();
    loop {
        let text = pack(&outcome);
        if text.len() + ENVELOPE <= TERMINATION_LIMIT {
            return text;
        }
        if !outcome.headline.is_empty() {
            let keep = outcome.headline.len() * 3 / 4;
            outcome.headline.truncate(keep);
        } else if outcome
            .objectives
            .iter()
            .any(|objective| objective.detail.len() > 16)
        {
            for objective in &mut outcome.objectives {
                objective.detail = shorten(
                    &objective.detail,
                    objective.detail.len().div_ceil(2).max(16),
                );
            }
        } else if let Some(decision) = &mut outcome.decision
            && decision.reason.len() + decision.consequence.len() > 64
        {
            decision.reason = shorten(&decision.reason, (decision.reason.len() / 2).max(32));
            decision.consequence = shorten(
                &decision.consequence,
                (decision.consequence.len() / 2).max(32),
            );
        } else if !outcome.violations.is_empty() {
            outcome.violations.clear();
        } else {
            outcome.objectives.truncate(outcome.objectives.len() / 2);
            if outcome.objectives.is_empty() {
                return pack(&outcome);
            }
        }
    }
}

/// Reads what [`encode`] wrote.
///
/// # Errors
/// The text is damaged, cut off, or of another version.
pub fn decode(text: &str) -> Result<Outcome, OutcomeError> {
    let packed = STANDARD.decode(text)?;
    let mut json = Vec::new();
    DeflateDecoder::new(packed.as_slice())
        .take(INFLATED_LIMIT)
        .read_to_end(&mut json)?;
    Ok(serde_json::from_slice(&json)?)
}

fn pack(outcome: &Outcome) -> String {
    let json = serde_json::to_vec(outcome).unwrap_or_default();
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    // Writing into a Vec cannot fail.
    let packed = encoder
        .write_all(&json)
        .and_then(|()| encoder.finish())
        .unwrap_or_default();
    STANDARD.encode(packed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bakeoff_crds::rng::SplitMix64;
    use bakeoff_crds::status::{DecisionOutcome, DecisionStatus, HeadlineRow, ObjectiveStatus};
    use proptest::prelude::*;

    fn noise(rng: &mut SplitMix64, length: usize) -> String {
        (0..length)
            .map(|_| char::from(b'!' + u8::try_from(rng.below(90)).unwrap_or(0)))
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn the_largest_experiment_fits_and_keeps_its_decision(
            seed in any::<u64>(), rows in 0_usize..300, objectives in 0_usize..33, length in 0_usize..1500,
        ) {
            let mut rng = SplitMix64::new(seed);
            let outcome = Outcome {
                decision: Some(DecisionStatus {
                    rule: "SmallObjectBackend".into(),
                    outcome: DecisionOutcome::Go,
                    reason: noise(&mut rng, length),
                    consequence: noise(&mut rng, length),
                }),
                objectives: (0..objectives)
                    .map(|_| ObjectiveStatus { name: noise(&mut rng, 63), met: true, detail: noise(&mut rng, length) })
                    .collect(),
                headline: (0..rows)
                    .map(|_| HeadlineRow {
                        cell: noise(&mut rng, 40), backend: noise(&mut rng, 20), operation: noise(&mut rng, 8),
                        per_second: "1".into(), p50_microseconds: 1, p99_microseconds: 2, blocks: 6,
                    })
                    .collect(),
                index_sha256: "ab".repeat(32),
                ..Default::default()
            };
            let text = encode(&outcome);
            prop_assert!(text.len() + ENVELOPE <= TERMINATION_LIMIT);
            let back = decode(&text).unwrap();
            prop_assert_eq!(back.index_sha256, outcome.index_sha256);
            prop_assert_eq!(back.decision.unwrap().outcome, DecisionOutcome::Go);
        }
    }

    #[test]
    fn a_small_outcome_comes_back_as_it_was() {
        let outcome = Outcome {
            index_sha256: "00".into(),
            ..Default::default()
        };
        assert_eq!(decode(&encode(&outcome)).unwrap(), outcome);
        assert!(decode("???").is_err() && decode("AAAA").is_err());
    }
}
