//! Where the measured requests go: endpoint, bucket and addressing style.

use crate::credentials::Credentials;
use crate::drivers::address;
use crate::drivers::s3::sigv4::encode_into;
use crate::net::unbracketed;

/// Why an endpoint cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The endpoint is not a URL of the form `http://host[:port]` or `https://host[:port]`.
    #[error(
        "endpoint {endpoint:?} is not of the form http://host[:port] or https://host[:port]; credentials do not stand in it"
    )]
    Endpoint {
        /// The refused text.
        endpoint: String,
    },
    /// The system's trust store could not be read or is empty.
    #[error("no trusted certificate authorities for https: {detail}")]
    Trust {
        /// What was missing.
        detail: String,
    },
}

impl TargetError {
    /// The machine-readable reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Endpoint { .. } => "EndpointInvalid",
            Self::Trust { .. } => "TrustStoreMissing",
        }
    }
}

/// An S3 bucket to measure. Cheap to clone behind an `Arc`; immutable.
#[derive(Clone, Debug)]
pub struct Target {
    /// Whether the connection is TLS.
    pub tls: bool,
    /// The host to connect to, and the name that the certificate must bear.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// The value of the `Host` header.
    pub authority: String,
    /// The path before the key: `/bucket/` in path style, `/` with the bucket in the host.
    pub base_path: String,
    /// The region that requests are signed for.
    pub region: String,
    /// The bucket.
    pub bucket: String,
    /// Who signs.
    pub credentials: Credentials,
}

impl Target {
    /// Parses an endpoint URL.
    ///
    /// # Errors
    /// [`TargetError::Endpoint`] when it is no plain `http` or `https` origin.
    pub fn new(
        endpoint: &str,
        region: &str,
        bucket: &str,
        path_style: bool,
        credentials: Credentials,
    ) -> Result<Self, TargetError> {
        let refused = || TargetError::Endpoint {
            endpoint: address::shown(endpoint),
        };
        if address::holds_secret(endpoint) {
            return Err(refused());
        }
        let uri: http::Uri = endpoint
            .trim_end_matches('/')
            .parse()
            .map_err(|_| refused())?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(refused()),
        };
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(refused());
        }
        let name = uri.host().ok_or_else(refused)?;
        let default_port = if tls { 443 } else { 80 };
        let port = uri.port_u16().unwrap_or(default_port);
        let written = if path_style {
            name.to_owned()
        } else if name.starts_with('[') {
            // No name can stand before an address.
            return Err(refused());
        } else {
            format!("{bucket}.{name}")
        };
        let host = unbracketed(&written).to_owned();
        let authority = if port == default_port {
            written
        } else {
            format!("{written}:{port}")
        };
        let base_path = if path_style {
            format!("/{bucket}/")
        } else {
            "/".to_owned()
        };
        Ok(Self {
            tls,
            host,
            port,
            authority,
            base_path,
            region: region.to_owned(),
            bucket: bucket.to_owned(),
            credentials,
        })
    }

    /// The encoded path of an object.
    #[must_use]
    pub fn object_path(&self, key: &str) -> String {
        let mut path = String::with_capacity(self.base_path.len() + key.len() + 8);
        path.push_str(&self.base_path);
        encode_into(&mut path, key, true);
        path
    }

    /// The encoded path of the bucket itself.
    #[must_use]
    pub fn bucket_path(&self) -> &str {
        let trimmed = self.base_path.trim_end_matches('/');
        if trimmed.is_empty() { "/" } else { trimmed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(endpoint: &str, path_style: bool) -> Result<Target, TargetError> {
        let credentials = Credentials {
            user: "a".into(),
            secret: "b".into(),
            session_token: None,
            authorities: None,
        };
        Target::new(endpoint, "us-east-1", "data", path_style, credentials)
    }

    #[test]
    fn path_style_and_virtual_host() {
        let path = target("http://127.0.0.1:9000/", true).unwrap();
        assert_eq!(
            (path.authority.as_str(), path.bucket_path()),
            ("127.0.0.1:9000", "/data")
        );
        assert_eq!(path.object_path("a b/ü"), "/data/a%20b/%C3%BC");
        let host = target("https://s3.example.org", false).unwrap();
        assert_eq!(
            (host.authority.as_str(), host.port),
            ("data.s3.example.org", 443)
        );
        assert_eq!(
            (host.bucket_path(), host.object_path("k").as_str()),
            ("/", "/k")
        );
    }

    #[test]
    fn an_ipv6_address_stands_in_brackets_in_the_url_alone() {
        let target = target("http://[::1]:9000", true).unwrap();
        assert_eq!(
            (target.host.as_str(), target.authority.as_str(), target.port),
            ("::1", "[::1]:9000", 9000)
        );
        let https = super::tests::target("https://[fd00::1]", true).unwrap();
        assert_eq!((https.authority.as_str(), https.port), ("[fd00::1]", 443));
        assert!(super::tests::target("http://[::1]:9000", false).is_err());
    }

    #[test]
    fn anything_but_an_origin_is_refused() {
        for endpoint in ["", "minio:9000", "ftp://x", "http://x/path", "http://x?y=z"] {
            assert!(target(endpoint, true).is_err(), "{endpoint}");
        }
    }
}
