//! The results store: a bucket through the AWS SDK, or a local folder. Nothing here is measured, so
//! requests are repeated until the store has them.

mod bucket;
mod credentials;
mod error;
mod folder;
pub mod layout;
mod refusal;
mod removal;

use std::path::{Path, PathBuf};
use std::time::Duration;

use bakeoff_crds::run::StoreTarget;

pub use self::bucket::{Bucket, client};
pub use self::credentials::credentials;
pub use self::error::StoreError;
pub use self::removal::remove_all;
use crate::credentials::Credentials;

/// Where results are kept.
#[derive(Clone, Debug)]
pub enum Store {
    /// A folder of a bucket.
    Bucket(Bucket),
    /// A local folder.
    Folder(PathBuf),
}

impl Store {
    /// Opens the store of a plan: without an endpoint its bucket is a local folder.
    ///
    /// # Errors
    /// When the credentials cannot be read.
    pub fn open(target: &StoreTarget) -> Result<Self, StoreError> {
        if target.endpoint.is_empty() {
            return Ok(Self::Folder(
                PathBuf::from(&target.bucket).join(&target.prefix),
            ));
        }
        let credentials = credentials(&target.credentials_dir, target.ca_key.as_deref())?;
        Ok(Self::bucket(target, &credentials))
    }

    /// A bucket with credentials from elsewhere.
    #[must_use]
    pub fn bucket(target: &StoreTarget, credentials: &Credentials) -> Self {
        Self::Bucket(Bucket::new(target, credentials))
    }

    /// Makes sure that the bucket or folder exists.
    ///
    /// # Errors
    /// When it does not and cannot be created, or the store does not answer.
    pub async fn ensure(&self) -> Result<(), StoreError> {
        match self {
            Self::Folder(folder) => folder::ensure(folder),
            Self::Bucket(bucket) => bucket.ensure().await,
        }
    }

    /// Writes a file, whole or not at all. Once it is written a crash of the machine does not take it away.
    ///
    /// # Errors
    /// When the store does not take it.
    pub async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), StoreError> {
        match self {
            Self::Folder(folder) => folder::put(folder, name, &bytes),
            Self::Bucket(bucket) => bucket.put(name, bytes).await,
        }
    }

    /// Writes a file that is on this machine, as a stream.
    ///
    /// # Errors
    /// When it cannot be read, or the store does not take it.
    pub async fn put_file(&self, name: &str, file: &Path) -> Result<(), StoreError> {
        match self {
            Self::Folder(folder) => folder::put_file(folder, name, file),
            Self::Bucket(bucket) => bucket.put_file(name, file).await,
        }
    }

    /// Writes a file and does not come back before the store has it, for as long as `patience`.
    ///
    /// # Errors
    /// The last error, when patience ran out or no repetition can help.
    pub async fn put_durably(
        &self,
        name: &str,
        bytes: Vec<u8>,
        patience: Duration,
    ) -> Result<(), StoreError> {
        let deadline = tokio::time::Instant::now() + patience;
        let mut wait = Duration::from_millis(250);
        loop {
            match self.put(name, bytes.clone()).await {
                Err(error)
                    if error.retryable() && tokio::time::Instant::now() + wait < deadline =>
                {
                    tracing::warn!(%error, name, ?wait, "the results store did not take a file; trying again");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(Duration::from_secs(15));
                }
                result => return result,
            }
        }
    }

    /// Reads a file; `None` when there is none.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        match self {
            Self::Folder(folder) => folder::get(folder, name),
            Self::Bucket(bucket) => bucket.get(name).await,
        }
    }

    /// Reads a file of at most so many bytes into a local one, as a stream; whether there is one.
    ///
    /// # Errors
    /// It is larger, the store does not answer, or the local file cannot be written.
    pub async fn fetch(&self, name: &str, to: &Path, most: u64) -> Result<bool, StoreError> {
        match self {
            Self::Folder(folder) => folder::fetch(folder, name, to, most),
            Self::Bucket(bucket) => bucket.fetch(name, to, most).await,
        }
    }

    /// The names of all files below a folder of the store, ascending, relative to the store.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn list(&self, below: &str) -> Result<Vec<String>, StoreError> {
        let mut names = match self {
            Self::Folder(folder) => folder::list(folder, below)?,
            Self::Bucket(bucket) => bucket.list(below).await?,
        };
        names.sort_unstable();
        Ok(names)
    }
}
