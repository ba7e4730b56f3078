//! Credentials of the command line: those that stand in the environment, and the authorities of a file.

use std::path::Path;

use super::Failed;
use crate::credentials::Credentials;
use crate::trust::Authorities;

/// One of the credentials that stand in the environment, and what is said where it is missing.
pub(super) fn credential(variable: &str, missing: &str) -> Result<String, Failed> {
    std::env::var(variable).map_err(|_| Failed::new("CredentialsMissing", missing, false))
}

/// The keys that stand in the environment.
pub(super) fn keys(
    access_key: &str,
    secret_key: &str,
    authorities: Option<Authorities>,
) -> Result<Credentials, Failed> {
    let of = |name: &str| {
        let missing = format!("the environment variable {name} is not set");
        credential(name, &missing)
    };
    Ok(Credentials {
        user: of(access_key)?,
        secret: of(secret_key)?,
        session_token: std::env::var("AWS_SESSION_TOKEN").ok(),
        authorities,
    })
}

/// The authorities of a file.
pub(super) fn authorities(file: Option<&Path>) -> Result<Option<Authorities>, Failed> {
    let Some(file) = file else {
        return Ok(None);
    };
    let unusable = |detail: String| {
        let message = format!("{}: {detail}", file.display());
        Failed::new("FileUnreadable", message, false)
    };
    let pem = std::fs::read(file).map_err(|error| unusable(error.to_string()))?;
    Authorities::parse(&pem).map(Some).map_err(unusable)
}
