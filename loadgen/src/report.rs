//! Reads the raw data of a run, writes `summary.json`, `report.html` and `report.md`, and last of
//! all `index.json` with the size and SHA-256 of every file: only then are results complete.

use std::collections::BTreeSet;

use bakeoff_analysis::index::{self, Entry};
use bakeoff_analysis::measured::{Interrupted, RunData, SummaryError};
use bakeoff_analysis::outcome;
use bakeoff_analysis::report::{ReportInput, report_html, report_markdown};
use bakeoff_analysis::summary::{Summary, summarise};
use bakeoff_crds::capacity::CapacityRecord;
use bakeoff_crds::result::TrialRecord;
use bakeoff_crds::run::{Ending, Manifest, Outcome};
use bakeoff_crds::schedule;

use crate::store::layout;
use crate::store::{Store, StoreError};

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The results store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The folder holds no run.
    #[error("there is no manifest.json: is this the folder of a run?")]
    NoManifest,
    /// A file is no JSON of its kind.
    #[error("{file}: {source}")]
    Json {
        /// The file.
        file: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The raw data cannot be summarised.
    #[error(transparent)]
    Summary(#[from] SummaryError),
}

impl ReportError {
    /// The machine-readable reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Store(error) => error.reason(),
            Self::NoManifest => "ManifestMissing",
            Self::Json { .. } => "FileUnreadable",
            Self::Summary(error) => error.reason(),
        }
    }

    /// Whether another attempt could end better.
    #[must_use]
    pub fn retryable(&self) -> bool {
        matches!(self, Self::Store(error) if error.retryable())
    }
}

/// What a report leaves behind.
#[derive(Debug)]
pub struct Reported {
    /// For the status.
    pub outcome: Outcome,
    /// The summary.
    pub summary: Summary,
    /// The report as Markdown.
    pub markdown: String,
}

fn read<T: serde::de::DeserializeOwned>(file: &str, bytes: &[u8]) -> Result<T, ReportError> {
    serde_json::from_slice(bytes).map_err(|source| ReportError::Json {
        file: file.to_owned(),
        source,
    })
}

fn write<T: serde::Serialize>(file: &str, value: &T) -> Result<Vec<u8>, ReportError> {
    serde_json::to_vec_pretty(value).map_err(|source| ReportError::Json {
        file: file.to_owned(),
        source,
    })
}

/// Writes the report of the run in a store. `ending` says how it ended, where somebody knows. A
/// repetition gives the same files.
///
/// # Errors
/// When files are missing, unreadable or cannot be written.
pub async fn report(store: &Store, ending: Option<Ending>) -> Result<Reported, ReportError> {
    let bytes = store
        .get(layout::MANIFEST)
        .await?
        .ok_or(ReportError::NoManifest)?;
    let mut manifest: Manifest = read(layout::MANIFEST, &bytes)?;
    if ending.is_some() {
        manifest.ending = ending;
    }
    let scheduled = schedule::trials(&manifest.plan.spec);
    let mut entries: Vec<Entry> = Vec::new();
    let mut records: Vec<TrialRecord> = Vec::new();
    let mut begun: Vec<Interrupted> = Vec::new();
    let mut stopped: BTreeSet<(String, i32)> = BTreeSet::new();
    for name in store.list(layout::TRIALS).await? {
        let Some(bytes) = store.get(&name).await? else {
            continue;
        };
        entries.push(index::entry(&name, &bytes));
        let Some((id, attempt, file)) = layout::attempt_file(&name) else {
            continue;
        };
        match file {
            layout::TRIAL => records.push(read(&name, &bytes)?),
            layout::STARTED => {
                if let Some(trial) = scheduled.iter().find(|trial| trial.id == id) {
                    begun.push(Interrupted {
                        trial: trial.clone(),
                        attempt,
                        on_demand: false,
                    });
                }
            }
            layout::STOPPED => {
                stopped.insert((id.to_owned(), attempt));
            }
            _ => {}
        }
    }
    let mut capacities: Vec<CapacityRecord> = Vec::new();
    for name in store.list(layout::CAPACITY).await? {
        let Some(bytes) = store.get(&name).await? else {
            continue;
        };
        entries.push(index::entry(&name, &bytes));
        if !name.starts_with(layout::CAPACITY_STEPS) {
            capacities.push(read(&name, &bytes)?);
        }
    }
    for begun in &mut begun {
        begun.on_demand = stopped.contains(&(begun.trial.id.clone(), begun.attempt));
    }
    // Begun and not ended: a generator was stopped or lost.
    begun.retain(|begun| {
        !records
            .iter()
            .any(|record| record.trial.id == begun.trial.id && record.attempt == begun.attempt)
    });
    let data = RunData {
        manifest: &manifest,
        records: &records,
        interrupted: &begun,
        capacities: &capacities,
    };
    let summary = summarise(&data)?;

    let manifest_bytes = write(layout::MANIFEST, &manifest)?;
    let summary_bytes = write(layout::SUMMARY, &summary)?;
    entries.push(index::entry(layout::MANIFEST, &manifest_bytes));
    entries.push(index::entry(layout::SUMMARY, &summary_bytes));
    store.put(layout::MANIFEST, manifest_bytes).await?;
    store.put(layout::SUMMARY, summary_bytes).await?;
    let input = ReportInput {
        summary: &summary,
        manifest: &manifest,
        files: &entries,
    };
    let html = report_html(&input).into_bytes();
    let markdown = report_markdown(&input);
    entries.push(index::entry(layout::REPORT_HTML, &html));
    entries.push(index::entry(layout::REPORT_MARKDOWN, markdown.as_bytes()));
    store.put(layout::REPORT_HTML, html).await?;
    store
        .put(layout::REPORT_MARKDOWN, markdown.clone().into_bytes())
        .await?;
    let index = index::encode(&index::index(entries));
    let checksum = index::sha256(index.as_bytes());
    store.put(layout::INDEX, index.into_bytes()).await?;
    Ok(Reported {
        outcome: outcome::outcome(&summary, &checksum),
        summary,
        markdown,
    })
}
