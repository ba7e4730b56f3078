//! The credentials that a Secret puts into a folder.

use std::path::PathBuf;

use bakeoff_crds::names;

use super::StoreError;
use crate::credentials::Credentials;

/// Reads the credentials that a Secret puts into a folder.
///
/// # Errors
/// When a file is missing, unreadable or empty.
pub fn credentials(folder: &str) -> Result<Credentials, StoreError> {
    let read = |name: &str| -> Result<String, StoreError> {
        let refused = |detail: String| StoreError::Credentials {
            folder: folder.to_owned(),
            detail,
        };
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
    Ok(Credentials {
        user: read(names::SECRET_ACCESS_KEY_ID)?,
        secret: read(names::SECRET_SECRET_ACCESS_KEY)?,
        session_token: read(names::SECRET_SESSION_TOKEN).ok(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_say_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        let error = credentials(path).unwrap_err();
        assert_eq!(error.reason(), "CredentialsMissing");
        assert!(error.to_string().contains("accessKeyId"), "{error}");
        std::fs::write(folder.path().join("accessKeyId"), "id\n").unwrap();
        std::fs::write(folder.path().join("secretAccessKey"), "secret").unwrap();
        assert_eq!(credentials(path).unwrap().user, "id");
    }
}
