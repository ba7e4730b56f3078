//! The programs that the operator can run.

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
