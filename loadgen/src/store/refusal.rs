//! What the SDK's errors say of a store.

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{DisplayErrorContext, SdkError};
use aws_sdk_s3::types::EncodingType;
use jiff::Timestamp;

use super::StoreError;
use crate::failure::Remedy;
use crate::s3::{answer, xml};
use crate::trust;

/// How much is said of an error that came without an answer.
const WORDS: usize = 400;

/// A listed key, without the encoding that the listing says it has: some stores encode unasked.
pub(super) fn listed(key: &str, encoding: Option<&EncodingType>) -> String {
    let encoded = encoding == Some(&EncodingType::Url);
    let decoded = encoded.then(|| xml::decoded(key).ok()).flatten();
    decoded.unwrap_or_else(|| key.to_owned())
}

/// Whether the store answered, and another try would be answered the same.
pub(super) fn is_answer<E>(error: &SdkError<E, HttpResponse>) -> bool {
    let response = error.raw_response();
    response
        .is_some_and(|response| !matches!(response.status().as_u16(), 408 | 429 | 500 | 502..=504))
}

/// What an error of a request to a bucket is.
pub(super) fn classify<E>(error: &SdkError<E, HttpResponse>, bucket: &str) -> StoreError
where
    E: std::error::Error + 'static,
{
    let Some(response) = error.raw_response() else {
        let mut text = DisplayErrorContext(error).to_string();
        if let Some((end, _)) = text.char_indices().nth(WORDS) {
            text.truncate(end);
        }
        return match trust::remedy(error) {
            Some(remedy) => StoreError::Refused { said: text, remedy },
            None => StoreError::Unavailable(text),
        };
    };
    let header = |name: &str| response.headers().get(name).map(str::to_owned);
    let body = response.body().bytes().unwrap_or_default();
    let failure = answer::failure(response.status().as_u16(), header, body, Timestamp::now());
    if failure.code.as_deref() == Some("NoSuchBucket") {
        return StoreError::NoBucket(bucket.to_owned());
    }
    match failure.remedy.map(|remedy| *remedy) {
        Some(Remedy::Credentials) => StoreError::Unauthorised(failure.detail),
        Some(remedy) => StoreError::Refused {
            said: failure.detail,
            remedy,
        },
        // An answer that the SDK cannot read though its status is good is none of S3.
        None if response.status().is_success() => StoreError::Refused {
            said: failure.detail,
            remedy: Remedy::Unknown,
        },
        None => StoreError::Unavailable(failure.detail),
    }
}
