//! A bucket as results store, through the AWS SDK.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Region, RequestChecksumCalculation, ResponseChecksumValidation,
};
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_http_client::tls;
use bakeoff_crds::run::StoreTarget;
use tokio::time::Instant;

use super::folder::partial;
use super::refusal::{classify, listed};
use super::{StoreError, credentials};
use crate::credentials::Credentials;
use crate::trust::Authorities;

/// How long keys of a folder are used before they are read again.
const READ_AGAIN: Duration = Duration::from_secs(30);
/// How long it may take until a changed Secret is in the folder.
const ROTATION_PATIENCE: Duration = Duration::from_secs(150);
const ROTATION_PAUSE: Duration = Duration::from_secs(3);
/// How long one try of a request waits for its answer: a store that took the request and fell silent would hold
/// the run for ever. The body of an answer comes after it, and the SDK watches over that one itself.
const ANSWER_PATIENCE: Duration = Duration::from_secs(60);
/// Bytes a second at least with which a body is expected to go out, so that a large file is not cut off.
const SLOWEST_UPLOAD: u64 = 128 << 10;

/// A folder of a bucket.
#[derive(Clone, Debug)]
pub struct Bucket {
    client: Client,
    /// Whether the keys are in a folder, where others may take their place.
    mounted: bool,
    bucket: String,
    /// The folder, empty or ending with a slash.
    prefix: String,
}

impl Bucket {
    pub(super) fn new(target: &StoreTarget, credentials: &Credentials) -> Self {
        let mounted = !target.credentials_dir.is_empty();
        let keys = if mounted {
            SharedCredentialsProvider::new(Mounted {
                folder: target.credentials_dir.clone(),
            })
        } else {
            SharedCredentialsProvider::new(fixed(credentials))
        };
        let client = built(
            &target.endpoint,
            &target.region,
            target.path_style,
            keys,
            credentials.authorities.as_ref(),
        );
        let prefix = target.prefix.trim_matches('/');
        let prefix = if prefix.is_empty() {
            String::new()
        } else {
            format!("{prefix}/")
        };
        Self {
            client,
            mounted,
            bucket: target.bucket.clone(),
            prefix,
        }
    }

    pub(super) async fn ensure(&self) -> Result<(), StoreError> {
        let Self {
            client,
            bucket,
            prefix,
            ..
        } = self;
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
                            StoreError::Unauthorised(_) => StoreError::NoBucket(bucket.clone()),
                            other => other,
                        }),
                    }
                }
                other => Err(other),
            },
        }
    }

    pub(super) async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), StoreError> {
        self.with_keys(async || self.put_once(name, bytes.clone()).await)
            .await
    }

    pub(super) async fn put_file(&self, name: &str, file: &Path) -> Result<(), StoreError> {
        let unreadable = |error: &dyn std::error::Error| StoreError::File {
            path: file.to_owned(),
            source: std::io::Error::other(error.to_string()),
        };
        self.with_keys(async || {
            let body = ByteStream::from_path(file).await;
            self.put_body(name, body.map_err(|error| unreadable(&error))?)
                .await
        })
        .await
    }

    pub(super) async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.with_keys(async || self.get_once(name).await).await
    }

    pub(super) async fn list(&self, below: &str) -> Result<Vec<String>, StoreError> {
        self.with_keys(async || self.list_once(below).await).await
    }

    /// Asks again while others may take the place of keys that are no longer known.
    async fn with_keys<T>(
        &self,
        ask: impl AsyncFn() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let deadline = Instant::now() + ROTATION_PATIENCE;
        loop {
            match ask().await {
                Err(error)
                    if self.mounted && error.of_changing_keys() && Instant::now() < deadline =>
                {
                    tracing::warn!(%error, "the keys of the results store are read again");
                    tokio::time::sleep(ROTATION_PAUSE).await;
                }
                answer => return answer,
            }
        }
    }

    async fn put_once(&self, name: &str, bytes: Vec<u8>) -> Result<(), StoreError> {
        self.put_body(name, ByteStream::from(bytes)).await
    }

    async fn put_body(&self, name: &str, body: ByteStream) -> Result<(), StoreError> {
        let (least, most) = body.size_hint();
        let bytes = most.unwrap_or(least);
        self.client
            .put_object()
            .bucket(&self.bucket)
            .key(format!("{}{name}", self.prefix))
            .content_type(content_type(name))
            .body(body)
            .customize()
            .config_override(longer_by(sent_within(bytes)))
            .send()
            .await
            .map(drop)
            .map_err(|error| classify(&error, &self.bucket))
    }

    async fn get_once(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        match self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(format!("{}{name}", self.prefix))
            .send()
            .await
        {
            Ok(object) => {
                let body = object.body.collect().await;
                let body = body.map_err(|error| StoreError::Unavailable(error.to_string()))?;
                Ok(Some(body.into_bytes().to_vec()))
            }
            Err(error) if matches!(error.code(), Some("NoSuchKey" | "NotFound")) => Ok(None),
            Err(error) => Err(classify(&error, &self.bucket)),
        }
    }

    /// One file into a local one, which has its name only once it is whole.
    pub(super) async fn fetch(&self, name: &str, to: &Path, most: u64) -> Result<bool, StoreError> {
        self.with_keys(async || self.fetch_once(name, to, most).await)
            .await
    }

    async fn fetch_once(&self, name: &str, to: &Path, most: u64) -> Result<bool, StoreError> {
        let asked = self.client.get_object().bucket(&self.bucket);
        let mut object = match asked.key(format!("{}{name}", self.prefix)).send().await {
            Ok(object) => object,
            Err(error) if matches!(error.code(), Some("NoSuchKey" | "NotFound")) => {
                return Ok(false);
            }
            Err(error) => return Err(classify(&error, &self.bucket)),
        };
        let failed = |source| StoreError::File {
            path: to.to_owned(),
            source,
        };
        let above = to.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(above).map_err(failed)?;
        let beside = partial(to);
        let mut file = std::fs::File::create(&beside).map_err(failed)?;
        // What a store says of the length is believed only as far as it comes.
        let mut left = most;
        while let Some(chunk) = object.body.next().await {
            let chunk = chunk.map_err(|error| StoreError::Unavailable(error.to_string()))?;
            left = left
                .checked_sub(chunk.len() as u64)
                .ok_or_else(|| StoreError::TooLarge {
                    name: name.to_owned(),
                    most,
                })?;
            file.write_all(&chunk).map_err(failed)?;
        }
        std::fs::rename(&beside, to).map_err(failed)?;
        Ok(true)
    }

    async fn list_once(&self, below: &str) -> Result<Vec<String>, StoreError> {
        let prefix = &self.prefix;
        let mut names = Vec::new();
        let mut pages = self
            .client
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(format!("{prefix}{below}"))
            .into_paginator()
            .send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| classify(&error, &self.bucket))?;
            let keys = page.contents().iter().filter_map(|object| object.key());
            let keys = keys.map(|key| listed(key, page.encoding_type()));
            names.extend(keys.filter_map(|key| Some(key.strip_prefix(prefix)?.to_owned())));
        }
        Ok(names)
    }
}

