//! A socket to a Postgres server, encrypted or not.
//!
//! A client asks in clear whether the server encrypts (PostgreSQL manual, "SSL Session Encryption"), and the rest goes
//! through TLS. What is asked for is kept: a server that does not encrypt is no reason to go on in clear.

use std::io::{Error, ErrorKind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::url::SslMode;
use crate::failure::{Failure, FailureClass};

/// Asks whether the server encrypts: the length and the number of the request.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// Why connections cannot be encrypted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// Nobody is trusted.
    #[error("no trusted certificate authorities for sslmode=verify-full: {0}")]
    Trust(String),
    /// The host has a name that no certificate bears.
    #[error("the host is neither a name nor an address")]
    Host,
}

/// How connections are encrypted.
#[derive(Clone)]
pub struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Tls {
    /// Encryption of this mode with a host; absent when there is to be none. `authorities` are certificates in PEM
    /// that are trusted in place of the system's.
    ///
    /// # Errors
    /// When the host has no name, or nobody is trusted.
    pub fn new(
        mode: SslMode,
        host: &str,
        authorities: Option<&[u8]>,
    ) -> Result<Option<Self>, TlsError> {
        if mode == SslMode::Disable {
            return Ok(None);
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::Trust(error.to_string()))?;
        let config = if mode == SslMode::Require {
            let anyone = Arc::new(Anyone { provider });
            let builder = builder.dangerous().with_custom_certificate_verifier(anyone);
            builder.with_no_client_auth()
        } else {
            builder
                .with_root_certificates(trusted(authorities)?)
                .with_no_client_auth()
        };
        Ok(Some(Self {
            connector: TlsConnector::from(Arc::new(config)),
            name: ServerName::try_from(host.to_owned()).map_err(|_| TlsError::Host)?,
        }))
    }
}

fn trusted(authorities: Option<&[u8]>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let mut problem = "the system's store is empty".to_owned();
    match authorities {
        Some(pem) => {
            problem = "the Secret's key holds no certificate in PEM".to_owned();
            roots.add_parsable_certificates(CertificateDer::pem_slice_iter(pem).flatten());
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            if let Some(error) = found.errors.first() {
                problem = error.to_string();
            }
        }
    }
    if roots.is_empty() {
        return Err(TlsError::Trust(problem));
    }
    Ok(roots)
}

/// Takes any certificate, as `sslmode=require` asks; whoever shows it must have its key all the same.
#[derive(Debug)]
struct Anyone {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// A socket to a server.
#[derive(Debug)]
pub(super) enum Socket {
    Plain(TcpStream),
    Encrypted(Box<TlsStream<TcpStream>>),
}

impl Socket {
    /// Connects, and encrypts where asked.
    pub async fn open(at: (&str, u16), tls: Option<&Tls>) -> Result<Self, Failure> {
        let unreached = |error: Error| Failure::new(FailureClass::Connect, error.to_string());
        let mut stream = TcpStream::connect(at).await.map_err(unreached)?;
        stream.set_nodelay(true).map_err(unreached)?;
        let Some(tls) = tls else {
            return Ok(Self::Plain(stream));
        };
        stream.write_all(&SSL_REQUEST).await.map_err(unreached)?;
        let mut answer = [0];
        stream.read_exact(&mut answer).await.map_err(unreached)?;
        if answer != *b"S" {
            let text = "the server does not encrypt connections: set ssl=on there, or sslmode=disable in the URL";
            return Err(Failure::new(FailureClass::Client, text));
        }
        // A certificate that is not trusted will not be trusted in a moment either.
        let refused = |error: Error| {
            let class = match error.kind() {
                ErrorKind::InvalidData => FailureClass::Client,
                _ => FailureClass::Connect,
            };
            Failure::new(class, format!("TLS: {error}"))
        };
        let encrypted = tls.connector.connect(tls.name.clone(), stream).await;
        Ok(Self::Encrypted(Box::new(encrypted.map_err(refused)?)))
    }

    /// Reads what has come, without waiting.
    pub fn try_read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.try_read(buffer),
            Self::Encrypted(stream) => {
                let mut buffer = ReadBuf::new(buffer);
                // Whoever waits next for this socket says so anew.
                let mut nobody = Context::from_waker(Waker::noop());
                match Pin::new(stream).poll_read(&mut nobody, &mut buffer) {
                    Poll::Ready(done) => done.map(|()| buffer.filled().len()),
                    Poll::Pending => Err(ErrorKind::WouldBlock.into()),
                }
            }
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Encrypted(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buffer),
            Self::Encrypted(stream) => Pin::new(stream).poll_write(cx, buffer),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Encrypted(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Encrypted(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// A socket while the library signs in; it comes back afterwards, so it is not shut down.
pub(super) struct Lent(pub Arc<Mutex<Socket>>);

impl Lent {
    fn with<T>(&self, work: impl FnOnce(Pin<&mut Socket>) -> T) -> T {
        // One task has it; nothing that holds the lock can panic half-way.
        let mut socket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        work(Pin::new(&mut socket))
    }
}

impl AsyncRead for Lent {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        self.with(|socket| socket.poll_read(cx, buffer))
    }
}

impl AsyncWrite for Lent {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.with(|socket| socket.poll_write(cx, buffer))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.with(|socket| socket.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_trusted_is_said_before_anybody_is_asked() {
        assert!(Tls::new(SslMode::Disable, "db", None).unwrap().is_none());
        assert!(Tls::new(SslMode::Require, "db", None).unwrap().is_some());
        let nobody = Tls::new(SslMode::VerifyFull, "db", Some(b"no certificate")).unwrap_err();
        assert!(nobody.to_string().contains("no certificate in PEM"));
        let nameless = Tls::new(SslMode::Require, "a b", None).unwrap_err();
        assert_eq!(nameless, TlsError::Host);
    }
}
