//! Why a server cannot be measured on, or a run may not use it, in words that say what to do.

use tokio_postgres::error::SqlState;

use crate::failure::{Failure, FailureClass};

/// Why a server cannot carry an experiment.
#[derive(Debug, thiserror::Error)]
pub enum PrerequisiteError {
    /// The extension that looks at tables is not in the database, and the user may not put it there.
    #[error(
        "the database {database} has no extension pgstattuple, and the user may not create it ({said}): let a superuser \
         run there: CREATE EXTENSION pgstattuple; GRANT pg_stat_scan_tables TO {user};"
    )]
    ExtensionMissing {
        /// The database.
        database: String,
        /// The user, as SQL writes it.
        user: String,
        /// What the server said.
        said: Box<Failure>,
    },
    /// Its package is not on the server.
    #[error(
        "the server at {address} has no package of the extension pgstattuple: install the contrib modules there \
         (postgresql-contrib), or name a server that has them"
    )]
    PackageMissing {
        /// Where the server is.
        address: String,
    },
    /// The user may not call its functions.
    #[error(
        "the user may not call pgstattuple in the database {database}: let a superuser run there: {mend}"
    )]
    ExtensionForbidden {
        /// The database.
        database: String,
        /// The statement that mends it.
        mend: String,
    },
    /// Too few connections are free.
    #[error(
        "the experiment needs {needed} connections at once and {free} are free ({of_what}): lower the concurrency, end other \
         sessions, or {mend}"
    )]
    Connections {
        /// How many it needs.
        needed: i64,
        /// How many there are.
        free: i64,
        /// What the number is made of.
        of_what: String,
        /// What raises it.
        mend: String,
    },
    /// Connections share sessions.
    #[error(
        "at {address} is a pooler that shares the sessions of the server between connections ({said}), so that neither \
         sessions nor latencies are the server's: name the server's own address, or let the pooler keep a session for each \
         connection (pool_mode = session)"
    )]
    SessionsShared {
        /// Where it is.
        address: String,
        /// What shows it.
        said: String,
    },
    /// The server did not answer.
    #[error("what the experiment needs of the server at {address} cannot be asked ({failure})")]
    Unanswered {
        /// Where the server is.
        address: String,
        /// What it said.
        failure: Failure,
    },
}

impl PrerequisiteError {
    /// The machine-readable reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::ExtensionMissing { .. } | Self::PackageMissing { .. } => "ExtensionMissing",
            Self::ExtensionForbidden { .. } => "ExtensionForbidden",
            Self::Connections { .. } => "ConnectionsTooFew",
            Self::SessionsShared { .. } => "SessionsShared",
            Self::Unanswered { .. } => "EndpointUnreachable",
        }
    }

    /// Whether another attempt could end better without a change by the user.
    #[must_use]
    pub fn retryable(&self) -> bool {
        match self {
            Self::Unanswered { failure, .. } => failure.class != FailureClass::Client,
            _ => false,
        }
    }
}

/// Why a run may not use a database.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The schema is somebody else's.
    #[error(
        "the database {database} has a schema bakeoff already ({whose}): wait until that run has ended, name another \
         database, or DROP SCHEMA bakeoff CASCADE if nobody needs it"
    )]
    Taken {
        /// The database.
        database: String,
        /// What its comment says.
        whose: String,
    },
    /// The server did not do it.
    #[error(
        "the schema bakeoff cannot be {change} ({failure}){}",
        remedy(*change, failure)
    )]
    Refused {
        /// What was asked for.
        change: SchemaChange,
        /// What the server said.
        failure: Failure,
    },
}

/// What is done to a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaChange {
    /// It is made.
    Made,
    /// It is dropped.
    Dropped,
}

impl std::fmt::Display for SchemaChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Made => "made",
            Self::Dropped => "dropped",
        })
    }
}

/// What helps where the user may not make it.
fn remedy(change: SchemaChange, failure: &Failure) -> &'static str {
    let right = Some(SqlState::INSUFFICIENT_PRIVILEGE.code());
    if change == SchemaChange::Made && failure.code.as_deref() == right {
        ": the user needs CREATE on the database"
    } else {
        ""
    }
}

impl SchemaError {
    /// The machine-readable reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Taken { .. } => "SchemaTaken",
            Self::Refused { .. } => "SchemaRefused",
        }
    }

    /// Whether another attempt could end better without a change by the user.
    #[must_use]
    pub fn retryable(&self) -> bool {
        match self {
            Self::Taken { .. } => false,
            Self::Refused { failure, .. } => failure.class != FailureClass::Client,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_is_asked_for_only_where_it_is_missing() {
        let refused = |change, class, code: Option<&SqlState>| {
            let mut failure = Failure::new(class, "no");
            failure.code = code.map(|code| code.code().to_owned());
            SchemaError::Refused { change, failure }.to_string()
        };
        let right = Some(&SqlState::INSUFFICIENT_PRIVILEGE);
        assert!(refused(SchemaChange::Made, FailureClass::Client, right).contains("needs CREATE"));
        for other in [
            refused(SchemaChange::Dropped, FailureClass::Client, right),
            refused(SchemaChange::Made, FailureClass::Timeout, None),
        ] {
            assert!(!other.contains("CREATE"), "{other}");
        }
    }
}
