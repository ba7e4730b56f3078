//! How a backend is reached: S3 or Postgres.

use std::sync::Arc;
use std::time::Duration;

use bakeoff_crds::result::BackendUsage;
use bakeoff_crds::run::ResolvedBackend;
use bakeoff_crds::spec::BackendKind;

use crate::credentials::Credentials;
use crate::drivers::postgres::{self as pg, Connector};
use crate::drivers::probe::{self, ProbeError};
use crate::drivers::s3::conn::Dialer;
use crate::drivers::s3::metrics::{self as backend_metrics, Observation};
use crate::drivers::s3::{Target, TargetError};

/// The database of a Postgres server, which a plan names where it has the bucket of others.
fn database(at: &ResolvedBackend) -> &str {
    &at.bucket
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

    /// Waits until the backend answers a signed or authenticated request.
    ///
    /// # Errors
    /// When it does not within `patience`, or clearly never will.
    pub async fn wait(&self, at: &ResolvedBackend, patience: Duration) -> Result<(), ProbeError> {
        match self {
            Self::S3(dialer) => {
                probe::wait(&at.name, dialer, &at.prefix, at.provisioned, patience).await
            }
            Self::Postgres(connector) => probe::wait_postgres(&at.name, connector, patience).await,
        }
    }

    /// A look at the backend's process; `None` when it cannot be observed now.
    pub async fn observe(&self, at: &ResolvedBackend) -> Option<Observation> {
        match self {
            Self::S3(_) => backend_metrics::observe(at.metrics_url.as_deref()?).await,
            Self::Postgres(connector) => {
                let client = connector.connect().await.ok()?;
                let start_seconds = pg::observe::started(&client).await.ok()?;
                Some(Observation {
                    start_seconds,
                    cpu_seconds: 0.0,
                    resident_bytes: 0.0,
                })
            }
        }
    }

    /// Whether the backend's process can be observed at all.
    #[must_use]
    pub fn observable(&self, at: &ResolvedBackend) -> bool {
        matches!(self, Self::Postgres(_)) || at.metrics_url.is_some()
    }

    /// What the backend used between two looks, where it says so: SQL tells neither CPU nor memory.
    #[must_use]
    pub fn usage(&self, before: &Observation, after: &Observation) -> Option<BackendUsage> {
        matches!(self, Self::S3(_)).then(|| backend_metrics::usage(before, after))
    }
}
