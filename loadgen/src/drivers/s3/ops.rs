//! The S3 operations that are measured.

use bytes::Bytes;
use http::Method;
use jiff::Timestamp;

use super::conn::{Connection, Keep, Reply};
use super::payload::Payload;
use crate::drivers::s3::sigv4::encode_into;
use crate::failure::{Failure, FailureClass, Remedy};
use crate::s3::{answer, xml};

/// What the answer to a request that was not done says.
fn refused(reply: &Reply) -> Failure {
    let header = |name: &str| {
        let value = reply.headers.as_ref()?.get(name)?;
        value.to_str().ok().map(str::to_owned)
    };
    answer::failure(reply.status, header, &reply.body, Timestamp::now())
}

/// The answer to a PUT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutReply {
    /// The ETag, where the server sent one.
    pub etag: Option<String>,
}

/// The answer to a GET or HEAD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GetReply {
    /// The ETag, where the server sent one.
    pub etag: Option<String>,
    /// The length of the body in bytes.
    pub length: u64,
    /// The first bytes of the body: [`HEAD_BYTES`](super::conn::HEAD_BYTES) of them, where it has as many, or more.
    pub head: Bytes,
}

/// What to list.
#[derive(Clone, Debug, Default)]
pub struct ListRequest<'a> {
    /// Only keys that start with this.
    pub prefix: &'a str,
    /// Only keys after this one.
    pub start_after: Option<&'a str>,
    /// The token of the page before.
    pub continuation_token: Option<&'a str>,
    /// The page size, 1 to 1000.
    pub max_keys: u16,
}

/// How many empty pages in a row a listing may have that says that more follow.
pub const MOST_EMPTY_PAGES: u32 = 100;

/// One page of a listing.
pub use crate::s3::xml::ListPage;

/// The query of a `ListObjectsV2` request, encoded and sorted.
#[must_use]
pub fn list_query(request: &ListRequest<'_>) -> String {
    let mut query = String::with_capacity(128);
    // The parameters stand in the order of their names, as signing asks.
    if let Some(token) = request.continuation_token {
        query.push_str("continuation-token=");
        encode_into(&mut query, token, false);
        query.push('&');
    }
    query.push_str("list-type=2&max-keys=");
    query.push_str(&request.max_keys.to_string());
    query.push_str("&prefix=");
    encode_into(&mut query, request.prefix, false);
    if let Some(key) = request.start_after {
        query.push_str("&start-after=");
        encode_into(&mut query, key, false);
    }
    query
}

fn accept(reply: Reply) -> Result<Reply, Failure> {
    if (200..300).contains(&reply.status) {
        Ok(reply)
    } else {
        Err(refused(&reply))
    }
}

impl Connection {
    /// Writes an object.
    ///
    /// # Errors
    /// Every answer but a 2xx, and every transport failure.
    pub async fn put(&mut self, path: &str, body: Payload) -> Result<PutReply, Failure> {
        let reply = accept(self.send(Method::PUT, path, "", body, Keep::Head).await?)?;
        Ok(PutReply { etag: reply.etag })
    }

    /// Reads an object; its body is read to the end and only its head kept.
    ///
    /// # Errors
    /// Every answer but a 2xx, and every transport failure.
    pub async fn get(&mut self, path: &str) -> Result<GetReply, Failure> {
        let reply = accept(
            self.send(Method::GET, path, "", Payload::default(), Keep::Head)
                .await?,
        )?;
        Ok(GetReply {
            etag: reply.etag,
            length: reply.length,
            head: reply.body,
        })
    }

    /// Asks for an object's metadata.
    ///
    /// # Errors
    /// Every answer but a 2xx, and every transport failure.
    pub async fn head(&mut self, path: &str) -> Result<GetReply, Failure> {
        let reply = accept(
            self.send(Method::HEAD, path, "", Payload::default(), Keep::Head)
                .await?,
        )?;
        Ok(GetReply {
            etag: reply.etag,
            length: reply.length,
            head: reply.body,
        })
    }

    /// Deletes an object; deleting a missing one succeeds, as in S3.
    ///
    /// # Errors
    /// Every answer but a 2xx, and every transport failure.
    pub async fn delete(&mut self, path: &str) -> Result<(), Failure> {
        accept(
            self.send(Method::DELETE, path, "", Payload::default(), Keep::Head)
                .await?,
        )
        .map(drop)
    }

