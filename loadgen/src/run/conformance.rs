//! What of S3 each store keeps, asked once before the first block.

use bakeoff_crds::conformance::ConformanceRecord;

use super::{Run, RunError, STORE_PATIENCE, stoppable};
use crate::conformance::examine;
use crate::store::layout;

impl Run {
    /// Examines each S3 store of which no record is there, and keeps what it answered. Not once trials have `begun`: then it
    /// would disturb a run that was begun without it.
    ///
    /// # Errors
    /// When the results store does not take the record, or the process is asked to stop. Whatever a backend answers is in the
    /// record.
    pub(super) async fn conformance(&self, begun: bool) -> Result<(), RunError> {
        for backend in &self.backends {
            let at = &backend.resolved.name;
            let name = layout::conformance(at);
            if begun || self.is_recorded(&name).await? {
                continue;
            }
            self.control.update(|progress| {
                progress.current = Some(format!("what of S3 {at} keeps"));
            });
            let Some(record) = stoppable(
                examine(&backend.access, &backend.resolved),
                self.stop.clone(),
            )
            .await?
            else {
                continue;
            };
            let broken = record.checks.iter().filter(|one| one.is_broken()).count();
            tracing::info!(
                backend = at,
                broken,
                millis = record.millis,
                "S3 is checked"
            );
            if !record.left.is_empty() {
                tracing::warn!(
                    backend = at,
                    left = record.left,
                    "objects of the checks are left"
                );
            }
            self.put_json(&name, &record).await?;
        }
        Ok(())
    }

    async fn is_recorded(&self, name: &str) -> Result<bool, RunError> {
        let before = self.store.get_durably(name, STORE_PATIENCE);
        let Some(bytes) = stoppable(before, self.stop.clone()).await?? else {
            return Ok(false);
        };
        let read = serde_json::from_slice::<ConformanceRecord>(&bytes);
        if let Err(error) = &read {
            tracing::warn!(%error, name, "a record cannot be read; its checks are repeated");
        }
        Ok(read.is_ok())
    }
}
