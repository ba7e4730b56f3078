//! A Redis server that keeps the locks of races: how it is reached, and the three things that are asked of it.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind, IntoConnectionInfo};
use redis::{RedisConnectionInfo, RedisError, ServerErrorKind};

use crate::credentials::Credentials;
use crate::drivers::address;
use crate::failure::{Failure, FailureClass};
use crate::net::unbracketed;

/// The longest that opening a connection may take.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// Deletes a key only while it holds the token of who asks: another may have taken the lock meanwhile.
const RELEASE: &str = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) else return 0 end";

/// Why an address of a Redis server cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("lock server {0:?}: write redis://host:port")]
pub struct LockAddressError(String);

impl LockAddressError {
    /// The machine-readable reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        "EndpointInvalid"
    }
}

/// Opens connections to a Redis server that keeps locks.
#[derive(Clone)]
pub struct LockServer {
    client: Client,
    address: Arc<str>,
    timeout: Duration,
}

impl std::fmt::Debug for LockServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LockServer")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl LockServer {
    /// Connections to the server at `endpoint` (`redis://host:port`); the secret key is the password of its
    /// default user, and an empty one is not sent. An answer that takes longer than `timeout` is a timeout.
    ///
    /// # Errors
    /// When the endpoint is not of that form.
    pub fn new(
        endpoint: &str,
        credentials: &Credentials,
        timeout: Duration,
    ) -> Result<Self, LockAddressError> {
        let wrong = || LockAddressError(address::shown(endpoint));
        let at = endpoint.strip_prefix("redis://").ok_or_else(wrong)?;
        let at = at.trim_end_matches('/');
        let (host, port) = at.rsplit_once(':').ok_or_else(wrong)?;
        if host.is_empty() || host.contains(['@', '/']) || unbracketed(host).is_empty() {
            return Err(wrong());
        }
        let port = port.parse().map_err(|_| wrong())?;
        let mut who = RedisConnectionInfo::default().set_skip_set_lib_name();
        if !credentials.secret.is_empty() {
            who = who.set_password(&credentials.secret);
        }
        let place = ConnectionAddr::Tcp(unbracketed(host).to_owned(), port)
            .into_connection_info()
            .map_err(|_| wrong())?
            .set_redis_settings(who);
        Ok(Self {
            client: Client::open(place).map_err(|_| wrong())?,
            address: at.into(),
            timeout,
        })
    }

    /// Where the server is, for people.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Opens a connection and lets the server answer on it.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses the password.
    pub async fn connect(&self) -> Result<Locks, Failure> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_PATIENCE))
            .set_response_timeout(Some(self.timeout));
        let opened = self
            .client
            .get_multiplexed_async_connection_with_config(&config);
        let connection = opened.await.map_err(|error| {
            let mut failure = failure(&error);
            if failure.class == FailureClass::Transport {
                failure.class = FailureClass::Connect;
            }
            failure
        })?;
        let mut locks = Locks { connection };
        locks.ask::<String>(&redis::cmd("PING")).await?;
        Ok(locks)
    }

    /// The version that the server states.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub async fn version(&self) -> Result<String, Failure> {
        let mut locks = self.connect().await?;
        let mut command = redis::cmd("INFO");
        let said: String = locks.ask(command.arg("server")).await?;
        let version = said
            .lines()
            .find_map(|line| line.strip_prefix("redis_version:"));
        Ok(version.unwrap_or_default().trim().to_owned())
    }
}

/// A connection to the server. Its clones share it.
#[derive(Clone)]
pub struct Locks {
    connection: MultiplexedConnection,
}

impl std::fmt::Debug for Locks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Locks").finish_non_exhaustive()
    }
}

impl Locks {
    async fn ask<T: redis::FromRedisValue>(&mut self, command: &redis::Cmd) -> Result<T, Failure> {
        let answer = command.query_async(&mut self.connection).await;
        answer.map_err(|error| failure(&error))
    }

    /// Takes a lock for so many milliseconds unless another holds it; answers whether it was taken.
    ///
    /// # Errors
    /// When the server does not answer; whether the lock was taken is then unknown.
    pub async fn take(
        &mut self,
        key: &str,
        token: i64,
        milliseconds: i32,
    ) -> Result<bool, Failure> {
        let mut command = redis::cmd("SET");
        command.arg(key).arg(token).arg("NX");
        let taken: Option<String> = self.ask(command.arg("PX").arg(milliseconds)).await?;
        Ok(taken.is_some())
    }

    /// Lets a lock go if it still holds this token; answers whether it did.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn let_go(&mut self, key: &str, token: i64) -> Result<bool, Failure> {
        let mut command = redis::cmd("EVAL");
        command.arg(RELEASE).arg(1).arg(key);
        let gone: i64 = self.ask(command.arg(token)).await?;
        Ok(gone == 1)
    }

    /// Deletes a lock, whoever holds it; answers how many there were, 0 or 1.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn delete(&mut self, key: &str) -> Result<u64, Failure> {
        self.ask(redis::cmd("DEL").arg(key)).await
    }
}

/// What an error of the client library is, for the record.
fn failure(error: &RedisError) -> Failure {
    let class = if error.is_timeout() {
        FailureClass::Timeout
    } else {
        match error.kind() {
            ErrorKind::AuthenticationFailed | ErrorKind::InvalidClientConfig => {
                FailureClass::Client
            }
            ErrorKind::Server(ServerErrorKind::NoPerm) => FailureClass::Client,
            ErrorKind::Server(_) if matches!(error.code(), Some("NOAUTH" | "WRONGPASS")) => {
                FailureClass::Client
            }
            ErrorKind::Extension if matches!(error.code(), Some("NOAUTH" | "WRONGPASS")) => {
                FailureClass::Client
            }
            ErrorKind::Server(_) | ErrorKind::Extension => FailureClass::Server,
            _ => FailureClass::Transport,
        }
    };
    let mut failure = Failure::new(class, error.to_string());
    failure.code = error.code().map(str::to_owned);
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(endpoint: &str) -> Result<LockServer, LockAddressError> {
        let credentials = Credentials {
            user: "u".into(),
            secret: "p".into(),
            session_token: None,
            authorities: None,
        };
        LockServer::new(endpoint, &credentials, Duration::from_secs(1))
    }

    #[test]
    fn an_address_has_a_host_and_a_port_and_no_password() {
        assert_eq!(
            at("redis://lock.ns.svc:6379").unwrap().address(),
            "lock.ns.svc:6379"
        );
        assert_eq!(at("redis://[::1]:6379").unwrap().address(), "[::1]:6379");
        for wrong in [
            "http://lock:6379",
            "redis://lock",
            "redis://lock:port",
            "redis://:6379",
            "redis://user:secret@lock:6379",
        ] {
            let error = at(wrong).unwrap_err();
            assert!(error.to_string().contains("redis://host:port"), "{error}");
            assert!(!error.to_string().contains("secret"), "{error}");
            assert_eq!(error.reason(), "EndpointInvalid");
        }
    }

    #[test]
    fn a_server_that_is_not_there_is_no_connection() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        // Port 1 is reserved and nobody listens on it.
        let failure = runtime
            .block_on(at("redis://127.0.0.1:1").unwrap().connect())
            .unwrap_err();
        assert_eq!(failure.class, FailureClass::Connect);
    }
}