    /// Reads one page of a listing.
    ///
    /// # Errors
    /// Every answer but a 2xx, every transport failure, and a document that is no listing.
    pub async fn list(&mut self, request: &ListRequest<'_>) -> Result<ListPage, Failure> {
        let query = list_query(request);
        let path = self.target().bucket_path().to_owned();
        let reply = accept(
            self.send(Method::GET, &path, &query, Payload::default(), Keep::Body)
                .await?,
        )?;
        match xml::parse_list(&reply.body) {
            Ok(page) => Ok(page),
            Err(error) => match xml::parse_error(&reply.body) {
                // Some services answer 200 and then an error document.
                Some(said) => Err(Failure::new(
                    FailureClass::Server,
                    format!("200 with {}: {}", said.code, said.message),
                )),
                None => {
                    let detail = format!("{error}; {}", refused(&reply).detail);
                    let mut failure = Failure::new(FailureClass::Malformed, detail);
                    failure.remedy = Some(Box::new(Remedy::Unknown));
                    Err(failure)
                }
            },
        }
    }

    /// The mode of the retention that the bucket gives to every new object; `None` where it gives none.
    ///
    /// # Errors
    /// Every answer but a 2xx, which is what stores without Object Lock give, and every transport failure.
    pub async fn default_retention(&mut self) -> Result<Option<String>, Failure> {
        let reply = self.bucket_setting("object-lock=").await?;
        Ok(xml::parse_retention(&reply.body))
    }

    /// Whether the bucket keeps versions: `Enabled` or `Suspended`; `None` where it never did.
    ///
    /// # Errors
    /// Every answer but a 2xx, and every transport failure.
    pub async fn versioning(&mut self) -> Result<Option<String>, Failure> {
        let reply = self.bucket_setting("versioning=").await?;
        Ok(xml::parse_versioning(&reply.body))
    }

    async fn bucket_setting(&mut self, query: &str) -> Result<Reply, Failure> {
        let path = self.target().bucket_path().to_owned();
        let asked = self.send(Method::GET, &path, query, Payload::default(), Keep::Body);
        accept(asked.await?)
    }

    /// Creates the bucket; one that is ours already is fine.
    ///
    /// # Errors
    /// Every other answer but a 2xx, and every transport failure.
    pub async fn create_bucket(&mut self) -> Result<(), Failure> {
        let path = self.target().bucket_path().to_owned();
        match accept(
            self.send(Method::PUT, &path, "", Payload::default(), Keep::Body)
                .await?,
        ) {
            Ok(_) => Ok(()),
            Err(failure)
                if matches!(
                    failure.code.as_deref(),
                    Some("BucketAlreadyOwnedByYou" | "BucketAlreadyExists")
                ) =>
            {
                Ok(())
            }
            Err(failure) => Err(failure),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_is_sorted_and_encoded() {
        let request = ListRequest {
            prefix: "a b/",
            start_after: Some("a b/ü"),
            continuation_token: Some("x=/"),
            max_keys: 2,
        };
        assert_eq!(
            list_query(&request),
            "continuation-token=x%3D%2F&list-type=2&max-keys=2&prefix=a%20b%2F&start-after=a%20b%2F%C3%BC"
        );
    }

    #[test]
    fn classes_follow_the_status() {
        let reply = |status, body: &'static str| Reply {
            status,
            etag: None,
            body: Bytes::from_static(body.as_bytes()),
            length: 0,
            headers: None,
        };
        let class = |status| refused(&reply(status, "")).class;
        assert_eq!(class(503), FailureClass::Throttled);
        assert_eq!(class(429), FailureClass::Throttled);
        assert_eq!(class(500), FailureClass::Server);
        assert_eq!(class(404), FailureClass::NotFound);
        assert_eq!(class(403), FailureClass::Client);
        let failure = refused(&reply(
            404,
            "<Error><Code>NoSuchBucket</Code><Message>m</Message></Error>",
        ));
        assert_eq!(failure.code.as_deref(), Some("NoSuchBucket"));
        for (index, class) in FailureClass::ALL.into_iter().enumerate() {
            assert_eq!(class as usize, index);
        }
    }
}
