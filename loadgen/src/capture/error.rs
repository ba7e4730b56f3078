//! Why nothing was captured.

use crate::drivers::postgres;
use crate::failure::{Failure, FailureClass};

/// Why nothing was captured, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The server, in its own words.
    #[error("{doing}: {failure}{mend}")]
    Server {
        /// What was asked of it.
        doing: &'static str,
        /// What it says.
        failure: Failure,
        /// What helps, where that is known.
        mend: &'static str,
    },
    /// It would cost others more than was allowed, or cannot be read as what it is said to be.
    #[error("{0}")]
    Refused(String),
    /// The events, or the files of the trace.
    #[error(transparent)]
    Trace(#[from] bakeoff_trace::Error),
}

impl CaptureError {
    /// What a server said while something was asked of it.
    pub(super) fn server(doing: &'static str) -> impl Fn(tokio_postgres::Error) -> Self {
        move |error| Self::of(doing, postgres::failure(&error))
    }

    pub(super) fn of(doing: &'static str, failure: Failure) -> Self {
        let mend = match failure.code.as_deref() {
            Some("57014") => {
                "; raise --timeout-seconds, or have less read: of events those between --from and --to, of a table that is followed without --open-runs"
            }
            Some("40001" | "40P01") => {
                "; the standby gave up the query for what it replays: try again, or have less read: of events those between --from and --to, of a table that is followed without --open-runs"
            }
            Some("42501") => {
                "; the role has to be allowed to read it (and for decoding needs REPLICATION)"
            }
            Some("55000") => "; logical decoding needs wal_level = logical",
            Some("53400") => "; all slots are in use: max_replication_slots",
            Some("25006") => "; the session is read-only: what writes is not sent",
            _ => "",
        };
        Self::Server {
            doing,
            failure,
            mend,
        }
    }

    /// What is kept of it in a trace, which has no names in it: the server's own words may have some.
    pub(super) fn without_names(&self) -> String {
        match self {
            Self::Server { doing, failure, .. } => match &failure.code {
                Some(code) => format!("{doing}: the server answered with the error {code}"),
                None => format!("{doing}: the connection was lost"),
            },
            Self::Refused(said) => said.clone(),
            Self::Trace(_) => "the trace could not be written".to_owned(),
        }
    }

    /// The same, of a recording that it ended before there was anything in it.
    pub(super) fn of_nothing(self) -> Self {
        match self {
            Self::Refused(said) => Self::Refused(format!("nothing was recorded: {said}")),
            other => other,
        }
    }

    /// Whether it may go well another time.
    #[must_use]
    pub fn retryable(&self) -> bool {
        match self {
            Self::Server { failure, .. } => matches!(
                failure.class,
                FailureClass::Connect
                    | FailureClass::Transport
                    | FailureClass::Timeout
                    | FailureClass::Throttled
            ),
            Self::Refused(_) => false,
            Self::Trace(error) => matches!(error, bakeoff_trace::Error::Io { .. }),
        }
    }
}
