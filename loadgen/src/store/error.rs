//! Why the results store did not do what was asked.

use std::path::PathBuf;

use crate::failure::Remedy;

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
    #[error(
        "the store refused the credentials ({0}): check accessKeyId, secretAccessKey and sessionToken in its Secret, and their rights on the bucket"
    )]
    Unauthorised(String),
    /// The store refuses what is asked of it for another reason than who asks.
    #[error("the store cannot be used ({said}): {remedy}")]
    Refused {
        /// What it said.
        said: String,
        /// What to change.
        remedy: Remedy,
    },
    /// Objects, versions of objects or marks of their deletion could not be removed.
    #[error(transparent)]
    Left(Box<Left>),
    /// The bucket does not exist and could not be created.
    #[error(
        "the bucket {0} does not exist and could not be created: create it or give the right to"
    )]
    NoBucket(String),
    /// Anything else; another try may succeed.
    #[error("results store: {0}")]
    Unavailable(String),
    /// A file that is larger than what is read.
    #[error("{name} has more than {} MiB, which is the most that is fetched", most >> 20)]
    TooLarge {
        /// The file.
        name: String,
        /// Bytes at most.
        most: u64,
    },
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

/// What could not be removed from a bucket.
#[derive(Debug, thiserror::Error)]
#[error("{count} {what} stay below {prefix} in the bucket {bucket} ({said}): {mend}")]
pub struct Left {
    /// How many.
    pub count: String,
    /// `objects`, or `versions or delete markers`.
    pub what: &'static str,
    /// The bucket.
    pub bucket: String,
    /// The prefix.
    pub prefix: String,
    /// What the store said of the first.
    pub said: String,
    /// What to do.
    pub mend: &'static str,
}

impl StoreError {
    /// The machine-readable reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Credentials { .. } => "CredentialsMissing",
            Self::Unauthorised(_) => "EndpointUnauthorized",
            Self::Refused { remedy, .. } => remedy.reason(),
            Self::Left(_) => "ObjectsLeft",
            Self::NoBucket(_) => "BucketMissing",
            Self::Unavailable(_) => "StoreUnavailable",
            Self::TooLarge { .. } => "FileTooLarge",
            Self::Outside(_) => "NameRefused",
            Self::File { .. } => "StoreFile",
        }
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub fn retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    /// Whether the keys may be too new to be known everywhere, or so old that others may be there in a moment.
    #[must_use]
    pub fn of_changing_keys(&self) -> bool {
        let codes = ["InvalidAccessKeyId", "ExpiredToken", "InvalidToken"];
        matches!(self, Self::Unauthorised(said) if codes.iter().any(|code| said.contains(code)))
    }
}
