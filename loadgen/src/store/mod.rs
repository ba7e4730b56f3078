//! The results store: a bucket through the AWS SDK, or a local folder. Nothing here is measured, so
//! requests are repeated until the store has them.

pub mod layout;

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Region, RequestChecksumCalculation, ResponseChecksumValidation,
};
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::RequestId;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use aws_smithy_http_client::tls;
use bakeoff_crds::names;
use bakeoff_crds::run::StoreTarget;

use crate::credentials::Credentials;

/// How the name of a file ends that is still being written. One that a crash left is listed by nobody and written over
/// by the next attempt at it.
const PARTIAL: &str = "partial";

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
            Self::File { .. } => "StoreFile",
        }
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub fn retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

/// Reads the credentials that a Secret puts into a folder.
///
/// # Errors
/// When a file is missing, unreadable or empty.
pub fn credentials(folder: &str) -> Result<Credentials, StoreError> {
    let read = |name: &str| -> Result<String, StoreError> {
        let refused = |detail: String| StoreError::Credentials {
            folder: folder.to_owned(),
            detail,
        };
        let text = std::fs::read_to_string(PathBuf::from(folder).join(name))
            .map_err(|error| refused(format!("{name}: {error}")))?;
        // A line feed at the end is the commonest slip in handmade Secrets.
        let text = text.trim().to_owned();
        if text.is_empty() {
            Err(refused(format!("{name} is empty")))
        } else {
            Ok(text)
        }
    };
    Ok(Credentials {
        user: read(names::SECRET_ACCESS_KEY_ID)?,
        secret: read(names::SECRET_SECRET_ACCESS_KEY)?,
        session_token: read(names::SECRET_SESSION_TOKEN).ok(),
    })
}

/// An SDK client for an endpoint, with the SDK's standard retries.
#[must_use]
pub fn client(endpoint: &str, region: &str, path_style: bool, credentials: &Credentials) -> Client {
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(tls::Provider::Rustls(
            tls::rustls_provider::CryptoMode::Ring,
        ))
        .build_https();
    let keys = aws_sdk_s3::config::Credentials::new(
        &credentials.user,
        &credentials.secret,
        credentials.session_token.clone(),
        None,
        "bakeoff",
    );
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(http)
        .endpoint_url(endpoint)
        .region(Region::new(region.to_owned()))
        .force_path_style(path_style)
        .credentials_provider(keys)
        .retry_config(RetryConfig::standard().with_max_attempts(5))
        // Not every S3 store knows the newer checksum headers.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .build();
    Client::from_conf(config)
}

