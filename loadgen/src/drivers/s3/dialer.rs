//! How connections to a bucket are opened.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::payload::Payload;
use super::stream::Stream;
use super::target::{Target, TargetError};
use crate::failure::{Failure, FailureClass};
use crate::trust;

/// How long an address may say nothing while there are others.
const SILENCE: Duration = Duration::from_secs(3);

/// Settings that all connections of a trial share; each is a factor, recorded with the result.
#[derive(Clone)]
pub struct Dialer {
    target: Arc<Target>,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    timeout: Duration,
    sign_payload: bool,
    /// How many connections were opened, by all workers, and where the first began.
    opened: Arc<AtomicUsize>,
    /// How many servers were behind the name when it was last looked up for that; 0 before.
    addresses: Arc<AtomicUsize>,
}

impl std::fmt::Debug for Dialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialer")
            .field("authority", &self.target.authority)
            .finish_non_exhaustive()
    }
}

impl Dialer {
    /// Connections to a target. An operation that takes longer than `timeout` is recorded as a
    /// timeout and its connection closed. With `sign_payload` the body's SHA-256 is signed, which
    /// S3 services ask for on plain HTTP only in part; the default of the project is unsigned.
    ///
    /// # Errors
    /// [`TargetError::Trust`] when TLS is asked for and the system trusts nobody.
    pub fn new(
        target: Arc<Target>,
        timeout: Duration,
        sign_payload: bool,
    ) -> Result<Self, TargetError> {
        let tls = if target.tls {
            Some(Self::tls(&target)?)
        } else {
            None
        };
        Ok(Self {
            target,
            tls,
            timeout,
            sign_payload,
            opened: Arc::default(),
            addresses: Arc::default(),
        })
    }

    fn tls(target: &Target) -> Result<(TlsConnector, ServerName<'static>), TargetError> {
        let client = trust::client(target.credentials.authorities.as_ref())
            .map_err(|detail| TargetError::Trust { detail })?;
        let name =
            ServerName::try_from(target.host.clone()).map_err(|_| TargetError::Endpoint {
                endpoint: target.host.clone(),
            })?;
        Ok((client, name))
    }

    /// The bucket that connections talk to.
    #[must_use]
    pub fn target(&self) -> &Arc<Target> {
        &self.target
    }

    /// Whether bodies are sent without a signature of their own.
    #[must_use]
    pub fn unsigned(&self) -> bool {
        !self.sign_payload
    }

    /// How long an operation may take.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The same, with a timeout of its own.
    #[must_use]
    pub fn waiting(&self, timeout: Duration) -> Self {
        Self {
            timeout,
            ..self.clone()
        }
    }

    /// The next connection goes to this place among the addresses behind the name. Generators that all began with the first would
    /// leave the last ones to fewer.
    pub fn begin_at(&self, place: usize) {
        self.opened.store(place, Ordering::Relaxed);
    }

    /// Looks up how many servers there are, which a load should know before it begins: [`Self::has_several`]. Where the name is not
    /// known it stays as it was; whoever connects is told.
    pub async fn count_servers(&self) {
        let place = (self.target.host.as_str(), self.target.port);
        if let Ok(found) = tokio::net::lookup_host(place).await {
            self.addresses.store(servers(found), Ordering::Relaxed);
        }
    }

    /// Whether several servers were behind the name when they were last counted.
    #[must_use]
    pub fn has_several(&self) -> bool {
        self.addresses.load(Ordering::Relaxed) > 1
    }

    /// Connects to the next of the addresses behind the name, so that connections are spread over all of them; where one
    /// refuses or says nothing, to another.
    async fn reach(&self) -> std::io::Result<TcpStream> {
        let place = (self.target.host.as_str(), self.target.port);
        let mut addresses: Vec<_> = tokio::net::lookup_host(place).await?.collect();
        let first = self.opened.fetch_add(1, Ordering::Relaxed);
        turned(&mut addresses, first);
        let count = u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
        first_reached(addresses, SILENCE.min(self.timeout / count)).await
    }

