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

    /// Whether what was tried stays undone for as long as the cluster is as it is, so that it is said, and given up after as long as
    /// may be waited for it: the API server said no, whoever it asked was not there (a webhook), or what it is made of lacks something.
    /// Whether it is undone for certain is another question ([`Self::is_refusal`]).
    #[must_use]
    pub fn is_standing(&self) -> bool {
        match self {
            Self::ResultsSecret(..) => true,
            Self::Api { source, .. } => {
                matches!(&**source, kube::Error::Api(status) if status.code >= 400)
            }
            _ => false,
        }
    }

    /// What is said of it to users: who says no, and in which words.
    #[must_use]
    pub fn in_words(&self) -> String {
        match self {
            Self::Api { .. } => format!("the API server refuses: {self}"),
            _ => self.to_string(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    fn answer(code: u16) -> Error {
        let status = Status::failure("failed calling webhook", "InternalError").with_code(code);
        api("apply Job a")(kube::Error::Api(Box::new(status)))
    }

    #[test]
    fn what_stays_undone_is_said_and_by_whom() {
        let secret = Error::ResultsSecret("keys".to_owned(), "accessKeyId".to_owned());
        for error in [
            &answer(403),
            &answer(422),
            &answer(500),
            &answer(504),
            &secret,
        ] {
            assert!(error.is_standing(), "{error}");
        }
        // Who has only lost a race, or may not write, comes back by itself.
        for error in [
            answer(409),
            Error::NotLeading,
            Error::PoolTaken("a".to_owned()),
        ] {
            assert!(!error.is_standing(), "{error}");
        }
        // Of what failed on the way nobody knows whether it was done.
        assert!(!answer(500).is_refusal());
        let said = answer(500).in_words();
        assert!(
            said.starts_with("the API server refuses: apply Job a"),
            "{said}"
        );
        assert!(!secret.in_words().contains("API server"));
    }
}
