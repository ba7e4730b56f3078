//! One request to an S3 store with any method, path, query, headers and body. Not the measured path: what is measured is in
//! [`super::conn`]; here is what nobody times, with the same signer and the same connections.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;

use super::dialer::Dialer;
use super::payload::Payload;
use super::sigv4::{EMPTY_SHA256, Request, Signer, UNSIGNED_PAYLOAD, encode_into, sha256_hex};
use crate::failure::{Failure, FailureClass};
use crate::instrument::clock;
use crate::s3::xml::{self, ErrorDocument};

/// What is asked.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    /// `GET`, `PUT`, …
    pub method: Method,
    /// The encoded path, sent as it stands here.
    pub path: &'a str,
    /// The encoded query, sorted by name: see [`query`].
    pub query: &'a str,
    /// Further headers, in lower case; all of them are signed.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body.
    pub body: Bytes,
}

/// A whole answer, whatever its status.
#[derive(Clone, Debug)]
pub struct Told {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// Whether the store put an earlier try off with 503, which it may have carried out all the same.
    pub put_off: bool,
}

impl Told {
    /// A header as text; empty where it is missing.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.and_then(|value| value.to_str().ok()).unwrap_or("")
    }

    /// Whether it was done.
    #[must_use]
    pub fn is_done(&self) -> bool {
        (200..300).contains(&self.status) && self.error().is_none()
    }

    /// The error document, where the body is one; some services send one with 200.
    #[must_use]
    pub fn error(&self) -> Option<ErrorDocument> {
        xml::parse_error(&self.body)
    }
}

/// Who signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Whoever the credentials name.
    Ourselves,
    /// The same with a secret that is not theirs.
    WrongSecret,
    /// Nobody: the request is not signed.
    Nobody,
}

/// One connection for such requests.
#[derive(Debug)]
pub struct Caller {
    dialer: Dialer,
    sender: Option<SendRequest<Full<Payload>>>,
}

impl Caller {
    /// A connection that is not opened yet.
    #[must_use]
    pub fn new(dialer: Dialer) -> Self {
        Self {
            dialer,
            sender: None,
        }
    }

    /// Sends one request, once, and reads the whole answer.
    ///
    /// # Errors
    /// Transport failures and the timeout of the dialer; any HTTP status is an answer.
    pub async fn ask(&mut self, who: Who, asked: &Asked<'_>) -> Result<Told, Failure> {
        let exchange = tokio::time::timeout(self.dialer.timeout(), self.exchange(who, asked));
        exchange
            .await
            .map_err(|_| Failure::new(FailureClass::Timeout, "timed out"))?
    }

    async fn exchange(&mut self, who: Who, asked: &Asked<'_>) -> Result<Told, Failure> {
        // Of an idle connection it is not known whether it is still open; one that failed is dropped with its sender.
        let open = match self.sender.take() {
            Some(mut sender) => sender.ready().await.is_ok().then_some(sender),
            None => None,
        };
        let used = open.is_some();
        let mut sender = match open {
            Some(sender) => sender,
            None => self.dialer.open().await?,
        };
        let request = self.built(who, asked)?;
        let broken = |error: hyper::Error| Failure::new(FailureClass::Transport, error.to_string());
        let response = match sender.try_send_request(request).await {
            Ok(response) => response,
            // Closed while it was idle, before a byte was sent: nothing is sent twice.
            Err(mut refused) => match refused.take_message() {
                Some(unsent) if used => {
                    sender = self.dialer.open().await?;
                    sender.send_request(unsent).await.map_err(broken)?
                }
                _ => return Err(broken(refused.into_error())),
            },
        };
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(broken)?.to_bytes();
        // Some servers close a connection after a refusal without saying so.
        if head.status.as_u16() < 400 {
            self.sender = Some(sender);
        }
        Ok(Told {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
            put_off: false,
        })
    }

    fn built(&self, who: Who, asked: &Asked<'_>) -> Result<http::Request<Full<Payload>>, Failure> {
        let target = self.dialer.target();
        let mut headers: Vec<(&str, String)> = vec![("host", target.authority.clone())];
        let further = asked.headers.iter();
        headers.extend(further.map(|(name, value)| (*name, (*value).to_owned())));
        if who != Who::Nobody {
            let hash = if asked.body.is_empty() {
                EMPTY_SHA256.to_owned()
            } else if self.dialer.unsigned() {
                UNSIGNED_PAYLOAD.to_owned()
            } else {
                sha256_hex(&[&asked.body])
            };
            let mut credentials = target.credentials.clone();
            if who == Who::WrongSecret {
                credentials.secret.push('x');
            }
            let token = credentials.session_token.clone();
            let mut signer = Signer::new(credentials, &target.region, "s3");
            let seconds = i64::try_from(clock::wall() / clock::SECOND).unwrap_or(i64::MAX);
            headers.push(("x-amz-content-sha256", hash.clone()));
            headers.push(("x-amz-date", signer.date(seconds).to_owned()));
            headers.extend(token.map(|token| ("x-amz-security-token", token)));
            headers.sort_unstable();
            let signed: Vec<(&str, &str)> = headers
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            let request = Request {
                method: asked.method.as_str(),
                path: asked.path,
                query: asked.query,
                headers: &signed,
                payload_hash: &hash,
            };
            let authorization = signer.authorization(seconds, &request);
            headers.push(("authorization", authorization));
        }
        let unusable =
            |error: &dyn std::fmt::Display| Failure::new(FailureClass::Client, error.to_string());
        let place = if asked.query.is_empty() {
            asked.path.to_owned()
        } else {
            format!("{}?{}", asked.path, asked.query)
        };
        let mut built = http::Request::new(Full::new(Payload::from(asked.body.clone())));
        *built.method_mut() = asked.method.clone();
        *built.uri_mut() = place
            .parse()
            .map_err(|error: http::uri::InvalidUri| unusable(&error))?;
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| unusable(&error))?;
            let value = HeaderValue::from_str(&value).map_err(|error| unusable(&error))?;
            built.headers_mut().insert(name, value);
        }
        Ok(built)
    }
}

/// A query, encoded and in the order that signing asks for.
#[must_use]
pub fn query(parameters: &[(&str, &str)]) -> String {
    let mut sorted = parameters.to_vec();
    sorted.sort_unstable();
    let mut text = String::new();
    for (name, value) in sorted {
        if !text.is_empty() {
            text.push('&');
        }
        encode_into(&mut text, name, false);
        text.push('=');
        encode_into(&mut text, value, false);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_sorted_and_encoded() {
        let parameters = [("uploadId", "a/b"), ("partNumber", "1"), ("uploads", "")];
        assert_eq!(query(&parameters), "partNumber=1&uploadId=a%2Fb&uploads=");
        assert_eq!(query(&[]), "");
    }

    #[test]
    fn some_services_say_200_and_mean_an_error() {
        let told = |status, body: &'static str| Told {
            status,
            headers: HeaderMap::new(),
            body: Bytes::from_static(body.as_bytes()),
            put_off: false,
        };
        assert!(told(204, "").is_done());
        assert!(!told(412, "").is_done());
        let error = told(200, "<Error><Code>EntityTooSmall</Code></Error>");
        assert!(!error.is_done());
        assert_eq!(error.error().unwrap().code, "EntityTooSmall");
    }
}