fn classify<E, R>(error: &SdkError<E, R>, bucket: &str) -> StoreError
where
    E: ProvideErrorMetadata + std::error::Error + RequestId + 'static,
    R: std::fmt::Debug,
{
    match error.code() {
        Some("NoSuchBucket") => StoreError::NoBucket(bucket.to_owned()),
        Some(
            code @ ("AccessDenied"
            | "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "ExpiredToken"),
        ) => StoreError::Unauthorised(code.to_owned()),
        _ => {
            let mut text = DisplayErrorContext(error).to_string();
            if let Some((end, _)) = text.char_indices().nth(400) {
                text.truncate(end);
            }
            StoreError::Unavailable(text)
        }
    }
}

/// Where results are kept.
#[derive(Clone, Debug)]
pub enum Store {
    /// A folder of a bucket.
    Bucket {
        /// The client.
        client: Client,
        /// The bucket.
        bucket: String,
        /// The folder, empty or ending with a slash.
        prefix: String,
    },
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
        let credentials = credentials(&target.credentials_dir)?;
        Ok(Self::bucket(target, &credentials))
    }

    /// A bucket with credentials from elsewhere.
    #[must_use]
    pub fn bucket(target: &StoreTarget, credentials: &Credentials) -> Self {
        let client = client(
            &target.endpoint,
            &target.region,
            target.path_style,
            credentials,
        );
        let prefix = target.prefix.trim_matches('/');
        let prefix = if prefix.is_empty() {
            String::new()
        } else {
            format!("{prefix}/")
        };
        Self::Bucket {
            client,
            bucket: target.bucket.clone(),
            prefix,
        }
    }

    /// Makes sure that the bucket or folder exists.
    ///
    /// # Errors
    /// When it does not and cannot be created, or the store does not answer.
    pub async fn ensure(&self) -> Result<(), StoreError> {
        match self {
            Self::Folder(folder) => {
                let failed = |source| StoreError::File {
                    path: folder.clone(),
                    source,
                };
                create_folders(folder).map_err(failed)
            }
            Self::Bucket {
                client,
                bucket,
                prefix,
            } => {
                let listed = client
                    .list_objects_v2()
                    .bucket(bucket)
                    .prefix(prefix)
                    .max_keys(1)
                    .send()
                    .await;
                match listed {
                    Ok(_) => Ok(()),
                    Err(error) => match classify(&error, bucket) {
                        StoreError::NoBucket(_) => {
                            match client.create_bucket().bucket(bucket).send().await {
                                Ok(_) => Ok(()),
                                Err(error)
                                    if matches!(
                                        error.code(),
                                        Some("BucketAlreadyOwnedByYou" | "BucketAlreadyExists")
                                    ) =>
                                {
                                    Ok(())
                                }
                                Err(error) => Err(match classify(&error, bucket) {
                                    StoreError::Unauthorised(_) => {
                                        StoreError::NoBucket(bucket.clone())
                                    }
                                    other => other,
                                }),
                            }
                        }
                        other => Err(other),
                    },
                }
            }
        }
    }

    /// Writes a file, whole or not at all. Once it is written a crash of the machine does not take it away.
    ///
    /// # Errors
    /// When the store does not take it.
    pub async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), StoreError> {
        match self {
            Self::Folder(folder) => {
                let path = folder.join(name);
                let failed = |source| StoreError::File {
                    path: path.clone(),
                    source,
                };
                write(&path, &bytes).map_err(failed)
            }
            Self::Bucket {
                client,
                bucket,
                prefix,
            } => client
                .put_object()
                .bucket(bucket)
                .key(format!("{prefix}{name}"))
                .content_type(content_type(name))
                .body(ByteStream::from(bytes))
                .send()
                .await
                .map(drop)
                .map_err(|error| classify(&error, bucket)),
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
            Self::Folder(folder) => {
                let path = folder.join(name);
                match std::fs::read(&path) {
                    Ok(bytes) => Ok(Some(bytes)),
                    Err(source) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
                    Err(source) => Err(StoreError::File { path, source }),
                }
            }
            Self::Bucket {
                client,
                bucket,
                prefix,
            } => {
                match client
                    .get_object()
                    .bucket(bucket)
                    .key(format!("{prefix}{name}"))
                    .send()
                    .await
                {
                    Ok(object) => {
                        let body = object.body.collect().await;
                        let body =
                            body.map_err(|error| StoreError::Unavailable(error.to_string()))?;
                        Ok(Some(body.into_bytes().to_vec()))
                    }
                    Err(error) if matches!(error.code(), Some("NoSuchKey" | "NotFound")) => {
                        Ok(None)
                    }
                    Err(error) => Err(classify(&error, bucket)),
                }
            }
        }
    }

    /// The names of all files below a folder of the store, ascending, relative to the store.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn list(&self, below: &str) -> Result<Vec<String>, StoreError> {
        let mut names = Vec::new();
        match self {
            Self::Folder(folder) => {
                let mut open = vec![folder.join(below)];
                while let Some(current) = open.pop() {
                    let entries = match std::fs::read_dir(&current) {
                        Ok(entries) => entries,
                        Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                        Err(source) => {
                            return Err(StoreError::File {
                                path: current,
                                source,
                            });
                        }
                    };
                    for entry in entries.flatten() {
                        let path = entry.path();
                        if path.is_dir() {
                            open.push(path);
                        } else if path.extension().is_some_and(|end| end == PARTIAL) {
                            continue;
                        } else if let Ok(name) = path.strip_prefix(folder) {
                            names.push(name.to_string_lossy().into_owned());
                        }
                    }
                }
            }
            Self::Bucket {
                client,
                bucket,
                prefix,
            } => {
                let full = format!("{prefix}{below}");
                let mut pages = client
                    .list_objects_v2()
                    .bucket(bucket)
                    .prefix(full)
                    .into_paginator()
                    .send();
                while let Some(page) = pages.next().await {
                    let page = page.map_err(|error| classify(&error, bucket))?;
                    names.extend(page.contents().iter().filter_map(|object| {
                        object
                            .key()
                            .and_then(|key| key.strip_prefix(prefix.as_str()))
                            .map(str::to_owned)
                    }));
                }
            }
        }
        names.sort_unstable();
        Ok(names)
    }
}

