//! A session that can neither write nor stay. (I/O.)

use tokio_postgres::Client;

use super::CaptureError;
use crate::drivers::postgres::Connector;

/// What a capture may cost the server.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Whether the server may be a primary.
    pub primary: bool,
    /// Whether a table may be read from one end to the other.
    pub scans: bool,
    /// The most rows that are read.
    pub most_rows: u64,
    /// How long a statement may take, seconds.
    pub statement_seconds: u32,
}

/// Seconds after which the server ends a session whose client has gone or does nothing.
const IDLE_SECONDS: u32 = 60;
/// Seconds for which a lock is waited for.
const LOCK_SECONDS: u32 = 5;

/// Has the server bear with a session that does nothing for so many seconds more than else: another one is at work for it.
pub(super) async fn bear(client: &Client, seconds: u32) {
    for statement in bearing(seconds) {
        // Servers before 14 have not the first.
        let _ = client.batch_execute(&statement).await;
    }
}

/// The statements that say for how long a session may do nothing.
fn bearing(seconds: u32) -> [String; 2] {
    let bound = IDLE_SECONDS.saturating_add(seconds);
    [
        "idle_session_timeout",
        "idle_in_transaction_session_timeout",
    ]
    .map(|name| format!("SET {name} = '{bound}s'"))
}

/// Opens a session with bounds, on a standby unless it is said that it may be a primary.
pub(super) async fn open(connector: &Connector, bounds: &Bounds) -> Result<Client, CaptureError> {
    let client = connector
        .connect()
        .await
        .map_err(|failure| CaptureError::of("connecting", failure))?;
    let asking = CaptureError::server("preparing the session");
    // A name of its own: a run that begins on the same server ends the sessions that are called `bakeoff`.
    client
        .batch_execute(&format!(
            "SET application_name = 'bakeoff capture'; SET default_transaction_read_only = on; \
             SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; \
             SET statement_timeout = '{}s'; SET lock_timeout = '{LOCK_SECONDS}s'",
            bounds.statement_seconds
        ))
        .await
        .map_err(&asking)?;
    bear(&client, 0).await;
    // Where the server has them: a session whose client was killed ends at once, or after a minute where the network swallowed it.
    for (name, value) in [
        ("client_connection_check_interval", "5s"),
        ("tcp_keepalives_idle", "10"),
        ("tcp_keepalives_interval", "10"),
        ("tcp_keepalives_count", "3"),
    ] {
        let _ = client
            .batch_execute(&format!("SET {name} = '{value}'"))
            .await;
    }
    let standby: bool = client
        .query_one("SELECT pg_is_in_recovery()", &[])
        .await
        .map_err(&asking)?
        .get(0);
    if !standby && !bounds.primary {
        let said = "the server is a primary, which others need: name a standby, or say --primary";
        return Err(CaptureError::Refused(said.to_owned()));
    }
    Ok(client)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_waits_for_another_one_may_wait_as_long_as_that_may_read() {
        assert_eq!(
            bearing(300),
            [
                "SET idle_session_timeout = '360s'",
                "SET idle_in_transaction_session_timeout = '360s'"
            ]
        );
    }
}
