//! What a run left in buckets and databases that stay after it.

use super::{Backend, RunError};
use crate::store::StoreError;

/// Removes everything that a run left in external buckets and databases; answers how many objects and schemas.
///
/// # Errors
/// When a backend does not let it. A backend without a prefix of its own is refused: its bucket
/// may hold what is not ours.
pub async fn cleanup(backends: &[Backend]) -> Result<u64, RunError> {
    let mut removed = 0;
    let mut failed = None;
    // One that is away must not keep the others from being cleaned.
    for backend in backends
        .iter()
        .filter(|backend| !backend.resolved.provisioned)
    {
        let prefix = backend.prefix();
        if prefix.is_empty() {
            let text = format!(
                "backend {} has no prefix of its own: nothing was removed",
                backend.resolved.name
            );
            failed = failed.or(Some(StoreError::Unauthorised(text).into()));
            continue;
        }
        let done = match &backend.claim {
            Some(run) => backend
                .access
                .driver()
                .release(run)
                .await
                .map_err(RunError::from),
            None => backend.remove(&prefix).await.map_err(RunError::from),
        };
        match done {
            Ok(some) => removed += some,
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    failed.map_or(Ok(removed), Err)
}
