//! What a finished run hands to the operator for the status: it travels as a container's
//! termination message, of which a kubelet keeps 4 096 bytes.
//!
//! The handover is JSON, deflated, in base64, inside the JSON of a [`Termination`]. Where it does not
//! fit, the least important headline rows go first; then details of objectives are shortened, then
//! the decision's texts. The decision itself, the objectives and the checksum always arrive.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};

use bakeoff_crds::run::{Handover, TERMINATION_LIMIT, Termination};
use bakeoff_crds::status::{HeadlineRow, MAX_HEADLINE, ObjectiveStatus};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;

use crate::format;
use crate::kinds;
use crate::measured::{Measured, OperationSummary};
use crate::summary::Summary;

/// Largest decoded handover that [`decode`] accepts, bytes.
const DECODED_LIMIT: u64 = 1 << 20;

/// Why a handover cannot be read or written.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum HandoverError {
    /// Not base64 of deflated JSON.
    #[error("the outcome is not base64 of deflated JSON: {0}")]
    Unreadable(String),
    /// Not even the parts that always arrive fit.
    #[error(
        "the outcome takes {bytes} bytes without anything that could be left out; the limit is {TERMINATION_LIMIT}"
    )]
    TooLarge {
        /// What it takes.
        bytes: usize,
    },
}

impl HandoverError {
    /// A short word for conditions, events and metric labels.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "OutcomeUnreadable",
            Self::TooLarge { .. } => "OutcomeTooLarge",
        }
    }
}

/// The handover of a summary; `index_sha256` is the checksum of `index.json`.
///
/// Headline rows stand in order of importance: first those that the decision reads, then the main
/// operations of the other workloads, then all others; at most [`MAX_HEADLINE`]. Operations of which no p99 is known have no row:
/// it has no room to say that a figure is only a bound, and where nothing was answered that bound is 0.
#[must_use]
pub fn handover(summary: &Summary, index_sha256: &str) -> Handover {
    let mut rows: Vec<(u8, HeadlineRow)> = Vec::new();
    for workload in &summary.measured.workloads {
        let kind = kinds::of(workload.kind);
        for cell in &workload.cells {
            for on in &cell.backends {
                for (name, operation) in on.operations.iter().filter(|(_, one)| is_known(one)) {
                    let rank = match name.as_str() {
                        name if kind.headline == Some(name) => 0,
                        name if kind.main == name => 1,
                        _ => 2,
                    };
                    let row = HeadlineRow {
                        cell: format!("{} {}", workload.name, cell.label)
                            .trim_end()
                            .to_owned(),
                        backend: on.backend.clone(),
                        operation: name.clone(),
                        per_second: format::three(operation.per_second).replace('\u{202f}', ""),
                        p50_microseconds: operation.response.p50,
                        p99_microseconds: operation.response.p99,
                        blocks: on.blocks,
                    };
                    rows.push((rank, row));
                }
            }
        }
    }
    rows.sort_by_key(|(rank, _)| *rank);
    let valid = summary.measured.generators.iter().map(|of| of.trials).sum();
    Handover {
        trials: summary.measured.trials,
        valid: Some(valid),
        void: if valid == 0 {
            void(&summary.measured)
        } else {
            String::new()
        },
        decision: summary
            .decision
            .as_ref()
            .map(crate::decision::DecisionRecord::status),
        objectives: summary
            .objectives
            .iter()
            .map(|objective| ObjectiveStatus {
                name: objective.name.clone(),
                met: objective.met,
                detail: objective.detail.clone(),
            })
            .collect(),
        headline: rows
            .into_iter()
            .take(MAX_HEADLINE)
            .map(|(_, row)| row)
            .collect(),
        violations: summary.measured.violations(),
        regression: None,
        index_sha256: index_sha256.to_owned(),
    }
}

/// Whether the percentiles of a headline row are known; where p99 is, the median is as well.
fn is_known(operation: &OperationSummary) -> bool {
    operation.is_answered() && operation.response.knows(0.99)
}

