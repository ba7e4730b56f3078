//! What a run left in buckets and databases that stay after it.

use super::{Backend, RunError};
use crate::store::StoreError;
use futures::future::join_all;
use std::time::Duration;
use tokio::time::Instant;

/// The longest pause between two attempts at what is away.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// What a database has at least to drop a schema, however little patience is left.
const LEAST: Duration = Duration::from_secs(10);

/// Removes everything that a run left in external buckets and databases; answers how many objects and schemas. What is away, as a
/// server that is started anew, is asked again for as long as `patience`, and a schema that is held may take no longer; the others do
/// not wait for them.
///
/// # Errors
/// When a backend does not let it. A backend without a prefix of its own is refused: its bucket
/// may hold what is not ours.
pub async fn cleanup(backends: &[Backend], patience: Duration) -> Result<u64, RunError> {
    let deadline = Instant::now() + patience;
    let left = backends
        .iter()
        .filter(|backend| !backend.resolved.provisioned);
    let mut removed = 0;
    let (mut refused, mut silent) = (None, None);
    for cleaned in join_all(left.map(|backend| clean_by(backend, deadline))).await {
        match cleaned {
            Ok(some) => removed += some,
            Err(error) if error.retryable() => silent = silent.or(Some(error)),
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    // What only the user can mend is said first.
    refused.or(silent).map_or(Ok(removed), Err)
}

/// Cleans one backend, which is asked again while it is away.
async fn clean_by(backend: &Backend, deadline: Instant) -> Result<u64, RunError> {
    let mut pause = Duration::from_millis(500);
    loop {
        let time = deadline.saturating_duration_since(Instant::now());
        match clean(backend, time.max(LEAST)).await {
            Err(error) if error.retryable() && Instant::now() + pause < deadline => {
                tracing::warn!(%error, backend = backend.resolved.name, "not cleaned yet");
            }
            ended => return ended,
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn clean(backend: &Backend, time: Duration) -> Result<u64, RunError> {
    let prefix = backend.prefix();
    if prefix.is_empty() {
        let text = format!(
            "backend {} has no prefix of its own: nothing was removed",
            backend.resolved.name
        );
        return Err(StoreError::Unauthorised(text).into());
    }
    match &backend.claim {
        Some(run) => Ok(backend.access.driver().release(run, time).await?),
        None => Ok(backend.remove(&prefix).await?),
    }
}
