//! Why a trial could not be run.

use bakeoff_crds::quantity::QuantityError;

use crate::drivers::access::OtherGround;
use crate::failure::Failure;
use crate::instrument::record::RecordError;

/// Why a trial could not be run at all. What the backend answers during a window is data, not an
/// error.
#[derive(Debug, thiserror::Error)]
pub enum WorkloadError {
    /// The trial does not fit the spec.
    #[error("{0}")]
    Spec(String),
    /// The backend speaks another protocol; validation lets no such pair through.
    #[error("this workload {0}")]
    Ground(#[from] OtherGround),
    /// A quantity of the spec cannot be read.
    #[error(transparent)]
    Quantity(#[from] QuantityError),
    /// Objects that the trial reads could not be written or counted.
    #[error("preparation: {0}")]
    Preparation(#[from] Failure),
    /// Recording failed.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The pacer or a file failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The other generators could not be met at the start.
    #[error("start barrier: {0}")]
    Gate(String),
}

impl WorkloadError {
    /// The machine-readable reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Spec(_) | Self::Ground(_) | Self::Quantity(_) => "SpecInvalid",
            Self::Preparation(_) => "PreparationFailed",
            Self::Record(error) => error.reason(),
            Self::Io(_) => "LocalFailure",
            Self::Gate(_) => "BarrierFailed",
        }
    }
}
