//! Where a backend comes from: provisioned for the experiment, or there before it.

use super::{PostgresUrlBackend, S3Backend, S3ServerBackend, Topology};
use crate::durability::DurabilityClass;
use crate::spec::Version;
use std::collections::BTreeMap;

/// Where a backend comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Origin {
    /// It is provisioned for the experiment and removed after it.
    Provisioned(Release),
    /// It was there before and stays.
    External(External),
}

/// A server that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// The program.
    pub product: Product,
    /// Its version.
    pub version: Version,
    /// Its settings by name, where they differ from those that the operator sets.
    pub settings: BTreeMap<String, String>,
    /// What it has to promise, where a spec may choose; else what its settings make it promise.
    pub durability: Option<DurabilityClass>,
    /// Of which pods it is made.
    pub topology: Topology,
    /// The container, where the spec describes it; else the operator knows it.
    pub declared: Option<Box<S3ServerBackend>>,
}

impl Release {
    /// A server with the operator's settings alone.
    #[must_use]
    pub fn of(product: Product, version: &Version) -> Self {
        Self {
            product,
            version: version.clone(),
            settings: BTreeMap::new(),
            durability: None,
            topology: Topology::Single,
            declared: None,
        }
    }
}

/// A program that the operator can run: a backend, or what stands beside one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Product {
    /// MinIO.
    Minio,
    /// SeaweedFS.
    Seaweedfs,
    /// Postgres.
    Postgres,
    /// Redis. It keeps locks beside a backend and is never one itself.
    Redis,
    /// Garage.
    Garage,
    /// versitygw.
    Versitygw,
    /// A server of S3 that the spec describes.
    S3Server,
}

impl Product {
    /// The name for people and for keys of the chart's catalogue.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Minio => "minio",
            Self::Seaweedfs => "seaweedfs",
            Self::Postgres => "postgres",
            Self::Redis => "redis",
            Self::Garage => "garage",
            Self::Versitygw => "versitygw",
            Self::S3Server => "s3Server",
        }
    }
}

/// A system that was there before the experiment and stays after it.
#[derive(Clone, Debug, PartialEq)]
pub enum External {
    /// An S3 endpoint.
    S3(S3Backend),
    /// A Postgres server.
    Postgres(PostgresUrlBackend),
}

impl External {
    /// The Secrets in the experiment's namespace by which it is reached, and the keys that are needed of each.
    #[must_use]
    pub fn secrets(&self) -> Vec<(&str, Vec<String>)> {
        match self {
            Self::S3(s3) => vec![s3.secret()],
            Self::Postgres(postgres) => {
                let at = &postgres.secret_ref;
                let keys = [&at.key].into_iter().chain(&postgres.ca_key);
                let mut secrets = vec![(at.name.as_str(), keys.cloned().collect())];
                let authorities = postgres.ca_secret_ref.as_ref();
                secrets.extend(authorities.map(|at| (at.name.as_str(), vec![at.key.clone()])));
                secrets
            }
        }
    }
}
