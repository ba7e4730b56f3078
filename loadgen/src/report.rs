//! Reads the raw data of a run, writes `summary.json`, `report.html` and `report.md`, and last of
//! all `index.json` with the size and SHA-256 of every file: only then are results complete.

use std::collections::{BTreeMap, BTreeSet};

use bakeoff_analysis::handover;
use bakeoff_analysis::index::{self, Entry, Index};
use bakeoff_analysis::measured::{Cause, Interrupted, RunData, SummaryError};
use bakeoff_analysis::report::{ReportInput, report_html, report_markdown};
use bakeoff_analysis::summary::{Summary, summarise};
use bakeoff_crds::capacity::CapacityRecord;
use bakeoff_crds::conformance::ConformanceRecord;
use bakeoff_crds::history::RegressionStatus;
use bakeoff_crds::result::TrialRecord;
use bakeoff_crds::run::{Ending, Handover, Manifest};
use bakeoff_crds::schedule::{self, Trial};

use crate::history::History;
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
    /// Raw data that an earlier report was made of are not what its index lists.
    #[error("the raw data are not what {} lists: {}. Restore them, or report on what is there with --force", layout::INDEX, .0.join("; "))]
    Altered(Vec<String>),
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
            Self::Altered(_) => "RawDataAltered",
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
    pub handover: Handover,
    /// The summary.
    pub summary: Summary,
    /// The report as Markdown.
    pub markdown: String,
    /// Files that cannot be read, each with the reason; the report is made of the others.
    pub damaged: Vec<String>,
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

/// What the raw files of a run hold.
#[derive(Default)]
struct Raw {
    entries: Vec<Entry>,
    records: Vec<TrialRecord>,
    begun: Vec<Interrupted>,
    capacities: Vec<CapacityRecord>,
    conformance: Vec<ConformanceRecord>,
    damaged: Vec<String>,
}

impl Raw {
    async fn read(store: &Store, scheduled: &[Trial]) -> Result<Self, ReportError> {
        let mut raw = Self::default();
        let mut stopped: BTreeSet<(String, i32)> = BTreeSet::new();
        for name in store.list(layout::TRIALS).await? {
            let Some(bytes) = store.get(&name).await? else {
                continue;
            };
            raw.entries.push(index::entry(&name, &bytes));
            let Some((id, attempt, file)) = layout::attempt_file(&name) else {
                continue;
            };
            match file {
                layout::TRIAL => match serde_json::from_slice(&bytes) {
                    Ok(record) => raw.records.push(record),
                    Err(error) => {
                        let why = raw.damage(&name, &error);
                        raw.begin(scheduled, id, attempt, Cause::Damaged(why));
                    }
                },
                layout::STARTED => raw.begin(scheduled, id, attempt, Cause::Lost),
                layout::STOPPED => {
                    stopped.insert((id.to_owned(), attempt));
                }
                _ => {}
            }
        }
        for name in store.list(layout::CAPACITY).await? {
            let Some(bytes) = store.get(&name).await? else {
                continue;
            };
            raw.entries.push(index::entry(&name, &bytes));
            if !name.starts_with(layout::CAPACITY_STEPS) {
                match serde_json::from_slice(&bytes) {
                    Ok(capacity) => raw.capacities.push(capacity),
                    Err(error) => drop(raw.damage(&name, &error)),
                }
            }
        }
        for name in store.list(layout::CONFORMANCE).await? {
            let Some(bytes) = store.get(&name).await? else {
                continue;
            };
            raw.entries.push(index::entry(&name, &bytes));
            match serde_json::from_slice(&bytes) {
                Ok(record) => raw.conformance.push(record),
                Err(error) => drop(raw.damage(&name, &error)),
            }
        }
        let records = &raw.records;
        // Begun and not ended: a generator was stopped or lost.
        raw.begun.retain(|begun| {
            !records
                .iter()
                .any(|record| record.trial.id == begun.trial.id && record.attempt == begun.attempt)
        });
        for begun in &mut raw.begun {
            let told = stopped.contains(&(begun.trial.id.clone(), begun.attempt));
            if told && begun.cause == Cause::Lost {
                begun.cause = Cause::OnDemand;
            }
        }
        Ok(raw)
    }

    fn damage(&mut self, name: &str, error: &serde_json::Error) -> String {
        let why = format!("{name}: {error}");
        self.damaged.push(why.clone());
        why
    }

    /// Notes an attempt of which no end is known; that its record is damaged says more than that it was begun.
    fn begin(&mut self, scheduled: &[Trial], id: &str, attempt: i32, cause: Cause) {
        let known = |begun: &&mut Interrupted| begun.trial.id == id && begun.attempt == attempt;
        if let Some(begun) = self.begun.iter_mut().find(known) {
            if cause != Cause::Lost {
                begun.cause = cause;
            }
        } else if let Some(trial) = scheduled.iter().find(|trial| trial.id == id) {
            self.begun.push(Interrupted {
                trial: trial.clone(),
                attempt,
                cause,
            });
        }
    }

