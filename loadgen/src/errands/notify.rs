//! Sends a message to somebody, by HTTP, at least once.
//!
//! Addresses are secrets: what is said of a failure names the host alone.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use bakeoff_crds::names;
use bakeoff_crds::notify::NotifyFormat;
use bakeoff_crds::run::NoticeTask;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::net::{self, NetError};

/// How often it is tried.
const TRIES: u32 = 5;
/// How long a receiver has for its answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The header with the signature: `sha256=` and the HMAC-SHA256 of the body, in hexadecimal.
pub const SIGNATURE: &str = "x-bakeoff-signature";

/// Why a message was not sent.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// The Secret lacks something.
    #[error("the Secret of the receiver has no usable key {key}: {detail}")]
    Secret {
        /// The key.
        key: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The address is of no use.
    #[error("the address under {0} is no http:// or https:// URL")]
    Url(String),
    /// The receiver refuses the message, and would again.
    #[error("{host} answers {status}")]
    Refused {
        /// The receiver.
        host: String,
        /// The status.
        status: u16,
    },
    /// No try was answered well.
    #[error("{host}: {detail}, {TRIES} times")]
    Unreached {
        /// The receiver.
        host: String,
        /// What came of the last try.
        detail: String,
    },
}

impl NotifyError {
    /// The machine-readable reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Secret { .. } => "ReceiverSecret",
            Self::Url(_) => "UrlInvalid",
            Self::Refused { .. } => "ReceiverRefused",
            Self::Unreached { .. } => "ReceiverUnreachable",
        }
    }

    /// Whether another attempt could end better.
    #[must_use]
    pub fn retryable(&self) -> bool {
        matches!(self, Self::Unreached { .. })
    }
}

/// The body of the message and its media type.
#[must_use]
pub fn message(task: &NoticeTask) -> (Value, &'static str) {
    let (owner, notice) = (&task.owner, &task.notice);
    let occasion = notice.occasion.as_str();
    match task.format {
        NotifyFormat::CloudEvents => {
            let kind = task.kind.to_lowercase();
            let body = json!({
                "specversion": "1.0",
                "id": format!("{}/{}", owner.uid, notice.number),
                "source": format!("/apis/{}/v1alpha1/namespaces/{}/{kind}s/{}", names::GROUP, owner.namespace, owner.name),
                "type": format!("dev.bakeoff.{kind}.{}", occasion.to_lowercase()),
                "subject": owner.name,
                "time": notice.at,
                "datacontenttype": "application/json",
                "data": {
                    "kind": task.kind,
                    "namespace": owner.namespace,
                    "name": owner.name,
                    "occasion": occasion,
                    "message": notice.message,
                },
            });
            (body, "application/cloudevents+json; charset=utf-8")
        }
        NotifyFormat::Slack => {
            let text = format!(
                "*{occasion}* {} {}/{}: {}",
                task.kind, owner.namespace, owner.name, notice.message
            );
            // The three characters that stand for markup there.
            let text = text
                .replace('&', "&amp;")
                .replace('<', "&lt;")
                .replace('>', "&gt;");
            (json!({"text": text}), "application/json; charset=utf-8")
        }
    }
}

/// The signature of a body.
#[must_use]
pub fn signature(secret: &[u8], body: &[u8]) -> String {
    let mut text = "sha256=".to_owned();
    // A key of any length will do.
    if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) {
        mac.update(body);
        for byte in mac.finalize().into_bytes() {
            let _ = write!(text, "{byte:02x}");
        }
    }
    text
}

/// Sends the message; waits `pause`, and twice as long each time, between two tries.
///
/// # Errors
/// When the Secret is of no use, the receiver refuses the message, or no try was answered well.
pub async fn send(task: &NoticeTask, pause: Duration) -> Result<(), NotifyError> {
    let url = secret(task, &task.url_key)?;
    let invalid = || NotifyError::Url(task.url_key.clone());
    let uri: http::Uri = url.parse().map_err(|_| invalid())?;
    let host = uri.host().ok_or_else(invalid)?.to_owned();
    let (body, media) = message(task);
    let body = Bytes::from(body.to_string());
    let mut headers = vec![("content-type", media.to_owned())];
    if let Some(key) = &task.hmac_key {
        let secret = secret(task, key)?;
        headers.push((SIGNATURE, signature(secret.as_bytes(), &body)));
    }
    let mut pause = pause;
    let mut detail = String::new();
    for number in 0..TRIES {
        if number > 0 {
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        detail = match net::post(&url, &headers, body.clone(), PATIENCE).await {
            Ok(status) if (200..300).contains(&status) => return Ok(()),
            // Too many requests, or the receiver's own trouble: that passes.
            Ok(status) if status == 429 || status >= 500 => format!("it answers {status}"),
            Ok(status) => return Err(NotifyError::Refused { host, status }),
            Err(NetError::Url(_)) => return Err(invalid()),
            Err(NetError::Timeout(_)) => "no answer in time".to_owned(),
            Err(NetError::Transport { detail, .. }) => detail,
        };
    }
    Err(NotifyError::Unreached { host, detail })
}

fn secret(task: &NoticeTask, key: &str) -> Result<String, NotifyError> {
    let unusable = |detail: String| NotifyError::Secret {
        key: key.to_owned(),
        detail,
    };
    let text = std::fs::read_to_string(Path::new(&task.credentials_dir).join(key));
    let text = text.map_err(|error| unusable(error.to_string()))?;
    let text = text.trim();
    if text.is_empty() {
        return Err(unusable("it is empty".to_owned()));
    }
    Ok(text.to_owned())
}
