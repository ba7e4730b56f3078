//! The credentials that a Secret puts into a folder.

use std::path::PathBuf;

use bakeoff_crds::names;

use super::StoreError;
use crate::credentials::Credentials;
use crate::trust::Authorities;

/// Reads the credentials that a Secret puts into a folder, and the authorities that its key `ca_key` has.
///
/// # Errors
/// When a file is missing, unreadable or empty.
pub fn credentials(folder: &str, ca_key: Option<&str>) -> Result<Credentials, StoreError> {
    let refused = |detail: String| StoreError::Credentials {
        folder: folder.to_owned(),
        detail,
    };
    let read = |name: &str| -> Result<String, StoreError> {
        let text = std::fs::read_to_string(PathBuf::from(folder).join(name))
            .map_err(|error| refused(format!("{name}: {error}")))?;
        // A line feed at the end is the commonest slip in handmade Secrets.
        let text = text.trim().to_owned();
        if text.is_empty() {
            Err(refused(format!("{name} is empty")))
        } else {
            Ok(text)
        }
    };
    let authorities = ca_key.map(|key| {
        let pem = std::fs::read(PathBuf::from(folder).join(key));
        let pem = pem.map_err(|error| refused(format!("{key}: {error}")))?;
        Authorities::parse(&pem).map_err(|error| refused(format!("{key}: {error}")))
    });
    Ok(Credentials {
        user: read(names::SECRET_ACCESS_KEY_ID)?,
        secret: read(names::SECRET_SECRET_ACCESS_KEY)?,
        session_token: read(names::SECRET_SESSION_TOKEN).ok(),
        authorities: authorities.transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_say_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        let error = credentials(path, None).unwrap_err();
        assert_eq!(error.reason(), "CredentialsMissing");
        assert!(error.to_string().contains("accessKeyId"), "{error}");
        std::fs::write(folder.path().join("accessKeyId"), "id\n").unwrap();
        std::fs::write(folder.path().join("secretAccessKey"), "secret").unwrap();
        assert_eq!(credentials(path, None).unwrap().user, "id");
        assert!(credentials(path, Some("ca.pem")).is_err());
        std::fs::write(folder.path().join("ca.pem"), "PEM").unwrap();
        let error = credentials(path, Some("ca.pem")).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("ca.pem: it holds no certificate"),
            "{error}"
        );
    }
}