/// What voided most of the trials that do not count: `GeneratorThrottled (12 of 14): …`.
fn void(measured: &Measured) -> String {
    let mut by_code: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
    for trial in &measured.excluded {
        for (position, code) in trial.codes.iter().enumerate() {
            let detail = trial.details.get(position).map_or("", String::as_str);
            by_code.entry(code).or_insert((0, detail)).0 += 1;
        }
    }
    let most = by_code.into_iter().max_by_key(|(_, (count, _))| *count);
    most.map_or_else(String::new, |(code, (count, detail))| {
        let mut text = format!("{code} ({count} of {})", measured.excluded.len());
        if !detail.is_empty() {
            text = format!("{text}: {detail}");
        }
        shorten(&mut text, 300);
        text
    })
}

/// The termination message of a report, at most [`TERMINATION_LIMIT`] bytes of JSON.
///
/// # Errors
/// When not even the parts that always arrive fit, which the bounds of the spec exclude.
pub fn termination(handover: &Handover) -> Result<Termination, HandoverError> {
    let mut handover = handover.clone();
    // Largest number of rows that fits: halving finds it, because fewer rows never take more room.
    let (mut fits, mut over) = (0, handover.headline.len() + 1);
    let rows = handover.headline.clone();
    while fits + 1 < over {
        let middle = usize::midpoint(fits, over);
        handover.headline = rows.iter().take(middle).cloned().collect();
        if fitting(&handover).is_ok() {
            fits = middle
        } else {
            over = middle
        }
    }
    handover.headline = rows.into_iter().take(fits).collect();
    for longest in [usize::MAX, 160, 80, 40, 0] {
        for objective in &mut handover.objectives {
            shorten(&mut objective.detail, longest);
        }
        if let Ok(message) = fitting(&handover) {
            return Ok(message);
        }
    }
    for longest in [800, 400, 200, 100] {
        if let Some(regression) = &mut handover.regression {
            shorten(&mut regression.message, longest);
            regression.differs.truncate(longest / 200);
        }
        if let Some(decision) = &mut handover.decision {
            shorten(&mut decision.reason, longest);
            shorten(&mut decision.consequence, longest);
        }
        if let Ok(message) = fitting(&handover) {
            return Ok(message);
        }
    }
    fitting(&handover)
}

fn fitting(handover: &Handover) -> Result<Termination, HandoverError> {
    let message = Termination::Reported(encode(handover)?);
    let bytes = serde_json::to_string(&message)
        .map_err(|error| HandoverError::Unreadable(error.to_string()))?
        .len();
    if bytes > TERMINATION_LIMIT {
        return Err(HandoverError::TooLarge { bytes });
    }
    Ok(message)
}

fn shorten(text: &mut String, longest: usize) {
    if text.chars().count() > longest {
        let mut kept: String = text.chars().take(longest.saturating_sub(1)).collect();
        if longest > 0 {
            kept.push('…');
        }
        *text = kept;
    }
}

fn encode(handover: &Handover) -> Result<String, HandoverError> {
    let unreadable = |error: &dyn std::fmt::Display| HandoverError::Unreadable(error.to_string());
    let json = serde_json::to_vec(handover).map_err(|error| unreadable(&error))?;
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder
        .write_all(&json)
        .map_err(|error| unreadable(&error))?;
    let bytes = encoder.finish().map_err(|error| unreadable(&error))?;
    Ok(STANDARD.encode(bytes))
}

