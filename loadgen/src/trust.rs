//! Whose certificates are believed, and why one is not.

use std::error::Error;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{CertificateError, ClientConfig, InvalidMessage, RootCertStore};
use tokio_rustls::TlsConnector;

use crate::failure::Remedy;

/// Certificates of authorities that are trusted beside those that the system trusts.
#[derive(Clone)]
pub struct Authorities {
    pem: Arc<[u8]>,
    certificates: Vec<CertificateDer<'static>>,
}

impl std::fmt::Debug for Authorities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Authorities")
            .field(&self.certificates.len())
            .finish()
    }
}

impl Authorities {
    /// Reads them in PEM.
    ///
    /// # Errors
    /// In words, when there is none or one cannot be used.
    pub fn parse(pem: &[u8]) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<_, _>>()
            .map_err(|error| format!("it is no PEM: {error}"))?;
        for certificate in &certificates {
            let added = roots.add(certificate.clone());
            added
                .map_err(|error| format!("it holds a certificate that cannot be used: {error}"))?;
        }
        if certificates.is_empty() {
            return Err("it holds no certificate in PEM (-----BEGIN CERTIFICATE-----)".to_owned());
        }
        Ok(Self {
            pem: pem.into(),
            certificates,
        })
    }

    /// As they were read.
    #[must_use]
    pub fn pem(&self) -> &[u8] {
        &self.pem
    }
}

/// Those that the system trusts, and some more.
///
/// # Errors
/// In words, when that is nobody.
pub fn roots(more: Option<&Authorities>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if let Some(more) = more {
        roots.add_parsable_certificates(more.certificates.iter().cloned());
    }
    if roots.is_empty() {
        return Err(found.errors.first().map_or_else(
            || "the system's store is empty".to_owned(),
            ToString::to_string,
        ));
    }
    Ok(roots)
}

/// What opens encrypted connections to whoever one of these vouches for.
///
/// # Errors
/// In words, when nobody is trusted.
pub fn client(more: Option<&Authorities>) -> Result<TlsConnector, String> {
    let roots = roots(more)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// What a user has to change after a handshake failed; `None` where another try may end otherwise.
#[must_use]
pub fn remedy(error: &(dyn Error + 'static)) -> Option<Remedy> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<rustls::Error>() {
            return of(error);
        }
        // The cause of an I/O error is not its source but what it wraps.
        let wrapped = error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        if let Some(error) = wrapped
            && let Some(remedy) = remedy(error)
        {
            return Some(remedy);
        }
        next = error.source();
    }
    None
}

fn of(error: &rustls::Error) -> Option<Remedy> {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            Some(Remedy::Authority)
        }
        // One certificate that is its own authority and says that it is none.
        rustls::Error::InvalidCertificate(CertificateError::Other(other))
            if other.to_string().contains("CaUsedAsEndEntity") =>
        {
            Some(Remedy::Authority)
        }
        rustls::Error::InvalidCertificate(other) => Some(Remedy::Certificate(other.to_string())),
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => Some(Remedy::Scheme),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_no_certificate_is_refused_in_words() {
        for (pem, said) in [
            ("", "no certificate"),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                "cannot be used",
            ),
            (
                "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n",
                "no PEM",
            ),
        ] {
            let error = Authorities::parse(pem.as_bytes()).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn the_cause_is_found_where_it_is_wrapped() {
        let wrapped = |error: rustls::Error| {
            let inner = std::io::Error::new(std::io::ErrorKind::InvalidData, error);
            std::io::Error::other(inner)
        };
        let unknown = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        assert_eq!(remedy(&wrapped(unknown)), Some(Remedy::Authority));
        let plain = rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType);
        assert_eq!(remedy(&wrapped(plain)), Some(Remedy::Scheme));
        let late = rustls::Error::InvalidCertificate(CertificateError::Expired);
        assert!(matches!(
            remedy(&wrapped(late)),
            Some(Remedy::Certificate(_))
        ));
        assert_eq!(remedy(&std::io::Error::other("reset")), None);
    }
}
