//! The URL of a Postgres server that exists already. (Pure.)
//!
//! It has a password in it, so no error repeats it.

use std::str::FromStr as _;

use tokio_postgres::Config;
use tokio_postgres::config::Host;

use crate::credentials::Credentials;

/// Why a URL cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It is no URL of a Postgres server.
    #[error(
        "it is not of the form postgres://user:password@host:5432/database?sslmode=verify-full (signs other than \
         letters, digits, -, _ and . in the password are written as %XX)"
    )]
    Form,
    /// A part of it is missing.
    #[error(
        "it names no {0}: write postgres://user:password@host:5432/database?sslmode=verify-full"
    )]
    Missing(&'static str),
    /// It names several servers.
    #[error("it names several hosts: one server is measured, so name that one")]
    SeveralHosts,
    /// Whether connections are encrypted is left open.
    #[error(
        "{0}: add ?sslmode=disable, require (encrypted, whoever answers), verify-ca (and the certificate is checked) or \
         verify-full (and the host's name in it), or state it as postgresUrl.sslMode; encryption costs time, so it is not \
         left to chance"
    )]
    SslMode(String),
    /// It is encrypted otherwise than the experiment states.
    #[error(
        "it says sslmode={0} and sslMode of the experiment says {1}: let them say the same, or one of them nothing"
    )]
    Contradiction(&'static str, &'static str),
    /// A parameter that is not taken.
    #[error(
        "it has the parameter {0}, which changes what is measured or how: take it out; sslmode is taken, and what is harmless \
         is ignored"
    )]
    Parameter(String),
}

/// How connections are encrypted, in the words of libpq.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SslMode {
    /// Not at all.
    Disable,
    /// With whoever answers; the certificate is not checked.
    Require,
    /// With a server whose certificate is signed by somebody trusted, whatever name it bears.
    VerifyCa,
    /// With a server whose certificate is signed by somebody trusted and bears the host's name.
    VerifyFull,
}

impl SslMode {
    /// The name in a URL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }

    /// The mode of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let all = [
            Self::Disable,
            Self::Require,
            Self::VerifyCa,
            Self::VerifyFull,
        ];
        all.into_iter().find(|mode| mode.as_str() == name)
    }
}

/// What a URL says.
#[derive(Clone)]
pub struct Address {
    /// The host's name or address; without brackets.
    pub host: String,
    /// The port; 5432 unless the URL names another.
    pub port: u16,
    /// The database.
    pub database: String,
    /// User and password; the latter may be empty.
    pub credentials: Credentials,
    /// How connections are encrypted.
    pub ssl: SslMode,
    /// Parameters that are of no consequence here and were left out, by name.
    pub ignored: Vec<String>,
    /// The endpoint of a provider that tells its servers apart by it instead of by the name in the TLS handshake.
    pub options: Option<String>,
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Address")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("database", &self.database)
            .field("ssl", &self.ssl)
            .finish_non_exhaustive()
    }
}

impl Address {
    /// Reads a URL. The stated mode of encryption is for one that names none.
    ///
    /// # Errors
    /// When it is not of the form `postgres://user:password@host:port/database?sslmode=MODE`, or names another mode than the
    /// stated one.
    pub fn parse(url: &str, stated: Option<&str>) -> Result<Self, UrlError> {
        let (head, query) = url.trim().split_once('?').unwrap_or((url.trim(), ""));
        if !head.starts_with("postgres://") && !head.starts_with("postgresql://") {
            return Err(UrlError::Form);
        }
        // A password with an unescaped ? or @ would be taken for a parameter or a host, and be repeated.
        let form = |text: &str, more: &str| {
            text.chars()
                .all(|sign| sign.is_ascii_alphanumeric() || more.contains(sign))
        };
        if !form(query, "=&-_.,%+") {
            return Err(UrlError::Form);
        }
        if head.matches('@').count() > 1 {
            return Err(UrlError::Form);
        }
        let parameters = Parameters::read(query, stated)?;
        let config = Config::from_str(head).map_err(|_| UrlError::Form)?;
        let host = match config.get_hosts() {
            [Host::Tcp(host)] if !host.is_empty() => host.trim_matches(['[', ']']).to_owned(),
            [] | [_] => return Err(UrlError::Missing("host")),
            _ => return Err(UrlError::SeveralHosts),
        };
        let named = |part: Option<&str>, name| match part {
            Some(text) if !text.is_empty() => Ok(text.to_owned()),
            _ => Err(UrlError::Missing(name)),
        };
        let password = config.get_password().unwrap_or_default();
        Ok(Self {
            host,
            port: config.get_ports().first().copied().unwrap_or(5_432),
            database: named(config.get_dbname(), "database")?,
            credentials: Credentials {
                user: named(config.get_user(), "user")?,
                secret: String::from_utf8(password.to_vec()).map_err(|_| UrlError::Form)?,
                session_token: None,
                authorities: None,
            },
            ssl: parameters.ssl,
            ignored: parameters.ignored,
            options: parameters.options,
        })
    }

