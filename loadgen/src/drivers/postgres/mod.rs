//! Postgres: connections, one for each worker, and what the server says of itself.

mod driver;
pub mod extension;
pub mod horizon;
pub mod locks;
pub mod log;
pub mod log_file;
pub mod null;
pub mod observe;
pub mod partitions;
mod patient;
pub mod pooler;
pub mod prerequisites;
pub mod probe;
pub mod replication;
mod sample;
mod sample_query;
pub mod schema;
pub mod series;
mod session;
mod socket;
pub mod url;
pub mod wire;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Config, NoTls};

use crate::credentials::Credentials;
use crate::drivers::address;
use crate::failure::{Failure, FailureClass};

/// The longest that opening a connection may take.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);

/// Why an address of a Postgres server cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("endpoint {0:?}: write postgres://host:port")]
pub struct AddressError(String);

pub use patient::Patient;
pub use socket::{Tls, TlsError};

/// Opens connections to one database as one user.
#[derive(Clone)]
pub struct Connector {
    config: Arc<Config>,
    /// Where the server is, for people; and for the socket, taken apart once.
    address: Arc<str>,
    host: Arc<str>,
    port: u16,
    timeout: Duration,
    tls: Option<Tls>,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Connector {
    /// Connections to `database` at `endpoint` (`postgres://host:port`); the user and the password are those of the
    /// credentials. An operation that takes longer than `timeout` is recorded as a timeout.
    ///
    /// # Errors
    /// When the endpoint is not of that form.
    pub fn new(
        endpoint: &str,
        database: &str,
        credentials: &Credentials,
        timeout: Duration,
    ) -> Result<Self, AddressError> {
        let wrong = || AddressError(address::shown(endpoint));
        if address::holds_secret(endpoint) {
            return Err(wrong());
        }
        let address = endpoint
            .strip_prefix("postgres://")
            .or_else(|| endpoint.strip_prefix("postgresql://"))
            .ok_or_else(wrong)?;
        let (host, port) = address
            .trim_end_matches('/')
            .rsplit_once(':')
            .ok_or_else(wrong)?;
        let host = host.trim_matches(['[', ']']);
        let port = port.parse().map_err(|_| wrong())?;
        let mut config = Config::new();
        config
            .host(host)
            .port(port)
            .dbname(database)
            .user(&credentials.user)
            .password(&credentials.secret)
            .application_name("bakeoff")
            // What encrypts does so below the library.
            .ssl_mode(SslMode::Disable)
            .connect_timeout(CONNECT_PATIENCE);
        Ok(Self {
            config: Arc::new(config),
            address: address.trim_end_matches('/').into(),
            host: host.into(),
            port,
            timeout,
            tls: None,
        })
    }

    /// The same with encrypted connections, or with plain ones.
    #[must_use]
    pub fn with_tls(self, tls: Option<Tls>) -> Self {
        Self { tls, ..self }
    }

    /// The same with what a provider wants to be told of its endpoint.
    #[must_use]
    pub fn with_options(self, options: Option<&str>) -> Self {
        let Some(options) = options else { return self };
        let mut config = (*self.config).clone();
        config.options(options);
        Self {
            config: Arc::new(config),
            ..self
        }
    }

    /// Whether connections are encrypted.
    #[must_use]
    pub fn encrypted(&self) -> bool {
        self.tls.is_some()
    }

    /// The user.
    #[must_use]
    pub fn user(&self) -> &str {
        self.config.get_user().unwrap_or_default()
    }

    /// The database.
    #[must_use]
    pub fn database(&self) -> &str {
        self.config.get_dbname().unwrap_or_default()
    }

    /// Where the server is, for people.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// How long an operation may take.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    async fn socket(&self) -> Result<socket::Socket, Failure> {
        socket::Socket::open((&*self.host, self.port), self.tls.as_ref()).await
    }

    /// Opens a connection for the measured path: prepared statements only, one at a time.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses the user.
    pub async fn wire(&self) -> Result<wire::Wire, Failure> {
        in_time(async {
            let mut wire = wire::Wire::open(&self.config, self.socket().await?).await?;
            wire.ask(&session::lifting()).await?;
            Ok(wire)
        })
        .await
    }

    /// Opens a connection. It ends when the client is dropped.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses the user.
    pub async fn connect(&self) -> Result<Client, Failure> {
        let connecting = async {
            let client = self.opened().await?;
            session::lift(&client).await?;
            Ok(client)
        };
        in_time(connecting).await
    }

    /// Opens a connection and sets nothing in its session, which may be shared with others.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses the user.
    pub async fn bare(&self) -> Result<Client, Failure> {
        in_time(self.opened()).await
    }

    /// Asks the server to give up what a session does.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub async fn cancel(&self, client: &Client) -> Result<(), Failure> {
        let token = client.cancel_token();
        in_time(async {
            let asked = token.cancel_query_raw(self.socket().await?, NoTls);
            asked.await.map_err(|error| failure(&error))
        })
        .await
    }

    /// The same without a bound on the time.
    async fn opened(&self) -> Result<Client, Failure> {
        let socket = self.socket().await?;
        let (client, connection) = self
            .config
            .connect_raw(socket, NoTls)
            .await
            .map_err(|error| opening(&error))?;
        carry(connection);
        Ok(client)
    }
}

