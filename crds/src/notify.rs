//! Whom a schedule or a plan tells of what happens, by HTTP, and what has still to be told.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The most notices that wait to be sent: beyond these the oldest is given up, with an event.
pub const MOST_NOTICES: usize = 16;

/// Somebody who is told by an HTTP POST that a Job in the namespace of the resource sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Notify {
    /// A name for events and for the names of the Jobs, at most 12 characters, unique in the list.
    #[schemars(
        length(min = 1, max = 12),
        regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,
    /// A Secret of the namespace with the address.
    pub secret_ref: NotifySecretRef,
    /// Of what it is told, 1 to 8 occasions.
    #[schemars(length(min = 1, max = 8))]
    pub on: Vec<Occasion>,
    /// The form of the message: `CloudEvents` (default) or `Slack`.
    #[serde(default)]
    pub format: NotifyFormat,
}

/// A Secret with the address of a receiver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NotifySecretRef {
    /// The name of the Secret.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub name: String,
    /// The key with the URL, `http://` or `https://`. Default `url`.
    #[serde(default = "default_url_key")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub url_key: String,
    /// The key with a shared secret: each message is signed with it (HMAC-SHA256 of the body in `X-Bakeoff-Signature`).
    /// Empty: messages are not signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub hmac_key: Option<String>,
}

fn default_url_key() -> String {
    "url".to_owned()
}

/// The form of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NotifyFormat {
    /// CloudEvents 1.0, structured, as JSON.
    #[default]
    CloudEvents,
    /// `{"text": …}`, which Slack and those like it take.
    Slack,
}

/// What somebody can be told of.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Occasion {
    /// A run or a plan failed, or a schedule stopped after failures.
    Failed,
    /// A schedule's history got worse, confirmed.
    Regressed,
    /// It is as it was before that.
    Recovered,
    /// A run of a schedule did not start in time.
    Missed,
    /// A phase of a plan has its outcome.
    PhaseDecided,
    /// A person has to decide something about a plan.
    ApprovalNeeded,
    /// A plan has ended, however.
    Ended,
}

impl Occasion {
    /// The word in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "Failed",
            Self::Regressed => "Regressed",
            Self::Recovered => "Recovered",
            Self::Missed => "Missed",
            Self::PhaseDecided => "PhaseDecided",
            Self::ApprovalNeeded => "ApprovalNeeded",
            Self::Ended => "Ended",
        }
    }
}

/// A message that has still to be sent. It stands here before the Job is made, so that none is lost; it may be sent twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Notice {
    /// The receiver, by its name in the spec.
    pub to: String,
    /// What it is told of.
    pub occasion: Occasion,
    /// What happened, in words.
    pub message: String,
    /// When it happened.
    #[schemars(with = "Time")]
    pub at: jiff::Timestamp,
    /// Its number among all that this resource has sent: with the uid it is the id of the message.
    pub number: i64,
}
