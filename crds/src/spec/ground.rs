//! What work is measured on.

/// What work is measured on: every workload of an experiment and every backend of it have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// A Postgres server.
    Postgres,
    /// A store that speaks S3.
    S3,
}

impl Ground {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Postgres, Self::S3];

    /// What a workload of this ground asks for, for people.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Postgres => "postgres backends",
            Self::S3 => "S3 backends",
        }
    }
}
