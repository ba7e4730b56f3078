//! What can go wrong while observing and acting.

/// An error of a reconcile.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused or did not answer.
    #[error("{what}: {}", said(source))]
    Api {
        /// What was tried.
        what: String,
        /// Why it failed.
        #[source]
        source: Box<kube::Error>,
    },
    /// Another writer was faster; the next look sees its change.
    #[error("{0} changed meanwhile")]
    Conflict(String),
    /// The node pool was taken meanwhile.
    #[error("the node pool was taken meanwhile by {0}")]
    PoolTaken(String),
    /// This replica may not write any more.
    #[error("another replica may lead by now")]
    NotLeading,
    /// The API server shows an object without a name, a namespace or a uid.
    #[error("the object has no name, no namespace or no uid")]
    Incomplete,
    /// The operating system gave no random bytes.
    #[error("no random bytes for credentials: {0}")]
    Random(String),
    /// The Secret of the results store lacks a key.
    #[error("the results store's Secret {0} lacks the key {1}")]
    ResultsSecret(String, String),
}

impl Error {
    /// Whether the API server said that nothing can be made in a namespace because that is being deleted.
    #[must_use]
    pub fn is_of_a_dying_namespace(&self) -> bool {
        let Self::Api { source, .. } = self else {
            return false;
        };
        matches!(&**source, kube::Error::Api(status) if status.code == 403
        && status.details.as_ref().is_some_and(|details| {
            details.causes.iter().any(|cause| cause.reason == "NamespaceTerminating")
        }))
    }

    /// Whether what was tried is known not to be done: it was not asked for, or the API server said so, and not merely
    /// nothing.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Conflict(_) | Self::NotLeading => true,
            Self::Api { source, .. } => {
                matches!(&**source, kube::Error::Api(status) if (400..500).contains(&status.code))
            }
            _ => false,
        }
    }

    /// A constant word for logs and metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Api { .. } => "api",
            Self::Conflict(_) => "conflict",
            Self::PoolTaken(_) => "pool_taken",
            Self::NotLeading => "not_leading",
            Self::Incomplete => "incomplete",
            Self::Random(_) => "random",
            Self::ResultsSecret(..) => "results_secret",
        }
    }
}

/// What the API server said, without the rest of its answer.
fn said(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => {
            format!("{} ({} {})", status.message, status.code, status.reason)
        }
        other => other.to_string(),
    }
}

/// Names what was tried when a call to the API server fails.
pub fn api(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Error {
    move |source| {
        let what = what.into();
        match &source {
            kube::Error::Api(status) if status.code == 409 => Error::Conflict(what),
            _ => Error::Api {
                what,
                source: Box::new(source),
            },
        }
    }
}

/// Whether the API server said that there is no such object.
#[must_use]
pub fn is_missing(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// Whether the API server said that the object exists already, or is another one.
#[must_use]
pub fn exists_already(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}
