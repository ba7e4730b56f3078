//! Tells a running server a setting that no command line of it can, and says when it is in force.
//!
//! It stands beside the server in its pod. The pod is not ready before the setting has been read back for a while, so that
//! nothing is measured without it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use bytes::Bytes;
use tokio::time::Instant;

use crate::net;

/// How long a server has for one answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The pause between two looks while it is not in force.
const SOON: Duration = Duration::from_millis(500);
/// The pause between two looks afterwards.
const NOW_AND_THEN: Duration = Duration::from_secs(30);

/// A setting: what is put where, and how long it takes to be in force.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Where it is put, and read again.
    pub url: String,
    /// What it is.
    pub body: Bytes,
    /// For how long it must have been there to be in force.
    pub settle: Duration,
}

/// What is known of it. (Pure.)
#[derive(Debug, Default, PartialEq, Eq)]
struct Known {
    /// Since when it has been read back; none where it was not there at the last look.
    since: Option<Instant>,
}

/// What a look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// The setting.
    There,
    /// Another one, or none.
    Absent,
    /// No answer.
    Nothing,
}

impl Known {
    /// Takes a look into account; whether the setting is in force. A server that gives no answer has forgotten nothing.
    fn after(&mut self, found: Found, now: Instant, settle: Duration) -> bool {
        match found {
            Found::There => self.since = self.since.or(Some(now)),
            Found::Absent => self.since = None,
            Found::Nothing => {}
        }
        self.since
            .is_some_and(|since| now.saturating_duration_since(since) >= settle)
    }
}

/// Puts the setting wherever it is missing, for ever, and answers 200 at `/readyz` of `listen` while it is in force.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn keep(setting: Setting, listen: SocketAddr) -> std::io::Result<()> {
    let in_force = Arc::new(AtomicBool::new(false));
    let listener = net::listener(listen)?;
    let answers = Arc::clone(&in_force);
    let ready = move || async move {
        if answers.load(Ordering::Relaxed) {
            (StatusCode::OK, "in force")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "not in force yet")
        }
    };
    let router = Router::new().route("/readyz", get(ready));
    let served = async { axum::serve(listener, router).await };
    let kept = async {
        let mut known = Known::default();
        loop {
            let found = look(&setting).await;
            let ready = known.after(found, Instant::now(), setting.settle);
            if in_force.swap(ready, Ordering::Relaxed) != ready {
                tracing::info!(url = setting.url, ready, "the setting's being in force");
            }
            if found == Found::Absent {
                put(&setting).await;
            }
            tokio::time::sleep(if ready { NOW_AND_THEN } else { SOON }).await;
        }
    };
    tokio::select! {
        ended = served => ended,
        () = kept => Ok(()),
    }
}

async fn look(setting: &Setting) -> Found {
    match net::request(http::Method::GET, &setting.url, PATIENCE).await {
        Ok((200, body)) if body == setting.body => Found::There,
        Ok((200 | 404, _)) => Found::Absent,
        Ok((status, _)) => {
            tracing::warn!(url = setting.url, status, "the server does not show it");
            Found::Nothing
        }
        Err(error) => {
            tracing::debug!(%error, "the server does not answer");
            Found::Nothing
        }
    }
}

async fn put(setting: &Setting) {
    let body = setting.body.clone();
    match net::send(http::Method::PUT, &setting.url, &[], body, PATIENCE).await {
        Ok((200..300, _)) => {}
        Ok((status, answer)) => {
            let said = String::from_utf8_lossy(&answer);
            tracing::warn!(url = setting.url, status, %said, "the server does not take it");
        }
        Err(error) => tracing::warn!(%error, "the server does not take it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_in_force_once_it_was_read_back_for_long_enough() {
        let (start, settle) = (Instant::now(), Duration::from_secs(3));
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut known = Known::default();
        for (second, found, in_force) in [
            (0, Found::Nothing, false),
            (1, Found::Absent, false),
            (2, Found::There, false),
            (4, Found::There, false),
            (5, Found::There, true),
            // Busy, or starting again: it has forgotten nothing.
            (6, Found::Nothing, true),
            // Somebody took it away.
            (7, Found::Absent, false),
            (8, Found::There, false),
            (11, Found::There, true),
        ] {
            assert_eq!(known.after(found, at(second), settle), in_force, "{second}");
        }
    }
}
