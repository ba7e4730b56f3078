//! `trace.json`: what a trace is, without its events.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Error;

/// The version of the format.
pub const API_VERSION: &str = "trace.bakeoff.dev/v1";
/// The most events between two restart points.
pub(crate) const MOST_IN_BLOCK: u64 = 65_536;

/// What a trace is: where it comes from, what is in it, and where reading can begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    /// Always `trace.bakeoff.dev/v1`.
    pub api_version: String,
    /// From what kind of record the trace was made.
    pub source: Source,
    /// How it was made, in words: which fields were read, which options held.
    pub method: String,
    /// When the recording began, as RFC 3339. Without it the trace says how long things took and not when they were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// Length of the recording in microseconds. Every event lies before it, so that a replay can begin anew at it.
    pub span_micros: u64,
    /// Runs that appear.
    pub runs: u64,
    /// Events by kind.
    pub counts: Counts,
    /// Runs that are open.
    pub open: Open,
    /// Events that were left out on the way, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Events that were changed on the way, by reason.
    pub repaired: BTreeMap<String, u64>,
    /// How runs look.
    pub quantiles: Distributions,
    /// SHA-256 of `events.csv.gz`, in hexadecimal digits.
    pub sha256: String,
    /// Where reading can begin.
    pub restart_points: Vec<RestartPoint>,
}

/// From what kind of record a trace was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Source {
    /// A table of characters.
    Csv,
    /// JSON objects.
    Jsonl,
    /// An event log of IEEE 1849.
    Xes,
    /// CloudEvents.
    CloudEvents,
    /// Spans of OpenTelemetry.
    Otlp,
    /// Histories of Temporal.
    Temporal,
    /// Events in the format of a trace.
    Events,
    /// Read from a data base.
    Capture,
    /// Drawn from quantiles.
    Synthetic,
}

/// Events by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Runs that are open at the start.
    pub open: u64,
    /// Creations.
    pub created: u64,
    /// Transitions.
    pub transition: u64,
    /// Completions.
    pub done: u64,
}

impl Counts {
    /// What happened: creations, transitions and completions.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.created + self.transition + self.done
    }

    /// Lines of the table, those of the runs that are open at the start included.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.open + self.events()
    }
}

/// Runs that are open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Open {
    /// When the recording begins.
    pub at_start: u64,
    /// When it ends.
    pub at_end: u64,
    /// The most at the same time.
    pub peak: u64,
    /// The mean over time, in thousandths of a run, rounded.
    pub mean_thousandths: u64,
}

/// How runs look. Rounded up by at most 1/128; absent where there is nothing to say it of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Distributions {
    /// Creations, transitions and completions of a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events_per_run: Option<Quantiles>,
    /// Microseconds from an event of a run to its next one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap_micros: Option<Quantiles>,
    /// Microseconds from the creation of a run to its completion; of runs that have both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub life_micros: Option<Quantiles>,
}

/// Quantiles of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Quantiles {
    /// Half of all are at most this.
    pub p50: u64,
    /// 90 of 100 are at most this.
    pub p90: u64,
    /// 99 of 100 are at most this.
    pub p99: u64,
    /// The largest, exactly.
    pub max: u64,
}

/// A place at which reading can begin: a gzip member of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestartPoint {
    /// Lines before it, without the header.
    pub event: u64,
    /// Bytes of the table before it.
    pub uncompressed_offset: u64,
    /// Bytes of the file before it.
    pub compressed_offset: u64,
    /// The time of the first event after it.
    pub at_micros: u64,
}

impl Manifest {
    /// Reads a description.
    ///
    /// # Errors
    /// It is none, is of another version, or contradicts itself.
    pub fn read(json: &[u8]) -> Result<Self, Error> {
        let manifest: Self =
            serde_json::from_slice(json).map_err(|error| Error::Manifest(error.to_string()))?;
        manifest
            .check()
            .map_err(|problem| Error::Manifest(problem.to_owned()))?;
        Ok(manifest)
    }

    /// The description as it is written, with a line end.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Plain strings and numbers: serialising cannot fail.
        let mut json = serde_json::to_string_pretty(self).unwrap_or_default();
        json.push('\n');
        json
    }

    fn check(&self) -> Result<(), &'static str> {
        if self.api_version != API_VERSION {
            return Err("apiVersion is not trace.bakeoff.dev/v1");
        }
        if self.span_micros > super::MOST_MICROS + 1 {
            return Err("spanMicros exceeds 3000 years");
        }
        let counts = [
            self.counts.open,
            self.counts.created,
            self.counts.transition,
            self.counts.done,
        ];
        let lines = counts.into_iter().try_fold(0_u64, u64::checked_add);
        let lines = lines.ok_or("counts are not those of a trace")?;
        if self.restart_points.first().map(|point| point.event) != (lines > 0).then_some(0) {
            return Err("restartPoints do not begin with the first event");
        }
        for (index, point) in self.restart_points.iter().enumerate() {
            let next = self.restart_points.get(index + 1);
            let after = next.map_or(lines, |next| next.event);
            if after <= point.event || after - point.event > MOST_IN_BLOCK {
                return Err("restartPoints lie out of order, or more than 65536 events apart");
            }
            let ordered = next.is_none_or(|next| {
                next.at_micros >= point.at_micros
                    && next.compressed_offset > point.compressed_offset
            });
            if !ordered || point.at_micros >= self.span_micros {
                return Err("restartPoints are out of order, or lie outside the span");
            }
        }
        Ok(())
    }
}
