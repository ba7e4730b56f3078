//! Where the generators of a trial wait for its common start.

use std::future::Future;
use std::pin::Pin;

use super::WorkloadError;
use crate::instrument::clock;

/// What a gate answers: the monotonic instant at which load begins.
pub type Opening<'a> = Pin<Box<dyn Future<Output = Result<u64, WorkloadError>> + 'a>>;

/// Where a generator waits, prepared, for the common start of a trial.
pub trait Gate {
    /// Says that this generator is prepared and answers when load begins, on its monotonic clock.
    fn open(&self) -> Opening<'_>;
}

/// A gate of one generator: load begins at once.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl Gate for Alone {
    fn open(&self) -> Opening<'_> {
        // A little ahead, so that the pacer is in place at its first instant.
        Box::pin(async { Ok(clock::now() + 20_000_000) })
    }
}
