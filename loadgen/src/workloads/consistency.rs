//! x
use super::{Context, Gate, Part, WorkloadError};
use bakeoff_crds::spec::Consistency;
/// x
pub async fn run(_context: &Context<'_>, _spec: &Consistency, _gate: &dyn Gate) -> Result<Part, WorkloadError> {
    Err(WorkloadError::Spec("x".into()))
}
