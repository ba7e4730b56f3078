//! What is remembered of owners between two passes of one process. Losing it is harmless.

use bakeoff_crds::identity::Uid;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Something of each owner, shared with what goes on beside the passes.
#[derive(Debug)]
pub struct Remembered<T>(Arc<Mutex<HashMap<Uid, T>>>);

impl<T> Remembered<T> {
    /// All of it, to be let go of soon. A panic elsewhere cannot leave it half-written in a way that matters.
    pub fn lock(&self) -> MutexGuard<'_, HashMap<Uid, T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets all owners but those that still need something.
    pub fn keep(&self, needed: impl Fn(&Uid) -> bool) {
        self.lock().retain(|uid, _| needed(uid));
    }
}

impl<T> Clone for Remembered<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Remembered<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}
