//! Why the results store did not do what was asked.

use std::path::PathBuf;

/// Why the results store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The credentials are missing or unreadable.
    #[error(
        "credentials in {folder}: {detail}; mount a Secret with the keys accessKeyId and secretAccessKey"
    )]
    Credentials {
        /// The folder.
        folder: String,
        /// What is wrong.
        detail: String,
    },
    /// The store refused the credentials.
    #[error("the results store refused the credentials: {0}")]
    Unauthorised(String),
    /// The bucket does not exist and could not be created.
    #[error(
        "the bucket {0} does not exist and could not be created: create it or give the right to"
    )]
    NoBucket(String),
    /// Anything else; another try may succeed.
    #[error("results store: {0}")]
    Unavailable(String),
    /// A name that would be a file outside the folder.
    #[error("{0:?} leads out of the folder of the results")]
    Outside(String),
    /// A local file.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
}

impl StoreError {
    /// The machine-readable reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Credentials { .. } => "CredentialsMissing",
            Self::Unauthorised(_) => "EndpointUnauthorized",
            Self::NoBucket(_) => "BucketMissing",
            Self::Unavailable(_) => "StoreUnavailable",
            Self::Outside(_) => "NameRefused",
            Self::File { .. } => "StoreFile",
        }
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub fn retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}
