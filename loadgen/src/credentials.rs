//! Who asks a server, whatever its protocol.

use crate::trust::Authorities;

/// A user and what proves that it is one. The `Debug` form never shows the secret.
#[derive(Clone)]
pub struct Credentials {
    /// Who asks: the user of Postgres and Redis, the access key id of S3.
    pub user: String,
    /// The password, or the secret access key.
    pub secret: String,
    /// The token of temporary credentials, which S3 alone knows.
    pub session_token: Option<String>,
    /// Authorities that are trusted with the server's certificate beside those that the system trusts.
    pub authorities: Option<Authorities>,
}

impl Credentials {
    /// Whether these ask as the same.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        self.user == other.user
            && self.secret == other.secret
            && self.session_token == other.session_token
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}
