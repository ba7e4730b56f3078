//! Waits until a backend answers a signed request, and says helpfully why one does not.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tokio_postgres::Client;

use crate::drivers::postgres::observe::{self, Writable};
use crate::drivers::postgres::{Connector, identifier, replication};
use crate::drivers::redis::LockServer;
use crate::drivers::s3::ListRequest;
use crate::drivers::s3::conn::Connection;
use crate::drivers::s3::dialer::Dialer;
use crate::failure::{Failure, FailureClass, Remedy};

/// Credentials of a service that just started may need a moment to be known.
const REFUSALS: u32 = 10;
/// New keys of a large service take longer to be known everywhere.
const REFUSALS_OF_NEW_KEYS: u32 = 60;
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

/// Lists, writes and removes one object, all below `prefix`: rights may be confined to it. A server may list before it
/// can write (SeaweedFS grows its first volumes only then, for seconds), and the first measured PUT must not pay for that.
async fn try_out(connection: &mut Connection, prefix: &str, external: bool) -> Result<(), Failure> {
    let below = match prefix {
        "" => String::new(),
        prefix => format!("{prefix}/"),
    };
    let request = ListRequest {
        prefix: &below,
        max_keys: 1,
        ..ListRequest::default()
    };
    let doing = |what: &'static str| move |failure: Failure| failure.during(what);
    connection
        .list(&request)
        .await
        .map_err(doing("listing below its prefix"))?;
    // Stores that know no Object Lock refuse the question, and that is an answer.
    if external && let Ok(Some(mode)) = connection.default_retention().await {
        let mut failure =
            Failure::new(FailureClass::Client, "Object Lock with a default retention");
        failure.remedy = Some(Box::new(Remedy::Retention { mode }));
        return Err(failure);
    }
    let path = connection.target().object_path(&format!("{below}probe"));
    let put = connection.put(&path, Bytes::from_static(b"probe").into());
    put.await.map_err(|mut failure| {
        // A policy that refuses unsigned bodies says no more than that access is denied.
        if failure.remedy.as_deref() == Some(&Remedy::Credentials) && connection.unsigned() {
            failure.detail.push_str(
                " (it may be listed and not be written: the right to put objects is missing, or bodies that are not \
                 signed, x-amz-content-sha256: UNSIGNED-PAYLOAD, are refused, which signPayload: true mends)",
            );
        }
        failure.during("writing an object")
    })?;
    let deleted = connection.delete(&path).await;
    deleted.map_err(doing("deleting an object"))
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
    let prefix = prefix.trim_matches('/');
    let deadline = Instant::now() + patience;
    let mut refusals = 0;
    loop {
        // A fresh connection each time: the server may have been replaced behind its name.
        let mut connection = dialer.connection();
        let asked = try_out(&mut connection, prefix, !may_create);
        let failure = match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(failure)) => failure,
            Err(_) => Failure::new(FailureClass::Timeout, "no answer within 10 s"),
        };
        let mut last = failure.to_string();
        let mut refusal = None;
        let code = failure.code.as_deref();
        if code == Some("NoSuchBucket")
            || (failure.class == FailureClass::NotFound
                && code.is_none()
                && failure.remedy.is_none())
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
        } else if let Some(remedy) = failure.remedy {
            refusals += 1;
            let known = if code == Some("InvalidAccessKeyId") {
                REFUSALS_OF_NEW_KEYS
            } else {
                REFUSALS
            };
            if refusals >= known {
                return Err(refused(backend, endpoint, last, remedy));
            }
            refusal = Some(remedy);
        }
        tracing::info!(backend, endpoint, last, "not ready yet");
        if Instant::now() + PAUSE >= deadline {
            // It answered to the last, and what it said is the reason.
            if let Some(remedy) = refusal {
                return Err(refused(backend, endpoint, last, remedy));
            }
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

fn refused(backend: &str, endpoint: String, said: String, remedy: Box<Remedy>) -> ProbeError {
    let backend = backend.to_owned();
    match *remedy {
        Remedy::Credentials => ProbeError::Unauthorised {
            backend,
            endpoint,
            said,
        },
        _ => ProbeError::Refused {
            backend,
            endpoint,
            said,
            remedy,
        },
    }
}

/// Waits until a Postgres server answers a query of the experiment's user, and a commit where that waits for standbys.
///
/// # Errors
/// When it does not within `patience`, or refuses the user.
pub async fn wait_postgres(
    backend: &str,
    connector: &Connector,
    patience: Duration,
) -> Result<(), ProbeError> {
    wait_until(backend, connector.address(), patience, async || {
        let client = connector.bare().await?;
        match observe::writable(&client).await? {
            Writable::Yes => commits(connector, &client).await,
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
        ProbeError::Unreachable {
            backend,
            endpoint,
            seconds,
            last,
        } if last.contains(NO_STANDBY) => ProbeError::StandbyMissing {
            backend,
            endpoint,
            seconds,
            said: last,
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

/// Tries a commit, of a server whose commits wait for others. What waits is cancelled: it would stay there, as nothing else ends it.
async fn commits(connector: &Connector, client: &Client) -> Result<(), Failure> {
    let Some(names) = replication::awaited_standbys(client).await? else {
        return Ok(());
    };
    match tokio::time::timeout(COMMIT_PATIENCE, replication::commit(client)).await {
        Ok(Ok(())) => Ok(()),
        // That it may not be tried by this user says nothing of other commits.
        Ok(Err(failure)) if failure.class == FailureClass::Client => Ok(()),
        Ok(Err(failure)) => Err(failure),
        Err(_) => {
            connector.cancel(client).await?;
            Err(Failure::new(
                FailureClass::Server,
                format!("{NO_STANDBY}, synchronous_standby_names = {names}"),
            ))
        }
    }
}

/// The longest that a commit may take while nobody works with the server. Shorter than a try of the wait.
const COMMIT_PATIENCE: Duration = Duration::from_secs(5);
const NO_STANDBY: &str = "a commit waits for a standby";
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