/// Writes a file beside its place, and puts it there once the disk has it.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    create_folders(folder)?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(".");
    beside.push(PARTIAL);
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    // The name is on the disk only once the folder is.
    File::open(folder)?.sync_all()
}

/// Makes a folder and those above it, each of them on the disk.
fn create_folders(folder: &Path) -> std::io::Result<()> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    let above = match folder.parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        _ => Path::new("."),
    };
    create_folders(above)?;
    match std::fs::create_dir(folder) {
        // Another generator was faster.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        made => made?,
    }
    File::open(above)?.sync_all()
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("json") => "application/json",
        Some("md") => "text/markdown; charset=utf-8",
        Some("gz") => "application/gzip",
        _ => "text/plain; charset=utf-8",
    }
}

/// Removes every object below a prefix of a bucket; answers how many.
///
/// # Errors
/// When the store does not answer or refuses to delete.
pub async fn remove_all(client: &Client, bucket: &str, prefix: &str) -> Result<u64, StoreError> {
    let mut removed = 0;
    loop {
        // From the start each time: what was listed is gone by then.
        let page = client
            .list_objects_v2()
            .bucket(bucket)
            .prefix(prefix)
            .send()
            .await
            .map_err(|error| classify(&error, bucket))?;
        let keys: Vec<ObjectIdentifier> = page
            .contents()
            .iter()
            .filter_map(|object| ObjectIdentifier::builder().key(object.key()?).build().ok())
            .collect();
        if keys.is_empty() {
            return Ok(removed);
        }
        let count = keys.len() as u64;
        let delete = Delete::builder()
            .set_objects(Some(keys))
            .quiet(true)
            .build()
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let answer = client
            .delete_objects()
            .bucket(bucket)
            .delete(delete)
            .send()
            .await
            .map_err(|error| classify(&error, bucket))?;
        if let Some(error) = answer.errors().first() {
            let text = format!(
                "{}: {}",
                error.key().unwrap_or_default(),
                error.message().unwrap_or_default()
            );
            return Err(StoreError::Unavailable(text));
        }
        removed += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_keeps_files() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::Folder(folder.path().join("run"));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            store.ensure().await.unwrap();
            store
                .put("trials/a/1/trial.json", b"{}".to_vec())
                .await
                .unwrap();
            store.put("manifest.json", b"x".to_vec()).await.unwrap();
            assert_eq!(
                store.get("manifest.json").await.unwrap(),
                Some(b"x".to_vec())
            );
            assert_eq!(store.get("none").await.unwrap(), None);
            assert_eq!(
                store.list("").await.unwrap(),
                ["manifest.json", "trials/a/1/trial.json"]
            );
            assert_eq!(
                store.list("trials/").await.unwrap(),
                ["trials/a/1/trial.json"]
            );
        });
    }

    /// What a crash in the midst of a write leaves is no file of the run, whatever is written beside it.
    #[test]
    fn a_write_that_was_cut_off_is_not_listed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::Folder(folder.path().to_owned());
        std::fs::create_dir_all(folder.path().join("trials/a/1")).unwrap();
        std::fs::write(folder.path().join("trials/a/1/trial.json.partial"), "{").unwrap();
        crate::testing::local(async {
            for name in ["trials/a/1/trial.json", "trials/a/1/trial.hlog"] {
                assert_eq!(store.get(name).await.unwrap(), None);
                store.put(name, name.as_bytes().to_vec()).await.unwrap();
            }
            std::fs::write(folder.path().join("trials/a/1/part.json.partial"), "{").unwrap();
            assert_eq!(
                store.list("").await.unwrap(),
                ["trials/a/1/trial.hlog", "trials/a/1/trial.json"]
            );
        });
        // Two files whose names differ in their ends alone are written beside each other.
        let written = std::fs::read_to_string(folder.path().join("trials/a/1/trial.json"));
        assert_eq!(written.unwrap(), "trials/a/1/trial.json");
    }

    #[test]
    fn credentials_say_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        let error = credentials(path).unwrap_err();
        assert_eq!(error.reason(), "CredentialsMissing");
        assert!(error.to_string().contains("accessKeyId"), "{error}");
        std::fs::write(folder.path().join("accessKeyId"), "id\n").unwrap();
        std::fs::write(folder.path().join("secretAccessKey"), "secret").unwrap();
        assert_eq!(credentials(path).unwrap().user, "id");
    }
}
