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
        }
    }

    /// The machine-readable reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        self.class.as_str()
    }
}
