//! The server that keeps the locks of races: provisioned as a backend is, and measured by nobody.

use bakeoff_crds::run::RunPlan;

use super::{OPERATION_TIMEOUT, RunError};
use crate::drivers::redis::LockServer;
use crate::store;

/// Opens the lock server of a plan, where it has one, with the password in its folder.
///
/// # Errors
/// When the password is missing or the endpoint is malformed.
pub fn lock_server(plan: &RunPlan) -> Result<Option<LockServer>, RunError> {
    let Some(lock) = &plan.lock else {
        return Ok(None);
    };
    let credentials = store::credentials(&lock.credentials_dir, None)?;
    let server = LockServer::new(&lock.endpoint, &credentials, OPERATION_TIMEOUT)?;
    Ok(Some(server))
}
