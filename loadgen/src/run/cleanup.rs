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
    let mut pause = Duration::from_millis(500);
    let mut removed = 0;
    let mut refused = None;
    let mut left: Vec<&Backend> = backends
        .iter()
        .filter(|backend| !backend.resolved.provisioned)
        .collect();
    loop {
        let mut away = Vec::new();
        let mut silent = None;
        let time = deadline
            .saturating_duration_since(Instant::now())
            .max(LEAST);
        let cleaned = join_all(left.iter().map(|&backend| clean(backend, time))).await;
        for (backend, cleaned) in left.into_iter().zip(cleaned) {
            match cleaned {
                Ok(some) => removed += some,
                Err(error) if error.retryable() => {
                    tracing::warn!(%error, backend = backend.resolved.name, "not cleaned yet");
                    away.push(backend);
                    silent = silent.or(Some(error));
                }
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        if away.is_empty() || Instant::now() + pause >= deadline {
            // What only the user can mend is said first.
            return refused.or(silent).map_or(Ok(removed), Err);
        }
        left = away;
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
