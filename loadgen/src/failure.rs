//! Why an operation failed, whatever its protocol.

/// Why an operation did not succeed. The classes never share a histogram with successes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailureClass {
    /// The backend asked to slow down: 429 or 503 of S3.
    Throttled,
    /// Any other error that is the server's own: of S3 another 5xx, or a 200 that carries an error document.
    Server,
    /// The object or bucket does not exist: 404 of S3.
    NotFound,
    /// What was asked for is refused: of S3 any other 4xx.
    Client,
    /// No whole answer within the timeout; recorded as at least the timeout.
    Timeout,
    /// The connection broke while the operation was under way.
    Transport,
    /// No connection could be opened.
    Connect,
    /// The answer came and is not what the protocol promises.
    Malformed,
    /// Unfinished when the drain ended; recorded as at least the time waited.
    Censored,
}

impl FailureClass {
    /// Every class, in the order of their discriminants.
    pub const ALL: [Self; 9] = [
        Self::Throttled,
        Self::Server,
        Self::NotFound,
        Self::Client,
        Self::Timeout,
        Self::Transport,
        Self::Connect,
        Self::Malformed,
        Self::Censored,
    ];

    /// The name used in results, metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Server => "serverError",
            Self::NotFound => "notFound",
            Self::Client => "clientError",
            Self::Timeout => "timeout",
            Self::Transport => "transport",
            Self::Connect => "connect",
            Self::Malformed => "malformed",
            Self::Censored => "censored",
        }
    }

    /// Whether the operation certainly had no effect. Everything else is uncertain for ever: a
    /// write that timed out may still land later.
    #[must_use]
    pub fn definite(self) -> bool {
        matches!(self, Self::NotFound | Self::Client | Self::Connect)
    }
}

/// What a user has to change before a server takes what is asked of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Other credentials, or more rights.
    Credentials,
    /// Another region or endpoint, where the server says which.
    Elsewhere {
        /// The region to set.
        region: Option<String>,
        /// The endpoint to set.
        endpoint: Option<String>,
    },
    /// A clock; by how many seconds ours is ahead of theirs, where that is known.
    Clock {
        /// Seconds; negative when ours is behind.
        ahead: Option<i64>,
    },
    /// The name of the bucket.
    BucketName,
    /// A bucket that takes objects without a digest: Object Lock wants one.
    Digest,
    /// A bucket without a default retention.
    Retention {
        /// The mode of the retention.
        mode: String,
    },
    /// Signed bodies.
    SignedPayload,
    /// The authority that made the server's certificate.
    Authority,
    /// The server's certificate, and what is wrong with it.
    Certificate(String),
    /// `http` or `https`.
    Scheme,
    /// The proxy between here and there.
    Proxy,
    /// Whatever the server's words say.
    Unknown,
}

impl Remedy {
    /// The machine-readable reason of a refusal that has this remedy.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Credentials => "EndpointUnauthorized",
            Self::Elsewhere { .. } => "EndpointElsewhere",
            Self::Clock { .. } => "ClocksDiffer",
            Self::BucketName => "BucketNameInvalid",
            Self::Digest | Self::Retention { .. } => "BucketLocked",
            Self::SignedPayload => "PayloadUnsigned",
            Self::Authority => "AuthorityUnknown",
            Self::Certificate(_) => "CertificateInvalid",
            Self::Scheme | Self::Proxy | Self::Unknown => "EndpointRefused",
        }
    }
}