    pub(super) async fn open(&self) -> Result<SendRequest<Full<Payload>>, Failure> {
        let refused = |error: &dyn std::fmt::Display| {
            Failure::new(
                FailureClass::Connect,
                format!("{}: {error}", self.target.authority),
            )
        };
        let tcp = self.reach().await.map_err(|error| refused(&error))?;
        tcp.set_nodelay(true).map_err(|error| refused(&error))?;
        let stream = match &self.tls {
            None => Stream::Plain(tcp),
            Some((connector, name)) => {
                let tls = connector.connect(name.clone(), tcp).await;
                let tls = tls.map_err(|error| {
                    let mut failure = refused(&error);
                    failure.remedy = trust::remedy(&error).map(Box::new);
                    failure
                })?;
                Stream::Tls(Box::new(tls))
            }
        };
        let (sender, connection) = hyper::client::conn::http1::Builder::new()
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| refused(&error))?;
        // The task ends when the sender is dropped or the peer closes.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended");
            }
        });
        Ok(sender)
    }
}

/// Connects to the first address that answers. One that says nothing is left after `each`, so that there is time for
/// another; the last has what is left to the operation.
async fn first_reached(addresses: Vec<SocketAddr>, each: Duration) -> std::io::Result<TcpStream> {
    let mut last = std::io::Error::other("the name has no address");
    let mut left = addresses.len();
    for address in addresses {
        left -= 1;
        let connecting = TcpStream::connect(address);
        let connected = if left == 0 {
            connecting.await
        } else {
            let connected = tokio::time::timeout(each, connecting).await;
            let silent = std::io::ErrorKind::TimedOut;
            connected.unwrap_or_else(|_| Err(std::io::Error::from(silent)))
        };
        match connected {
            Ok(tcp) => return Ok(tcp),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The addresses in the order in which connection number `nth` tries them.
fn turned(addresses: &mut Vec<SocketAddr>, nth: usize) {
    // In one order, whatever that of the name server.
    addresses.sort_unstable();
    addresses.dedup();
    let first = nth % addresses.len().max(1);
    addresses.rotate_left(first);
}

/// How many servers these addresses are of. One may have an address of each kind, and some name servers give one twice. (Pure.)
fn servers(addresses: impl IntoIterator<Item = SocketAddr>) -> usize {
    let all: BTreeSet<SocketAddr> = addresses.into_iter().collect();
    let newer = all.iter().filter(|address| address.is_ipv6()).count();
    newer.max(all.len() - newer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_server_may_have_two_addresses() {
        let of = |texts: &[&str]| servers(texts.iter().map(|text| text.parse().unwrap()));
        assert_eq!(of(&["127.0.0.1:9", "[::1]:9"]), 1);
        assert_eq!(of(&["10.0.0.1:9", "10.0.0.1:9"]), 1);
        assert_eq!(of(&["10.0.0.1:9", "[fd00::1]:9", "10.0.0.2:9"]), 2);
        assert_eq!(of(&[]), 0);
    }

    /// An address at which the system drops every further connection, as the queue of those that nobody accepts is full;
    /// none where it does not do so.
    async fn silent() -> Option<(tokio::net::TcpListener, Vec<TcpStream>)> {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut queued = Vec::new();
        while queued.len() < 64 {
            let connecting = TcpStream::connect(address);
            match tokio::time::timeout(Duration::from_millis(200), connecting).await {
                Ok(tcp) => queued.push(tcp.ok()?),
                Err(_) => return Some((listener, queued)),
            }
        }
        None
    }

    #[test]
    fn a_silent_address_leaves_time_for_another() {
        crate::testing::local(async {
            let Some((deaf, _queued)) = silent().await else {
                return;
            };
            let there = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = there.local_addr().unwrap();
            let addresses = vec![deaf.local_addr().unwrap(), address];
            let reaching = first_reached(addresses, Duration::from_millis(100));
            let reached = tokio::time::timeout(Duration::from_secs(10), reaching).await;
            assert_eq!(reached.unwrap().unwrap().peer_addr().unwrap(), address);
        });
    }

    #[test]
    fn connections_are_spread_over_all_addresses() {
        let known = ["10.0.0.2:9000", "10.0.0.1:9000", "10.0.0.3:9000"];
        let mut firsts = Vec::new();
        for nth in 0..6 {
            // A name server gives them in any order, and some twice.
            let mut said: Vec<SocketAddr> =
                known.iter().map(|text| text.parse().unwrap()).collect();
            said.rotate_left(nth % 2);
            said.push(said[0]);
            turned(&mut said, nth);
            assert_eq!(said.len(), 3);
            firsts.push(said[0].ip().to_string());
        }
        assert_eq!(firsts, ["10.0.0.1", "10.0.0.2", "10.0.0.3"].repeat(2));
        turned(&mut Vec::new(), 7);
    }
}