    /// How it, and what is kept of an earlier report, differ from what the index of that lists. What was measured since then is no
    /// difference.
    async fn altered(&self, store: &Store, kept: &Concluded) -> Result<Vec<String>, ReportError> {
        let Some(bytes) = store.get(layout::INDEX).await? else {
            return Ok(Vec::new());
        };
        let Ok(before) = serde_json::from_slice::<Index>(&bytes) else {
            return Ok(vec![format!("{} itself cannot be read", layout::INDEX)]);
        };
        let now: BTreeMap<&str, &str> = self
            .entries
            .iter()
            .chain(&kept.entries)
            .map(|entry| (entry.name.as_str(), entry.sha256.as_str()))
            .collect();
        let raw = |entry: &&Entry| {
            layout::RAW
                .iter()
                .chain(kept.names)
                .any(|name| entry.name.starts_with(name))
        };
        let listed = before.files.iter().filter(raw);
        Ok(listed
            .filter_map(|entry| match now.get(entry.name.as_str()) {
                None => Some(format!("{} is missing", entry.name)),
                Some(sum) if *sum != entry.sha256 => Some(format!("{} has changed", entry.name)),
                Some(_) => None,
            })
            .collect())
    }
}

/// What an earlier report concluded of the history of the run, and the page that it drew: without the history nobody can do so anew.
#[derive(Default)]
struct Concluded {
    verdict: Option<RegressionStatus>,
    trend: Option<Vec<u8>>,
    entries: Vec<Entry>,
    /// What has to be as it was; nothing where the history is at hand.
    names: &'static [&'static str],
}

impl Concluded {
    async fn read(store: &Store) -> Result<Self, ReportError> {
        let mut found = Self {
            names: &[layout::REGRESSION, layout::TREND],
            ..Self::default()
        };
        if let Some(bytes) = store.get(layout::REGRESSION).await? {
            found.entries.push(index::entry(layout::REGRESSION, &bytes));
            match serde_json::from_slice(&bytes) {
                Ok(verdict) => found.verdict = Some(verdict),
                Err(error) => {
                    tracing::warn!(%error, "what was said of the runs before cannot be read; the report does without it")
                }
            }
        }
        if let Some(page) = store.get(layout::TREND).await? {
            found.entries.push(index::entry(layout::TREND, &page));
            found.trend = Some(page);
        }
        Ok(found)
    }
}

/// Writes the report of the run in a store. `ending` says how it ended, where somebody knows. A
/// repetition gives the same files. A record that cannot be read counts as an attempt without an end, and is named; raw
/// data that are not those of an earlier report are reported on with `force` alone. With a catalogue the run is held against
/// the runs of its series there, and gets a record of its own.
///
/// # Errors
/// When the manifest is missing or unreadable, raw data were altered, or files cannot be written.
pub async fn report(
    store: &Store,
    ending: Option<Ending>,
    force: bool,
    catalogue: Option<&Store>,
) -> Result<Reported, ReportError> {
    let bytes = store
        .get(layout::MANIFEST)
        .await?
        .ok_or(ReportError::NoManifest)?;
    let mut manifest: Manifest = read(layout::MANIFEST, &bytes)?;
    if ending.is_some() {
        manifest.ending = ending;
    }
    let scheduled = schedule::trials(&manifest.plan.spec);
    let raw = Raw::read(store, &scheduled).await?;
    let kept = match catalogue {
        Some(_) => Concluded::default(),
        None => Concluded::read(store).await?,
    };
    let altered = raw.altered(store, &kept).await?;
    if !altered.is_empty() && !force {
        return Err(ReportError::Altered(altered));
    }
    let data = RunData {
        manifest: &manifest,
        records: &raw.records,
        interrupted: &raw.begun,
        capacities: &raw.capacities,
        conformance: &raw.conformance,
    };
    let summary = summarise(&data)?;

    let mut entries = raw.entries;
    if let Some(damaged) = store.get(layout::DAMAGED_MANIFEST).await? {
        entries.push(index::entry(layout::DAMAGED_MANIFEST, &damaged));
    }
    let manifest_bytes = write(layout::MANIFEST, &manifest)?;
    let summary_bytes = write(layout::SUMMARY, &summary)?;
    entries.push(index::entry(layout::MANIFEST, &manifest_bytes));
    entries.push(index::entry(layout::SUMMARY, &summary_bytes));
    store.put(layout::MANIFEST, manifest_bytes).await?;
    store.put(layout::SUMMARY, summary_bytes).await?;
    let history = match catalogue {
        Some(catalogue) => Some(History::of(catalogue, &manifest, &summary).await?),
        None => None,
    };
    let (verdict, trend) = match &history {
        Some(history) => (
            history.record.verdict.clone(),
            history.trend().map(String::into_bytes),
        ),
        None => (kept.verdict, kept.trend),
    };
    if let Some(trend) = trend {
        entries.push(index::entry(layout::TREND, &trend));
        store.put(layout::TREND, trend).await?;
    }
    if let Some(verdict) = &verdict {
        let bytes = write(layout::REGRESSION, verdict)?;
        entries.push(index::entry(layout::REGRESSION, &bytes));
        store.put(layout::REGRESSION, bytes).await?;
    }
    let input = ReportInput {
        summary: &summary,
        manifest: &manifest,
        files: &entries,
        history: verdict.as_ref(),
        altered: &altered,
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
    let mut handover = handover::handover(&summary, &checksum);
    handover.regression = verdict;
    if let (Some(catalogue), Some(history)) = (catalogue, &history) {
        match history.write(catalogue).await {
            // The keys of a bucket may reach the folder of the run alone; only a history rests on the record.
            Err(error) if manifest.plan.spec.series.is_none() => {
                tracing::warn!(%error, "the run has no record in the catalogue");
            }
            written => written?,
        }
    }
    Ok(Reported {
        handover,
        summary,
        markdown,
        damaged: raw.damaged,
    })
}
