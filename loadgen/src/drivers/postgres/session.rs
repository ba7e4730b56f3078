//! What the generator's own sessions set aside, whatever the role, the database or the server has set.

use tokio_postgres::Client;

use super::failure;
use crate::failure::Failure;

/// Limits on how long a session, a transaction or a statement may take. They would cut off the loading of a table, a
/// VACUUM or a snapshot that is held on purpose; an operation has a limit of its own, at the client.
pub(super) const LIMITS: [&str; 5] = [
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "transaction_timeout",
];

/// Lifts them. A server that does not know one of them has nothing to lift; one statement, as it is asked of each
/// connection.
pub(super) fn lifting() -> String {
    format!(
        "SELECT set_config(name, '0', false) FROM pg_settings WHERE name IN ({}) AND setting <> '0'",
        listed()
    )
}

/// The names, as SQL lists them.
fn listed() -> String {
    LIMITS.map(super::literal).join(", ")
}

/// Lifts them for a session of the client library.
pub(super) async fn lift(client: &Client) -> Result<(), Failure> {
    let lifted = client.query(&lifting(), &[]).await;
    lifted.map(|_| ()).map_err(|error| failure(&error))
}

/// The limits that the generator's sessions would have had, by name, each with what is made of it. `reset_val` is what the role,
/// the database or the server says.
pub(super) fn lifted() -> String {
    format!(
        "SELECT name, '0 in the sessions of the generator; ' || reset_val || coalesce(' ' || unit, '') || ' otherwise' \
         FROM pg_settings WHERE source = 'session' AND reset_val <> '0' AND name IN ({})",
        listed()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_the_server_does_not_know_is_no_error() {
        let sql = lifting();
        assert!(sql.contains("FROM pg_settings WHERE name IN ('statement_timeout', "));
        assert!(sql.contains("'transaction_timeout'"));
    }
}
