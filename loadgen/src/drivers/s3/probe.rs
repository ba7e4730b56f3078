//! Waits until a bucket answers a signed request and takes an object.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::ListRequest;
use super::conn::Connection;
use super::dialer::Dialer;
use crate::drivers::probe::{PATIENCE, PAUSE, ProbeError, REFUSALS};
use crate::failure::{Failure, FailureClass, Remedy};

/// New keys of a large service take longer to be known everywhere.
const REFUSALS_OF_NEW_KEYS: u32 = 60;

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
