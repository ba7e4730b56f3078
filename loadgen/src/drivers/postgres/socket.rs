//! A socket to a Postgres server, encrypted or not.
//!
//! A client asks in clear whether the server encrypts (PostgreSQL manual, "SSL Session Encryption"), and the rest goes
//! through TLS. What is asked for is kept: a server that does not encrypt is no reason to go on in clear.

use std::io::{Error, ErrorKind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
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
    #[error("no trusted certificate authorities for sslmode=verify-full or verify-ca: {0}")]
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
        let verifier: Arc<dyn ServerCertVerifier> = if mode == SslMode::Require {
            Arc::new(Anyone { provider })
        } else {
            let (certificates, roots) = trusted(authorities)?;
            let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|error| TlsError::Trust(error.to_string()))?;
            Arc::new(Trusted {
                chain,
                certificates,
                name: mode == SslMode::VerifyFull,
            })
        };
        let config = builder
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        Ok(Some(Self {
            connector: TlsConnector::from(Arc::new(config)),
            name: ServerName::try_from(host.to_owned()).map_err(|_| TlsError::Host)?,
        }))
    }
}

/// The certificates that are trusted, as they were given and as the authorities that they make.
fn trusted(
    authorities: Option<&[u8]>,
) -> Result<(Vec<CertificateDer<'static>>, RootCertStore), TlsError> {
    let mut roots = RootCertStore::empty();
    let mut problem = "the system's store is empty".to_owned();
    let mut given = Vec::new();
    match authorities {
        Some(pem) => {
            problem = "the Secret's key holds no certificate in PEM".to_owned();
            given.extend(CertificateDer::pem_slice_iter(pem).flatten());
            roots.add_parsable_certificates(given.iter().cloned());
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
    Ok((given, roots))
}

/// Takes a certificate that is signed by an authority, and bears the host's name where that is asked for. One that was given as
/// an authority itself is taken as it is, as libpq does: servers that sign their own certificate have no other authority.
#[derive(Debug)]
struct Trusted {
    chain: Arc<WebPkiServerVerifier>,
    /// Those that the user gave.
    certificates: Vec<CertificateDer<'static>>,
    /// Whether the host's name counts.
    name: bool,
}

impl ServerCertVerifier for Trusted {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        use rustls::CertificateError::{NotValidForName, NotValidForNameContext};
        let said = self.chain.verify_server_cert(leaf, others, name, ocsp, now);
        match said {
            // The name is what is looked at last, once the chain holds.
            Err(rustls::Error::InvalidCertificate(
                NotValidForName | NotValidForNameContext { .. },
            )) if !self.name => Ok(ServerCertVerified::assertion()),
            Err(rustls::Error::InvalidCertificate(_))
                if self.certificates.contains(&leaf.clone().into_owned()) =>
            {
                if self.name {
                    verify_server_name(&ParsedCertificate::try_from(leaf)?, name)?;
                }
                Ok(ServerCertVerified::assertion())
            }
            said => said,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
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

/// A connection that is idle for a segment of a soak is asked for a sign of life before whatever stands in between forgets it,
/// which load balancers do after minutes; one that is lost is known to be within two.
fn keep_alive(stream: &TcpStream) -> std::io::Result<()> {
    use rustix::net::sockopt;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE / 2)?;
    sockopt::set_tcp_keepcnt(stream, 4)?;
    Ok(())
}

/// The longest that a connection says nothing.
const KEEPALIVE: std::time::Duration = std::time::Duration::from_secs(30);

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
        keep_alive(&stream).map_err(unreached)?;
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
    fn an_idle_connection_gives_a_sign_of_life_within_a_minute() {
        use rustix::net::sockopt;
        crate::testing::local(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let socket = Socket::open(("127.0.0.1", port), None).await.unwrap();
            let Socket::Plain(stream) = &socket else {
                panic!("encrypted")
            };
            assert!(sockopt::socket_keepalive(stream).unwrap());
            assert!(sockopt::tcp_keepidle(stream).unwrap().as_secs() <= 60);
        });
    }

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
