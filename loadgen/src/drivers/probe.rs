//! Waits until a backend answers a signed request, and says helpfully why one does not.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::drivers::postgres::observe::{self, Writable};
use crate::drivers::postgres::{Connector, identifier};
use crate::drivers::redis::LockServer;
use crate::drivers::s3::ListRequest;
use crate::drivers::s3::conn::{Connection, Dialer};
use crate::failure::{Failure, FailureClass};

/// Credentials of a service that just started may need a moment to be known.
const REFUSALS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(500);
/// The longest that one look may take.
const PATIENCE: Duration = Duration::from_secs(10);

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
            Self::Standby { .. } | Self::ReadOnly { .. } => "EndpointReadOnly",
            Self::NoBucket { .. } => "BucketMissing",
        }
    }

    /// Whether a later attempt may succeed without a change by the user.
    #[must_use]
    pub fn retryable(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Standby { .. })
    }
}

/// Lists, writes and removes one object. A server may list before it can write (SeaweedFS grows its
/// first volumes only then, for seconds), and the first measured PUT must not pay for that.
async fn try_out(connection: &mut Connection, prefix: &str) -> Result<(), Failure> {
    let request = ListRequest {
        max_keys: 1,
        ..ListRequest::default()
    };
    connection.list(&request).await?;
    let key = match prefix {
        "" => "probe".to_owned(),
        prefix => format!("{prefix}/probe"),
    };
    let path = connection.target().object_path(&key);
    connection
        .put(&path, Bytes::from_static(b"probe").into())
        .await?;
    connection.delete(&path).await
}

/// Waits until the backend lists its bucket and takes an object under `prefix`. The bucket is created
/// where `may_create`.
///
/// # Errors
/// When it does not within `patience`, or clearly never will.
pub async fn wait(
    backend: &str,
    dialer: &Dialer,
    prefix: &str,
    may_create: bool,
    patience: Duration,
) -> Result<(), ProbeError> {
    let target = dialer.target();
    let endpoint = target.authority.clone();
    let deadline = Instant::now() + patience;
    let mut refusals = 0;
    loop {
        // A fresh connection each time: the server may have been replaced behind its name.
        let mut connection = dialer.connection();
        let asked = tokio::time::timeout(PATIENCE, try_out(&mut connection, prefix)).await;
        let failure = match asked {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(failure)) => failure,
            Err(_) => Failure::new(FailureClass::Timeout, "no answer within 10 s"),
        };
        let mut last = failure.to_string();
        let code = failure.code.as_deref();
        if code == Some("NoSuchBucket")
            || (failure.class == FailureClass::NotFound && code.is_none())
        {
            if !may_create {
                return Err(ProbeError::NoBucket {
                    backend: backend.to_owned(),
                    bucket: target.bucket.clone(),
                });
            }
            match connection.create_bucket().await {
                Ok(()) => continue,
                Err(failure) => last = failure.to_string(),
            }
        } else if failure.class == FailureClass::Client {
            refusals += 1;
            if refusals >= REFUSALS {
                return Err(ProbeError::Unauthorised {
                    backend: backend.to_owned(),
                    endpoint,
                    said: last,
                });
            }
        }
        tracing::info!(backend, endpoint, last, "not ready yet");
        if Instant::now() + PAUSE >= deadline {
            let seconds = patience.as_secs();
            return Err(ProbeError::Unreachable {
                backend: backend.to_owned(),
                endpoint,
                seconds,
                last,
            });
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Waits until a Postgres server answers a query of the experiment's user.
///
/// # Errors
/// When it does not within `patience`, or refuses the user.
pub async fn wait_postgres(
    backend: &str,
    connector: &Connector,
    patience: Duration,
) -> Result<(), ProbeError> {
    wait_until(backend, connector.address(), patience, async || {
        let client = connector.connect().await?;
        match observe::writable(&client).await? {
            Writable::Yes => Ok(()),
            // It may be promoted, or another take its place behind its name.
            Writable::Standby => Err(Failure::new(FailureClass::Server, STANDBY)),
            Writable::ReadOnly => Err(Failure::new(FailureClass::Client, READ_ONLY)),
        }
    })
    .await
    .map_err(|error| match error {
        ProbeError::Unreachable {
            backend,
            endpoint,
            seconds,
            last,
        } if last.contains(STANDBY) => ProbeError::Standby {
            backend,
            endpoint,
            seconds,
        },
        ProbeError::Unauthorised {
            backend,
            endpoint,
            said,
        } if said.contains(READ_ONLY) => ProbeError::ReadOnly {
            backend,
            endpoint,
            user: identifier(connector.user()),
        },
        other => other,
    })
}

const STANDBY: &str = "the server is a standby";
const READ_ONLY: &str = "its transactions are read-only";

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
async fn wait_until(
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
        if failure.class == FailureClass::Client {
            refusals += 1;
            if refusals >= REFUSALS {
                return Err(ProbeError::Unauthorised {
                    backend: backend.to_owned(),
                    endpoint: endpoint.to_owned(),
                    said: failure.to_string(),
                });
            }
        }
        if Instant::now() + PAUSE >= deadline {
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
