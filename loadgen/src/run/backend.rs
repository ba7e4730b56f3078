//! A backend that a run measures: how it is reached, and what is removed from it.

use std::path::PathBuf;

use bakeoff_crds::names;
use bakeoff_crds::run::{ResolvedBackend, RunPlan};
use bakeoff_crds::spec::Ground;

use super::{OPERATION_TIMEOUT, RunError};
use crate::credentials::Credentials;
use crate::drivers::access::Access;
use crate::drivers::error::SchemaError;
use crate::drivers::postgres::url::Address;
use crate::drivers::postgres::{Connector, Tls};
use crate::drivers::s3::TargetError;
use crate::store::{self, StoreError};

/// A backend that a run measures.
#[derive(Clone, Debug)]
pub struct Backend {
    /// As the plan describes it.
    pub resolved: ResolvedBackend,
    /// Who signs.
    pub credentials: Credentials,
    /// Connections to it.
    pub access: Access,
    /// The run that a part of a place that is not ours is claimed for, and released again: a schema in an external
    /// database. Absent elsewhere.
    pub claim: Option<String>,
}

impl Backend {
    /// A backend with its credentials.
    ///
    /// # Errors
    /// When its endpoint is malformed or TLS trusts nobody.
    pub fn new(resolved: ResolvedBackend, credentials: Credentials) -> Result<Self, TargetError> {
        let access = Access::new(&resolved, &credentials, OPERATION_TIMEOUT)?;
        Ok(Self {
            resolved,
            credentials,
            access,
            claim: None,
        })
    }

    /// The same with credentials read again, where those in its folder have changed: a Secret may be rotated, and
    /// temporary credentials are replaced before they end. What cannot be read changes nothing.
    pub(super) fn renewed(&self) -> Option<Self> {
        let at = &self.resolved;
        if at.kind.ground() != Ground::S3 || at.credentials_dir.is_empty() {
            return None;
        }
        let found = store::credentials(&at.credentials_dir, at.ca_key.as_deref())
            .inspect_err(|error| tracing::warn!(%error, "credentials cannot be read again"));
        let found = found.ok().filter(|found| !found.same(&self.credentials))?;
        tracing::info!(backend = at.name, "credentials have changed");
        let renewed = Self::new(at.clone(), found).ok()?;
        Some(Self {
            claim: self.claim.clone(),
            ..renewed
        })
    }

    /// An external Postgres server whose URL is in a file of the folder of its credentials.
    ///
    /// # Errors
    /// When there is no such file, the URL is malformed, or nobody is trusted.
    pub fn of_url(mut resolved: ResolvedBackend) -> Result<Self, RunError> {
        let folder = PathBuf::from(&resolved.credentials_dir);
        let unusable = |detail: String| RunError::Url {
            backend: resolved.name.clone(),
            detail,
        };
        let url = std::fs::read_to_string(folder.join(names::FILE_URL))
            .map_err(|error| unusable(error.to_string()))?;
        let stated = resolved.settings.get(names::SSL_MODE_SETTING);
        let address = Address::parse(&url, stated.map(String::as_str))
            .map_err(|error| unusable(error.to_string()))?;
        let authorities = std::fs::read(folder.join(names::FILE_CA)).ok();
        let tls = Tls::new(address.ssl, &address.host, authorities.as_deref())
            .map_err(|error| unusable(error.to_string()))?;
        let connector = Connector::new(
            &address.endpoint(),
            &address.database,
            &address.credentials,
            OPERATION_TIMEOUT,
        )
        .map_err(|error| unusable(error.to_string()))?
        .with_options(address.options.as_deref());
        resolved.endpoint = address.endpoint();
        // Read back by `ResolvedBackend::database`.
        resolved.bucket = address.database;
        let mode = address.ssl.as_str().to_owned();
        let setting = names::SSL_MODE_SETTING.to_owned();
        resolved.settings.insert(setting, mode);
        if !address.ignored.is_empty() {
            resolved.caveats.push(format!(
                "of its URL these parameters are ignored: {}",
                address.ignored.join(", ")
            ));
        }
        Ok(Self {
            claim: Some(resolved.prefix.clone()),
            resolved,
            credentials: address.credentials,
            access: Access::Postgres(connector.with_tls(tls)),
        })
    }

    /// Takes what the run cannot share with others, where the place is not ours.
    ///
    /// # Errors
    /// When it is somebody else's, or the server does not let it.
    pub(super) async fn claim(&self) -> Result<(), SchemaError> {
        match &self.claim {
            Some(run) => self.access.driver().claim(run).await,
            None => Ok(()),
        }
    }

    /// The prefix of everything that the run writes there: empty, or ending with a slash.
    #[must_use]
    pub fn prefix(&self) -> String {
        self.resolved.folder()
    }

    /// Removes what lies below a prefix of it; answers how many objects.
    ///
    /// # Errors
    /// When the backend does not let it.
    pub async fn remove(&self, prefix: &str) -> Result<u64, StoreError> {
        self.access.driver().clean(&self.resolved, prefix).await
    }
}

/// Opens the backends of a plan with the credentials in their folders.
///
/// # Errors
/// When credentials are missing or an endpoint is malformed.
pub fn backends(plan: &RunPlan) -> Result<Vec<Backend>, RunError> {
    plan.backends
        .iter()
        .map(|resolved| {
            if resolved.kind.ground() == Ground::Postgres && resolved.endpoint.is_empty() {
                return Backend::of_url(resolved.clone());
            }
            let credentials =
                store::credentials(&resolved.credentials_dir, resolved.ca_key.as_deref())?;
            Ok(Backend::new(resolved.clone(), credentials)?)
        })
        .collect()
}