/// Reads what [`termination`] put into `Termination::Reported`.
///
/// # Errors
/// When it is not base64 of deflated JSON of a handover, or is absurdly large.
pub fn decode(text: &str) -> Result<Handover, HandoverError> {
    let unreadable = |error: &dyn std::fmt::Display| HandoverError::Unreadable(error.to_string());
    let bytes = STANDARD.decode(text).map_err(|error| unreadable(&error))?;
    let mut json = Vec::new();
    DeflateDecoder::new(bytes.as_slice())
        .take(DECODED_LIMIT)
        .read_to_end(&mut json)
        .map_err(|error| unreadable(&error))?;
    serde_json::from_slice(&json).map_err(|error| unreadable(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measured::RunData;
    use crate::sample;
    use crate::summary::summarise;
    use bakeoff_crds::schedule;
    use bakeoff_crds::status::{DecisionOutcome, DecisionStatus};
    use proptest::prelude::*;

    fn unpack(message: &Termination) -> Handover {
        match message {
            Termination::Reported(text) => decode(text).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_real_run_fits_with_its_deciding_cells() {
        let (manifest, records) = sample::phase1_c();
        let summary = summarise(&RunData::new(&manifest, &records)).unwrap();
        let handover = handover(&summary, &"0".repeat(64));
        let message = termination(&handover).unwrap();
        assert!(serde_json::to_string(&message).unwrap().len() <= TERMINATION_LIMIT);
        let back = unpack(&message);
        assert_eq!(back.decision, handover.decision);
        assert_eq!(back.objectives, handover.objectives);
        assert!(back.headline.len() >= 40, "{}", back.headline.len());
        assert_eq!(back.headline[0].cell, "put concurrency=1 objectSize=1Ki");
    }

    /// A lower bound that stands there as a figure would make the cell that failed the fastest.
    #[test]
    fn what_is_only_a_bound_has_no_row() {
        let (manifest, mut records) = sample::phase1_c();
        let put = |label: &str, backend: &str| (format!("put {label}"), backend.to_owned());
        let lost = put("concurrency=8 objectSize=4Ki", "seaweedfs");
        let failing = put("concurrency=32 objectSize=4Ki", "minio");
        for record in &mut records {
            let cell = format!(
                "{} {}",
                record.trial.workload,
                schedule::label(&record.trial.cell)
            );
            let on = record.trial.backend.clone();
            let load = &mut record.load;
            if (cell.clone(), on.clone()) == lost {
                load.failed = load.planned;
                load.completed = 0;
                record
                    .operations
                    .insert("put".to_owned(), Default::default());
            } else if (cell, on) == failing {
                load.failed = load.completed / 20;
                load.planned += load.failed;
            }
        }
        let summary = summarise(&RunData::new(&manifest, &records)).unwrap();
        let handover = handover(&summary, &"0".repeat(64));
        let has = |(cell, backend): &(String, String)| {
            let mut rows = handover.headline.iter();
            rows.any(|row| row.cell == *cell && row.backend == *backend)
        };
        assert!(!has(&lost) && !has(&failing), "{:?}", handover.headline);
        assert!(has(&put("concurrency=8 objectSize=4Ki", "minio")));
        assert!(has(&put("concurrency=32 objectSize=4Ki", "seaweedfs")));
        assert!(handover.headline.iter().all(|row| row.p99_microseconds > 0));
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(decode("?").unwrap_err().reason(), "OutcomeUnreadable");
        assert_eq!(decode("AAAA").unwrap_err().reason(), "OutcomeUnreadable");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// Whatever the experiment: names that do not compress, long details, every row in use.
        #[test]
        fn the_largest_experiments_fit(
            rows in 0_usize..=MAX_HEADLINE,
            names in prop::collection::vec("[a-z0-9]{63}", 32),
            details in prop::collection::vec("[ -~]{0,300}", 32),
            reason in "[ -~é]{0,2000}",
            backends in prop::collection::btree_map("[a-z]{30}", 0_i64..i64::MAX, 0..=6),
        ) {
            let handover = Handover {
                decision: Some(DecisionStatus {
                    rule: "SmallObjectBackend".into(),
                    outcome: DecisionOutcome::Go,
                    reason: reason.clone(),
                    consequence: reason,
                }),
                objectives: names.iter().zip(details).map(|(name, detail)| ObjectiveStatus { name: name.clone(), met: false, detail }).collect(),
                headline: (0..rows).map(|row| HeadlineRow {
                    cell: names[row % 32].clone(),
                    backend: names[(row + 7) % 32].clone(),
                    operation: "put".into(),
                    per_second: "1".into(),
                    p50_microseconds: row as i64,
                    p99_microseconds: 1,
                    blocks: 6,
                }).collect(),
                violations: backends,
                index_sha256: "f".repeat(64),
                ..Handover::default()
            };
            let message = termination(&handover).unwrap();
            prop_assert!(serde_json::to_string(&message).unwrap().len() <= TERMINATION_LIMIT);
            let back = unpack(&message);
            prop_assert_eq!(back.objectives.len(), 32);
            prop_assert_eq!(back.index_sha256, handover.index_sha256);
            prop_assert_eq!(&back.headline[..], &handover.headline[..back.headline.len()]);
        }
    }
}
