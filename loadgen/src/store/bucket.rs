//! A bucket as results store, through the AWS SDK.

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
use bakeoff_crds::run::StoreTarget;

use super::StoreError;
use crate::credentials::Credentials;

/// A folder of a bucket.
#[derive(Clone, Debug)]
pub struct Bucket {
    client: Client,
    bucket: String,
    /// The folder, empty or ending with a slash.
    prefix: String,
}

impl Bucket {
    pub(super) fn new(target: &StoreTarget, credentials: &Credentials) -> Self {
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
        Self {
            client,
            bucket: target.bucket.clone(),
            prefix,
        }
    }

    pub(super) async fn ensure(&self) -> Result<(), StoreError> {
        let Self {
            client,
            bucket,
            prefix,
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
        self.client
            .put_object()
            .bucket(&self.bucket)
            .key(format!("{}{name}", self.prefix))
            .content_type(content_type(name))
            .body(ByteStream::from(bytes))
            .send()
            .await
            .map(drop)
            .map_err(|error| classify(&error, &self.bucket))
    }

    pub(super) async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
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

    pub(super) async fn list(&self, below: &str) -> Result<Vec<String>, StoreError> {
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
            names.extend(page.contents().iter().filter_map(|object| {
                object
                    .key()
                    .and_then(|key| key.strip_prefix(prefix.as_str()))
                    .map(str::to_owned)
            }));
        }
        Ok(names)
    }
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
