//! One HTTP/1.1 connection of one worker.
//!
//! A connection is opened between operations only. When it fails during one, the operation fails
//! and is recorded as such: nothing is ever sent twice.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use http::header::{AUTHORIZATION, HOST, HeaderName, HeaderValue};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::payload::Payload;
use super::target::{Target, TargetError};
use crate::drivers::s3::sigv4::{EMPTY_SHA256, Request, Signer, UNSIGNED_PAYLOAD, sha256_hex};
use crate::failure::{Failure, FailureClass};
use crate::instrument::clock;

const CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");
const AMZ_DATE: HeaderName = HeaderName::from_static("x-amz-date");
const SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

/// How much of a response body is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// All of it.
    Body,
    /// Its length and first 64 bytes; the rest is read and dropped.
    Head,
}

/// How many bytes [`Keep::Head`] keeps: room for the stamp that names the operation.
const HEAD_BYTES: usize = 64;

/// A whole response.
#[derive(Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The `ETag` header without its quotes.
    pub etag: Option<String>,
    /// What was kept of the body.
    pub body: Bytes,
    /// How long the body was.
    pub length: u64,
}

/// Settings that all connections of a trial share; each is a factor, recorded with the result.
#[derive(Clone)]
pub struct Dialer {
    target: Arc<Target>,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    timeout: Duration,
    sign_payload: bool,
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
        })
    }

    fn tls(target: &Target) -> Result<(TlsConnector, ServerName<'static>), TargetError> {
        let mut roots = rustls::RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let detail = found.errors.first().map_or_else(
                || "the system's store is empty".to_owned(),
                ToString::to_string,
            );
            return Err(TargetError::Trust { detail });
        }
        let trust = |error: rustls::Error| TargetError::Trust {
            detail: error.to_string(),
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(trust)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let name =
            ServerName::try_from(target.host.clone()).map_err(|_| TargetError::Endpoint {
                endpoint: target.host.clone(),
            })?;
        Ok((TlsConnector::from(Arc::new(config)), name))
    }

    /// The bucket that connections talk to.
    #[must_use]
    pub fn target(&self) -> &Arc<Target> {
        &self.target
    }

    /// How long an operation may take.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// A connection of a worker's own, not opened yet.
    #[must_use]
    pub fn connection(&self) -> Connection {
        let signer = Signer::new(self.target.credentials.clone(), &self.target.region, "s3");
        let host = HeaderValue::from_str(&self.target.authority).ok();
        let token = self.target.credentials.session_token.as_deref();
        Connection {
            dialer: self.clone(),
            signer,
            host,
            token: token.and_then(|token| HeaderValue::from_str(token).ok()),
            sender: None,
            opened: 0,
        }
    }

    async fn open(&self) -> Result<SendRequest<Full<Payload>>, Failure> {
        let refused = |error: &dyn std::fmt::Display| {
            Failure::new(
                FailureClass::Connect,
                format!("{}: {error}", self.target.authority),
            )
        };
        let tcp = TcpStream::connect((self.target.host.as_str(), self.target.port))
            .await
            .map_err(|error| refused(&error))?;
        tcp.set_nodelay(true).map_err(|error| refused(&error))?;
        let stream = match &self.tls {
            None => Stream::Plain(tcp),
            Some((connector, name)) => {
                let tls = connector
                    .connect(name.clone(), tcp)
                    .await
                    .map_err(|error| refused(&error))?;
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

/// A worker's connection with its signer.
#[derive(Debug)]
pub struct Connection {
    dialer: Dialer,
    signer: Signer,
    host: Option<HeaderValue>,
    token: Option<HeaderValue>,
    sender: Option<SendRequest<Full<Payload>>>,
    opened: u64,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Signer").field(self.credentials()).finish()
    }
}

impl Connection {
    /// Opens the connection unless it is open; call it before the operation's clock starts.
    ///
    /// # Errors
    /// [`FailureClass::Connect`] or [`FailureClass::Timeout`].
    pub async fn ready(&mut self) -> Result<(), Failure> {
        if self.sender.as_ref().is_some_and(SendRequest::is_ready) {
            return Ok(());
        }
        if let Some(mut sender) = self.sender.take()
            && sender.ready().await.is_ok()
        {
            self.sender = Some(sender);
            return Ok(());
        }
        let opening = tokio::time::timeout(self.dialer.timeout, self.dialer.open());
        let sender = opening
            .await
            .map_err(|_| Failure::new(FailureClass::Timeout, "connect timed out"))??;
        self.opened += 1;
        self.sender = Some(sender);
        Ok(())
    }

    /// How often this worker had to open a connection; more than once means that the server or a
    /// failure closed one.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.opened
    }

    /// The bucket this connection talks to.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.dialer.target
    }

    /// Sends one signed request and reads the whole response, once. Path and query are encoded
    /// already and the query is sorted.
    ///
    /// # Errors
    /// Transport failures and the timeout; any HTTP status is an answer, not a failure.
    pub async fn send(
        &mut self,
        method: http::Method,
        path: &str,
        query: &str,
        body: Payload,
        keep: Keep,
    ) -> Result<Reply, Failure> {
        self.ready().await?;
        let request = self.signed(method, path, query, body)?;
        let Some(mut sender) = self.sender.take() else {
            return Err(Failure::new(FailureClass::Transport, "connection closed"));
        };
        // The sender is put back only after a whole response: after anything else the state of
        // the connection is unknown and it is closed.
        let exchange = tokio::time::timeout(
            self.dialer.timeout,
            Self::exchange(&mut sender, request, keep),
        );
        let reply = exchange
            .await
            .map_err(|_| Failure::new(FailureClass::Timeout, "timed out"))??;
        self.sender = Some(sender);
        Ok(reply)
    }

    async fn exchange(
        sender: &mut SendRequest<Full<Payload>>,
        request: http::Request<Full<Payload>>,
        keep: Keep,
    ) -> Result<Reply, Failure> {
        let broken = |error: hyper::Error| Failure::new(FailureClass::Transport, error.to_string());
        let response = sender.send_request(request).await.map_err(broken)?;
        let (head, mut body) = response.into_parts();
        let etag = head
            .headers
            .get(http::header::ETAG)
            .and_then(|value| value.to_str().ok())
            .map(|value| value.trim_matches('"').to_owned());
        let mut first = Bytes::new();
        let mut rest: Vec<u8> = Vec::new();
        let mut length = 0_u64;
        // Errors are small and worth reading whatever was asked for.
        let limit = if keep == Keep::Body || head.status.as_u16() >= 300 {
            usize::MAX
        } else {
            HEAD_BYTES
        };
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(broken)?.into_data() else {
                continue;
            };
            length += data.len() as u64;
            if first.is_empty() {
                // Most bodies of this project come in one piece and need no copy.
                first = data;
            } else {
                if rest.is_empty() {
                    rest.extend_from_slice(&first[..first.len().min(limit)]);
                }
                let room = limit.saturating_sub(rest.len());
                rest.extend_from_slice(&data[..data.len().min(room)]);
            }
        }
        let body = if rest.is_empty() {
            first
        } else {
            Bytes::from(rest)
        };
        Ok(Reply {
            status: head.status.as_u16(),
            etag,
            body,
            length,
        })
    }

    fn signed(
        &mut self,
        method: http::Method,
        path: &str,
        query: &str,
        body: Payload,
    ) -> Result<http::Request<Full<Payload>>, Failure> {
        let seconds = i64::try_from(clock::wall() / clock::SECOND).unwrap_or(i64::MAX);
        let hashed;
        let payload_hash = if !body.has_remaining() {
            EMPTY_SHA256
        } else if self.dialer.sign_payload {
            hashed = sha256_hex(&body.parts());
            &hashed
        } else {
            UNSIGNED_PAYLOAD
        };
        let unusable =
            |error: &dyn std::fmt::Display| Failure::new(FailureClass::Client, error.to_string());
        let date =
            HeaderValue::from_str(self.signer.date(seconds)).map_err(|error| unusable(&error))?;
        let date_text = date.to_str().unwrap_or_default();
        let base = [
            ("host", self.dialer.target.authority.as_str()),
            ("x-amz-content-sha256", payload_hash),
            ("x-amz-date", date_text),
        ];
        let token = self.dialer.target.credentials.session_token.as_deref();
        let with_token;
        let headers: &[(&str, &str)] = if let Some(token) = token {
            with_token = [base[0], base[1], base[2], ("x-amz-security-token", token)];
            &with_token
        } else {
            &base
        };
        let request = Request {
            method: method.as_str(),
            path,
            query,
            headers,
            payload_hash,
        };
        let authorization = self.signer.authorization(seconds, &request);

        let uri = if query.is_empty() {
            http::Uri::from_maybe_shared(Bytes::copy_from_slice(path.as_bytes()))
        } else {
            http::Uri::from_maybe_shared(Bytes::from(format!("{path}?{query}")))
        };
        let uri = uri.map_err(|error| unusable(&error))?;
        let mut built = http::Request::new(Full::new(body));
        *built.method_mut() = method;
        *built.uri_mut() = uri;
        let map = built.headers_mut();
        if let Some(host) = &self.host {
            map.insert(HOST, host.clone());
        }
        map.insert(
            CONTENT_SHA256,
            HeaderValue::from_str(payload_hash).map_err(|error| unusable(&error))?,
        );
        map.insert(
            AUTHORIZATION,
            HeaderValue::from_maybe_shared(Bytes::from(authorization))
                .map_err(|error| unusable(&error))?,
        );
        if let Some(token) = &self.token {
            map.insert(SECURITY_TOKEN, token.clone());
        }
        map.insert(AMZ_DATE, date);
        Ok(built)
    }
}

/// A plain or a TLS stream.
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