async fn in_time<T>(opening: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    match tokio::time::timeout(CONNECT_PATIENCE, opening).await {
        Ok(opened) => opened,
        Err(_) => Err(Failure::new(FailureClass::Connect, "no answer within 10 s")),
    }
}

/// Waits for an answer, but not for ever.
pub(crate) async fn patiently<T>(
    patience: Duration,
    answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, Failure> {
    within(patience, async {
        answer.await.map_err(|error| failure(&error))
    })
    .await
}

/// The same for what tells its failures itself.
pub(crate) async fn within<T>(
    patience: Duration,
    answer: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(patience, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(Failure::new(FailureClass::Timeout, "timed out")),
    }
}

/// Lets the library carry requests and answers for as long as the client is about.
fn carry(connection: impl Future<Output = Result<(), tokio_postgres::Error>> + Send + 'static) {
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection ended");
        }
    });
}

/// A failure while connecting: refused by the server, or not reached at all.
fn opening(error: &tokio_postgres::Error) -> Failure {
    let mut failure = failure(error);
    if failure.class == FailureClass::Transport {
        failure.class = FailureClass::Connect;
    }
    failure
}

/// Ends connections of generators to this database, all but the client's own or those of some server processes, and
/// waits until they are gone: a statement that a generator gave up may still be under way there, and commit later.
/// Returns how many are left when the patience is over.
///
/// # Errors
/// When the server cannot be asked.
pub async fn end_sessions(
    client: Patient<'_>,
    processes: Option<&[i32]>,
    patience: Duration,
) -> Result<usize, Failure> {
    let end = tokio::time::Instant::now() + patience;
    // The type is named, as the null server knows no other.
    let ending = client
        .prepare_typed(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE pid <> pg_backend_pid() AND application_name = 'bakeoff' \
             AND datname = current_database() AND usename = current_user \
             AND ($1::int4[] IS NULL OR pid = ANY($1))",
            &[Type::INT4_ARRAY],
        )
        .await?;
    loop {
        let left = client.query(&ending, &[&processes]).await?;
        if left.is_empty() || tokio::time::Instant::now() >= end {
            return Ok(left.len());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The literal of a text, in SQL that takes no parameters.
#[must_use]
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A name in SQL. Always in quotes, so that no word of the language is taken for it.
#[must_use]
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// What an error of the client library is, for the record.
#[must_use]
pub fn failure(error: &tokio_postgres::Error) -> Failure {
    let Some(server) = error.as_db_error() else {
        // The library's own words name only the layer; its cause says what happened.
        let cause =
            std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
        return Failure::new(FailureClass::Transport, cause);
    };
    refused(server.code(), server.message())
}

/// What an error that the server answered is, for the record.
fn refused(code: &SqlState, message: &str) -> Failure {
    let class = match code {
        &SqlState::INVALID_PASSWORD | &SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            FailureClass::Client
        }
        &SqlState::TOO_MANY_CONNECTIONS => FailureClass::Throttled,
        &SqlState::QUERY_CANCELED => FailureClass::Timeout,
        // Connection exceptions, and a server that is starting or going down.
        &SqlState::ADMIN_SHUTDOWN | &SqlState::CRASH_SHUTDOWN | &SqlState::CANNOT_CONNECT_NOW => {
            FailureClass::Transport
        }
        code if code.code().starts_with("42") || code.code().starts_with("22") => {
            FailureClass::Client
        }
        _ => FailureClass::Server,
    };
    let mut failure = Failure::new(class, message);
    failure.code = Some(code.code().to_owned());
    failure
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{freezing_postgres, local};

    #[test]
    fn a_server_that_freezes_ends_no_sessions_and_holds_nobody_up() {
        local(async {
            let (connector, freeze) = freezing_postgres().await;
            let client = connector.connect().await.unwrap();
            let asking = Patient::new(&client, Duration::from_millis(200));
            let ended = end_sessions(asking, None, Duration::ZERO).await;
            assert_eq!(ended.unwrap(), 0);
            freeze.notify_one();
            let ending = end_sessions(asking, None, Duration::ZERO);
            let ended = tokio::time::timeout(Duration::from_secs(20), ending).await;
            assert_eq!(ended.unwrap().unwrap_err().class, FailureClass::Timeout);
        });
    }

    #[test]
    fn a_quote_in_a_literal_is_doubled() {
        assert_eq!(literal("it's"), "'it''s'");
    }

    #[test]
    fn an_address_has_a_host_and_a_port() {
        let credentials = Credentials {
            user: "u".into(),
            secret: "p".into(),
            session_token: None,
            authorities: None,
        };
        let at = |endpoint: &str| {
            Connector::new(endpoint, "postgres", &credentials, Duration::from_secs(1))
        };
        assert_eq!(
            at("postgres://db.ns.svc:5432").unwrap().address(),
            "db.ns.svc:5432"
        );
        for wrong in ["http://db:5432", "postgres://db", "postgres://db:port"] {
            let error = at(wrong).unwrap_err().to_string();
            assert!(error.contains("postgres://host:port"), "{error}");
        }
    }
}
