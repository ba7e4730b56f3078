//! Where the traces are that a run replays. (I/O.)

use std::path::PathBuf;

use bakeoff_crds::run::{RunPlan, StoreTarget};
use bakeoff_crds::spec::{TRACE_EVENTS, TRACE_MANIFEST, TraceSource, Workload};

use crate::store::{PATIENCE, Store, StoreError, layout};

/// The largest table of events that is fetched, compressed bytes.
const MOST_EVENTS_BYTES: u64 = 1_536 << 20;
/// The largest description of one, bytes.
const MOST_MANIFEST_BYTES: u64 = 64 << 20;

/// Why a trace is not at hand.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// It is not where it should be.
    #[error("{0}")]
    Absent(String),
    /// It cannot be fetched.
    #[error("the trace {0}: {1}")]
    Store(String, StoreError),
    /// It is there and cannot be replayed as asked.
    #[error("{0}")]
    Unusable(String),
}

impl TraceError {
    /// The machine-readable reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Absent(_) => "TraceMissing",
            Self::Store(_, error) => error.reason(),
            Self::Unusable(_) => "TraceUnusable",
        }
    }

    /// Whether another attempt could end better.
    #[must_use]
    pub fn retryable(&self) -> bool {
        matches!(self, Self::Store(_, error) if error.retryable())
    }
}

/// Where the traces of a run are.
#[derive(Debug, Default)]
pub struct Traces {
    /// The folder with a folder for each ConfigMap.
    mounted: Option<PathBuf>,
    /// The store with a folder `traces`; absent where no workload asks for it.
    store: Option<Store>,
    /// Where what was fetched is kept; it goes when this does.
    scratch: Option<PathBuf>,
}

impl Drop for Traces {
    fn drop(&mut self) {
        if let Some(scratch) = &self.scratch {
            // It may be that nothing was fetched.
            let _ = std::fs::remove_dir_all(scratch);
        }
    }
}

impl Traces {
    /// Those of ConfigMaps alone: `mounted` has a folder for each.
    #[must_use]
    pub fn in_folder(mounted: Option<PathBuf>) -> Self {
        Self {
            mounted,
            store: None,
            scratch: None,
        }
    }

    /// Those of a plan. `mounted` has a folder for each ConfigMap.
    ///
    /// # Errors
    /// The credentials of the results store cannot be read.
    pub fn of(plan: &RunPlan, mounted: Option<PathBuf>) -> Result<Self, StoreError> {
        let mut traces = plan.spec.workloads.iter().filter_map(Workload::trace);
        let fetches = traces.any(|trace| trace.path.is_some());
        let store = if fetches {
            Some(Store::open(&root(plan))?)
        } else {
            None
        };
        let scratch = format!("bakeoff-traces-{}", std::process::id());
        Ok(Self {
            mounted,
            scratch: store.is_some().then(|| std::env::temp_dir().join(scratch)),
            store,
        })
    }

    /// The folder of a trace on this machine. What is in the results store is fetched, once.
    ///
    /// # Errors
    /// It is not there, too large, or the store does not answer.
    pub async fn folder(&self, source: &TraceSource) -> Result<PathBuf, TraceError> {
        if let Some(map) = &source.config_map_ref {
            let folder = self.mounted.as_ref().map(|mounted| mounted.join(&map.name));
            return folder.filter(|folder| folder.is_dir()).ok_or_else(|| {
                TraceError::Absent(format!(
                    "there is no folder for the ConfigMap {}: name the folder that it is in with --traces",
                    map.name
                ))
            });
        }
        let (Some(path), Some(store)) = (&source.path, &self.store) else {
            return Err(TraceError::Absent(
                "a trace sets exactly one of configMapRef and path".to_owned(),
            ));
        };
        let name = layout::trace(path);
        if let Store::Folder(folder) = store {
            return Ok(folder.join(&name));
        }
        let scratch = self.scratch.clone().unwrap_or_else(std::env::temp_dir);
        let folder = scratch.join(&name);
        let failed = |error| TraceError::Store(path.clone(), error);
        // The description comes last: a folder without it holds no trace.
        for (file, most) in [
            (TRACE_EVENTS, MOST_EVENTS_BYTES),
            (TRACE_MANIFEST, MOST_MANIFEST_BYTES),
        ] {
            let to = folder.join(file);
            if to.is_file() {
                continue;
            }
            let from = format!("{name}/{file}");
            if !store
                .fetch_durably(&from, &to, most, PATIENCE)
                .await
                .map_err(failed)?
            {
                return Err(TraceError::Absent(format!(
                    "{from} is not in the bucket of the results: put the trace there with loadgen trace put"
                )));
            }
        }
        Ok(folder)
    }
}

/// The bucket of the results, above the folders of all runs.
fn root(plan: &RunPlan) -> StoreTarget {
    let own = plan.experiment.prefix();
    let results = &plan.results;
    StoreTarget {
        prefix: results
            .prefix
            .strip_suffix(&own)
            .unwrap_or(&results.prefix)
            .to_owned(),
        ..results.clone()
    }
}
