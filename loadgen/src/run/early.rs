//! Whether a run may end before its last block, from what is in the results store.
//!
//! Only complete blocks are looked at, and only at the looks that the spec plans, so a generator
//! that resumes comes to the same answer as the one that was lost.

use bakeoff_analysis::decision::DecisionRecord;
use bakeoff_analysis::early_stop::may_stop;
use bakeoff_analysis::measured::RunData;
use bakeoff_crds::conformance::ConformanceRecord;
use bakeoff_crds::result::TrialRecord;
use bakeoff_crds::run::Manifest;

use crate::report::ReportError;
use crate::store::Store;
use crate::store::layout;

/// The decision of a run whose first `blocks` blocks settle it, `None` while they do not.
///
/// # Errors
/// When the store cannot be read or holds what is no run.
pub async fn settled(store: &Store, blocks: i32) -> Result<Option<DecisionRecord>, ReportError> {
    let read = |file: &str, source| ReportError::Json {
        file: file.to_owned(),
        source,
    };
    let bytes = store
        .get(layout::MANIFEST)
        .await?
        .ok_or(ReportError::NoManifest)?;
    let manifest: Manifest =
        serde_json::from_slice(&bytes).map_err(|source| read(layout::MANIFEST, source))?;
    if manifest.plan.spec.trials.early_stop.is_none() {
        return Ok(None);
    }
    let mut records: Vec<TrialRecord> = Vec::new();
    for name in store.list(layout::TRIALS).await? {
        if layout::attempt_file(&name).is_none_or(|(_, _, file)| file != layout::TRIAL) {
            continue;
        }
        if let Some(bytes) = store.get(&name).await? {
            // One that is damaged is repeated, and counts once it is there.
            records.extend(serde_json::from_slice::<TrialRecord>(&bytes).ok());
        }
    }
    // The report reads them too: both have to come to the same answer.
    let mut conformance: Vec<ConformanceRecord> = Vec::new();
    for name in store.list(layout::CONFORMANCE).await? {
        if let Some(bytes) = store.get(&name).await? {
            conformance.extend(serde_json::from_slice::<ConformanceRecord>(&bytes).ok());
        }
    }
    let data = RunData {
        conformance: &conformance,
        ..RunData::new(&manifest, &records)
    };
    Ok(may_stop(&data, blocks)?)
}