/// The keys in a folder, which may change there.
#[derive(Debug)]
struct Mounted {
    folder: String,
}

impl ProvideCredentials for Mounted {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let found = credentials(&self.folder, None).map(|found| {
            let mut keys = fixed(&found);
            *keys.expiry_mut() = Some(SystemTime::now() + READ_AGAIN);
            keys
        });
        future::ProvideCredentials::ready(found.map_err(CredentialsError::provider_error))
    }
}

fn fixed(credentials: &Credentials) -> aws_sdk_s3::config::Credentials {
    aws_sdk_s3::config::Credentials::new(
        &credentials.user,
        &credentials.secret,
        credentials.session_token.clone(),
        None,
        "bakeoff",
    )
}

/// An SDK client for an endpoint, with the SDK's standard retries.
#[must_use]
pub fn client(endpoint: &str, region: &str, path_style: bool, credentials: &Credentials) -> Client {
    let keys = SharedCredentialsProvider::new(fixed(credentials));
    let authorities = credentials.authorities.as_ref();
    built(endpoint, region, path_style, keys, authorities)
}

fn built(
    endpoint: &str,
    region: &str,
    path_style: bool,
    keys: SharedCredentialsProvider,
    authorities: Option<&Authorities>,
) -> Client {
    let mut trusted = tls::TrustStore::default();
    if let Some(authorities) = authorities {
        trusted = trusted.with_pem_certificate(authorities.pem());
    }
    let http = aws_smithy_http_client::Builder::new().tls_provider(tls::Provider::Rustls(
        tls::rustls_provider::CryptoMode::Ring,
    ));
    let trusted = tls::TlsContext::builder().with_trust_store(trusted);
    let http = http
        .tls_context(trusted.build().unwrap_or_default())
        .build_https();
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(http)
        .endpoint_url(endpoint)
        .region(Region::new(region.to_owned()))
        .force_path_style(path_style)
        .credentials_provider(keys)
        .retry_config(RetryConfig::standard().with_max_attempts(5))
        .timeout_config(answered_within(ANSWER_PATIENCE))
        // Not every S3 store knows the newer checksum headers.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .build();
    Client::from_conf(config)
}

/// Each try of a request for itself: repetitions have a patience of their own.
fn answered_within(patience: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .operation_attempt_timeout(patience)
        .build()
}

/// Of a request that takes this much longer than others, each try of which counts from the first byte that is sent.
pub(super) fn longer_by(more: Duration) -> aws_sdk_s3::config::Builder {
    aws_sdk_s3::config::Builder::new().timeout_config(answered_within(ANSWER_PATIENCE + more))
}

/// How long so many bytes may be on their way.
pub(super) fn sent_within(bytes: u64) -> Duration {
    Duration::from_secs(bytes / SLOWEST_UPLOAD)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_upload_has_time_for_its_bytes() {
        assert_eq!(ANSWER_PATIENCE + sent_within(1_000), ANSWER_PATIENCE);
        // A gibibyte over ten megabits a second takes a quarter of an hour.
        assert!(ANSWER_PATIENCE + sent_within(1 << 30) > Duration::from_secs(900));
    }
}
