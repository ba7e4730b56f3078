//! How a backend is reached: S3 or Postgres.

use std::sync::Arc;
use std::time::Duration;

use bakeoff_crds::run::ResolvedBackend;
use bakeoff_crds::spec::Ground;

use crate::credentials::Credentials;
use crate::drivers::address;
use crate::drivers::driver::Driver;
use crate::drivers::postgres::Connector;
use crate::drivers::s3::dialer::Dialer;
use crate::drivers::s3::{Target, TargetError};

/// A backend is asked for a protocol that it does not speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OtherGround {
    /// It is no S3 server.
    #[error("needs an S3 backend")]
    NotS3,
    /// It is no Postgres server.
    #[error("needs a Postgres backend")]
    NotPostgres,
}

/// Connections to a backend.
#[derive(Clone, Debug)]
pub enum Access {
    /// To a bucket.
    S3(Dialer),
    /// To a database.
    Postgres(Connector),
}

impl Access {
    /// Connections to a backend. An operation that takes longer than `timeout` is recorded as a timeout.
    ///
    /// # Errors
    /// When its endpoint is malformed or TLS trusts nobody.
    pub fn new(
        at: &ResolvedBackend,
        credentials: &Credentials,
        timeout: Duration,
    ) -> Result<Self, TargetError> {
        match at.kind.ground() {
            Ground::Postgres => {
                let connector = Connector::new(&at.endpoint, at.database(), credentials, timeout);
                connector
                    .map(Self::Postgres)
                    .map_err(|_| TargetError::Endpoint {
                        endpoint: address::shown(&at.endpoint),
                    })
            }
            Ground::S3 => {
                let target = Target::new(
                    &at.endpoint,
                    &at.region,
                    &at.bucket,
                    at.path_style,
                    credentials.clone(),
                )?;
                let dialer = Dialer::new(Arc::new(target), timeout, at.sign_payload)?;
                Ok(Self::S3(dialer))
            }
        }
    }

    /// Connections to the bucket of an S3 server.
    ///
    /// # Errors
    /// When it is none.
    pub fn s3(&self) -> Result<&Dialer, OtherGround> {
        match self {
            Self::S3(dialer) => Ok(dialer),
            Self::Postgres(_) => Err(OtherGround::NotS3),
        }
    }

    /// Connections to the database of a Postgres server.
    ///
    /// # Errors
    /// When it is none.
    pub fn postgres(&self) -> Result<&Connector, OtherGround> {
        match self {
            Self::Postgres(connector) => Ok(connector),
            Self::S3(_) => Err(OtherGround::NotPostgres),
        }
    }

    /// What a run asks of it.
    #[must_use]
    pub fn driver(&self) -> &dyn Driver {
        match self {
            Self::S3(dialer) => dialer,
            Self::Postgres(connector) => connector,
        }
    }
}