    /// The address without user and password, as `postgres://host:port`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        if self.host.contains(':') {
            format!("postgres://[{}]:{}", self.host, self.port)
        } else {
            format!("postgres://{}:{}", self.host, self.port)
        }
    }
}

/// What providers and frameworks put into URLs and what makes no difference here: how the client signs in, calls itself, waits
/// and pools. The channel is not bound, and there is one host, which has to take writes.
const HARMLESS: [&str; 12] = [
    "application_name",
    "channel_binding",
    "connect_timeout",
    "connection_limit",
    "fallback_application_name",
    "gssencmode",
    "keepalives",
    "pgbouncer",
    "pool_timeout",
    "sslnegotiation",
    "sslrootcert",
    "target_session_attrs",
];

/// What the part of a URL behind the question mark says.
struct Parameters {
    ssl: SslMode,
    ignored: Vec<String>,
    options: Option<String>,
}

impl Parameters {
    fn read(query: &str, stated: Option<&str>) -> Result<Self, UrlError> {
        let known = |value: &str| {
            let refused = || UrlError::SslMode(format!("sslmode={value} is not taken"));
            SslMode::named(value).ok_or_else(refused)
        };
        let stated = stated.map(known).transpose()?;
        let (mut mode, mut ignored, mut options) = (None, Vec::new(), None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "sslmode" => mode = Some(known(value)?),
                "options" => options = Some(endpoint(value)?),
                // The authorities of the system are the default; a file of the user's machine is not here.
                "sslrootcert" if value != "system" => {
                    return Err(UrlError::Parameter(
                        "sslrootcert (give the authorities as caKey or caSecretRef)".to_owned(),
                    ));
                }
                // Another kind of server than the one that is measured.
                "target_session_attrs" if !matches!(value, "any" | "read-write" | "primary") => {
                    return Err(UrlError::Parameter(name.to_owned()));
                }
                known if HARMLESS.contains(&known) => ignored.push(known.to_owned()),
                other => return Err(UrlError::Parameter(other.to_owned())),
            }
        }
        if let (Some(mode), Some(stated)) = (mode, stated)
            && mode != stated
        {
            return Err(UrlError::Contradiction(mode.as_str(), stated.as_str()));
        }
        let missing = || UrlError::SslMode("it names no sslmode".to_owned());
        Ok(Self {
            ssl: mode.or(stated).ok_or_else(missing)?,
            ignored,
            options,
        })
    }
}