impl std::fmt::Display for Remedy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Credentials => f.write_str(
                "check accessKeyId, secretAccessKey and sessionToken in its Secret, and their rights on the bucket",
            ),
            Self::Elsewhere { region, endpoint } => match (region, endpoint) {
                (Some(region), Some(endpoint)) => {
                    write!(f, "set the region {region}, and the endpoint {endpoint} if that is not enough")
                }
                (Some(region), None) => write!(f, "set the region {region}"),
                (None, Some(endpoint)) => write!(
                    f,
                    "it sends requests to {endpoint}: set that endpoint (without the bucket), and its region"
                ),
                (None, None) => f.write_str("set the region and the endpoint of the bucket"),
            },
            Self::Clock { ahead: Some(ahead) } if *ahead >= 0 => write!(
                f,
                "the clocks differ: the generator's is {ahead} s ahead of the server's; set the one that is wrong"
            ),
            Self::Clock { ahead: Some(ahead) } => write!(
                f,
                "the clocks differ: the generator's is {} s behind the server's; set the one that is wrong",
                ahead.unsigned_abs()
            ),
            Self::Clock { ahead: None } => {
                f.write_str("the clocks of generator and server differ; set the one that is wrong")
            }
            Self::BucketName => f.write_str("the name of the bucket is not valid there: choose another bucket"),
            Self::Digest => f.write_str(
                "it wants a digest (Content-MD5 or a checksum) with each object, as buckets with Object Lock do, and the \
                 measured path sends none: use a bucket without Object Lock",
            ),
            Self::Retention { mode } => write!(
                f,
                "its Object Lock keeps every new object ({mode}), so that nothing could be removed afterwards: use a \
                 bucket without a default retention"
            ),
            Self::SignedPayload => f.write_str(
                "it refuses bodies that are not signed (x-amz-content-sha256: UNSIGNED-PAYLOAD): set signPayload: true",
            ),
            Self::Authority => f.write_str(
                "its certificate is of an authority that is not known here: give the authority's certificate as caKey \
                 of its Secret, or with --ca-file",
            ),
            Self::Certificate(what) => {
                write!(f, "its certificate is not valid here ({what}): mend it, or use the name that it bears")
            }
            Self::Scheme => f.write_str("it speaks the other of http and https: change the beginning of the endpoint"),
            Self::Proxy => f.write_str("a proxy stands before it and wants to know who asks: go round it"),
            Self::Unknown => f.write_str(
                "check that the endpoint is the address of an S3 API, and what stands between here and there",
            ),
        }
    }
}

/// A failed operation.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}: {detail}", class.as_str())]
pub struct Failure {
    /// What kind of failure.
    pub class: FailureClass,
    /// What the server or the transport said; bounded to 300 characters.
    pub detail: String,
    /// The error code of S3, such as `NoSuchBucket`, or SQLSTATE of Postgres, where the server sent one.
    pub code: Option<String>,
    /// What a user has to change, where only that helps.
    pub remedy: Option<Box<Remedy>>,
    /// The seconds after which the server asks to be asked again.
    pub retry_after: Option<u64>,
}

impl Failure {
    /// A failure without an error code.
    #[must_use]
    pub fn new(class: FailureClass, detail: impl Into<String>) -> Self {
        let mut detail: String = detail.into();
        if let Some((end, _)) = detail.char_indices().nth(300) {
            detail.truncate(end);
        }
        Self {
            class,
            detail,
            code: None,
            remedy: None,
            retry_after: None,
        }
    }

    /// Whether S3 itself says of an object that was to be read that it is gone: it, or with its bucket all that was in it.
    /// It says so by a code. A proxy that knows no such page says 404 as well, in its own words or in none.
    #[must_use]
    pub fn says_gone(&self) -> bool {
        self.class == FailureClass::NotFound
            && matches!(self.code.as_deref(), Some("NoSuchKey" | "NoSuchBucket"))
    }

    /// The same, with what was being done.
    #[must_use]
    pub fn during(mut self, what: &str) -> Self {
        self.detail = format!("{what}: {}", self.detail);
        self
    }

    /// The machine-readable reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        self.class.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_store_itself_says_that_an_object_is_gone() {
        let says = |class, code: Option<&str>| {
            let failure = Failure {
                code: code.map(str::to_owned),
                ..Failure::new(class, "404")
            };
            failure.says_gone()
        };
        let missing = FailureClass::NotFound;
        assert!(says(missing, Some("NoSuchKey")));
        assert!(says(missing, Some("NoSuchBucket")));
        // A proxy without a route to the store has no more to say.
        assert!(!says(missing, None));
        assert!(!says(missing, Some("NoSuchUpload")));
        assert!(!says(FailureClass::Client, Some("NoSuchKey")));
    }
}
