//! Waits until a backend answers, and says helpfully why one does not. How each protocol asks stands in its folder.

use std::time::Duration;

use tokio::time::Instant;

use crate::drivers::redis::LockServer;
use crate::failure::{Failure, FailureClass, Remedy};

/// Credentials of a service that just started may need a moment to be known.
pub(super) const REFUSALS: u32 = 10;
/// The pause between two looks.
pub(super) const PAUSE: Duration = Duration::from_millis(500);
/// The longest that one look may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Why a backend cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// It did not answer in time.
    #[error(
        "backend {backend} at {endpoint} did not answer within {seconds} s ({last}): check the endpoint, the \
         network policy and whether the server runs"
    )]
    Unreachable {
        /// Its name.
        backend: String,
        /// Where it should be.
        endpoint: String,
        /// How long it was waited for.
        seconds: u64,
        /// What the last try said.
        last: String,
    },
    /// It refuses the credentials.
    #[error(
        "backend {backend} at {endpoint} refuses the credentials ({said}): check accessKeyId and secretAccessKey \
         in its Secret, their rights on the bucket, and the region"
    )]
    Unauthorised {
        /// Its name.
        backend: String,
        /// Where it is.
        endpoint: String,
        /// What it said.
        said: String,
    },
    /// It refuses what is asked of it for another reason than who asks.
    #[error("backend {backend} at {endpoint} cannot be used ({said}): {remedy}")]
    Refused {
        /// Its name.
        backend: String,
        /// Where it is.
        endpoint: String,
        /// What it said.
        said: String,
        /// What to change.
        remedy: Box<Remedy>,
    },
    /// It is in recovery, and takes no writes.
    #[error(
        "backend {backend} at {endpoint} is a standby (pg_is_in_recovery), and was not promoted within {seconds} s: name the \
         endpoint of the primary"
    )]
    Standby {
        /// Its name.
        backend: String,
        /// Where it is.
        endpoint: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// Its commits wait for standbys that are not there.
    #[error(
        "backend {backend} at {endpoint} acknowledges no commit, and did not within {seconds} s ({said}): see that the standbys of \
         synchronous_standby_names follow it (pg_stat_replication)"
    )]
    StandbyMissing {
        /// Its name.
        backend: String,
        /// Where it is.
        endpoint: String,
        /// How long it was waited for.
        seconds: u64,
        /// What it waits for.
        said: String,
    },
    /// The user's transactions are read-only.
    #[error(
        "backend {backend} at {endpoint} lets the user only read (default_transaction_read_only is on): name the endpoint that \
         takes writes, or ALTER ROLE {user} SET default_transaction_read_only = off"
    )]
    ReadOnly {
        /// Its name.
        backend: String,
        /// Where it is.
        endpoint: String,
        /// The user, as SQL writes it.
        user: String,
    },
    /// The bucket of an external endpoint does not exist.
    #[error(
        "backend {backend} has no bucket {bucket}: create it; external buckets are never created for you"
    )]
    NoBucket {
        /// Its name.
        backend: String,
        /// The bucket.
        bucket: String,
    },
}

impl ProbeError {
    /// The machine-readable reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "EndpointUnreachable",
            Self::Unauthorised { .. } => "EndpointUnauthorized",
            Self::Refused { remedy, .. } => remedy.reason(),
            Self::Standby { .. } | Self::ReadOnly { .. } => "EndpointReadOnly",
            Self::StandbyMissing { .. } => "StandbyMissing",
            Self::NoBucket { .. } => "BucketMissing",
        }
    }

    /// Whether a later attempt may succeed without a change by the user.
    #[must_use]
    pub fn retryable(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. } | Self::Standby { .. } | Self::StandbyMissing { .. }
        )
    }
}

/// Waits until a lock server answers, whatever its name in the plan.
///
/// # Errors
/// When it does not within `patience`, or refuses the password.
pub async fn wait_lock(
    name: &str,
    server: &LockServer,
    patience: Duration,
) -> Result<(), ProbeError> {
    wait_until(name, server.address(), patience, async || {
        server.connect().await.map(|_| ())
    })
    .await
}

/// Asks until it is answered.
pub(super) async fn wait_until(
    backend: &str,
    endpoint: &str,
    patience: Duration,
    ask: impl AsyncFn() -> Result<(), Failure>,
) -> Result<(), ProbeError> {
    let deadline = Instant::now() + patience;
    let mut refusals = 0;
    loop {
        let failure = match tokio::time::timeout(PATIENCE, ask()).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(failure)) => failure,
            Err(_) => Failure::new(FailureClass::Timeout, "no answer within 10 s"),
        };
        tracing::info!(backend, endpoint, %failure, "not ready yet");
        let over = Instant::now() + PAUSE >= deadline;
        if failure.class == FailureClass::Client {
            refusals += 1;
            // One that refused to the last did answer.
            if refusals >= REFUSALS || over {
                return Err(ProbeError::Unauthorised {
                    backend: backend.to_owned(),
                    endpoint: endpoint.to_owned(),
                    said: failure.to_string(),
                });
            }
        }
        if over {
            return Err(ProbeError::Unreachable {
                backend: backend.to_owned(),
                endpoint: endpoint.to_owned(),
                seconds: patience.as_secs(),
                last: failure.to_string(),
            });
        }
        tokio::time::sleep(PAUSE).await;
    }
}
