//! Why a run could not be finished.

use bakeoff_crds::run::RUN_SCHEMA;

use crate::drivers::error::{PrerequisiteError, SchemaError};
use crate::drivers::probe::ProbeError;
use crate::drivers::redis::LockAddressError;
use crate::drivers::s3::TargetError;
use crate::instrument::record::RecordError;
use crate::run::control::FollowError;
use crate::store::StoreError;
use crate::traces::TraceError;

/// Why a run could not be finished.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The plan is of another version.
    #[error(
        "the plan has the schema {0:?}, this generator reads {RUN_SCHEMA:?}: use the same version of both"
    )]
    Schema(String),
    /// The results store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A backend cannot be used.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// An endpoint is malformed.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The URL of an external Postgres server cannot be used.
    #[error("backend {backend}: the URL in its Secret cannot be used: {detail}")]
    Url {
        /// The backend.
        backend: String,
        /// What is wrong and how to mend it; without the URL, which holds a password.
        detail: String,
    },
    /// What a server lacks for the experiment.
    #[error("backend {backend}: {error}")]
    Prerequisite {
        /// The backend.
        backend: String,
        /// What it lacks.
        error: Box<PrerequisiteError>,
    },
    /// The schema of an external database.
    #[error(transparent)]
    Database(#[from] SchemaError),
    /// The address of the lock server is malformed.
    #[error(transparent)]
    Lock(#[from] LockAddressError),
    /// A trace cannot be replayed.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// Recording failed.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A result could not be written as JSON.
    #[error("JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Generator 0 is gone.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// The process was asked to stop.
    #[error("stopped before the last trial; another start resumes at the first unfinished one")]
    Stopped,
}

impl RunError {
    /// The machine-readable reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Schema(_) => "SchemaUnknown",
            Self::Store(error) => error.reason(),
            Self::Probe(error) => error.reason(),
            Self::Target(error) => error.reason(),
            Self::Lock(error) => error.reason(),
            Self::Url { .. } => "PostgresUrlInvalid",
            Self::Prerequisite { error, .. } => error.reason(),
            Self::Database(error) => error.reason(),
            Self::Trace(error) => error.reason(),
            Self::Record(error) => error.reason(),
            Self::Json(_) => "Json",
            Self::Follow(error) => error.reason(),
            Self::Stopped => "Stopped",
        }
    }

    /// Whether another attempt could end better without a change by the user.
    #[must_use]
    pub fn retryable(&self) -> bool {
        match self {
            Self::Stopped | Self::Follow(_) | Self::Record(_) => true,
            Self::Store(error) => error.retryable(),
            Self::Trace(error) => error.retryable(),
            Self::Probe(error) => error.retryable(),
            Self::Prerequisite { error, .. } => error.retryable(),
            Self::Database(error) => error.retryable(),
            Self::Schema(_)
            | Self::Target(_)
            | Self::Lock(_)
            | Self::Url { .. }
            | Self::Json(_) => false,
        }
    }
}
