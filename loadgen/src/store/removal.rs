//! Removes what lies below a prefix of a bucket, however the store lets it.

use std::cell::Cell;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::abort_multipart_upload::AbortMultipartUploadError;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use futures::StreamExt;

use super::bucket::longer_by;
use super::error::{Left, StoreError};
use super::refusal::{classify, is_answer, listed as key_of};

/// How many single deletions are under way at once.
const SINGLE: usize = 16;
/// How often it is looked whether all is gone: a listing may show for a moment what was removed.
const LOOKS: u32 = 12;
const PAUSE: Duration = Duration::from_millis(100);
/// Pages without an entry after which a listing is held to be without an end.
const EMPTY_PAGES: u32 = 1_000;

/// Removes every object below a prefix of a bucket, its versions where the bucket keeps them, and uploads in parts that
/// nobody ended, as far as the store lets them be listed and aborted; answers how many. What is refused holds up nothing else.
///
/// # Errors
/// When the store does not answer or refuses to delete objects or versions.
pub async fn remove_all(client: &Client, bucket: &str, prefix: &str) -> Result<u64, StoreError> {
    let removal = Removal {
        client,
        bucket,
        prefix,
        single: Cell::new(false),
        markers: Cell::new(0),
    };
    let mut removed = 0;
    let mut failed = None;
    for of in [Of::Objects, Of::Versions, Of::Uploads] {
        match removal.all(of).await {
            Ok(some) => removed += some,
            // A role need not have the right to them.
            Err(error) if of == Of::Uploads && !error.retryable() => {
                tracing::warn!(%error, bucket, prefix, "uploads in parts may be left");
            }
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    failed.map_or(Ok(removed), Err)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Objects,
    Versions,
    /// In parts, and neither completed nor aborted. No listing of objects shows them, and the store charges for them.
    Uploads,
}

struct Removal<'a> {
    client: &'a Client,
    bucket: &'a str,
    prefix: &'a str,
    /// The store takes no batches.
    single: Cell<bool>,
    /// How often a deletion was answered with a marker: then versions stay.
    markers: Cell<u64>,
}

/// What is removed at once.
struct Item {
    key: String,
    /// Which of its versions, or which upload.
    version: Option<String>,
}

/// Where the next page begins.
enum Next {
    Token(String),
    Markers(Option<String>, Option<String>),
}

impl Next {
    /// What follows a page that ends at these markers.
    fn after(
        is_truncated: Option<bool>,
        (key, id): (Option<String>, Option<String>),
    ) -> Option<Self> {
        let more = is_truncated == Some(true) && key.is_some();
        more.then_some(Self::Markers(key, id))
    }
}

/// What one look at everything did.
#[derive(Default)]
struct Pass {
    gone: u64,
    refused: u64,
    /// What the store said of the first that it refused.
    said: Option<StoreError>,
}

/// A page that could not be read, and whether the store's answer says so.
struct Unlisted {
    error: StoreError,
    answered: bool,
}

impl Removal<'_> {
    async fn all(&self, of: Of) -> Result<u64, StoreError> {
        let mut removed = 0;
        for look in 0..LOOKS {
            tokio::time::sleep(PAUSE * look.saturating_sub(1)).await;
            let pass = match self.pass(of).await {
                Ok(pass) => pass,
                // A store without versions need not know the question.
                Err(unlisted) if of == Of::Versions && unlisted.answered => {
                    return self.unlistable(unlisted.error).await.map(|()| removed);
                }
                // Nor need it offer uploads, or let everybody list them: who may not is told nothing of any.
                Err(unlisted) if of == Of::Uploads && unlisted.answered => {
                    tracing::debug!(error = %unlisted.error, "uploads cannot be listed");
                    return Ok(removed);
                }
                Err(unlisted) => return Err(unlisted.error),
            };
            removed += pass.gone;
            match (pass.gone, pass.said) {
                (0, None) => return Ok(removed),
                (0, Some(said)) => return Err(self.left(of, pass.refused, said.to_string())),
                _ => {}
            }
        }
        let said = "they are still listed after they were removed".to_owned();
        Err(self.left(of, removed, said))
    }

    /// Whether versions are left although they cannot be listed.
    async fn unlistable(&self, error: StoreError) -> Result<(), StoreError> {
        let kept = match self.markers.get() {
            0 => {
                let asked = self.client.get_bucket_versioning().bucket(self.bucket);
                let answer = asked.send().await;
                answer.is_ok_and(|answer| answer.status().is_some())
            }
            _ => true,
        };
        if kept {
            Err(self.left(Of::Versions, self.markers.get(), error.to_string()))
        } else {
            tracing::debug!(%error, "versions cannot be listed, and none are known of");
            Ok(())
        }
    }

    fn left(&self, of: Of, count: u64, said: String) -> StoreError {
        let (what, mend) = match of {
            Of::Objects => (
                "objects",
                "give the right s3:DeleteObject there, and remove them",
            ),
            Of::Versions => (
                "versions or delete markers",
                "give the rights s3:ListBucketVersions and s3:DeleteObjectVersion, wait for the end of their retention, \
                 or let a lifecycle rule remove them",
            ),
            Of::Uploads => (
                "uploads in parts",
                "give the right s3:AbortMultipartUpload there, or let a lifecycle rule abort them",
            ),
        };
        StoreError::Left(Box::new(Left {
            // Of versions that cannot be listed it is known of those alone that were deleted just now.
            count: if count == 0 {
                "some".to_owned()
            } else {
                count.to_string()
            },
            what,
            bucket: self.bucket.to_owned(),
            prefix: self.prefix.to_owned(),
            said,
            mend,
        }))
    }

    async fn pass(&self, of: Of) -> Result<Pass, Unlisted> {
        let mut pass = Pass::default();
        let mut next = None;
        let mut empty = 0;
        loop {
            let (items, following) = match of {
                Of::Objects => self.objects(next).await?,
                Of::Versions => self.versions(next).await?,
                Of::Uploads => self.uploads(next).await?,
            };
            empty = if items.is_empty() { empty + 1 } else { 0 };
            if !items.is_empty() {
                self.delete(of, items, &mut pass)
                    .await
                    .map_err(|error| Unlisted {
                        error,
                        answered: false,
                    })?;
            }
            if following.is_none() || empty > EMPTY_PAGES {
                return Ok(pass);
            }
            next = following;
        }
    }

    fn unlisted<E: std::error::Error + 'static>(
        &self,
        error: &SdkError<E, HttpResponse>,
    ) -> Unlisted {
        Unlisted {
            answered: is_answer(error),
            error: classify(error, self.bucket),
        }
    }

    async fn objects(&self, next: Option<Next>) -> Result<(Vec<Item>, Option<Next>), Unlisted> {
        let token = next.and_then(|next| match next {
            Next::Token(token) => Some(token),
            Next::Markers(..) => None,
        });
        let listed = self
            .client
            .list_objects_v2()
            .bucket(self.bucket)
            .prefix(self.prefix)
            .set_continuation_token(token)
            .send()
            .await
            .map_err(|error| self.unlisted(&error))?;
        let keys = listed.contents().iter().filter_map(|object| object.key());
        let items = keys.map(|key| Item {
            key: key_of(key, listed.encoding_type()),
            version: None,
        });
        let items = items.collect();
        let token = listed.next_continuation_token.map(Next::Token);
        Ok((items, token.filter(|_| listed.is_truncated == Some(true))))
    }

    async fn versions(&self, next: Option<Next>) -> Result<(Vec<Item>, Option<Next>), Unlisted> {
        let (key, version) = match next {
            Some(Next::Markers(key, version)) => (key, version),
            _ => (None, None),
        };
        let listed = self
            .client
            .list_object_versions()
            .bucket(self.bucket)
            .prefix(self.prefix)
            .set_key_marker(key)
            .set_version_id_marker(version)
            .send()
            .await
            .map_err(|error| self.unlisted(&error))?;
        let versions = listed.versions().iter();
        let versions = versions.map(|version| (version.key(), version.version_id()));
        let markers = listed.delete_markers().iter();
        let markers = markers.map(|marker| (marker.key(), marker.version_id()));
        let items = versions.chain(markers).filter_map(|(key, version)| {
            Some(Item {
                key: key_of(key?, listed.encoding_type()),
                version: version.filter(|id| !id.is_empty()).map(str::to_owned),
            })
        });
        let items = items.collect();
        let markers = (listed.next_key_marker, listed.next_version_id_marker);
        Ok((items, Next::after(listed.is_truncated, markers)))
    }

    async fn uploads(&self, next: Option<Next>) -> Result<(Vec<Item>, Option<Next>), Unlisted> {
        let (key, upload) = match next {
            Some(Next::Markers(key, upload)) => (key, upload),
            _ => (None, None),
        };
        let listed = self
            .client
            .list_multipart_uploads()
            .bucket(self.bucket)
            .prefix(self.prefix)
            .set_key_marker(key)
            .set_upload_id_marker(upload)
            .send()
            .await
            .map_err(|error| self.unlisted(&error))?;
        let items = listed.uploads().iter().filter_map(|upload| {
            Some(Item {
                key: key_of(upload.key()?, listed.encoding_type()),
                version: Some(upload.upload_id()?.to_owned()),
            })
        });
        // A store that does not read the prefix must not lose what is not ours.
        let items = items.filter(|item| item.key.starts_with(self.prefix));
        let items = items.collect();
        let markers = (listed.next_key_marker, listed.next_upload_id_marker);
        Ok((items, Next::after(listed.is_truncated, markers)))
    }

    /// In one request, or one by one where the store does not take it or refuses some; uploads always one by one.
    async fn delete(&self, of: Of, items: Vec<Item>, pass: &mut Pass) -> Result<(), StoreError> {
        let mut items = items;
        if of != Of::Uploads && !self.single.get() {
            let count = items.len();
            items = self.batch(items).await?;
            pass.gone += (count - items.len()) as u64;
            if items.len() == count {
                tracing::info!(
                    "the store refuses batches of deletions: objects are removed one by one"
                );
                self.single.set(true);
            }
        }
        let mut answers = futures::stream::iter(&items)
            .map(|item| self.one(of, item))
            .buffer_unordered(SINGLE);
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(true) => pass.gone += 1,
                Ok(false) => {}
                Err(error) if error.retryable() => return Err(error),
                Err(error) => {
                    pass.refused += 1;
                    pass.said.get_or_insert(error);
                }
            }
        }
        Ok(())
    }

    /// Answers those that are not removed.
    async fn batch(&self, items: Vec<Item>) -> Result<Vec<Item>, StoreError> {
        let identifiers: Result<Vec<_>, _> = items
            .iter()
            .map(|item| {
                ObjectIdentifier::builder()
                    .key(&item.key)
                    .set_version_id(item.version.clone())
                    .build()
            })
            .collect();
        let built = identifiers.and_then(|keys| Delete::builder().set_objects(Some(keys)).build());
        let delete = built.map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let asked = self.client.delete_objects().bucket(self.bucket);
        // Some stores remove one key after the other.
        let patient = longer_by(Duration::from_secs(items.len() as u64));
        let asked = asked.delete(delete).customize().config_override(patient);
        let answer = match asked.send().await {
            Ok(answer) => answer,
            // Whatever the store has against it: that it knows no batches, wants another digest, or the like.
            Err(error) if error.raw_response().is_some() => return Ok(items),
            Err(error) => return Err(classify(&error, self.bucket)),
        };
        let marked = answer.deleted().iter();
        let marked =
            marked.filter(|gone| gone.delete_marker() == Some(true) && gone.version_id().is_none());
        self.markers.set(self.markers.get() + marked.count() as u64);
        let refused: Vec<_> = answer
            .errors()
            .iter()
            .map(|error| (error.key(), error.version_id()))
            .collect();
        let mut items = items;
        items.retain(|item| {
            refused.iter().any(|(key, version)| {
                *key == Some(&item.key)
                    && (version.is_none() || *version == item.version.as_deref())
            })
        });
        Ok(items)
    }

    /// Whether it was there, as far as the store says.
    async fn one(&self, of: Of, item: &Item) -> Result<bool, StoreError> {
        if of == Of::Uploads {
            return self.abort(item).await;
        }
        let asked = self
            .client
            .delete_object()
            .bucket(self.bucket)
            .key(&item.key)
            .set_version_id(item.version.clone());
        let answer = asked.send().await;
        let answer = answer.map_err(|error| classify(&error, self.bucket))?;
        if item.version.is_none() && answer.delete_marker() == Some(true) {
            self.markers.set(self.markers.get() + 1);
        }
        Ok(true)
    }

    async fn abort(&self, item: &Item) -> Result<bool, StoreError> {
        let asked = self
            .client
            .abort_multipart_upload()
            .bucket(self.bucket)
            .key(&item.key)
            .set_upload_id(item.version.clone());
        match asked.send().await {
            Ok(_) => Ok(true),
            // Some stores list an upload for a while that is gone.
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(AbortMultipartUploadError::is_no_such_upload) =>
            {
                Ok(false)
            }
            Err(error) => Err(classify(&error, self.bucket)),
        }
    }
}