/// The options of a URL where they only name an endpoint, as Neon's do; whatever else they set is refused.
fn endpoint(value: &str) -> Result<String, UrlError> {
    let plain = value.replace("%3D", "=").replace("%3d", "=");
    let named = plain
        .strip_prefix("endpoint=")
        .or_else(|| plain.strip_prefix("project="));
    let is_name = |name: &str| {
        !name.is_empty()
            && name
                .chars()
                .all(|sign| sign.is_ascii_alphanumeric() || sign == '-')
    };
    if named.is_some_and(is_name) {
        Ok(plain)
    } else {
        Err(UrlError::Parameter("options".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_as_whom_and_how() {
        let address = Address::parse(
            "postgres://me:p%40ss%3Aw@db.example.com:6432/runs?sslmode=verify-full\n",
            None,
        )
        .unwrap();
        assert_eq!(address.endpoint(), "postgres://db.example.com:6432");
        assert_eq!(address.database, "runs");
        assert_eq!(address.credentials.user, "me");
        assert_eq!(address.credentials.secret, "p@ss:w");
        assert_eq!(address.ssl, SslMode::VerifyFull);
        assert!(!format!("{address:?}").contains("p@ss"));
        let plain = Address::parse("postgresql://me@10.0.0.7/runs?sslmode=disable", None).unwrap();
        assert_eq!(plain.endpoint(), "postgres://10.0.0.7:5432");
        assert_eq!(plain.credentials.secret, "");
        let six =
            Address::parse("postgres://me:p@[fd00::7]:5433/runs?sslmode=require", None).unwrap();
        assert_eq!(six.endpoint(), "postgres://[fd00::7]:5433");
    }

    #[test]
    fn urls_are_taken_as_providers_hand_them_out() {
        // Neon's, Prisma's, and CloudNativePG's, which names no mode.
        let neon = Address::parse(
            "postgresql://me:p@ep-cool-1.eu.aws.neon.tech/neondb?sslmode=require&channel_binding=require&options=endpoint%3Dep-cool-1", None)
        .unwrap();
        assert_eq!(neon.ignored, ["channel_binding"]);
        assert_eq!(neon.options.as_deref(), Some("endpoint=ep-cool-1"));
        let prisma = Address::parse(
            "postgres://me:p@db/runs?sslmode=verify-ca&pgbouncer=true&connect_timeout=15&application_name=x&sslrootcert=system", None)
        .unwrap();
        assert_eq!((prisma.ssl, prisma.ignored.len()), (SslMode::VerifyCa, 4));
        let plain = "postgresql://app:p@cluster-rw.ns:5432/app";
        assert!(Address::parse(plain, None).is_err());
    }

    #[test]
    fn a_stated_mode_completes_a_url_and_does_not_overrule_it() {
        let plain = "postgresql://app:secret@cluster-rw.ns:5432/app";
        for mode in ["require", "verify-ca", "verify-full"] {
            let address = Address::parse(plain, Some(mode)).unwrap();
            assert_eq!(address.ssl.as_str(), mode);
            let same = format!("{plain}?sslmode={mode}");
            assert_eq!(Address::parse(&same, Some(mode)).unwrap().ssl, address.ssl);
        }
        let clear = format!("{plain}?sslmode=disable");
        let said = Address::parse(&clear, Some("verify-full")).unwrap_err();
        assert_eq!(
            said.to_string(),
            "it says sslmode=disable and sslMode of the experiment says verify-full: let them say the same, or one of them nothing"
        );
        let unknown = Address::parse(plain, Some("prefer")).unwrap_err();
        assert!(unknown.to_string().contains("prefer is not taken"));
    }

    #[test]
    fn what_is_refused_says_why_and_repeats_no_password() {
        let refused = [
            (
                "http://me:secret@db/runs?sslmode=disable",
                "not of the form",
            ),
            (
                "postgres://me:secret@db:port/runs?sslmode=disable",
                "not of the form",
            ),
            (
                "postgres://me:secret@db?sslmode=disable",
                "names no database",
            ),
            ("postgres://db/runs?sslmode=disable", "names no user"),
            (
                "postgres://me:secret@a,b/runs?sslmode=disable",
                "several hosts",
            ),
            ("postgres://me:secret@db/runs", "names no sslmode"),
            (
                "postgres://me:secret@db/runs?sslmode=prefer",
                "sslmode=prefer is not taken",
            ),
            (
                "postgres://me:secret@db/runs?sslmode=disable&search_path=secret",
                "parameter search_path",
            ),
            (
                "postgres://me:secret@db/runs?sslmode=require&target_session_attrs=standby",
                "parameter target_session_attrs",
            ),
            (
                "postgres://me:secret@db/runs?sslmode=verify-full&sslrootcert=secret.pem",
                "caKey",
            ),
            (
                "postgres://me:secret@db/runs?sslmode=disable&options=-c%20secret",
                "parameter options",
            ),
            (
                "postgres://me:se?secret@db/runs?sslmode=disable",
                "not of the form",
            ),
            (
                "postgres://me:p@secret@db/runs?sslmode=disable",
                "not of the form",
            ),
            (
                "postgres://me:secret@db/runs?sslmode=disable&options=x",
                "parameter options",
            ),
        ];
        for (url, why) in refused {
            let said = Address::parse(url, None).unwrap_err().to_string();
            assert!(said.contains(why), "{said}");
            assert!(!said.contains("secret"), "{said}");
        }
    }
}
