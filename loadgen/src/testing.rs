//! What unit tests share.
#![allow(clippy::unwrap_used)]

use std::future::Future;

/// Runs tasks of one thread to their end, as a generator does.
pub fn local<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, work)
}
