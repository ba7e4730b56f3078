//! The records of a series in the results store: read, judged and written by the report of each run. (I/O.)

use bakeoff_analysis::report::trend;
use bakeoff_analysis::series::{judge, record};
use bakeoff_analysis::summary::Summary;
use bakeoff_crds::history::RunRecord;
use bakeoff_crds::run::{Manifest, StoreTarget};
use bakeoff_crds::spec::Series;
use futures::StreamExt as _;

use crate::store::layout;
use crate::store::{Store, StoreError};

/// How many of the newest records are read.
pub const MOST_RECORDS: usize = 1_000;
/// Reads at the same time.
const READS: usize = 16;

/// A run within its history.
pub struct History {
    /// The record of the run, with what is concluded.
    pub record: RunRecord,
    series: Option<Series>,
    /// The other runs of its series.
    before: Vec<RunRecord>,
}

impl History {
    /// Holds a run against the runs of its series. A series without figures to watch is kept, and not looked at.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn of(
        catalogue: &Store,
        manifest: &Manifest,
        summary: &Summary,
    ) -> Result<Self, StoreError> {
        let mut record = record::record(manifest, summary);
        let series = manifest.plan.spec.series.clone();
        let mut before = Vec::new();
        if let Some(series) = series.as_ref().filter(|series| series.regression.is_some()) {
            before = read(catalogue).await?;
            before.retain(|other| other.experiment.uid != record.experiment.uid);
            record.verdict = judge(series, &before, &record);
        }
        Ok(Self {
            record,
            series,
            before,
        })
    }

    /// The history as a page, where there is one to show.
    #[must_use]
    pub fn trend(&self) -> Option<String> {
        let series = self.series.as_ref()?;
        let regression = series.regression.as_ref()?;
        let mut records = self.before.clone();
        // As it stood when the run began: a repeated report gives the same page.
        records.retain(|record| record.started_at < self.record.started_at);
        records.push(self.record.clone());
        let name = format!("{}/{}", self.record.experiment.namespace, series.name);
        Some(trend::trend_html(&name, regression, &records))
    }

    /// Writes the record of the run. A repetition writes the same.
    ///
    /// # Errors
    /// The store does not take it.
    pub async fn write(&self, catalogue: &Store) -> Result<(), StoreError> {
        // Plain strings and numbers: serialising cannot fail.
        let bytes = serde_json::to_vec(&self.record).unwrap_or_default();
        catalogue
            .put(&layout::run_record(&self.record), bytes)
            .await
    }
}

/// The newest records of a series, in the order of their starts. One that cannot be read is left out, and said in the log.
///
/// # Errors
/// The store does not answer.
pub async fn read(catalogue: &Store) -> Result<Vec<RunRecord>, StoreError> {
    let mut names = catalogue.list("").await?;
    let names = names.split_off(names.len().saturating_sub(MOST_RECORDS));
    let reads = names.into_iter().map(|name| async move {
        let bytes = catalogue.get(&name).await?;
        Ok::<_, StoreError>((name, bytes))
    });
    let mut reads = futures::stream::iter(reads).buffered(READS);
    let mut records = Vec::new();
    while let Some(read) = reads.next().await {
        let (name, bytes) = read?;
        match bytes.map(|bytes| serde_json::from_slice(&bytes)) {
            Some(Ok(record)) => records.push(record),
            Some(Err(error)) => {
                tracing::warn!(name, %error, "a record of the history cannot be read")
            }
            None => {}
        }
    }
    Ok(records)
}

/// Where the records of the series of a run are: in the bucket of its results, beside the folders of all runs.
#[must_use]
pub fn place(results: &StoreTarget, manifest: &bakeoff_crds::run::RunPlan) -> StoreTarget {
    let own = manifest.experiment.prefix();
    let root = results.prefix.strip_suffix(&own).unwrap_or_default();
    let series = manifest.spec.series.as_ref();
    let folder = layout::catalogue(
        manifest.experiment.namespace.as_str(),
        series.map(|series| series.name.as_str()),
    );
    StoreTarget {
        prefix: format!("{root}{folder}"),
        ..results.clone()
    }
}
