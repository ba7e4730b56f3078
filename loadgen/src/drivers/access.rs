//! How a backend is reached: S3 or Postgres.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bakeoff_crds::result::BackendUsage;
use bakeoff_crds::run::ResolvedBackend;
use bakeoff_crds::spec::BackendKind;

use crate::credentials::Credentials;
use crate::drivers::observation::Observation;
use crate::drivers::postgres::Connector;
use crate::drivers::probe::ProbeError;
use crate::drivers::s3::conn::Dialer;
use crate::drivers::s3::{Target, TargetError};
use crate::store::StoreError;

/// The database of a Postgres server, which a plan names where it has the bucket of others.
fn database(at: &ResolvedBackend) -> &str {
    &at.bucket
}

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
        if at.kind == BackendKind::Postgres {
            let connector = Connector::new(&at.endpoint, database(at), credentials, timeout);
            return connector
                .map(Self::Postgres)
                .map_err(|_| TargetError::Endpoint {
                    endpoint: at.endpoint.clone(),
                });
        }
        let target = Target::new(
            &at.endpoint,
            &at.region,
            &at.bucket,
            at.path_style,
            credentials.clone(),
        )?;
        Ok(Self::S3(Dialer::new(Arc::new(target), timeout, false)?))
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
