//! One HTTP/1.1 connection of one worker.
//!
//! A connection is opened between operations only, or where the server had closed an idle one before a request was sent.
//! When it fails during one, the operation fails and is recorded as such: nothing is ever sent twice.

use bytes::{Buf as _, Bytes};
use http::header::{AUTHORIZATION, HOST, HeaderName, HeaderValue};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;

use super::dialer::Dialer;
use super::payload::Payload;
use super::target::Target;
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
    /// Its length and first [`HEAD_BYTES`] at least; the rest is read and dropped.
    Head,
}

/// How many bytes [`Keep::Head`] keeps: the stamp that names the operation, and enough of what follows to tell whether it
/// belongs to it. They are copied only of a body that comes in several pieces.
pub const HEAD_BYTES: usize = 256;

/// A connection that was not used for so long, nanoseconds, may have been closed by the server.
const IDLE: u64 = clock::SECOND;

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
    /// The headers of an answer that is no success.
    pub headers: Option<Box<http::HeaderMap>>,
}

/// A worker's connection with its signer.
#[derive(Debug)]
pub struct Connection {
    dialer: Dialer,
    signer: Signer,
    host: Option<HeaderValue>,
    token: Option<HeaderValue>,
    sender: Option<SendRequest<Full<Payload>>>,
    /// When the last answer came.
    used: Option<u64>,
    opened: u64,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Signer").field(self.credentials()).finish()
    }
}

impl Dialer {
    /// A connection of a worker's own, not opened yet.
    #[must_use]
    pub fn connection(&self) -> Connection {
        Connection::new(self.clone())
    }
}

impl Connection {
    /// A connection that is not opened yet.
    fn new(dialer: Dialer) -> Self {
        let target = dialer.target();
        let signer = Signer::new(target.credentials.clone(), &target.region, "s3");
        let host = HeaderValue::from_str(&target.authority).ok();
        let token = target.credentials.session_token.as_deref();
        let token = token.and_then(|token| HeaderValue::from_str(token).ok());
        Self {
            dialer,
            signer,
            host,
            token,
            sender: None,
            used: None,
            opened: 0,
        }
    }

    /// Whether other connections lead to other servers of the same name.
    #[must_use]
    pub fn is_one_of_several_servers(&self) -> bool {
        self.dialer.has_several()
    }

    /// Opens the connection unless it is open; call it before the operation's clock starts.
    ///
    /// # Errors
    /// [`FailureClass::Connect`] or [`FailureClass::Timeout`].
    pub async fn ready(&mut self) -> Result<(), Failure> {
        // A server may have closed it meanwhile: what it said is read before the connection is used again.
        if self
            .used
            .is_some_and(|used| clock::now().saturating_sub(used) > IDLE)
        {
            tokio::task::yield_now().await;
        }
        if self.sender.as_ref().is_some_and(SendRequest::is_ready) {
            return Ok(());
        }
        if let Some(mut sender) = self.sender.take()
            && sender.ready().await.is_ok()
        {
            self.sender = Some(sender);
            return Ok(());
        }
        // Apart, as it is seldom: what opening keeps is large, and would be moved with every request.
        let opening = Box::pin(self.dialer.open());
        let opening = tokio::time::timeout(self.dialer.timeout(), opening);
        let sender = opening
            .await
            .map_err(|_| Failure::new(FailureClass::Timeout, "connect timed out"))??;
        self.opened += 1;
        self.used = None;
        self.sender = Some(sender);
        Ok(())
    }

    /// How often this worker had to open a connection; more than once means that the server or a
    /// failure closed one.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.opened
    }

    /// Whether bodies are sent without a signature of their own.
    #[must_use]
    pub fn unsigned(&self) -> bool {
        self.dialer.unsigned()
    }

    /// The bucket this connection talks to.
    #[must_use]
    pub fn target(&self) -> &Target {
        self.dialer.target()
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
            self.dialer.timeout(),
            self.exchange(&mut sender, request, keep),
        );
        let reply = exchange
            .await
            .map_err(|_| Failure::new(FailureClass::Timeout, "timed out"))??;
        self.sender = Some(sender);
        self.used = Some(clock::now());
        Ok(reply)
    }

    /// Sends a request, over a new connection where the server had closed this one before a byte of it was sent: then
    /// nothing is sent twice.
    async fn deliver(
        &mut self,
        sender: &mut SendRequest<Full<Payload>>,
        request: http::Request<Full<Payload>>,
    ) -> Result<http::Response<Incoming>, Failure> {
        let mut refused = match sender.try_send_request(request).await {
            Ok(response) => return Ok(response),
            Err(refused) => refused,
        };
        match refused.take_message() {
            Some(unsent) if self.used.take().is_some() => {
                *sender = Box::pin(self.dialer.open()).await?;
                self.opened += 1;
                sender.send_request(unsent).await.map_err(broken)
            }
            _ => Err(broken(refused.into_error())),
        }
    }

    async fn exchange(
        &mut self,
        sender: &mut SendRequest<Full<Payload>>,
        request: http::Request<Full<Payload>>,
        keep: Keep,
    ) -> Result<Reply, Failure> {
        let response = self.deliver(sender, request).await?;
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
            headers: (head.status.as_u16() >= 300).then(|| Box::new(head.headers)),
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
        } else if !self.dialer.unsigned() {
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
            ("host", self.dialer.target().authority.as_str()),
            ("x-amz-content-sha256", payload_hash),
            ("x-amz-date", date_text),
        ];
        let token = self.dialer.target().credentials.session_token.as_deref();
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

fn broken(error: hyper::Error) -> Failure {
    Failure::new(FailureClass::Transport, error.to_string())
}
