//! One-off HTTP requests outside the measured path: metrics of backends, the start barrier, messages to people.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Why a request had no answer.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The address is no `http://` URL.
    #[error("{0:?} is no http:// URL")]
    Url(String),
    /// The peer could not be reached, or the connection broke.
    #[error("{url}: {detail}")]
    Transport {
        /// The address.
        url: String,
        /// What happened.
        detail: String,
    },
    /// No answer in time.
    #[error("{0}: no answer in time")]
    Timeout(String),
}

impl NetError {
    /// The machine-readable reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Url(_) => "UrlInvalid",
            Self::Transport { .. } => "Unreachable",
            Self::Timeout(_) => "Timeout",
        }
    }
}

/// The host of a URL as resolvers and certificates know it: an IPv6 address stands in brackets in the URL alone.
#[must_use]
pub fn unbracketed(host: &str) -> &str {
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
}

/// Listens at an address. Where the machine has no IPv6, what was to be any address of it is any of IPv4.
///
/// # Errors
/// When the address cannot be listened on.
pub fn listen(at: SocketAddr) -> std::io::Result<TcpListener> {
    match TcpListener::bind(at) {
        Err(_) if at.is_ipv6() && at.ip().is_unspecified() => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, at.port()))
        }
        bound => bound,
    }
}

/// The same, for a server that runs on the runtime of the caller.
///
/// # Errors
/// When the address cannot be listened on.
pub fn listener(at: SocketAddr) -> std::io::Result<tokio::net::TcpListener> {
    let listener = listen(at)?;
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener)
}

/// Sends one request over a connection of its own; answers the status and the body.
///
/// # Errors
/// When there is no whole answer within `timeout`.
pub async fn request(
    method: http::Method,
    url: &str,
    timeout: Duration,
) -> Result<(u16, Bytes), NetError> {
    send(method, url, &[], Bytes::new(), timeout).await
}

/// The same with headers and a body.
///
/// # Errors
/// When there is no whole answer within `timeout`.
pub async fn send(
    method: http::Method,
    url: &str,
    headers: &[(&str, String)],
    body: Bytes,
    timeout: Duration,
) -> Result<(u16, Bytes), NetError> {
    tokio::time::timeout(timeout, exchange(method, url, headers, body))
        .await
        .map_err(|_| NetError::Timeout(url.to_owned()))?
}

/// Posts a body, over TLS where the URL says so; answers the status.
///
/// # Errors
/// When there is no whole answer within `timeout`. What they say may hold the URL.
pub async fn post(
    url: &str,
    headers: &[(&str, String)],
    body: Bytes,
    timeout: Duration,
) -> Result<u16, NetError> {
    let exchange = exchange(http::Method::POST, url, headers, body);
    let answer = tokio::time::timeout(timeout, exchange)
        .await
        .map_err(|_| NetError::Timeout(url.to_owned()))?;
    Ok(answer?.0)
}

async fn exchange(
    method: http::Method,
    url: &str,
    headers: &[(&str, String)],
    body: Bytes,
) -> Result<(u16, Bytes), NetError> {
    let invalid = || NetError::Url(url.to_owned());
    let uri: http::Uri = url.parse().map_err(|_| invalid())?;
    let encrypted = match uri.scheme_str() {
        Some("http") => false,
        // Metrics and barriers are inside the cluster; only messages leave it.
        Some("https") if method == http::Method::POST => true,
        _ => return Err(invalid()),
    };
    let host = uri.host().ok_or_else(invalid)?.to_owned();
    let authority = uri.authority().ok_or_else(invalid)?;
    // What stands before the host is nobody's business.
    let authority = authority
        .as_str()
        .rsplit('@')
        .next()
        .unwrap_or_default()
        .to_owned();
    let broken = |detail: &dyn std::fmt::Display| NetError::Transport {
        url: url.to_owned(),
        detail: detail.to_string(),
    };
    let path = uri
        .path_and_query()
        .map_or("/", http::uri::PathAndQuery::as_str);
    let mut request = http::Request::builder()
        .method(method)
        .uri(path)
        .header(http::header::HOST, authority);
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let request = request
        .body(Full::new(body))
        .map_err(|error| broken(&error))?;
    let port = uri.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
    let tcp = TcpStream::connect((unbracketed(&host), port))
        .await
        .map_err(|error| broken(&error))?;
    let answer = if encrypted {
        let tls = crate::trust::client(None).map_err(|detail| broken(&detail))?;
        let name = ServerName::try_from(unbracketed(&host).to_owned()).map_err(|_| invalid())?;
        let socket = tls.connect(name, tcp).await;
        ask(socket.map_err(|error| broken(&error))?, request).await
    } else {
        ask(tcp, request).await
    };
    answer.map_err(|error| broken(&error))
}

async fn ask<S>(socket: S, request: http::Request<Full<Bytes>>) -> hyper::Result<(u16, Bytes)>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
    tokio::spawn(async move {
        let _ = connection.await;
    });
    let response = sender.send_request(request).await?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await?.to_bytes();
    Ok((status, body))
}
