//! How a backend is reached: S3 or Postgres.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bakeoff_crds::durability::Durability;
use bakeoff_crds::result::BackendUsage;
use bakeoff_crds::run::ResolvedBackend;
use bakeoff_crds::spec::Ground;

use crate::credentials::Credentials;
use crate::drivers::address;
use crate::drivers::observation::Observation;
use crate::drivers::postgres::Connector;
use crate::drivers::postgres::prerequisites::{Needs, PrerequisiteError};
use crate::drivers::postgres::schema::SchemaError;
use crate::drivers::probe::ProbeError;
use crate::drivers::s3::dialer::Dialer;
use crate::drivers::s3::{Target, TargetError};
use crate::failure::Failure;
use crate::store::StoreError;

/// An answer that is waited for.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// What a run asks of a backend, whatever its protocol.
pub trait Driver {
    /// Waits until the backend answers a signed or authenticated request.
    ///
    /// # Errors
    /// When it does not within `patience`, or clearly never will.
    fn probe<'a>(
        &'a self,
        at: &'a ResolvedBackend,
        patience: Duration,
    ) -> Answer<'a, Result<(), ProbeError>>;

    /// A look at the backend's process; `None` when it cannot be observed now.
    fn observe<'a>(&'a self, at: &'a ResolvedBackend) -> Answer<'a, Option<Observation>>;

    /// Whether the backend's process can be observed at all.
    fn observable(&self, at: &ResolvedBackend) -> bool;

    /// What the backend used between two looks, where it says so.
    fn usage(&self, before: &Observation, after: &Observation) -> Option<BackendUsage>;

    /// Host and port.
    fn place(&self) -> (&str, u16);

    /// What of the measured path is a factor of its figures and no setting: its name, and in words.
    fn habits(&self) -> (&'static str, &'static str);

    /// Removes what lies below a prefix; answers how many objects.
    ///
    /// # Errors
    /// When the backend does not let it.
    fn clean<'a>(
        &'a self,
        at: &'a ResolvedBackend,
        prefix: &'a str,
    ) -> Answer<'a, Result<u64, StoreError>>;

    /// Asks whether what is between here and the server leaves connections as they are, before anything is taken there.
    ///
    /// # Errors
    /// When it does not, or the server does not answer.
    fn sessions(&self) -> Answer<'_, Result<(), PrerequisiteError>> {
        Box::pin(async { Ok(()) })
    }

    /// Asks for what the experiment needs of the server, before anything is measured; answers caveats of what is not there.
    ///
    /// # Errors
    /// What keeps it from being measured.
    fn prerequisites(&self, _needs: Needs) -> Answer<'_, Result<Vec<String>, PrerequisiteError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    /// What the server says where it refuses the credentials, asked once. `None` where it takes them, or does not answer.
    fn refusal<'a>(&'a self, _at: &'a ResolvedBackend) -> Answer<'a, Option<String>> {
        Box::pin(async { None })
    }

    /// Takes for a run what it cannot share with others of a place that is not ours. Nothing, where a prefix of its own
    /// is enough.
    ///
    /// # Errors
    /// When it is somebody else's, or the server does not let it.
    fn claim<'a>(&'a self, _run: &'a str) -> Answer<'a, Result<(), SchemaError>> {
        Box::pin(async { Ok(()) })
    }

    /// Removes what the run claimed, with all that is in it; answers how much that was.
    ///
    /// # Errors
    /// When the server cannot be reached or does not let it.
    fn release<'a>(&'a self, _run: &'a str) -> Answer<'a, Result<u64, SchemaError>> {
        Box::pin(async { Ok(0) })
    }

    /// What the server says of itself: its version and its settings, by name. Nothing, where it says none.
    ///
    /// # Errors
    /// When it does not answer.
    fn settings(&self) -> Answer<'_, Result<BTreeMap<String, String>, Failure>> {
        Box::pin(async { Ok(BTreeMap::new()) })
    }

    /// How durable these settings make what it acknowledged; `None` where they do not tell.
    fn durability(&self, _settings: &BTreeMap<String, String>) -> Option<Durability> {
        None
    }
}

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
