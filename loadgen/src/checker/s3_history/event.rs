//! What a history consists of.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// What became of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It took effect.
    Ok,
    /// It certainly had no effect.
    Fail,
    /// Unknown.
    Info,
}

/// Where an operation lies in time: monotonic nanoseconds of one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Just before it was sent.
    pub invoke: u64,
    /// Just after its answer, or when it was given up.
    pub complete: u64,
}

/// One operation of a history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Event {
    /// A write of a value that no other write has; `None` deletes.
    Write {
        /// The operation and its client.
        id: u64,
        /// The key.
        key: Arc<str>,
        /// The value; absent for a delete.
        #[serde(skip_serializing_if = "Option::is_none")]
        value: Option<u64>,
        /// When.
        #[serde(flatten)]
        span: Span,
        /// What became of it.
        outcome: Outcome,
        /// The ETag returned, or the failure.
        #[serde(skip_serializing_if = "String::is_empty")]
        detail: String,
    },
    /// A read of one key that was answered; reads that failed say nothing and are left out.
    Read {
        /// The operation and its client.
        id: u64,
        /// The key.
        key: Arc<str>,
        /// The value found; absent when the key was not there. `u64::MAX` stands for a body that
        /// bears no whole stamp.
        value: Option<u64>,
        /// When.
        #[serde(flatten)]
        span: Span,
    },
    /// One page of a scan that was answered.
    Page {
        /// The scan that it belongs to; pages of one scan stand in order.
        scan: u64,
        /// What was listed.
        prefix: Arc<str>,
        /// The exclusive lower bound: start-after, or the last key of the page before.
        after: Arc<str>,
        /// Whether a continuation token was sent, so that the server may answer from a listing
        /// that it made when the scan began.
        by_token: bool,
        /// The keys in the order of the server.
        keys: Vec<Arc<str>>,
        /// Whether the server said that more follow.
        truncated: bool,
        /// When.
        #[serde(flatten)]
        span: Span,
    },
}
