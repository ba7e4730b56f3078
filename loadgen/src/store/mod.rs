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
use tokio::time::{Instant, timeout_at};

pub use self::bucket::{Bucket, client};
pub use self::credentials::credentials;
pub use self::error::StoreError;
pub use self::removal::remove_all;
use crate::credentials::Credentials;

/// How long the store may be away before a run gives up. What waits meanwhile is one trial, so memory is bounded.
pub const PATIENCE: Duration = Duration::from_secs(900);

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

    /// Writes a file and does not come back before the store has it, for as long as `patience`. A try that is under
    /// way when it runs out ends with it.
    ///
    /// # Errors
    /// The last error, when patience ran out or no repetition can help.
    pub async fn put_durably(
        &self,
        name: &str,
        bytes: Vec<u8>,
        patience: Duration,
    ) -> Result<(), StoreError> {
        // A large one has the time that its bytes take.
        let patience = patience + bucket::sent_within(bytes.len() as u64);
        durably(name, patience, async || self.put(name, bytes.clone()).await).await
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

    /// Reads a file, and asks again for as long as `patience` where the store is away; `None` when there is none.
    ///
    /// # Errors
    /// The last error, when patience ran out or no repetition can help.
    pub async fn get_durably(
        &self,
        name: &str,
        patience: Duration,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        durably(name, patience, async || self.get(name).await).await
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

    /// The same, asked again for as long as `patience` where the store is away or a connection is lost on the way.
    ///
    /// # Errors
    /// The last error, when patience ran out or no repetition can help.
    pub async fn fetch_durably(
        &self,
        name: &str,
        to: &Path,
        most: u64,
        patience: Duration,
    ) -> Result<bool, StoreError> {
        let patience = patience + bucket::sent_within(most);
        durably(name, patience, async || self.fetch(name, to, most).await).await
    }

    /// Removes a file of a folder, if it is there. Nothing is removed from a bucket.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub async fn forget(&self, name: &str) -> Result<(), StoreError> {
        match self {
            Self::Folder(folder) => folder::forget(folder, name),
            Self::Bucket(_) => Ok(()),
        }
    }

    /// The names of all files below a folder of the store, asked for again for as long as `patience` where the store is away.
    ///
    /// # Errors
    /// The last error, when patience ran out or no repetition can help.
    pub async fn list_durably(
        &self,
        below: &str,
        patience: Duration,
    ) -> Result<Vec<String>, StoreError> {
        durably(below, patience, async || self.list(below).await).await
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

/// Asks until the store answers, for as long as `patience`.
async fn durably<T>(
    name: &str,
    patience: Duration,
    ask: impl AsyncFn() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let deadline = Instant::now() + patience;
    let mut wait = Duration::from_millis(250);
    loop {
        // A store that keeps the connection and says nothing must not use up more than there is.
        let answer = timeout_at(deadline, ask()).await;
        let answer = answer.unwrap_or_else(|_| {
            let said = format!("no answer of {name} within {patience:?}");
            Err(StoreError::Unavailable(said))
        });
        match answer {
            Err(error) if error.retryable() && Instant::now() + wait < deadline => {
                tracing::warn!(%error, name, ?wait, "the results store does not answer for a file; trying again");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(Duration::from_secs(15));
            }
            answer => return answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{anybody, local};
    use std::cell::Cell;

    const PATIENCE: Duration = Duration::from_secs(1);
    const BOUND: Duration = Duration::from_secs(10);

    /// A store behind whose address somebody listens and never says a word.
    async fn silent() -> Store {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let mut kept = Vec::new();
            while let Ok((socket, _)) = listener.accept().await {
                kept.push(socket);
            }
        });
        let target = StoreTarget {
            endpoint,
            region: "us-east-1".into(),
            bucket: "results".into(),
            prefix: "run".into(),
            path_style: true,
            credentials_dir: String::new(),
            ca_key: None,
        };
        Store::bucket(&target, &anybody())
    }

    #[test]
    fn a_store_that_says_nothing_is_waited_for_no_longer_than_patience() {
        local(async {
            let store = silent().await;
            let put = store.put_durably("a.json", b"{}".to_vec(), PATIENCE);
            let put = tokio::time::timeout(BOUND, put).await.unwrap();
            assert!(matches!(put, Err(StoreError::Unavailable(_))), "{put:?}");
            let got = store.get_durably("a.json", PATIENCE);
            let got = tokio::time::timeout(BOUND, got).await.unwrap();
            assert!(matches!(got, Err(StoreError::Unavailable(_))), "{got:?}");
        });
    }

    #[test]
    fn a_store_that_comes_back_is_asked_again_and_what_no_repetition_mends_is_not() {
        local(async {
            let tries = Cell::new(0);
            let away_once = async || {
                tries.set(tries.get() + 1);
                match tries.get() {
                    1 => Err(StoreError::Unavailable("away".into())),
                    _ => Ok(7),
                }
            };
            assert_eq!(durably("a", BOUND, away_once).await.unwrap(), 7);
            tries.set(0);
            let refused = async || -> Result<(), StoreError> {
                tries.set(tries.get() + 1);
                Err(StoreError::Unauthorised("no".into()))
            };
            assert!(durably("a", BOUND, refused).await.is_err());
            assert_eq!(tries.get(), 1);
        });
    }
}
